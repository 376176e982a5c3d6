"""The VM slot: what is decided in which situation, as a table of promises, and what holds in every situation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from reconciler.api.lieutenant import ManagementPolicy
from reconciler.api.meta import DeletionPolicy
from reconciler.api.reasons import Reason
from reconciler.core.decisions import (
    Adopt,
    AskOriginal,
    BindCreated,
    ClearSlot,
    Create,
    Decision,
    Delete,
    Detach,
    DropCommit,
    ForgetSnapshot,
    GiveUpIntent,
    LabelClaim,
    MarkForDeletion,
    NoteCommits,
    Refuse,
    Release,
    Resume,
    SnapshotLost,
    SnapshotTaken,
    SnapshotVerified,
    Steady,
    Suspend,
    TakeSnapshot,
    TakeWarm,
    Wait,
)
from reconciler.core.keys import Key
from reconciler.core.plan import is_action
from reconciler.core.records import BranchRecord, CommitRecord, SlotRecord, SnapshotRecord
from reconciler.core.slot.branching import ASK_SECONDS, PAUSE
from reconciler.core.slot.deletion import CONFIRM, effective_deletion
from reconciler.core.slot.policies import ONLY_EMPTY, SLOT, plan
from reconciler.core.snapshot.branch import Original, Standing
from reconciler.core.snapshot.origin import Made, Named, Sharing
from reconciler.core.snapshot.slot import DesiredState, EffectiveDeletion, OpenIntent, Ready, Slot, SnapshotPolicy, SnapshotSeen, Target
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, VmState
from tests.core.views import CONDEMNED, EMPTY, FILLED, NOW, OTHER, VM, decider, slots

LOST = OpenIntent("t", settled=False, candidates=())
DEAD = replace(FILLED, vm=Seen(VmState.DEAD))
ASLEEP = replace(FILLED, vm=Seen(VmState.SUSPENDED))
SLEEPY = replace(FILLED, desired=DesiredState.SUSPENDED)
GONE = replace(FILLED, desired=DesiredState.GONE)
THEIRS = Seen(VmState.RUNNING, claimed=False, claimed_by="fleet x, installation y")


def but(slot: Slot, **record: object) -> Slot:
    return replace(slot, record=slot.record.but(**record))


MUTATING = SnapshotPolicy(before_mutate=True)
DUE = replace(FILLED, snapshot=SnapshotSeen(), snapshots=SnapshotPolicy("0 0 * * *", since=NOW - 90_000))
SNAPSHOT = replace(GONE, deletion=EffectiveDeletion.SNAPSHOT, snapshot=SnapshotSeen())
WANTED = replace(EMPTY, adopt=Target(VM, Seen(VmState.RUNNING, claimed=False)))


def kept(number: float) -> CommitRecord:
    """A snapshot that was taken so many seconds ago, or at that time."""
    at = number if number > 1000 else NOW - 100 - number
    return CommitRecord(commit_id=f"{number:.0f}", vm_id=VM, taken_at=at)


def counting(*numbers: int, listed: str, renamed: str = "") -> Slot:
    """Two are to be kept of these, and the platform's list was read."""
    there = {**dict.fromkeys(listed, True), **dict.fromkeys(renamed, False)}
    counted = replace(FILLED, snapshot=SnapshotSeen(kept=there), snapshots=SnapshotPolicy(keep=2), settle_seconds=30.0)
    return but(counted, commits=tuple(kept(number) for number in numbers))


def snapshotted(slot: Slot, **record: object) -> Slot:
    return but(slot, snapshot=SnapshotRecord(vm_id=VM).but(**record))


WAITING = Wait("CreateIndeterminate", "a create was sent and not answered; waiting for its effect to show")

STANDING = Standing(OTHER, "u-g1", 9, NOW - 5, "api", (f"{OTHER}/1",))
ORIGINAL = Original("lieutenant/api", vm_id=OTHER, vm=Seen(VmState.RUNNING))
COPY = replace(EMPTY, original=ORIGINAL)
UNAVAILABLE = "ForkSourceUnavailable"
BEING_COPIED = f"a live copy of VM {VM} is being made"


def of(**original: object) -> Slot:
    """A slot that is to be a live copy of one of which this is known."""
    return replace(EMPTY, original=replace(ORIGINAL, **original))  # type: ignore[arg-type]


HOLDER = Key("Machine", "default", "warm:built:1")

SCENARIOS: dict[str, tuple[Slot, Decision]] = {
    "an empty slot is filled": (EMPTY, Create(1)),
    "the next attempt has the next number": (but(EMPTY, attempts=4), Create(5)),
    "what its profile keeps ready is taken instead": (replace(EMPTY, warm=Ready(HOLDER, VM)), TakeWarm(VM, HOLDER)),
    "a filled one is left alone": (FILLED, Steady()),
    "a key of another account concludes nothing": (
        replace(FILLED, account="theirs", vm=Absent(proven=True)),
        Refuse("AccountChanged", f"VM {VM} belongs to account mine, the key to theirs"),
    ),
    "an unreadable VM is left alone": (replace(FILLED, vm=Unknown("503")), Wait("VMUnknown", "503")),
    "a key that the platform refuses is told as that, whosever it is": (
        replace(FILLED, account="theirs", vm=Unknown("401", Reason.PLATFORM_KEY_REFUSED)),
        Wait("PlatformKeyRefused", "401"),
    ),
    "even when it should go": (replace(GONE, vm=Unknown("503")), Wait("VMUnknown", "503")),
    "even when it is marked for deletion": (replace(CONDEMNED, vm=Unknown("503")), Wait("VMUnknown", "503")),
    "nothing is created while nothing can be read": (replace(EMPTY, vm=Unknown("503")), Wait("VMUnknown", "503")),
    "a lost answer is waited for": (replace(EMPTY, intent=LOST), WAITING),
    "and adopted when it shows": (replace(EMPTY, intent=replace(LOST, candidates=(OTHER,))), BindCreated(OTHER, "t")),
    "even when it should go by now": (
        replace(EMPTY, desired=DesiredState.GONE, intent=replace(LOST, candidates=(OTHER,))),
        BindCreated(OTHER, "t"),
    ),
    "an object with an open create is not released": (replace(EMPTY, desired=DesiredState.GONE, intent=LOST), WAITING),
    "a suspended one waits for its lost create too": (replace(EMPTY, desired=DesiredState.SUSPENDED, intent=LOST), WAITING),
    "a create that never happened is closed": (replace(EMPTY, intent=replace(LOST, settled=True)), GiveUpIntent("t")),
    "while many VMs are missing no create is given up": (
        replace(EMPTY, intent=replace(LOST, settled=True), vanished=True),
        Wait("FleetVanished", "a create was sent and not answered, and too many VMs are missing to give it up"),
    ),
    "and none is sent": (
        replace(EMPTY, vanished=True),
        Wait("FleetVanished", "too many VMs are missing at once; nothing is created until they show, or a person confirms"),
    ),
    "an unreadable list settles no create": (
        replace(EMPTY, intent=replace(LOST, candidates=None)),
        Wait("CreateIndeterminate", "the platform's list could not be read"),
    ),
    "several candidates are a person's to judge": (
        replace(EMPTY, intent=replace(LOST, candidates=(VM, OTHER))),
        Refuse("CreateAmbiguous", f"several VMs fit one create: {VM}, {OTHER}; `reconciler resolve` takes one of them"),
    ),
    "an open create of a filled slot changes nothing": (replace(FILLED, intent=LOST), Steady()),
    "one missing list proves nothing": (
        replace(FILLED, vm=Absent(proven=False)),
        Wait("VMMissing", f"VM {VM} is not in the last list; looking again"),
    ),
    "proof does": (replace(FILLED, vm=Absent(proven=True)), ClearSlot(VM)),
    "a marked for deletion VM proven gone is forgotten": (replace(CONDEMNED, vm=Absent(proven=True)), ClearSlot(VM)),
    "not when too many vanish at once": (
        replace(FILLED, vm=Absent(proven=True), vanished=True),
        Refuse("FleetVanished", f"VM {VM} and too many others are missing at once; nothing is forgotten"),
    ),
    "a live copy is asked for first": (COPY, AskOriginal("lieutenant/api")),
    "and waited for": (
        but(COPY, branch=BranchRecord(asked_at=NOW - 60)),
        Wait("ForkPending", "waiting until lieutenant/api is settled; it gets no other work meanwhile"),
    ),
    "and made of what stands still": (of(standing=STANDING), Create(1, original=STANDING)),
    "also by one that did not ask for it": (
        but(of(standing=STANDING), branch=BranchRecord(asked_at=NOW - 9)),
        Create(1, original=STANDING),
    ),
    "not before the platform has room": (
        replace(COPY, blocked="no room", blocked_until=NOW + 9),
        Wait("PlatformBlocked", "no room", NOW + 9),
    ),
    "what was asked in vain gets on with its work": (
        but(of(over=NOW - 10), branch=BranchRecord(asked_at=NOW - 200)),
        Wait("ForkPending", "lieutenant/api was asked in vain to stand still, and goes on with its work", until=NOW - 10 + PAUSE),
    ),
    "before it is asked again": (but(of(over=NOW - PAUSE), branch=BranchRecord(asked_at=NOW - 200)), AskOriginal("lieutenant/api")),
    "nobody is asked for ever": (
        but(COPY, branch=BranchRecord(asked_at=NOW - ASK_SECONDS)),
        Wait("ForkPending", "lieutenant/api was asked in vain to stand still, and goes on with its work", until=NOW + PAUSE),
    ),
    "a source that is not there is waited for": (
        of(exists=False),
        Wait("ForkSourceNotFound", "lieutenant/api does not exist in this namespace; no other one is looked into"),
    ),
    "one that goes is not copied": (of(deleting=True), Wait(UNAVAILABLE, "lieutenant/api is being deleted")),
    "one on this host neither": (
        of(local=True),
        Wait(UNAVAILABLE, "lieutenant/api lives on the controller's host; only a VM can be copied live"),
    ),
    "nor one without a machine": (of(vm_id="", vm=Absent(True)), Wait(UNAVAILABLE, "lieutenant/api has no machine yet")),
    "nor one that sleeps": (of(vm=Seen(VmState.SUSPENDED)), Wait(UNAVAILABLE, f"VM {OTHER} of lieutenant/api is suspended")),
    "nor one that is to sleep": (
        of(kept_from="it is declared Suspended"),
        Wait(UNAVAILABLE, "lieutenant/api can't be copied: it is declared Suspended"),
    ),
    "nor a dead one": (of(vm=Seen(VmState.DEAD)), Wait(UNAVAILABLE, f"VM {OTHER} of lieutenant/api is dead")),
    "nor one that is not in the list": (
        of(vm=Absent(False)),
        Wait(UNAVAILABLE, f"VM {OTHER} of lieutenant/api is not in the platform's list"),
    ),
    "nor one that nobody can read": (of(vm=Unknown("503")), Wait("VMUnknown", "lieutenant/api: 503")),
    "a copy that is declared suspended is made later": (replace(COPY, desired=DesiredState.SUSPENDED), Steady()),
    "a machine that is being copied is not resumed behind the platform": (
        replace(ASLEEP, copying=True),
        Wait("StandingStill", BEING_COPIED),
    ),
    "nor suspended": (replace(SLEEPY, copying=True), Wait("StandingStill", BEING_COPIED)),
    "nor deleted": (replace(GONE, copying=True), Wait("DeletePending", BEING_COPIED)),
    "else it is left alone": (replace(FILLED, copying=True), Steady()),
    "an object without a VM is released": (replace(EMPTY, desired=DesiredState.GONE), Release()),
    "a VM is marked for deletion before it is deleted": (GONE, MarkForDeletion(VM, "its object was deleted", "Deleted")),
    "a sleeping one too": (replace(ASLEEP, desired=DesiredState.GONE), MarkForDeletion(VM, "its object was deleted", "Deleted")),
    "a protected one is not": (
        replace(GONE, protected=True),
        Refuse("Protected", f"VM {VM} is protected from deletion; {CONFIRM} lets it go"),
    ),
    "until that is confirmed": (
        but(replace(GONE, protected=True), confirmed="deletion"),
        MarkForDeletion(VM, "its object was deleted", "Deleted"),
    ),
    "a confirmed replacement is no confirmed deletion": (
        but(replace(GONE, protected=True), confirmed=VM),
        Refuse("Protected", f"VM {VM} is protected from deletion; {CONFIRM} lets it go"),
    ),
    "one that is retained stays, claimed": (
        replace(GONE, deletion=EffectiveDeletion.RETAIN),
        Detach(VM, "Retain", "it is kept as declared"),
    ),
    "but its turn is ended": (
        replace(GONE, deletion=EffectiveDeletion.RETAIN, busy=True),
        Wait("DeletePending", "ending the running turn first"),
    ),
    "one that is orphaned stays as it is, also in a turn": (
        replace(GONE, deletion=EffectiveDeletion.ORPHAN, busy=True),
        Detach(VM, "Orphan", "it is let go of as declared"),
    ),
    "one that is only observed is not touched, marked for deletion or not": (
        replace(CONDEMNED, deletion=EffectiveDeletion.LEAVE),
        Detach(VM, "Leave", "managementPolicy ObserveOnly changes nothing on it"),
    ),
    "one that another installation claims can be forgotten": (
        replace(GONE, vm=THEIRS, deletion=EffectiveDeletion.ORPHAN),
        Detach(VM, "Leave", f"it is claimed by {THEIRS.claimed_by}"),
    ),
    "one that we adopted and claimed is claimed again when that was taken off": (
        but(replace(GONE, vm=Seen(VmState.RUNNING, claimed=False, claimed_last=True)), adopted=VM),
        LabelClaim(VM),
    ),
    "but not to be let go of": (
        but(replace(GONE, vm=Seen(VmState.RUNNING, claimed=False, claimed_last=True), deletion=EffectiveDeletion.ORPHAN), adopted=VM),
        Detach(VM, "Leave", "it does not carry our claim"),
    ),
    "one that we adopted and never claimed is not deleted": (
        but(replace(GONE, vm=Seen(VmState.RUNNING, claimed=False)), adopted=VM),
        Detach(VM, "Leave", "it does not carry our claim"),
    ),
    "a snapshot comes before the deletion": (SNAPSHOT, TakeSnapshot(VM)),
    "not of what can't be read": (
        replace(SNAPSHOT, snapshot=SnapshotSeen(found=None)),
        Wait("SnapshotPending", "the platform's commits could not be read"),
    ),
    "an unanswered one is looked for": (
        replace(SNAPSHOT, snapshot=SnapshotSeen(pending=True)),
        Wait("SnapshotPending", "a commit was sent and not answered; waiting for its effect to show"),
    ),
    "and taken when it shows": (replace(SNAPSHOT, snapshot=SnapshotSeen(pending=True, found="c")), SnapshotTaken(VM, "c")),
    "or given up": (
        replace(SNAPSHOT, snapshot=SnapshotSeen(pending=True, settled=True)),
        SnapshotLost(VM, "the platform did not answer, and no commit shows"),
    ),
    "one that is not listed proves nothing": (
        snapshotted(SNAPSHOT, commit_id="c"),
        Wait("SnapshotPending", "waiting until the platform lists commit c"),
    ),
    "and never will be": (
        snapshotted(replace(SNAPSHOT, snapshot=SnapshotSeen(settled=True)), commit_id="c"),
        SnapshotLost(VM, "commit c is not listed"),
    ),
    "nor one that the list has under another id than the answer": (
        snapshotted(replace(SNAPSHOT, snapshot=SnapshotSeen(found="d", settled=True)), commit_id="c"),
        SnapshotTaken(VM, "d"),
    ),
    "a listed one does": (
        snapshotted(replace(SNAPSHOT, snapshot=SnapshotSeen(listed=True)), commit_id="c"),
        SnapshotVerified(VM, "c"),
    ),
    "then it may go": (snapshotted(SNAPSHOT, commit_id="c", verified=True), MarkForDeletion(VM, "its object was deleted", "Deleted")),
    "the snapshot of another VM is none": (snapshotted(SNAPSHOT, vm_id=OTHER, commit_id="", verified=True), TakeSnapshot(VM)),
    "a refused one is not repeated at once": (
        snapshotted(SNAPSHOT, attempts=1, not_before=NOW + 5, error="no"),
        Wait("SnapshotPending", "no", until=NOW + 5),
    ),
    "nor for ever, and nothing is deleted without": (
        snapshotted(SNAPSHOT, attempts=3, error="no"),
        Refuse("SnapshotFailed", f"VM {VM} could not be snapshotted and is not deleted: no"),
    ),
    "the snapshot of another time is none either": (snapshotted(SNAPSHOT, commit_id="c", verified=True, cause="Mutated"), TakeSnapshot(VM)),
    "beforeMutate asks for one too": (replace(GONE, snapshot=SnapshotSeen(), snapshots=MUTATING), TakeSnapshot(VM)),
    "one is taken when it is due": (replace(DUE, quiet=True), TakeSnapshot(VM, "Scheduled")),
    "never in the middle of something": (DUE, Steady()),
    "nor when there is one since": (replace(but(DUE, commits=(kept(NOW - 1),)), quiet=True), Steady()),
    "nor while one is on its way": (replace(DUE, quiet=True, snapshot=SnapshotSeen(pending=True)), Steady()),
    "nor before the delay after a failure is over": (replace(snapshotted(DUE, not_before=NOW + 5), quiet=True), Steady()),
    "nor where nothing may be changed": (replace(DUE, quiet=True, observe_only=True), Steady()),
    "a machine that rests has none": (replace(DUE, vm=Seen(VmState.SUSPENDED), desired=DesiredState.SUSPENDED, quiet=True), Steady()),
    "one that is asked for needs no schedule": (replace(but(FILLED, asked=True), quiet=True), TakeSnapshot(VM, "Requested")),
    "nor a machine that is awake": (
        but(replace(ASLEEP, desired=DesiredState.SUSPENDED), asked=True),
        TakeSnapshot(VM, "Requested"),
    ),
    "one that was taken for a replacement is stale when the agent works on": (
        replace(snapshotted(FILLED, commit_id="c", verified=True, cause="Mutated"), busy=True),
        ForgetSnapshot(VM),
    ),
    "the oldest goes when there are too many": (counting(3, 2, 1, listed="321"), DropCommit("3")),
    "one that has another name now does not": (counting(3, 2, 1, listed="21", renamed="3"), Steady()),
    "one that could not be removed is tried later": (
        but(counting(3, 2, 1, listed="321"), commits=(kept(3).but(not_before=NOW + 5), kept(2), kept(1))),
        Steady(),
    ),
    "one that is not listed is looked for again": (counting(3, 2, listed="3"), NoteCommits(missing=("2",))),
    "and forgotten when it does not show": (
        but(counting(3, 2, listed="3"), commits=(kept(3), kept(2).but(missing_since=NOW - 60))),
        NoteCommits(gone=("2",)),
    ),
    "or known again when it does": (
        but(counting(3, 2, listed="32"), commits=(kept(3), kept(2).but(missing_since=NOW - 5))),
        NoteCommits(found=("2",)),
    ),
    "a dead one can't be snapshotted": (
        replace(SNAPSHOT, vm=Seen(VmState.DEAD)),
        Refuse("SnapshotFailed", f"VM {VM} is dead and can't be snapshotted"),
    ),
    "another installation's is not": (replace(GONE, vm=THEIRS), Refuse("ClaimConflict", f"VM {VM} is claimed by {THEIRS.claimed_by}")),
    "nor when it was marked for deletion before they claimed it": (
        replace(CONDEMNED, vm=THEIRS),
        Refuse("ClaimConflict", f"VM {VM} is claimed by {THEIRS.claimed_by}"),
    ),
    "a running turn is ended before": (replace(GONE, busy=True), Wait("DeletePending", "ending the running turn first")),
    "the marked for deletion is deleted": (CONDEMNED, Delete(VM)),
    "also when nobody wants it gone any more": (replace(CONDEMNED, desired=DesiredState.RUNNING), Delete(VM)),
    "again when it is still there": (but(CONDEMNED, delete_attempts=3, not_before=NOW - 1), Delete(VM)),
    "but not at once": (
        but(CONDEMNED, delete_attempts=3, not_before=NOW + 9, delete_error="500"),
        Wait("Deleting", f"VM {VM}: 500", until=NOW + 9),
    ),
    "an accepted deletion is watched": (
        but(CONDEMNED, delete_attempts=1, not_before=NOW + 1),
        Wait("Deleting", f"VM {VM}: deletion was accepted; waiting until the platform shows it gone", until=NOW + 1),
    ),
    "another installation's claim is respected": (
        replace(FILLED, vm=THEIRS),
        Refuse("ClaimConflict", f"VM {VM} is claimed by {THEIRS.claimed_by}"),
    ),
    "an open breaker stops creates": (
        replace(EMPTY, blocked="full", blocked_until=NOW + 15),
        Wait("PlatformBlocked", "full", until=NOW + 15),
    ),
    "but nothing that exists": (replace(SLEEPY, blocked="full"), Suspend(VM)),
    "nor deletions": (replace(CONDEMNED, blocked="full"), Delete(VM)),
    "a failed create is not repeated at once": (
        but(EMPTY, not_before=NOW + 5, last_error="400 bad"),
        Wait("BackingOff", "400 bad", until=NOW + 5),
    ),
    "a suspended object without a VM needs none": (replace(EMPTY, desired=DesiredState.SUSPENDED), Steady()),
    "a dead machine is replaced": (DEAD, MarkForDeletion(VM, "the machine is dead", "Dead")),
    "but not when its conversation would be lost": (
        replace(DEAD, loss="9 bytes were seen"),
        Refuse("SessionLost", f"VM {VM} is dead: 9 bytes were seen"),
    ),
    "one that is gone is not replaced either then": (
        replace(EMPTY, lost=VM, loss="9 bytes were seen"),
        Refuse("SessionLost", f"VM {VM} is gone: 9 bytes were seen"),
    ),
    "nor while platform trouble holds creates back": (
        replace(EMPTY, lost=VM, loss="9 bytes were seen", blocked="full"),
        Refuse("SessionLost", f"VM {VM} is gone: 9 bytes were seen"),
    ),
    "a suspended object does not miss it yet": (replace(EMPTY, lost=VM, loss="9 bytes", desired=DesiredState.SUSPENDED), Steady()),
    "a loss that is dealt with hinders nothing": (replace(EMPTY, lost=VM), Create(1)),
    "nor without being asked when it is protected": (
        replace(DEAD, protected=True),
        Refuse("Protected", f"VM {VM} is dead and protected; {CONFIRM} replaces it"),
    ),
    "but when a person confirmed it": (
        but(replace(DEAD, protected=True), confirmed=VM),
        MarkForDeletion(VM, "the machine is dead", "Dead"),
    ),
    "nor where no VM may be deleted": (
        replace(DEAD, no_delete=True),
        Refuse("NoDelete", f"VM {VM} is dead, and managementPolicy NoDelete keeps it"),
    ),
    "a person may take it from another installation": (but(replace(FILLED, vm=THEIRS), chosen=VM), LabelClaim(VM)),
    "a person says which VM a create made": (
        but(replace(EMPTY, intent=replace(LOST, candidates=(VM, OTHER))), chosen=OTHER),
        BindCreated(OTHER, "t"),
    ),
    "or that none is": (
        but(replace(EMPTY, intent=replace(LOST, candidates=(VM, OTHER), settled=True)), chosen="none"),
        GiveUpIntent("t"),
    ),
    "the VM that is to be adopted is": (WANTED, Adopt(VM)),
    "even when creates are blocked": (replace(WANTED, blocked="full"), Adopt(VM)),
    "also one that sleeps": (replace(WANTED, adopt=Target(VM, Seen(VmState.SUSPENDED, claimed=False))), Adopt(VM)),
    "one that is not there is not made": (
        replace(WANTED, adopt=Target(VM, Absent(proven=True))),
        Refuse("AdoptNotFound", f"VM {VM} does not exist, or this key may not see it"),
    ),
    "a dead one is not adopted": (
        replace(WANTED, adopt=Target(VM, Seen(VmState.DEAD))),
        Refuse("AdoptNotFound", f"VM {VM} is dead; there is nothing to take over"),
    ),
    "nor one that can't be read": (replace(WANTED, adopt=Target(VM, Unknown("503"))), Wait("VMUnknown", "503")),
    "nor one of another object here": (
        replace(WANTED, adopt=Target(VM, Seen(VmState.RUNNING), "Lieutenant default/web")),
        Refuse("AlreadyOwned", f"VM {VM} belongs to Lieutenant default/web"),
    ),
    "nor one of another installation": (
        replace(WANTED, adopt=Target(VM, THEIRS)),
        Refuse("ClaimConflict", f"VM {VM} is claimed by {THEIRS.claimed_by}"),
    ),
    "unless a person says so": (but(replace(WANTED, adopt=Target(VM, THEIRS)), chosen=VM), Adopt(VM)),
    "nor one that another namespace made": (
        replace(WANTED, adopt=Target(VM, Seen(VmState.RUNNING), origin=Made("team-a"))),
        Refuse("VMOfAnotherNamespace", f"VM {VM} belongs to namespace team-a, which does not share it with default"),
    ),
    "unless it is shared": (
        replace(WANTED, adopt=Target(VM, Seen(VmState.RUNNING), origin=Made("team-a", frozenset({"default"})))),
        Adopt(VM),
    ),
    "no machine is made from a commit of another namespace": (
        replace(EMPTY, source=Named("commit", OTHER, Made("team-a")), blocked="full"),
        Refuse("CommitOfAnotherNamespace", f"commit {OTHER} belongs to namespace team-a, which does not share it with default"),
    ),
    "nor does an answer take another installation's where no such id may be used": (
        replace(but(replace(WANTED, adopt=Target(VM, THEIRS)), chosen=VM), sharing=Sharing(frozenset())),
        Refuse("UnownedNotAllowed", f"VM {VM} carries no mark of this fleet, and namespace default may not use such ids"),
    ),
    "what was never adopted is left when the object goes": (replace(WANTED, desired=DesiredState.GONE), Release()),
    "an unclaimed VM of ours is claimed": (replace(FILLED, vm=Seen(VmState.RUNNING, claimed=False)), LabelClaim(VM)),
    "also while it boots": (replace(FILLED, vm=Seen(VmState.BOOTING, claimed=False)), LabelClaim(VM)),
    "a booting VM is waited for": (replace(FILLED, vm=Seen(VmState.BOOTING)), Wait("Booting", f"VM {VM} is booting")),
    "a state of a later release is unknown": (
        replace(FILLED, vm=Seen(VmState.UNKNOWN)),
        Wait("VMUnknown", f"VM {VM} is in a state this release does not know"),
    ),
    "a settled agent is suspended": (SLEEPY, Suspend(VM)),
    "a busy one is not cut off": (replace(SLEEPY, busy=True), Wait("SuspendPending", "waiting for the agent's turn to end")),
    "one of unknown state neither": (
        replace(SLEEPY, busy=None),
        Wait("SuspendPending", "the agent's state is not known; suspending could cut off a turn"),
    ),
    "its conversation is saved first": (replace(SLEEPY, mirrored=False), Wait("SuspendPending", "saving the conversation first")),
    "after its grace even an unreachable one is suspended": (replace(SLEEPY, busy=None, suspend_overdue=True), Suspend(VM)),
    "a sleeping one that should sleep is left alone": (replace(ASLEEP, desired=DesiredState.SUSPENDED), Steady()),
    "one suspended behind our back is resumed": (ASLEEP, Resume(VM)),
}

DESTRUCTIVE = (MarkForDeletion, Delete, ClearSlot, Release, Suspend)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-03")
@pytest.mark.guarantee("G-04")
@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-08")
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    slot, expected = SCENARIOS[name]
    assert plan(slot) == expected


def test_every_policy_decides_in_some_scenario() -> None:
    deciding = {decider(SLOT, slot) for slot, _ in SCENARIOS.values()}
    assert {policy.__name__ for policy in SLOT.leaves()} - deciding == set()


@pytest.mark.guarantee("G-04")
@given(slots())
def test_unknown_never_changes_anything(slot: Slot) -> None:
    assert not is_action(plan(replace(slot, vm=Unknown("no answer"))))


@pytest.mark.guarantee("G-05")
@given(slots())
def test_every_destructive_act_has_its_cause(slot: Slot) -> None:
    decision = plan(slot)
    if isinstance(decision, DESTRUCTIVE):
        assert not isinstance(slot.vm, Unknown)
        assert not (slot.record.vm_id and slot.record.account and slot.account and slot.record.account != slot.account)
    match decision:
        case Delete(vm_id):
            assert slot.record.marked_for_deletion
            assert vm_id == slot.record.vm_id
            assert not (isinstance(slot.vm, Seen) and slot.vm.claimed_by) or slot.record.chosen == VM
        case MarkForDeletion():
            assert isinstance(slot.vm, Seen)
            assert not slot.protected or slot.record.confirmed == ("deletion" if slot.desired is DesiredState.GONE else VM)
            assert not slot.vm.claimed_by or slot.record.chosen == VM
            assert slot.desired is not DesiredState.GONE or slot.deletion is EffectiveDeletion.DELETE or slot.record.snapshot.verified
            assert slot.desired is DesiredState.GONE or not slot.no_delete
            assert slot.desired is DesiredState.GONE or slot.vm.state is VmState.DEAD
        case ClearSlot():
            assert isinstance(slot.vm, Absent)
            assert slot.vm.proven
            assert not slot.vanished
        case Release():
            assert slot.desired is DesiredState.GONE
            assert not slot.record.vm_id
            assert slot.intent is None
        case Suspend():
            assert slot.desired is DesiredState.SUSPENDED
            assert slot.suspend_overdue or (slot.busy is False and slot.mirrored)


@pytest.mark.guarantee("G-07")
@given(slots())
def test_nothing_is_made_in_place_of_a_vm_that_is_to_be_adopted(slot: Slot) -> None:
    assert not isinstance(plan(replace(slot, adopt=Target(OTHER, Absent(proven=True)))), Create)


@pytest.mark.guarantee("G-05")
@pytest.mark.parametrize(
    ("policy", "management", "detached", "deletion"),
    [
        ("Delete", "Full", False, EffectiveDeletion.DELETE),
        ("Snapshot", "Full", False, EffectiveDeletion.SNAPSHOT),
        ("Retain", "Full", False, EffectiveDeletion.RETAIN),
        ("Orphan", "Full", False, EffectiveDeletion.ORPHAN),
        ("Delete", "NoDelete", False, EffectiveDeletion.RETAIN),
        ("Snapshot", "NoDelete", False, EffectiveDeletion.RETAIN),
        ("Orphan", "NoDelete", False, EffectiveDeletion.ORPHAN),
        ("Delete", "ObserveOnly", False, EffectiveDeletion.LEAVE),
        ("Delete", "ObserveOnly", True, EffectiveDeletion.LEAVE),
        ("Snapshot", "Full", True, EffectiveDeletion.ORPHAN),
        ("Retain", "NoDelete", True, EffectiveDeletion.ORPHAN),
    ],
)
def test_the_policies_in_one_word(policy: str, management: str, detached: bool, deletion: EffectiveDeletion) -> None:
    assert effective_deletion(DeletionPolicy(policy), ManagementPolicy(management), detached) is deletion


@pytest.mark.guarantee("G-02")
@given(slots())
def test_a_create_is_sent_only_for_an_empty_slot_with_nothing_open(slot: Slot) -> None:
    if isinstance(plan(slot), Create):
        assert not slot.record.vm_id
        assert slot.intent is None
        assert slot.desired is DesiredState.RUNNING
        assert not slot.blocked
        assert slot.record.not_before <= slot.now


@given(slots())
def test_what_is_not_asked_about_a_filled_slot_has_no_opinion_on_it(slot: Slot) -> None:
    assert plan(slot) == (SLOT.evaluate(slot) or Steady())
    if slot.record.vm_id:
        assert [policy for policy in ONLY_EMPTY if policy(slot) is not None] == []
    assert set(SLOT.leaves()) >= set(ONLY_EMPTY)


@pytest.mark.guarantee("G-67")
@given(slots())
def test_messages_name_the_whole_vm_id(slot: Slot) -> None:
    decision = plan(slot)
    if isinstance(decision, Wait | Refuse) and "VM " in decision.message:
        assert VM in decision.message or OTHER in decision.message


@given(slots())
def test_a_record_reads_back_as_it_was_written(slot: Slot) -> None:
    assert SlotRecord.load(slot.record.dump()) == slot.record
