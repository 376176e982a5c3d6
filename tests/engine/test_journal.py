"""The journal of calls that are not idempotent: by slot, so that the slots of one object do not mix."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.engine.ports import Intent, Key, PutIntent, SlotOwner
from reconciler.engine.state.journal import COMMIT, CREATE, Journal, closing

TREE = Key("VMTree", "default", "tree")
LEAD, WORKER, OWN = (SlotOwner.of(TREE, "uid-1", node) for node in ("lead", "worker", ""))


def intent(token: str, owner: SlotOwner, verb: str = CREATE, sent_at: float = 1.0) -> Intent:
    return Intent(token, owner, verb, 1, {"commit": f"commit-{token}"}, sent_at)


FIRST, SECOND = intent("t1", LEAD), intent("t2", WORKER, sent_at=2.0)


@pytest.mark.guarantee("G-02")
def test_two_slots_of_one_object_have_an_open_create_each() -> None:
    journal = Journal([SECOND, FIRST])
    assert journal.of(LEAD) == FIRST
    assert journal.of(WORKER) == SECOND
    assert journal.of(OWN) is None
    assert [one.token for one in journal.creates()] == ["t1", "t2"]


@pytest.mark.guarantee("G-02")
def test_closing_or_filling_one_slot_leaves_the_others() -> None:
    journal = Journal([FIRST, SECOND, intent("t3", LEAD, COMMIT)])
    assert [one.token for one in journal.creates(lambda slot: slot == LEAD)] == ["t2"], "a slot that has a VM waits for none"
    journal.closed(FIRST)
    assert journal.of(LEAD) is None
    assert journal.of(WORKER) == SECOND
    snapshot = journal.of(LEAD, COMMIT)
    assert snapshot is not None
    assert snapshot.token == "t3"
    journal.closed(SECOND)
    assert journal.of(WORKER) is None
    assert journal.of(LEAD, COMMIT) == snapshot
    assert journal.creates() == []


def test_open_creates_are_found_by_what_they_restore() -> None:
    again = replace(SECOND, token="t4", payload=FIRST.payload)
    journal = Journal([FIRST, again])
    journal.opened(SECOND)
    journal.opened(replace(intent("t5", OWN, COMMIT), payload=FIRST.payload))
    assert journal.creates_of("commit-t1") == (FIRST, again)
    assert journal.creates_of("commit-t2") == (SECOND,)
    journal.closed(FIRST)
    assert journal.creates_of("commit-t1") == (again,)
    journal.closed(again)
    assert journal.creates_of("commit-t1") == ()
    assert journal.creates_of("") == ()


@pytest.mark.guarantee("G-02")
def test_another_life_of_the_object_does_not_inherit_its_intents() -> None:
    journal = Journal([FIRST])
    assert journal.of(SlotOwner.of(TREE, "uid-2", "lead")) is None


def test_what_was_never_sent_is_closed_with_the_next_one_of_any_slot() -> None:
    journal = Journal([])
    journal.not_sent(FIRST)
    assert journal.writes_to_open(SECOND) == [PutIntent(replace(FIRST, outcome="never sent")), PutIntent(SECOND)]
    journal.opened(SECOND)
    assert journal.of(LEAD) is None
    assert journal.of(WORKER) == SECOND
    assert journal.writes_to_open(FIRST) == [PutIntent(FIRST)]
    assert closing(SECOND, "vm x") == PutIntent(replace(SECOND, outcome="vm x"))


@pytest.mark.guarantee("G-02")
def test_the_window_for_late_effects_begins_when_the_call_has_ended() -> None:
    """A call may take minutes; and whatever an earlier life of the controller sent had ended when this one began."""
    journal = Journal([FIRST], begun=FIRST.sent_at + 500)
    assert journal.ended(FIRST) == FIRST.sent_at + 500
    journal.opened(SECOND)
    assert journal.ended(SECOND) == SECOND.sent_at
    journal.in_doubt(SECOND, SECOND.sent_at + 300)
    assert journal.ended(SECOND) == SECOND.sent_at + 300
