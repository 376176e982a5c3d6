"""What `plan` shows: the acts to come, and what is wrong with the declarations that they follow from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.core.keys import Json, JsonValue, Key, short
from reconciler.core.plan import Step
from reconciler.views.documents import Table


class Finding(Protocol):
    """Something wrong at a place in a file."""

    @property
    def file(self) -> str: ...

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...

    @property
    def field(self) -> str: ...

    @property
    def message(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of a plan: what would be done to which object, and why."""

    key: Key
    verb: str
    target: str
    reason: str

    @property
    def document(self) -> Json:
        key = self.key
        named: Json = {"kind": key.kind, "name": key.name, "namespace": key.namespace}
        return {**named, "verb": self.verb, "target": self.target, "reason": self.reason}


def planned(steps: Iterable[Step]) -> tuple[Planned, ...]:
    """Acts of the loop in their own words."""
    return tuple(Planned(step.key, step.action.verb, step.action.target, step.action.because) for step in steps)


@dataclass(frozen=True, slots=True)
class Forecast:
    """`inputs_hash`: of everything the plan follows from; `refused`: declarations that are left out of it."""

    planned: Sequence[Planned]
    inputs_hash: str
    refused: Sequence[Finding] = ()

    def document(self) -> Json:
        """All of it, for programs."""
        actions: list[JsonValue] = [one.document for one in self.planned]
        summary: Json = dict(sorted(Counter(one.verb for one in self.planned).items()))
        refused: list[JsonValue] = [
            {"file": one.file, "line": one.line, "column": one.column, "field": one.field, "message": one.message} for one in self.refused
        ]
        return {"actions": actions, "summary": summary, "refused": refused, "inputsHash": self.inputs_hash}

    def table(self) -> Table:
        """A row for each act, in the order in which they come."""
        rows = ((one.verb, short(one.key), one.target, one.reason) for one in self.planned)
        return Table(("VERB", "OBJECT", "TARGET", "REASON"), tuple(rows))
