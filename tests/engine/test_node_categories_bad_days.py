"""A node whose category changes, and something comes between: files that can't be brought over, protection, an end in the middle of it,
a name that is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import lieutenant
from reconciler.core.tree.handover import TRIES
from reconciler.engine.act.local import WORKSPACE_LIMIT
from reconciler.errors import GuestFailed
from tests.engine.stage import Stage, failing, pass_time, tell
from tests.engine.test_node_categories import BOTH, MADE, OWN, changed, key_of, of, turned, watch, worked
from tests.engine.test_profiles import profile
from tests.engine.test_replacement import BROKEN
from tests.engine.test_trees import TREE, agent, infra, nodes, stands, tree, vm_of
from tests.world import false_fails

CONFIRM = {"fleet.vers.sh/delete-confirmed": "yes"}


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-37")
@pytest.mark.parametrize("why", ["too large", "refused"])
def test_files_that_can_not_be_brought_over_keep_the_machine_until_a_person_lets_it_go(tmp_path: Path, why: str) -> None:
    async def story(s: Stage) -> None:
        old = await worked(s, "agent")
        if why == "too large":
            old.files[MADE] = bytes(WORKSPACE_LIMIT + 1)
        else:
            s.weather.rules["keeper.unpack"] = failing(lambda: GuestFailed("no space left on device", "vm"))
        await tree(s, turned("agent"))
        await s.says(TREE, "Stalled", "FilesNotCarriedOver")
        await pass_time(900)
        assert old in s.world.alive()
        assert ("MiB" if why == "too large" else "no space") in s.message(TREE, "Stalled")
        await s.engine.declarations.annotate(TREE, CONFIRM)
        assert (await changed(s, old)).vm_id != old.vm_id

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_files_are_brought_again_when_that_failed(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        old = await worked(s, "none")
        watch(s)
        s.weather.rules["keeper.unpack"] = failing(lambda: GuestFailed("no space left on device", "vm"), times=TRIES - 1)
        await tree(s, turned("none"))
        assert (await changed(s, old)).files.get(MADE) == b"by hand"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
@BOTH
def test_what_is_protected_stays_beside_the_other_until_a_person_lets_it_go(tmp_path: Path, had: str) -> None:
    async def story(s: Stage) -> None:
        await tree(s, of(had, protected=True))
        await stands(s)
        old = s.world.machines[vm_of(s, "a")]
        await tree(s, turned(had, protected=True))
        await s.says(TREE, "Stalled", "Protected")
        await pass_time(300)
        assert old in s.world.alive()
        assert s.condition(key_of(had), "Ready") == "True"
        await s.engine.declarations.annotate(TREE, CONFIRM)
        assert (await changed(s, old)).vm_id != old.vm_id

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-13")
@pytest.mark.parametrize("goes", ["tree", "node"])
@BOTH
def test_what_goes_in_the_middle_of_it_leaves_nothing(tmp_path: Path, had: str, goes: str) -> None:
    async def story(s: Stage) -> None:
        s.world.boot_seconds = 20.0
        await tree(s, of(had), infra("other"))
        await stands(s)
        await tree(s, turned(had), infra("other"))
        await s.until(lambda: len(s.world.alive()) == 3, "another machine is made")
        if goes == "tree":
            await s.engine.declarations.delete(TREE)
            await s.gone(TREE)
            assert s.world.alive() == []
            return
        await tree(s, infra("other"))
        await s.until(lambda: len(s.world.alive()) == 1, "all of it is gone")
        await stands(s)
        assert list(nodes(s)) == ["other"]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-13")
def test_what_stands_below_goes_before_what_a_node_had(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.boot_seconds = 20.0
        await tree(s, agent("a"), infra("b", "a"))
        await stands(s)
        below = s.world.machines[vm_of(s, "b")]
        await tree(s, infra("a"), infra("b", "a"))
        await s.until(lambda: len(s.world.alive()) == 3, "another machine is made")

        def look(*_: object) -> None:
            if not below.deleted and len(s.world.alive()) < 3:
                s.world.violations.append("what stands above went first")

        s.engine.table.on_change.append(look)
        await s.engine.declarations.delete(TREE)
        await s.gone(TREE)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_a_name_that_is_taken_costs_no_machine(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        old = await worked(s, "none")
        await s.lieutenant("prod-a")
        await s.ready(lieutenant("default", "prod-a"))
        await tree(s, turned("none"))
        await s.until(lambda: "prod-a is taken" in s.message(TREE, "Ready"), "it says that the name is taken")
        await pass_time(300)
        assert s.condition(key_of("none"), "Ready") == "True"
        assert old in s.world.alive()
        await tree(s, of("none"))
        await stands(s)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_machines_that_do_not_work_are_not_waited_for_by_each_other(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.commands = false_fails
        await profile(s, **BROKEN)
        await tree(s, infra("a", profileRef=OWN), infra("b", profileRef=OWN))
        await s.says(TREE, "Stalled", "NodesStalled")
        await tree(s, agent("a"), agent("b"))
        await stands(s)
        assert len(s.world.alive()) == 2

    tell(tmp_path, story)
