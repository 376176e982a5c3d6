"""The reference of all commands in docs/cli.md, made from the program: what `--help` says of each.

`python -m tests.conformance.commands` writes it.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from textwrap import wrap
from unittest.mock import patch

from reconciler.cli import options
from reconciler.cli.catalog import CLUSTERS, GROUPS, Entry
from reconciler.cli.program import NAME, LateCommand, program

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
MARK = "<!-- Made by `python -m tests.conformance.commands` from the program; do not edit below. -->\n"
WIDTH = 120
OURS = ("-h", "--help")
RANDOMIZED = re.compile(r"\s+\[default: (?:/|<)[^\]]*\]")


def reference() -> str:
    """Every command by its group, with its usage, what it does, and its own options; then the options of all."""
    parts: list[str] = []
    made = program()
    for group, entries in GROUPS.items():
        rows = [f"| [`{entry.name}`](#{entry.name}) | {_cell(entry.summary)} |" for entry in entries]
        parts.append("\n".join([f"## Commands: {group}", "", "| command | does |", "|---|---|", *rows, ""]))
        for entry in entries:
            command = made.commands[entry.name]
            assert isinstance(command, LateCommand)
            parts.append("\n".join(_command(command, entry)))
    parts.append("\n".join(_everywhere(made)))
    return "\n".join(parts)


def _command(command: LateCommand, entry: Entry) -> Iterator[str]:
    loaded = command.load()
    with patch.dict(os.environ, {"COLUMNS": str(WIDTH)}):
        context = loaded.make_context(f"{NAME} {entry.name}", [], resilient_parsing=True)
    params = [param for param in loaded.get_params(context) if getattr(param, "rich_help_panel", None) != options.PANEL]
    pieces = " ".join(piece for param in params if param.param_type_name == "argument" for piece in param.get_usage_pieces(context))
    yield f"### {entry.name}"
    yield ""
    yield f"    {NAME} {entry.name} {pieces}".rstrip()
    yield ""
    for paragraph in _paragraphs(entry):
        yield from wrap(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)
        yield ""
    if entry.name in CLUSTERS:
        yield "Also with `--kube`."
        yield ""
    records = [record for param in params if not set(OURS) & set(param.opts) and (record := param.get_help_record(context))]
    if records:
        yield "| argument or option | |"
        yield "|---|---|"
        yield from (f"| `{_code(name)}` | {_cell(RANDOMIZED.sub('', text))} |" for name, text in records)
        yield ""


def _paragraphs(entry: Entry) -> list[str]:
    module, _, name = entry.target.partition(":")
    said = inspect.getdoc(getattr(import_module(module), name)) or ""
    return [_prose(" ".join(part.split())) for part in said.split("\n\n")]


def _everywhere(made: object) -> Iterator[str]:
    yield "## Options of every command"
    yield ""
    yield "Before the command's name or after it."
    yield ""
    yield "| option | |"
    yield "|---|---|"
    for note in options.GLOBALS.values():
        (option,) = note.__metadata__  # type: ignore[attr-defined]
        first = [option.default] if isinstance(option.default, str) and option.default.startswith("-") else []  # where typer has it so
        names = ", ".join(sorted([*first, *option.param_decls], key=len))
        yield f"| `{_code(f'{names} {option.metavar}' if option.metavar else names)}` | {_cell(option.help)} |"


def _cell(text: str) -> str:
    return _prose(text.strip()).replace("|", "\\|")


def _code(text: str) -> str:
    return text.replace("|", "\\|")


def _prose(text: str) -> str:
    """Text in which nothing but what stands in backticks is markup."""
    parts = text.split("`")
    for n in range(0, len(parts), 2):
        parts[n] = parts[n].replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_").replace("[", "\\[")
    return "`".join(parts)


def written(page: str) -> str:
    """The page with the reference as it must be. Raises `ValueError` when the mark is missing."""
    head, mark, _ = page.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE.name} lacks the line {MARK.strip()!r}")
    return f"{head}{mark}\n{reference()}\n"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
