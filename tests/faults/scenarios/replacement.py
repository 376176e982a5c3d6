"""A machine that works is replaced: while it goes on with a task the other one is made and verified, then everything moves. A profile that
does not work costs nothing; a replacement that is under way when its lieutenant is deleted goes with it."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import GuestCommand
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.faults.scenarios import provider_away
from tests.world import ACCOUNT, FOREIGN, Machine, World

LT = Key("Lieutenant", "default", "api")
PROFILE = Key("BootProfile", "default", "own")
ONE, TWO, THREE = (Key("Task", "default", name) for name in ("one", "two", "three"))
MADE = "/root/workspace/made.txt"


class Crowded(World):
    """It watches that there are never more than two machines, and that what works is there."""

    def __init__(self) -> None:
        super().__init__()
        self.commands = self.check
        self.most = 0

    def make(self, labels: Mapping[str, str], parent: str | None = None, owner: str = ACCOUNT) -> Machine:
        made = super().make(labels, parent, owner)
        self.most = max(self.most, len(self.alive()))
        return made

    @staticmethod
    def check(command: GuestCommand) -> int:
        return 1 if command.argv == ("false",) else 0


async def profile(run: Run, script: str, check: str = "true") -> None:
    steps = [{"name": "tools", "run": script}]
    await run.declare(
        declared(PROFILE, source={"image": "default"}, steps=steps, verify=[{"name": "works", "command": [check]}]),
    )


def reason(run: Run) -> str:
    return provider_away.reason(run, LT, "UpToDate")


def at_rest(run: Run) -> bool:
    item = run.engine.table.lieutenant(LT)
    return item is not None and not item.record.replacement.state and run.condition(LT, "Available") == "True"


async def carried_over(run: Run) -> None:
    """A third task is done, and what was said and made before it is on the machine that did it."""
    await run.declare(declared(THREE, lieutenantRef={"name": "api"}, prompt="third piece"))
    await run.until(lambda: run.phase(THREE) == "Succeeded", "the third task is done")
    (new,) = run.world.alive()
    for text in (b"first piece", b"second piece", b"third piece"):
        if new.session.count(text) != 1:
            run.world.violations.append(f"the conversation has {text.decode()} {new.session.count(text)} times")
    if new.files.get(MADE) != b"by the agent":
        run.world.violations.append("the workspace was not carried over")


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    await profile(run, "one")
    await run.declare(
        declared(LT, role="Keep the API", profileRef={"name": "own"}, update={"onProfileChange": "Recreate"}),
        declared(ONE, lieutenantRef={"name": "api"}, prompt="first piece"),
    )
    await run.until(lambda: run.phase(ONE) == "Succeeded", "the first task is done")
    (old,) = world.alive()
    old.files[MADE] = b"by the agent"
    await profile(run, "two", "false")
    await run.until(lambda: reason(run) == "ReplacementFailed" and at_rest(run), "what does not work is given up")
    if [m.vm_id for m in world.alive()] != [old.vm_id]:
        world.violations.append("a profile that does not work cost the machine that did")
    await run.declare(declared(TWO, lieutenantRef={"name": "api"}, prompt="second piece"))
    await run.until(lambda: run.phase(TWO) in ("Running", "Succeeded"), "the second task runs")
    await profile(run, "three")
    await run.until(lambda: reason(run) == "ProfileApplied" and at_rest(run), "what works has taken the place")
    await run.until(lambda: run.phase(TWO) == "Succeeded", "the second task is done, wherever")
    await carried_over(run)
    await profile(run, "four")
    await run.until(lambda: world.created >= 4, "another one is on its way")
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    assert isinstance(run.world, Crowded)
    assert run.world.most <= 2, f"{run.world.most} machines at once; {run.describe()}"
    left_nothing(run, run.world.created)
    for name in ("one", "two", "three"):
        assert delivered(run, name) == 1, f"{name} was delivered {delivered(run, name)} times; {run.describe()}"


SCENARIO = Scenario("replacement", story, judge, points=400, world=Crowded)
