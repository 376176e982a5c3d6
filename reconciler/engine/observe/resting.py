"""Whether an agent has work: since when it has had none, and whether a task waits that could be sent to it."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.api.annotations import PROTECTION
from reconciler.api.meta import Mode
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.stages import Idle
from reconciler.core.snapshot.vm import Unknown
from reconciler.core.snapshot.workset import TaskFacts
from reconciler.core.task.queue import place
from reconciler.core.tree.places import tree_of_machine
from reconciler.engine.state.objects import LieutenantItem


def idle_of(
    item: LieutenantItem, agent: Agent | Unknown | None, facts: Iterable[TaskFacts], busy: bool, now: float, awaited: str = ""
) -> Idle:
    """`busy`: something else is done with its machine, such as that a copy of it is made; `awaited`: who else needs it to run."""
    spec, record, facts = item.spec.idle, item.record, tuple(facts)
    wanted, sent, ended, done = _of_tasks(facts, now) if facts else ("", False, 0.0, False)
    up = isinstance(agent, Agent) and isinstance(agent.process, Up) and agent.process.responsive and not agent.process.busy
    quiet = up and not busy and not sent
    return Idle(
        running=item.spec.mode is Mode.RUNNING and not item.deleting and tree_of_machine(item.key) is None,
        after=spec.suspend_after_seconds,
        since=max(record.spending.at, record.rest.woken_at, item.obj.created_at, ended) if quiet else None,
        wanted=awaited or wanted,
        wake_on_task=spec.wake_on_task or bool(awaited),
        post_task=spec.post_task,
        done=done,
        sent=sent,
        may_go=item.obj.source in ("api", "kube") and not item.obj.annotations.get(PROTECTION),
    )


def _of_tasks(facts: tuple[TaskFacts, ...], now: float) -> tuple[str, bool, float, bool]:
    """The one that could be sent now, '' for none; whether one is with the agent; when the last one ended; whether all have."""
    waiting = sorted(
        entry.name for entry in (place(one, now) for one in facts) if entry.phase == "Pending" and entry.runnable and not entry.steer
    )
    sent, done = any(one.record.sent for one in facts), all(one.record.finished for one in facts)
    return f"task/{waiting[0]}" if waiting else "", sent, max(one.record.finished_at for one in facts), done
