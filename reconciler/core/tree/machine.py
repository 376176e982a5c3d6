"""A machine without an agent: it is made, reached and prepared as a lieutenant's is, by the same policies, and that is all. Pure."""

from __future__ import annotations

from reconciler.api.status.base import Condition
from reconciler.api.status.lieutenant import LieutenantStatus
from reconciler.core.chain import Chain
from reconciler.core.conditions import merge_conditions, next_try, progress_conditions, told, unreadable
from reconciler.core.decisions import Decision, Refuse, Steady
from reconciler.core.keys import Json
from reconciler.core.lasterror import LastError
from reconciler.core.lieutenant import policies as lieutenant
from reconciler.core.lieutenant.bootstatus import boot_status
from reconciler.core.lieutenant.preparation import refresh_the_secret_files
from reconciler.core.lieutenant.reach import REACH
from reconciler.core.lieutenant.replacementstatus import up_to_date
from reconciler.core.lieutenant.status import MODES, machine_status, suspended, vm_ready, vm_status
from reconciler.core.slot.management import only_observe
from reconciler.core.slot.snapshots import housekeeping
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import AgentPart
from reconciler.core.snapshot.vm import Unknown

KEEP: Chain[AgentPart] = Chain("Keep: what comes from secrets is on it as it is now", "", (refresh_the_secret_files,))

MACHINE: Chain[LieutenantView] = Chain(
    "A machine without an agent",
    "The first stages of a lieutenant, one after the other. When none has an opinion, it is ready.",
    (lieutenant.SLOT, REACH, lieutenant.PREPARE, KEEP),
)


def plan(view: LieutenantView) -> Decision:
    """The first policy that has an opinion decides; none: reality matches."""
    decision = MACHINE.evaluate(view)
    if decision is None:
        return Steady(until=lieutenant.look_again(view))
    return only_observe(decision) if view.slot.observe_only else decision


def status(view: LieutenantView, decision: Decision, previous: Json, generation: int, last_error: LastError) -> LieutenantStatus:
    """Its whole status; what a lieutenant's says of its agent is left out."""
    if housekeeping(decision) and view.slot.desired is not DesiredState.GONE:
        decision = Steady()
    reason, message = told(decision, last_error)
    asleep = view.slot.desired is DesiredState.SUSPENDED
    if isinstance(decision, Steady):
        ready = Condition("Ready", "True", "Suspended" if asleep else "Running")
    else:
        ready = Condition("Ready", "Unknown" if unreadable(reason) else "False", reason, message)
    conditions = [ready, *progress_conditions(decision, ready.status, last_error), vm_ready(view), up_to_date(view), suspended(view)]
    return LieutenantStatus(
        observed_generation=generation,
        phase=phase_of(view, decision),
        conditions=merge_conditions(previous.get("conditions"), conditions, generation, view.now),
        mode=MODES[view.slot.desired],
        vm=vm_status(view.slot),
        handled=dict(sorted(view.record.handled.items())) or None,
        machine=machine_status(view, previous),
        boot=boot_status(view, previous.get("boot")),
        next_try_at=next_try(decision),
    )


def phase_of(view: LieutenantView, decision: Decision) -> str:
    """One word; as a lieutenant's, where it has one."""
    if view.slot.desired is DesiredState.GONE:
        return "Terminating"
    if isinstance(decision, Refuse):
        return "Stalled"
    if isinstance(view.slot.vm, Unknown):
        return "Unknown"
    if view.slot.desired is DesiredState.SUSPENDED:
        return "Suspended" if isinstance(decision, Steady) else "Suspending"
    if isinstance(decision, Steady):
        return "Running"
    return "Starting" if view.vm_id else "Provisioning"
