"""Hierarchies: what they declare, in which order machines come and go, and how many there may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.agent import Agent, NotStarted
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.observe.trees import AT_ONCE
from reconciler.engine.observe.use import quiet
from reconciler.engine.planning import plan_everything
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.slots import vms_in
from reconciler.errors import Refused, TimedOut
from tests.engine.stage import SETTINGS, Stage, failing, pass_time, tell, tell_hours
from tests.engine.stage import declared as document

TREE = Key("VMTree", "default", "prod")


def agent(name: str, parent: str | None = None, **more: object) -> dict[str, object]:
    node: dict[str, object] = {"name": name, "category": "Lieutenant", "profileRef": {"name": "lightweight"}, "lieutenant": {"role": name}}
    return {**node, **({"parent": parent} if parent else {}), **more}


def infra(name: str, parent: str | None = None, **more: object) -> dict[str, object]:
    node: dict[str, object] = {"name": name, "category": "Infra", "profileRef": {"name": "lightweight"}}
    return {**node, **({"parent": parent} if parent else {}), **more}


async def tree(s: Stage, *nodes: dict[str, object], **spec: object) -> None:
    await s.declare(document(TREE, nodes=list(nodes), **spec))


async def stands(s: Stage) -> None:
    await s.until(lambda: s.reason(TREE, "Ready") == "NodesReady" and current(s), "the tree stands")


def current(s: Stage) -> bool:
    item = s.engine.table.get(TREE)
    return item is not None and item.obj.status.get("observedGeneration") == item.obj.generation


def nodes(s: Stage) -> dict[str, dict[str, object]]:
    return {node["name"]: node for node in s.status(TREE)["nodes"]}


def woken_by(s: Stage, key: Key, told: Callable[[StoredObject, StoredObject | None], bool]) -> set[Key]:
    """Whoever is woken by such changes of this object from now on."""
    woken: set[Key] = set()

    def note(at: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        if at == key and before is not None and told(before, after):
            woken.update(one for kind in s.engine.kinds.values() for one in kind.affected(at, before, after))

    s.engine.table.on_change.append(note)
    return woken


def test_every_node_gets_its_machine_and_agent_nodes_a_lieutenant(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("infra"), agent("backend", "infra"), agent("worker", "backend", replicas=2))
        await stands(s)
        assert {name: (node.get("lieutenant"), node["ready"]) for name, node in nodes(s).items()} == {
            "infra": (None, True),
            "backend": ("prod-backend", True),
            "worker-0": ("prod-worker-0", True),
            "worker-1": ("prod-worker-1", True),
        }
        assert len(s.world.alive()) == 4
        assert s.status(TREE)["counts"] == {"nodes": 4, "ready": 4, "reconciling": 0, "stalled": 0}

    tell(tmp_path, story)


def vm_of(s: Stage, name: str) -> str:
    return str(nodes(s)[name]["vmId"])


@pytest.mark.guarantee("G-13")
def test_machines_come_roots_first_and_go_leaves_first(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        chain = (infra("root"), agent("middle", "root"), agent("leaf", "middle"))
        await tree(s, *chain)
        await stands(s)
        ids = [vm_of(s, name) for name in ("root", "middle", "leaf")]
        born = [s.world.machines[vm_id].created_at for vm_id in ids]
        assert born == sorted(born)
        assert len(set(born)) == 3
        await tree(s, *chain, mode="Suspended")
        await stands(s)
        assert s.status(TREE)["phase"] == "Suspended"
        assert suspended_in_order(s) == [ids[2], ids[1], ids[0]]
        await tree(s, *chain, mode="Running")
        await stands(s)
        assert [told.message.split()[1] for told in s.controller.told if told.reason == "ResumedVM"] == ids
        await s.delete(TREE)
        await s.gone(TREE)
        assert [told.message.split()[1] for told in s.controller.told if told.reason == "VMGone"] == [ids[2], ids[1], ids[0]]

    tell(tmp_path, story)


@pytest.mark.parametrize("boots", [0.5, 4.0])
def test_what_stands_below_begins_soon_after_its_parent_has_booted(tmp_path: Path, boots: float) -> None:
    """In virtual time: it waits for no look at everything, nor for a list that is due anyway."""

    async def story(s: Stage) -> None:
        s.world.boot_seconds = boots
        await tree(s, infra("root"), infra("middle", "root"), agent("leaf", "middle"))
        await stands(s)
        born = [s.world.machines[vm_of(s, name)].created_at for name in ("root", "middle", "leaf")]
        assert max(later - earlier for earlier, later in pairwise(born)) < boots * 1.5 + 2.0

    tell(tmp_path, story)


def suspended_in_order(s: Stage) -> list[str]:
    return [told.message.split()[1] for told in s.controller.told if told.reason == "SuspendedVM"]


@pytest.mark.guarantee("G-09")
def test_never_more_creates_at_once_nor_more_machines_than_the_limits_say(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, agent("worker", replicas=9), limits={"maxVMs": 5, "maxConcurrentCreates": 2})
        await s.until(lambda: s.status(TREE).get("counts", {}).get("ready") == 5, "five are ready")
        waiting = [node for node in nodes(s).values() if not node["ready"]]
        assert {node["reason"] for node in waiting} == {"Capacity"}
        assert len(waiting) == 4
        assert len(s.world.alive()) == 5
        await tree(s, agent("worker", replicas=9), limits={"maxVMs": 9})
        await stands(s)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-10")
def test_fewer_replicas_take_the_idle_ones_and_leave_who_works(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, agent("worker", replicas=3))
        await stands(s)
        work = await s.task("long", "a long one", to="prod-worker-2")
        await s.runs(work)
        machine = vm_of(s, "worker-2")
        await tree(s, agent("worker", replicas=1))
        await s.until(lambda: current(s) and set(nodes(s)) == {"worker-2"}, "only the one that works is left")
        await stands(s)
        assert vm_of(s, "worker-2") == machine
        assert await s.ends(work) == "Succeeded"

    tell(tmp_path, story)


TOUCHES = ("vers.create", "vers.delete", "vers.suspend", "vers.resume")


@pytest.mark.guarantee("G-48")
def test_another_parent_touches_no_machine(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("a"), infra("b"), agent("x", "a"))
        await stands(s)
        before = set(s.world.machines)
        calls = s.weather.count(*TOUCHES)
        await tree(s, infra("a"), infra("b"), agent("x", "b"))
        await stands(s)
        assert [place.parent for place in s.engine.table.get(TREE).record.places if place.name == "x"] == ["b"]  # type: ignore[union-attr]
        assert set(s.world.machines) == before
        assert s.weather.count(*TOUCHES) == calls == 3

    tell(tmp_path, story)


def test_a_removed_node_with_others_below_is_refused_until_the_tree_says_what_becomes_of_them(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        whole = (infra("root"), agent("a", "root"), agent("b", "a"))
        await tree(s, *whole)
        await stands(s)
        await tree(s, infra("root"))
        await s.says(TREE, "Stalled", "NodeRemovalRefused")
        assert len(s.world.alive()) == 3
        await tree(s, infra("root"), policy={"onNodeRemoved": "Cascade"})
        await stands(s)
        assert set(nodes(s)) == {"root"}

    tell(tmp_path, story)


def test_nodes_below_a_removed_one_stay_one_level_up_when_the_tree_says_so(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("root"), agent("a", "root"), agent("b", "a"))
        await stands(s)
        kept = vm_of(s, "b")
        await tree(s, infra("root"), policy={"onNodeRemoved": "Reparent"})
        await s.until(lambda: current(s) and set(nodes(s)) == {"root", "b"}, "only the removed one goes")
        assert vm_of(s, "b") == kept

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_tree_with_a_protected_node_goes_only_when_that_is_confirmed(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("root", protected=True), agent("a", "root"))
        await stands(s)
        with pytest.raises(Refused, match="protected"):
            await s.engine.declarations.delete(TREE)
        await s.engine.declarations.withdraw(TREE, "its file is gone")
        await s.says(TREE, "Stalled", "Protected")
        assert len(s.world.alive()) == 2
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/delete-confirmed": "yes"})
        await s.gone(TREE)
        assert len(s.world.alive()) == 0

    tell(tmp_path, story)


def test_a_confirmation_that_comes_later_reaches_what_is_protected(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        whole = (infra("root", protected=True), agent("a", "root"))
        await tree(s, *whole)
        await stands(s)
        await tree(s, agent("a"))
        await s.says(TREE, "Stalled", "NodesStalled")
        assert len(s.world.alive()) == 2
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/delete-confirmed": "yes"})
        await stands(s)
        assert len(s.world.alive()) == 1

    tell(tmp_path, story)


def test_what_somebody_else_changes_of_a_node_is_put_back(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, agent("a"))
        await stands(s)
        key = Key("Lieutenant", "default", "prod-a")
        item = s.engine.table.get(key)
        assert item is not None
        await s.engine.table.update([(key, lambda o: replace(o, spec={**o.spec, "mode": "Suspended"}, generation=o.generation + 1))])
        await s.until(lambda: s.happened("Reverted") == 1, "it is put back")
        await stands(s)
        assert s.engine.table.get(key).spec == item.spec  # type: ignore[union-attr]

    tell(tmp_path, story)


def test_a_machine_of_a_tree_is_tried_again_when_a_person_says_so(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("db"))
        await stands(s)
        key = Key("Machine", "default", "prod/db")
        await s.engine.declarations.annotate(key, {"fleet.vers.sh/retry": "again"})
        await s.until(lambda: s.record(key).handled.get("retry") == "again", "it is acted on")
        await stands(s)
        assert s.happened("Reverted") == 0

    tell(tmp_path, story)


def test_a_lieutenant_of_a_tree_is_neither_deleted_nor_changed_by_hand(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, agent("a"))
        await stands(s)
        key = Key("Lieutenant", "default", "prod-a")
        with pytest.raises(Refused, match="vmtree/prod"):
            await s.engine.declarations.delete(key)
        with pytest.raises(Refused, match="declared elsewhere"):
            await s.engine.declarations.apply(document(key, role="other", profileRef={"name": "lightweight"}))

    tell(tmp_path, story)


@pytest.mark.guarantee("G-04")
def test_while_the_platform_does_not_answer_it_is_not_known_how_a_tree_is(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("root"), agent("a", "root"))
        await stands(s)
        alive = s.world.alive()
        s.weather.rules["vers."] = failing(lambda: TimedOut("no answer within 30 s", "GET /vms"))
        await s.says(TREE, "Ready", "NodesUnknown")
        assert (s.condition(TREE, "Ready"), s.status(TREE)["phase"]) == ("Unknown", "Unknown")
        await pass_time(600)
        assert s.condition(TREE, "Ready") == "Unknown"
        del s.weather.rules["vers."]
        await stands(s)
        assert s.world.alive() == alive

    tell(tmp_path, story)


def test_a_name_that_is_taken_is_left_to_whom_it_belongs(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        mine = await s.lieutenant("prod-a", role="somebody else's")
        await s.ready(mine)
        await tree(s, agent("a"), agent("b"))
        await s.says(TREE, "Stalled", "NameTaken")
        await s.until(lambda: nodes(s)["b"]["ready"] is True, "the other node stands")
        assert s.engine.table.get(mine).obj.source == "api"  # type: ignore[union-attr]
        await s.engine.declarations.withdraw(TREE, "gone")
        await s.gone(TREE)
        assert s.engine.table.get(mine) is not None

    tell(tmp_path, story)


def test_more_levels_or_children_than_allowed_are_refused_and_the_rest_stands(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("a"), infra("b", "a"), infra("c", "b"), limits={"maxDepth": 2})
        await s.says(TREE, "Stalled", "LimitExceeded")
        await s.until(lambda: s.status(TREE)["counts"]["ready"] == 2, "the two allowed ones stand")
        assert nodes(s)["c"]["reason"] == "LimitExceeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
def test_no_more_agents_work_at_once_than_the_limit_says(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, agent("worker", replicas=3), limits={"maxWorking": 1, "maxConcurrentCreates": 3})
        await stands(s)
        most = [0]

        def count(*_: object) -> None:
            most[0] = max(most[0], sum(machine.pi is not None and machine.pi.busy for machine in s.world.alive()))

        s.engine.table.on_change.append(count)
        tasks = [await s.task(f"t{n}", "work", to=f"prod-worker-{n}") for n in range(3)]
        await s.until(lambda: sum(s.task_record(key).sent for key in tasks) == 1, "one works")
        await s.until(lambda: sum(s.reason(key, "Ready") == "Capacity" for key in tasks) == 2, "two wait for room")
        assert [await s.ends(key) for key in tasks] == ["Succeeded"] * 3
        assert most == [1]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
def test_the_work_that_went_with_its_task_is_taken_up_by_the_next(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, agent("worker", replicas=2), limits={"maxWorking": 1, "maxConcurrentCreates": 2})
        await stands(s)
        s.world.work_seconds = 3600.0
        working = await s.task("t0", "work", to="prod-worker-0")
        await s.runs(working)
        waiting = await s.task("t1", "work", to="prod-worker-1")
        await s.says(waiting, "Ready", "Capacity")
        woken = woken_by(s, working, lambda _, after: after is None)
        await s.engine.table.drop(working)
        assert Key("Lieutenant", "default", "prod-worker-1") in woken

    tell(tmp_path, story)


def test_a_halted_fleet_makes_nothing_and_delivers_nothing_and_what_runs_goes_on(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        busy = await s.lieutenant("busy")
        await s.ready(busy)
        running = await s.task("running", "a long one", to="busy")
        await s.runs(running)
        await s.engine.declarations.halt(True)
        other = await s.lieutenant("other")
        queued = await s.task("queued", "later", to="busy")
        await s.says(other, "Ready", "Halted")
        await s.ends(running)
        await s.says(queued, "Ready", "Halted")
        await s.controller.down()
        await s.controller.up()
        assert s.engine.table.halted
        assert len(s.world.alive()) == 1
        await s.engine.declarations.halt(False)
        await s.ready(other)
        assert await s.ends(queued) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
def test_the_whole_fleet_never_has_more_machines_than_allowed(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        keys = [await s.lieutenant(name) for name in ("a", "b", "c")]
        await s.until(lambda: sum(s.reason(key, "Ready") == "Capacity" for key in keys) == 1, "one waits for room")
        assert len(s.world.alive()) == 2

    tell(tmp_path, story, settings=replace(SETTINGS, max_vms=2))


@pytest.mark.guarantee("G-09")
def test_room_goes_to_who_needs_it_past_those_who_only_asked(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        first = await s.lieutenant("first")
        await s.ready(first)
        for n in range(AT_ONCE):
            resting = await s.lieutenant(f"resting{n}", mode="Suspended")
            await s.until(lambda at=resting: s.status(at) != {}, "it was looked at")  # type: ignore[misc]
        waiting = await s.lieutenant("waiting")
        await s.says(waiting, "Ready", "Capacity")
        woken = woken_by(
            s, first, lambda before, after: vms_in(before.record)[0] != "" and (after is None or vms_in(after.record)[0] == "")
        )
        await s.delete(first)
        await s.gone(first)
        assert waiting in woken
        await s.ready(waiting)

    tell(tmp_path, story, settings=replace(SETTINGS, max_vms=1))


@pytest.mark.guarantee("G-09")
def test_the_room_that_a_restored_machine_leaves_is_taken_at_once(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        key = await s.lieutenant("api", snapshots={"schedule": "0 * * * *", "verify": "All"})
        await s.ready(key)
        s.world.boot_seconds = 60.0
        await s.until(lambda: bool(s.record(key).spare.slot.vm_id), "a snapshot is restored for a look")
        waiting = await s.lieutenant("waiting")
        await s.says(waiting, "Ready", "Capacity")
        woken = woken_by(s, key, lambda before, after: after is not None and vms_in(before.record)[2] != "" == vms_in(after.record)[2])
        await s.until(lambda: not s.record(key).spare.slot.vm_id, "what was restored is gone")
        assert waiting in woken
        await s.ready(waiting)

    tell_hours(tmp_path, story, settings=replace(SETTINGS, max_vms=2))


def test_more_children_than_allowed_are_refused(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("a"), infra("b", "a"), infra("c", "a"), limits={"maxChildren": 1})
        await s.says(TREE, "Stalled", "LimitExceeded")
        await s.until(lambda: s.status(TREE)["counts"]["ready"] == 2, "the two allowed ones stand")
        assert nodes(s)["c"]["reason"] == "LimitExceeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
def test_so_many_are_made_at_once_and_no_more(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.boot_seconds = 10.0
        most = [0]

        def count(*_: object) -> None:
            booting = sum(machine.state is VmState.BOOTING for machine in s.world.alive())
            most[0] = max(most[0], booting)

        s.engine.table.on_change.append(count)
        await tree(s, agent("w", replicas=6), limits={"maxConcurrentCreates": 4})
        await stands(s)
        assert most[0] == 4

    tell(tmp_path, story)


def test_who_is_to_adopt_what_a_machine_of_a_tree_leaves_is_woken_by_that(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("a"), infra("b"))
        await stands(s)
        machine = Key("Machine", "default", "prod/a")
        adopter = await s.lieutenant("adopter", adopt={"vmId": s.record(machine).slot.vm_id})
        woken = woken_by(s, machine, lambda before, _: vms_in(before.record)[0] != "")
        await tree(s, infra("b"))
        await s.gone(machine)
        assert adopter in woken

    tell(tmp_path, story)


def test_a_node_that_loses_its_agent_leaves_no_machine_behind(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, agent("a"))
        await stands(s)
        old = vm_of(s, "a")
        await tree(s, infra("a"))
        await s.until(lambda: current(s) and nodes(s)["a"]["ready"] is True and vm_of(s, "a") != old, "it has a machine of the new kind")
        assert s.engine.table.get(Key("Lieutenant", "default", "prod-a")) is None
        assert [m.vm_id for m in s.world.alive()] == [vm_of(s, "a")]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-13")
def test_what_is_only_observed_is_waited_for_by_nobody(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        seen = agent("seen", "root")
        await tree(s, infra("root"), seen)
        await stands(s)
        watched = {**seen, "lieutenant": {"role": "seen", "managementPolicy": "ObserveOnly"}}
        await tree(s, infra("root"), watched, mode="Suspended")
        await s.until(lambda: s.world.machines[vm_of(s, "root")].state is VmState.SUSPENDED, "the one above it sleeps")
        assert s.world.machines[vm_of(s, "seen")].state is VmState.RUNNING

    tell(tmp_path, story)


@pytest.mark.guarantee("G-13")
def test_what_another_machine_was_prepared_for_says_nothing_of_a_new_one(tmp_path: Path) -> None:
    """The one above it died: a node comes up only when the new machine is prepared, whatever was noted of the old one."""

    async def story(s: Stage) -> None:
        chain = (infra("root"), agent("leaf", "root"))
        await tree(s, infra("root"), agent("leaf", "root", mode="Suspended"))
        await s.until(lambda: current(s) and nodes(s)["root"]["ready"] is True, "the root runs")
        old = vm_of(s, "root")
        s.world.machines[old].state = VmState.DEAD
        await s.until(lambda: vm_of(s, "root") not in ("", old), "it has another machine")
        s.world.machines[vm_of(s, "root")].reachable = False
        await tree(s, *chain)
        await s.until(lambda: nodes(s)["leaf"]["reason"] == "ParentNotReady", "the leaf waits")
        await asyncio.sleep(60)
        assert len(s.world.alive()) == 1
        s.world.machines[vm_of(s, "root")].reachable = True
        await stands(s)

    tell(tmp_path, story)


def test_a_machine_without_an_agent_is_not_quiet_for_what_another_one_was_prepared_for(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("a"))
        await stands(s)
        item = s.engine.table.lieutenant(Key("Machine", "default", "prod/a"))
        assert item is not None
        agent = Agent("1", 1, NotStarted())
        assert quiet(item, agent, [])
        another = item.record.but(slot=item.record.slot.but(vm_id="another"))
        assert not quiet(replace(item, record=another), agent, [])

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_confirmation_is_good_for_one_deletion_only(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("a", protected=True), infra("b", protected=True), infra("c"))
        await stands(s)
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/delete-confirmed": "yes"})
        await tree(s, infra("b", protected=True), infra("c"))
        await stands(s)
        assert len(s.world.alive()) == 2
        await tree(s, infra("c"))
        await s.says(TREE, "Stalled", "NodesStalled")
        assert len(s.world.alive()) == 2
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/delete-confirmed": "again"})
        await stands(s)
        assert len(s.world.alive()) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_the_machines_of_a_tree_are_committed_as_it_says_those_without_an_agent_too(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("root"), agent("a", "root"), snapshots={"schedule": "0 * * * *", "keep": 1})
        await stands(s)
        told: set[str] = set()
        s.engine.table.on_change.append(lambda *_: told.add(s.reason(TREE, "Ready")))
        for _ in range(2):
            await pass_time(3600)
        await s.until(lambda: len(s.world.commits) == 2, "the newest of each is kept")
        assert {commit.parent_vm_id for commit in s.world.commits.values()} == {vm_of(s, "root"), vm_of(s, "a")}
        assert told == {"NodesReady"}, "a snapshot takes nothing away from what is declared"

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-41")
def test_of_a_tree_that_stands_a_plan_has_nothing_to_do(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("root"), agent("a", "root"))
        await stands(s)
        await s.engine.stop()
        assert [(step.key, step.action) for step in (await plan_everything(s.engine)).steps] == []

    tell(tmp_path, story)


def test_what_is_not_valid_for_a_node_is_told_and_the_others_stand(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        long = {"role": "x", "instructions": {"context": "x" * 40_000}}  # with what its parent is told more than a lieutenant may be
        await tree(s, infra("root"), agent("b", "root", lieutenant=long), agent("c", "b", lieutenant=long))
        await s.says(TREE, "Stalled", "NodeInvalid")
        await s.until(lambda: s.status(TREE)["counts"]["ready"] == 2, "the others stand")
        writes = s.controller.writes
        await pass_time(600)
        assert s.controller.writes - writes < 20

    tell(tmp_path, story)
