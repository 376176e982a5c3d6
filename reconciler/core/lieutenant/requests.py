"""One-shot verbs: annotations `fleet.vers.sh/VERB: TOKEN`, each token acted on once (design §8), and the clocks of what is declared.

In: the record, the annotations and what else decides. Out: the record as it must be before anything follows from it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.api.annotations import PREFIX
from reconciler.core.decisions import Acknowledge, Decision
from reconciler.core.lieutenant.preparation import forget_failures
from reconciler.core.lieutenant.rests import rested
from reconciler.core.lieutenant.session import answered
from reconciler.core.records import ConfigRecord, LieutenantRecord, RestartRecord, RollbackRecord
from reconciler.core.slot.deletion import DELETION
from reconciler.core.slot.policies import NONE
from reconciler.core.snapshot.requests import AnnotationRequests
from reconciler.core.snapshot.stages import SlotPart


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The record to be written (the very same when nothing was asked), the verbs whose token was new, and what else asks for it."""

    record: LieutenantRecord
    verbs: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()


Verb = Callable[[LieutenantRecord, AnnotationRequests, str], LieutenantRecord]


def retry(record: LieutenantRecord, asked: AnnotationRequests, token: str) -> LieutenantRecord:
    """Back-offs, a crash loop and a failed preparation are forgotten; it is tried again now."""
    fresh = LieutenantRecord()
    local = record.local.but(blocked="")
    config = ConfigRecord(again=True)
    slot = record.slot.but(not_before=0.0, snapshot=record.slot.snapshot.but(attempts=0, not_before=0.0))
    other = record.next.but(not_before=0.0, attempts=0)
    spare = record.spare.but(slot=record.spare.slot.but(not_before=0.0, attempts=0))
    clean = forget_failures(record).but(restart=fresh.restart, config=config, clock=fresh.clock)
    return clean.but(next=other, spare=spare, slot=slot, local=local)


def with_a_changed_cause(record: LieutenantRecord, asked: AnnotationRequests) -> LieutenantRecord:
    """A back-off does not outlive its cause: what failed is tried again at once when what it was made from has changed since. Deletions
    are not meant: they go on whatever is declared."""
    if not asked.basis:
        return record
    slot, boot, restart = record.slot, record.boot, record.restart
    if slot.not_before > asked.now and not slot.vm_id and _differs(slot.tried_with, asked.machine):
        record = record.but(slot=slot.but(not_before=0.0))
    if (boot.failed or boot.not_before > asked.now) and _differs(boot.tried_with, asked.basis):
        record = forget_failures(record)
    if (restart.degraded or restart.not_before > asked.now) and _differs(restart.tried_with, asked.basis):
        record = record.but(restart=RestartRecord())
    return record


def _differs(tried: str, now: str) -> bool:
    return bool(tried) and tried != now


def resolve(record: LieutenantRecord, asked: AnnotationRequests, token: str) -> LieutenantRecord:
    """A person's answer to what can't be decided here: `session=ANSWER:TOKEN`, `workspace=known:TOKEN`,
    `vm=ID:TOKEN` or `none:TOKEN`. One that does not
    fit the question about a conversation is dropped; which VM it is holds until it is acted on."""
    what, _, rest = token.partition("=")
    answer = rest.partition(":")[0]
    if what == "session":
        return record.but(session=answered(record.session, asked.question, answer))
    if what == "workspace":
        return record.but(workspace=record.workspace.but(lost=""))
    chosen = answer if what == "vm" else NONE if token.partition(":")[0] == NONE else ""
    if not chosen:
        return record
    if record.replacement.state and record.slot.vm_id and not record.next.vm_id:  # what is asked is which one was made to replace it
        return record.but(next=record.next.but(chosen=chosen))
    if record.spare.purpose and record.slot.vm_id and not record.spare.slot.vm_id:
        return record.but(spare=record.spare.but(slot=record.spare.slot.but(chosen=chosen)))
    return record.but(slot=record.slot.but(chosen=chosen))


def delete_confirmed(record: LieutenantRecord, asked: AnnotationRequests, token: str) -> LieutenantRecord:
    """It may go although it is protected: this deletion, or, where none was asked for, this VM once it is dead."""
    other = record.next.but(confirmed=record.next.vm_id) if record.replacement.state == "Confirmed" else record.next
    return record.but(slot=record.slot.but(confirmed=DELETION if asked.deleting else record.slot.vm_id), next=other)


def detached(record: LieutenantRecord, asked: AnnotationRequests, token: str) -> LieutenantRecord:
    """When the object goes, its VM is let go of without being touched."""
    return record.but(detached=True)


def snapshot(record: LieutenantRecord, asked: AnnotationRequests, token: str) -> LieutenantRecord:
    """A snapshot of its machine, as soon as nothing on it would be caught in the middle."""
    return record.but(slot=record.slot.but(asked=True, snapshot=record.slot.snapshot.but(not_before=0.0)))


def rollback(record: LieutenantRecord, asked: AnnotationRequests, token: str) -> LieutenantRecord:
    """Back to the snapshot of this id: `COMMIT:TOKEN`."""
    commit_id, other = token.partition(":")[0], record.spare
    if other.purpose == "Rollback" and other.commit_id != commit_id:  # what is being restored for an earlier request goes first
        other = other.but(commit_id="", verified=False)
    return record.but(spare=other, rollback=RollbackRecord(commit_id=commit_id, state="Asked", at=asked.now))


def rewind(record: LieutenantRecord, asked: AnnotationRequests, token: str) -> LieutenantRecord:
    """So many turns are taken back: `NUMBER:TOKEN`."""
    turns = token.partition(":")[0]
    known = int(turns) if turns.isascii() and turns.isdigit() and len(turns) < 6 else 0
    return record.but(session=record.session.but(rewind=known)) if known else record


def wake(record: LieutenantRecord, asked: AnnotationRequests, token: str) -> LieutenantRecord:
    """One that rests for lack of work is wanted again; it rests again when it has none for as long as is declared."""
    return record.but(rest=rested(record.rest, "", asked.now)) if record.rest.reason == "Idle" else record


HANDLERS: dict[str, Verb] = {
    "wake": wake,
    "retry": retry,
    "resolve": resolve,
    "delete-confirmed": delete_confirmed,
    "detached": detached,
    "snapshot": snapshot,
    "rollback": rollback,
    "rewind": rewind,
}
"""Verb → what it does to the record of a lieutenant. Verbs that are not here are taken by other releases, or by sources."""


RESTS = {"Budget": "its budget is used up", "Idle": "it has had no work for as long as spec.idle says"}
"""Why it is to sleep although its mode is another one, by the reason for which it rests."""


def acknowledge(record: LieutenantRecord, asked: AnnotationRequests) -> Acknowledged:
    """Every verb with a token that was not acted on yet, then the clock of a declared suspension and the end of a crash loop."""
    first, verbs, causes = record, list[str](), list[str]()
    for verb, act in HANDLERS.items() if asked.annotations else ():
        token = asked.annotations.get(PREFIX + verb, "")
        if token and record.handled.get(verb) != token:
            record = act(record, asked, token)
            record = record.but(handled={**record.handled, verb: token})
            verbs.append(verb)
    if asked.suspended and not record.suspend_asked_at:
        causes.append(RESTS.get(record.rest.reason, "spec.mode is Suspended"))
        record = record.but(suspend_asked_at=asked.now)
    elif not asked.suspended and record.suspend_asked_at:
        causes.append("its deletion was asked for" if asked.deleting else "it is to run: spec.mode is Running")
        record = record.but(suspend_asked_at=0.0, abort_at=0.0)
    if record.restart.degraded and record.restart.generation != asked.generation:
        causes.append("its spec was changed, which ends the crash loop")
        record = record.but(restart=LieutenantRecord().restart)
    if (mended := with_a_changed_cause(record, asked)) != record:
        causes.append("what it is made from was changed, so that what failed is tried again")
        record = mended
    return Acknowledged(first if record is first or record == first else record, tuple(verbs), tuple(causes))


def acknowledge_requests(v: SlotPart) -> Decision | None:
    """What people ask for is written down before anything follows from it; each token is acted on once."""
    if v.requests is None:
        return None
    found = acknowledge(v.lt.record, v.requests)
    return Acknowledge(found.verbs, found.causes) if found.record is not v.lt.record else None
