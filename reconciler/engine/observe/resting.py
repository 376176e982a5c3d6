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


def idle_of(item: LieutenantItem, agent: Agent | Unknown | None, facts: Iterable[TaskFacts], busy: bool, now: float) -> Idle:
    """`busy`: something else is done with its machine, such as that a copy of it is made."""
    spec, record, facts = item.spec.idle, item.record, tuple(facts)
    waiting = sorted(
        entry.name for entry in (place(one, now) for one in facts) if entry.phase == "Pending" and entry.runnable and not entry.steer
    )
    up = isinstance(agent, Agent) and isinstance(agent.process, Up) and agent.process.responsive and not agent.process.busy
    sent = any(one.record.sent for one in facts)
    quiet = up and not busy and not sent
    since = max((record.spending.at, record.rest.woken_at, item.obj.created_at, *(one.record.finished_at for one in facts)))
    return Idle(
        running=item.spec.mode is Mode.RUNNING and not item.deleting and tree_of_machine(item.key) is None,
        after=spec.suspend_after_seconds,
        since=since if quiet else None,
        wanted=f"task/{waiting[0]}" if waiting else "",
        wake_on_task=spec.wake_on_task,
        post_task=spec.post_task,
        done=bool(facts) and all(one.record.finished for one in facts),
        sent=sent,
        may_go=item.obj.source in ("api", "kube") and not item.obj.annotations.get(PROTECTION),
    )
