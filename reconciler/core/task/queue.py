"""The order of a lieutenant's tasks. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.api.meta import epoch as seconds_of
from reconciler.api.task import Delivery
from reconciler.core.records import ACTIVE, TaskRecord
from reconciler.core.snapshot.workset import TaskFacts, WorkSet
from reconciler.core.task.view import landed_at


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A task's claim to a place in its lieutenant's queue."""

    name: str
    created_at: float
    phase: str
    steer: bool
    runnable: bool  # dependencies done, its time has come, not to be ended


class TaskQueue:
    """A lieutenant's queue, put in order once for a look at all its tasks."""

    def __init__(self, places: Iterable[QueueEntry]) -> None:
        pending = [p for p in places if p.phase == "Pending" and not p.steer]
        self._pending = sorted((p.created_at, p.name) for p in pending)
        self._runnable = sorted((p.created_at, p.name) for p in pending if p.runnable)

    def ahead_of(self, created_at: float, name: str) -> str:
        """The runnable pending task whose turn comes before this one's; '' when it is first."""
        before = bisect_left(self._runnable, (created_at, name))
        return self._runnable[before - 1][1] if before else ""

    def rank(self, created_at: float, name: str) -> int:
        """Which place among the pending it has, from 1."""
        return 1 + bisect_left(self._pending, (created_at, name))


def cycle_through(name: str, after: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The circle of `after` that `name` is part of, beginning and ending with it; () when there is none."""
    stack: list[tuple[str, tuple[str, ...]]] = [(name, (name,))]
    seen: set[str] = set()
    while stack:
        at, path = stack.pop()
        for following in after.get(at, ()):
            if following == name:
                return (*path, name)
            if following not in seen:
                seen.add(following)
                stack.append((following, (*path, following)))
    return ()


class QueueIndex:
    """All tasks of one lieutenant, as each of them has to know the others. Made once a look: what one task asks for costs the same
    however many there are."""

    def __init__(self, view: WorkSet) -> None:
        self.queue = TaskQueue(place(facts, view.now) for facts in view.tasks)
        self._named = {facts.key.name: facts for facts in view.tasks}
        queued = [facts for facts in view.tasks if facts.spec.delivery is Delivery.QUEUE]
        self._active = [facts.key.name for facts in queued if facts.record.phase in ACTIVE]
        steers = [facts for facts in view.tasks if facts.record.phase == "Delivering"]
        self._on_their_way = [facts.key.name for facts in steers if facts.spec.delivery is Delivery.STEER]
        self._holders: dict[str, list[str]] = {}
        for facts in steers:
            if facts.record.escalation_steps:  # it interrupted its target's turn and has not been said yet
                self._holders.setdefault(facts.record.target, []).append(facts.key.name)
        self._landed: dict[str, list[int]] = {}
        for facts in queued:
            session, offset = whereabouts(view, facts.record)
            self._landed.setdefault(session, []).append(offset)
        for offsets in self._landed.values():
            offsets.sort()

    def active(self, name: str) -> str:
        """The task other than `name` that is at work; '' for none."""
        return next((other for other in self._active if other != name), "")

    def steer_beside(self, name: str) -> str:
        """A steer other than `name` that is on its way."""
        return next((other for other in self._on_their_way if other != name), "")

    def holder_of(self, name: str) -> str:
        """The steer that interrupted this task's turn and has not been said yet."""
        return next((other for other in self._holders.get(name, ()) if other != name), "")

    def phase_of(self, target: str, name: str) -> str:
        """Of the task that `name` is for."""
        found = self._named.get(target) if target != name else None
        return found.record.phase if found is not None else ""

    def landed_after(self, record: TaskRecord) -> int | None:
        """Where in this task's conversation the next one begins."""
        if record.landed < 0:
            return None
        offsets = self._landed.get(record.session, [])
        after = bisect_right(offsets, record.landed)
        return offsets[after] if after < len(offsets) else None


def whereabouts(view: WorkSet, record: TaskRecord) -> tuple[str, int]:
    """In which conversation its prompt is, and where in it, -1 when it is not known to be there: as noted, or as its marker shows in
    this very look; else the turn before it would be taken to go on through it."""
    if record.phase == "Delivering" and record.landed < 0 and record.marker and view.talk is not None and view.lieutenant is not None:
        message = landed_at(view.talk, record.marker, record.baseline)
        if message is not None:
            return view.lieutenant.record.session.name, message.offset
    return record.session, record.landed


def place(facts: TaskFacts, now: float) -> QueueEntry:
    ready = all(d.phase == "Succeeded" for d in facts.dependencies) and not facts.cycle and not facts.unsupported
    timely = not facts.spec.not_before or now >= seconds_of(facts.spec.not_before)
    runnable = ready and timely and now >= facts.record.not_before and not facts.spec.cancel and not facts.deleting
    return QueueEntry(facts.key.name, facts.created_at, facts.record.phase, facts.spec.delivery is Delivery.STEER, runnable)
