"""A kind that this release does not bring: a widget is turned in a workshop as often as its size says, then has to dry.

Everything about it is in this file: model, names, record, snapshot, acts, decisions, status and plug-in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reconciler.api.document import Document
from reconciler.api.meta import Model
from reconciler.api.reasons import Reason
from reconciler.api.registry import AGE, MESSAGE, PHASE, READY, REASON, Column
from reconciler.api.registry import Kind as ApiKind
from reconciler.api.status.base import Condition, Count, Status, section
from reconciler.core.chain import Chain
from reconciler.core.conditions import merge_conditions, progress_conditions, told
from reconciler.core.decisions import Act, Decision, Refuse, Steady, Wait
from reconciler.core.keys import Json, Key
from reconciler.core.lasterror import LastError
from reconciler.core.plan import Plan, Step
from reconciler.core.records import Record
from reconciler.engine.act.context import ActContext
from reconciler.engine.registry import Kind, Registration, StatusUpdate
from reconciler.engine.state.objects import with_record
from reconciler.errors import GuestFailed

# --- what is declared ---------------------------------------------------------------------------------------------------------


class WidgetSpec(Model):
    """What is wanted of a widget."""

    size: Annotated[int, Field(ge=1, le=9)]
    """How often it is turned."""


class Widget(Document):
    """A thing that is turned in a workshop."""

    kind: Literal["Widget"] = "Widget"
    """`Widget`."""
    spec: WidgetSpec
    """What is wanted."""


SIZE = Column("Size", ".spec.size", "How often it is turned.", type="integer")
WIDGET = ApiKind("Widget", "widget", "widgets", "wg", (READY, REASON, PHASE, SIZE, MESSAGE, AGE), module=__name__)


@section
class WidgetStatus(Status):
    """What was observed of a widget; written by the controller."""

    turned: Count = 0
    """How often it was turned."""


class WidgetRecord(Record):
    """`turned_at`: when it was turned last."""

    turned_at: float = 0.0


# --- what is outside ----------------------------------------------------------------------------------------------------------


@dataclass
class Workshop:
    """How often each widget was turned. `shut`: so many more times nobody opens. `visits`: when somebody looked."""

    turns: dict[str, int] = field(default_factory=dict)
    shut: int = 0
    visits: list[float] = field(default_factory=list)


# --- what is decided ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TurnWidget(Act):
    """Turn it once more."""

    doing: ClassVar = Reason.PREPARING_MACHINE
    then_observe: ClassVar = False

    number: int

    @property
    def message(self) -> str:
        return f"turn {self.number}"


@dataclass(frozen=True, slots=True)
class WidgetSnapshot:
    key: Key
    exists: bool
    size: int
    turned: int
    dry_at: float
    now: float


def refuse_a_broken_one(v: WidgetSnapshot) -> Decision | None:
    """Nobody turns it back."""
    return Refuse(Reason.CLAIM_CONFLICT, f"it was turned {v.turned} times") if v.turned > v.size else None


def turn_it(v: WidgetSnapshot) -> Decision | None:
    """One turn at a time."""
    return TurnWidget(v.turned + 1) if v.turned < v.size else None


def let_it_dry(v: WidgetSnapshot) -> Decision | None:
    """It is not touched before it is dry."""
    return Wait(Reason.BOOTING, "it dries", v.dry_at) if v.now < v.dry_at else None


WIDGETS: Chain[WidgetSnapshot] = Chain("A widget", "It is turned, then dries.", (refuse_a_broken_one, turn_it, let_it_dry))

DRYING = 7.0


class WidgetKind(Kind[WidgetSnapshot]):
    def __init__(self, context: ActContext, workshop: Workshop) -> None:
        self._context, self._workshop = context, workshop

    async def observe(self, key: Key) -> WidgetSnapshot:
        item, now = self._context.table.get(key), self._context.clock.now()
        if item is None or not isinstance(item.spec, WidgetSpec) or not isinstance(item.record, WidgetRecord):
            return WidgetSnapshot(key, False, 0, 0, 0.0, now)
        self._workshop.visits.append(now)
        dry_at = item.record.turned_at + DRYING if item.record.turned_at else 0.0
        return WidgetSnapshot(key, True, item.spec.size, self._workshop.turns.get(key.name, 0), dry_at, now)

    def plan(self, snapshot: WidgetSnapshot) -> Plan:
        return Plan(snapshot.key, {snapshot.key: WIDGETS.evaluate(snapshot) or Steady()} if snapshot.exists else {})

    def after(self, snapshot: WidgetSnapshot, step: Step) -> WidgetSnapshot:
        return replace(snapshot, turned=snapshot.turned + 1, dry_at=snapshot.now + DRYING)

    async def act(self, snapshot: WidgetSnapshot, step: Step) -> WidgetSnapshot | None:
        if self._workshop.shut:
            self._workshop.shut -= 1
            raise GuestFailed("the workshop is shut", str(step.key))
        self._workshop.turns[step.key.name] = self._workshop.turns.get(step.key.name, 0) + 1
        await self._context.table.update([(step.key, with_record(WidgetRecord(turned_at=self._context.clock.now())))])
        return self.after(snapshot, step)

    def status(self, snapshot: WidgetSnapshot, plan: Plan, error: LastError) -> Iterable[StatusUpdate]:
        item = self._context.table.get(plan.key)
        if item is not None and plan.own is not None:
            yield StatusUpdate(plan.key, widget_status(snapshot, plan.own, item.obj.status, item.obj.generation, error), plan.own)


def widget_status(v: WidgetSnapshot, decision: Decision, previous: Json, generation: int, error: LastError) -> WidgetStatus:
    reason, message = told(decision, error)
    ready = Condition("Ready", "True" if isinstance(decision, Steady) else "False", reason, message)
    conditions = [ready, *progress_conditions(decision, ready.status, error)]
    return WidgetStatus(
        observed_generation=generation,
        phase="Done" if isinstance(decision, Steady) else "Turning",
        conditions=merge_conditions(previous.get("conditions"), conditions, generation, v.now),
        turned=v.turned,
    )


def registration(workshop: Workshop) -> Registration:
    """How a widget takes part in the loop."""
    return Registration("Widget", lambda context: WidgetKind(context, workshop), record=WidgetRecord)
