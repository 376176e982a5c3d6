"""What was decided, told: status of everything in a lane in one write, events, and trouble that is met on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from reconciler.core.actions import Decision, Steady
from reconciler.core.conditions import reason_of, simple_status
from reconciler.core.keys import Json, Key
from reconciler.core.lasterror import NONE, LastError, last_error_of
from reconciler.core.lieutenant.status import lieutenant_status
from reconciler.core.lieutenant.workset import WorkSetPlan
from reconciler.core.profile.rendering import Unresolved, profile_chain
from reconciler.core.records import ACTIVE
from reconciler.core.snapshot.workset import WorkSet
from reconciler.core.task.status import task_status
from reconciler.engine.observe.profiles import Profiles
from reconciler.engine.ports import Clock, StoredObject, Write
from reconciler.engine.recorder import Recorder
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import Conflict, GuestUnreachable, ReconcilerError

log = logging.getLogger("reconciler.engine")

Change = tuple[Key, Callable[[StoredObject], StoredObject]]


class Reporter:
    """`trouble`: what keeps an object from being brought further, by key. `redact` takes known secrets out of a text."""

    def __init__(self, table: ObjectTable, recorder: Recorder, profiles: Profiles, clock: Clock, redact: Callable[[str], str]) -> None:
        self._table, self._recorder, self._profiles, self._clock, self._redact = table, recorder, profiles, clock, redact
        self.last_error: dict[Key, LastError] = {}

    def met(self, key: Key, error: ReconcilerError) -> None:
        """Trouble is told once, and counted always (G-66); what a machine says may have a secret in it (G-60)."""
        last_error = last_error_of(error)
        last_error = replace(last_error, message=self._redact(last_error.message))
        before, item = self.last_error.get(key, NONE), self._table.get(key)
        if before != last_error:
            level = logging.INFO if isinstance(error, Conflict | GuestUnreachable) else logging.WARNING
            log.log(level, "%s: %s", key, last_error.message)
        if last_error.reason not in ("", before.reason) and item is not None:
            self._recorder.note(key, item.uid, last_error.reason, last_error.message, "Warning")
        self.last_error[key] = last_error

    async def work_set(self, key: Key, view: WorkSet, decided: WorkSetPlan) -> None:
        """Status of everything in the lane, in one write, only when something changed (G-45)."""
        changes: list[Change] = []
        more: list[Write] = []
        item = self._table.lieutenant(key)
        if item is not None and view.lieutenant is not None and decided.lieutenant is not None:
            active = next((f.key.name for f in view.tasks if f.record.phase in ACTIVE and f.spec.delivery.value == "Queue"), "")
            pending = sum(1 for f in view.tasks if f.record.phase == "Pending")
            convenience = self._profiles.unsupported(key, item.obj.spec)[1]
            convenience += self._profiles.profile_unsupported(key.namespace, item.spec.profile_ref.name)[1]
            status = lieutenant_status(
                view.lieutenant,
                decided.lieutenant,
                item.obj.status,
                item.obj.generation,
                pending,
                active,
                convenience,
                self.last_error.get(key, NONE),
            ).dump()
            self._note_status(item.obj, status, decided.lieutenant, changes, more)
        for task_key, decision in decided.tasks.items():
            task = self._table.task(task_key)
            if task is not None:
                convenience = self._profiles.unsupported(task_key, task.obj.spec)[1]
                status = task_status(task.record, decision, task.obj.status, task.obj.generation, view.now, convenience).dump()
                self._note_status(task.obj, status, decision, changes, more)
        if changes or more:
            await self._table.update(changes, *more)

    def _note_status(
        self,
        obj: StoredObject,
        status: Json,
        decision: Decision,
        changes: list[Change],
        more: list[Write],
    ) -> None:
        more.extend(self._recorder.take(obj.key))
        if status == obj.status:
            return
        changes.append((obj.key, lambda o: replace(o, status=status)))
        reason, message = reason_of(decision)
        ended = isinstance(decision, Steady) and obj.key.kind == "Task"  # told when it ended
        if not ended and "Stalled" in str(status.get("conditions")) and reason not in str(obj.status.get("conditions")):
            more.extend(self._recorder.event(obj.key, obj.uid, reason, message, "Warning"))
        elif status.get("phase") != obj.status.get("phase") and obj.key.kind == "Lieutenant":
            more.extend(self._recorder.event(obj.key, obj.uid, str(status.get("phase")), message))

    async def simple(self, key: Key) -> None:
        """Kinds without a machine of their own."""
        item = self._table.get(key)
        if item is None:
            return
        problem: Unresolved | None
        if key.kind == "BootProfile":
            found = profile_chain(key.name, lambda name: self._profiles.profile(key.namespace, name))
            problem = found if isinstance(found, Unresolved) else None
            protects = self._profiles.unsupported(key, item.obj.spec)[0]
            if protects and problem is None:
                problem = Unresolved("Unsupported", f"not acted on in this release: {', '.join(protects)}", final=True)
        else:
            problem = Unresolved("Unsupported", f"kind {key.kind} is not acted on in this release", final=True)
        status = simple_status(problem, item.obj.status, item.obj.generation, self._clock.now()).dump()
        changes: list[Change] = []
        more: list[Write] = []
        if status != item.obj.status:
            changes.append((key, lambda o: replace(o, status=status)))
        if changes:
            await self._table.update(changes, *more)
