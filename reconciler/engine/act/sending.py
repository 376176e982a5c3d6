"""How prompts and commands reach pi. Nothing is concluded here from an answer: the conversation is asked afterwards (G-20)."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.decisions import Wait
from reconciler.core.keys import Json
from reconciler.core.records import TaskRecord
from reconciler.core.task.status import task_status
from reconciler.engine.act.context import ActContext
from reconciler.engine.places import machine_of
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.objects import LieutenantItem, TaskItem, with_record


class Sending:
    """Shared by everything that acts on tasks."""

    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    async def put(self, task: TaskItem, record: TaskRecord) -> None:
        await self.t.table.update([(task.key, with_record(record))])

    async def begin(self, task: TaskItem, record: TaskRecord, sent: Wait) -> TaskItem:
        """Write down, in the store and where it outlives the store, that a prompt is on its way; then it may be sent. `sent`: how that
        is told. Returns the task as it is now. Raises what the upstream says; then nothing may be sent."""
        now, convenience = self.t.clock.now(), self.t.gatherer.profiles.unsupported(task.key, task.obj.spec)[1]

        def written(obj: StoredObject) -> StoredObject:
            status = task_status(record, sent, obj.status, obj.generation, now, convenience, obj.created_at)
            return replace(obj, record=record.dump(), status=status.dump())

        await self.t.table.update([(task.key, written)])
        await self.t.backend.flush_status(task.obj)
        return replace(task, record=record)

    async def call(self, lieutenant: LieutenantItem, command: Json) -> Json:
        return await self.t.agents.call(machine_of(lieutenant), command)

    async def send(self, lieutenant: LieutenantItem, key: str, message: str, rules: Json | None, steer: bool = False) -> None:
        """One prompt under a durable key, with the rules that hold from before it on. What came of it is asked for afterwards."""
        command: Json = {"type": "prompt", "message": message, "streamingBehavior": "steer" if steer else "followUp"}
        await self.t.agents.send(machine_of(lieutenant), key, command, rules)

    async def interrupt(self, lieutenant: LieutenantItem) -> None:
        """Take back what is queued, then end the turn."""
        await self.call(lieutenant, {"type": "clear_queue"})
        await self.call(lieutenant, {"type": "abort"})
