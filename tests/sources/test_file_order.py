"""Files as people mean them: what they declare anew continues at once, and tasks run in the order in which they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from reconciler.core.keys import Key
from reconciler.engine.settings import EngineSettings
from reconciler.engine.supervision import Supervisor
from reconciler.sources.files.scan import scan
from reconciler.sources.files.source import FileSource
from reconciler.sources.files.sync import FileSync
from reconciler.sources.follower import Follower
from tests.faults.harness import Controller, Life
from tests.kube.operating import RealTime

HEAD = "apiVersion: fleet.vers.sh/v1alpha1\n"
LIEUTENANT = f"{HEAD}kind: Lieutenant\nmetadata: {{name: a}}\nspec: {{role: Keep it, profileRef: {{name: lightweight}}}}\n"
LT = Key("Lieutenant", "default", "a")


def task(name: str) -> str:
    return f"---\n{HEAD}kind: Task\nmetadata: {{name: {name}}}\nspec: {{lieutenantRef: {{name: a}}, prompt: Do it.}}\n"


async def until(holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    for _ in range(int(seconds * 50)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never came true: {what}")


async def test_a_name_declared_again_continues_the_moment_its_predecessor_is_gone(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    fleet.mkdir()
    (fleet / "a.yaml").write_text(LIEUTENANT)
    world = RealTime()
    controller = Controller(
        world, tmp_path / "state.db", Life(), EngineSettings(installation="i", settle_seconds=0.5, resync_seconds=0.2, workers=4)
    )
    engine = await controller.up()
    sync = FileSync(engine.table, engine.declarations, lambda line: None)
    follower = Follower(FileSource([fleet], "default", sync, engine), lambda line: None, Supervisor())
    following = asyncio.ensure_future(follower.run())
    try:
        await until(lambda: bool(world.machines), "it has a machine")
        item = engine.table.get(LT)
        assert item is not None
        first = item.uid
        await engine.declarations.delete(LT)
        rounds = follower.rounds
        (fleet / "b.yaml").write_text("# a reason to look again\n")
        await until(lambda: follower.rounds > rounds, "it was looked at meanwhile")
        await until(
            lambda: (known := engine.table.get(LT)) is not None and known.uid != first, "the next one is there, long before a rescan"
        )
        assert sync.waiting == set()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await controller.down()


async def test_tasks_of_a_file_are_taken_in_the_order_in_which_they_stand(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(LIEUTENANT + task("zulu") + task("mike") + task("alfa"))
    assert [one.key.name for one in scan([tmp_path]).objects if one.key.kind == "Task"] == ["zulu", "mike", "alfa"]
    controller = Controller(RealTime(), tmp_path / "state.db", Life(), EngineSettings(installation="i", workers=1))
    engine = await controller.up()
    try:
        await FileSync(engine.table, engine.declarations, lambda line: None).round(scan([tmp_path / "fleet.yaml"]))
        tasks = [item for item in engine.table.of_kind("Task")]
        assert [item.key.name for item in sorted(tasks, key=lambda item: (item.obj.created_at, item.key.name))] == ["zulu", "mike", "alfa"]
    finally:
        await controller.down()
