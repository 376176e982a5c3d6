"""`status.replacement` and the condition `UpToDate`: whether the machine is as its profile says, and what is done about it. Pure."""

from __future__ import annotations

from typing import Literal

from reconciler.api.reasons import Reason
from reconciler.api.status.base import Condition
from reconciler.api.status.lieutenant import ReplacementStatus
from reconciler.core.lieutenant.preparation import PREPARED, outdated
from reconciler.core.lieutenant.replacement import failed_before, held_back, to_be_done
from reconciler.core.snapshot.agent import Guest
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.times import timestamp

Phase = Literal["Creating", "Preparing", "Verified", "Starting", "Removing"]


def up_to_date(view: LieutenantView) -> Condition:
    """Whether the machine was made from the profile as it is now; if not, what becomes of it."""
    why = outdated(view.lt)
    if why:
        reason, then = _outlook(view)
        return Condition("UpToDate", "False", reason, f"{why}; {then}")
    if isinstance(view.rendered, Rendered) and isinstance(view.guest, Guest) and PREPARED in view.guest.marks:
        return Condition("UpToDate", "True", "ProfileApplied")
    return Condition("UpToDate", "Unknown", "NotLookedAt")


def _outlook(view: LieutenantView) -> tuple[Reason, str]:
    part = view
    if not part.recreate:
        return Reason.PROFILE_CHANGED, "it stays as it is (update.onProfileChange)"
    if failed := failed_before(view.lt):
        return Reason.REPLACEMENT_FAILED, f"VM {view.vm_id} stays, for the machine that was to replace it did not work: {failed}"
    if held := held_back(part):
        return Reason.REPLACEMENT_HELD_BACK, held
    return Reason.PROFILE_CHANGED, "another machine takes its place once it is verified and the agent is settled"


def replacement_status(view: LieutenantView) -> ReplacementStatus | None:
    """The machine beside the one in use; None when there is none."""
    told, other = view.record.replacement, view.next
    if not told.state or other is None:
        return None
    return ReplacementStatus(vm=other.slot.record.vm_id, phase=_phase(view), since=timestamp(told.since))


def _phase(view: LieutenantView) -> Phase:
    told, other = view.record.replacement, view.next
    if told.state == "Taken":
        return "Starting"
    if told.state != "Making" or other is None:
        return "Removing"
    if not other.slot.record.vm_id:
        return "Creating"
    return "Preparing" if to_be_done(view.lt, other) is not None else "Verified"
