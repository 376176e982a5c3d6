"""Stories in virtual time: a world, a person who declares things, weather between controller and world, and a judge.

Every status ever written is read by the kstatus checker (G-46); what must never happen is collected by the world."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from reconciler.core.keys import Key
from reconciler.core.records import LieutenantRecord, TaskRecord
from reconciler.core.snapshot.vm import VmList
from reconciler.engine.loop import Engine
from reconciler.engine.ports import Draws, Event, Secrets
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.declared import Declared
from reconciler.errors import ReconcilerError
from tests.conformance.kstatus import conditions_of, problems
from tests.faults.harness import Controller, Life, Run, virtual
from tests.world import FOREIGN, Machine, World

T = TypeVar("T")
Rule = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

SETTLE = 30.0
SETTINGS = EngineSettings(installation="installation-1", settle_seconds=SETTLE, workers=8)
LT = Key("Lieutenant", "default", "api")
MUTATIONS = ("vers.create_vm", "vers.delete_vm", "vers.suspend_vm", "vers.resume_vm", "vers.set_labels")


@dataclass
class Weather(Life):
    """The seam, with rules by name of effect: a rule may fail it, delay it or change what it tells."""

    rules: dict[str, Rule] = field(default_factory=dict)

    async def hook(self, number: int, name: str, act: Callable[[], Awaitable[T]]) -> T:
        rule = next((rule for prefix, rule in self.rules.items() if name.startswith(prefix)), None)
        if rule is None or self.dead:
            return await super().hook(number, name, act)
        self.names.append(name)
        told: T = await rule(act)
        return told

    def count(self, *names: str) -> int:
        return sum(1 for name in self.names if name.startswith(names))


def failing(error: Callable[[], ReconcilerError], times: int | None = None) -> Rule:
    """Nothing happens, and this error is told (so many times)."""
    left = [times]

    async def rule(act: Callable[[], Awaitable[Any]]) -> Any:
        if left[0] == 0:
            return await act()
        if left[0] is not None:
            left[0] -= 1
        raise error()

    return rule


def losing(error: Callable[[], ReconcilerError], times: int = 1) -> Rule:
    """It happens, and this error is told instead of the answer."""
    left = [times]

    async def rule(act: Callable[[], Awaitable[Any]]) -> Any:
        told = await act()
        if left[0]:
            left[0] -= 1
            raise error()
        return told

    return rule


def lagging(depth: int) -> Rule:
    """Lists are so many answers old."""
    answers: list[VmList] = []

    async def rule(act: Callable[[], Awaitable[Any]]) -> Any:
        answers.append(await act())
        return answers[max(0, len(answers) - 1 - depth)]

    return rule


class Watched(Controller):
    """A controller whose every written status is judged."""

    def __init__(self, world: World, path: Path, life: Life, settings: EngineSettings) -> None:
        super().__init__(world, path, life, settings)
        self.wrong: list[str] = []
        self.told: list[Event] = []
        self.statuses: list[dict[str, object]] = []
        self.writes = 0

    async def up(self) -> Engine:
        engine = await super().up()
        shown: dict[Key, dict[str, object]] = {}

        def judge(key: Key, *_: object) -> None:
            self.writes += 1
            item = engine.table.get(key)
            if item is None or not item.obj.status:
                shown.pop(key, None)
                return
            status: dict[str, object] = dict(item.obj.status)
            if status != shown.get(key):
                self.wrong += [f"{key}: {problem}" for problem in problems(status, item.obj.generation, shown.get(key))]
                shown[key] = status
                self.statuses.append(status)

        engine.table.on_change.append(judge)
        engine.recorder.listen(self.told.append)
        return engine


class Stage(Run):
    """A person's view of one world: declare, wait for what shows, look."""

    def __init__(self, world: World, path: Path, settings: EngineSettings = SETTINGS) -> None:
        super().__init__(world, path, None, settings)
        self.life = self.weather = Weather()
        self.controller: Watched = Watched(world, path, self.weather, settings)
        self.usual: dict[str, object] = {"role": "Keep it", "profileRef": {"name": "lightweight"}}

    async def lieutenant(self, name: str = "api", **spec: object) -> Key:
        key = Key("Lieutenant", "default", name)
        await self.declare(declared(key, **{**self.usual, **spec}))
        return key

    async def task(self, name: str, prompt: str = "do it", to: str = "api", **spec: object) -> Key:
        key = Key("Task", "default", name)
        await self.declare(declared(key, lieutenantRef={"name": to}, prompt=prompt, **spec))
        return key

    async def ready(self, key: Key = LT) -> Machine:
        await self.until(lambda: self.condition(key, "Available") == "True", f"{key} is available")
        return self.machine(key)

    async def ends(self, key: Key) -> str:
        """Until this task has a result; its phase."""
        await self.until(lambda: self.task_record(key).finished, f"{key} ends")
        return self.task_record(key).phase

    async def runs(self, key: Key) -> None:
        await self.until(lambda: self.task_record(key).phase == "Running", f"{key} runs")

    async def gone(self, key: Key) -> None:
        await self.until(lambda: self.engine.table.get(key) is None, f"{key} is gone")

    async def says(self, key: Key, kind: str, reason: str) -> None:
        """Until a condition of this type has this reason."""
        await self.until(lambda: self.reason(key, kind) == reason, f"{key} has {kind} with reason {reason}")

    def record(self, key: Key = LT) -> LieutenantRecord:
        item = self.engine.table.lieutenant(key)
        assert item is not None, f"{key} does not exist"
        return item.record

    def task_record(self, key: Key) -> TaskRecord:
        item = self.engine.table.task(key)
        assert item is not None, f"{key} does not exist"
        return item.record

    def machine(self, key: Key = LT) -> Machine:
        return self.world.machines[self.record(key).slot.vm_id]

    def status(self, key: Key = LT) -> dict[str, Any]:
        item = self.engine.table.get(key)
        return dict(item.obj.status) if item is not None else {}

    def reason(self, key: Key, kind: str) -> str:
        return str(conditions_of(self.status(key)).get(kind, {}).get("reason", ""))

    def message(self, key: Key, kind: str) -> str:
        return str(conditions_of(self.status(key)).get(kind, {}).get("message", ""))

    def prompts(self, name: str) -> list[str]:
        """What reached the agents of this task: its own prompts, one an attempt; what was said in between not
        counted."""
        return [text for _, text in self.world.prompts if f"/{name} attempt" in text and text.splitlines()[0].endswith("]")]

    def happened(self, reason: str) -> int:
        return sum(1 for event in self.controller.told if event.reason == reason)


def declared(key: Key, **spec: object) -> Declared:
    return Declared(key, spec, {}, {}, "api")  # type: ignore[arg-type]


Story = Callable[[Stage], Coroutine[Any, Any, None]]


def tell(
    path: Path,
    story: Story,
    world: World | None = None,
    settings: EngineSettings = SETTINGS,
    secrets: Secrets | None = None,
    draws: Draws | None = None,
    **usual: object,
) -> Stage:
    """Play a story to its end and judge the world by what happened in it. `usual`: what its lieutenants declare as well."""

    async def main() -> Stage:
        run = Stage(world or World(), path / "state.db", settings)
        run.usual.update(usual)
        run.controller.secrets, run.controller.draws = secrets, draws
        foreign = run.world.make({}, owner=FOREIGN)
        try:
            await run.alive()
            await story(run)
        finally:
            await run.controller.down()
        assert run.world.violations == []
        assert run.world.foreign_effects == 0
        assert not foreign.deleted
        assert run.controller.wrong == [], run.controller.wrong
        return run

    return virtual(main)


def tell_hours(path: Path, story: Story, world: World | None = None, settings: EngineSettings = SETTINGS, **more: Any) -> Stage:
    """For stories in which hours go by: its agents are asked once a minute how they are, and not six times, and what is at rest or waits is
    looked at twice a minute, which is most of what they cost."""
    seldom = replace(settings, resync_seconds=30.0, fallback_seconds=30.0)
    return tell(path, story, world, seldom, health={"periodSeconds": 60}, **more)


async def pass_time(seconds: float) -> None:
    """Virtual time goes by."""
    await asyncio.sleep(seconds)
