"""The operator dies at each create, and its store is lost with it: of a machine that is baked, kept ready, restored for a look, or that is
to take another one's place, nothing is left behind that somebody pays for (G-02, G-05)."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reconciler.core.keys import Key
from tests.effort import sample
from tests.faults.cluster import ClusterRun, play_in_cluster
from tests.faults.harness import Fault, Run
from tests.faults.play import Scenario, declared, leave, treated_well
from tests.world import ACCOUNT, FOREIGN, Machine, World

PROFILE, ONE = Key("BootProfile", "default", "built"), Key("Lieutenant", "default", "one")
ON_ITS_WAY = 1.0
"""Seconds in which a call that was under way when the controller died has its effect."""

MOST = 12
"""Points that one run strikes."""

DEADLY = ("crash-before", "crash-after", "late")


class Dated(World):
    """It remembers when the controller died, and whether anything was made in the settle window after that, but for what a call of the
    dead one still made."""

    def __init__(self) -> None:
        super().__init__()
        self.died, self.quiet = 0.0, 0.0

    def make(self, *args: object, **more: object) -> Machine:
        made = super().make(*args, **more)  # type: ignore[arg-type]

        since = self.now() - self.died if self.died and made.owner == ACCOUNT else 0.0
        if ON_ITS_WAY < since < self.quiet and asyncio.current_task() not in self.posthumous:
            self.violations.append(f"VM {made.vm_id} was made {since:.0f} s after the store was lost")
        return made


def profile(script: str) -> dict[str, object]:
    return {"source": {"image": "default"}, "steps": [{"name": "tools", "run": script}], "bake": {"enabled": True, "keep": 1, "warm": 1}}


def of_bake(run: Run, field: str) -> object:
    item = run.engine.table.get(PROFILE) if run.controller.engine is not None else None
    told = item.obj.status.get("bake") if item is not None else None
    return told.get(field) if isinstance(told, dict) else None


def stands(run: Run) -> bool:
    """It is baked, one is kept ready, the lieutenant is as declared, and of its last snapshot it is known that it can be restored."""
    item = run.engine.table.lieutenant(ONE) if run.controller.engine is not None else None
    if item is None or (of_bake(run, "state"), of_bake(run, "warm")) != ("Baked", 1):
        return False
    looked_at = bool(item.record.slot.commits) and all(commit.check for commit in item.record.slot.commits)
    up_to_date = run.condition(ONE, "UpToDate") == "True" and run.condition(ONE, "Ready") == "True"
    return looked_at and up_to_date and len(item.record.slots()) == 1 and len(run.world.alive()) == 2


async def story(run: Run) -> None:
    world = run.world
    assert isinstance(world, Dated)
    world.make({}, owner=FOREIGN)
    die = run.life.die

    def dies() -> None:
        world.died, world.quiet = world.now(), run.controller.settings.settle_seconds
        die()

    run.life.die = dies  # type: ignore[method-assign]
    snapshots = {"schedule": "*/10 * * * *", "keep": 2, "verify": "All"}
    update = {"onProfileChange": "Recreate"}
    await run.declare(declared(PROFILE, **profile("one")))
    await run.declare(declared(ONE, role="Keep it", profileRef={"name": "built"}, snapshots=snapshots, update=update))
    await run.until(lambda: stands(run), "all of it stands")
    before = {machine.vm_id for machine in world.alive()}
    await run.declare(declared(PROFILE, **profile("two")))
    await run.until(lambda: stands(run) and before.isdisjoint(m.vm_id for m in world.alive()), "all of it stands again")
    await leave(run, ONE, PROFILE)


def judge(run: Run) -> None:
    treated_well(run)
    assert run.world.alive() == [], f"leaked {[m.vm_id for m in run.world.alive()]}; {run.describe()}"


SCENARIO = Scenario("lost-creates", story, judge, points=20, world=Dated)


@cache
def creates() -> tuple[int, ...]:
    """The numbers of the creates in the run without a fault."""
    with TemporaryDirectory() as directory:
        run = play_in_cluster(SCENARIO, Path(directory) / "reference.db", None)
        assert run.controller.lives == 1
        return tuple(number for number, name in enumerate(run.life.names, 1) if name == "vers.create_vm")


def told_of(run: ClusterRun) -> set[str]:
    """What a person sees in the cluster of creates that may be on their way."""
    found: set[str] = set()
    for obj in run.server.objects.values():
        status = obj.get("status") or {}
        found |= {one["slot"].partition("-")[0] for one in [*status.get("creates", ()), *status.get("bake", {}).get("creates", ())]}
    return found


def test_each_kind_of_create_is_in_the_cluster_before_it_is_sent(tmp_path: Path) -> None:
    run_of: list[ClusterRun] = []
    seen: set[str] = set()
    tell = ClusterRun.__init__

    def noting(self: ClusterRun, *args: object, **more: object) -> None:
        tell(self, *args, **more)  # type: ignore[arg-type]
        run_of.append(self)
        hook = self.life.hook

        async def hooked(number: int, name: str, act: object) -> object:
            if name == "vers.create_vm":
                seen.update(told_of(self))
            return await hook(number, name, act)  # type: ignore[arg-type]

        self.life.hook = hooked  # type: ignore[method-assign, assignment]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClusterRun, "__init__", noting)
        play_in_cluster(SCENARIO, tmp_path / "state.db", None)
    assert seen == {"bake", "warm", "spare", "next"}
    assert told_of(run_of[0]) == set()


@pytest.mark.slow
@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-05")
def test_a_lost_store_leaves_no_machine_behind(tmp_path: Path) -> None:
    points = [(number, kind) for number in creates() for kind in DEADLY]
    assert len(points) >= SCENARIO.points
    for at, (number, kind) in enumerate(sample("lost-creates", points, MOST)):
        fault = Fault(number, kind)
        run = play_in_cluster(SCENARIO, tmp_path / f"{at}.db", fault, keep=False)
        assert fault.used
        assert run.controller.lives == 2
