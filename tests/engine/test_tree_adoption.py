"""Nodes of a hierarchy that take over machines which exist already: exactly those, claimed before anything else, within the limits, and
none of anybody else (G-07)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.core.keys import Key
from tests.engine.stage import Stage, pass_time, tell
from tests.engine.test_adoption import OLD, TALK, claimed, disk, stranger
from tests.engine.test_lost_store import lose_the_store
from tests.engine.test_trees import TREE, agent, infra, nodes, stands, tree, vm_of
from tests.world import Machine

UNTOUCHED = {"made-by": "hand"}


def takes(machine: Machine) -> dict[str, Any]:
    return {"adopt": {"vmId": machine.vm_id}}


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-36")
def test_every_node_takes_over_the_machine_that_it_names_and_its_agent_goes_on(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        base, lead = stranger(s.world), stranger(s.world)
        lead.sessions[OLD] = TALK
        s.world.commands = disk(lead)
        await tree(s, infra("base", **takes(base)), agent("lead", "base", **takes(lead)))
        await stands(s)
        assert (vm_of(s, "base"), vm_of(s, "lead")) == (base.vm_id, lead.vm_id)
        assert all(machine.labels["fleet.vers.sh/vm-id"] == machine.vm_id for machine in (base, lead))
        assert lead.session.startswith(TALK)
        assert s.happened("ContinuedSession") == 1, "a machine without an agent has no conversation to go on with"
        await s.delete(TREE)
        await s.gone(TREE)
        assert s.world.alive() == []

    run = tell(tmp_path, story)
    assert run.weather.count("vers.create_vm") == 0
    first = [name for name in run.weather.names if name == "vers.set_labels" or name.startswith(("guest.", "keeper."))]
    assert first[0] == "vers.set_labels", "the claim comes before anything is done on a machine"


@pytest.mark.guarantee("G-09")
def test_what_is_taken_over_counts_against_the_limits_and_the_rest_is_not_touched(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        found = [stranger(s.world) for _ in range(3)]
        places = [infra(f"n{number}", **takes(machine)) for number, machine in enumerate(found)]
        await tree(s, *places, limits={"maxVMs": 2})
        await s.until(lambda: sum("fleet.vers.sh/vm-id" in machine.labels for machine in found) == 2, "two are taken over")
        await pass_time(300)
        (left,) = [machine for machine in found if "fleet.vers.sh/vm-id" not in machine.labels]
        assert left.labels == UNTOUCHED
        assert [node["reason"] for node in nodes(s).values() if not node["ready"]] == ["Capacity"]
        await tree(s, *places, limits={"maxVMs": 3})
        await stands(s)
        assert {node["vmId"] for node in nodes(s).values()} == {machine.vm_id for machine in found}

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_a_machine_of_another_installation_is_named_and_left_alone_and_the_others_are_taken_over(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        mine, theirs = stranger(s.world), claimed(s.world)
        before = dict(theirs.labels)
        await tree(s, infra("a", **takes(mine)), infra("b", **takes(theirs)))
        await s.says(Key("Machine", "default", "prod/b"), "Stalled", "ClaimConflict")
        await s.until(lambda: nodes(s).get("b", {}).get("reason") == "ClaimConflict", "the tree tells it")
        await s.until(lambda: nodes(s)["a"]["ready"] is True, "the other is taken over")
        assert theirs.vm_id in str(nodes(s)["b"]["message"])
        assert "installation-2" in str(nodes(s)["b"]["message"])
        await pass_time(300)
        assert dict(theirs.labels) == before
        assert s.weather.count("vers.create_vm") == 0

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
def test_of_two_declarations_that_want_one_machine_one_gets_it_and_the_other_says_whose_it_is(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        there, beside = stranger(s.world), stranger(s.world)
        await tree(s, infra("a", **takes(there)), infra("b", **takes(beside)))
        await stands(s)
        late = await s.lieutenant("late", **takes(there))
        await s.says(late, "Stalled", "AlreadyOwned")
        assert "prod/a" in s.message(late, "Stalled")
        await tree(s, infra("a", **takes(there)), infra("b", **takes(beside)), infra("c", **takes(there)))
        await s.until(lambda: nodes(s).get("c", {}).get("reason") == "AlreadyOwned", "a node is told as well")
        await pass_time(120)
        assert vm_of(s, "a") == there.vm_id
        assert s.world.alive() == [there, beside]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
def test_a_lost_store_finds_what_was_taken_over_and_remembers_that_it_was(tmp_path: Path) -> None:
    """A machine that was adopted is never replaced because a profile changed, also by a controller that knows of it by its claim only."""

    async def story(s: Stage) -> None:
        base, lead = stranger(s.world), stranger(s.world)
        recreate: dict[str, Any] = {"update": {"onProfileChange": "Recreate"}}
        whole = (infra("base", **takes(base), **recreate), agent("lead", "base", **takes(lead), **recreate))
        await tree(s, *whole)
        await stands(s)
        await lose_the_store(s)
        await tree(s, *whole)
        await stands(s)
        await pass_time(120)
        for key in (Key("Machine", "default", "prod/base"), Key("Lieutenant", "default", "prod-lead")):
            slot = s.record(key).slot
            assert slot.adopted == slot.vm_id != "", key
        assert s.world.alive() == [base, lead]

    run = tell(tmp_path, story)
    assert run.weather.count("vers.create_vm") == 0
