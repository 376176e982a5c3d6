"""Everything a decision about one lieutenant may depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Self, TypeVar

from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.agent import Agent, Guest
from reconciler.core.snapshot.local import LocalPlacement
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.slot import Slot
from reconciler.core.snapshot.stages import AgentPart, Basics, GovernPart, Part, PreparePart, ReachPart, SessionPart, SlotPart
from reconciler.core.snapshot.vm import Unknown

P = TypeVar("P", Basics, SlotPart, ReachPart, PreparePart, SessionPart, AgentPart, GovernPart)


@dataclass(frozen=True, slots=True)
class LieutenantView(Part):
    """Everything a decision about one lieutenant may depend on, in one part for each stage."""

    for_slot: SlotPart
    for_reach: ReachPart
    for_prepare: PreparePart
    for_session: SessionPart
    for_agent: AgentPart
    for_govern: GovernPart

    @property
    def record(self) -> LieutenantRecord:
        return self.lt.record

    @property
    def rendered(self) -> Rendered | Unresolved:
        return self.lt.rendered

    @property
    def vm_id(self) -> str:
        return self.lt.vm_id

    @property
    def guest(self) -> Guest | Unknown | None:
        return self.lt.guest

    @property
    def agent(self) -> Agent | Unknown | None:
        return self.lt.agent

    @property
    def active_task(self) -> bool:
        return self.lt.active_task

    @property
    def settled(self) -> bool:
        return self.lt.settled

    @property
    def now(self) -> float:
        return self.lt.now

    @property
    def slot(self) -> Slot:
        return self.for_slot.slot

    @property
    def local(self) -> LocalPlacement:
        return self.for_slot.local

    def but(self, **changes: object) -> Self:
        """The same with these facts changed, each in all parts that have it."""
        if not changes.keys() <= KNOWN:
            raise TypeError(f"no part of a lieutenant's snapshot has {', '.join(sorted(changes.keys() - KNOWN))}")
        if "record" in changes or "slot" in changes or "local" in changes:
            facts: dict[str, Any] = {"record": self.record, "slot": self.slot, "local": self.local, **changes}
            changes["vm_id"] = whereabouts(facts["record"], facts["slot"], facts["local"])
        changes["lt"] = lt = _but(self.lt, changes)
        return type(self)(
            lt,
            _but(self.for_slot, changes),
            _but(self.for_reach, changes),
            _but(self.for_prepare, changes),
            _but(self.for_session, changes),
            _but(self.for_agent, changes),
            _but(self.for_govern, changes),
        )


FACTS: dict[type, tuple[str, ...]] = {
    part: tuple(fact.name for fact in fields(part))
    for part in (Basics, SlotPart, ReachPart, PreparePart, SessionPart, AgentPart, GovernPart)
}
"""The facts of each part, in the order of its constructor."""

KNOWN = frozenset(name for names in FACTS.values() for name in names)


def whereabouts(record: LieutenantRecord, slot: Slot, local: LocalPlacement) -> str:
    """The machine its agent is on: the VM in its slot or, while it lives on this host, its place here; '' for none."""
    return local.place if record.local.state == "Home" else slot.record.vm_id


def _but(part: P, changes: Mapping[str, Any]) -> P:
    read, places = _SHAPES[type(part)]
    facts = list(read(part))
    for name, fact in changes.items():
        at = places.get(name)
        if at is not None:
            facts[at] = fact
    return type(part)(*facts)


_SHAPES: dict[type, tuple[attrgetter[tuple[Any, ...]], dict[str, int]]] = {
    part: (attrgetter(*names), {name: at for at, name in enumerate(names)}) for part, names in FACTS.items()
}
