"""What a lieutenant's machine is used for, as far as decisions about its slot depend on it."""

from __future__ import annotations

from reconciler.api.lieutenant import OnBusy
from reconciler.core.lieutenant.session import loss_of
from reconciler.core.slot.item import SlotUse
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.vm import Unknown
from reconciler.engine.places import place_of
from reconciler.engine.state.objects import LieutenantItem, TaskItem
from reconciler.engine.state.slots import desired_state_of
from reconciler.engine.state.transcripts import Transcript


def use_of(item: LieutenantItem, agent: Agent | Unknown | None, transcript: Transcript, tasks: list[TaskItem], now: float) -> SlotUse:
    """Of the agent on it, its conversation and the tasks."""
    spec, desired = item.spec, desired_state_of(item)
    sent = any(t.record.phase in ("Delivering", "Verifying") for t in tasks)
    busy: bool | None = sent
    if isinstance(agent, Agent):
        busy = sent or (isinstance(agent.process, Up) and (agent.process.busy or not agent.process.responsive))
    elif isinstance(agent, Unknown):
        busy = None
    if desired is DesiredState.GONE:
        busy = any(t.record.sent for t in tasks)
    asked = item.record.suspend_asked_at
    overdue = (
        desired is DesiredState.SUSPENDED
        and spec.suspend.on_busy is OnBusy.ABORT
        and asked > 0
        and now >= asked + spec.suspend.grace_seconds
    )
    known = max(transcript.told(place_of(item).id), item.record.session.seen)
    return SlotUse(
        busy=busy,
        mirrored=not isinstance(agent, Agent) or (agent.session_size <= transcript.seen and transcript.divergence is None),
        loss=loss_of(spec.session.on_lost, item.record.session, transcript.size, known),
        lost=item.record.session.lost,
        suspend_overdue=overdue and busy is None,
    )
