"""The agent leaves its outdated machine for the one that was verified (G-14), once nothing on it would be caught in the middle. Pure."""

from __future__ import annotations

from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import (
    CarryOver,
    Decision,
    DropReplacement,
    FenceReplacement,
    MarkForDeletion,
    Refuse,
    RestAgent,
    StopAgent,
)
from reconciler.core.lieutenant.replacement import not_wanted, save_first, to_be_done
from reconciler.core.slot import snapshots
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.replacement import NextMachine
from reconciler.core.snapshot.stages import PreparePart


def change_places(v: PreparePart) -> Decision | None:
    """G-14, G-32: a verified machine takes the place of the outdated one when the agent is settled, no task is sent and its conversation is
    saved: pi is stopped, then everything is carried over. With snapshots.beforeMutate a commit of the outdated one is listed before that.
    Where the platform had no room for another one and `update.onNoRoom` says InPlace, the outdated one is deleted first."""
    if v.next is None or v.lt.record.replacement.state != "Making" or not_wanted(v) or isinstance(v.lt.rendered, Unresolved):
        return None
    if had_no_room(v, v.next):
        return replace_in_place(v)
    if v.lt.now < v.lt.record.replacement.not_before or to_be_done(v.lt, v.next) is not None:
        return None
    if not may_be_left(v):
        return None
    if (waiting := snapshots.before_it_is_left(v.slot)) is not None:
        return the_snapshot_first(waiting)
    new = v.next.slot.record.vm_id
    if is_up(v):
        return RestAgent(v.lt.vm_id, f"moving to VM {new}")
    if (waiting := save_first(v)) is not None:
        return waiting
    if v.lt.record.replacement.fenced != v.slot.record.epoch:
        return FenceReplacement(v.lt.vm_id)
    return CarryOver(new, f"conversation and workspace {v.lt.rendered.work_dir} go from VM {v.lt.vm_id} to VM {new}")


def is_up(v: PreparePart) -> bool:
    return isinstance(v.lt.agent, Agent) and isinstance(v.lt.agent.process, Up)


def may_be_left(v: PreparePart) -> bool:
    """Nothing on the machine would be caught in the middle: its agent is settled or down, no task is sent, and no copy is made of it."""
    if v.lt.active_task or not isinstance(v.lt.agent, Agent) or v.divergence is not None or v.lt.record.stand.vm_id:
        return False
    return v.lt.settled or not is_up(v)


def the_snapshot_first(waiting: Decision) -> Decision | None:
    """One that can't be taken ends the replacement, and the agent works on; so it does until one is tried again."""
    if isinstance(waiting, Refuse):
        return DropReplacement(waiting.message, failed=True)
    return None if snapshots.works_on(waiting) else waiting


def had_no_room(v: PreparePart, other: NextMachine) -> bool:
    """A create of its own was refused for want of room, or a limit leaves none, and nothing of it is on its way."""
    slot = other.slot
    refused = bool(slot.record.tried_with) and bool(v.no_room)
    if slot.no_room is not None and slot.no_room.reason is TreeReason.HALTED:
        return False  # nothing would be made in its place
    limited = slot.no_room is not None
    return v.in_place and (refused or limited) and not slot.record.vm_id and slot.intent is None and not v.replace_blocked


def replace_in_place(v: PreparePart) -> Decision | None:
    """The old machine goes before the new one is there; its conversation goes on."""
    if not may_be_left(v):
        return None
    if (waiting := snapshots.before_it_is_left(v.slot)) is not None:
        return the_snapshot_first(waiting)
    assert isinstance(v.lt.rendered, Rendered)
    full = v.next.slot.no_room.message if v.next is not None and v.next.slot.no_room is not None else v.no_room
    why = f"{full}; onNoRoom InPlace deletes VM {v.lt.vm_id} with its workspace {v.lt.rendered.work_dir}, then makes another"
    if is_up(v):
        return StopAgent(v.lt.vm_id, why)
    if (waiting := save_first(v)) is not None:
        return waiting
    return MarkForDeletion(v.lt.vm_id, why, "Outdated")
