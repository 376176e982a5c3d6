"""Whether the slot of a lieutenant can have something new to say once an act inside its machine was looked after. Pure."""

from __future__ import annotations

from operator import attrgetter

from reconciler.api.lieutenant import PostTask
from reconciler.core.snapshot.lieutenant import LieutenantView

_PLACED = attrgetter(
    "requests", "unsupported", "mirror_size", "session_seen", "spare", "on_lost", "copies", "pools", "local", "standby", "next"
)
_WORK = attrgetter("running", "wanted", "done", "may_go", "sent", "after", "post_task", "wake_on_task")


def slot_is_as_before(before: LieutenantView, now: LieutenantView) -> bool:
    """Whether all that the policies of the slot go by is what it was when none of them had an opinion, but for the time. Where nothing is
    declared that depends on it, they do not ask whether the machine is quiet, nor since when it has no work; and only where memory is
    declared what the agent says."""
    slot, idle, record = now.slot, now.idle, now.lt.record
    if record is not before.lt.record or now.memory is not None or before.memory is not None or record.spare.purpose:
        return False
    if slot.snapshots is not None or slot.record.asked or idle.after or idle.post_task is not PostTask.STAY_IDLE:
        return False
    if _WORK(idle) != _WORK(before.idle) or _PLACED(now) != _PLACED(before):
        return False
    return slot.__dict__ | {"now": 0.0, "quiet": False} == before.slot.__dict__ | {"now": 0.0, "quiet": False}
