"""What every story has: chapters, an account of what came of it, and the questions it asks of what it sees."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field

from reconciler.agent.scripted_model import MODEL
from reconciler.cli.demo.stage import Stage
from reconciler.core.keys import Json, Key
from reconciler.core.records import FINISHED
from reconciler.errors import GuestFailed
from reconciler.views.documents import condition, is_true, text_at
from reconciler.visible import one_line

PROFILE = Key("BootProfile", "default", "scripted")
_PROFILE = """
apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {{name: scripted}}
spec:
  extends: {{name: lightweight}}
  agent:
    model: {{provider: scripted, id: {model}}}
    providers:
    - {{name: scripted, baseUrl: "{url}", api: openai-completions}}
---"""

TOLD = Key("Task", "default", "told")
_TOLD = """---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: told}}
spec:
  lieutenantRef: {{name: {lieutenant}}}
  prompt: "Keep in mind: the release is called Halcyon."
"""

RECALLS: list[tuple[str, list[Json]]] = [
    ("Keep in mind", [{"say": "Noted."}]),
    ("first thing", [{"recall": True, "say": "{first}"}]),
]
"""What the model does when it is told to keep something in mind, and when it is asked for the first thing that it was told."""


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


async def declare(stage: Stage, documents: str) -> None:
    """Declare these and the profile that their agents refer to, with the scripted model in it."""
    await stage.apply(_PROFILE.format(url=stage.model.url, model=MODEL) + documents)


async def declare_told(stage: Stage, documents: str, lieutenant: Key) -> None:
    """The same, and that this lieutenant is told something to keep in mind."""
    await declare(stage, documents + _TOLD.format(lieutenant=lieutenant.name))


async def succeeds(stage: Stage, *tasks: Key, patience: float = 60.0) -> None:
    """Each task ends, and well. Raises `TimedOut`, or `GuestFailed` with the task's own reason."""
    for key in tasks:
        await stage.until(key.name, lambda key=key: phase(stage, key) in FINISHED, patience)  # type: ignore[misc]
        must_succeed(stage, key)


async def remembers(stage: Stage, question: Key) -> None:
    """Asked for the first thing that it was told, it says so, from what its model was sent. Raises `TimedOut` or `GuestFailed`."""
    await succeeds(stage, question)
    if "Halcyon" not in answer(stage, question):
        raise GuestFailed(f"it no longer knows what it was told: {answer(stage, question)}", str(question))


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
