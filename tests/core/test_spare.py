"""The machine beside the first one: a snapshot that is looked at, or gone back to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.decisions import (
    AcceptSpare,
    Create,
    Decision,
    FinishSpare,
    MarkForDeletion,
    RefuseRollback,
    RejectSpare,
    SpareAction,
    StartSpare,
    Steady,
    StopAgent,
    SwapMachines,
    TakeSnapshot,
    UseSpare,
    Wait,
)
from reconciler.core.lieutenant import spare
from reconciler.core.lieutenant.afterwards import after_spare
from reconciler.core.lieutenant.spare import back, go_back, swapped
from reconciler.core.records import (
    CommitRecord,
    LieutenantRecord,
    ReplacementRecord,
    RollbackRecord,
    SessionRecord,
    SlotRecord,
    SpareRecord,
    StandRecord,
)
from reconciler.core.snapshot.agent import Guest, NotStarted
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import DesiredState, Slot, SnapshotPolicy, SnapshotSeen
from reconciler.core.snapshot.spare import Spare
from reconciler.core.snapshot.vm import Seen, Unknown, VmState
from tests.core.views import FILLED, GUEST, NOW, OTHER, RUNNING, UP, VM, agent

COMMIT = CommitRecord(commit_id="c", vm_id=VM, seals=(f"{VM}/1",), taken_at=NOW - 100, conversation="u-g1")
MADE = Slot(DesiredState.RUNNING, SlotRecord(vm_id=OTHER, account="mine", epoch=1), Seen(VmState.RUNNING), account="mine", now=NOW)
BARE = replace(MADE, record=SlotRecord(), vm=FILLED.vm)


def having(commits: tuple[CommitRecord, ...] = (COMMIT,), slot: Slot = FILLED, **record: object) -> LieutenantView:
    kept = replace(slot, record=slot.record.but(commits=commits), snapshot=SnapshotSeen())
    return RUNNING.but(slot=kept, record=RUNNING.record.but(slot=kept.record, **record), spare=Spare(verify="Sampled"))


def beside(made: Slot | None, guest: Guest | Unknown | None = None, silent_since: float = NOW, **record: object) -> LieutenantView:
    doing = SpareRecord(purpose="Check", commit_id="c").but(**record)
    return having(spare=doing).but(spare=Spare(made, guest, "Sampled", silent_since=silent_since))


ASKED = RollbackRecord(commit_id="c", state="Asked")
READY = having(rollback=ASKED, spare=SpareRecord(purpose="Rollback", commit_id="c", verified=True)).but(spare=Spare(MADE))
SCENARIOS: dict[str, tuple[LieutenantView, Decision | None]] = {
    "the first one is looked at": (having(), StartSpare("Check", "c")),
    "not a second time": (having((COMMIT.but(check="Restored"),)), None),
    "nor the next one": (having((COMMIT.but(check="Restored"), COMMIT.but(commit_id="d"))), None),
    "but the tenth since is": (
        having((COMMIT.but(check="Restored"), COMMIT.but(commit_id="d")), replace(FILLED, record=FILLED.record.but(unchecked=10))),
        StartSpare("Check", "d"),
    ),
    "none where that is declared": (having().but(spare=Spare(verify="None")), None),
    "each where that is": (
        having((COMMIT.but(check="Failed"), COMMIT.but(commit_id="d"))).but(spare=Spare(verify="All")),
        StartSpare("Check", "d"),
    ),
    "none while there is no room": (having().but(spare=Spare(verify="All", blocked="full")), None),
    "none of a lieutenant that goes": (having(slot=replace(FILLED, desired=DesiredState.GONE)), None),
    "nothing where nothing may be changed": (having(slot=replace(FILLED, observe_only=True)), None),
    "none while its machine is replaced": (having(replacement=ReplacementRecord(state="Making")), None),
    "nor does it go back then": (having(rollback=ASKED, replacement=ReplacementRecord(state="Taken")), None),
    "a look that finds no room is given up": (beside(BARE).but(spare=Spare(BARE, None, "Sampled", "full")), FinishSpare()),
    "a way back is not": (
        beside(replace(BARE, blocked="full"), purpose="Rollback").but(spare=Spare(replace(BARE, blocked="full"), None, "Sampled", "full")),
        Wait("PlatformBlocked", "full"),
    ),
    "what a person asks for comes first": (having(rollback=ASKED), StartSpare("Rollback", "c")),
    "a commit that is not ours is refused": (
        having((), rollback=ASKED),
        RefuseRollback("commit c is no snapshot that was taken of this lieutenant; `reconciler get commits` lists those"),
    ),
    "one that is gone is": (
        having((COMMIT.but(missing_since=NOW),), rollback=ASKED),
        RefuseRollback("the platform does not list commit c any more"),
    ),
    "one that is no good is": (
        having((COMMIT.but(check="Failed", check_error="no"),), rollback=ASKED),
        RefuseRollback("commit c can't be restored: no"),
    ),
    "a protected machine is not given up": (
        having(slot=replace(FILLED, protected=True), rollback=ASKED),
        RefuseRollback(f"VM {VM} is protected; confirm with the annotation fleet.vers.sh/delete-confirmed"),
    ),
    "nor one that may not be deleted": (
        having(slot=replace(FILLED, no_delete=True), rollback=ASKED),
        RefuseRollback("managementPolicy NoDelete keeps the machine that would be replaced"),
    ),
    "the other machine is made": (beside(BARE), UseSpare(Create(1))),
    "given up when that is refused again and again": (
        beside(replace(BARE, record=SlotRecord(attempts=3, last_error="damaged"))),
        RejectSpare("c", "damaged"),
    ),
    "waited for while it does not answer": (
        beside(MADE, Unknown("no route")),
        Wait("GuestUnreachable", "the restored machine does not answer yet"),
    ),
    "not for ever": (
        beside(MADE, Unknown("no route"), silent_since=NOW - 301),
        RejectSpare("c", "the restored machine does not answer: no route"),
    ),
    "no good when it dies": (beside(replace(MADE, vm=Seen(VmState.DEAD))), RejectSpare("c", "the restored machine died", OTHER)),
    "no good when it is another's disk": (
        beside(MADE, replace(GUEST, claim={"uid": "u", "vm-id": "x"})),
        RejectSpare("c", f"its claim file names VM x instead of {VM}"),
    ),
    "good when it is what was committed": (beside(MADE, GUEST), AcceptSpare("c")),
    "then it goes": (
        beside(replace(MADE, desired=DesiredState.GONE), commit_id=""),
        UseSpare(MarkForDeletion(OTHER, "its object was deleted", "Deleted")),
    ),
    "until nothing is left": (beside(replace(BARE, desired=DesiredState.GONE), commit_id=""), FinishSpare()),
    "it stays where the agent is to go on": (READY, Steady()),
}


@pytest.mark.guarantee("G-11")
@pytest.mark.parametrize("name", SCENARIOS)
def test_beside_the_first_machine(name: str) -> None:
    view, decided = SCENARIOS[name]
    assert spare.plan(view, resting=True) == decided


MOVES: dict[str, tuple[LieutenantView, Decision | None]] = {
    "pi is stopped first": (READY, StopAgent(VM, "it goes back to commit c")),
    "never in a turn": (READY.but(agent=agent(replace(UP, busy=True))), None),
    "nor while a task is sent": (READY.but(active_task=True), None),
    "nor while its state is not known": (READY.but(agent=Unknown("no answer")), None),
    "nor before the other machine was looked at": (
        READY.but(record=READY.record.but(spare=READY.record.spare.but(verified=False))),
        None,
    ),
    "nor while it stands still to be copied": (READY.but(record=READY.record.but(stand=StandRecord(vm_id=VM, since=NOW))), None),
    "nor when that is gone": (READY.but(spare=Spare(None)), None),
    "the conversation is saved first": (
        READY.but(agent=agent(NotStarted()), slot=replace(READY.slot, mirrored=False)),
        Wait("SavingSession", "the conversation is saved before the machine is replaced", until=NOW + 1.0),
    ),
    "then they change places": (READY.but(agent=agent(NotStarted())), SwapMachines("c")),
    "a dead one is left at once": (READY.but(slot=replace(READY.slot, vm=Seen(VmState.DEAD)), agent=None), SwapMachines("c")),
    "its state is committed first where that is declared": (
        READY.but(slot=replace(READY.slot, snapshots=SnapshotPolicy(before_mutate=True))),
        TakeSnapshot(VM, "Mutated"),
    ),
}


@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("name", MOVES)
def test_the_two_change_places(name: str) -> None:
    view, decided = MOVES[name]
    assert go_back(view) == decided


@pytest.mark.guarantee("G-14")
def test_after_the_change_each_machine_is_in_one_slot_and_the_one_that_was_left_goes() -> None:
    session = SessionRecord(name="u-g2", generation=2)
    before = LieutenantRecord(
        slot=SlotRecord(vm_id=VM, account="mine", epoch=7, commits=(COMMIT,), confirmed=VM),
        spare=SpareRecord(slot=SlotRecord(vm_id=OTHER, account="mine", epoch=1), purpose="Rollback", commit_id="c", verified=True),
        session=session,
    )
    after = swapped(before, COMMIT, NOW)
    assert (after.slot.vm_id, after.slot.epoch, after.slot.filled, after.slot.commits) == (OTHER, 8, 8, (COMMIT,))
    assert (after.slot.seals, after.slot.restored_from) == (COMMIT.seals, "c")
    assert (after.spare.slot.vm_id, after.spare.slot.marked_for_deletion, after.spare.commit_id) == (VM, True, "")
    assert after.rollback.state == "Done"
    gone_back = back(session, "u", COMMIT)
    assert gone_back.name not in ("", "u-g2")
    assert (gone_back.file, gone_back.earlier) == ("u-g1", ("u-g2",))


@pytest.mark.parametrize("asked", [ASKED, RollbackRecord()], ids=["back to a snapshot", "a look at one"])
def test_a_plan_of_it_comes_to_rest(asked: RollbackRecord) -> None:
    view = having(rollback=asked)
    for _ in range(5):
        decided = spare.plan(view, resting=True)
        if decided is None:
            return
        assert isinstance(decided, SpareAction)
        view = after_spare(view, decided)
    raise AssertionError("it never ends")
