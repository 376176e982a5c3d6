"""Starting a keeper only from the program that we shipped: who changed it on the disk and then ended the keeper is not believed."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from reconciler.agent import bootstrap
from reconciler.agent.bootstrap import GuestLayout, keeper_files, lines
from reconciler.agent.protocol import KEEPER_VERSION
from reconciler.agent.transport import FixedScript, RunResult

_SECONDS: Final = 30.0
_INSTALL_SECONDS: Final = 60.0

# A keeper of another version is told by its name, and `install` is what replaces it.
COMPARE_KEEPER: Final = FixedScript(r"""
set -eu
read -r base
read -r version
cd "$base"
if [ -L keeper ] && [ "$(readlink keeper)" != "keeper-$version" ]; then echo another; exit 0; fi
if [ -L keeper ] && cd keeper 2> /dev/null && [ -z "$(find . ! -type f ! -type d)" ] && sha256sum -c - > /dev/null 2>&1; then
  echo same
else
  echo changed
fi
""")

RunScript = Callable[[FixedScript, bytes, str, float], Awaitable[RunResult]]
"""Runs a script there. Raises `GuestFailed` when it ends badly, `GuestUnreachable` when the machine does not answer."""


async def start(script: RunScript, layout: GuestLayout) -> None:
    """Starts a keeper of this layout; where a file of its program is not the one that its version names, the program is installed anew
    before that. Raises as `script` does."""
    compared = await script(COMPARE_KEEPER, _expected(layout), "comparing the keeper with its version", _SECONDS)
    if compared.stdout.strip() == b"changed":
        await script(bootstrap.INSTALL_KEEPER, bootstrap.keeper_input(layout), "installing the keeper", _INSTALL_SECONDS)
    await script(bootstrap.START_KEEPER, bootstrap.start_input(layout), "starting the keeper", _SECONDS)


def _expected(layout: GuestLayout) -> bytes:
    """Where it lies, its version, and the digest of each file, as `sha256sum` reads them."""
    digests = (f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in keeper_files().items())
    return lines(layout.base, KEEPER_VERSION, *digests)
