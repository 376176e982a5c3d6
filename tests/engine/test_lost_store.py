"""A store that was lost: what is declared again finds its machine by the claim on it, and goes on with its conversation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import CommandResult, CommitSource, GuestCommand
from reconciler.errors import TimedOut
from tests.engine.stage import LT, Stage, failing, pass_time, tell
from tests.engine.test_bake import BAKED, baked, of_bake
from tests.engine.test_profiles import PROFILE, made, profile
from tests.engine.test_trees import TREE, agent, infra, nodes, stands, tree


async def lose_the_store(s: Stage) -> None:
    """The controller ends, its store is gone, and another life begins with an empty one, which reads the claims first."""
    await s.controller.down()
    for file in s.controller.path.parent.glob(f"{s.controller.path.name}*"):
        file.unlink()
    await s.controller.up()
    s.engine.declarations.claimed = await s.engine.restore.claimed()


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-32")
def test_a_lieutenant_finds_its_machine_and_goes_on_with_its_conversation(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant()
        machine = await s.ready()
        assert await s.ends(await s.task("one", "remember 42")) == "Succeeded"
        said = machine.session
        await lose_the_store(s)
        await s.lieutenant()
        assert await s.ready() is machine
        await pass_time(300)
        assert s.world.alive() == [machine]
        assert machine.session.startswith(said)
        assert await s.ends(await s.task("two", "and now?")) == "Succeeded"
        assert machine.session.startswith(said)
        assert s.record(LT).slot.vm_id == machine.vm_id

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
def test_every_node_of_a_tree_finds_its_machine(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        whole = (infra("root"), agent("a", "root"), agent("w", "a", replicas=2))
        await tree(s, *whole)
        await stands(s)
        before = {name: node["vmId"] for name, node in nodes(s).items()}
        await lose_the_store(s)
        await tree(s, *whole)
        await stands(s)
        await pass_time(300)
        assert {name: node["vmId"] for name, node in nodes(s).items()} == before
        assert len(s.world.alive()) == 4
        assert s.engine.table.get(TREE) is not None

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
def test_a_claim_is_taken_up_once(tmp_path: Path) -> None:
    """Deleted and declared again in the same life, it is another object with a machine and a conversation of its own."""

    async def story(s: Stage) -> None:
        await s.lieutenant()
        first = await s.ready()
        await lose_the_store(s)
        await s.lieutenant()
        assert await s.ready() is first
        before = s.engine.table.get(LT)
        await s.delete(LT)
        await s.gone(LT)
        assert s.world.alive() == []
        await s.lieutenant()
        after = s.engine.table.get(LT)
        assert before is not None
        assert after is not None
        assert after.uid != before.uid
        assert s.record(LT).slot.vm_id != first.vm_id
        second = await s.ready()
        assert second is not first
        assert s.world.alive() == [second]

    tell(tmp_path, story)


async def a_baked_profile(s: Stage) -> tuple[str, list[tuple[str, ...]]]:
    """A lieutenant of a profile that is baked: the commit, and what is run on machines from now on."""
    ran: list[tuple[str, ...]] = []

    def note(command: GuestCommand) -> int | CommandResult:
        ran.append(tuple(command.argv))
        return 0

    s.world.commands = note
    await made(s, BAKED)
    commit = await baked(s)
    ran.clear()
    return commit, ran


async def declare_again(s: Stage) -> None:
    """What was declared, and another lieutenant of the profile."""
    await profile(s, **BAKED)
    for name in ("api", "other"):
        await s.lieutenant(name, profileRef={"name": PROFILE.name})


OTHER = Key("Lieutenant", "default", "other")


@pytest.mark.guarantee("G-02")
def test_what_was_baked_is_found_again_and_not_baked_a_second_time(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        commit, ran = await a_baked_profile(s)
        created = s.world.created
        await lose_the_store(s)
        await declare_again(s)
        assert await baked(s) == commit
        machine = await s.ready(OTHER)
        await pass_time(300)
        assert machine.source == CommitSource(commit)
        assert ("true",) in ran
        assert all(command == ("true",) for command in ran), "it is verified, and nothing is done again"
        assert list(s.world.commits) == [commit]
        assert s.world.created == created + 1
        await profile(s, **{**BAKED, "steps": [{"name": "tools", "run": "two"}]})
        await s.until(lambda: of_bake(s).get("state") == "Baked" and of_bake(s)["commit"] != commit, "a change is baked as ever")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-11")
@pytest.mark.parametrize("wrong", ["unsealed", "of another profile", "without its hash", "without a VM"])
def test_what_is_not_proved_to_be_ours_and_of_that_profile_is_not_used(wrong: str, tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        commit, _ = await a_baked_profile(s)
        there = s.world.commits[commit]
        fleet, namespace, machine, word, token, seal = there.name.split(".")
        names = {
            "unsealed": f"{fleet}.{namespace}.{machine}.{word}.{token}.{'0' * 16}",
            "of another profile": f"{fleet}.{namespace}.{machine}x.{word}.{token}.{seal}",
            "without its hash": f"{fleet}.{namespace}.{machine}.{token}.{seal}",
            "without a VM": there.name,
        }
        parent = "" if wrong == "without a VM" else there.parent_vm_id
        s.world.commits[commit] = replace(there, name=names[wrong], parent_vm_id=parent)
        await lose_the_store(s)
        await declare_again(s)
        again = await baked(s)
        assert again != commit
        await s.ready(OTHER)
        await pass_time(300)
        assert commit in s.world.commits, "nobody removes it either"
        told = (await s.engine.store.load()).meta.get(f"commit/{commit}")
        ours = wrong in ("without its hash", "without a VM")
        assert bool(told) == ours, "what is ours and tells nothing is listed by `get commits`"
        assert s.happened("Baked") == 1 + 1 + ours

    tell(tmp_path, story)


@pytest.mark.guarantee("G-04")
def test_while_the_platform_does_not_say_what_was_baked_nothing_is_baked(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        commit, _ = await a_baked_profile(s)
        await lose_the_store(s)
        s.weather.rules["vers.list_commits"] = failing(lambda: TimedOut("no answer within 30 s", "GET /commits"))
        await declare_again(s)
        await pass_time(300)
        assert list(s.world.commits) == [commit]
        assert s.reason(PROFILE, "Ready") == "Baking"
        assert "can't be read" in s.message(PROFILE, "Ready")
        del s.weather.rules["vers.list_commits"]
        assert await baked(s) == commit

    tell(tmp_path, story)
