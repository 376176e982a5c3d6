"""The conversation outlives its machine: begun anew as declared, lost by policy, chosen between two ends (G-32, G-30)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.decisions import MirrorSession
from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.observe import machines
from reconciler.errors import GuestUnreachable, Unreachable
from tests.engine.stage import LT, Rule, Stage, failing, pass_time, tell
from tests.world import Machine

ONE = Key("Task", "default", "one")


async def talked(run: Stage, **spec: object) -> bytes:
    """A lieutenant that was told something; what its session file has."""
    await run.lieutenant(**spec)
    await run.ready()
    assert await run.ends(await run.task("one", "remember 42")) == "Succeeded"
    await run.ready()
    return run.machine().session


async def mirror(run: Stage, name: str) -> bytes:
    return await run.engine.gatherer.transcripts.read(name)


# --- begun anew as declared -----------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-30")
@pytest.mark.guarantee("G-44")
def test_a_raised_generation_begins_another_conversation_and_keeps_the_one_before(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        said = await talked(run)
        first, machine = run.record().session.name, run.machine()
        file = machine.session_file
        await run.lieutenant(session={"generation": 2})
        await run.until(lambda: run.record().session.generation == 2, "another conversation")
        await run.ready()
        record = run.record().session
        assert record.name != first
        assert record.earlier == (first,)
        assert run.machine() is machine, "the machine stays"
        assert machine.session_file != file
        assert machine.session == b""
        assert await run.ends(await run.task("two", "and now?")) == "Succeeded"
        assert b"remember 42" not in machine.session
        assert machine.sessions[file] == said == await mirror(run, first)
        assert await mirror(run, record.name) == machine.session
        assert run.task_record(ONE).session == first
        assert run.status()["session"] == {"name": record.name, "generation": 2, "earlier": [first]}
        starts = run.weather.count("keeper.start_agent")
        for generation in (2, 1):
            await run.lieutenant(session={"generation": generation})
            await pass_time(30)
            await run.ready()
        assert run.record().session == record
        assert run.weather.count("keeper.start_agent") == starts

    assert tell(tmp_path, story).happened("BeganSession") == 1


@pytest.mark.guarantee("G-30")
@pytest.mark.guarantee("G-20")
def test_a_new_conversation_waits_for_the_task_that_is_in_this_one(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one", "long work")
        await run.runs(task)
        file = machine.session_file
        await run.lieutenant(session={"generation": 2})
        two = await run.task("two", "later work")
        assert await run.ends(task) == "Succeeded"
        assert await run.ends(two) == "Succeeded"
        assert b"long work" in machine.sessions[file]
        assert b"later work" not in machine.sessions[file]
        assert b"later work" in machine.session
        assert (len(run.prompts("one")), len(run.prompts("two"))) == (1, 1)

    assert tell(tmp_path, story).world.created == 1


# --- lost ---------------------------------------------------------------------------------------------------------------------------


def lose(run: Stage, how: str, machine: Machine) -> None:
    """The machine dies, or vanishes."""
    run.world.kill_pi(machine)
    if how == "dies":
        machine.state = VmState.DEAD
    else:
        machine.deleted = True


BOTH = pytest.mark.parametrize("how", ["dies", "vanishes"])


@BOTH
@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-44")
def test_with_new_another_conversation_begins_and_the_mirror_of_the_lost_one_stays(tmp_path: Path, how: str) -> None:
    async def story(run: Stage) -> None:
        said = await talked(run, session={"onLost": "New"})
        first, old = run.record().session.name, run.machine().vm_id
        lose(run, how, run.machine())
        await run.until(lambda: run.record().slot.vm_id not in ("", old), "another machine")
        machine = await run.ready()
        record = run.record().session
        assert (record.generation, record.incarnation, record.earlier) == (1, 1, (first,))
        assert machine.session == b""
        assert await mirror(run, first) == said
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert b"remember 42" not in machine.session
        assert run.happened("BeganSession") == 1

    assert tell(tmp_path, story).world.created == 2


@BOTH
@pytest.mark.guarantee("G-20")
@pytest.mark.parametrize(("retries", "result"), [(0, "Failed"), (1, "Succeeded")])
def test_with_new_a_task_in_the_lost_conversation_is_tried_again_as_its_retries_say(
    tmp_path: Path, how: str, retries: int, result: str
) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(session={"onLost": "New"})
        await run.ready()
        task = await run.task("one", "long work", retries=retries)
        await run.runs(task)
        lose(run, how, run.machine())
        assert await run.ends(task) == result
        record = run.task_record(task)
        lost = record.attempts[0].reason if retries else record.reason
        assert lost == "SessionLost"
        assert len(run.prompts("one")) == 1 + retries, "once an attempt"
        await run.ready()

    assert tell(tmp_path, story).world.created == 2


@BOTH
@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-44")
def test_with_fail_nothing_goes_on_until_a_person_says_so(tmp_path: Path, how: str) -> None:
    async def story(run: Stage) -> None:
        said = await talked(run, session={"onLost": "Fail"})
        old = run.machine()
        lose(run, how, run.machine())
        await run.says(LT, "Stalled", "SessionLost")
        await pass_time(900)
        assert run.world.created == 1
        assert f"{len(said)} bytes" in run.message(LT, "Stalled")
        assert old.vm_id in run.message(LT, "Stalled")
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": "session=local:t1"})
        await run.until(lambda: run.record().slot.vm_id not in ("", old.vm_id), "another machine")
        machine = await run.ready()
        assert machine.session == said
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert run.record().session.answer == ""

    assert tell(tmp_path, story).world.created == 2


@BOTH
@pytest.mark.guarantee("G-32")
def test_a_machine_with_more_than_could_be_saved_is_not_replaced_by_one_that_knows_less(tmp_path: Path, how: str) -> None:
    """Its keeper told of a longer file, the way there broke before it was read, and the controller was started anew."""

    async def story(run: Stage) -> None:
        said = await talked(run)
        machine, name = run.machine(), run.record().session.name
        run.weather.rules["keeper.observe"] = half_way(run)
        machine.session += b'{"type":"custom","data":"' + b"x" * 900 + b'"}\n'
        run.world.wake(machine)
        await run.until(lambda: run.record().session.seen == len(machine.session), "it is known that there is more")
        seen = len(machine.session)
        run.weather.rules.clear()
        await run.controller.down()
        lose(run, how, machine)
        await run.alive()
        await run.says(LT, "Stalled", "SessionLost")
        await pass_time(900)
        assert run.world.created == 1
        message = run.message(LT, "Stalled")
        assert f"{seen} bytes" in message
        assert f"{len(said)} are mirrored" in message
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": "session=local:t1"})
        await run.until(lambda: run.record().slot.vm_id not in ("", machine.vm_id), "another machine")
        assert (await run.ready()).session == said == await mirror(run, name)
        assert run.record().session.seen == 0
        assert run.condition(LT, "Ready") == "True"

    assert tell(tmp_path, story).world.created == 2


def half_way(run: Stage) -> Rule:
    """The file's size comes, what it says does not."""
    broken = failing(lambda: GuestUnreachable("connection lost"))

    async def rule(act: Callable[[], Awaitable[Any]]) -> Any:
        look = await act()
        if look.chunk:
            run.weather.rules["keeper.observe"] = broken
            return type(look)(look.agent, b"", look.live)
        return look

    return rule


@pytest.mark.guarantee("G-32")
def test_what_was_seen_and_is_saved_by_now_hinders_nothing(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await talked(run)
        machine = run.machine()
        run.weather.rules["keeper.observe"] = half_way(run)
        machine.session += b'{"type":"custom"}\n'
        run.world.wake(machine)
        await run.until(lambda: run.record().session.seen > 0, "it is known that there is more")
        run.weather.rules.clear()
        await run.until(lambda: run.engine.gatherer.transcripts.length(run.record().session.name) == len(machine.session), "it is saved")
        said = machine.session
        lose(run, "dies", run.machine())
        await run.until(lambda: run.record().slot.vm_id not in ("", machine.vm_id), "another machine")
        assert (await run.ready()).session == said

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
def test_observing_writes_nothing_and_what_it_read_is_saved_by_an_act(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await talked(run)
        kind, machine = run.engine.kinds[LT.kind], run.machine()
        before = await mirror(run, run.record().session.name)
        machine.session += b'{"type":"custom"}\n'
        written, refused = run.weather.count("store.write"), failing(lambda: Unreachable("the store is away"))
        run.weather.rules["store.write"] = refused
        snapshot = await kind.observe(LT)
        assert run.weather.count("store.write") == written
        first = kind.plan(snapshot).first
        assert first is not None
        assert first.action == MirrorSession(len(machine.session))
        with pytest.raises(Unreachable):
            await kind.act(snapshot, first)
        run.weather.rules.clear()
        assert await mirror(run, run.record().session.name) == before
        snapshot = await kind.observe(LT)
        first = kind.plan(snapshot).first
        assert first is not None
        known = await kind.act(snapshot, first)
        assert known is not None
        assert kind.plan(known).next_steps() == []
        assert await mirror(run, run.record().session.name) == machine.session

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
def test_a_long_conversation_is_saved_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "READ_AT_ONCE", 1)

    async def story(run: Stage) -> None:
        await talked(run)
        machine = run.machine()
        machine.session += b'{"type":"custom","text":"' + b"x" * 3_000_000 + b'"}\n' + b'{"type":"custom"}\n' * 100_000
        run.world.wake(machine)
        name = run.record().session.name
        await run.until(lambda: run.engine.gatherer.transcripts.length(name) == len(machine.session), "it is saved")
        assert await mirror(run, name) == machine.session
        assert run.record().session.seen == 0, "nothing is missing of it"

    tell(tmp_path, story)


# --- two ends -----------------------------------------------------------------------------------------------------------------------


async def diverge(run: Stage) -> tuple[bytes, bytes]:
    """While the controller was away the file became another one; (on the machine, in the mirror)."""
    said = await talked(run)
    machine, name = run.machine(), run.record().session.name
    await run.controller.down()
    run.world.kill_pi(machine)
    first, rest = said.split(b"\n", 1)
    machine.session = first + b"\n" + b'{"type":"custom","data":"another life"}\n' * 3
    await run.alive()
    await run.says(LT, "Stalled", "SessionDiverged")
    await pass_time(600)
    assert rest
    assert machine.pi is None
    assert await mirror(run, name) == said
    message = run.message(LT, "Stalled")
    assert f"{len(machine.session)} bytes on {machine.vm_id}" in message
    assert f"{len(said)} in the mirror" in message
    assert f"the same up to byte {len(first) + 1};" in message
    return machine.session, said


@pytest.mark.guarantee("G-32")
def test_two_ends_that_differ_wait_for_a_person_and_the_machines_goes_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there, said = await diverge(run)
        machine, old = run.machine(), run.record().session
        file = machine.session_file
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": "session=vm:t1"})
        await run.ready()
        assert (machine.session_file, machine.session) == (file, there)
        assert run.record().session.earlier == (old.name,)
        assert await mirror(run, old.name) == said
        assert await mirror(run, run.record().session.name) == there
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert await mirror(run, run.record().session.name) == machine.session
        assert run.happened("ResolvedSession") == 1

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-32")
def test_two_ends_that_differ_wait_for_a_person_and_the_mirrors_goes_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there, said = await diverge(run)
        machine, old = run.machine(), run.record().session
        file = machine.session_file
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": "session=local:t1"})
        await run.ready()
        assert machine.sessions[file] == there
        assert (machine.session_file != file, machine.session) == (True, said)
        assert run.record().session.name == old.name
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert await mirror(run, old.name) == machine.session
        assert b"remember 42" in machine.session

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-32")
def test_a_raised_generation_leaves_both_ends_as_they_are(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        there, said = await diverge(run)
        machine, old = run.machine(), run.record().session
        file = machine.session_file
        await run.lieutenant(session={"generation": 2})
        await run.ready()
        assert machine.sessions[file] == there
        assert await mirror(run, old.name) == said
        assert machine.session == b""

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
def test_an_answer_to_no_question_is_dropped(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await talked(run)
        before = run.record().session
        for answer in ("session=vm:t1", "session=local:t2", "session=other", "nonsense"):
            await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": answer})
            await run.until(lambda answer=answer: run.record().handled.get("resolve") == answer, "it is heeded")  # type: ignore[misc]
        assert run.record().session == before

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
@pytest.mark.parametrize("torn", ["", "a line"], ids=["at a line", "in a line"])
def test_a_file_that_lost_its_end_gets_it_back(tmp_path: Path, torn: str) -> None:
    """A machine that came back with an older disk, or a restore that was cut off."""

    async def story(run: Stage) -> None:
        said = await talked(run)
        machine = run.machine()
        await run.controller.down()
        run.world.kill_pi(machine)
        cut = said.index(b"\n") + 1
        machine.session = said[: cut + (10 if torn else 0)]
        await run.alive()
        await run.until(lambda: machine.session == said, "it is restored")
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert machine.session.startswith(said)
        assert await mirror(run, run.record().session.name) == machine.session

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-24")
def test_the_mirror_is_byte_exact_after_every_settled_turn(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        for number in range(4):
            assert await run.ends(await run.task(f"t{number}", f"piece {number}")) == "Succeeded"
            assert await mirror(run, run.record().session.name) == machine.session

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
def test_turns_are_taken_back_when_asked_for_and_stay_readable(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await talked(run)
        assert await run.ends(await run.task("two", "poisoned words")) == "Succeeded"
        first, machine = run.record().session.name, run.machine()
        whole = await mirror(run, first)
        assert b"poisoned words" in whole
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/rewind": "1:token"})
        await run.until(lambda: run.record().session.name != first, "another incarnation")
        await run.ready()
        record = run.record().session
        assert record.earlier == (first,)
        assert record.rewind == 0
        assert b"poisoned words" not in machine.session
        assert b"remember 42" in machine.session
        assert await mirror(run, first) == whole
        assert await mirror(run, record.name) == machine.session
        assert await run.ends(await run.task("three", "and now?")) == "Succeeded"
        assert run.record().session.name == record.name

    tell(tmp_path, story)


def test_more_turns_than_there_are_take_all_of_them_back(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await talked(run)
        first = run.record().session.name
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/rewind": "9:token"})
        await run.until(lambda: run.record().session.name != first, "another incarnation")
        await run.ready()
        assert b"remember 42" not in run.machine().session

    tell(tmp_path, story)
