"""Machines that die, vanish, are suspended by somebody else or wake up with a wrong clock; the conversation goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.core.snapshot.machine import RootSource, VmShape
from reconciler.core.snapshot.vm import VmState
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from reconciler.vers.simulator.image import GuestImage
from reconciler.vers.simulator.knobs import Knobs
from reconciler.vers.simulator.service import SimulatorConfig
from reconciler.vers.simulator.world import World
from tests.background import Platform, eventually, platform
from tests.e2e.chaos import AGENT, Books, Machine, user_texts
from tests.e2e.conftest import API, PROFILE
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(300)]

TELL = 'The word is plum <<<[{"say":"noted"}]>>>'
ASK = 'What was the word? <<<[{"say":"I was told {count} things, the first was: {first}","recall":true}]>>>'
WAIT = '<<<[{"tool":"bash","args":{"command":"touch begun; until [ -e go ]; do sleep 0.05; done"}},{"say":"went on"}]>>>'
INSIDE = ("CorrectedClock", "InstalledAgent", "PreparedMachine", "StartedAgent")
HOURS = 18 * 3600.0


@dataclass
class Story:
    """A lieutenant `api` that was told something, on a machine, with a controller beside it."""

    real: Platform
    books: Books
    machine: Machine

    def does(self, deed: Callable[[World], object]) -> None:
        """Something happens on the platform that the controller is not told of."""
        self.real.run(self.real.simulator.do(deed))

    def replaced(self) -> Machine:
        """The machine that has taken the place of the first."""
        old = self.machine.vm_id
        new = eventually(lambda: vm if (vm := self.books.lieutenant("api").slot.vm_id) not in ("", old) else None, "another machine", 90)
        return Machine(self.real, new)

    def remembers(self, times: int) -> None:
        """It is asked, and answers from what its model was sent; `times`: user messages before the question."""
        self.books.send("ask", "api", ASK)
        answer = self.books.done("ask", 90).answer
        assert answer == f"I was told {times} things, the first was: {TELL}"

    def reasons(self, of: str = "api") -> list[str]:
        return [reason for name, reason, _ in self.books.reasons() if name == of]


@contextmanager
def told(real: Platform, program: Program) -> Iterator[Story]:
    with program.controller("specs", name="controller") as controller:
        books = Books(program)
        vm_id = books.ready("api", 90)
        books.send("tell", "api", TELL)
        assert books.done("tell").answer == "noted"
        yield Story(real, books, Machine(real, vm_id))
        assert "Traceback" not in controller.said
        assert controller.stop() == 0


@pytest.fixture
def story(real: Platform, reconciler: Program) -> Iterator[Story]:
    with told(real, reconciler) as it:
        yield it


@pytest.mark.guarantee("G-32")
def test_a_machine_dies_and_the_agent_still_knows(story: Story) -> None:
    before = story.machine.session()
    story.does(lambda world: world.kill(story.machine.vm_id))
    new = story.replaced()
    story.remembers(1)
    session = new.session()
    assert session.startswith(before)
    assert story.books.mirror(story.books.lieutenant("api").session.name) == session
    assert len(new.running(AGENT)) == 1
    eventually(lambda: story.real.present() == [new.vm_id], "the dead machine is deleted")
    assert story.real.ever() == [story.machine.vm_id, new.vm_id]
    assert "RestoredSession" in story.reasons()


@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-32")
def test_a_machine_dies_in_the_middle_of_a_turn(story: Story) -> None:
    """What was said before is kept, and the piece of work is finished on the other machine in the same attempt."""
    story.books.send("work", "api", "Work " + WAIT)
    eventually(lambda: story.books.tasks()["work"].phase == "Running", "the turn is on")
    story.does(lambda world: world.kill(story.machine.vm_id))
    new = story.replaced()
    record = story.books.done("work", 90)
    assert (record.attempt, record.sends, record.continues) == (1, 1, 1)
    assert story.reasons("work").count("Succeeded") == 1
    texts = user_texts(new.session())
    assert [text.startswith(f"{record.marker} continued (1)") for text in texts if text.startswith(record.marker)] == [False, True]
    story.remembers(3)


@pytest.mark.guarantee("G-03")
@pytest.mark.guarantee("G-32")
def test_a_machine_is_deleted_behind_our_back(story: Story, reconciler: Program) -> None:
    """It is missed, proven gone by two lists and its own status, replaced, and the conversation goes on."""
    real, before = story.real, story.machine.session()

    async def delete() -> None:
        other = VersClient(Settings(reconciler.env))
        try:
            await other.delete_vm(story.machine.vm_id)
        finally:
            await other.aclose()

    real.run(delete())
    gone = real.simulator.world.vms[story.machine.vm_id].deleted_at
    new = story.replaced()
    story.remembers(1)
    assert new.session().startswith(before)
    assert "VMGone" in story.reasons()
    assert story.real.present() == [new.vm_id]
    since = [call for call in real.simulator.world.ledger.calls if gone is not None and call.at >= gone]
    until = next(index for index, call in enumerate(since) if call.op == "new_root")
    looks = [call.op for call in since[:until]]
    assert looks.count("list_vms") >= 2
    assert "status" in looks[looks.index("list_vms") :], "its own status was asked for"


@pytest.mark.guarantee("G-08")
def test_a_machine_is_suspended_behind_our_back_in_the_middle_of_a_turn(story: Story) -> None:
    """It is resumed, and the very same process goes on with its turn."""
    machine = story.machine
    story.books.send("work", "api", "Work " + WAIT)
    eventually(lambda: machine.path("/root/workspace/begun").exists(), "the tool runs")
    pids = machine.running(AGENT)
    story.does(lambda world: world.suspend_behind(machine.vm_id))
    eventually(lambda: "ResumedVM" in story.reasons(), "it is resumed")
    eventually(lambda: not story.real.simulator.world.present[machine.vm_id].suspended, "it runs")
    machine.path("/root/workspace/go").touch()
    record = story.books.done("work")
    assert (record.attempt, record.sends, record.continues, record.answer) == (1, 1, 0, "went on")
    assert machine.running(AGENT) == pids
    story.remembers(2)
    assert story.real.ever() == [machine.vm_id]


@pytest.mark.guarantee("G-08")
def test_a_suspended_machine_is_resumed_behind_our_back(story: Story, reconciler: Program) -> None:
    """What is declared suspended is suspended again; woken as declared, it knows what it knew."""
    machine, world = story.machine, story.real.simulator.world
    api = reconciler.folder / "specs" / "api.yaml"
    api.write_text(API + "  mode: Suspended\n")
    eventually(lambda: world.present[machine.vm_id].suspended, "it is suspended")
    story.does(lambda world: world.resume_behind(machine.vm_id))
    eventually(lambda: world.present[machine.vm_id].suspended, "it is suspended again")
    api.write_text(API)
    story.remembers(1)
    assert story.real.ever() == [machine.vm_id]


@pytest.mark.guarantee("G-12")
def test_a_clock_that_is_off_after_a_resume_is_corrected_first(story: Story, reconciler: Program) -> None:
    machine, world = story.machine, story.real.simulator.world
    api = reconciler.folder / "specs" / "api.yaml"
    api.write_text(API + "  mode: Suspended\n")
    eventually(lambda: "Suspended" in story.reasons(), "it is suspended")
    assert world.present[machine.vm_id].suspended
    machine.path("/run/clock-offset").write_text(f"{int(HOURS * 1e9)}\n")
    api.write_text(API)
    story.remembers(1)
    reasons = story.reasons()  # an event that is repeated and counted moves to the end: positions in the list do not stay
    since = reasons[reasons.index("SuspendedVM") :]
    assert [reason for reason in since if reason in ("ResumedVM", *INSIDE)] == ["ResumedVM", "CorrectedClock"]
    right(machine)


@pytest.mark.guarantee("G-12")
def test_a_restored_machine_with_a_wrong_clock_is_corrected_first(image: GuestImage, tmp_path: Path) -> None:
    """Before claim, tools, keeper and pi; the agent's own commands then see the right time."""
    knobs = Knobs(clock_offset_on_restore=-HOURS)
    with platform(SimulatorConfig(guests="isolated", image=image, knobs=knobs)) as real:
        env = {**real.endpoints.environment(), "RECONCILER_SETTLE_SECONDS": "2", "RECONCILER_RESYNC_SECONDS": "1"}
        program = Program(tmp_path, env)

        async def commit() -> str:
            client = VersClient(Settings(program.env))
            try:
                vm_id = await client.create_vm(RootSource(), VmShape(), {}, "a-token")
                while (await client.get_vm(vm_id)).state is not VmState.RUNNING:
                    pass
                made = await client.commit(vm_id, "base")
                await client.delete_vm(vm_id)
                return made
            finally:
                await client.aclose()

        commit_id = real.run(commit())
        specs = tmp_path / "specs"
        specs.mkdir()
        source = f"spec:\n  source: {{commitId: {commit_id}}}"
        (specs / "profile.yaml").write_text(PROFILE.format(url=real.model.url).replace("spec:", source, 1))
        (specs / "api.yaml").write_text(API)
        with told(real, program) as story:
            acts = [reason for reason in story.reasons() if reason in INSIDE]
            assert acts[0] == "CorrectedClock"
            assert acts.count("CorrectedClock") == 1
            right(story.machine)
            command = '{"tool":"bash","args":{"command":"date +%s > now"}}'
            story.books.send("date", "api", f'Look at the clock <<<[{command},{{"say":"done"}}]>>>')
            story.books.done("date")
            seen = int(story.machine.path("/root/workspace/now").read_text())
            assert abs(seen - time.time()) < HOURS / 2


def right(machine: Machine) -> None:
    """The guest's clock is the host's again, but for what a correction may be off."""
    offset = machine.path("/run/clock-offset")
    assert not offset.exists() or abs(int(offset.read_text()) / 1e9) < 60
