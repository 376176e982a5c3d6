"""`init`: a starter folder, to be changed and committed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from reconciler.api import generate
from reconciler.api.generate import as_json
from reconciler.api.schema import settings_for_editors
from reconciler.cli.output import out, say
from reconciler.config import Config
from reconciler.errors import Refused, Terminal, Unreachable
from reconciler.paths import Absent, look_at_name
from reconciler.sources.files.stack import StackPolicy

SCHEMAS = Path(".reconciler") / "schema"
SPECS = "specs"
"""The folder of declarations in it."""
NO_UUID = "00000000-0000-4000-8000-000000000000"
"""Stands in the stack's marker where a new one goes."""


def init(config: Config, folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; made when missing.")] = Path()) -> None:
    """Write a commented starter folder.

    A fleet of one agent, its stack, a job that checks pull requests and posts their plan, a pre-commit hook, and a schema for
    editors. A file that is there already is kept as it is; where there are declarations already, nothing is written."""
    texts = {folder / name: text for name, text in starter().items()}
    there = {path for path in texts if not isinstance(look_at_name(path), Absent)}
    if taken := [str(path) for path in texts if path in there and path.parent.name == SPECS]:
        raise Refused("there are declarations already; nothing was written", ", ".join(taken), "name another folder")
    for path, text in texts.items():
        if path in there:
            say(f"kept: {path}")
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise Unreachable(f"the file can't be written ({error.strerror})", str(path), "check the folder's permissions") from error
        out(str(path))
    within = "" if folder == Path() else f"cd {folder} && "
    say(f"next: `{within}reconciler validate specs`, then read README.md there")


def starter() -> dict[Path, str]:
    """Name → text of every file, with a new identity for the stack. Raises `Terminal` when the installation is broken."""
    folder = _folder()
    found = {name: text.replace(NO_UUID, str(uuid.uuid4())) for name, text in _texts(folder, Path())}
    if not found:
        raise Terminal("the starter folder is missing", str(folder), "install the package again")
    schemas = {**generate.generate_schemas(), "stack.json": as_json(settings_for_editors(StackPolicy, "stack"))}
    return {**found, **{SCHEMAS / name: text for name, text in schemas.items()}}


def _folder() -> Traversable:
    packaged = files("reconciler") / "starter"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "examples" / "starter"


def _texts(folder: Traversable, at: Path) -> Iterator[tuple[Path, str]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_file():
            yield at / entry.name, entry.read_text("utf-8")
        elif entry.name != "__pycache__":
            yield from _texts(entry, at / entry.name)
