"""Replacing a machine that works, as a table of promises: which of two machines does what, when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import (
    AtNext,
    BeginReplacement,
    CarryOver,
    ClearSlot,
    ConfirmReplacement,
    Create,
    Decision,
    Delete,
    Detach,
    DropReplacement,
    EndReplacement,
    FenceReplacement,
    GiveUpIntent,
    Install,
    LabelClaim,
    MarkForDeletion,
    Refuse,
    Release,
    RestAgent,
    ReturnToOld,
    RunVerify,
    StartAgent,
    Steady,
    StopAgent,
    Suspend,
    TakeNext,
    TakeSnapshot,
    Wait,
)
from reconciler.core.lieutenant.changeover import change_places
from reconciler.core.lieutenant.policies import STAGES, plan
from reconciler.core.lieutenant.preparation import step_mark
from reconciler.core.lieutenant.replacement import BESIDE, PATIENCE, in_words, wanted
from reconciler.core.records import (
    BootRecord,
    CommitRecord,
    LieutenantRecord,
    ReplacementRecord,
    RestartRecord,
    RollbackRecord,
    SlotRecord,
    SnapshotRecord,
    SpareRecord,
    StandRecord,
)
from reconciler.core.snapshot.agent import Exited, NotStarted
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.core.snapshot.replacement import NextMachine
from reconciler.core.snapshot.session import Divergence
from reconciler.core.snapshot.slot import GONE, DesiredState, EffectiveDeletion, Held, OpenIntent, Slot, SnapshotPolicy, SnapshotSeen
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, VmState
from tests.core.views import EMPTY, FILLED, MARKS, NOW, OTHER, RENDERED, UP, VM, agent, decider, guest, lieutenant

OLDER = guest(marks={**MARKS, "prepared": "older"})
IDLE = agent(NotStarted())
BUSY = agent(replace(UP, busy=True))
STEADY = Steady(until=NOW + 10)
WHY = "its profile changed after it was prepared"
THERE = {"uid": "u", "node": "next", "vm-id": OTHER}
CHECKED = {"files": RENDERED.files_hash, **dict([step_mark(RENDERED.steps[0])])}
READY = guest(claim=THERE)
FRESH = guest(claim=THERE, marks={})
NEW = Slot(DesiredState.RUNNING, SlotRecord(vm_id=OTHER, account="mine", epoch=2), Seen(VmState.RUNNING), account="mine", now=NOW)
NONE_YET = replace(NEW, record=SlotRecord(epoch=1), vm=GONE)
OLD = replace(FILLED, record=FILLED.record.but(epoch=1))
MARKED = replace(OLD, record=OLD.record.but(marked_for_deletion=True))
DIVERGED = (
    f"0 bytes on {VM}, 9 in the mirror, the same up to byte 0; `reconciler resolve lieutenant api --session vm|local` says which goes on"
)
DELETING = Wait("Deleting", "the machine that was to replace it, or that it replaced, goes first")
BEGIN = "Recreate makes another machine while VM"
TRIED = SlotRecord(epoch=1, tried_with="x")


def outdated(**changes: object) -> LieutenantView:
    return lieutenant(guest=OLDER, recreate=True).but(**changes)


def other(slot: Slot = NEW, **inside: object) -> NextMachine:
    return NextMachine(slot, THERE, **inside)  # type: ignore[arg-type]


def making(new: Slot = NEW, /, **changes: object) -> LieutenantView:
    """The outdated machine works, the other one is made."""
    told = {name: changes.pop(name) for name in list(changes) if name in ReplacementRecord.model_fields}
    inside = {name: changes.pop(f"next_{name}") for name in ("guest", "agent") if f"next_{name}" in changes}
    slot = changes.get("slot", FILLED)
    assert isinstance(slot, Slot)
    record = ReplacementRecord(state="Making", made_for=wanted(RENDERED), at=NOW).but(**told)
    view = outdated(next=other(new, **inside), **changes)
    own = view.record.but(replacement=record, next=new.record, slot=slot.record)
    return view.but(record=own)


def verified(**changes: object) -> LieutenantView:
    return making(**{"next_guest": READY, "next_agent": IDLE, **changes})


def taken(old: Slot = OLD, state: str = "Taken", **changes: object) -> LieutenantView:
    """They have changed places: the new one is in the slot, the old one beside it."""
    told = {name: changes.pop(name) for name in list(changes) if name in ReplacementRecord.model_fields}
    record = LieutenantRecord(next=old.record, replacement=ReplacementRecord(state=state, at=NOW).but(**told))
    slot = changes.pop("slot", NEW)
    assert isinstance(slot, Slot)
    restart = changes.pop("restart", RestartRecord())
    view = lieutenant(guest=guest(claim=THERE), claim=THERE, next=NextMachine(old, {"uid": "u", "vm-id": VM}), recreate=True)
    return view.but(slot=slot, record=record.but(slot=slot.record, restart=restart)).but(**changes)


def gone(slot: Slot, **changes: object) -> Slot:
    return replace(slot, desired=DesiredState.GONE, **changes)  # type: ignore[arg-type]


def beside(action: object, meanwhile: str = "") -> AtNext:
    return AtNext(action, Wait("Replacing", meanwhile))  # type: ignore[arg-type]


SCENARIOS: dict[str, tuple[LieutenantView, Decision]] = {
    # --- it begins
    "an outdated machine stays": (lieutenant(guest=OLDER), STEADY),
    "with Recreate another one is begun": (outdated(), BeginReplacement(VM, wanted(RENDERED), in_words(outdated().lt, WHY, False))),
    "also while it works": (outdated(agent=BUSY), BeginReplacement(VM, wanted(RENDERED), in_words(outdated().lt, WHY, False))),
    "not when it is protected": (outdated(slot=replace(FILLED, protected=True)), STEADY),
    "nor when it was adopted": (outdated(slot=replace(FILLED, record=FILLED.record.but(adopted=VM))), STEADY),
    "nor when no VM is ever deleted": (outdated(slot=replace(FILLED, no_delete=True)), STEADY),
    "nor while the platform may have no room": (outdated(no_room="full"), STEADY),
    "unless it may be replaced in place": (
        outdated(no_room="full", in_place=True),
        BeginReplacement(VM, wanted(RENDERED), in_words(outdated().lt, WHY, True)),
    ),
    "nor while many VMs are missing, in place neither": (outdated(replace_blocked="missing", in_place=True), STEADY),
    "nor while whoever owns it holds it back": (outdated(rollout="another one is being replaced"), STEADY),
    "nor with what is not acted on": (outdated(unsupported=("spec.budget",)), STEADY),
    "nor when what is declared has failed": (
        outdated(record=LieutenantRecord(slot=FILLED.record, replacement=ReplacementRecord(failed="no", failed_with=RENDERED.basis))),
        STEADY,
    ),
    "nor when it is only observed": (outdated(slot=replace(FILLED, observe_only=True)), STEADY),
    # --- the other one is made
    "the other one is made": (making(NONE_YET), beside(Create(1), "The other machine: it is declared, and there is no machine for it")),
    "its work goes on meanwhile, and so does what it waits for": (
        making(NONE_YET, agent=agent(replace(UP, responsive=False))),
        AtNext(Create(1), Wait("AgentUnresponsive", "pi (pid 100) does not answer", until=NOW + 10)),
    ),
    "a create without an answer is waited for": (
        making(replace(NONE_YET, intent=OpenIntent("t", settled=False, candidates=()))),
        STEADY,
    ),
    "and given up when it left nothing": (
        making(replace(NONE_YET, intent=OpenIntent("t", settled=True, candidates=()))),
        beside(GiveUpIntent("t"), "The other machine: nothing has appeared of its creation"),
    ),
    "without room it works on": (making(replace(NONE_YET, blocked="full"), no_room="full"), STEADY),
    "it is claimed": (
        making(replace(NEW, vm=Seen(VmState.RUNNING, claimed=False))),
        beside(LabelClaim(OTHER), f"VM {OTHER}: The machine is marked as ours"),
    ),
    "while it boots that is told": (
        making(replace(NEW, vm=Seen(VmState.BOOTING))),
        Wait("Replacing", f"VM {OTHER} is made ready to take the place of VM {VM}: VM {OTHER} is booting", until=NOW + 0.5),
    ),
    "it gets node, pi and keeper": (
        making(next_guest=guest(claim=THERE, pi=None)),
        beside(Install(OTHER), f"VM {OTHER}: Node, pi and the keeper are being installed"),
    ),
    "and is prepared and checked": (
        making(next_guest=guest(claim=THERE, marks=CHECKED), next_agent=IDLE),
        beside(RunVerify(OTHER, "works"), f"VM {OTHER}: check works"),
    ),
    "one that fails its check goes": (
        making(
            next_guest=guest(claim=THERE, marks=CHECKED),
            next_agent=IDLE,
            boot=BootRecord(vm_id=OTHER, failed="check works: no", failed_hash=RENDERED.profile_hash),
        ),
        DropReplacement("check works: no", failed=True),
    ),
    "one that can't be reached for long too": (
        making(next_guest=Unknown("no answer"), at=NOW - PATIENCE),
        DropReplacement(f"VM {OTHER} could not be reached within {PATIENCE:.0f} s", failed=True),
    ),
    "and one in which too much fails": (making(tries=5, trouble="no space left"), DropReplacement("no space left", failed=True)),
    "after a failure there is a pause": (
        making(tries=1, trouble="no answer", not_before=NOW + 4),
        Wait("Replacing", f"VM {OTHER} is made ready to take the place of VM {VM}: no answer", until=NOW + 4),
    ),
    "one that the platform refuses to make again and again is given up": (
        making(replace(NONE_YET, record=SlotRecord(epoch=6, attempts=5, last_error="no such image"))),
        DropReplacement("no such image", failed=True),
    ),
    # --- it is not wanted any more
    "it goes when the profile changed again": (making(made_for="another"), DropReplacement("the profile changed again")),
    "or back": (making(guest=guest()), DropReplacement(f"VM {VM} is as its profile says")),
    "or nothing is to be replaced": (making(recreate=False), DropReplacement("update.onProfileChange is not Recreate any more")),
    "or the old one is protected now": (
        making(slot=replace(FILLED, protected=True)),
        DropReplacement(f"VM {VM} is protected; confirm with the annotation fleet.vers.sh/delete-confirmed"),
    ),
    "not while that can't be said": (
        making(rendered=Unresolved("SecretNotFound", "no key"), next_guest=READY, next_agent=IDLE),
        STEADY,
    ),
    "it goes before its lieutenant sleeps": (
        making(slot=replace(FILLED, desired=DesiredState.SUSPENDED, vm=Seen(VmState.SUSPENDED)), guest=None, agent=None),
        DropReplacement("it is to be suspended"),
    ),
    "which is suspended first": (making(slot=replace(FILLED, desired=DesiredState.SUSPENDED)), Suspend(VM)),
    # --- they change places
    "a verified one waits while the agent works": (
        verified(agent=BUSY),
        Wait("Replacing", f"VM {OTHER} is verified; it takes the place of VM {VM} when the agent is settled", until=NOW + 1),
    ),
    "and between the turns of a task": (
        verified(active_task=True),
        Wait("Replacing", f"VM {OTHER} is verified; it takes the place of VM {VM} when the agent is settled", until=NOW + 1),
    ),
    "then pi is stopped": (verified(), RestAgent(VM, f"moving to VM {OTHER}")),
    "what was not saved is saved": (
        verified(agent=IDLE, slot=replace(FILLED, mirrored=False)),
        Wait("SavingSession", "the conversation is saved before the machine is replaced", until=NOW + 1),
    ),
    "then the old one is fenced off": (verified(agent=IDLE), FenceReplacement(VM)),
    "then everything is carried over": (
        verified(agent=IDLE, fenced=1),
        CarryOver(OTHER, f"conversation and workspace /root/workspace go from VM {VM} to VM {OTHER}"),
    ),
    "two ends that differ are a person's to judge first": (
        verified(agent=IDLE, fenced=1, divergence=Divergence(0, 0, 9)),
        Refuse(
            "SessionDiverged",
            DIVERGED,
        ),
    ),
    "a changed launch waits for the new machine": (
        verified(agent=agent(replace(UP, launch_hash="older")), active_task=True),
        Wait("Replacing", f"VM {OTHER} is verified; it takes the place of VM {VM} when the agent is settled", until=NOW + 1),
    ),
    # --- in place
    "in place, when its own create had no room: pi is stopped": (
        making(replace(NONE_YET, record=TRIED, blocked="full"), no_room="full", in_place=True),
        StopAgent(VM, f"full; onNoRoom InPlace deletes VM {VM} with its workspace /root/workspace, then makes another"),
    ),
    "then the old one goes": (
        making(replace(NONE_YET, record=TRIED, blocked="full"), no_room="full", in_place=True, agent=IDLE),
        MarkForDeletion(VM, f"full; onNoRoom InPlace deletes VM {VM} with its workspace /root/workspace, then makes another", "Outdated"),
    ),
    "or when a limit leaves no room": (
        making(replace(NONE_YET, no_room=Held(TreeReason.CAPACITY, "3 of 3")), in_place=True, agent=IDLE),
        MarkForDeletion(VM, f"3 of 3; onNoRoom InPlace deletes VM {VM} with its workspace /root/workspace, then makes another", "Outdated"),
    ),
    "not while the fleet is halted": (making(replace(NONE_YET, no_room=Held(TreeReason.HALTED, "halted")), in_place=True), STEADY),
    "nor then because the platform had refused one": (
        making(replace(NONE_YET, record=TRIED, no_room=Held(TreeReason.HALTED, "halted")), no_room="full", in_place=True),
        STEADY,
    ),
    "without room by a limit it works on": (making(replace(NONE_YET, no_room=Held(TreeReason.CAPACITY, "3 of 3"))), STEADY),
    "not before it was tried": (making(replace(NONE_YET, blocked="full"), no_room="full", in_place=True), STEADY),
    "nor while it works": (making(replace(NONE_YET, record=TRIED, blocked="full"), no_room="full", in_place=True, agent=BUSY), STEADY),
    # --- the new one is judged
    "pi is started on the new one": (taken(agent=IDLE), StartAgent(OTHER)),
    "when it answers there is no way back": (taken(), ConfirmReplacement(VM)),
    "a dead one gives its place back": (
        taken(slot=replace(NEW, vm=Seen(VmState.DEAD)), agent=None),
        ReturnToOld(OTHER, f"VM {OTHER} is dead"),
    ),
    "and one that is gone": (taken(slot=replace(NEW, vm=Absent(proven=True)), agent=None), ReturnToOld(OTHER, f"VM {OTHER} is gone")),
    "not one that is missing from one list": (
        taken(slot=replace(NEW, vm=Absent(proven=False)), agent=None),
        Wait("VMMissing", f"VM {OTHER} is not in the last list; looking again"),
    ),
    "one on which pi ends again and again": (
        taken(
            agent=agent(Exited(5.0, 1, None, "x", "")), restart=RestartRecord(times=(1.0, 2.0, 3.0), crash_at=5.0, stderr_tail="no library")
        ),
        ReturnToOld(OTHER, f"pi ended 3 times on VM {OTHER}: no library"),
    ),
    "or does not answer for long": (
        taken(agent=None, at=NOW - PATIENCE),
        ReturnToOld(OTHER, f"pi has not answered on VM {OTHER} within {PATIENCE:.0f} s"),
    ),
    "when the old one is lost there is nothing to return to": (
        taken(replace(OLD, vm=Absent(proven=True)), agent=IDLE, at=NOW - PATIENCE),
        StartAgent(OTHER),
    ),
    "to sleep it goes back": (
        taken(agent=IDLE, slot=replace(NEW, desired=DesiredState.SUSPENDED)),
        ReturnToOld(OTHER, "it is to be suspended before pi has answered on the new machine", failed=False),
    ),
    # --- one of them goes
    "the old one goes when pi has answered": (
        taken(state="Confirmed"),
        beside(
            MarkForDeletion(VM, f"VM {OTHER} has taken its place, with conversation and workspace", "Outdated"),
            f"VM {VM}: VM {OTHER} has taken its place, with conversation and workspace",
        ),
    ),
    "not when it has become protected": (taken(state="Confirmed", slot=replace(NEW, protected=True)), STEADY),
    "it is deleted": (
        taken(MARKED, "Confirmed"),
        beside(Delete(VM), f"VM {VM}: its machine was marked for deletion"),
    ),
    "until that is proven": (
        taken(replace(MARKED, vm=Absent(proven=True)), "Confirmed"),
        beside(ClearSlot(VM), f"VM {VM}: The machine is proven to be gone"),
    ),
    "one that somebody else claims is let go of": (
        taken(replace(OLD, vm=Seen(VmState.RUNNING, claimed_by="fleet x")), "Confirmed"),
        beside(Detach(VM, "Leave", "it is claimed by fleet x"), f"VM {VM}: it is claimed by fleet x"),
    ),
    "an unreadable one is waited for": (
        taken(replace(OLD, vm=Unknown("503")), "Dropping"),
        Wait("Replacing", "the other machine goes: 503"),
    ),
    "without one it is over": (taken(replace(NONE_YET), "Dropping"), EndReplacement()),
    "pi is not started on the old one before the new one is gone": (
        taken(state="Returned", agent=IDLE, failed="it is mute"),
        AtNext(
            MarkForDeletion(VM, "it is mute", "Unused"),
            Wait("StartingAgent", f"VM {VM}, which did not work, goes before pi is started again", until=NOW + 1),
        ),
    ),
    "or can't run any more": (taken(replace(OLD, vm=Seen(VmState.DEAD)), "Returned", agent=IDLE), StartAgent(OTHER)),
    # --- the old one is lost
    "when the old one is gone the other one takes its place": (
        making(slot=EMPTY, guest=None, agent=None),
        TakeNext(OTHER),
    ),
    "also without room for more": (making(slot=replace(EMPTY, blocked="full"), guest=None, agent=None), TakeNext(OTHER)),
    "also where a limit leaves no room for more": (
        making(slot=replace(EMPTY, no_room=Held(TreeReason.CAPACITY, "3 of 3")), guest=None, agent=None),
        TakeNext(OTHER),
    ),
    "one on its way is looked for first": (
        making(replace(NONE_YET, intent=OpenIntent("t", settled=True, candidates=())), slot=EMPTY, guest=None, agent=None),
        AtNext(GiveUpIntent("t"), Wait("CreatingVM", "looking for the other machine first")),
    ),
    "without one a machine is made as ever": (making(NONE_YET, slot=EMPTY, guest=None, agent=None), EndReplacement()),
    # --- the lieutenant goes
    "a deleted lieutenant takes the other one with it": (
        making(slot=gone(FILLED)),
        AtNext(MarkForDeletion(OTHER, "its object was deleted", "Deleted"), DELETING),
    ),
    "then its own": (
        making(replace(NONE_YET), slot=gone(FILLED)),
        EndReplacement(),
    ),
    "it is not gone before both are": (
        making(replace(NEW, record=NEW.record.but(marked_for_deletion=True, delete_attempts=1, not_before=NOW + 5)), slot=gone(EMPTY)),
        Wait("Deleting", f"VM {OTHER}: deletion was accepted; waiting until the platform shows it gone", until=NOW + 5),
    ),
    "then it is": (lieutenant(gone(EMPTY), guest=None, agent=None), Release()),
    "a protected one keeps both": (
        taken(slot=gone(NEW, protected=True)),
        Refuse(
            "Protected", f"VM {OTHER} is protected from deletion; a new token in its annotation fleet.vers.sh/delete-confirmed lets it go"
        ),
    ),
    "one that is only observed lets go of both": (
        making(slot=gone(FILLED, observe_only=True, deletion=EffectiveDeletion.LEAVE)),
        EndReplacement(OTHER),
    ),
}


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    view, expected = SCENARIOS[name]
    assert plan(view) == expected


def test_every_policy_beside_decides_in_some_scenario() -> None:
    deciding = {decider(BESIDE, view) for view, _ in SCENARIOS.values()}
    assert {policy.__name__ for policy in BESIDE.leaves()} - deciding == set()


def test_the_policies_of_the_stages_decide_too() -> None:
    deciding = {decider(STAGES, view) for view, _ in SCENARIOS.values()}
    assert {"see_to_the_other_machine", "change_places"} <= deciding


def test_machines_change_places_and_back() -> None:
    first = LieutenantRecord(
        slot=SlotRecord(vm_id=VM, epoch=3, filled=1),
        next=SlotRecord(vm_id=OTHER, epoch=4, filled=4),
        boot=BootRecord(vm_id=VM),
        replacement=ReplacementRecord(state="Making", boot=BootRecord(vm_id=OTHER)),
    )
    second = first.swapped()
    assert (second.slot.vm_id, second.slot.epoch, second.slot.filled, second.boot.vm_id) == (OTHER, 5, 4, OTHER)
    assert (second.next.vm_id, second.next.epoch, second.replacement.boot.vm_id) == (VM, 3, VM)
    third = second.swapped()
    assert (third.slot.vm_id, third.slot.epoch, third.slot.filled, third.boot.vm_id) == (VM, 6, 1, VM)
    assert dict(first.slots()) == {"": first.slot, "next": first.next}
    spare = SpareRecord(purpose="Check", commit_id="c")
    assert dict(first.but(spare=spare).slots()) == {"": first.slot, "next": first.next, "spare": spare.slot}
    assert dict(LieutenantRecord(spare=spare).slots()) == {"": SlotRecord(), "spare": SlotRecord()}, "from the first moment"
    assert first.with_next(first.as_next()) == first


@pytest.mark.guarantee("G-11")
def test_snapshots_stay_with_the_lieutenant_when_its_machines_change_places() -> None:
    commit, sent = CommitRecord(commit_id="c", vm_id=VM), SnapshotRecord(vm_id=VM, commit_id="d")
    slot = SlotRecord(vm_id=VM, epoch=1, commits=(commit,), unchecked=1, asked=True, snapshot=sent, restored_from="b", seals=("x/1",))
    first = LieutenantRecord(slot=slot, next=SlotRecord(vm_id=OTHER, epoch=2), replacement=ReplacementRecord(state="Making"))
    second = first.swapped()
    assert (second.slot.commits, second.slot.asked, second.slot.unchecked, second.slot.snapshot) == ((commit,), True, 1, sent)
    assert (second.slot.restored_from, second.slot.seals) == ("", ()), "these are of the machine"
    assert (second.next.commits, second.next.snapshot, second.next.restored_from) == ((), SnapshotRecord(), "b")
    third = second.swapped()
    assert (third.slot.commits, third.slot.snapshot, third.slot.seals) == ((commit,), sent, ("x/1",))
    assert second.swapped().but(slot=second.slot.but(snapshot=sent.but(verified=True))).swapped().slot.snapshot == SnapshotRecord()


ASKS_BACK = RollbackRecord(commit_id="c", state="Asked")
PROMISED = SnapshotPolicy(before_mutate=True)
TAKEN = SnapshotRecord(vm_id=VM, commit_id="c", verified=True, cause="Mutated")
REFUSED = SnapshotRecord(vm_id=VM, cause="Mutated", attempts=3, error="S3 is full")


def committed(snapshot: SnapshotRecord, **changes: object) -> Slot:
    return replace(FILLED, record=FILLED.record.but(snapshot=snapshot), snapshots=PROMISED, snapshot=SnapshotSeen(), **changes)  # type: ignore[arg-type]


BESIDE_A_SNAPSHOT: dict[str, tuple[LieutenantView, Decision]] = {
    "none begins while a snapshot is restored beside it": (
        outdated(record=LieutenantRecord(slot=FILLED.record, spare=SpareRecord(purpose="Check", commit_id="c"))),
        STEADY,
    ),
    "nor while somebody asks to go back to one": (outdated(record=LieutenantRecord(slot=FILLED.record, rollback=ASKS_BACK)), STEADY),
    "one that has begun makes way for that": (
        verified(record=LieutenantRecord(rollback=ASKS_BACK)),
        DropReplacement("it goes back to a snapshot first"),
    ),
    "a commit is listed before anything is left": (verified(slot=committed(SnapshotRecord())), TakeSnapshot(VM, "Mutated")),
    "once it is, the agent moves": (verified(slot=committed(TAKEN)), RestAgent(VM, f"moving to VM {OTHER}")),
    "before another machine is made in place, too": (
        making(replace(NONE_YET, record=TRIED), slot=committed(SnapshotRecord()), in_place=True, no_room="full"),
        TakeSnapshot(VM, "Mutated"),
    ),
    "one that can't be taken ends it": (
        verified(slot=committed(REFUSED)),
        DropReplacement(f"VM {VM} could not be snapshotted and is not replaced: S3 is full", failed=True),
    ),
    "nor is it left while another commit is on its way": (
        verified(slot=replace(FILLED, record=FILLED.record.but(snapshot=SnapshotRecord(vm_id=VM, commit_id="c")), snapshot=SnapshotSeen())),
        Wait("Replacing", f"VM {OTHER} is verified; it takes the place of VM {VM} when the agent is settled", until=NOW + 1.0),
    ),
}


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("name", BESIDE_A_SNAPSHOT)
def test_a_replacement_and_snapshots(name: str) -> None:
    view, decided = BESIDE_A_SNAPSHOT[name]
    assert plan(view) == decided


def test_it_does_not_leave_while_copies_are_made_of_it() -> None:
    view = verified()
    standing = view.but(record=view.record.but(stand=StandRecord(vm_id=VM, since=NOW)))
    assert change_places(view) == RestAgent(VM, f"moving to VM {OTHER}")
    assert change_places(standing) is None


def test_a_lost_machine_goes_on_from_its_snapshot_though_another_one_is_being_made() -> None:
    empty = replace(EMPTY, record=SlotRecord(epoch=1))
    view = making(slot=empty)
    assert plan(view) == TakeNext(OTHER)
    from_a_snapshot = making(slot=replace(empty, record=SlotRecord(epoch=1, restore="c")))
    decided = plan(from_a_snapshot)
    assert isinstance(decided, AtNext)
    assert decided.action == MarkForDeletion(OTHER, "the machine that it was to replace is gone", "Unused")
