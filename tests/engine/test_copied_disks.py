"""A machine that is a copy of another one is not that machine: what was done there is done here again."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import GuestCommand
from tests.engine.stage import LT, Stage, declared, pass_time, tell
from tests.world import Machine, copy_disk

COMMIT = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"
GOLDEN, COPY = (Key("BootProfile", "default", name) for name in ("golden", "copy"))
CHILD = Key("Lieutenant", "default", "child")
PREPARED = {
    "files": [{"path": "/etc/marker", "content": "hello"}],
    "steps": [{"name": "build", "run": "make"}],
    "verify": [{"name": "works", "command": ["works"]}],
}


async def golden(run: Stage) -> Machine:
    """A prepared machine, and a commit of it that anybody may have made."""
    await run.declare(declared(GOLDEN, source={"image": "default"}, **PREPARED))
    await run.lieutenant(profileRef={"name": "golden"})
    machine = await run.ready()
    run.world.disks[COMMIT] = Machine("", run.world.now())
    copy_disk(machine, run.world.disks[COMMIT])
    return machine


@pytest.mark.guarantee("G-27")
def test_a_profile_from_a_commit_of_a_prepared_machine_is_applied(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        ran: list[tuple[str, ...]] = []

        def note(command: GuestCommand) -> int:
            ran.append(command.argv)
            return 0

        machine = await golden(run)
        run.world.disks[COMMIT].files["/etc/marker"] = b"changed before the commit"
        run.world.commands = note
        await run.declare(declared(COPY, source={"commitId": COMMIT}, **PREPARED))
        await run.lieutenant("child", profileRef={"name": "copy"})
        child = await run.ready(CHILD)
        assert child is not machine
        assert child.parent_commit == COMMIT
        assert [argv[-1] for argv in ran] == ["/var/lib/reconciler/steps/build.sh", "works"]
        assert child.files["/etc/marker"] == b"hello"
        assert all(child.vm_id in mark for mark in child.marks.values())

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_a_check_that_fails_on_the_copy_is_not_passed_by_the_marks_of_its_parent(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await golden(run)
        run.world.commands = lambda command: 1 if command.argv == ("works",) else 0
        await run.declare(declared(COPY, source={"commitId": COMMIT}, **PREPARED))
        await run.lieutenant("child", profileRef={"name": "copy"})
        await run.says(CHILD, "Ready", "BootFailed")
        assert run.condition(CHILD, "Ready") == "False"
        assert run.condition(LT, "Available") == "True"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_a_machine_that_was_let_go_is_prepared_again_by_who_adopts_it(tmp_path: Path) -> None:
    """Anything may have happened to it in between."""

    async def story(run: Stage) -> None:
        machine = await golden(run)
        await run.retrying(lambda: run.engine.declarations.delete(LT, verbs={"detached": "t"}))
        await run.gone(LT)
        await pass_time(60)
        machine.files["/etc/marker"] = b"changed by somebody"
        await run.lieutenant("child", profileRef={"name": "golden"}, adopt={"vmId": machine.vm_id})
        assert await run.ready(CHILD) is machine
        assert machine.files["/etc/marker"] == b"hello"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-01")
def test_a_machine_that_an_earlier_release_prepared_is_not_prepared_again(tmp_path: Path) -> None:
    """Its marks do not name it; neither its steps nor its files come a second time."""

    async def story(run: Stage) -> None:
        machine = await golden(run)
        item = run.engine.table.lieutenant(LT)
        assert item is not None
        machine.marks = {name: mark.partition(" ")[0] for name, mark in machine.marks.items()}
        await run.engine.tools.save(item, item.record.but(slot=item.record.slot.but(filled=0)))
        machine.files["/etc/marker"] = b"of the agent by now"
        run.world.commands = lambda command: pytest.fail(f"ran {command.argv}")
        await run.controller.down()
        await run.alive()
        await pass_time(300)
        assert run.condition(LT, "Ready") == "True"
        assert machine.files["/etc/marker"] == b"of the agent by now"

    tell(tmp_path, story)
