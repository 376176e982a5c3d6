"""Live copies in an account where others make machines too (`--dedicated-account=false`): what a copy's lost call made is told by a person,
and never taken by its looks (G-07)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import Commit
from reconciler.errors import Indeterminate
from tests.engine.stage import LT, SETTINGS, SETTLE, Stage, losing, pass_time, tell
from tests.engine.test_fork import COPY, fork_of, knows, source_with_a_past
from tests.world import Machine, World

SHARED = replace(SETTINGS, dedicated_account=False)
OTHER = Key("Lieutenant", "default", "other")
RESOLVE = "fleet.vers.sh/resolve"


def lost() -> Indeterminate:
    return Indeterminate("connection reset")


async def in_doubt(run: Stage, *keys: Key) -> list[Machine]:
    """The machines that these copies' calls made, whose answers were lost; nobody has taken one."""
    source = await source_with_a_past(run)
    run.weather.rules["vers.create_vm"] = losing(lost, len(keys))
    for key in keys:
        await run.lieutenant(key.name, **fork_of())
    for key in keys:
        await run.says(key, "Stalled", "CreateAmbiguous")
    made = [machine for machine in run.world.alive() if machine is not source]
    await pass_time(5 * SETTLE)
    assert [machine.labels for machine in made] == [{} for _ in keys]
    assert {machine.branched_from for machine in made} == {source.vm_id}
    assert run.world.created == 1 + len(keys)
    return made


def by_hand(world: World, source: Machine) -> Machine:
    """Somebody else makes a live copy of this machine."""
    made = world.make({}, f"00000000-0000-4000-a000-{len(world.machines):012d}")
    world.commits[str(made.parent_commit)] = Commit(str(made.parent_commit), "theirs", world.now(), source.vm_id)
    return made


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-33")
def test_a_copy_whose_answer_was_lost_is_a_persons_to_name(tmp_path: Path) -> None:
    """The source works on meanwhile, and the one that is named becomes the copy with all that the source knew."""

    async def story(run: Stage) -> None:
        (made,) = await in_doubt(run, COPY)
        said = run.message(COPY, "Stalled")
        assert made.vm_id in said
        assert "reconciler resolve" in said
        assert await run.ends(await run.task("meanwhile")) == "Succeeded"
        await run.engine.declarations.annotate(COPY, {RESOLVE: f"vm={made.vm_id}:a"})
        copy = await run.ready(COPY)
        assert copy is made
        assert knows(copy)
        assert b"meanwhile attempt" not in copy.session
        assert run.world.created == 2

    tell(tmp_path, story, settings=SHARED)


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-33")
def test_two_copies_in_doubt_name_both_machines_and_each_gets_the_one_that_is_named(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        first, second = await in_doubt(run, COPY, OTHER)
        for key, made in ((COPY, second), (OTHER, first)):
            said = run.message(key, "Stalled")
            named = made if made.vm_id in said else next(one for one in (first, second) if one.vm_id in said)
            await run.engine.declarations.annotate(key, {RESOLVE: f"vm={named.vm_id}:a"})
            assert await run.ready(key) is named
        assert run.machine(COPY) is not run.machine(OTHER)
        assert run.world.created == 3

    tell(tmp_path, story, settings=SHARED)


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-33")
def test_a_copy_that_somebody_else_makes_of_the_source_is_neither_taken_nor_deleted(tmp_path: Path) -> None:
    """Our call did nothing; theirs is made in its window and looks just like what ours would have made."""

    async def story(run: Stage) -> None:
        source = await source_with_a_past(run)
        theirs: list[Machine] = []

        async def nothing(act: object) -> object:
            del run.weather.rules["vers.create_vm"]
            theirs.append(by_hand(run.world, source))
            raise lost()

        run.weather.rules["vers.create_vm"] = nothing
        await run.lieutenant("copy", **fork_of())
        await run.says(COPY, "Stalled", "CreateAmbiguous")
        assert theirs[0].vm_id in run.message(COPY, "Stalled")
        await pass_time(5 * SETTLE)
        await run.engine.declarations.annotate(COPY, {RESOLVE: "vm=none:a"})
        copy = await run.ready(COPY)
        assert copy is not theirs[0]
        assert knows(copy)
        for key in (COPY, LT):
            await run.delete(key)
            await run.gone(key)
        assert [(machine.labels, machine.deleted, machine.claim) for machine in theirs] == [({}, False, None)]

    tell(tmp_path, story, settings=SHARED)


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-33")
def test_a_copy_in_doubt_that_is_not_wanted_any_more_takes_nothing_with_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        (made,) = await in_doubt(run, COPY)
        await run.delete(COPY)
        await pass_time(5 * SETTLE)
        assert not made.deleted
        assert made.labels == {}
        assert await run.ends(await run.task("after")) == "Succeeded"

    tell(tmp_path, story, settings=SHARED)
