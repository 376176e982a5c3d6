"""What the controller must remember because it can't be observed: durable, private, one record an object.

Everything that *can* be observed is observed again each time; a lost record is therefore rebuilt from claims and journals.
Stored as JSON with defaults left out; unknown keys of a newer release are kept out rather than refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, Self

from pydantic import Field

from reconciler.core.governancerecords import BudgetRecord as BudgetRecord
from reconciler.core.governancerecords import ReminderRecord as ReminderRecord
from reconciler.core.governancerecords import RestRecord as RestRecord
from reconciler.core.governancerecords import SpendingRecord as SpendingRecord
from reconciler.core.messages import Message
from reconciler.core.recordbase import Stored
from reconciler.core.slotrecords import BranchRecord as BranchRecord
from reconciler.core.slotrecords import CommitRecord as CommitRecord
from reconciler.core.slotrecords import SlotRecord as SlotRecord
from reconciler.core.slotrecords import SnapshotRecord as SnapshotRecord


class Record(Stored):
    def slots(self) -> Mapping[str, SlotRecord]:
        """The VM slots of the object, by node; '' is its own."""
        return {}


class SessionRecord(Record):
    """The conversation. `name`: of its mirror in the store; `file`: name of its file on the machine, '' when it is the same;
    `generation`: as declared when it was begun; `incarnation`: how often another name was needed (begun anew after a loss, two
    ends that differ). `seen`: bytes of it known to be on the machine and not in the mirror when last looked at. `lost`: the VM that
    was lost with it, until it has another. `answer`: a person's choice that waits to be acted on. `earlier`: mirrors before this one.
    `looked_on`: the adopted machine on which one to go on with was looked for; `found`: the file it is a copy of.
    `rewind`: so many turns are to be taken back."""

    name: str = ""
    file: str = ""
    generation: int = 0
    incarnation: int = 0
    seen: int = 0
    lost: str = ""
    answer: Literal["", "vm", "local"] = ""
    earlier: tuple[str, ...] = ()
    looked_on: str = ""
    found: str = ""
    rewind: int = 0


class LocalRecord(Record):
    """The agent's directory on this host, beside its slot. `state`: '' there is none; `Home`: the agent lives there; `Left`: it
    has moved to the slot's VM, and what is here is kept until the agent there has answered. `host`: which state directory has it
    (another controller on the same store may not). `fallback`: it is there because VMs could not be had, not as declared.
    `blocked`: why it can't be moved to the VM that is ready for it. `fenced`: the epoch that was raised for the move."""

    state: Literal["", "Home", "Left"] = ""
    host: str = ""
    fallback: bool = False
    blocked: str = ""
    fenced: int = 0


class RestartRecord(Record):
    """Unasked-for ends of pi. `times`: of the recent ones; `crash_at`: of the last one counted, by the
    guest's clock. `generation`: of the declaration under which they happened, `tried_with`: digest of what that pi was made from; a
    change of either ends a crash loop."""

    times: tuple[float, ...] = ()
    not_before: float = 0.0
    crash_at: float = 0.0
    degraded: bool = False
    generation: int = 0
    exit_code: int | None = None
    signal: str | None = None
    stderr_tail: str = ""
    tried_with: str = ""


class ConfigRecord(Record):
    """What pi refused while it ran. `pid`: of that pi; `asked`: what it was asked for; `why`: its answer; `others`: what it refused
    before that. `again`: a person asked to have the instructions read once more."""

    pid: int = 0
    asked: str = ""
    why: str = ""
    others: tuple[str, ...] = ()
    again: bool = False


class ClockRecord(Record):
    """How the clock of `vm_id` was set last. `tries`: in a row; `at`: the last one's, on our clock; `error`: why it failed."""

    vm_id: str = ""
    tries: int = 0
    at: float = 0.0
    error: str = ""


class StepRecord(Record):
    """How the last run of one step, check, organ or capability went. `exit_code` None: it was killed at its time limit, or has not
    ended. `tail`: the end of what it printed, without secrets. `tries`: how often it was run on this machine."""

    kind: str = "Step"
    name: str = ""
    state: Literal["Running", "Succeeded", "Failed"] = "Running"
    exit_code: int | None = None
    seconds: float = 0.0
    tail: str = ""
    tries: int = 0


class BootRecord(Record):
    """How far the machine in the slot has been prepared: all of it belongs to `vm_id`. `machine`: digest of what the VM was made
    from. `failed`: a step that ended badly and used up its retries, with its message. `tried_with`: digest of what it was made from.
    `steps`: in the order of their first run."""

    vm_id: str = ""
    machine: str = ""
    step: str = ""
    tries: int = 0
    not_before: float = 0.0
    failed: str = ""
    failed_hash: str = ""
    tried_with: str = ""
    steps: tuple[StepRecord, ...] = ()


class LoadedRecord(Record):
    """What one pi process was found to have loaded. `process`: which one; `missing`: declared skills that it does not have;
    `again`: a person asked for another look, with a fresh process."""

    process: str = ""
    missing: tuple[str, ...] = ()
    again: bool = False


class WorkspaceRecord(Record):
    """The agent's files. `left`: the machine that was in the slot last, until another one is; `lost`: the machine whose files are gone
    while the conversation goes on, until a person says that it is known. `directory`: where pi was started last, '' for the usual one."""

    left: str = ""
    lost: str = ""
    directory: str = ""


class ReplacementRecord(Record):
    """Another machine is to take the place of the one in the slot. `state`: '' no; `Making`: it is made and prepared, in the slot `next`;
    `Taken`: it is in the slot, and the old one is in `next` until pi has answered; `Confirmed`: pi has, and the old one goes;
    `Returned`: it did not work, the old one is back in its slot; `Dropping`: it is not wanted any more. In these two it is in `next`,
    until it is gone. `since`: when it was begun; `at`: when it was made, later when it was put into the slot; `made_for`: digest of what it
    is to be; `boot`, `clock`: of the machine in `next`. `tries`: failures in a row to do something in it, `not_before`: when it is
    tried again, `trouble`: the last one. `fenced`: the epoch that was raised for the move. `failed`: why the last one did not work,
    `failed_with`: digest of what it was made from."""

    state: Literal["", "Making", "Taken", "Confirmed", "Returned", "Dropping"] = ""
    since: float = 0.0
    at: float = 0.0
    made_for: str = ""
    boot: BootRecord = BootRecord()
    clock: ClockRecord = ClockRecord()
    tries: int = 0
    not_before: float = 0.0
    trouble: str = ""
    fenced: int = 0
    failed: str = ""
    failed_with: str = ""

    def over(self) -> Self:
        """There is no other machine any more; what the last one came to is remembered."""
        return type(self)(failed=self.failed, failed_with=self.failed_with)


NEXT = "next"
"""The slot beside a lieutenant's own while its machine is replaced, as journal, claims and the table of owners name it."""


class StandRecord(Record):
    """That its agent stands still, so that copies can be made of it. `vm_id`: on which machine, '' when it does not; `session`, `size`:
    its conversation, all of it in the mirror; `since`: when it began; `over`: when the last time ended."""

    vm_id: str = ""
    session: str = ""
    size: int = 0
    since: float = 0.0
    over: float = 0.0


SPARE = "spare"
"""The slot beside a lieutenant's own for what is restored from a snapshot, as journal, claims and the table of owners name it."""


class SpareRecord(Record):
    """A second machine beside the one in the slot, for a while. `purpose`: a snapshot is restored for a look; the agent is to go on from
    one; it is the one that the agent has left. `commit_id`: what it is made from, '' when it is to go. `verified`: it was looked at."""

    slot: SlotRecord = SlotRecord()
    purpose: Literal["", "Check", "Rollback", "Left"] = ""
    commit_id: str = ""
    verified: bool = False


class RollbackRecord(Record):
    """A person's wish to go back. `commit_id`: to which snapshot; `state`: how far that is, '' for none. `at`: when that was so."""

    commit_id: str = ""
    state: Literal["", "Asked", "Done", "Refused"] = ""
    message: str = ""
    at: float = 0.0


class LieutenantRecord(Record):
    slot: SlotRecord = SlotRecord()
    spare: SpareRecord = SpareRecord()
    rollback: RollbackRecord = RollbackRecord()
    next: SlotRecord = SlotRecord()
    replacement: ReplacementRecord = ReplacementRecord()
    session: SessionRecord = SessionRecord()
    restart: RestartRecord = RestartRecord()
    boot: BootRecord = BootRecord()
    loaded: LoadedRecord = LoadedRecord()
    local: LocalRecord = LocalRecord()
    config: ConfigRecord = ConfigRecord()
    clock: ClockRecord = ClockRecord()
    workspace: WorkspaceRecord = WorkspaceRecord()
    spending: SpendingRecord = SpendingRecord()
    budget: BudgetRecord = BudgetRecord()
    rest: RestRecord = RestRecord()
    reminder: ReminderRecord = ReminderRecord()
    stand: StandRecord = StandRecord()
    suspend_asked_at: float = 0.0
    abort_at: float = 0.0
    detached: bool = False  # `forget`: when the object goes, the VM is let go of without being touched
    handled: dict[str, str] = Field(default_factory=dict)  # one-shot annotations acted on: verb → token

    def slots(self) -> Mapping[str, SlotRecord]:
        found = {"": self.slot}
        if self.replacement.state:
            found[NEXT] = self.next
        if self.spare.purpose or self.spare.slot.vm_id:
            found[SPARE] = self.spare.slot
        return found

    @property
    def restoring(self) -> bool:
        """A snapshot is restored beside its machine, or a person wants that: nothing else of the kind begins."""
        return bool(self.spare.purpose) or self.rollback.state == "Asked"

    @property
    def on_the_move(self) -> bool:
        """The agent is about to go on on another machine, or has just done so: no copy is made of it."""
        return self.rollback.state == "Asked" or self.spare.purpose == "Rollback" or self.replacement.state in ("Taken", "Returned")

    def as_next(self) -> Self:
        """As if the machine in `next` were the one in its slot."""
        other = self.replacement
        return self.but(slot=self.next, boot=other.boot, clock=other.clock, local=LocalRecord(), next=SlotRecord())

    def with_next(self, seen: LieutenantRecord) -> Self:
        """What was changed in `as_next`, put back where it belongs."""
        return self.but(next=seen.slot, replacement=self.replacement.but(boot=seen.boot, clock=seen.clock))

    def swapped(self) -> Self:
        """The machines in `slot` and `next` change places; the snapshots stay with the lieutenant. The epoch grows, so that the keeper of
        the one that goes refuses whoever does not know of it."""
        epoch = max(self.slot.epoch, self.next.epoch) + 1
        new = self.next.but(epoch=epoch, adopted=self.slot.adopted, branch=self.slot.branch)
        return self.but(
            slot=new.with_snapshots_of(self.slot),
            next=self.slot.with_snapshots_of(SlotRecord()),
            boot=self.replacement.boot,
            clock=self.replacement.clock,
            loaded=LoadedRecord(),
            restart=RestartRecord(),
            config=ConfigRecord(),
            replacement=self.replacement.but(boot=self.boot, clock=self.clock, fenced=0, tries=0, not_before=0.0, trouble=""),
            workspace=self.workspace.but(left=""),
        )


class Attempt(Record):
    """How one attempt of a Task ended, for the next one's prompt and for people."""

    number: int
    reason: str
    message: str = ""


class EscalationStep(Record):
    """One step of the escalation that was taken. `continues`: how often the turn had been asked to go on by then. `hard`: it showed
    no effect, so pi was stopped."""

    action: str
    at: float
    why: str = ""
    continues: int = 0
    hard: bool = False


class TaskRecord(Record):
    """One Task's delivery. `marker` makes its prompt findable in the conversation; `sends` counts the keys used for it in
    this attempt (a key is forwarded at most once, ever). `baseline`: length of the session when delivery began.
    `landed`: offset of the marked message. `abort`: why its turn is being ended, `because`: the same in words.
    `escalation_steps`: what was tried in this attempt before giving up; `reprompted`: a steer's text was sent as a prompt of its own
    after an interruption. `activity`: signs of work as last written down. `artifacts`: digest of the work dir before delivery;
    `artifact`: what looking for a first file came to (seen, none, unknown). `turns`: of earlier attempts. `held`: how often the
    model's provider said no to it, which is no attempt. `budget`: how far its own budget was used up when that was last told;
    `budget_told`: when its turn was told that a budget is used up; `interrupted`: it was ended for that, and goes on later; `spent_cost`,
    `spent_tokens`: of earlier attempts; `reserved_cost`, `reserved_tokens`: what all that is in the
    books for it is expected to come to. `recalled`: made from what is remembered of a task that was removed.
    `retried`: the last retry that was asked for before the latest attempt ended."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    attempt: int = 0
    sends: int = 0
    marker: str = ""
    session: str = ""
    baseline: int = 0
    delivering_at: float = 0.0
    landed: int = -1
    landed_at: float = 0.0
    progress_at: float = 0.0
    progress_size: int = 0
    activity: int = 0
    continues: int = 0
    escalation_steps: tuple[EscalationStep, ...] = ()
    reprompted: bool = False
    artifacts: str = ""
    artifact: str = ""
    turns: int = 0
    held: int = 0
    budget: str = ""
    budget_told: float = 0.0
    interrupted: bool = False
    spent_cost: Decimal = Decimal(0)
    spent_tokens: int = 0
    reserved_cost: Decimal = Decimal(0)
    reserved_tokens: int = 0
    recalled: bool = False
    retried: str = ""
    not_before: float = 0.0
    target: str = ""
    abort: str = ""
    aborted_at: float = 0.0
    because: str = ""
    span_end: int = 0
    stop_reason: str = ""
    answer: str = ""
    answer_bytes: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    files: tuple[str, ...] = ()
    files_more: int = 0
    checks: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    finished_at: float = 0.0

    @property
    def finished(self) -> bool:
        return self.phase in FINISHED

    @property
    def sent(self) -> bool:
        """Its text may be with pi, or in the conversation."""
        return self.phase in ("Delivering", "Running", "Verifying", "Unknown")


FINISHED = frozenset({"Succeeded", "Failed", "TimedOut", "Expired", "Cancelled"})
ACTIVE = frozenset({"Delivering", "Running", "Verifying"})


def run_of(messages: tuple[Message, ...], landed: int, until: int | None = None) -> tuple[Message, ...]:
    """The messages after the one at offset `landed` (exclusive) and before offset `until`."""
    return tuple(m for m in messages if m.offset > landed and (until is None or m.offset < until))
