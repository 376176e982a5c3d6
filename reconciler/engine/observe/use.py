"""What a lieutenant's machine is used for, as far as decisions about its slot depend on it."""

from __future__ import annotations

from reconciler.core.lieutenant.desired import desired_state, is_busy, is_mirrored, suspend_overdue
from reconciler.core.lieutenant.preparation import PREPARED
from reconciler.core.lieutenant.session import loss_of
from reconciler.core.slot.item import SlotUse
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.vm import Unknown
from reconciler.core.tree.places import tree_of_machine
from reconciler.engine.observe.trees import noted
from reconciler.engine.places import place_of
from reconciler.engine.state.objects import LieutenantItem, TaskItem
from reconciler.engine.state.transcripts import Transcript


def use_of(item: LieutenantItem, agent: Agent | Unknown | None, transcript: Transcript, tasks: list[TaskItem], now: float) -> SlotUse:
    """Of the agent on it, its conversation and the tasks."""
    desired = desired_state(item.spec.mode, item.deleting, bool(item.record.rest.reason))
    busy = is_busy(desired, agent, [task.record for task in tasks])
    known = max(transcript.told(place_of(item).id), item.record.session.seen)
    return SlotUse(
        busy=busy,
        mirrored=is_mirrored(agent, transcript.seen, transcript.divergence),
        loss=loss_of(item.spec.session.on_lost, item.record.session, transcript.size, known),
        lost=item.record.session.lost,
        quiet=quiet(item, agent, tasks),
        suspend_overdue=busy is None and suspend_overdue(desired, item.spec.suspend, item.record.suspend_asked_at, now),
    )


def quiet(item: LieutenantItem, agent: Agent | Unknown | None, tasks: list[TaskItem]) -> bool:
    """A snapshot of its machine would catch nothing in the middle: pi is up and settled, no task was sent that is not finished, and it
    does not stand still to be copied."""
    if tree_of_machine(item.key) is not None:  # it has no agent: nothing but its preparation can be in the middle of something
        return not item.record.stand.vm_id and isinstance(agent, Agent) and PREPARED in noted(item, item.record.slot.vm_id)
    if item.record.local.state == "Home" or item.record.stand.vm_id or not isinstance(agent, Agent) or not isinstance(agent.process, Up):
        return False
    return agent.process.responsive and not agent.process.busy and not any(task.record.sent for task in tasks)
