"""The phase of a Lieutenant: the one word of its column, derived from what was observed and decided. Pure."""

from __future__ import annotations

from typing import Literal

from reconciler.api.phases import LieutenantPhase
from reconciler.api.reasons import Reason
from reconciler.api.status.lieutenant import BootStatus
from reconciler.core.conditions import condition_of, unreadable
from reconciler.core.decisions import Decision, Refuse, Steady, Wait
from reconciler.core.keys import Json
from reconciler.core.lieutenant.budget import budget_reason
from reconciler.core.lieutenant.policies import works_aside
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.vm import Unknown


def works(view: LieutenantView, decision: Decision) -> bool:
    """It takes work: everything is as declared, it is on this host while VMs can't be had, or another machine is made for it."""
    aside = isinstance(decision, Wait) and decision.reason in (Reason.LOCAL_FALLBACK, Reason.REPLACING)
    if budget_reason(decision):
        return True
    return aside or isinstance(decision, Steady) or works_aside(view, decision)


def lieutenant_phase(view: LieutenantView, decision: Decision, boot: BootStatus | None, previous: Json) -> LieutenantPhase:
    """One word for the column; derived, may gain values. `boot`: what is known of its machine; `previous`: the status as it was written
    last."""
    slot = view.slot
    if slot.desired is DesiredState.GONE:
        return "Terminating"
    if isinstance(decision, Refuse):
        return "Stalled"
    if isinstance(slot.vm, Unknown) and view.record.local.state != "Home":
        return "Unknown"
    if slot.desired is DesiredState.SUSPENDED:
        return "Suspended" if isinstance(decision, Steady) else "Suspending"
    if works(view, decision):
        return "Working" if view.active_task or not view.settled else "Idle"
    if not view.vm_id:
        return "Pending" if isinstance(decision, Wait) else "Provisioning"
    return starting_or_unreachable(view, decision, boot, previous)


def starting_or_unreachable(
    view: LieutenantView, decision: Decision, boot: BootStatus | None, previous: Json
) -> Literal["Unreachable", "Starting"]:
    """Of a machine that is to be in use and is not: whether it was ready before, and does not answer."""
    was_ready = boot is not None and boot.prepared is True and not waking(previous)
    return "Unreachable" if was_ready and out_of_reach(view, decision) else "Starting"


def out_of_reach(view: LieutenantView, decision: Decision) -> bool:
    """Its machine runs, and it or its keeper does not answer."""
    silent = isinstance(decision, Wait) and unreadable(decision.reason)
    return silent and (isinstance(view.guest, Unknown) or isinstance(view.agent, Unknown))


def waking(previous: Json) -> bool:
    """It was suspended when it was looked at last, or was waited for since it was resumed."""
    match previous.get("phase"):
        case "Suspended" | "Suspending":
            return True
        case "Starting":
            return condition_of(previous, "Ready").get("reason") in (Reason.RESUMING_VM, Reason.BOOTING, Reason.GUEST_UNREACHABLE)
        case _:
            return False
