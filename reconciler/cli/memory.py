"""`memory`: what agents remember, to look at and to change."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler import children
from reconciler.cli import memories, names, output
from reconciler.cli.submit import runs
from reconciler.config import Config
from reconciler.core.governance.memory import Book, Whose, as_text, differences, from_text, history
from reconciler.core.keys import JsonValue, lieutenant
from reconciler.core.times import timestamp
from reconciler.errors import InvalidSpec, NotFound, UsageError
from reconciler.views.remembered import entry_document

if TYPE_CHECKING:  # an HTTP client, loaded with --kube only
    from reconciler.cli.operatordoor import Door

LIEUTENANT = lieutenant("", "").kind
VERBS = ("get", "edit", "set", "history")
NOTE = "# What {whose} has. An entry begins at the margin; its further lines are indented. Lines that begin with # are left out.\n"


def memory(
    config: Config,
    words: Annotated[
        list[str], typer.Argument(metavar="get|edit|set|history [LIEUTENANT] [TEXT|-]", help="TEXT is for `set`.", show_default=False)
    ],
    shared: Annotated[bool, typer.Option("--global", help="What all agents of the namespace share, instead of a lieutenant's.")] = False,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="For `set`: read the text from here.", show_default=False)
    ] = None,
    operator: Annotated[
        str,
        typer.Option(
            "--operator",
            metavar="URL",
            help="With --kube: where the operator's port is forwarded to, http://127.0.0.1:9090; or RECONCILER_OPERATOR.",
            show_default=False,
        ),
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", metavar="FILE", help="With --operator: where its token is; or RECONCILER_HTTP_TOKEN.", show_default=False
        ),
    ] = None,
    output_: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="text or json, of `get` and `history`.")] = "text",
) -> None:
    """Show and change what agents remember.

    `get` prints it as `set` takes it: an entry begins at the margin, with a hyphen or without; its further lines are indented. `set` makes
    it this text, from standard input with `-`; `edit` opens it in $VISUAL or $EDITOR. Entries whose text stays keep who wrote them and
    when; what an agent writes meanwhile stays too. `history` tells what was added and removed, by whom. Agents are told of a change when
    they start, after a compaction, and whenever they look.

    In a cluster it is in the operator's store only. With --kube the operator is asked, at --operator URL, with its token: that of
    --token-file, of RECONCILER_HTTP_TOKEN, or of the Secret reconciler-http beside it, when you may read that."""
    shape = output.parse_format(output_, ("text", "json"))
    verb, whose, rest = _asked(config, words, shared)
    if rest and verb != "set":
        raise UsageError("that is too much", " ".join(rest), f"write `reconciler memory {verb} LIEUTENANT`")
    if file is not None and (rest or verb != "set"):
        raise UsageError("-f goes with `set`, and with no other text", str(file), "write `reconciler memory set LIEUTENANT -f FILE`")
    given = _given(rest, file) if verb == "set" else ""
    way = asyncio.run(memories.door(config, whose, operator, token_file))
    book = asyncio.run(memories.read(config, whose, way))
    match verb:
        case "get":
            _show(whose, book, shape)
        case "history":
            _history(whose, book, shape)
        case "set":
            _change(config, whose, way, book, given)
        case _:
            _change(config, whose, way, book, _edited(whose, book))


def _asked(config: Config, words: Sequence[str], shared: bool) -> tuple[str, Whose, Sequence[str]]:
    """The verb, whose memory, and what is left. Raises `UsageError`."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise UsageError(f"unknown verb {verb!r}", "memory", f"use one of {', '.join(VERBS)}")
    if shared:
        return verb, Whose(config.namespace), words[1:]
    if len(words) < 2:
        raise UsageError("whose memory?", f"memory {verb}", "name a lieutenant, or write --global")
    key = names.of_kind(words[1:2], LIEUTENANT, config.namespace)
    return verb, Whose(config.namespace, key.name), words[2:]


def _show(whose: Whose, book: Book, shape: output.Format) -> None:
    if shape.kind == "json":
        entries: list[JsonValue] = [entry_document(entry) for entry in book.entries]
        output.out(output.to_json({"namespace": whose.namespace, "lieutenant": whose.owner, "hash": book.digest, "entries": entries}))
    elif book.entries:
        output.out(as_text(book.entries).rstrip("\n"))
    else:
        output.say(f"nothing is in the {whose}")


def _history(whose: Whose, book: Book, shape: output.Format) -> None:
    told = list(history(book))
    if shape.kind == "json":
        changes: list[JsonValue] = [
            {**entry_document(entry), "at": timestamp(at), "by": who, "what": what} for at, who, what, entry in told
        ]
        output.out(output.to_json(changes))
    elif told:
        rows = [(timestamp(at), who or "-", what, entry.text) for at, who, what, entry in told]
        output.table(("AT", "BY", "WHAT", "TEXT"), rows)
    else:
        output.say(f"nothing was ever in the {whose}")


def _given(rest: Sequence[str], file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotFound("the file can't be read", str(file), "name a readable text file") from error
    if rest and list(rest) != ["-"]:
        return "\n".join(rest)
    if not rest and sys.stdin.isatty():
        raise UsageError("what is to be remembered?", "memory set", "give the text, `-` for standard input, or `-f FILE`")
    return sys.stdin.read()


def _edited(whose: Whose, book: Book) -> str:
    """The text as it is once a person has closed the editor. Raises `UsageError` when that ended badly."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "memory.txt"
        file.touch(mode=0o600)
        file.write_text(NOTE.format(whose=f"the {whose}") + as_text(book.entries), "utf-8")
        try:
            code = children.at_the_terminal([*shlex.split(editor), str(file)], os.environ)
            text = file.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(
                "the editor can't be run, or what it wrote can't be read", editor, "set EDITOR to a program that is there"
            ) from error
    if code != 0:
        raise UsageError(f"the editor ended with exit code {code}; nothing is changed", editor, "try again")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def _change(config: Config, whose: Whose, way: Door | None, book: Book, text: str) -> None:
    try:
        add, remove = differences(book, from_text(text))
    except ValueError as error:
        raise InvalidSpec(str(error), str(whose), "write less, or several entries") from error
    if not add and not remove:
        output.out(f"{whose} unchanged")
        return
    told = asyncio.run(memories.change(config, whose, way, add, remove))
    output.out(f"{whose}: {told.get('added')} added, {told.get('removed')} removed")
    if way is None and not runs(config):
        output.say("no controller runs on this state directory; the next `reconciler run` brings it to the machines")
