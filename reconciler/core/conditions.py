"""Conditions: how what was decided is told, the same for every kind.

kstatus rules (field-anchors §2.4): `Ready` from the first visit on; `Reconciling` and `Stalled` exist only while True;
messages carry no counters or times that would make every pass a write.
"""

from __future__ import annotations

from operator import attrgetter

from reconciler.api.catalogue import REASONS
from reconciler.api.reasons import Reason
from reconciler.api.status.base import Condition, Status, Truth, clipped
from reconciler.api.waits import MOVES, Explained, Waiting
from reconciler.core.decisions import Decision, Refuse, Steady, Wait
from reconciler.core.keys import Json, JsonValue
from reconciler.core.lasterror import NONE, LastError
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.core.times import timestamp


def unreadable(reason: str) -> bool:
    """The truth is not known, rather than known to be false. A reason of another release says nothing."""
    return _waiting_for(reason).unreadable


def undeclared(reason: str) -> bool:
    """It waits for something that is not declared. A reason of another release says nothing."""
    return _waiting_for(reason).undeclared


def held_back(reason: str) -> bool:
    """It waits for another one and does not move itself. A reason of another release says nothing."""
    return _waiting_for(reason).held


def meaning(reason: str) -> str:
    """What the catalogue says of a reason, for a condition that has nothing more precise to say."""
    found = REASONS.get(reason)
    return found.meaning if found is not None else ""


def _waiting_for(reason: str) -> Waiting:
    found = REASONS.get(reason)
    return found.waiting if found is not None else MOVES


def reason_of(decision: Decision) -> tuple[Explained, str]:
    """A decision as (reason, message)."""
    match decision:
        case Wait(reason, message) | Refuse(reason, message):
            return reason, message
        case Steady():
            return Reason.STEADY, ""
        case _:
            return decision.doing, decision.message


def next_try(decision: Decision | None) -> str | None:
    """When what failed is tried again (RFC 3339), None when nothing waits for that."""
    if isinstance(decision, Wait) and decision.until is not None and _waiting_for(decision.reason).retries:
        return timestamp(decision.until)
    return None


_TYPE = attrgetter("type")


def merge_conditions(previous: JsonValue, conditions: list[Condition], generation: int, now: float) -> tuple[Condition, ...]:
    """Conditions as they are told, sorted by type; `last_transition_time` moves only when the status does. `previous`: as written last."""
    before = {c.get("type"): c for c in previous if isinstance(c, dict)} if isinstance(previous, list) else {}
    merged, moved = [], ""
    for c in sorted(conditions, key=_TYPE):
        old = before.get(c.type)
        if old is not None and old.get("status") == c.status:
            since = str(old["lastTransitionTime"])
        else:
            since = moved = moved or timestamp(now)
        merged.append(Condition(c.type, c.status, c.reason, clipped(c.message or meaning(c.reason)), generation, since))
    return tuple(merged)


def stalled_for(status: Json) -> str:
    """The reason for which an object with this status is stalled, '' when it is not."""
    return str(condition_of(status, "Stalled").get("reason", ""))


def reasons_of(status: Json) -> frozenset[str]:
    """The reasons of every condition."""
    conditions = status.get("conditions")
    return frozenset(str(c.get("reason")) for c in conditions if isinstance(c, dict)) if isinstance(conditions, list) else frozenset()


def suspended(status: Json) -> bool:
    """Whether a lieutenant with this status has a machine that is suspended."""
    found = condition_of(status, "Suspended")
    return (found.get("status"), found.get("reason")) == ("True", Reason.VM_SUSPENDED)


def condition_of(status: Json, kind: str) -> Json:
    """The condition of this type, {} when there is none."""
    conditions = status.get("conditions")
    for c in conditions if isinstance(conditions, list) else ():
        if isinstance(c, dict) and c.get("type") == kind:
            return c
    return {}


def told(decision: Decision, last_error: LastError) -> tuple[str, str]:
    """Reason and message of a decision whose last try came to this."""
    reason, message = reason_of(decision)
    if last_error.reason and not isinstance(decision, Wait | Refuse | Steady):
        return last_error.reason, f"{message}: {last_error.message}" if message else last_error.message
    return reason, message or last_error.message


def progress_conditions(decision: Decision, ready: Truth, last_error: LastError = NONE) -> list[Condition]:
    """`Reconciling` while something moves or is waited for, `Stalled` while only a person can help. `trouble`: what the last
    try came to."""
    reason, message = told(decision, last_error)
    if isinstance(decision, Refuse):
        return [Condition("Stalled", "True", reason, message)]
    if ready != "True":
        return [Condition("Reconciling", "True", reason, message)]
    return []


def resting_status(decision: Decision, previous: Json, generation: int, now: float) -> Status:
    """Status of a kind for which nothing but waiting, refusing and being steady is decided."""
    reason, message = reason_of(decision)
    problem = None if isinstance(decision, Steady) else Unresolved(reason, message, final=isinstance(decision, Refuse))
    return simple_status(problem, previous, generation, now)


def simple_status(problem: Unresolved | None, previous: Json, generation: int, now: float) -> Status:
    """Status of a kind that needs no machine of its own: Ready, or Stalled/waiting with the reason."""
    if problem is None:
        conditions = [Condition("Ready", "True", Reason.RESOLVED)]
    else:
        kind = "Stalled" if problem.final else "Reconciling"
        conditions = [
            Condition("Ready", "False", problem.reason, problem.message),
            Condition(kind, "True", problem.reason, problem.message),
        ]
    return Status(
        observed_generation=generation,
        phase="Ready" if problem is None else ("Stalled" if problem.final else "Pending"),
        conditions=merge_conditions(previous.get("conditions"), conditions, generation, now),
    )
