"""The options of commands that serve over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.errors import UsageError

if TYPE_CHECKING:  # heavy parts, loaded when something listens
    from reconciler.serve.http import Listening

Listen = Annotated[
    str,
    typer.Option("--listen", metavar="HOST:PORT", help="Serve the page, /api/v1, probes and metrics: docs/page.md.", show_default=False),
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="With --listen: where its token is.", show_default=False)
]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="With --listen: its certificate, in PEM form.", show_default=False)
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="With --listen: the certificate's key.", show_default=False)]
PageActs = Annotated[
    bool, typer.Option("--page-acts", help="With --listen: who has its token may also send, suspend, cancel, by the operator's rights.")
]
PlainHttp = Annotated[bool, typer.Option("--plain-http", help="With --listen: serve other hosts too, without TLS.")]


def listening_of(
    listen: str, token_file: Path | None, tls_cert: Path | None, tls_key: Path | None, plain_http: bool, page_acts: bool = False
) -> Listening | None:
    """What these options ask for; None when nothing is to be served. What is wrong with them is said before anything begins: raises
    `UsageError`, or `Refused` where other hosts would listen in."""
    if not listen:
        given: dict[str, object] = {"--token-file": token_file, "--tls-cert": tls_cert, "--tls-key": tls_key}
        given |= {"--plain-http": plain_http, "--page-acts": page_acts}
        lone = next((name for name, value in given.items() if value), "")
        if lone:
            raise UsageError(f"{lone} goes with --listen", lone, "add --listen HOST:PORT, or leave it out")
        return None
    from reconciler.serve.http import Listening
    from reconciler.serve.server import Tls, must_be_private, read_address

    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together", "--tls-cert --tls-key", "give both, or neither")
    tls = Tls(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    found = Listening(read_address(listen), tls, plain_http, token_file)
    must_be_private(found.address, found.tls, found.plain)
    return found
