"""When a machine is suspended though it is declared Running: its agent has no work, or its budget is used up; and when it is wanted again.
What is written down decides, so that nothing is lost on the way: a task that arrives while it is being suspended wakes it. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from reconciler.api.lieutenant import PostTask
from reconciler.core.decisions import Decision, NoteHours, NoteRest, NoteWake, Retire
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import GovernPart, SlotPart
from reconciler.core.snapshot.vm import Absent, Seen, VmState
from reconciler.core.spending.pool import suspends

Why = Literal["", "Idle", "Budget"]

BETWEEN = 30.0
"""Seconds between two looks at a budget that is used up."""
WHILE_RUNNING = 3600.0
"""Seconds of a machine's time that are in the books at the latest."""


class Found(NamedTuple):
    """Why it should rest now, in a word and for people."""

    why: Why
    told: str = ""


def wanted(v: SlotPart) -> Found:
    """Why its machine should rest now, '' when it should run."""
    if not v.idle.running:
        return Found("")
    if any(suspends(pool) for pool in v.pools):
        now = not v.idle.sent or v.lt.record.rest.reason == "Budget"  # what became of a turn that was ended can only be seen while it runs
        return Found("Budget", "its budget is used up") if now else Found("")
    if v.idle.wanted and v.idle.wake_on_task:
        return Found("", f"{v.idle.wanted} waits for it")
    if not v.idle.after and v.idle.post_task is PostTask.STAY_IDLE:
        return Found("", "it is not declared any more that it rests")
    if v.lt.record.rest.reason == "Idle":
        return Found("Idle")
    since = v.idle.since
    if since is not None and not v.idle.wanted and v.idle.done and v.idle.post_task is not PostTask.STAY_IDLE:
        return Found("Idle", "its tasks are done")
    if since is not None and not v.idle.wanted and v.idle.after and v.lt.now >= since + v.idle.after:
        return Found("Idle", f"without work for {v.idle.after} s")
    return Found("")


def rest_or_wake(v: SlotPart) -> Decision | None:
    """G-29: its machine is suspended while its budget is used up and that is declared, or once it had no work for as long as is declared;
    and resumed when that is over. Written down before the platform is asked."""
    if v.slot.observe_only:
        return None
    found = wanted(v)
    return NoteRest(found.why, found.told) if found.why != v.lt.record.rest.reason else None


def go_when_done(v: SlotPart) -> Decision | None:
    """A worker whose tasks are all done is deleted, where that is declared."""
    idle = v.idle
    goes = (
        not v.slot.observe_only
        and idle.post_task is PostTask.DELETE
        and idle.may_go
        and idle.running
        and idle.done
        and idle.since is not None
    )
    return Retire() if goes else None


def due(v: SlotPart) -> float | None:
    """When it may have to rest, or to be woken, by itself."""
    if v.lt.record.rest.reason == "Budget":
        ends = [pool.ends for pool in v.pools if suspends(pool) and pool.ends is not None]
        return min([*ends, v.lt.now + BETWEEN])
    if v.idle.running and v.idle.after and v.idle.since is not None and not v.lt.record.rest.reason:
        return max(v.idle.since + v.idle.after, v.lt.now)
    return None


def note_the_wake(v: GovernPart) -> Decision | None:
    """How long it took from the moment at which it was wanted until it could work is written down once."""
    rest = v.lt.record.rest
    return NoteWake() if not v.slot.observe_only and rest.woken_at and not rest.seconds and not rest.reason and v.lt.settled else None


def note_the_hours(v: SlotPart) -> Decision | None:
    """G-29: while a budget bounds machine hours, it is written down from when to when the machine runs."""
    if v.slot.observe_only or not (v.pools or v.lt.record.spending.vm_id):
        return None
    bounded = any(pool.budget.max_machine_hours is not None for pool in v.pools)
    spending, vm = v.lt.record.spending, v.slot.vm
    if isinstance(vm, Seen) and vm.state in (VmState.RUNNING, VmState.BOOTING):
        runs = v.slot.record.vm_id
    elif isinstance(vm, Seen | Absent):
        runs = ""
    else:
        return None  # it is not known
    machine = runs if bounded else ""
    if machine != spending.vm_id or (machine and v.lt.now >= spending.since + WHILE_RUNNING and v.slot.desired is not DesiredState.GONE):
        return NoteHours(machine)
    return None
