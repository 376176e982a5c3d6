"""A lieutenant's second machine: a snapshot is restored beside the first to see that it can be, or to go on from it. Pure.

The first machine works on until the other one is made and was looked at; only then the agent moves, and what it leaves goes (G-14)."""

from __future__ import annotations

from reconciler.api.annotations import PREFIX
from reconciler.api.reasons import Reason
from reconciler.core.decisions import (
    AcceptSpare,
    Act,
    Decision,
    FinishSpare,
    MarkForDeletion,
    Refuse,
    RefuseRollback,
    RejectSpare,
    Release,
    SlotAction,
    StartSpare,
    Steady,
    StopAgent,
    SwapMachines,
    UseSpare,
    Wait,
)
from reconciler.core.lieutenant.replacement import save_first
from reconciler.core.lieutenant.session import begun_anew, chosen
from reconciler.core.records import (
    BootRecord,
    CommitRecord,
    ConfigRecord,
    LieutenantRecord,
    LoadedRecord,
    RestartRecord,
    RollbackRecord,
    SessionRecord,
    SlotRecord,
    SpareRecord,
    WorkspaceRecord,
)
from reconciler.core.slot import policies as vmslot
from reconciler.core.slot import snapshots
from reconciler.core.slot.claims import UID, VM_ID
from reconciler.core.slot.occupancy import TRIES, emptied
from reconciler.core.snapshot.agent import Agent, Guest, Up
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import SlotPart
from reconciler.core.snapshot.vm import Seen, Unknown, VmState

SAMPLE = 10
"""With `verify: Sampled` at least one of so many snapshots in a row is restored for a look."""

PATIENCE = 300.0
"""Seconds that a restored machine has to answer."""


# --- facts ------------------------------------------------------------------------------------------------------------------------


def commit_of(record: LieutenantRecord, commit_id: str) -> CommitRecord | None:
    return next((commit for commit in record.slot.commits if commit.commit_id == commit_id), None)


def to_be_checked(slot: SlotRecord, verify: str, keep: int) -> CommitRecord | None:
    """Which snapshot is to be restored for a look now. Of a sample it is the newest, when none that is kept was looked at, or as many as
    are kept were taken since."""
    unseen = [commit for commit in slot.commits if not commit.check and not commit.missing_since]
    if verify == "All" or not unseen:
        return next(iter(unseen), None)
    last = slot.commits[-1]
    due = slot.unchecked >= min(SAMPLE, keep) or not any(commit.check for commit in slot.commits)
    return last if verify == "Sampled" and due and last is unseen[-1] else None


def not_allowed_back(v: LieutenantView) -> str:
    """Why the agent does not go back to that snapshot; '' when nothing is in the way."""
    record, slot = v.record, v.slot
    target = commit_of(record, record.rollback.commit_id)
    if target is None:
        return f"commit {record.rollback.commit_id} is no snapshot that was taken of this lieutenant; `reconciler get commits` lists those"
    if target.missing_since:
        return f"the platform does not list commit {target.commit_id} any more"
    if target.check == "Failed":
        return f"commit {target.commit_id} can't be restored: {target.check_error}"
    if slot.no_delete:
        return "managementPolicy NoDelete keeps the machine that would be replaced"
    if slot.unconfirmed:
        return f"VM {slot.record.vm_id} is protected; confirm with the annotation fleet.vers.sh/delete-confirmed"
    return ""


def unlike(guest: Guest, commit: CommitRecord, uid: str) -> str:
    """How a restored machine differs from the one that was committed; '' when it is the same."""
    claim = guest.claim or {}
    named = claim.get(VM_ID.removeprefix(PREFIX)), claim.get(UID.removeprefix(PREFIX))
    if named != (commit.vm_id, uid):
        return f"its claim file names VM {named[0] or 'none'} instead of {commit.vm_id}"
    return "" if guest.node and guest.pi and guest.keeper else "what was installed on it is not there"


# --- beside the first machine -------------------------------------------------------------------------------------------------------


def plan(v: LieutenantView, resting: bool) -> Decision | None:
    """What is to be done beside the first machine. `resting`: nothing is to be done to that one."""
    if v.slot.observe_only or not (resting or v.spare.slot is not None or v.lt.record.spare.purpose):
        return None
    decision = next_step(v, resting)
    return UseSpare(decision) if isinstance(decision, SlotAction) else decision


def together(first: Decision, beside: Decision | None) -> Decision:
    """What is to be done about the first machine, in the light of the one beside it: the object goes when both are gone."""
    gone = isinstance(first, Release) and beside is not None
    return Wait(Reason.DELETING, "the machine beside it goes first") if gone else first


def next_step(v: LieutenantView, resting: bool) -> Decision | None:
    record, spare = v.record, v.spare
    if spare.slot is None:
        return begin(v) if resting and not record.spare.purpose else FinishSpare() if record.spare.purpose else None
    decision = vmslot.plan(spare.slot)
    if isinstance(decision, Release):
        return FinishSpare()
    commit = commit_of(record, record.spare.commit_id)
    if spare.slot.desired is DesiredState.GONE or record.spare.verified:
        return decision
    if record.spare.purpose == "Check" and not spare.slot.record.vm_id and spare.slot.intent is None and v.spare.blocked:
        return FinishSpare()  # a look can wait until there is room, and holds up nothing meanwhile
    if commit is None:
        return RejectSpare(record.spare.commit_id, "it is not kept any more")
    if not isinstance(decision, Steady):
        made = spare.slot.record
        given_up = not made.vm_id and spare.slot.intent is None and made.attempts >= TRIES and bool(made.last_error)
        return RejectSpare(commit.commit_id, made.last_error) if given_up else unless_it_died(decision, commit)
    overdue = v.now >= spare.silent_since + PATIENCE
    match spare.guest:
        case Guest() as guest:
            wrong = unlike(guest, commit, v.claim.get(UID.removeprefix(PREFIX), ""))
            return RejectSpare(commit.commit_id, wrong) if wrong else AcceptSpare(commit.commit_id)
        case Unknown(why) if overdue:
            return RejectSpare(commit.commit_id, f"the restored machine does not answer: {why}")
        case _:
            return Wait(Reason.GUEST_UNREACHABLE, "the restored machine does not answer yet")


def unless_it_died(decision: Decision, commit: CommitRecord) -> Decision:
    """A restored machine that dies says that the commit is no good."""
    if isinstance(decision, MarkForDeletion) and decision.cause == "Dead":
        return RejectSpare(commit.commit_id, "the restored machine died", decision.vm_id)
    return decision


def begin(v: LieutenantView) -> Act | None:
    """G-11, G-14: what a person asked for comes first; then the look at a snapshot that nobody has looked at. Not while its machine is
    replaced: that ends first."""
    record = v.record
    if v.slot.desired is DesiredState.GONE or record.replacement.state:
        return None
    if record.rollback.state == "Asked":
        why = not_allowed_back(v)
        if why:
            return RefuseRollback(why)
        return StartSpare("Rollback", record.rollback.commit_id) if v.slot.desired is DesiredState.RUNNING else None
    if v.slot.desired is not DesiredState.RUNNING or v.spare.blocked:
        return None
    unseen = to_be_checked(record.slot, v.spare.verify, v.slot.snapshots.keep if v.slot.snapshots is not None else SAMPLE)
    return StartSpare("Check", unseen.commit_id) if unseen is not None else None


# --- on the first machine -------------------------------------------------------------------------------------------------------------


def go_back(v: SlotPart) -> Decision | None:
    """G-14: when the restored machine was looked at and the agent is settled, its conversation saved, the two change places."""
    record = v.lt.record
    ready = record.spare.purpose == "Rollback" and record.spare.verified and v.slot.desired is DesiredState.RUNNING
    spare = v.spare.slot
    ready = ready and spare is not None and isinstance(spare.vm, Seen) and spare.vm.state is VmState.RUNNING
    if not ready or record.local.state == "Home" or v.slot.intent is not None or v.lt.active_task or record.stand.vm_id:
        return None
    vm_id, commit_id = v.slot.record.vm_id, record.spare.commit_id
    if not vm_id or (isinstance(v.slot.vm, Seen) and v.slot.vm.state is VmState.DEAD):
        return SwapMachines(commit_id)
    if not isinstance(v.slot.vm, Seen) or not isinstance(v.lt.agent, Agent) or v.slot.record.marked_for_deletion:
        return None
    up = isinstance(v.lt.agent.process, Up)
    if up and not v.lt.settled:
        return None
    waiting = snapshots.before_it_is_left(v.slot)
    if isinstance(waiting, Refuse):
        return RefuseRollback(waiting.message)
    if waiting is not None:
        return None if snapshots.works_on(waiting) else waiting
    if up:
        return StopAgent(vm_id, f"it goes back to commit {commit_id}")
    if (waiting := save_first(v)) is not None:
        return waiting
    return SwapMachines(commit_id)


# --- the record, changed ------------------------------------------------------------------------------------------------------------


def swapped(record: LieutenantRecord, commit: CommitRecord, now: float) -> LieutenantRecord:
    """The two machines have changed places: what was restored is in the slot, what was left is to be deleted. The epoch is above both."""
    old, made = record.slot, record.spare.slot
    epoch = max(old.epoch, made.epoch) + 1
    slot = emptied(old, lost=False).but(
        vm_id=made.vm_id,
        account=made.account,
        epoch=epoch,
        filled=epoch,
        confirmed="",
        seals=commit.seals,
        restored_at=commit.taken_at,
        restored_from=commit.commit_id,
    )
    left = SlotRecord(
        vm_id=old.vm_id,
        account=old.account,
        epoch=old.epoch,
        filled=old.filled,
        marked_for_deletion=True,
        cause="RolledBack",
        marked_at=now,
    )
    return record.but(
        slot=slot,
        spare=SpareRecord(slot=left, purpose="Left") if old.vm_id else SpareRecord(),
        rollback=RollbackRecord(commit_id=commit.commit_id, state="Done", at=now),
        boot=BootRecord(vm_id=made.vm_id),
        loaded=LoadedRecord(),
        restart=RestartRecord(),
        config=ConfigRecord(),
        workspace=WorkspaceRecord(),
    )


def back(record: SessionRecord, uid: str, commit: CommitRecord) -> SessionRecord:
    """The conversation that is in the restored machine's file goes on, under a mirror of its own; the one until now is remembered."""
    if not record.name:
        return record
    if not commit.conversation:
        return begun_anew(record, uid, record.generation)
    return chosen(record.but(file=commit.conversation), uid, "vm").but(lost="")
