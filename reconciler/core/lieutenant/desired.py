"""What is wanted of a lieutenant's machine, and what that may have to wait for. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.api.lieutenant import OnBusy, Suspend
from reconciler.api.meta import Mode
from reconciler.core.records import TaskRecord
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.session import Divergence
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.vm import Unknown


def desired_state(mode: Mode, deleting: bool, rests: bool = False) -> DesiredState:
    """A deleted object wants no machine, whatever its mode. `rests`: it has no work, or its budget is used up."""
    if deleting:
        return DesiredState.GONE
    return DesiredState.SUSPENDED if mode is Mode.SUSPENDED or rests else DesiredState.RUNNING


def is_busy(desired: DesiredState, agent: Agent | Unknown | None, tasks: Iterable[TaskRecord]) -> bool | None:
    """Whether a turn would be cut off; None when that is not known. What is to be deleted is busy as long as one of its tasks may be with
    pi, since a deletion ends the turn first."""
    records = tuple(tasks)
    if desired is DesiredState.GONE:
        return any(record.sent for record in records)
    if isinstance(agent, Unknown):
        return None
    sent = any(record.phase in ("Delivering", "Verifying") for record in records)
    working = isinstance(agent, Agent) and isinstance(agent.process, Up) and (agent.process.busy or not agent.process.responsive)
    return sent or working


def suspend_overdue(desired: DesiredState, policy: Suspend, asked_at: float, now: float) -> bool:
    """G-08: suspend.onBusy is Abort, and its grace is over. `asked_at`: when the suspension was declared, 0 when it was not."""
    abort = desired is DesiredState.SUSPENDED and policy.on_busy is OnBusy.ABORT
    return abort and asked_at > 0 and now >= asked_at + policy.grace_seconds


def is_mirrored(agent: Agent | Unknown | None, seen: int, divergence: Divergence | None) -> bool:
    """Everything that had settled in the conversation is in the store. `seen`: bytes read of its file; who can't be asked has no more."""
    return not isinstance(agent, Agent) or (agent.session_size <= seen and divergence is None)
