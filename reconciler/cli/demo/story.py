"""What every story has: chapters, an account of what came of it, and the questions it asks of what it sees."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field

from reconciler.cli.demo.stage import Stage
from reconciler.cli.documents import condition, is_true, text_at
from reconciler.core.keys import Json, Key
from reconciler.errors import GuestFailed
from reconciler.log import one_line


@dataclass(slots=True)
class Story:
    """What came of it, for the summary."""

    name: str
    chapters: list[Json] = field(default_factory=list)
    tasks: list[Json] = field(default_factory=list)
    files: list[tuple[str, int]] = field(default_factory=list)
    created: int = 0
    left: int = 0
    seconds: float = 0.0

    async def chapter(self, stage: Stage, title: str, told: str, act: Coroutine[None, None, None]) -> None:
        """One part of it, timed, with the machines counted at its end."""
        stage.telling.chapter(told)
        started = time.monotonic()
        await act
        lasted = time.monotonic() - started
        self.chapters.append({"title": title, "seconds": round(lasted, 2)})
        self.seconds = round(self.seconds + lasted, 2)
        self.created, self.left = len(stage.simulator.world.vms), len(stage.machines())

    async def show(self, stage: Stage, lieutenant: Key, tasks: Iterable[Key]) -> None:
        """Say what each task answered and which files the agent made."""
        self.files = await stage.files(lieutenant)
        self.tasks = [{"name": key.name, "phase": phase(stage, key), "answer": answer(stage, key)} for key in tasks]
        stage.telling.chapter("What came of it")
        for task in self.tasks:
            stage.telling.line(f"   {task['name']}  {task['phase']}  {one_line(str(task['answer']))}".rstrip())
        for name, size in self.files:
            stage.telling.line(f"   {name}  {size} bytes")


def phase(stage: Stage, key: Key) -> str:
    obj = stage.object(key)
    return text_at(obj.status, ".phase") if obj else ""


def holds(stage: Stage, key: Key, kind: str) -> bool:
    """A condition, told of the newest declaration."""
    obj = stage.object(key)
    return obj is not None and obj.status.get("observedGeneration") == obj.generation and is_true(obj.status, kind)


def pid(stage: Stage, key: Key) -> str:
    """Of a lieutenant's pi."""
    obj = stage.object(key)
    return text_at(obj.status, ".agent.pid") if obj else ""


def vm_of(stage: Stage, key: Key) -> str:
    """The full id of a lieutenant's VM, '' when it has none."""
    obj = stage.object(key)
    return text_at(obj.status, ".vm.id") if obj else ""


def answer(stage: Stage, key: Key) -> str:
    obj = stage.object(key)
    return text_at(obj.status, ".result.answer") if obj else ""


def must_succeed(stage: Stage, key: Key) -> None:
    """Raises `GuestFailed` with the task's own reason."""
    obj = stage.object(key)
    ready = condition(obj.status, "Ready") if obj else {}
    if phase(stage, key) != "Succeeded":
        raise GuestFailed(f"task {key.name} ended as {phase(stage, key)}: {ready.get('reason')}: {ready.get('message')}", str(key))


async def leave(stage: Stage, *keys: Key) -> None:
    """Everything is deleted, in this order, and the platform's own books say so."""
    for key in keys:
        await stage.delete(key)
    await stage.until("deletion", lambda: not stage.controller.engine.table.all_keys() and not stage.machines())
    stage.telling.line("   the platform's own books say: 0 VMs")
