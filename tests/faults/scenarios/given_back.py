"""A machine is verified and takes the place of the old one, and pi does not start on it: the old one takes its place back, with all that
was on it. Then it is corrected, and everything moves."""

from __future__ import annotations

from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, leave
from tests.faults.scenarios.replacement import LT, MADE, ONE, TWO, Crowded, at_rest, carried_over, judge, profile, reason
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
    await carried_over(run)
    await leave(run, LT)


SCENARIO = Scenario("given-back", story, judge, points=400, world=Crowded)
