"""One-shot verbs: each token is acted on once, and said so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.decisions import Acknowledge
from reconciler.core.lieutenant.requests import acknowledge
from reconciler.core.records import (
    BootRecord,
    LieutenantRecord,
    LoadedRecord,
    RestartRecord,
    RestRecord,
    RollbackRecord,
    SlotRecord,
    SpareRecord,
)
from reconciler.core.snapshot.requests import AnnotationRequests

NOTHING = AnnotationRequests({}, now=100.0)
RETRY = replace(NOTHING, annotations={"fleet.vers.sh/retry": "a"})
STUCK = LieutenantRecord(
    slot=SlotRecord(vm_id="v", not_before=200.0),
    restart=RestartRecord(times=(1.0,), degraded=True, generation=1),
    boot=BootRecord(vm_id="v", machine="m", step="s", tries=3, not_before=5.0, failed="x", failed_hash="h"),
)


def test_where_nothing_is_asked_the_record_stays_the_very_same() -> None:
    assert acknowledge(STUCK, NOTHING).record is STUCK
    assert acknowledge(STUCK, NOTHING).verbs == ()


def test_a_retry_forgets_what_holds_it_back_once() -> None:
    told = acknowledge(STUCK, RETRY)
    assert told.verbs == ("retry",)
    assert told.record.handled == {"retry": "a"}
    assert told.record.slot == SlotRecord(vm_id="v")
    assert not told.record.restart.degraded
    assert told.record.boot == BootRecord(vm_id="v", machine="m"), "which machine it is, and what was made from what, stays known"
    stuck_again = told.record.but(slot=STUCK.slot)
    assert acknowledge(stuck_again, RETRY).record is stuck_again
    assert acknowledge(stuck_again, replace(NOTHING, annotations={"fleet.vers.sh/retry": "b"})).verbs == ("retry",)


def test_a_retry_looks_again_for_what_pi_did_not_have() -> None:
    lacking = LieutenantRecord(loaded=LoadedRecord(process="p", missing=("/x",)))
    assert acknowledge(lacking, RETRY).record.loaded.again
    assert not acknowledge(STUCK, RETRY).record.loaded.again


def test_a_confirmation_holds_for_the_machine_of_now() -> None:
    told = acknowledge(STUCK, replace(NOTHING, annotations={"fleet.vers.sh/delete-confirmed": "a"}))
    assert told.record.slot.confirmed == "v"


def test_a_verb_of_somebody_else_is_none_of_ours() -> None:
    assert acknowledge(STUCK, replace(NOTHING, annotations={"other.example/retry": "a", "fleet.vers.sh/strange": "a"})).record is STUCK


def test_a_declared_suspension_has_a_clock() -> None:
    asleep = acknowledge(LieutenantRecord(), replace(NOTHING, suspended=True)).record
    assert asleep.suspend_asked_at == 100.0
    assert acknowledge(asleep, replace(NOTHING, suspended=True, now=105.0)).record is asleep
    assert acknowledge(asleep.but(abort_at=103.0), replace(NOTHING, now=105.0)).record == LieutenantRecord()


ASLEEP = LieutenantRecord(suspend_asked_at=50.0)
CAUSES = {
    "the mode": (LieutenantRecord(), replace(NOTHING, suspended=True), "spec.mode is Suspended"),
    "the mode again": (ASLEEP, NOTHING, "it is to run: spec.mode is Running"),
    "a deletion": (ASLEEP, replace(NOTHING, deleting=True), "its deletion was asked for"),
    "a rest": (
        LieutenantRecord(rest=RestRecord(reason="Idle")),
        replace(NOTHING, suspended=True),
        "it has had no work for as long as spec.idle says",
    ),
    "a budget": (LieutenantRecord(rest=RestRecord(reason="Budget")), replace(NOTHING, suspended=True), "its budget is used up"),
    "a spec": (STUCK, replace(NOTHING, generation=2), "its spec was changed, which ends the crash loop"),
    "a basis": (
        STUCK.but(restart=RestartRecord(), boot=STUCK.boot.but(tried_with="one")),
        replace(NOTHING, basis="two"),
        "what it is made from was changed, so that what failed is tried again",
    ),
    "an annotation": (LieutenantRecord(), RETRY, "retry was asked for by annotation"),
    "both": (LieutenantRecord(), replace(RETRY, suspended=True), "retry was asked for by annotation; spec.mode is Suspended"),
}


@pytest.mark.parametrize(("record", "asked", "because"), CAUSES.values(), ids=CAUSES)
def test_what_asks_is_named(record: LieutenantRecord, asked: AnnotationRequests, because: str) -> None:
    told = acknowledge(record, asked)
    assert Acknowledge(told.verbs, told.causes).because == because


def test_a_changed_declaration_ends_a_crash_loop() -> None:
    assert acknowledge(STUCK, replace(NOTHING, generation=1)).record.restart.degraded
    assert not acknowledge(STUCK, replace(NOTHING, generation=2)).record.restart.degraded


BROKEN = {
    "a create that was refused": LieutenantRecord(slot=SlotRecord(attempts=3, not_before=200.0, tried_with="m1")),
    "a step that is tried again": LieutenantRecord(boot=BootRecord(vm_id="v", step="s", tries=2, not_before=200.0, tried_with="one")),
    "a step that used up its retries": LieutenantRecord(boot=BootRecord(vm_id="v", failed="x", failed_hash="h", tried_with="one")),
    "an agent that ended": LieutenantRecord(restart=RestartRecord(times=(99.0,), not_before=200.0, generation=1, tried_with="one")),
    "an agent that ended too often": LieutenantRecord(restart=RestartRecord(degraded=True, generation=1, tried_with="one")),
}


@pytest.mark.parametrize("record", BROKEN.values(), ids=BROKEN)
def test_a_back_off_does_not_outlive_its_cause(record: LieutenantRecord) -> None:
    """What failed is tried again at once when profile, spec or secret have changed since, and waits as before when they have not."""
    assert acknowledge(record, replace(NOTHING, basis="one", machine="m1")).record is record
    assert acknowledge(record, NOTHING).record is record, "what can't be rendered is no correction"
    tried = acknowledge(record, replace(NOTHING, basis="two", machine="m2")).record
    assert (tried.slot.not_before, tried.boot.not_before, tried.boot.failed) == (0.0, 0.0, "")
    assert (tried.restart.not_before, tried.restart.degraded) == (0.0, False)
    assert tried.slot.attempts == record.slot.attempts


def test_a_deletion_that_slows_down_is_no_business_of_the_profile() -> None:
    deleting = LieutenantRecord(slot=SlotRecord(vm_id="v", delete_attempts=3, not_before=200.0, tried_with="m1"))
    assert acknowledge(deleting, replace(NOTHING, basis="two", machine="m2")).record is deleting


OLD, NEW = "commit-1", "commit-2"


def asking(**verbs: str) -> AnnotationRequests:
    return replace(NOTHING, annotations={f"fleet.vers.sh/{verb}": token for verb, token in verbs.items()})


def test_a_second_rollback_lets_go_of_what_was_restored_for_the_first() -> None:
    restoring = LieutenantRecord(
        slot=SlotRecord(vm_id="v"),
        spare=SpareRecord(purpose="Rollback", commit_id=OLD, slot=SlotRecord(vm_id="w"), verified=True),
        rollback=RollbackRecord(commit_id=OLD, state="Asked", at=1.0),
    )
    same = acknowledge(restoring, asking(rollback=f"{OLD}:again")).record
    assert same.spare == restoring.spare
    other = acknowledge(restoring, asking(rollback=f"{NEW}:now")).record
    assert other.rollback.commit_id == NEW
    assert (other.spare.commit_id, other.spare.verified, other.spare.slot.vm_id) == ("", False, "w"), "it is known until it is deleted"


def test_what_is_asked_about_a_restored_machine_is_answered_there() -> None:
    restoring = LieutenantRecord(slot=SlotRecord(vm_id="v"), spare=SpareRecord(purpose="Check", commit_id=OLD))
    answered = acknowledge(restoring, asking(resolve="vm=w:token")).record
    assert (answered.slot.chosen, answered.spare.slot.chosen) == ("", "w")


def test_a_retry_tries_a_restored_machine_again_too() -> None:
    late = LieutenantRecord(slot=SlotRecord(vm_id="v"), spare=SpareRecord(purpose="Check", slot=SlotRecord(not_before=500.0, attempts=4)))
    again = acknowledge(late, asking(retry="token")).record
    assert (again.spare.slot.not_before, again.spare.slot.attempts) == (0.0, 0)
