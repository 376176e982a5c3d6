"""What a lost store knew is told by status and claims: what goes out comes back."""

from __future__ import annotations

import pytest

from reconciler.core.decisions import Steady
from reconciler.core.keys import Json, Key, SlotOwner
from reconciler.core.records import Attempt, EscalationStep, TaskRecord
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.vm import Vm, VmState
from reconciler.core.task.status import task_status
from reconciler.engine.ports import Intent
from reconciler.sources.kube import restore

KEY = Key("Lieutenant", "team", "ada")
TASK = Key("Task", "team", "one")
UID = "0d1f6d3e-0000-4000-8000-000000000001"
US = Owner("default", "cluster/team")
THEM = Owner("default", "elsewhere/team")


def vm(number: int, labels: dict[str, str]) -> Vm:
    return Vm(f"00000000-0000-4000-8000-{number:012d}", "account", 1000.0 + number, VmState.RUNNING, labels)


def claimed(number: int, epoch: int, owner: Owner = US, uid: str = UID) -> Vm:
    made = vm(number, {})
    return vm(number, claims.claim_labels(owner, SlotOwner.of(KEY, uid), epoch, made.vm_id))


def listed(*vms: Vm) -> dict[str, Vm]:
    return {one.vm_id: one for one in vms}


DONE = TaskRecord(
    phase="Succeeded", reason="Completed", message="well", attempt=2, delivering_at=100.0, landed=0, landed_at=101.0, stop_reason="stop",
    answer="all good", answer_bytes=8, input_tokens=7, output_tokens=5, cost=0.25, turns=3, files=("a", "b"), files_more=1,
    checks=("ok",), attempts=(Attempt(number=1, reason="ModelError", message="no"),),
    escalation_steps=(EscalationStep(action="Steer", at=99.0, why="NoProgress"),),
    finished_at=200.0,
)  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        DONE,
        DONE.but(phase="Failed", reason="AcceptanceFailed", files_more=0),
        TaskRecord(phase="Cancelled", reason="CancelledByUser", message="cancelled as declared", finished_at=5.0),
        TaskRecord(phase="Succeeded", reason="AlreadyDone", message="the same", finished_at=5.0, recalled=True),
    ],
    ids=lambda record: f"{record.phase}-{record.reason}",
)
@pytest.mark.guarantee("G-20")
def test_a_result_comes_back_as_it_was(record: TaskRecord) -> None:
    """The status made from the restored record is the status it was restored from: a field that is forgotten shows here."""
    told = task_status(record, Steady(), {}, 1, 300.0).dump()
    again = restore.task(TASK, UID, told)
    assert task_status(again, Steady(), told, 1, 400.0).dump() == told
    assert again.finished
    assert again.recalled == record.recalled


@pytest.mark.guarantee("G-20")
def test_a_task_on_its_way_is_looked_for_before_it_is_sent() -> None:
    first = restore.task(TASK, UID, {"phase": "Running", "attempt": 1, "deliveredAt": "2026-11-21T10:00:00Z"})
    assert (first.phase, first.attempt, first.sends, first.baseline) == ("Delivering", 1, 1, 0)
    assert first.marker.startswith("[task team/one attempt 1 ")
    assert first.marker == restore.task(TASK, UID, {"phase": "Verifying", "attempt": 1}).marker
    assert first.marker != restore.task(TASK, "another", {"phase": "Running", "attempt": 1}).marker
    assert restore.task(TASK, UID, {"phase": "Pending", "attempt": 0}) == TaskRecord()


@pytest.mark.guarantee("G-02")
def test_a_claim_beats_a_status() -> None:
    """A status that names another VM, or a higher epoch, makes nothing ours that does not carry our claim."""
    strange: Json = {"vm": {"id": vm(7, {}).vm_id, "epoch": 9}}
    at_hand = restore.lieutenant(KEY, UID, strange, listed(vm(7, {}), claimed(1, 1), claimed(2, 2)), US).record.slot
    assert (at_hand.vm_id, at_hand.epoch, at_hand.account) == (vm(2, {}).vm_id, 2, "account")


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize("other", [vm(7, {}), claimed(7, 1, THEM), claimed(7, 1, US, "another")], ids=["bare", "theirs", "another's"])
def test_what_is_not_ours_is_not_taken(other: Vm) -> None:
    restored = restore.lieutenant(KEY, UID, {"vm": {"id": other.vm_id, "epoch": 4}}, listed(other), US)
    assert restored.record.slot.vm_id == ""
    assert restored.record.slot.epoch == 4, "the next VM gets a higher epoch than any before"


def test_a_vm_that_was_born_for_it_and_not_claimed_yet_is_taken() -> None:
    born = vm(3, claims.birth_labels(US, SlotOwner.of(KEY, UID), 1, "token"))
    assert restore.lieutenant(KEY, UID, {"vm": {"id": born.vm_id}}, listed(born), US).record.slot.vm_id == born.vm_id


@pytest.mark.guarantee("G-02")
def test_an_open_create_comes_back() -> None:
    sent = Intent("token", SlotOwner.of(KEY, UID), "create", 3, {"commit": "c0ffee", "epoch": 5}, 1234.5, 1200.25)
    restored = restore.lieutenant(KEY, UID, {"vm": {"create": restore.create_status(sent).dump()}}, {}, US)
    assert restored.intents == (sent,)
    assert (restored.record.slot.epoch, restored.record.slot.attempts) == (5, 3)
    garbled = {"vm": {"create": {**restore.create_status(sent).dump(), "sentAt": "yesterday"}}}
    assert restore.lieutenant(KEY, UID, garbled, {}, US).intents == ()


def test_verbs_that_were_acted_on_are_not_acted_on_again() -> None:
    assert restore.lieutenant(KEY, UID, {"handled": {"retry": "1"}}, {}, US).record.handled == {"retry": "1"}


@pytest.mark.guarantee("G-33")
def test_a_live_copy_is_not_made_again_and_one_on_its_way_is_known_by_what_is_copied() -> None:
    told = {"forkedFrom": {"name": "api", "vm": "v", "at": "2026-11-21T08:17:39Z"}}
    branch = restore.lieutenant(KEY, UID, told, {}, US).record.slot.branch
    assert (branch.source, branch.vm_id, branch.claimed) == ("api", "v", True)
    payload: Json = {"commit": "vm:v", "epoch": 3, "session": "u-g1", "size": 9, "source": "api"}
    sent = Intent("t", SlotOwner.of(KEY, UID), "create", 1, payload, 1234.5)
    found = restore.lieutenant(KEY, UID, {"vm": {"create": restore.create_status(sent).dump()}}, {}, US).intents[0]
    assert found is not None
    assert found.payload == payload


@pytest.mark.guarantee("G-32")
def test_the_conversation_in_force_comes_back() -> None:
    told: Json = {"session": {"name": f"{UID}-g2-3", "generation": 2, "earlier": [f"{UID}-g2"]}}
    session = restore.lieutenant(KEY, UID, told, {}, US).record.session
    assert (session.name, session.generation, session.incarnation, session.earlier) == (f"{UID}-g2-3", 2, 3, (f"{UID}-g2",))
    assert restore.lieutenant(KEY, UID, {"session": {"name": f"{UID}-g0"}}, {}, US).record.session.incarnation == 0


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize("name", ["another-g0", f"{UID}-g0/../another-g0", f"../{UID}-g0", f"{UID}0-g0", f"{UID}-g0\n"])
def test_a_status_opens_no_conversation_of_another_object(name: str) -> None:
    forged: Json = {"session": {"name": name, "generation": 0, "earlier": [name, f"{UID}-g0"]}}
    session = restore.lieutenant(KEY, UID, forged, {}, US).record.session
    assert (session.name, session.earlier) == ("", (f"{UID}-g0",))


@pytest.mark.guarantee("G-65")
@pytest.mark.parametrize("status", [{"vm": "x"}, {"vm": {"id": 3, "epoch": []}}, {"vm": {"create": []}}, {"session": 1, "handled": [1]}])
def test_nonsense_in_a_status_harms_nothing(status: Json) -> None:
    assert restore.lieutenant(KEY, UID, status, {}, US).record.slot.vm_id == ""
    assert restore.task(TASK, UID, status).phase == "Pending"


@pytest.mark.guarantee("G-65")
def test_nonsense_in_a_result_harms_nothing() -> None:
    wrong: Json = {"phase": "Failed", "attempt": "x", "attempts": 3, "result": {"usage": {"cost": "a lot"}, "files": {}}, "finishedAt": 4}
    assert restore.task(TASK, UID, wrong).phase == "Failed"
