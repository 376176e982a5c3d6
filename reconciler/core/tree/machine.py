"""A machine without an agent: it is made, reached and prepared as a lieutenant's is, by the same policies, and that is all. Pure."""

from __future__ import annotations

from reconciler.api.phases import MachinePhase
from reconciler.api.status.base import Condition
from reconciler.api.status.lieutenant import BootStatus, LieutenantStatus
from reconciler.core.chain import Chain
from reconciler.core.conditions import merge_conditions, next_try, progress_conditions, told, unreadable
from reconciler.core.decisions import (
    AtNext,
    ConfirmReplacement,
    Decision,
    Refuse,
    ReturnToOld,
    StandStill,
    Steady,
)
from reconciler.core.keys import Json
from reconciler.core.lasterror import LastError
from reconciler.core.lieutenant import policies as lieutenant
from reconciler.core.lieutenant.bootstatus import boot_status
from reconciler.core.lieutenant.phase import starting_or_unreachable
from reconciler.core.lieutenant.preparation import PREPARED, refresh_the_secret_files
from reconciler.core.lieutenant.reach import REACH
from reconciler.core.lieutenant.replacement import PATIENCE, beside, usable
from reconciler.core.lieutenant.replacementstatus import replacement_status, up_to_date
from reconciler.core.lieutenant.snapshotstatus import rollback_status, snapshots_condition, snapshots_status
from reconciler.core.lieutenant.status import MODES, machine_status, suspended, vm_ready, vm_status
from reconciler.core.plan import is_rest
from reconciler.core.slot.management import only_observe
from reconciler.core.slot.snapshots import housekeeping, under_way
from reconciler.core.snapshot.agent import Agent, Guest
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import AgentPart, GovernPart, SlotPart
from reconciler.core.snapshot.vm import Unknown


def confirm_the_new(v: SlotPart) -> Decision | None:
    """G-14: the new machine is confirmed when its keeper answers and it is as the profile says: there is no agent to wait for. The old one
    is taken back when that does not come."""
    told, new = v.lt.record.replacement, v.slot.record.vm_id
    if told.state != "Taken" or v.next is None or v.slot.desired is not DesiredState.RUNNING or v.slot.observe_only:
        return None
    if isinstance(v.lt.agent, Agent) and isinstance(v.lt.guest, Guest) and PREPARED in v.lt.guest.marks:
        return ConfirmReplacement(v.next.slot.record.vm_id)
    if v.lt.now < told.at + PATIENCE or not usable(v.next.slot) or v.slot.vanished or isinstance(v.slot.vm, Unknown):
        return None
    return ReturnToOld(new, f"the keeper has not answered on VM {new} within {PATIENCE:.0f} s")


SLOT: Chain[SlotPart] = Chain("Slot: which machine", "", (confirm_the_new, lieutenant.SLOT))


def stand_still(v: GovernPart) -> Decision | None:
    """G-33: a machine that is to be copied live stands still as soon as it is prepared: nothing begins on it until the copies are made."""
    if not v.copies.asked or v.lt.record.stand.vm_id or not v.slot.record.vm_id:
        return None
    if v.lt.record.on_the_move or under_way(v.slot):
        return None
    return StandStill(v.slot.record.vm_id, v.lt.record.session.name, v.mirror_size)


KEEP: Chain[AgentPart] = Chain("Keep: what comes from secrets is on it as it is now", "", (refresh_the_secret_files,))

COPIES: Chain[GovernPart] = Chain("Copies: it stands still while they are made", "", (stand_still,))

MACHINE: Chain[LieutenantView] = Chain(
    "A machine without an agent",
    "The first stages of a lieutenant, one after the other. When none has an opinion, it is ready.",
    (SLOT, REACH, lieutenant.PREPARE, KEEP, COPIES),
)


def plan(view: LieutenantView) -> Decision:
    """The first policy that has an opinion decides; none: reality matches. What rests leaves time for another machine."""
    view = view.but(has_agent=False)
    decision = MACHINE.evaluate(view) or Steady(until=lieutenant.look_again(view))
    if is_rest(decision):
        return beside(view, decision)
    return only_observe(decision) if view.slot.observe_only else decision


def status(view: LieutenantView, decision: Decision, previous: Json, generation: int, last_error: LastError) -> LieutenantStatus:
    """Its whole status; what a lieutenant's says of its agent is left out."""
    if housekeeping(decision) and view.slot.desired is not DesiredState.GONE:
        decision = Steady()
    decision = decision.meanwhile if isinstance(decision, AtNext) else decision
    reason, message = told(decision, last_error)
    asleep = view.slot.desired is DesiredState.SUSPENDED
    if isinstance(decision, Steady):
        ready = Condition("Ready", "True", "Suspended" if asleep else "Running")
    else:
        ready = Condition("Ready", "Unknown" if unreadable(reason) else "False", reason, message)
    conditions = [ready, *progress_conditions(decision, ready.status, last_error), vm_ready(view), up_to_date(view), suspended(view)]
    if (failing := snapshots_condition(view.slot)) is not None:
        conditions.append(failing)
    boot = boot_status(view, previous.get("boot"))
    return LieutenantStatus(
        observed_generation=generation,
        phase=phase_of(view, decision, boot, previous),
        conditions=merge_conditions(previous.get("conditions"), conditions, generation, view.now),
        mode=MODES[view.slot.desired],
        vm=vm_status(view.slot),
        snapshots=snapshots_status(view.slot),
        rollback=rollback_status(view.record),
        handled=dict(sorted(view.record.handled.items())) or None,
        machine=machine_status(view, previous),
        boot=boot,
        replacement=replacement_status(view),
        next_try_at=next_try(decision),
    )


def phase_of(view: LieutenantView, decision: Decision, boot: BootStatus | None, previous: Json) -> MachinePhase:
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
    return starting_or_unreachable(view, decision, boot, previous) if view.vm_id else "Provisioning"
