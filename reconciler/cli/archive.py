"""`export` and `import`: the whole store as one file, for backup and for moving to another machine or database."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.output import binary, out, say, terminal
from reconciler.config import Config
from reconciler.errors import Refused

PIPE = "-"


def export(
    config: Config,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Where to; standard output without it or with -.", show_default=False)
    ] = PIPE,
) -> None:
    """Write the whole store to one file.

    Declarations, status, journal, events and the mirrored conversations, as of one moment; a controller may go on meanwhile. There is
    no value of a secret in it, but all that agents said: a FILE is made with mode 0600. `reconciler import` reads it."""
    from reconciler.store.archive import export_stream, export_to
    from reconciler.store.sqlstore import open_store

    if file == PIPE and terminal():
        raise Refused("a terminal is no place for a store", "standard output", "name a FILE, or redirect it")
    store = open_store(config.store_address, inline=True, read_only=True)
    try:
        rows = export_stream(store, binary()) if file == PIPE else export_to(store, Path(file).absolute())
    finally:
        store.database.writes.dispose()
    say(f"{rows} rows of {store.where}{'' if file == PIPE else f' are in {file}'}")


def import_(
    config: Config,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="What `reconciler export` wrote.", show_default=False)],
) -> None:
    """Take everything from an export into a new store.

    All of it or nothing: a store that is in use or not empty, and a file that is cut or was altered, are refused. With --store it goes
    into PostgreSQL. The next controller goes on where the one before was; stop that one first, since both would act on the same
    machines. Directories of agents on this host are no part of it; their conversations are."""
    from reconciler.store.archive import import_from
    from reconciler.store.lock import acquire
    from reconciler.store.sqlstore import open_store

    with acquire(config.state, command=True), _on_disk(file) as path:
        store = open_store(config.store_address, inline=True)
        try:
            rows = import_from(store, path)
        finally:
            store.database.writes.dispose()
    out(f"{rows} rows imported into {store.where}")
    say("note: stop the controller that has the old store before you start one here: both would act on the same machines")


@contextmanager
def _on_disk(file: str) -> Iterator[Path]:
    """The file itself; standard input in a file of ours, since an archive is read twice."""
    if file != PIPE:
        yield Path(file)
        return
    with tempfile.NamedTemporaryFile(prefix="reconciler-import-") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield Path(copy.name)
