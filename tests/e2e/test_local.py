"""Agents on the controller's host, with real keepers and real pi: nothing of them depends on a controller, nothing of ours is shown
to them, and nothing of them is left."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.background import Platform, eventually
from tests.e2e.chaos import AGENT, KEEPER, TITLES, Books, cmdline, user_texts
from tests.e2e.conftest import PROFILE
from tests.program import Controller, Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]

LOCAL = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: here}
spec:
  role: Keep the notes
  profileRef: {name: scripted}
  placement: {PLACEMENT}
  env:
  - {name: DECLARED, value: for the agent}
"""
SECRET = "RECONCILER_SECRET_NOTES_TOKEN"
WAIT = '<<<[{"tool":"bash","args":{"command":"env > env.txt; touch begun; until [ -e go ]; do sleep 0.05; done"}},{"say":"went on"}]>>>'
TELL = 'The word is plum <<<[{"say":"noted"}]>>>'
ASK = 'What was the word? <<<[{"say":"I was told {count} things, the first was: {first}","recall":true}]>>>'
STAYS = '<<<[{"tool":"bash","args":{"command":"(sleep 600 > /dev/null 2>&1 &) ; echo started"}},{"say":"it runs"}]>>>'


class Here:
    """The only agent on this host."""

    def __init__(self, program: Program) -> None:
        self.agents = program.state.resolve() / "agents"

    @property
    def directory(self) -> Path | None:
        return next((path for path in self.agents.glob("*") if path.is_dir()), None)

    @property
    def workspace(self) -> Path:
        assert self.directory is not None
        return self.directory / "tree" / "root" / "workspace"

    def running(self, what: str) -> list[int]:
        """Keepers or pi processes that were started here."""
        return [pid for pid in self.processes() if cmdline(pid).split(b"\0")[0] == TITLES[what]]

    def processes(self) -> list[int]:
        """Everything whose HOME is in a directory of ours."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"HOME={self.agents}/".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return sorted(found)


@pytest.fixture
def here(reconciler: Program) -> Here:
    """Beside a program that may run agents here."""
    (reconciler.folder / "specs" / "api.yaml").unlink()
    return Here(reconciler)


def declare(program: Program, real: Platform, placement: str, mode: str = "Running") -> None:
    text = LOCAL.replace("{PLACEMENT}", placement) + f"  mode: {mode}\n"
    (program.folder / "specs" / "here.yaml").write_text(text)
    (program.folder / "specs" / "profile.yaml").write_text(PROFILE.format(url=real.model.url))


def run(program: Program, name: str) -> Controller:
    return program.controller("specs", "--allow-local", name=name)


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-60")
def test_a_declared_local_agent_from_its_begin_to_its_end(real: Platform, reconciler: Program, here: Here) -> None:
    reconciler.env[SECRET] = "not-for-agents"
    declare(reconciler, real, "{type: Local}")
    books = Books(reconciler)
    with run(reconciler, "first") as first:
        books.ready("here", 90)
        books.send("tell", "here", TELL)
        books.done("tell")
        books.send(
            "work",
            "here",
            "Work " + WAIT,
            acceptance=[{"file": {"path": "env.txt", "minBytes": 50}}, {"command": {"run": ["test", "-e", "go"]}}],
        )
        eventually(lambda: (here.workspace / "begun").exists(), "the tool runs")
        pids = here.running(KEEPER), here.running(AGENT)
        assert [len(found) for found in pids] == [1, 1]
        first.kill()
    assert (here.running(KEEPER), here.running(AGENT)) == pids, "kill -9 of the controller changes nothing"
    seen = real.calls["list_vms"]
    with run(reconciler, "second") as second:
        eventually(lambda: real.calls["list_vms"] > seen, "the second controller looks")
        eventually(lambda: books.tasks()["work"].phase == "Running", "it is found running")
        assert second.stop() == 0
    assert (here.running(KEEPER), here.running(AGENT)) == pids, "an orderly stop changes nothing"
    (here.workspace / "go").touch()
    with run(reconciler, "third") as third:
        record = books.done("work")
        assert (record.attempt, record.sends, record.continues, record.answer) == (1, 1, 0, "went on")

        # What it sees is what was declared and what every program needs.
        told = dict(line.split("=", 1) for line in (here.workspace / "env.txt").read_text().splitlines() if "=" in line)
        assert told["DECLARED"] == "for the agent"
        assert told["HOME"] == str(here.workspace.parent)
        assert told["PWD"] == str(here.workspace)
        assert not [name for name in told if name.startswith(("VERS_", "RECONCILER_STATE", "RECONCILER_SECRET", "RECONCILER_VM"))]
        text = (here.workspace / "env.txt").read_text()
        assert reconciler.env["VERS_API_KEY"] not in text
        assert "not-for-agents" not in text

        # A crash is noticed, and the conversation goes on.
        os.kill(pids[1][0], signal.SIGKILL)
        eventually(lambda: here.running(AGENT) not in ([], pids[1]), "another pi runs")
        books.send("ask", "here", ASK)
        assert books.done("ask").answer == f"I was told 2 things, the first was: {TELL}"

        # Asleep there is no pi; awake it knows what it knew.
        books.send("leaves", "here", "Leave something " + STAYS)
        books.done("leaves")
        declare(reconciler, real, "{type: Local}", "Suspended")
        reconciler("wait", "lt/here", "--for", "Suspended")
        assert here.running(AGENT) == []
        declare(reconciler, real, "{type: Local}")
        books.ready("here")
        books.send("ask-again", "here", ASK)
        assert "4 things" in books.done("ask-again").answer
        reconciler("plan", "specs", "--allow-local")

        # Gone is gone, also what it had left running.
        (reconciler.folder / "specs" / "here.yaml").unlink()
        assert len(here.processes()) >= 3
        third.says("no longer declared")
        reconciler("delete", "lt", "here", "--wait")
        assert here.directory is None
        assert here.processes() == []
        assert third.stop() == 0
    assert real.ever() == []


@pytest.mark.guarantee("G-31")
@pytest.mark.guarantee("G-32")
def test_an_agent_whose_vm_dies_while_there_is_no_room_goes_on_here_and_moves_back(real: Platform, reconciler: Program, here: Here) -> None:
    declare(reconciler, real, "{outageFallback: Local}")
    books = Books(reconciler)
    with run(reconciler, "controller") as controller:
        vm_id = books.ready("here", 90)
        books.send("tell", "here", TELL)
        books.done("tell")
        real.simulator.add_fault("create:*:netlink")
        real.run(real.simulator.do(lambda world: world.kill(vm_id)))
        eventually(lambda: books.lieutenant("here").local.state == "Home", "it lives here", 90)
        books.ready("here")
        books.send("ask", "here", ASK)
        assert books.done("ask").answer == f"I was told 1 things, the first was: {TELL}"
        books.send("make", "here", 'Make it <<<[{"tool":"write","args":{"path":"deep/made.txt","content":"made here"}},{"say":"made"}]>>>')
        books.done("make")
        assert (here.workspace / "deep" / "made.txt").read_text() == "made here"
        real.simulator.clear_faults()
        eventually(lambda: not books.lieutenant("here").local.state, "it has moved", 120)
        new = books.ready("here")
        assert new != vm_id
        guests = real.simulator.guests
        assert guests is not None
        assert guests.path(new, "/root/workspace/deep/made.txt").read_text() == "made here"
        books.send("ask-again", "here", ASK, acceptance=[{"file": {"path": "deep/made.txt", "minBytes": 9}}])
        assert books.done("ask-again").answer == f"I was told 3 things, the first was: {TELL}"
        assert here.directory is None
        assert here.processes() == []
        session = books.lieutenant("here").session.name
        assert len(user_texts(books.mirror(session))) == 4
        assert guests.path(new, f"/root/.pi/agent/sessions/{session}.jsonl").read_bytes() == books.mirror(session)
        assert "Traceback" not in controller.said
        assert controller.stop() == 0
    assert real.present() == [new]
