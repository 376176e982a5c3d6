"""A profile is baked: its machine is made once, committed and let go of, and later ones begin with that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import CommandResult, CommitSource, GuestCommand
from tests.engine.stage import LT, Stage, pass_time, tell, tell_hours
from tests.engine.test_profiles import PROFILE, Vault, made, profile

BAKED: dict[str, object] = {
    "steps": [{"name": "tools", "run": "one"}],
    "verify": [{"name": "works", "command": ["true"]}],
    "bake": {"enabled": True},
}
SECRET = [{"path": "/root/secret", "valueFrom": {"secretKeyRef": {"name": "s", "key": "word"}}}]


def of_bake(s: Stage) -> dict[str, object]:
    return dict(s.status(PROFILE).get("bake", {}))


async def baked(s: Stage) -> str:
    """Until it is; the commit."""
    await s.until(lambda: of_bake(s).get("state") == "Baked", "it is baked")
    return str(of_bake(s)["commit"])


def test_the_second_machine_begins_with_what_was_baked_and_no_step_is_run_again(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        ran: list[tuple[str, ...]] = []

        def note(command: GuestCommand) -> int | CommandResult:
            ran.append(tuple(command.argv))
            return 0

        s.world.commands = note
        await made(s, BAKED)
        commit = await baked(s)
        assert len(s.world.alive()) == 1, "the machine that it was baked on is gone"
        ran.clear()
        other = Key("Lieutenant", "default", "other")
        await s.lieutenant("other", profileRef={"name": PROFILE.name})
        machine = await s.ready(other)
        assert machine.source == CommitSource(commit)
        assert ran == [("true",)], "it is verified again, and nothing is done again"
        assert s.record(LT).slot.vm_id != machine.vm_id

    tell(tmp_path, story)


def test_nothing_is_baked_before_something_refers_to_it(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await profile(s, **BAKED)
        await s.until(lambda: s.condition(PROFILE, "Ready") == "True", "it resolves")
        assert s.world.created == 0

    tell(tmp_path, story)


def test_what_can_not_be_verified_is_not_baked_and_the_last_good_one_stays(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.commands = lambda command: CommandResult(1, "", "no", 0.1) if command.argv == ("false",) else 0
        await made(s, BAKED)
        commit = await baked(s)
        await profile(s, **{**BAKED, "verify": [{"name": "works", "command": ["false"]}]})
        await s.says(PROFILE, "Stalled", "BootFailed")
        await s.until(lambda: len(s.world.alive()) == 1, "its machine is deleted")
        assert of_bake(s)["commit"] == commit
        await profile(s, **BAKED)
        await s.until(lambda: of_bake(s).get("state") == "Baked", "the earlier one is in force again")
        assert len(s.world.commits) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-60")
def test_no_secret_is_in_what_is_baked_and_every_machine_gets_it(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        refused = [2]

        def remove(command: GuestCommand) -> int | CommandResult:
            if command.argv[0] != "rm":
                return 0
            refused[0] -= 1
            if refused[0] >= 0:
                return CommandResult(1, "", "busy", 0.1)
            for machine in s.world.alive():
                if machine.marks and machine.pi is None:
                    machine.files.pop("/root/secret", None)
            return 0

        s.world.commands = remove
        await made(s, {**BAKED, "files": SECRET})
        commit = await baked(s)
        assert b"sesame-open" not in s.world.disks[commit].files.values()
        await s.lieutenant("other", profileRef={"name": PROFILE.name})
        machine = await s.ready(Key("Lieutenant", "default", "other"))
        assert machine.source == CommitSource(commit)
        assert machine.files["/root/secret"] == b"sesame-open"

    tell(tmp_path, story, secrets=Vault(s_word="sesame-open"))


def test_a_crash_at_any_time_bakes_it_once(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, BAKED)
        for _ in range(6):
            await s.controller.down()
            await s.controller.up()
            await s.until(lambda: True, "")
        await baked(s)
        assert len(s.world.commits) == 1
        assert s.world.created == 2

    tell(tmp_path, story)


def test_a_profile_that_is_not_baked_any_more_goes_on_without(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, BAKED)
        await baked(s)
        await profile(s, **{**BAKED, "bake": {"enabled": False}})
        await s.lieutenant("other", profileRef={"name": PROFILE.name})
        machine = await s.ready(Key("Lieutenant", "default", "other"))
        assert not isinstance(machine.source, CommitSource)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_only_so_many_commits_stay_and_nobody_elses_goes(tmp_path: Path) -> None:
    """The one in force stays whatever its age, one that a machine was made from is refused by the platform and tried again, and what has
    another name is left alone."""

    async def story(s: Stage) -> None:
        def numbered(n: int) -> dict[str, object]:
            return {**BAKED, "bake": {"enabled": True, "keep": 1}, "steps": [{"name": "tools", "run": f"run {n}"}]}

        async def rebaked(n: int) -> str:
            before = of_bake(s).get("commit")
            await profile(s, **numbered(n))
            await s.until(lambda: of_bake(s).get("state") == "Baked" and of_bake(s)["commit"] != before, "it is baked anew")
            return str(of_bake(s)["commit"])

        await made(s, numbered(1))
        first = await baked(s)
        second = await rebaked(2)
        await s.until(lambda: set(s.world.commits) == {second}, "the one before it is removed")
        await s.lieutenant("other", profileRef={"name": PROFILE.name})
        machine = await s.ready(Key("Lieutenant", "default", "other"))
        assert machine.source == CommitSource(second)
        third = await rebaked(3)
        await s.until(lambda: s.happened("CommitInUse") == 1, "the platform refuses")
        assert set(s.world.commits) == {second, third}
        await s.delete(Key("Lieutenant", "default", "other"))
        await pass_time(600)
        await s.until(lambda: set(s.world.commits) == {third}, "it is removed when nothing uses it")
        s.world.commits[third] = replace(s.world.commits[third], name="somebody's")
        fourth = await rebaked(4)
        await pass_time(1200)
        assert set(s.world.commits) == {third, fourth}
        assert of_bake(s)["kept"] == 2
        assert first not in s.world.commits

    tell_hours(tmp_path, story)
