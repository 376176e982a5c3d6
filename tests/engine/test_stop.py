"""A controller that stops leaves nothing on its way (G-01)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.fleet import NoSecrets, ReadyAgents
from reconciler.core.snapshot.vm import VmList
from reconciler.engine.clock import LoopClock
from reconciler.engine.loop import Engine
from reconciler.engine.parts import EngineParts
from reconciler.engine.settings import EngineSettings
from reconciler.store.sqlstore import open_store
from tests.world import KEEPER, FakeVers, World


class Slow(FakeVers):
    """A platform whose list takes until somebody lets it go."""

    def __init__(self, world: World) -> None:
        super().__init__(world, 0.0)
        self.asked, self.go, self.returned = asyncio.Event(), asyncio.Event(), False

    async def list_vms(self) -> VmList:
        self.asked.set()
        await self.go.wait()
        self.returned = True
        return await super().list_vms()


@pytest.mark.guarantee("G-01")
async def test_a_list_on_its_way_ends_with_the_controller(tmp_path: Path) -> None:
    vers, clock, store = Slow(World()), LoopClock(), open_store(tmp_path / "state.db", inline=True)
    engine = await Engine.open(EngineParts(EngineSettings(), vers, ReadyAgents(clock), KEEPER, store, NoSecrets(), clock))
    await engine.start()
    await vers.asked.wait()
    before = asyncio.all_tasks()
    await engine.stop()
    assert {task for task in before - {asyncio.current_task()} if not task.done()} == set()
    vers.go.set()
    await asyncio.sleep(0)
    assert not vers.returned
    await store.aclose()
