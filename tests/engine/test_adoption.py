"""VMs that exist already are taken over because somebody said so, never otherwise (G-07); and what is only looked at stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import CommandResult, GuestCommand
from reconciler.core.snapshot.vm import VmState
from reconciler.errors import Unreachable
from tests.engine.stage import LT, MUTATIONS, Stage, declared, failing, pass_time, tell
from tests.world import Machine, World

CLAIM = {"fleet": "default", "installation": "installation-2", "kind": "Lieutenant", "namespace": "default", "name": "old", "uid": "theirs"}
MISSING = "00000000-0000-4000-8000-0000000000ee"


def stranger(world: World, state: VmState = VmState.RUNNING) -> Machine:
    """A VM of our account that nobody claims."""
    machine = world.make({"made-by": "hand"})
    machine.state = state
    return machine


def claimed(world: World, **changes: str) -> Machine:
    """A VM with a valid claim, of another installation unless said otherwise."""
    machine = stranger(world)
    told = {**CLAIM, "epoch": "7", "vm-id": machine.vm_id, **changes}
    machine.labels.update({f"fleet.vers.sh/{name}": value for name, value in told.items()})
    machine.installed = machine.keeper_alive = True
    machine.keeper_epoch = 7
    return machine


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-02")
def test_a_vm_is_taken_over_prepared_and_used_and_no_other_is_made(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there = stranger(run.world)
        await run.lieutenant(adopt={"vmId": there.vm_id})
        machine = await run.ready()
        assert machine is there
        assert there.labels["fleet.vers.sh/vm-id"] == there.vm_id
        assert there.labels["made-by"] == "hand"
        assert there.claim is not None
        assert "prepared" in there.marks
        assert run.status()["vm"]["adopted"] is True
        assert await run.ends(await run.task("one")) == "Succeeded"
        await run.delete(LT)
        await run.gone(LT)
        assert there.deleted

    run = tell(tmp_path, story)
    assert run.world.created == 1, "the one that was there"
    assert run.weather.count("vers.create_vm") == 0


OLD = "/root/.pi/agent/sessions/--root-workspace--/2026.jsonl"
TALK = b'{"type":"session","version":3,"id":"x","timestamp":"2026-01-01T00:00:00.000Z","cwd":"/root/workspace"}\n' + (
    b'{"type":"message","id":"1","parentId":null,"timestamp":"2026-01-01T00:00:01.000Z",'
    b'"message":{"role":"user","content":"remember Halcyon","timestamp":1}}\n'
)


def disk(machine: Machine) -> Callable[[GuestCommand], int | CommandResult]:
    """What the programs of its own do that look for a conversation and copy it."""

    def run(command: GuestCommand) -> int | CommandResult:
        match command.argv:
            case ("find", *_):
                times = enumerate(path for path in machine.sessions if machine.sessions[path])
                return CommandResult(0, "".join(f"{at}.5 {path}\n" for at, path in times), "", 0.1)
            case ("head", *_, path):
                return CommandResult(0, machine.sessions[path][:4096].decode(), "", 0.1)
            case ("cp", _, source, target) | ("mv", _, _, source, target):
                machine.sessions[target] = machine.sessions[source] if command.argv[0] == "cp" else machine.sessions.pop(source)
                return 0
            case _:
                return 0

    return run


@pytest.mark.guarantee("G-36")
def test_an_adopted_agent_goes_on_with_the_conversation_that_is_on_its_machine(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there = stranger(run.world)
        there.sessions |= {"/root/.pi/agent/sessions/older.jsonl": TALK[:-1] + b"  \n", OLD: TALK, "/elsewhere/newer.jsonl": TALK + TALK}
        there.sessions["/root/.pi/agent/sessions/notes.jsonl"] = b"no conversation\n"
        run.world.commands = disk(there)
        await run.lieutenant(adopt={"vmId": there.vm_id})
        await run.ready()
        assert there.session_file == f"/root/.pi/agent/sessions/{run.record().session.name}.jsonl"
        assert there.session.startswith(TALK)
        assert there.sessions[OLD] == TALK, "what it is a copy of stays as it is"
        assert run.record().session.found == OLD
        assert run.happened("ContinuedSession") == 1
        assert await run.ends(await run.task("one")) == "Succeeded"
        store = run.engine.store
        assert (await store.session(run.record().session.name)) == there.session
        await run.controller.down()
        await run.alive()
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert run.happened("ContinuedSession") == 1, "once"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-36")
def test_where_no_conversation_is_one_begins_and_none_is_looked_for_on_a_machine_that_was_made(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there = stranger(run.world)
        asked: list[str] = []

        def listening(command: GuestCommand) -> int | CommandResult:
            asked.append(command.argv[0])
            return 1 if command.argv[0] == "find" else 0

        run.world.commands = listening
        await run.lieutenant(adopt={"vmId": there.vm_id})
        assert await run.ready() is there
        assert run.record().session.looked_on == there.vm_id
        assert asked.count("find") == 1
        await run.ready(await run.lieutenant("other"))
        assert asked.count("find") == 1
        assert run.happened("ContinuedSession") == 0

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_a_sleeping_vm_is_claimed_and_woken_or_left_asleep_as_declared(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there = stranger(run.world, VmState.SUSPENDED)
        await run.lieutenant(adopt={"vmId": there.vm_id}, mode="Suspended")
        await run.says(LT, "Ready", "Suspended")
        assert there.labels["fleet.vers.sh/vm-id"] == there.vm_id
        assert run.weather.count("vers.resume_vm") == 0
        await run.lieutenant(adopt={"vmId": there.vm_id})
        assert await run.ready() is there

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_a_vm_that_is_not_there_is_waited_for_and_none_is_made_instead(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        later = f"00000000-0000-4000-8000-{len(run.world.machines) + 1:012d}"
        await run.lieutenant(adopt={"vmId": later})
        await run.says(LT, "Stalled", "AdoptNotFound")
        assert later in run.message(LT, "Stalled")
        await pass_time(600)
        assert run.weather.count("vers.create_vm") == 0
        assert stranger(run.world).vm_id == later
        await run.ready()

    tell(tmp_path, story)


@pytest.mark.guarantee("G-04")
@pytest.mark.guarantee("G-07")
def test_what_cant_be_read_is_neither_missing_nor_taken(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there = stranger(run.world)
        run.weather.rules["vers."] = failing(lambda: Unreachable("503", "GET /vms"))
        await run.lieutenant(adopt={"vmId": there.vm_id})
        await run.says(LT, "Ready", "VMUnknown")
        assert run.condition(LT, "Ready") == "Unknown"
        await pass_time(300)
        assert run.record().slot.vm_id == ""
        del run.weather.rules["vers."]
        assert await run.ready() is there

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_another_installations_vm_is_taken_only_by_an_explicit_answer_and_its_epoch_goes_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        theirs = claimed(run.world)
        labels = dict(theirs.labels)
        await run.lieutenant(adopt={"vmId": theirs.vm_id})
        await run.says(LT, "Stalled", "ClaimConflict")
        assert "installation-2" in run.message(LT, "Stalled")
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": f"vm={MISSING}:a"})
        await pass_time(300)
        assert theirs.labels == labels
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": f"vm={theirs.vm_id}:b"})
        assert await run.ready() is theirs
        assert theirs.labels["fleet.vers.sh/installation"] == "installation-1"
        assert int(theirs.labels["fleet.vers.sh/epoch"]) > 7
        assert theirs.keeper_epoch > 7
        assert run.record().slot.chosen == ""
        assert run.status()["handled"] == {"resolve": f"vm={theirs.vm_id}:b"}
        theirs.labels["fleet.vers.sh/installation"] = "installation-2"
        await run.says(LT, "Stalled", "ClaimConflict")
        await pass_time(300)
        assert theirs.labels["fleet.vers.sh/installation"] == "installation-2", "one answer is good for one time"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_a_vm_has_one_owner_here_and_the_next_gets_it_when_it_is_let_go(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        epoch = run.record().slot.epoch
        heir = await run.lieutenant("heir", adopt={"vmId": machine.vm_id})
        await run.says(heir, "Stalled", "AlreadyOwned")
        assert "api" in run.message(heir, "Stalled")
        await run.retrying(lambda: run.engine.declarations.delete(LT, verbs={"detached": "t"}))
        await run.gone(LT)
        assert await run.ready(heir) is machine
        assert run.record(heir).slot.epoch > epoch
        assert machine.labels["fleet.vers.sh/name"] == "heir"
        assert await run.ends(await run.task("one", to="heir")) == "Succeeded"

    run = tell(tmp_path, story)
    assert run.world.created == 1
    assert run.world.deletes == []


@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-07")
def test_an_agent_that_is_taken_over_ends_its_turn_and_serves_another_conversation_from_then_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Orphan")
        machine = await run.ready()
        await run.runs(await run.task("old"))
        await run.delete(LT)
        await run.gone(LT)
        file = machine.session_file
        await run.lieutenant(adopt={"vmId": machine.vm_id})  # of the same name, with the same instructions: the very same launch
        new = await run.task("new")
        await run.says(LT, "Ready", "AgentBusy")
        assert await run.ends(new) == "Succeeded"
        assert machine.session_file != file
        assert len(run.prompts("new")) == 1
        assert b"/old attempt" in machine.sessions[file]
        assert b"aborted" not in machine.sessions[file]
        assert b"/new attempt" not in machine.sessions[file]
        assert b"/old attempt" not in machine.session

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_two_that_adopt_the_same_vm_do_not_share_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there = stranger(run.world)
        keys = [Key("Lieutenant", "default", name) for name in ("a", "b")]
        await run.declare(*(declared(k, role="x", profileRef={"name": "lightweight"}, adopt={"vmId": there.vm_id}) for k in keys))
        await run.until(lambda: "True" in [run.condition(k, "Available") for k in keys], "one has it")
        await run.until(lambda: "AlreadyOwned" in [run.reason(k, "Stalled") for k in keys], "the other is told")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize("policy", ["Retain", "Orphan"])
def test_epochs_go_on_from_one_owner_of_a_vm_to_the_next(policy: str, tmp_path: Path) -> None:
    """Also when the last list is from before the last one let it go: what an earlier owner still sends is refused."""

    async def story(run: Stage) -> None:
        there = stranger(run.world)
        for number, name in enumerate(("first", "second", "third"), 1):
            key = await run.lieutenant(name, adopt={"vmId": there.vm_id}, deletionPolicy=policy)
            await run.says(key, "Available", "Usable")
            assert (there.labels["fleet.vers.sh/epoch"], there.keeper_epoch) == (str(number), number)
            await run.delete(key)
            await run.gone(key)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
def test_an_adopted_vm_that_dies_is_replaced_and_the_conversation_goes_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there = stranger(run.world)
        await run.lieutenant(adopt={"vmId": there.vm_id})
        await run.ready()
        assert await run.ends(await run.task("one")) == "Succeeded"
        said = there.session
        there.state, there.pi = VmState.DEAD, None
        await run.until(lambda: run.record().slot.vm_id not in ("", there.vm_id), "it has another machine")
        fresh = await run.ready()
        assert there.deleted
        assert fresh.session.startswith(said)
        assert "adopted" not in run.status()["vm"]

    tell(tmp_path, story)


# --- looking only ---------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-07")
def test_what_is_only_observed_is_told_and_never_changed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there = stranger(run.world, VmState.SUSPENDED)
        before = (dict(there.labels), there.state)
        await run.lieutenant(adopt={"vmId": there.vm_id}, managementPolicy="ObserveOnly")
        task = await run.task("one")
        await run.says(LT, "Ready", "ObserveOnly")
        await run.says(task, "Ready", "ObserveOnly")
        assert run.status()["vm"]["id"] == there.vm_id
        assert run.reason(LT, "VMReady") == "Suspended"
        await pass_time(600)
        await run.delete(LT)
        await run.gone(LT)
        assert (dict(there.labels), there.state) == before
        assert not there.deleted

    run = tell(tmp_path, story)
    assert [name for name in run.weather.names if name in MUTATIONS or name.startswith(("guest.", "keeper."))] == []


@pytest.mark.guarantee("G-07")
def test_an_agent_that_is_only_observed_goes_on_with_its_turn_and_gets_no_new_one(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        one = await run.task("one")
        await run.runs(one)
        before = len(run.weather.names)
        await run.lieutenant(managementPolicy="ObserveOnly")
        two = await run.task("two", cancel=False)
        assert await run.ends(one) == "Succeeded"
        await run.says(two, "Ready", "ObserveOnly")
        assert run.condition(LT, "Ready") == "True"
        assert run.reason(LT, "Available") == "ObserveOnly"
        machine.state = VmState.SUSPENDED
        await run.says(LT, "Ready", "ObserveOnly")
        await pass_time(300)
        acts = {"keeper.start_agent", "keeper.stop_agent", "keeper.send", "keeper.call", "keeper.run", "keeper.write_files"}
        assert [name for name in run.weather.names[before:] if name in MUTATIONS or name in acts] == []
        await run.lieutenant()
        assert await run.ends(two) == "Succeeded"

    tell(tmp_path, story)
