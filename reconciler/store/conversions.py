"""What rows of an earlier revision become, for migrations and for archives alike. What is here was released: it never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Row = dict[str, object]
"""A row by column name, its JSON columns as values."""

RENAMED: Mapping[str, Mapping[tuple[str, ...], Mapping[str, str]]] = {
    "Lieutenant": {("slot",): {"condemned": "marked_for_deletion", "condemned_at": "marked_at"}, (): {"let_go": "detached"}},
    "Task": {(): {"ladder": "escalation_steps"}},
}
"""By kind and place within its record: fields of revision 0001 and what they are called since."""


def record_from_0001(kind: str, record: Row) -> Row:
    """The durable facts about an object, under the names of revision 0002; their order stays."""
    for place, names in RENAMED.get(kind, {}).items():
        record = _renamed(record, place, names)
    return record


def _renamed(value: Row, place: tuple[str, ...], names: Mapping[str, str]) -> Row:
    if not place:
        return {names.get(name, name): inner for name, inner in value.items()}
    inner = value.get(place[0])
    return {**value, place[0]: _renamed(inner, place[1:], names)} if isinstance(inner, dict) else value


def _from_0001(table: str, row: Row) -> Row:
    if table == "objects":
        record = row.get("record")
        renamed = record_from_0001(str(row.get("kind")), record) if isinstance(record, dict) else record
        return {**row, "record": renamed, "owner": "", "source_id": "", "source_commit": ""}
    if table == "intents":
        return {**row, "node": ""}
    return row


def _from_0002(table: str, row: Row) -> Row:
    return {**row, "series": "", "count": 1, "first_at": 0.0} if table == "events" else row


def _unchanged(_: str, row: Row) -> Row:
    return row


STEPS: Mapping[str, Callable[[str, Row], Row]] = {"0001": _from_0001, "0002": _from_0002, "0003": _unchanged, "0005": _unchanged}
"""By revision: what makes a row of it one of the next."""


def brought_forward(revision: str, table: str, row: Row) -> Row:
    """A row that was exported at `revision`, as it is at the newest one."""
    for step in sorted(STEPS):
        if step >= revision:
            row = STEPS[step](table, row)
    return row
