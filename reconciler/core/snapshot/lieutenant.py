"""Everything a decision about one lieutenant may depend on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.agent import Agent, Guest
from reconciler.core.snapshot.local import LocalPlacement
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.slot import Slot
from reconciler.core.snapshot.stages import AgentPart, Basics, GovernPart, PreparePart, ReachPart, SessionPart, SlotPart
from reconciler.core.snapshot.vm import Unknown
from reconciler.core.values import replaced


@dataclass(frozen=True, kw_only=True)
class LieutenantView(SlotPart, ReachPart, PreparePart, SessionPart, AgentPart, GovernPart):
    """Everything a decision about one lieutenant may depend on. It is a part for each stage, whose policies see nothing else of it."""

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

    def but(self, **changes: object) -> Self:
        """The same with these facts changed, whether all stages read them or some."""
        others: dict[str, Any] = changes
        basic = {name: others.pop(name) for name in BASIC.intersection(others)}
        if "record" in basic or "slot" in others or "local" in others:
            record, slot, local = basic.get("record", self.record), others.get("slot", self.slot), others.get("local", self.local)
            basic["vm_id"] = whereabouts(record, slot, local)
        return replaced(self, lt=replaced(self.lt, **basic), **others)

    def inside(self, **changes: Any) -> Self:
        """The same with these facts changed that all stages read, and that do not move its agent to another place."""
        return replaced(self, lt=replaced(self.lt, **changes))


BASIC = frozenset(fact.name for fact in fields(Basics))
"""The facts that all stages read."""


def whereabouts(record: LieutenantRecord, slot: Slot, local: LocalPlacement) -> str:
    """The machine its agent is on: the VM in its slot or, while it lives on this host, its place here; '' for none."""
    return local.place if record.local.state == "Home" else slot.record.vm_id
