"""An agent on this host: as declared (`placement.type: Local`), or because VMs cannot be had (`outageFallback: Local`). Pure.

Its directory holds a tree that stands in for a machine's file system: `/root/workspace` of the declaration is
`TREE/root/workspace`. One prefix for every path keeps conversations portable: the one line of a session file that names a
directory is translated on its way to and from the mirror, which always has it as a machine does."""

from __future__ import annotations

from dataclasses import replace

from reconciler.api.reasons import Reason
from reconciler.core.decisions import (
    CloseLocal,
    Decision,
    FenceLocal,
    LeaveLocal,
    MoveToVm,
    OpenLocal,
    Refuse,
    RestAgent,
    Steady,
    Wait,
)
from reconciler.core.lieutenant.preparation import without_a_rendering
from reconciler.core.plan import is_action
from reconciler.core.slot.deletion import CONFIRM, DELETION
from reconciler.core.snapshot.agent import Agent, Guest, Up
from reconciler.core.snapshot.local import Hosting
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.slot import DesiredState, EffectiveDeletion
from reconciler.core.snapshot.stages import GovernPart, SlotPart

# --- where things are -------------------------------------------------------------------------------------------------------


# --- what of a profile applies ------------------------------------------------------------------------------------------------


# --- policies -----------------------------------------------------------------------------------------------------------------


def close_before_the_end(v: SlotPart) -> Decision | None:
    """G-05: an object is gone when its agent on this host is: pi and keeper proven to be gone, its directory removed, or kept by
    deletionPolicy Retain and Snapshot. Orphan, `forget` and ObserveOnly leave everything as it is."""
    if v.slot.desired is not DesiredState.GONE or not v.lt.record.local.state:
        return None
    deletion = v.slot.deletion
    if deletion.hands_off:
        return LeaveLocal(v.local.place)
    if not v.local.here:
        return _elsewhere(v)
    if v.slot.protected and v.slot.record.confirmed != DELETION and deletion is not EffectiveDeletion.RETAIN:
        return Refuse(Reason.PROTECTED, f"its agent on this host is protected from deletion; {CONFIRM} lets it go")
    if v.slot.busy:
        return Wait(Reason.DELETE_PENDING, "ending the running turn first")
    keep = v.lt.record.local.state == "Home" and deletion in (EffectiveDeletion.RETAIN, EffectiveDeletion.SNAPSHOT)
    return CloseLocal(v.local.place, keep=keep)


def live_here_as_declared(v: SlotPart) -> Decision | None:
    """`placement.type: Local`, where the operator allows it: a directory of its own, and no VM ever."""
    if not v.local.declared or v.slot.desired is DesiredState.GONE:
        return None
    refused = _may_not(v)
    if refused is not None:
        return refused
    if v.lt.record.local.state:
        return rest_as_declared(v)
    if v.slot.desired is DesiredState.SUSPENDED:
        return Steady()
    if isinstance(v.lt.rendered, Unresolved):
        return without_a_rendering(v.lt.rendered)

    return OpenLocal(v.local.place, fallback=False)


def rest_as_declared(v: SlotPart) -> Decision | None:
    """G-08: a suspended agent on this host is one whose pi is stopped, when settled."""
    if v.slot.desired is not DesiredState.SUSPENDED or v.lt.record.local.state != "Home":
        return None
    match v.lt.guest, v.lt.agent:
        case Guest(keeper_alive=False), _:
            return Steady() if v.local.declared else None
        case _, Agent(process=Up()) if v.slot.busy:
            return Wait(Reason.SUSPEND_PENDING, "waiting for the agent's turn to end")
        case _, Agent(process=Up()) if not v.slot.mirrored:
            return Wait(Reason.SUSPEND_PENDING, "saving the conversation first")
        case _, Agent(process=Up()):
            return RestAgent(v.lt.vm_id, "suspended as declared")
        case _, Agent():
            return Steady() if v.local.declared else None
        case _:
            return Wait(Reason.SUSPEND_PENDING, "the agent's state is not known; stopping it could cut off a turn")


def fall_back(v: SlotPart, slot: Decision) -> Decision | None:
    """G-31: work goes on here while VMs cannot be had: only without a VM, only while the breaker is open. `slot`: what the slot
    would do. None: nothing to say."""
    if v.local.declared or v.lt.record.local.state == "Home" or v.lt.vm_id or v.slot.desired is not DesiredState.RUNNING:
        return None
    if v.lt.record.local.state == "Left":  # the VM it had moved to is gone; what it left is here
        return OpenLocal(v.local.place, fallback=True) if v.local.hosting is Hosting.ALLOWED and v.local.here else None
    if not v.local.fallback or not v.local.outage or not isinstance(slot, Wait):
        return None
    if slot.reason is not Reason.PLATFORM_BLOCKED and not slot.reason.waiting.unreadable:
        return None
    if v.local.hosting is not Hosting.ALLOWED:
        return replace(slot, message=f"{slot.message}; outageFallback needs a controller started with --allow-local")
    return OpenLocal(v.local.place, fallback=True) if isinstance(v.lt.rendered, Rendered) else None


def move_back(v: SlotPart, prepared: Decision | None) -> Decision | None:
    """G-31, G-32: the way back to a VM that is ready: not in a turn, not between the turns of a task; pi stopped here before
    anything is copied. `prepared`: what is still to be done in the VM; None when it is ready."""
    if prepared is not None:
        return prepared if is_action(prepared) else None
    if v.lt.record.local.blocked or not isinstance(v.lt.agent, Agent) or v.lt.active_task or not v.slot.mirrored:
        return None
    if isinstance(v.lt.agent.process, Up):
        return RestAgent(v.lt.vm_id, f"moving to VM {v.slot.record.vm_id}") if v.lt.settled else None
    if v.lt.record.local.fenced != v.slot.record.epoch:
        return FenceLocal(v.local.place)
    return MoveToVm(v.slot.record.vm_id)


def stay_meanwhile(v: GovernPart, waiting: Decision | None) -> Decision:
    """It works here; why, and what the way back waits for. `waiting`: what the slot, or the VM in it, waits for; None: the VM is
    ready, so that nothing new is begun here, only what is on is finished."""
    vm = f"VM {v.slot.record.vm_id}"
    if v.lt.record.local.blocked:
        return Wait(
            Reason.LOCAL_FALLBACK,
            f"working on this host; it can't move to {vm}: {v.lt.record.local.blocked}",
            until=v.lt.now + v.lt.health_period,
        )
    if waiting is None:
        reason = Reason.LOCAL_FALLBACK if v.lt.active_task else Reason.MOVE_PENDING
        return Wait(reason, f"working on this host; {vm} is ready and taken when the agent is settled", until=v.lt.now + 1.0)
    why = f"{waiting.reason}: {waiting.message}" if isinstance(waiting, Wait | Refuse) else f"{vm} is being prepared"
    times = [waiting.until] if isinstance(waiting, Wait) and waiting.until else []
    return Wait(Reason.LOCAL_FALLBACK, f"working on this host; {why}", until=min([*times, v.lt.now + (v.lt.health_period or 10.0)]))


def leave_no_copy(v: GovernPart) -> Decision | None:
    """What was left on this host goes once the agent has answered on its VM."""
    return CloseLocal(v.local.place, keep=False) if v.lt.record.local.state == "Left" and v.lt.settled and v.local.here else None


def may_not_work_here(v: SlotPart) -> Decision | None:
    """An agent that lives here since an outage, and may no more: nothing is started, and nothing of it is touched."""
    if v.lt.record.local.state != "Home" or v.slot.desired is DesiredState.GONE:
        return None
    return _may_not(v)


def _may_not(v: SlotPart) -> Refuse | None:
    if v.local.hosting is Hosting.UNAVAILABLE:
        return Refuse(Reason.LOCAL_UNAVAILABLE, "agents can't run where this controller runs; declare `placement.type: VM`")
    if v.local.hosting is Hosting.NOT_ALLOWED:
        return Refuse(
            Reason.LOCAL_NOT_ALLOWED, "its agent runs on the controller's host, which needs a controller started with --allow-local"
        )
    return _elsewhere(v) if not v.local.here else None


def _elsewhere(v: SlotPart) -> Refuse:
    return Refuse(Reason.LOCAL_ELSEWHERE, "its directory is in another state directory; start the controller where it is")
