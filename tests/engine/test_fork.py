"""One lieutenant made as a live copy of another one: it goes on with what that one was told, and disturbs nothing of it (G-33)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Json, Key, SlotOwner
from reconciler.core.lieutenant.session import forked
from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.local import Hosting
from reconciler.core.snapshot.machine import GuestCommand
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.act.branches import conversation
from reconciler.engine.planning import plan_everything
from reconciler.engine.ports import Intent
from reconciler.engine.state.slots import LieutenantSlot
from reconciler.errors import Indeterminate, Rejected
from tests.engine.stage import LT, SETTINGS, SETTLE, Stage, declared, failing, losing, pass_time, tell
from tests.world import Machine

HERE = replace(SETTINGS, hosting=Hosting.ALLOWED, local_root="/srv/agents", host="this-state-directory")
COPY = Key("Lieutenant", "default", "copy")


def fork_of(name: str = "api") -> dict[str, object]:
    return {"fork": {"from": {"name": name}}}


@pytest.mark.guarantee("G-33")
def test_a_copy_has_disk_and_conversation_of_its_source_and_both_go_on_apart(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        source = await run.ready() if (await run.lieutenant()) else None
        assert source is not None
        await run.ends(await run.task("told", "the release is called Halcyon"))
        source.files["/root/workspace/notes.txt"] = b"of the source"
        before = source.session
        await run.lieutenant("copy", role="Try it another way", **fork_of())
        copy = await run.ready(COPY)
        assert copy is not source
        assert copy.branched_from == source.vm_id
        assert copy.files["/root/workspace/notes.txt"] == b"of the source"
        assert copy.session_file != source.session_file
        mine, theirs = copy.session.partition(b"\n"), before.partition(b"\n")
        assert mine[2] == theirs[2]
        assert json.loads(mine[0])["id"] != json.loads(theirs[0])["id"]
        assert json.loads(mine[0])["parentSession"] == source.session_file
        assert source.session == before
        assert source.pi is not None
        assert copy.pi is not None
        assert copy.pi.launch.launch_hash != source.pi.launch.launch_hash
        await run.ends(await run.task("mine", "only for the copy", to="copy"))
        await run.ends(await run.task("theirs", "only for the source"))
        assert b"only for the copy" in copy.session
        assert b"only for the copy" not in source.session
        assert b"only for the source" not in copy.session
        status = run.status(COPY)
        assert status["forkedFrom"]["name"] == "api"
        assert status["forkedFrom"]["vm"] == source.vm_id
        assert run.condition(COPY, "Forked") == "True"
        assert run.world.created == 2

    tell(tmp_path, story)


async def source_with_a_past(run: Stage, **spec: object) -> Machine:
    await run.lieutenant(**spec)
    machine = await run.ready()
    await run.ends(await run.task("told", "the release is called Halcyon"))
    return machine


def knows(machine: Machine) -> bool:
    return b"Halcyon" in machine.session


async def slow(act: Callable[[], Awaitable[object]]) -> object:
    """A copy takes the platform seconds, in which what waits for it is told."""
    await asyncio.sleep(5.0)
    return await act()


@pytest.mark.guarantee("G-33")
def test_the_source_is_copied_between_two_tasks_and_its_queue_goes_on_at_once(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        source = await source_with_a_past(run)
        run.world.work_seconds = 60.0
        first, second = await run.task("first"), await run.task("second")
        await run.runs(first)
        await run.lieutenant("copy", **fork_of())
        await run.says(COPY, "Forked", "ForkPending")
        assert "lieutenant/api is settled" in run.message(COPY, "Forked")
        run.weather.rules["vers.create_vm"] = slow
        await run.until(lambda: run.reason(second, "Ready") == "HeldForFork", "the second task is held")
        assert "lieutenant/copy" in run.message(second, "Ready")
        assert run.condition(LT, "Ready") == "True"
        await run.until(lambda: len(run.world.alive()) == 2, "the copy is made")
        assert run.task_record(second).phase == "Pending"
        assert run.task_record(first).phase in ("Running", "Succeeded")
        made = run.world.now()
        await run.runs(second)
        assert run.world.now() - made < 5.0
        copy = await run.ready(COPY)
        assert copy.session.count(b"first attempt 1") == 1
        assert b"second attempt" not in copy.session
        assert await run.ends(second) == "Succeeded"
        assert (len(run.prompts("first")), len(run.prompts("second"))) == (1, 1)
        assert source.pi is not None

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_three_copies_of_one_source_at_once(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        source = await source_with_a_past(run)
        names = [Key("Lieutenant", "default", f"copy-{number}") for number in range(3)]
        for key in names:
            await run.lieutenant(key.name, **fork_of())
        copies = [await run.ready(key) for key in names]
        assert len({copy.vm_id for copy in copies} | {source.vm_id}) == 4
        assert all(copy.branched_from == source.vm_id and knows(copy) for copy in copies)
        assert len({copy.session_file for copy in copies}) == 3
        for key in names:
            await run.ends(await run.task(f"for-{key.name}", f"work of {key.name}", to=key.name))
        for key, copy in zip(names, copies, strict=True):
            assert [other.name for other in names if f"work of {other.name}".encode() in copy.session] == [key.name]
        assert run.world.created == 4
        assert run.record().stand.vm_id == ""
        await run.ends(await run.task("after"))

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-33")
@pytest.mark.parametrize(("many", "told"), [(1, True), (3, True), (1, False)])
def test_a_copy_whose_call_was_not_answered_is_found_and_not_made_twice(tmp_path: Path, many: int, told: bool) -> None:
    """Also where only the list of commits tells what it was made from."""

    async def story(run: Stage) -> None:
        source = await source_with_a_past(run)
        run.world.tells_grandparents = told
        run.weather.rules["vers.create_vm"] = losing(lambda: Indeterminate("connection reset"), many)
        names = [Key("Lieutenant", "default", f"copy-{number}") for number in range(many)]
        for key in names:
            await run.lieutenant(key.name, **fork_of())
        copies = [await run.ready(key) for key in names]
        assert all(copy.branched_from == source.vm_id and knows(copy) for copy in copies)
        assert run.world.created == 1 + many

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_call_that_did_nothing_is_made_again_and_holds_the_source_no_longer_than_it_may_have_an_effect(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await source_with_a_past(run)

        async def nothing(act: object) -> object:
            raise Indeterminate("connection reset")

        run.weather.rules["vers.create_vm"] = nothing
        await run.lieutenant("copy", **fork_of())
        await run.says(COPY, "Forked", "CreateIndeterminate")
        task = await run.task("waits")
        await run.until(lambda: run.reason(task, "Ready") == "HeldForFork", "it is held meanwhile")
        begun = run.world.now()
        await run.until(lambda: run.task_record(task).sent, "it is delivered")
        assert run.world.now() - begun < SETTLE + 5
        run.weather.rules.clear()
        assert knows(await run.ready(COPY))
        assert run.world.created == 2

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_source_that_a_lost_call_left_paused_is_resumed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        source = await source_with_a_past(run)
        run.world.leave_paused = True
        run.weather.rules["vers.create_vm"] = losing(lambda: Indeterminate("connection reset"))
        await run.lieutenant("copy", **fork_of())
        copy = await run.ready(COPY)
        await run.until(lambda: source.state is VmState.RUNNING and run.condition(LT, "Available") == "True", "the source runs")
        assert knows(copy)
        await run.ends(await run.task("after"))
        assert run.world.created == 2

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_source_that_was_seen_paused_meanwhile_is_not_resumed_when_it_runs_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await source_with_a_past(run)
        run.world.branch_seconds = 4.0

        async def seen(act: Callable[[], Awaitable[object]]) -> object:
            call = asyncio.ensure_future(act())
            await asyncio.sleep(1.0)
            shown = await run.engine.fleet.list_since(run.engine.clock.now())
            assert VmState.SUSPENDED in {vm.state for vm in shown.vms.values()}
            return await call

        run.weather.rules["vers.create_vm"] = seen
        await run.lieutenant("copy", **fork_of())
        await run.ready(COPY)
        await run.until(lambda: run.engine.converged(), "all rests")
        assert run.happened("ResumedVM") == run.weather.count("vers.resume_vm") == 0

    tell(tmp_path, story)


async def never(act: object) -> object:
    """The call is not answered before the controller ends."""
    await pass_time(3000)
    raise AssertionError


@pytest.mark.guarantee("G-33")
@pytest.mark.parametrize("when", ["asked", "standing"])
def test_a_controller_that_ends_meanwhile_leaves_nobody_held(tmp_path: Path, when: str) -> None:
    """And a copy that is not wanted any more when it is back holds nothing either."""

    async def story(run: Stage) -> None:
        await source_with_a_past(run)
        run.world.work_seconds = 20.0 if when == "asked" else 4.0
        first = await run.task("first")
        await run.runs(first)
        if when == "standing":
            run.weather.rules["vers.create_vm"] = never
        await run.lieutenant("copy", **fork_of())
        wanted = (lambda: run.record(COPY).slot.branch.asked_at > 0) if when == "asked" else (lambda: run.record().stand.vm_id != "")
        await run.until(wanted, f"it is {when}")
        await run.controller.down()
        await run.alive()
        await run.delete(COPY)
        await run.gone(COPY)
        run.world.work_seconds = 4.0
        assert await run.ends(first) == "Succeeded"
        assert await run.ends(await run.task("second")) == "Succeeded"
        assert run.record().stand.vm_id == ""
        assert run.world.created == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_platform_that_refuses_holds_the_source_only_for_its_attempts(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await source_with_a_past(run)
        run.weather.rules["vers.create_vm"] = failing(lambda: Rejected("not today"))
        await run.lieutenant("copy", **fork_of())
        await run.says(COPY, "Forked", "BackingOff")
        for number in range(5):
            await run.ends(await run.task(f"work-{number}"))
        assert run.condition(COPY, "Forked") == "False"
        run.weather.rules.clear()
        assert knows(await run.ready(COPY))
        assert run.world.created == 2

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_lost_copy_is_replaced_like_any_machine_and_not_branched_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        source = await source_with_a_past(run)
        await run.lieutenant("copy", **fork_of())
        copy = await run.ready(COPY)
        await run.delete(LT)
        await run.gone(LT)
        assert source.deleted
        copy.deleted, copy.pi = True, None
        await run.until(lambda: run.record(COPY).slot.vm_id not in ("", copy.vm_id), "another machine is there")
        again = await run.ready(COPY)
        assert again.branched_from == ""
        assert knows(again)
        assert run.status(COPY)["forkedFrom"]["vm"] == source.vm_id

    tell(tmp_path, story)


PREPARED = {
    "source": {"image": "default"},
    "files": [{"path": "/etc/marker", "content": "hello"}],
    "steps": [{"name": "build", "run": "make"}],
    "verify": [{"name": "works", "command": ["works"]}],
}


@pytest.mark.guarantee("G-33")
def test_steps_that_the_disk_has_are_not_run_again_and_checks_are(tmp_path: Path) -> None:
    """Nor on a copy of the copy; another profile's are."""

    async def story(run: Stage) -> None:
        ran: list[tuple[str, str]] = []
        other = {**PREPARED, "steps": [*PREPARED["steps"], {"name": "more", "run": "more"}]}  # type: ignore[misc]
        await run.declare(declared(Key("BootProfile", "default", "golden"), **PREPARED))
        await run.declare(declared(Key("BootProfile", "default", "more"), **other))
        source = await source_with_a_past(run, profileRef={"name": "golden"})
        source.files["/etc/marker"] = b"changed by the agent"

        def note(command: GuestCommand) -> int:
            ran.append((command.argv[-1].rpartition("/")[2], command.argv[0]))
            return 0

        run.world.commands = note
        await run.lieutenant("copy", profileRef={"name": "golden"}, **fork_of())
        copy = await run.ready(COPY)
        assert [name for name, _ in ran] == ["works"]
        assert copy.files["/etc/marker"] == b"changed by the agent"
        ran.clear()
        await run.lieutenant("grand", profileRef={"name": "more"}, **fork_of("copy"))
        grand = await run.ready(Key("Lieutenant", "default", "grand"))
        assert [name for name, _ in ran] == ["more.sh", "works"]
        assert grand.branched_from == copy.vm_id
        assert knows(grand)
        ran.clear()
        await pass_time(200)
        assert ran == []

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_copy_waits_until_its_source_can_be_copied(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        async def waits(reason: str, words: str) -> None:
            await run.until(
                lambda: run.reason(COPY, "Forked") == reason and words in run.message(COPY, "Forked"), f"it says {reason}: {words}"
            )
            assert run.condition(COPY, "Ready") == "False"

        task = await run.task("first", to="copy")
        await run.lieutenant("copy", **fork_of())
        await waits("ForkSourceNotFound", "lieutenant/api does not exist")
        run.world.boot_seconds = 20.0
        await run.lieutenant(mode="Suspended")
        await waits("ForkSourceUnavailable", "declared Suspended")
        await run.lieutenant()
        await waits("ForkSourceUnavailable", "is booting")
        run.world.boot_seconds = 1.0
        await run.lieutenant(managementPolicy="ObserveOnly")
        await waits("ForkSourceUnavailable", "ObserveOnly")
        await run.lieutenant()
        copy = await run.ready(COPY)
        assert copy.branched_from == run.record().slot.vm_id
        assert await run.ends(task) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_no_copy_of_an_agent_on_this_host_nor_of_one_that_goes(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(placement={"type": "Local"})
        await run.until(lambda: run.condition(LT, "Available") == "True", "it works here")
        await run.lieutenant("copy", **fork_of())
        await run.says(COPY, "Forked", "ForkSourceUnavailable")
        assert "controller's host" in run.message(COPY, "Forked")
        await run.delete(LT)
        await run.gone(LT)
        await run.says(COPY, "Forked", "ForkSourceNotFound")
        assert run.world.created == 0

    tell(tmp_path, story, settings=HERE)


def test_a_copy_is_not_made_of_another_namespaces_lieutenant(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await source_with_a_past(run)
        elsewhere = Key("Lieutenant", "other", "copy")
        await run.declare(declared(elsewhere, role="x", profileRef={"name": "lightweight"}, **fork_of()))
        await run.says(elsewhere, "Forked", "ForkSourceNotFound")
        await pass_time(60)
        assert run.world.created == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_node_of_a_tree_that_comes_from_its_parent_is_a_live_copy_of_it(tmp_path: Path) -> None:
    """With an agent of its own, or without one."""

    async def story(run: Stage) -> None:
        def node(name: str, parent: str = "", **more: object) -> dict[str, object]:
            made: dict[str, object] = {"name": name, "profileRef": {"name": "lightweight"}, **more}
            return {**made, "parent": parent, "from": "Parent"} if parent else made

        agent = {"category": "Lieutenant", "lieutenant": {"role": "x"}}
        tree, lead = Key("VMTree", "default", "prod"), node("lead", **agent)
        await run.declare(declared(tree, nodes=[lead]))
        source = await run.ready(Key("Lieutenant", "default", "prod-lead"))
        await run.ends(await run.task("told", "the release is called Halcyon", to="prod-lead"))
        children = [node("second", "lead", **agent), node("spare", "lead", category="Infra")]
        await run.declare(declared(tree, nodes=[lead, *children]))
        await run.until(lambda: run.reason(tree, "Ready") == "NodesReady" and len(run.world.alive()) == 3, "the tree stands")
        vms = {one["name"]: run.world.machines[one["vmId"]] for one in run.status(tree)["nodes"]}
        assert {name for name, vm in vms.items() if vm.branched_from == source.vm_id} == {"second", "spare"}
        assert knows(vms["second"])
        assert await run.ends(await run.task("after", to="prod-lead")) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-41")
def test_a_plan_says_that_a_live_copy_is_made(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await source_with_a_past(run)
        await run.engine.stop()
        fork = declared(COPY, role="x", profileRef={"name": "lightweight"}, **fork_of())
        await run.engine.declarations.apply(fork)
        steps = (await plan_everything(run.engine)).steps
        verbs = [step.action.verb for step in steps if step.key == COPY]
        assert verbs[:2] == ["AskOriginal", "Create"]
        assert "live copy" in next(step.action.because for step in steps if step.action.verb == "Create")
        assert "StartAgent" in verbs
        assert run.world.created == 1

    tell(tmp_path, story)


def test_another_conversation_begins_with_the_same_bytes_but_for_its_first_line() -> None:
    whole = b'{"type":"session","version":3,"id":"one","cwd":"/root/workspace"}\n{"type":"message","text":"\xc3\xa9"}\n'
    copy = forked(whole, "u-2", "/root/one.jsonl")
    line, _, rest = copy.partition(b"\n")
    header = json.loads(line)
    assert rest == whole.partition(b"\n")[2]
    assert (header["version"], header["cwd"], header["parentSession"]) == (3, "/root/workspace", "/root/one.jsonl")
    assert header["id"] != "one"
    assert copy == forked(whole, "u-2", "/root/one.jsonl")
    assert json.loads(forked(whole, "u-3", "/root/one.jsonl").partition(b"\n")[0])["id"] != header["id"]
    for odd in (b"", b"no session\n", b'{"type":"message"}\n', b'{"type":"session"'):
        assert forked(odd, "u-2", "/root/one.jsonl") == odd


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize(("of", "account", "read"), [("default", "mine", True), ("default", "", True), ("other", "", False)])
def test_a_forged_intent_reads_nobody_elses_conversation(tmp_path: Path, of: str, account: str, read: bool) -> None:
    """What an intent names that was read back from a status is believed only of an agent of the same namespace."""

    async def story(run: Stage) -> None:
        source = await source_with_a_past(run)
        name = run.record().session.name
        payload: Json = {"commit": f"vm:{source.vm_id}", "epoch": 1, "session": name, "size": 9, "account": account}
        owner = SlotOwner.of(Key("Lieutenant", of, "copy"), "u")
        item = run.engine.table.lieutenant(LT)
        assert item is not None
        copy = replace(
            LieutenantSlot(item), item=replace(item, obj=replace(item.obj, key=owner.object, uid="u"), record=LieutenantRecord())
        )
        intent = Intent("t", owner, "create", 1, payload, run.world.now())
        gatherer = run.engine.tools.gatherer
        assert bool(await conversation(gatherer.transcripts, run.engine.table, copy, intent)) is read

    tell(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-33")
def test_no_copy_is_made_of_who_goes_back_to_a_snapshot_and_one_is_made_of_where_it_went(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        source = await source_with_a_past(run)
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/snapshot": "1"})
        await run.until(lambda: len(run.record().slot.commits) == 1, "it is committed")
        (commit,) = run.record().slot.commits
        run.world.work_seconds = 60.0
        await run.runs(await run.task("long", "what is cut"))
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/rollback": f"{commit.commit_id}:1"})
        await run.until(lambda: run.record().rollback.state == "Asked", "it is asked to go back")
        await run.lieutenant("copy", **fork_of())
        await run.says(COPY, "Forked", "ForkSourceUnavailable")
        assert "goes back to a snapshot" in run.message(COPY, "Forked")
        copy = await run.ready(COPY)
        assert run.record().rollback.state == "Done"
        assert copy.branched_from == run.machine().vm_id != source.vm_id
        assert knows(copy)
        assert b"what is cut" not in copy.session

    tell(tmp_path, story)
