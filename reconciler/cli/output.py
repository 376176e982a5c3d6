"""How results are printed: `-o table|wide|json|yaml|name|jsonpath=…`.

The one place through which commands write to a terminal. Whatever people read is made harmless on its way (`reconciler.visible`): agents,
machines and platforms say what they like."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap
from typing import IO, TYPE_CHECKING

from reconciler.core.keys import Json, JsonValue
from reconciler.errors import UsageError
from reconciler.views.documents import list_of, tables, text_at
from reconciler.visible import in_json, one_line, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

GAP = "   "
"""Between two columns."""
LEAST = 12
"""Columns are not folded to less."""
FORMATS = ("table", "wide", "json", "yaml", "name")


@dataclass(frozen=True, slots=True)
class Format:
    """`kind`: one of FORMATS or `jsonpath`; `template`: of the latter."""

    kind: str
    template: str = ""


def parse_format(text: str, allowed: Sequence[str] = (*FORMATS, "jsonpath")) -> Format:
    """The value of `-o`. Raises `UsageError`."""
    kind, _, template = text.partition("=")
    if kind not in allowed or (template != "") != (kind == "jsonpath"):
        shown = ", ".join("jsonpath=TEMPLATE" if name == "jsonpath" else name for name in allowed)
        raise UsageError(f"unknown output format {text!r}", "-o", f"use one of {shown}")
    if template:
        from reconciler.views import jsonpath

        jsonpath.check(template)
    return Format(kind, template)


def show(documents: Sequence[Json], format: Format, single: bool, namespaces: bool = False) -> None:
    """Print resources. `single`: one was asked for by name, so it is printed without a List around it."""
    whole: Json = documents[0] if single and len(documents) == 1 else list_of(documents)
    match format.kind:
        case "json":
            out(to_json(whole))
        case "yaml":
            from reconciler.cli.yamlout import to_yaml  # a YAML library, which other forms do not need

            out(to_yaml(whole).rstrip("\n"))
        case "jsonpath":
            from reconciler.views import jsonpath

            raw(jsonpath.render(whole, format.template))
        case "name":
            for doc in documents:
                out(f"{text_at(doc, '.kind').lower()}/{text_at(doc, '.metadata.name')}")
        case _:
            for number, one in enumerate(tables(documents, format.kind == "wide", namespaces, time.time())):
                if number:
                    out("")
                table(one.header, one.rows)


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Columns, three blanks apart; nothing is ever cut off (G-67). At a terminal too narrow for them they are folded."""
    for line in table_lines(header, body):
        out(line)


def table_lines(header: Sequence[str], body: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """The rows of a table. `width`: of the terminal, 0 for none (None: as it is): where a row is wider, its widest columns are folded
    below themselves, at blanks; names and ids stay whole."""
    lines = [list(header), *([one_line(cell) for cell in row] for row in body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    available = columns() if width is None else width
    if available and sum(widths) + len(GAP) * (len(widths) - 1) > available:
        widths = _narrowed(lines, widths, available - len(GAP) * (len(widths) - 1))
        lines = [row for line in lines for row in _folded(line, widths)]
    return [GAP.join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _narrowed(lines: Sequence[Sequence[str]], widths: Sequence[int], available: int) -> list[int]:
    """Widths of columns that together fit, as far as whole words allow it: the widest column gives way first."""
    least = [max((len(word) for line in lines for word in line[i].split()), default=0) for i in range(len(widths))]
    found = list(widths)
    while sum(found) > available and (can := [i for i in range(len(found)) if found[i] > max(least[i], LEAST)]):
        found[max(can, key=found.__getitem__)] -= 1
    return found


def _folded(line: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """One row as several, none of whose cells is wider than its column."""
    cells = [[text] if len(text) <= width else folds(text, width) for text, width in zip(line, widths, strict=True)]
    return [list(row) for row in zip_longest(*cells, fillvalue="")]


def show_entry(lines: Sequence[tuple[str, str]]) -> None:
    """A heading with its text, then what belongs to it, indented; folded at the width of a terminal, and never when piped."""
    width = columns()
    for number, (title, text) in enumerate(lines):
        head = f"{title:<3} " if not number else f"      {title:<5} "
        folds = (
            wrap(one_line(text), max(20, width - len(head)), break_on_hyphens=False, break_long_words=False) if width else [one_line(text)]
        )
        for fold in folds or [""]:
            out(f"{head}{fold}".rstrip())
            head = " " * len(head)


def folds(text: str, width: int) -> list[str]:
    """A text of one line in lines of at most so many columns, words kept whole; 0: as it is."""
    return (wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]) if width else [text]


def columns() -> int:
    """The width of the terminal on which results are shown; 0 when it is none."""
    return shutil.get_terminal_size().columns if terminal() else 0


def out(line: str) -> None:
    """One line of result, at once (somebody may follow it)."""
    raw(visible(line) + "\n")


def piece(text: str) -> None:
    """A part of a result that goes on."""
    raw(visible(text))


def raw(text: str) -> None:
    """For programs: as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def nowhere() -> None:
    """Nobody reads results any more: from now on they go nowhere, and the interpreter does not fail again while it flushes."""
    _into_nothing(descriptor())


def unheard() -> None:
    """Nobody hears what is said to people either."""
    _into_nothing(sys.stderr.fileno())


def _into_nothing(stream: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream)
    os.close(null)


def descriptor() -> int:
    """To which results are written. Raises `OSError` where there is none."""
    return sys.stdout.fileno()


def binary() -> IO[bytes]:
    """For bytes that are nothing to read; not for a terminal."""
    return sys.stdout.buffer


def say(line: str) -> None:
    """One line for people, beside the result."""
    sys.stderr.write(visible(line) + "\n")
    sys.stderr.flush()


def terminal() -> bool:
    """Whether somebody looks at results."""
    return sys.stdout.isatty()


def console(stderr: bool = False) -> Console:
    """What draws pictures of `styled` texts."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def styled(text: str, style: str = "") -> Text:
    """Text for a console."""
    from rich.text import Text

    return Text(visible(text), style)


def to_json(value: JsonValue) -> str:
    """The same value to every program, with nothing in it that a terminal obeys."""
    return in_json(json.dumps(value, indent=2, ensure_ascii=False))
