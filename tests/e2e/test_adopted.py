"""A machine with an agent on it changes hands: the next one goes on with what was said there, with the real pi."""

from __future__ import annotations

import pytest

from reconciler.core.lieutenant.session import path_of
from tests.background import Platform, eventually
from tests.e2e.chaos import AGENT, Books, Machine
from tests.e2e.conftest import API
from tests.e2e.test_survive import ASK, TELL
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-36")
def test_an_adopted_agent_goes_on_with_its_conversation(real: Platform, reconciler: Program) -> None:
    (reconciler.folder / "specs" / "api.yaml").unlink()
    with reconciler.controller("specs", name="controller") as controller:
        books = Books(reconciler)
        reconciler("apply", "-f", "-", stdin=API)
        machine = Machine(real, books.ready("api", 90))
        books.send("tell", "api", TELL)
        assert books.done("tell").answer == "noted"
        before, first = machine.session(), books.lieutenant("api").session
        old = machine.path(path_of(first.file or first.name))

        reconciler("forget", "lt", "api")
        reconciler("wait", "lt/api", "--for", "delete", "--timeout", "90")
        assert len(machine.running(AGENT)) == 1, "it was not touched"
        reconciler("adopt", machine.vm_id, "--as", "heir", "--profile", "scripted")
        assert books.ready("heir", 90) == machine.vm_id
        books.send("ask", "heir", ASK)
        assert books.done("ask", 90).answer == f"I was told 1 things, the first was: {TELL}"

        session = books.lieutenant("heir").session
        assert session.found == path_of(first.file or first.name)
        assert old.read_bytes() == before, "what it began as a copy of stays as it is"
        goes_on = machine.path(path_of(session.file or session.name)).read_bytes()
        assert goes_on.startswith(before)
        eventually(lambda: books.mirror(session.name) == goes_on, "all of it is mirrored")
        assert len(machine.running(AGENT)) == 1
        assert real.present() == [machine.vm_id]
        assert "Traceback" not in controller.said
        assert controller.stop() == 0
