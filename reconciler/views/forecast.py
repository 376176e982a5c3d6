"""What `plan` shows: the acts to come, what is not as declared even after them, and what is wrong with the declarations that they
follow from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.core.decisions import Act, Refuse, Wait
from reconciler.core.decisions.base import Effect
from reconciler.core.forecast import Foreseen
from reconciler.core.keys import Json, JsonValue, Key, short
from reconciler.core.plan import Step
from reconciler.core.prune import APART, Blocked, Pruning, Removal, some
from reconciler.core.tree.places import place_of_machine, tree_of_machine
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


def _named(key: Key) -> Json:
    """Which object a row of a plan is about; of a machine that a tree has itself the tree and its node."""
    tree = tree_of_machine(key)
    if tree is None:
        return {"kind": key.kind, "name": key.name, "namespace": key.namespace}
    return {"kind": tree.kind, "name": tree.name, "namespace": tree.namespace, "node": place_of_machine(key)}


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of a plan: what would be done to which object, and why. `why`: in words; `lost`: what is gone afterwards, '' for nothing."""

    key: Key
    verb: str
    target: str
    reason: str
    effect: Effect = Effect.CHANGE
    why: str = ""
    lost: str = ""

    @property
    def document(self) -> Json:
        lost: Json = {"lost": self.lost} if self.lost else {}
        return {**_named(self.key), "verb": self.verb, "target": self.target, "reason": self.reason, **lost}


def planned(steps: Iterable[Step]) -> tuple[Planned, ...]:
    """Acts of the loop in their own words."""
    return tuple(_planned(step.key, step.action) for step in steps)


def _planned(key: Key, act: Act) -> Planned:
    return Planned(key, act.verb, act.target, act.because, act.effect, act.explained, act.lost)


@dataclass(frozen=True, slots=True)
class Pending:
    """An object that is not as declared even after everything in the plan. `state`: `Refused` until a person changes something, or
    `Waiting`."""

    key: Key
    state: str
    reason: str
    message: str

    @property
    def document(self) -> Json:
        return {**_named(self.key), "state": self.state, "reason": self.reason, "message": self.message}


def pending(left: Mapping[Key, Wait | Refuse]) -> tuple[Pending, ...]:
    """In order of kind and name. Where a decision has no words of its own, what its reason means."""
    return tuple(
        Pending(key, "Refused" if isinstance(rest, Refuse) else "Waiting", str(rest.reason), rest.message or rest.reason.meaning)
        for key, rest in sorted(left.items())
    )


@dataclass(frozen=True, slots=True)
class Pruned:
    """What becomes of what a stack does not declare any more. `deleted`: without a person, once it was absent for long enough; `planned`:
    the acts of that are in the plan; `blocked`: what needs one."""

    root: str
    deleted: tuple[Removal, ...]
    blocked: Blocked | None
    planned: bool

    @classmethod
    def of(cls, pruning: Pruning, planned: bool) -> Pruned:
        return cls(pruning.stack.root, pruning.due, pruning.blocked, planned)

    @property
    def keys(self) -> set[Key]:
        """The objects that it is about."""
        return {one.key for one in (*self.deleted, *(self.blocked.removals if self.blocked is not None else ()))}

    @property
    def lines(self) -> Iterable[str]:
        if self.deleted:
            shown = "" if self.planned else " (`--prune` shows the acts)"
            yield f"not declared any more in stack {self.root}: {some(self.deleted)}; deleted when that is so for {APART:g} s{shown}"
        if self.blocked is not None:
            yield f"PruneBlocked: {self.blocked.message}"

    @property
    def document(self) -> Json:
        found: Json = {"stack": self.root, "deleted": [_removal(one) for one in self.deleted]}
        if self.blocked is not None:
            kept: list[JsonValue] = [_removal(one) for one in self.blocked.removals]
            found["blocked"] = {"hash": self.blocked.hash, "reason": self.blocked.why, "objects": kept}
        return found


def _removal(one: Removal) -> Json:
    part: Json = {"part": one.part} if one.part else {}
    return {**_named(one.key), **part, "protected": one.protected}


@dataclass(frozen=True, slots=True)
class Forecast:
    """`inputs_hash`: of everything the plan follows from; `refused`: declarations that are left out of it; `pending`: objects that it
    does not make true; `cut`: there is more to do than it shows; `prunes`: what is not declared any more, by stack."""

    planned: Sequence[Planned]
    inputs_hash: str
    refused: Sequence[Finding] = ()
    pending: Sequence[Pending] = ()
    cut: bool = False
    prunes: Sequence[Pruned] = ()

    @property
    def true(self) -> bool:
        """What is declared is true: nothing is to be done, and nothing waits or is refused (G-49)."""
        return not (self.planned or self.pending or self.refused or self.prunes)

    @property
    def code(self) -> int:
        """The exit code of a plan: declarations are refused, nothing is to do, or something is."""
        return 1 if self.refused else 0 if self.true else 2

    def document(self) -> Json:
        """All of it, for programs."""
        actions: list[JsonValue] = [one.document for one in self.planned]
        summary: Json = dict(sorted(Counter(one.verb for one in self.planned).items()))
        refused: list[JsonValue] = [
            {"file": one.file, "line": one.line, "column": one.column, "field": one.field, "message": one.message} for one in self.refused
        ]
        waiting: list[JsonValue] = [one.document for one in self.pending]
        prunes: list[JsonValue] = [one.document for one in self.prunes]
        found: Json = {"actions": actions, "summary": summary, "pending": waiting, "refused": refused, "prune": prunes}
        return {**found, "complete": not self.cut, "inputsHash": self.inputs_hash}

    def table(self) -> Table:
        """A row for each act, in the order in which they come."""
        rows = ((one.verb, short(one.key), one.target, one.reason) for one in self.planned)
        return Table(("VERB", "OBJECT", "TARGET", "REASON"), tuple(rows))

    def pending_table(self) -> Table:
        """A row for each object that is not as declared even then."""
        rows = ((one.state, short(one.key), one.reason, one.message) for one in self.pending)
        return Table(("STATE", "OBJECT", "REASON", "MESSAGE"), tuple(rows))


def forecast_of(found: Foreseen, inputs_hash: str, refused: Sequence[Finding], prunes: Sequence[Pruned] = ()) -> Forecast:
    """What was foreseen, as it is shown."""
    return Forecast(planned(found.steps), inputs_hash, refused, pending(found.left), found.cut, prunes)
