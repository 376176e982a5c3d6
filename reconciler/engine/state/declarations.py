"""Declaring and undeclaring: the one way in for every source (files, command line, cluster). Nothing outside is touched
here; the loop does that."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Self

from reconciler.api.annotations import PREFIX, PROTECTION, is_verb
from reconciler.api.parsing import validate_update
from reconciler.api.reasons import Reason
from reconciler.api.registry import finalizers_of
from reconciler.api.sourcereasons import SourceReason
from reconciler.api.treereasons import TreeReason
from reconciler.core.audit import CONTROLLER, WHO, Actor, Change, Entry, changes, verb_of
from reconciler.core.keys import Json, Key, short
from reconciler.core.prune import Blocked
from reconciler.core.records import LieutenantRecord, TaskRecord
from reconciler.core.times import timestamp
from reconciler.core.tree.places import protected_nodes
from reconciler.engine.ports import AddAudit, AddEvent, Clock, PutMeta, StoredObject, Write
from reconciler.engine.recorder import Recorder
from reconciler.engine.state.changes import Note, ObjectChange
from reconciler.engine.state.claimed import Claimed
from reconciler.engine.state.declared import OWNED, Declared, Intake, audited, read_from
from reconciler.engine.state.flaws import note_flaws
from reconciler.engine.state.objects import HALTED, WENT_ON, AnyItem, ObjectTable, parse
from reconciler.engine.state.prunes import BlockedPrune, PruneBook
from reconciler.engine.state.takenover import taken_over
from reconciler.engine.state.tombstones import work_of
from reconciler.errors import NotFound, ReconcilerError, Refused, UsageError

AUDIT_KEPT = 10_000
"""Entries of the audit, where nothing else is configured."""
_NONE: Mapping[str, str] = {}


class Outcome(StrEnum):
    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


class Declarations:
    """Apply, delete and annotate. `new_uid` makes uids (random in production, counted in tests)."""

    def __init__(
        self,
        table: ObjectTable,
        recorder: Recorder,
        clock: Clock,
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
        audit_keep: int = AUDIT_KEPT,
    ) -> None:
        self._table, self._recorder, self._clock, self._new_uid = table, recorder, clock, new_uid
        self._actor, self._keep = CONTROLLER, audit_keep
        self._claimed: dict[Key, Claimed] = {}
        self.on_halt: list[Callable[[], None]] = []

    @property
    def claimed(self) -> Mapping[Key, Claimed]:
        """Machines that claims say are of objects which the store has lost: such an object is taken up as the one that it was, once."""
        return self._claimed

    @claimed.setter
    def claimed(self, found: Mapping[Key, Claimed]) -> None:
        self._claimed.clear()
        self._claimed.update(found)

    def acting(self, actor: Actor) -> Self:
        """The same, for somebody else."""
        other = copy.copy(self)
        other._actor = actor
        return other

    def _audit(self, verb: str, key: Key, uid: str, changed: tuple[Change, ...] = (), actor: Actor | None = None) -> AddAudit:
        """Who did that, to be written with it."""
        who = actor or self._actor
        return AddAudit(Entry(who, verb, key, uid, changed, self._clock.now()), self._keep)

    async def apply(self, declared: Declared) -> Outcome:
        """Make the declaration the one in force. The document must be valid already (`reconciler.api.parsing.parse`).
        Raises `Refused` when another source owns the object or it is being deleted, `UsageError` when an immutable field
        changed; in both cases the last good version stays in force."""
        outcome, change = self.planned(declared)
        if change is not None:
            await self.put_in_force([change])
        return outcome

    def planned(self, declared: Declared, verbs: Mapping[str, str] = _NONE) -> tuple[Outcome, ObjectChange | None]:
        """What `apply` would do, which nothing comes of yet; None where there is nothing to do. `verbs`: annotations that are set with it.
        Raises what `apply` raises."""
        self.check(declared)
        item = self._table.get(declared.key)
        if item is None or (isinstance(item.record, TaskRecord) and self._is_other_work(item.record, item.obj, declared)):
            fresh = self._fresh(declared)
            actor = self._actor_of(declared.source, declared.origin)
            audit = self._audit("created", fresh.key, fresh.uid, changes({}, fresh.spec), actor)
            return Outcome.CREATED, ObjectChange(fresh.key, item, self._item(fresh), (audit,))  # of another task nothing is left
        old = item.obj
        kept = {name: value for name, value in old.annotations.items() if is_verb(name)}
        changed = replace(
            read_from(old, declared),
            spec=declared.spec,
            labels=dict(declared.labels),
            annotations={**kept, **declared.annotations, **verbs},
            generation=old.generation + (old.spec != declared.spec),
        )
        if changed == old:
            return Outcome.UNCHANGED, None
        if changed == read_from(old, declared):
            return Outcome.UNCHANGED, self._changed(item, changed)
        verb, actor = verb_of(old.spec, changed.spec, "changed"), self._actor_of(declared.source, declared.origin)
        asked = self._asked(item, verbs)
        return Outcome.CONFIGURED, self._changed(
            item, changed, *asked, self._audit(verb, old.key, old.uid, changes(audited(old), audited(changed)), actor)
        )

    async def put_in_force(self, changes: Sequence[ObjectChange], notes: Sequence[Note] = ()) -> None:
        """All of that in one step, or nothing of it: whoever reads finds the whole of it or none, and so does the next life of a process
        that ends meanwhile. Raises `Conflict` when an object is not as its change takes it to be, or what the store says."""
        told: list[AddEvent] = [
            event for one in changes if one.reason for event in self._recorder.event(one.key, one.uid, one.reason, one.why)
        ]
        for note in notes:
            told += self._recorder.event(note.key, "", note.reason, note.message, "Warning" if note.warning else "Normal")
        remembered = [note.remember for note in notes if note.remember is not None]
        try:
            await self._table.put_in_force(changes, *told, *remembered)
        except ReconcilerError:
            for event in told:  # it did not come to that: when it does, it is told
                self._recorder.forget(event.event.key)
            raise
        for one in changes:
            if one.before is None:
                self._claimed.pop(one.key, None)  # it is taken up once
        for row in remembered:
            self._table.prunes.note(row.name, row.value)

    def _item(self, obj: StoredObject, old: AnyItem | None = None) -> AnyItem:
        """The object with its spec and record read. Raises `InvalidSpec` for what could not be read again from the store."""
        return parse(obj, self._table.kinds.record_of(obj.key.kind), old)

    def _changed(self, item: AnyItem, obj: StoredObject, *audit: AddAudit) -> ObjectChange:
        return ObjectChange(obj.key, item, self._item(replace(obj, version=item.obj.version + 1), item), audit)

    def _asked(self, item: AnyItem, annotations: Mapping[str, str]) -> list[AddAudit]:
        """Who asked for what by annotations that it does not have."""
        new = {name: value for name, value in annotations.items() if item.obj.annotations.get(name) != value}
        said = [(name, (Change("annotation", None, value),)) for name, value in new.items()]
        return [self._audit(name.removeprefix(PREFIX), item.key, item.uid, told) for name, told in said]

    def check(self, declared: Declared) -> None:
        """Raises what `apply` would raise, and changes nothing."""
        item = self._table.get(declared.key)
        if item is None or (isinstance(item.record, TaskRecord) and self._is_other_work(item.record, item.obj, declared)):
            return
        old = item.obj
        if old.source not in (declared.source, declared.succeeds):
            where = old.origin or f"source {old.source}"
            raise Refused(f"{short(declared.key)} is declared elsewhere", where, "change it there, or delete it there first")
        if old.deleted_at is not None:
            raise Refused(f"{short(declared.key)} is being deleted", old.origin, "wait until it is gone, then declare it again")
        if old.spec != declared.spec:
            problems = validate_update(declared.key.kind, old.spec, declared.spec)
            if problems:
                raise UsageError("; ".join(str(problem) for problem in problems), declared.origin or short(declared.key))

    async def intake(self, seen: Intake, record: Json | None = None, status: Json | None = None, *more: Write) -> Outcome:
        """Take over what a cluster shows. `record`, `status` and further rows: what is known of an object that is new to the
        store. Raises `Refused` when another source owns the object or another one of its name is being deleted, `InvalidSpec`, or
        `UsageError` when an immutable field changed; in each case the last good version stays in force."""
        item = self._table.get(seen.key)
        if item is None:
            fresh = self._fresh(Declared(seen.key, seen.spec, seen.labels, seen.annotations, seen.source, source_id=seen.source_id))
            known = replace(
                fresh,
                uid=seen.uid,
                generation=seen.generation,
                created_at=seen.created_at,
                deleted_at=seen.deleted_at,
                record=fresh.record if record is None else record,
                status=status or {},
            )
            audit = () if record is not None else (self._audit("created", seen.key, seen.uid, changes({}, seen.spec), _CLUSTER),)
            await self._table.put_in_force([ObjectChange(known.key, None, self._item(known))], *more, *audit)
            return Outcome.CREATED
        old = item.obj
        changed, spec = taken_over(item, seen)
        if changed == old:
            return Outcome.UNCHANGED
        asked = old.deleted_at is None and seen.deleted_at is not None
        differ = changes(old.spec, changed.spec)
        if not asked and not more:
            verb = verb_of(old.spec, changed.spec, "changed")
            self._table.follow(changed, spec, *([self._audit(verb, seen.key, old.uid, differ, _CLUSTER)] if differ else ()))
            return Outcome.CONFIGURED
        if asked:
            more = (*more, self._audit("deleted", seen.key, old.uid, differ, _CLUSTER))
        said = self._recorder.event(seen.key, old.uid, Reason.DELETING, seen.why or "deletion was asked for") if asked else []
        await self._table.update(
            [(old.key, lambda obj: replace(changed, version=obj.version, status=obj.status, record=obj.record))], *said, *more
        )
        return Outcome.CONFIGURED

    def flawed(self, found: Mapping[Key, str]) -> set[str]:
        """What is declared and not valid now, each with what is wrong and where, so that whoever refers to it can say so. Its status says
        it, too, where a good version of it is in force; known in memory otherwise: every source tells it again after a start. Returns
        what is told in events by that."""
        told = note_flaws(self._table.flawed, found, self._table.get, self._recorder)
        self._table.note_flawed(found)
        return told

    async def withdraw(self, key: Key, why: str, annotations: Mapping[str, str] = _NONE) -> None:
        """The declaration is gone for good where it lived. What has nothing outside goes at once; the rest is deleted in order.
        `annotations`: set in the same write, since a confirmation means what is asked for then; on what goes already, alone."""
        item = self._table.get(key)
        if item is None:
            return
        if item.deleting and item.obj.finalizers:
            if annotations:
                await self.annotate(key, annotations)
            return
        await self.put_in_force([self._leaving(item, annotations, why, why, self._actor_of(item.obj.source, item.obj.origin))])

    async def delete(
        self,
        key: Key,
        source: str | None = None,
        still_declared: Callable[[StoredObject], bool] = lambda _: False,
        verbs: Mapping[str, str] | None = None,
        why: str = "deletion was asked for",
    ) -> None:
        """Ask for its deletion. `source` None: by command. `verbs`: written with it, such as `delete-confirmed` (then protection does
        not refuse) and `detached`. `why`: told in its event.
        Raises `NotFound`, or `Refused` when it is protected, or when a file still declares it (it would
        come back)."""
        asked = {f"{PREFIX}{verb}": token for verb, token in (verbs or {}).items()}
        if self._table.get(key) is None and key in self._table.tombstones:
            await self._table.purge_task(key)
            return
        item = self._known(key)
        if item.deleting:
            if asked:
                await self.annotate(key, asked)
            return
        await self.put_in_force([self.planned_deletion(item, source, still_declared, verbs or {}, why)])

    def planned_deletion(
        self,
        item: AnyItem,
        source: str | None = None,
        still_declared: Callable[[StoredObject], bool] = lambda _: False,
        verbs: Mapping[str, str] = _NONE,
        why: str = "deletion was asked for",
    ) -> ObjectChange:
        """What `delete` would do to something that is not being deleted; nothing comes of it yet. Raises `Refused` as it does."""
        key, obj = item.key, item.obj
        asked = {f"{PREFIX}{verb}": token for verb, token in verbs.items()}
        if source is None and obj.source.startswith(OWNED):
            remedy = f"remove its node from {obj.source}; the tree would bring it back"
            raise Refused(f"{short(key)} is declared by {obj.source}", "", remedy)
        guarded = protected_nodes(item.spec) if f"{PREFIX}delete-confirmed" not in asked else ()
        if guarded:
            raise Refused(f"{', '.join(guarded)} of {short(key)} is protected from deletion", obj.origin, "confirm it with --confirm")
        if source is None and obj.source_commit and obj.source_commit in self._table.prunes.commits.values():
            raise Refused(f"{short(key)} is declared in a repository", obj.origin, "remove it there, and push; it would come back")
        if source is None and still_declared(obj):
            raise Refused(f"{short(key)} is declared in a file", obj.origin, "remove it there; a file that declares it would bring it back")
        if obj.annotations.get(PROTECTION) == "enabled" and f"{PREFIX}delete-confirmed" not in asked:
            remedy = f"confirm it with --confirm, or remove its annotation {PROTECTION} first"
            raise Refused(f"{short(key)} is protected from deletion", obj.origin, remedy)
        return self._leaving(item, asked, why, "deleted" if source is None else why)

    def _leaving(self, item: AnyItem, annotations: Mapping[str, str], why: str, gone: str, actor: Actor | None = None) -> ObjectChange:
        """Its deletion is asked for, with these annotations; what nothing outside holds is gone at once, which `gone` tells."""
        obj, verbs = item.obj, tuple(Change(name.removeprefix(PREFIX), None, "asked") for name in sorted(annotations))
        audit = self._audit("deleted", item.key, item.uid, verbs, actor)
        if not obj.finalizers:
            asked = item.deleting  # before, and somebody else held it where it is declared
            return ObjectChange(item.key, item, None, () if asked else (audit,), Reason.DELETED, gone)
        change = self._changed(item, replace(obj, deleted_at=self._clock.now(), annotations={**obj.annotations, **annotations}), audit)
        return replace(change, reason=Reason.DELETING, why=why)

    @property
    def prunes(self) -> PruneBook:
        """Deletions that wait for a person."""
        return self._table.prunes

    async def note_blocked(self, blocked: Sequence[Blocked], done: Collection[str] = ()) -> list[Blocked]:
        """Remember which deletions need a person, and tell of those that are new, which are returned; approvals that are `done`, or void,
        are forgotten. Nothing is written when nothing changed."""
        book, rows = self._table.prunes, [BlockedPrune.of(one) for one in blocked]
        book.hold(blocked)
        approved = {one: stack for one, stack in book.approved.items() if one not in done}
        events: list[Write] = []
        new = [one for one, row in zip(blocked, rows, strict=True) if row != book.blocked.get(row.stack)]
        for one in new:
            key = Key("Stack", "", one.stack or "unmarked")
            events += self._recorder.event(key, "", SourceReason.PRUNE_BLOCKED, one.message, "Warning")
        if rows == list(book.blocked.values()) and approved == dict(book.approved):
            return []
        await self._table.update([], book.row(rows, approved), *events)
        book.take(rows, approved)
        return new

    async def approve_prune(self, name: str, seen: str | None = None) -> None:
        """A person approved the removals that are blocked under this hash: they are carried out when a look finds exactly those.
        `seen`: the stack of which whoever asks has found them under this hash. Raises `Refused` when nothing is."""
        book = self._table.prunes
        stack = next((one.stack for one in book.blocked.values() if one.hash and one.hash == name), seen)
        if stack is None:
            raise Refused("nothing is blocked under that hash", name, "`reconciler prune` lists what is")
        if name not in book.approved:
            approved = {**book.approved, name: stack}
            await self._table.update([], book.row(book.blocked.values(), approved))
            book.take(book.blocked.values(), approved)

    async def halt(self, on: bool) -> str:
        """Nothing is created and nothing is delivered from now on, until it is taken back; nothing that runs is touched. Durable when it
        returns. Returns since when (RFC 3339), '' when it does not hold."""
        if on == bool(self._table.halted):
            return self._table.halted
        now = self._clock.now()
        since = timestamp(now) if on else ""
        said = "nothing is created and nothing is delivered from now on" if on else "creating and delivering goes on"
        reason = TreeReason.HALTED if on else TreeReason.GOES_ON
        event = self._recorder.event(Key("Controller", "", "fleet"), "", reason, said, "Warning" if on else "Normal")
        audit = self._audit("halted" if on else "resumed", Key("Controller", "", "fleet"), "")
        went_on = [] if on else [PutMeta(WENT_ON, repr(now))]
        await self._table.update([], PutMeta(HALTED, since), *went_on, audit, *event)
        self._table.halted, self._table.went_on_at = since, self._table.went_on_at if on else now
        for told in tuple(self.on_halt):
            told()
        return since

    async def annotate(self, key: Key, annotations: Mapping[str, str]) -> None:
        """Set annotations: the verbs that are not spec."""
        asked = self._asked(self._known(key), annotations)
        await self._table.update([(key, lambda o: replace(o, annotations={**o.annotations, **annotations}))], *asked)

    async def patch_spec(
        self, key: Key, change: Callable[[StoredObject], Json], source: str | None, verbs: Mapping[str, str] | None = None
    ) -> Outcome:
        """Change the spec of an object of this source, None: of whichever it has. `verbs`: annotations that are set with it."""
        obj = self._known(key).obj
        place = obj.origin, obj.source_id, obj.source_commit
        notes = {**obj.annotations, **(verbs or {})}
        return await self.apply(Declared(key, change(obj), obj.labels, notes, source or obj.source, *place))

    def _known(self, key: Key) -> AnyItem:
        item = self._table.get(key)
        if item is None:
            raise NotFound(f"{short(key)} does not exist", f"namespace {key.namespace}", f"see `reconciler get {key.kind.lower()}`")
        return item

    def _actor_of(self, source: str, origin: str) -> Actor:
        """Who declares by a source: whoever acts, or the place of the declaration."""
        if self._actor is not CONTROLLER:
            return self._actor
        if source.startswith(OWNED):
            return Actor("tree", source[:WHO])
        return Actor("file", (origin.rpartition(":")[0] or origin)[:WHO]) if source == "file" else self._actor

    def _is_other_work(self, record: TaskRecord, obj: StoredObject, declared: Declared) -> bool:
        """Whether a task is declared under the name of one of which only its result is left."""
        return record.recalled and obj.deleted_at is None and work_of(obj.spec) != work_of(declared.spec)

    def _fresh(self, declared: Declared) -> StoredObject:
        record = self._table.kinds.record_of(declared.key.kind)()
        claimed = self.claimed.get(declared.key)
        if claimed is not None and isinstance(record, LieutenantRecord):
            record = claimed.record(declared.spec)
            declared = replace(declared, uid=claimed.uid)
        stone = self._table.tombstones.get(declared.key)
        if stone is not None and stone.work == work_of(declared.spec):
            record = stone.record()  # the same task again: it has its result, and is not done twice
        return StoredObject(
            key=declared.key,
            uid=declared.uid or self._new_uid(),
            generation=1,
            version=1,
            created_at=self._clock.now(),
            spec=declared.spec,
            labels=dict(declared.labels),
            annotations=dict(declared.annotations),
            finalizers=finalizers_of(declared.key.kind),
            record=record.dump(),
            source=declared.source,
            origin=declared.origin,
            source_id=declared.source_id,
            source_commit=declared.source_commit,
        )


_CLUSTER = Actor("cluster")
