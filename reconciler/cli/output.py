"""How results are printed: `-o table|wide|json|yaml|name|jsonpath=…`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconciler.api.registry import BY_NAME, Column
from reconciler.cli import jsonpath
from reconciler.cli.documents import list_of, text_at
from reconciler.cli.names import VM
from reconciler.core import times
from reconciler.core.keys import Json, JsonValue
from reconciler.errors import UsageError
from reconciler.log import one_line

FORMATS = ("table", "wide", "json", "yaml", "name")
AGE = Column("Age", ".metadata.creationTimestamp", "Time since creation.", type="date")
VM_COLUMNS = (
    Column("State", ".status.state", "As the platform says."),
    Column("Owner", ".status.owner", "The object whose machine it is."),
    Column("Fleet", ".metadata.labels['fleet.vers.sh/fleet']", "The fleet that claims it.", wide=True),
    AGE,
)


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
            sys.stdout.write(jsonpath.render(whole, format.template))
        case "name":
            for doc in documents:
                out(f"{text_at(doc, '.kind').lower()}/{text_at(doc, '.metadata.name')}")
        case _:
            tables(documents, format.kind == "wide", namespaces)


def tables(documents: Sequence[Json], wide: bool, namespaces: bool) -> None:
    """One table a kind, kubectl's way: names carry their kind when there are several."""
    kinds = list(dict.fromkeys(text_at(doc, ".kind") for doc in documents))
    for number, kind in enumerate(kinds):
        if number:
            out("")
        of_kind = [doc for doc in documents if text_at(doc, ".kind") == kind]
        table(*rows(of_kind, kind, wide, namespaces, len(kinds) > 1))


def rows(documents: Sequence[Json], kind: str, wide: bool, namespaces: bool, prefixed: bool) -> tuple[list[str], list[list[str]]]:
    """Header and cells of one kind's table."""
    columns = [c for c in (BY_NAME[kind].columns if kind in BY_NAME else VM_COLUMNS) if wide or not c.wide]
    namespaces = namespaces and kind != VM
    header = [*(["NAMESPACE"] if namespaces else []), "NAME", *(c.name.upper() for c in columns)]
    body = []
    for doc in documents:
        name = text_at(doc, ".metadata.name")
        cells = [cell(doc, column) for column in columns]
        body.append(
            [*([text_at(doc, ".metadata.namespace")] if namespaces else []), f"{kind.lower()}/{name}" if prefixed else name, *cells]
        )
    return header, body


def cell(doc: Json, column: Column) -> str:
    value = text_at(doc, column.path) or column.default
    if column.type == "date":
        return age(value)
    return one_line(value) or ("Unknown" if column.name == "Ready" else "<none>")


def age(stamp: str, now: Callable[[], float] = time.time) -> str:
    """Time since an RFC 3339 stamp, as kubectl writes it: 45s, 12m, 3h5m, 2d4h."""
    at = times.seconds(stamp)
    if at is None:
        return "<unknown>"
    seconds = max(0, int(now() - at))
    for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= (2 if unit != "d" else 1) * size or (unit != "m" and seconds >= size):
            whole, rest = divmod(seconds, size)
            return f"{whole}{unit}{rest // small}{smaller}" if whole < 8 and rest // small else f"{whole}{unit}"
    return f"{seconds}s"


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Columns, three blanks apart; nothing is ever cut off (G-67)."""
    for line in table_lines(header, body):
        out(line)


def table_lines(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(header), *(list(row) for row in body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return ["   ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def out(line: str) -> None:
    """One line of result, at once (somebody may follow it)."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """One line for people, beside the result."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def to_json(value: JsonValue) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
