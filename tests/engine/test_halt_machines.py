"""A halted fleet makes no machine and no scheduled commit, and says nothing, whatever would ask for it; all of it comes when it goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from reconciler.core.snapshot.machine import CommitSource
from tests.engine.stage import LT, SETTINGS, Stage, pass_time, tell, tell_hours
from tests.engine.test_bake import BAKED, baked
from tests.engine.test_fork import COPY, fork_of
from tests.engine.test_halt import halted, resumed
from tests.engine.test_profiles import AFTER, BEFORE, made, profile
from tests.engine.test_replacement import has_everything, settled, worked
from tests.engine.test_snapshots import HOURLY, at_the_hour, commits, go_back, rollback
from tests.engine.test_tree_machines import the
from tests.engine.test_trees import agent, infra, nodes, stands, tree
from tests.engine.test_warm import OTHER, another, are_ready, at_rest, keeping

Act = Callable[[Stage], Awaitable[object]]
LOOKED_AT = {"schedule": "0 3 * * *", "verify": "All"}


@dataclass(frozen=True)
class Wish:
    """`before`: what stands when the fleet is halted, the lieutenant `api` among it; `asks`: what would make something, which comes
    while it is halted; `comes`: what is there when it goes on. `commits`: how many are made all the same. `most`: --max-vms. `seconds`:
    half of how long it is halted."""

    before: Act
    asks: Act
    comes: Act
    commits: int = 0
    most: int | None = None
    seconds: float = 200


async def nothing(s: Stage) -> None:
    """Time alone asks for it."""


# --- copies, what is baked, what is kept ready ------------------------------------------------------------------------------------------


async def one(s: Stage) -> None:
    await s.lieutenant()
    await s.ready()


async def copied(s: Stage) -> None:
    assert (await s.ready(COPY)).branched_from == s.machine().vm_id


async def built(s: Stage) -> None:
    await made(s, BAKED)
    await baked(s)


async def built_anew(s: Stage) -> None:
    first = await baked(s)
    await s.until(lambda: [c.commit_id for c in commits(s)] not in ([], [first]) or len(commits(s)) > 1, "it is baked anew")


async def one_is_kept(s: Stage) -> None:
    await made(s, keeping(1))
    await are_ready(s, 1)


async def it_is_taken(s: Stage) -> None:
    (kept,) = at_rest(s)
    assert await s.ready(OTHER) is kept
    await are_ready(s, 1)


# --- snapshots --------------------------------------------------------------------------------------------------------------------------


async def is_looked_at(s: Stage) -> None:
    await s.until(lambda: [c.check for c in s.record().slot.commits] == ["Restored"], "it is restored for a look")


async def one_is_made_up_for(s: Stage) -> None:
    await s.until(lambda: len(commits(s)) == 1, "one is made up for")
    await pass_time(300)
    assert s.world.commits_made == 1


async def has_a_snapshot(s: Stage) -> None:
    await made(s, BEFORE, snapshots={**HOURLY, "verify": "None"})
    await s.ends(await s.task("early", "remember this"))
    await at_the_hour(s)
    await s.until(lambda: len(commits(s)) == 1, "one is taken")


async def wants_it_back(s: Stage) -> None:
    await go_back(s, commits(s)[0].commit_id)


async def is_back(s: Stage) -> None:
    await s.until(lambda: rollback(s) == "Done", "it is back")
    assert isinstance((await s.ready()).source, CommitSource)


# --- machines in the place of others ------------------------------------------------------------------------------------------------------


async def is_replaced(s: Stage) -> None:
    await s.until(lambda: s.happened("Replaced") == 1, "they have changed places")
    assert has_everything(await settled(s))


async def in_place(s: Stage) -> None:
    await made(s, BEFORE, update={"onProfileChange": "Recreate", "onNoRoom": "InPlace"})


async def is_another(s: Stage) -> None:
    await s.until(lambda: s.reason(LT, "UpToDate") == "ProfileApplied" and s.world.created == 2, "another one is made")
    await s.ready()


async def vanishes(s: Stage) -> None:
    s.machine().deleted = True


async def is_made_again(s: Stage) -> None:
    await s.until(lambda: s.world.created == 2, "another one is made")
    await s.ready()


async def a_tree(s: Stage) -> None:
    await one(s)
    await tree(s, infra("root"), agent("hand", "root", replicas=1))
    await stands(s)


async def grows(s: Stage) -> None:
    await tree(s, infra("root"), agent("hand", "root", replicas=3), infra("copy", "root", **{"from": "Parent"}))


async def is_grown(s: Stage) -> None:
    await stands(s)
    assert set(nodes(s)) == {"root", "hand-0", "hand-1", "hand-2", "copy"}


async def loses_a_machine(s: Stage) -> None:
    the(s, "root").deleted = True


async def stands_again(s: Stage) -> None:
    await s.until(lambda: s.world.created == 4, "another one is made")
    await stands(s)


WISHES: dict[str, Wish] = {
    "a lieutenant": Wish(one, lambda s: s.lieutenant("other"), lambda s: s.ready(OTHER)),
    "a live copy": Wish(one, lambda s: s.lieutenant("copy", **fork_of()), copied),
    "a bake": Wish(lambda s: made(s, BEFORE), lambda s: profile(s, **BAKED), baked),
    "another bake": Wish(built, lambda s: profile(s, **{**BAKED, "steps": [{"name": "tools", "run": "two"}]}), built_anew),
    "machines kept ready": Wish(built, lambda s: profile(s, **keeping(2)), lambda s: are_ready(s, 2)),
    "who takes one that is kept ready": Wish(one_is_kept, another, it_is_taken),
    "a scheduled snapshot": Wish(
        lambda s: made(s, BEFORE, snapshots={**HOURLY, "verify": "None"}), nothing, one_is_made_up_for, seconds=3700
    ),
    "a look at a snapshot": Wish(
        lambda s: made(s, BEFORE, snapshots=LOOKED_AT),
        lambda s: s.engine.declarations.annotate(LT, {"fleet.vers.sh/snapshot": "by a person"}),
        is_looked_at,
        commits=1,
    ),
    "a rollback": Wish(has_a_snapshot, wants_it_back, is_back),
    "a replacement": Wish(worked, lambda s: profile(s, **AFTER), is_replaced),
    "a replacement in place": Wish(in_place, lambda s: profile(s, **AFTER), is_another, most=1),
    "a machine that vanished": Wish(one, vanishes, is_made_again),
    "more of a tree": Wish(a_tree, grows, is_grown),
    "a tree's machine that vanished": Wish(a_tree, loses_a_machine, stands_again),
}


@pytest.mark.parametrize("what", WISHES)
def test_it_waits_and_comes_when_the_fleet_goes_on(what: str, tmp_path: Path) -> None:
    wish = WISHES[what]

    async def story(s: Stage) -> None:
        await wish.before(s)
        await halted(s)
        world = s.world
        said, created, committed = len(world.prompts), world.created, world.commits_made
        await wish.asks(s)
        there = {machine.vm_id for machine in world.alive()}
        queued = await s.task("queued", "meanwhile")
        for _ in range(2):
            await pass_time(wish.seconds)
            await s.controller.down()
            await s.controller.up()
        assert (len(world.prompts), world.created, world.commits_made) == (said, created, committed + wish.commits)
        assert {machine.vm_id for machine in world.alive()} == there, "and nothing goes for it either"
        assert "Halted" in (s.reason(queued, "Ready"), s.reason(LT, "Ready"))
        await resumed(s)
        await wish.comes(s)
        assert await s.ends(queued) == "Succeeded"

    play = tell if wish.seconds < 3600 else tell_hours
    play(tmp_path, story, settings=replace(SETTINGS, max_vms=wish.most))
