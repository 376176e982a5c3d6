"""The agent's files, which a lost machine takes with it while the conversation goes on elsewhere. Pure.

The conversation is the witness for whether the agent knows: what it was told stands in it."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.api.lieutenant import OnWorkspaceLost
from reconciler.api.reasons import Reason
from reconciler.api.status.base import Condition
from reconciler.core.decisions import Decision, NoteWorkspace, Refuse
from reconciler.core.messages import Message
from reconciler.core.records import SlotRecord, WorkspaceRecord
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import GovernPart, SlotPart
from reconciler.core.times import timestamp


def mark_of(vm_id: str) -> str:
    """What makes the sentence findable in the conversation."""
    return f"[machine {vm_id} lost]"


def sentence(vm_id: str, as_of: float = 0.0) -> str:
    """What the agent is told before its next prompt. `as_of`: when the snapshot was taken that its files were restored from, 0 for none."""
    if as_of:
        return (
            f"{mark_of(vm_id)} The machine that you worked on was lost and has been restored from a snapshot as of {timestamp(as_of)}. "
            "What you changed on it since then is not there, though you remember it: look before you rely on it, and make again "
            "what is needed."
        )
    return (
        f"{mark_of(vm_id)} The machine that you worked on was lost and has been replaced. Your working directory does not have the "
        "files of the one before: look at what is there before you rely on a file that you remember, and make again what is needed."
    )


def untold(record: WorkspaceRecord, messages: Iterable[Message]) -> str:
    """The machine whose loss the agent was not told of in this conversation, '' for none."""
    mark = mark_of(record.lost)
    return record.lost if record.lost and not any(m.role == "user" and mark in m.text for m in messages) else ""


def note_the_lost_files(v: SlotPart) -> Decision | None:
    """G-37: that a machine went with the files that its conversation remembers is written down and told before there is another one."""
    left = v.lt.record.workspace.left
    if (
        not left
        or v.slot.record.vm_id
        or v.slot.desired is not DesiredState.RUNNING
        or not v.mirror_size
        or v.lt.record.local.state == "Home"
    ):
        return None
    return NoteWorkspace(left) if v.lt.record.workspace.lost != left else None


def hold_without_its_files(v: GovernPart) -> Decision | None:
    """session.onWorkspaceLost Hold: no work until a person has seen to the files."""
    if v.on_workspace_lost is not OnWorkspaceLost.HOLD or not v.lt.record.workspace.lost:
        return None
    how = f"`reconciler resolve lieutenant {v.lt.name} --workspace` lets it go on"
    return Refuse(Reason.WORKSPACE_LOST, f"{gone_with_it(v.lt.record.workspace.lost, from_where(v.slot.record))}; {how}")


def workspace_condition(v: GovernPart) -> Condition | None:
    lost = v.lt.record.workspace.lost
    if not lost or v.slot.desired is DesiredState.GONE:
        return None
    told = "is told before its next prompt" if v.workspace_untold else "was told"
    return Condition("WorkspaceLost", "True", Reason.WORKSPACE_LOST, f"{gone_with_it(lost, from_where(v.slot.record))}, which {told}")


def from_where(record: SlotRecord) -> str:
    """What the machine was restored from, '' for nothing."""
    return f"from commit {record.restored_from}" if record.restored_from else ""


def gone_with_it(vm_id: str, restored: str) -> str:
    """What the loss of this machine comes to for the files of its agent. `restored`: from what, or as of when; '' for not at all."""
    if restored:
        return f"VM {vm_id} is gone; restored {restored}, what changed since is missing to its agent"
    return f"VM {vm_id} is gone with the files of its agent"
