"""A machine is verified and takes the place of the old one, and pi does not start on it: the old one takes its place back, with all that
was on it. Then it is corrected, and everything moves."""

from __future__ import annotations

from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.faults.scenarios.replacement import LT, MADE, ONE, THREE, TWO, Crowded, at_rest, profile, reason
from tests.world import FOREIGN


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
    world.no_pi = lambda machine: machine is not old
    await profile(run, "two")
    await run.declare(declared(TWO, lieutenantRef={"name": "api"}, prompt="second piece"))
    await run.until(lambda: reason(run) == "ReplacementFailed" and at_rest(run), "the place is given back")
    if world.alive() != [old] or old.files.get(MADE) != b"by the agent":
        world.violations.append("a machine on which pi does not start cost the one on which it did")
    await run.until(lambda: run.phase(TWO) == "Succeeded", "the second task is done")
    world.no_pi = lambda machine: False
    await profile(run, "three")
    await run.until(lambda: reason(run) == "ProfileApplied" and at_rest(run), "what works has taken the place")
    await run.declare(declared(THREE, lieutenantRef={"name": "api"}, prompt="third piece"))
    await run.until(lambda: run.phase(THREE) == "Succeeded", "the third task is done")
    (new,) = world.alive()
    for text in (b"first piece", b"second piece", b"third piece"):
        if new.session.count(text) != 1:
            world.violations.append(f"the conversation has {text.decode()} {new.session.count(text)} times")
    if new.files.get(MADE) != b"by the agent":
        world.violations.append("the workspace was not carried over")
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    assert isinstance(run.world, Crowded)
    assert run.world.most <= 2, f"{run.world.most} machines at once; {run.describe()}"
    left_nothing(run, run.world.created)
    for name in ("one", "two", "three"):
        assert delivered(run, name) == 1, f"{name} was delivered {delivered(run, name)} times; {run.describe()}"


SCENARIO = Scenario("given-back", story, judge, points=400, world=Crowded)
