"""The conversation with the real pi: begun anew as declared, lost by policy, continued after an abrupt end, chosen between two ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.conditions import stalled_for
from reconciler.core.lieutenant.session import path_of
from reconciler.core.records import SessionRecord
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from tests.background import Platform, eventually
from tests.e2e.chaos import AGENT, user_texts
from tests.e2e.conftest import API
from tests.e2e.test_survive import ASK, TELL, WAIT, Story, told
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]


@pytest.fixture
def story(real: Platform, reconciler: Program) -> Iterator[Story]:
    with told(real, reconciler) as it:
        yield it


def remembers_nothing(story: Story) -> None:
    """It is asked in the new conversation, and knows nothing of the one before."""
    story.books.send("ask", "api", ASK)
    answer = story.books.done("ask", 90).answer
    assert answer.startswith("I was told 0 things")
    assert TELL not in answer


def session(story: Story) -> SessionRecord:
    return story.books.lieutenant("api").session


def file_of(story: Story, record: SessionRecord) -> Path:
    return story.machine.path(path_of(record.file or record.name))


@pytest.mark.guarantee("G-30")
@pytest.mark.guarantee("G-32")
def test_a_raised_generation_begins_another_conversation_on_the_same_machine(story: Story, reconciler: Program) -> None:
    before, first = story.machine.session(), session(story)
    (reconciler.folder / "specs" / "api.yaml").write_text(API + "  session: {generation: 2}\n")
    eventually(lambda: session(story).generation == 2, "another conversation", 60)
    remembers_nothing(story)
    record = session(story)
    assert record.earlier == (first.name,)
    assert file_of(story, first).read_bytes() == before == story.books.mirror(first.name)
    assert story.books.mirror(record.name) == file_of(story, record).read_bytes()
    assert story.real.ever() == [story.machine.vm_id]


@pytest.mark.guarantee("G-32")
def test_with_new_another_conversation_begins_on_another_machine(story: Story, reconciler: Program) -> None:
    before, first = story.machine.session(), session(story)
    (reconciler.folder / "specs" / "api.yaml").write_text(API + "  session: {onLost: New}\n")
    eventually(lambda: story.books.objects("Lieutenant")["api"].spec.get("session") is not None, "it is declared")
    story.does(lambda world: world.kill(story.machine.vm_id))
    story.machine = story.replaced()
    remembers_nothing(story)
    assert session(story).earlier == (first.name,)
    assert story.books.mirror(first.name) == before


@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-32")
def test_a_machine_is_deleted_behind_our_back_under_a_working_agent(story: Story, reconciler: Program) -> None:
    """The conversation goes on elsewhere, its turn in the same attempt."""
    story.books.send("work", "api", "Work " + WAIT)
    eventually(lambda: story.books.tasks()["work"].phase == "Running", "the turn is on")

    async def delete() -> None:
        other = VersClient(Settings(reconciler.env))
        try:
            await other.delete_vm(story.machine.vm_id)
        finally:
            await other.aclose()

    story.real.run(delete())
    new = story.replaced()
    record = story.books.done("work", 90)
    assert (record.attempt, record.sends, record.continues) == (1, 1, 1)
    assert len([text for text in user_texts(new.session()) if text.startswith(record.marker)]) == 2, "its prompt, and to go on"
    story.remembers(3)
    assert story.books.mirror(session(story).name) == new.session()


@pytest.mark.guarantee("G-32")
@pytest.mark.parametrize("end", ["vm", "local"])
def test_two_ends_that_differ_are_both_kept_and_the_chosen_one_goes_on(real: Platform, reconciler: Program, end: str) -> None:
    with told(real, reconciler) as story:
        mirrored, first = story.machine.session(), session(story)
        file = file_of(story, first)
    machine = story.machine
    pid = machine.named(AGENT)
    assert machine.kill(AGENT, pid)
    there = mirrored.replace(b'"text":"noted"', b'"text":"something else"')
    assert there != mirrored
    file.write_bytes(there)
    with reconciler.controller("specs", name="again") as controller:
        eventually(lambda: stalled_for(story.books.objects("Lieutenant")["api"].status) == "SessionDiverged", "it is stalled", 60)
        assert (file.read_bytes(), story.books.mirror(first.name)) == (there, mirrored)
        reconciler("resolve", "lieutenant", "api", "--session", end)
        eventually(lambda: stalled_for(story.books.objects("Lieutenant")["api"].status) == "", "it goes on", 60)
        story.remembers(1)
        record = session(story)
        went_on = file_of(story, record).read_bytes()
        assert went_on.startswith(there if end == "vm" else mirrored)
        assert story.books.mirror(record.name) == went_on
        if end == "vm":
            assert story.books.mirror(first.name) == mirrored
        else:
            assert file.read_bytes() == there
        assert controller.stop() == 0


@pytest.mark.guarantee("G-25")
@pytest.mark.guarantee("G-32")
def test_a_session_file_that_pi_refuses_to_read_is_healed_from_the_mirror(story: Story, reconciler: Program) -> None:
    whole, first = story.machine.session(), session(story)
    file = file_of(story, first)
    file.write_bytes(b"x" * 20 + whole[20:])
    assert story.machine.kill(AGENT, story.machine.named(AGENT))
    eventually(lambda: stalled_for(story.books.objects("Lieutenant")["api"].status) == "SessionDiverged", "it is told", 60)
    assert len(story.books.lieutenant("api").restart.times) <= 2
    reconciler("resolve", "lieutenant", "api", "--session", "local")
    story.remembers(1)
    assert file_of(story, session(story)).read_bytes().startswith(whole)
    assert story.books.lieutenant("api").restart.times == ()


@pytest.mark.guarantee("G-21")
def test_a_wrong_key_ends_deliveries_and_costs_no_attempt(story: Story, reconciler: Program) -> None:
    """The real pi reports it; a person mends it and asks for another try."""
    story.books.send("keyless", "api", "Work with a wrong key")
    eventually(lambda: stalled_for(story.books.objects("Lieutenant")["api"].status) == "ModelRefused", "it is told", 60)
    record = story.books.tasks()["keyless"]
    assert (record.phase, record.attempt, record.held, record.attempts) == ("Pending", 1, 1, ())
    reconciler("retry", "lieutenant", "api")
    done = story.books.done("keyless", 90)
    assert (done.phase, done.attempt, done.attempts) == ("Succeeded", 2, ())
    eventually(lambda: stalled_for(story.books.objects("Lieutenant")["api"].status) == "", "it is usable again")
