"""What the controller must remember because it can't be observed: durable, private, one record an object.

Everything that *can* be observed is observed again each time; a lost record is therefore rebuilt from claims and journals.
Stored as JSON with defaults left out; unknown keys of a newer release are kept out rather than refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from reconciler.core.keys import Json
from reconciler.core.messages import Message


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def load(cls, data: Json) -> Self:
        return cls.model_validate(data)

    def dump(self) -> Json:
        dumped: Json = self.model_dump(mode="json", exclude_defaults=True)
        return dumped

    def __eq__(self, other: object) -> bool:
        """As pydantic's; the same record, as defaults are, without a look at its fields."""
        return self is other or super().__eq__(other)

    def but(self, **changes: object) -> Self:
        """A copy with these fields changed (validated types are the caller's)."""
        return self.model_copy(update=changes)

    def slots(self) -> Mapping[str, SlotRecord]:
        """The VM slots of the object, by node; '' is its own."""
        return {}


class SnapshotRecord(Record):
    """The commit of one VM that is on its way, or that a deletion waits for. `cause`: what it is for (`decisions.SnapshotCause`);
    `verified`: the platform lists it. `attempts`: failed ones; `failed_at`: when the last one did. `conversation`: name of the file that
    the conversation on it is in."""

    vm_id: str = ""
    commit_id: str = ""
    name: str = ""
    taken_at: float = 0.0
    verified: bool = False
    attempts: int = 0
    not_before: float = 0.0
    error: str = ""
    failed_at: float = 0.0
    cause: str = "Deleted"
    conversation: str = ""


class CommitRecord(Record):
    """A commit that was taken of a machine in this slot, and is kept. `origin`: machines and epochs whose marks hold on its disk;
    `conversation`: as in the snapshot that it was; `check`: what became of restoring it for a look, '' when that was not done.
    `missing_since`: when a list did not have it, 0 when the last one did; `not_before`, `error`: when it could not be removed,
    and is tried again."""

    commit_id: str = ""
    name: str = ""
    vm_id: str = ""
    origin: str = ""
    taken_at: float = 0.0
    cause: str = "Scheduled"
    conversation: str = ""
    check: Literal["", "Restored", "Failed"] = ""
    check_error: str = ""
    missing_since: float = 0.0
    not_before: float = 0.0
    error: str = ""


class SlotRecord(Record):
    """One VM slot. `epoch` grows with every VM put into it, and with every directory on this host that stands in for one; `filled`: the
    one in which its VM was put into it, 0 when that is not known (by an earlier release, or read back from a cluster).
    `marked_for_deletion`: this VM will be deleted, irreversibly; `cause`: why (`actions.Cause`). `adopted`: the VM that `adopt`
    brought here once. `chosen`: a person's answer to CreateAmbiguous or ClaimConflict, a VM id or `none`. `confirmed`: what a
    person allowed although it is protected: `deletion`, or the id of a dead VM to be replaced. `tried_with`: digest of what the last
    create was made from. `commits`: those of its machines that are kept, oldest first; `asked`: a person wants one now;
    `unchecked`: taken since one was last restored for a look. `restore`: the commit that the next machine is made from, '' for what is
    declared; `origin`: machines and epochs whose marks hold on the one that was restored, `restored_at`: when that snapshot was taken,
    `restored_from`: its id. `ref`, `commit`: the reference that the VM was made from and the commit that it pointed to then."""

    vm_id: str = ""
    account: str = ""
    epoch: int = 0
    filled: int = 0
    attempts: int = 0
    not_before: float = 0.0
    last_error: str = ""
    marked_for_deletion: bool = False
    cause: str = ""
    marked_at: float = 0.0
    delete_attempts: int = 0
    delete_error: str = ""
    adopted: str = ""
    chosen: str = ""
    confirmed: str = ""
    tried_with: str = ""
    ref: str = ""
    commit: str = ""
    snapshot: SnapshotRecord = SnapshotRecord()
    commits: tuple[CommitRecord, ...] = ()
    asked: bool = False
    unchecked: int = 0
    restore: str = ""
    origin: str = ""
    restored_at: float = 0.0
    restored_from: str = ""


class SessionRecord(Record):
    """The conversation. `name`: of its mirror in the store; `file`: name of its file on the machine, '' when it is the same;
    `generation`: as declared when it was begun; `incarnation`: how often another name was needed (begun anew after a loss, two
    ends that differ). `seen`: bytes of it known to be on the machine and not in the mirror when last looked at. `lost`: the VM that
    was lost with it, until it has another. `answer`: a person's choice that waits to be acted on. `earlier`: mirrors before this one."""

    name: str = ""
    file: str = ""
    generation: int = 0
    incarnation: int = 0
    seen: int = 0
    lost: str = ""
    answer: Literal["", "vm", "local"] = ""
    earlier: tuple[str, ...] = ()


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
    ref: str = ""
    commit: str = ""


class ConfigRecord(Record):
    """What pi refused while it ran. `pid`: of that pi; `asked`: what it was asked for; `why`: its answer. `again`: a person asked
    to have the instructions read once more."""

    pid: int = 0
    asked: str = ""
    why: str = ""
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
    ref: str = ""
    commit: str = ""
    steps: tuple[StepRecord, ...] = ()


class LoadedRecord(Record):
    """What one pi process was found to have loaded. `process`: which one; `missing`: declared skills that it does not have;
    `again`: a person asked for another look, with a fresh process."""

    process: str = ""
    missing: tuple[str, ...] = ()
    again: bool = False


class WorkspaceRecord(Record):
    """The agent's files. `left`: the machine that was in the slot last, until another one is; `lost`: the machine whose files are gone
    while the conversation goes on, until a person says that it is known."""

    left: str = ""
    lost: str = ""


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


SPARE = "spare"
"""The node of a lieutenant's second slot, in claims and journal."""


class LieutenantRecord(Record):
    slot: SlotRecord = SlotRecord()
    spare: SpareRecord = SpareRecord()
    rollback: RollbackRecord = RollbackRecord()
    session: SessionRecord = SessionRecord()
    restart: RestartRecord = RestartRecord()
    boot: BootRecord = BootRecord()
    loaded: LoadedRecord = LoadedRecord()
    local: LocalRecord = LocalRecord()
    config: ConfigRecord = ConfigRecord()
    clock: ClockRecord = ClockRecord()
    workspace: WorkspaceRecord = WorkspaceRecord()
    suspend_asked_at: float = 0.0
    abort_at: float = 0.0
    detached: bool = False  # `forget`: when the object goes, the VM is let go of without being touched
    handled: dict[str, str] = {}  # one-shot annotations acted on: verb → token

    def slots(self) -> Mapping[str, SlotRecord]:
        return {"": self.slot, SPARE: self.spare.slot} if self.spare.slot.vm_id else {"": self.slot}


class PlaceRecord(Record):
    """One place of a tree that was declared. `parent`: the node above its own; `agent`: it has a lieutenant; `going`: its object is to go;
    `kept`: its node is not declared any more, and it stays; `digest`: of what was declared for it last."""

    name: str
    node: str
    ordinal: int | None = None
    parent: str = ""
    agent: bool = True
    protected: bool = False
    going: bool = False
    kept: bool = False
    digest: str = ""


class TreeRecord(Record):
    """What a tree has declared: written down before the objects are."""

    places: tuple[PlaceRecord, ...] = ()

    def place(self, name: str) -> PlaceRecord | None:
        return next((place for place in self.places if place.name == name), None)


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
    model's provider said no to it, which is no attempt. `recalled`: made from what is remembered of a task that was removed.
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
    cost: float = 0.0
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
