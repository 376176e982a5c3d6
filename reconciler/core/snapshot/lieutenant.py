"""Everything a decision about one lieutenant may depend on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Self

from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.agent import Agent, Guest
from reconciler.core.snapshot.local import LocalPlacement
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.slot import Slot
from reconciler.core.snapshot.stages import AgentPart, Basics, GovernPart, Part, PreparePart, ReachPart, SessionPart, SlotPart
from reconciler.core.snapshot.vm import Unknown
from reconciler.core.values import with_facts


@dataclass(frozen=True)
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
        lt, slot, reach, prepare, session, agent, govern = _shares(tuple(changes))
        changes["lt"] = basics = with_facts(self.lt, lt, changes)
        return type(self)(
            basics,
            with_facts(self.for_slot, slot, changes),
            with_facts(self.for_reach, reach, changes),
            with_facts(self.for_prepare, prepare, changes),
            with_facts(self.for_session, session, changes),
            with_facts(self.for_agent, agent, changes),
            with_facts(self.for_govern, govern, changes),
        )


PARTS = (Basics, SlotPart, ReachPart, PreparePart, SessionPart, AgentPart, GovernPart)
KNOWN = frozenset(fact.name for part in PARTS for fact in fields(part))
"""The facts of all parts."""


@cache
def _shares(changed: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Of these facts, which each part has. Asked with the few sets of facts that acts change."""
    known = (frozenset(fact.name for fact in fields(part)) for part in PARTS)
    return tuple(tuple(name for name in ("lt", *changed) if name in facts) for facts in known)


def whereabouts(record: LieutenantRecord, slot: Slot, local: LocalPlacement) -> str:
    """The machine its agent is on: the VM in its slot or, while it lives on this host, its place here; '' for none."""
    return local.place if record.local.state == "Home" else slot.record.vm_id
