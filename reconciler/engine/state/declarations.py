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
from reconciler.api.parsing import changes_refused, load_spec, validate_update
from reconciler.api.reasons import Reason
from reconciler.api.registry import finalizers_of
from reconciler.api.sourcereasons import SourceReason
from reconciler.api.treereasons import TreeReason
from reconciler.core.audit import CONTROLLER, WHO, Actor, Change, Entry, changes, verb_of
from reconciler.core.keys import Json, Key
from reconciler.core.prune import Blocked
from reconciler.core.records import LieutenantRecord, TaskRecord
from reconciler.core.times import timestamp
from reconciler.core.tree.places import protected_nodes
from reconciler.engine.ports import AddAudit, Clock, PutMeta, StoredObject, Write
from reconciler.engine.recorder import Recorder
from reconciler.engine.state.claimed import Claimed
from reconciler.engine.state.declared import OWNED, Declared, Intake
from reconciler.engine.state.objects import HALTED, ObjectTable
from reconciler.engine.state.prunes import BlockedPrune, PruneBook
from reconciler.engine.state.tombstones import work_of
from reconciler.errors import NotFound, ReconcilerError, Refused, UsageError

AUDIT_KEPT = 10_000
"""Entries of the audit, where nothing else is configured."""
_MOST_OWED = 1_000


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
        self._owed: list[AddAudit] = []

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
        self.check(declared)
        item = self._table.get(declared.key)
        if item is not None and isinstance(item.record, TaskRecord) and self._is_other_work(item.record, item.obj, declared):
            await self._table.drop(declared.key)  # what is left of another task of that name
            item = None
        if item is None:
            fresh = self._fresh(declared)
            actor = self._actor_of(declared.source, declared.origin)
            await self._table.insert(fresh, self._audit("created", fresh.key, fresh.uid, changes({}, fresh.spec), actor))
            self._claimed.pop(declared.key, None)  # it is taken up once
            return Outcome.CREATED
        old = item.obj
        verbs = {name: value for name, value in old.annotations.items() if is_verb(name)}
        changed = replace(
            old,
            spec=declared.spec,
            labels=dict(declared.labels),
            annotations={**verbs, **declared.annotations},
            source=declared.source,
            origin=declared.origin,
            source_id=declared.source_id,
            source_commit=declared.source_commit,
            generation=old.generation + (old.spec != declared.spec),
        )
        if changed == read_from(old, declared):
            if changed != old:
                await self._table.update([(old.key, lambda obj: read_from(obj, declared))])
            return Outcome.UNCHANGED
        verb, actor = verb_of(old.spec, changed.spec, "changed"), self._actor_of(declared.source, declared.origin)
        audit = self._audit(verb, old.key, old.uid, changes(_declared(old), _declared(changed)), actor)
        put = replaced_by(changed)
        await self._table.update([(old.key, put)], audit)
        return Outcome.CONFIGURED

    def check(self, declared: Declared) -> None:
        """Raises what `apply` would raise, and changes nothing."""
        item = self._table.get(declared.key)
        if item is None or (isinstance(item.record, TaskRecord) and self._is_other_work(item.record, item.obj, declared)):
            return
        old = item.obj
        if old.source not in (declared.source, declared.succeeds):
            where = old.origin or f"source {old.source}"
            raise Refused(f"{declared.key} is declared elsewhere", where, "change it there, or delete it there first")
        if old.deleted_at is not None:
            raise Refused(f"{declared.key} is being deleted", old.origin, "wait until it is gone, then declare it again")
        if old.spec != declared.spec:
            problems = validate_update(declared.key.kind, old.spec, declared.spec)
            if problems:
                raise UsageError("; ".join(str(problem) for problem in problems), declared.origin or str(declared.key))

    async def intake(self, seen: Intake, record: Json | None = None, status: Json | None = None, *more: Write) -> Outcome:
        """Take over what a cluster shows. `record`, `status` and further rows: what is known of an object that is new to the
        store. Raises `Refused` when another source owns the object or another one of its name is being deleted, `InvalidSpec`, or
        `UsageError` when an immutable field changed; in each case the last good version stays in force."""
        item = self._table.get(seen.key)
        spec = item.spec if item is not None and item.obj.spec == seen.spec else load_spec(seen.key.kind, seen.spec, tolerant=True)
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
            await self._table.insert(known, *more, *audit)
            return Outcome.CREATED
        old = item.obj
        if old.source != seen.source:
            raise Refused(
                f"{seen.key} is declared elsewhere", old.origin or f"source {old.source}", "change it there, or delete it there first"
            )
        if old.uid != seen.uid:
            raise Refused(f"an earlier {seen.key} is being deleted", f"uid {old.uid}", "wait until it is gone")
        if spec is not item.spec and (problems := changes_refused(item.spec, spec)):
            raise UsageError("; ".join(str(problem) for problem in problems), str(seen.key))
        asked = old.deleted_at is None and seen.deleted_at is not None
        changed = replace(
            old,
            spec=old.spec if spec is item.spec else seen.spec,
            labels=dict(seen.labels),
            annotations=dict(seen.annotations),
            generation=seen.generation,
            deleted_at=old.deleted_at if seen.deleted_at is None else seen.deleted_at,
            source_id=seen.source_id,
        )
        if changed == old:
            return Outcome.UNCHANGED
        differ = changes(old.spec, changed.spec)
        if not asked and not more:
            self._table.follow(changed, spec)
            if differ:
                await self._note_followed(self._audit(verb_of(old.spec, changed.spec, "changed"), seen.key, old.uid, differ, _CLUSTER))
            return Outcome.CONFIGURED
        if asked:
            more = (*more, self._audit("deleted", seen.key, old.uid, differ, _CLUSTER))
        said = self._recorder.event(seen.key, old.uid, Reason.DELETING, seen.why or "deletion was asked for") if asked else []
        await self._table.update(
            [(old.key, lambda obj: replace(changed, version=obj.version, status=obj.status, record=obj.record))], *said, *more
        )
        return Outcome.CONFIGURED

    async def _note_followed(self, entry: AddAudit) -> None:
        """The change itself is the cluster's: it is in force whether or not the store takes its entry, which is written with the next one
        then."""
        self._owed = [*self._owed, entry][-_MOST_OWED:]
        owed, self._owed = self._owed, []
        try:
            await self._table.update([], *owed)
        except ReconcilerError:
            self._owed = [*owed, *self._owed][-_MOST_OWED:]

    def flawed(self, found: Mapping[Key, str]) -> None:
        """What is declared and not valid now, each with what is wrong and where, so that whoever refers to it can say so. Known in memory
        only: every source tells it again after a start."""
        self._table.note_flawed(found)

    async def withdraw(self, key: Key, why: str) -> None:
        """The declaration is gone for good where it lived. What has nothing outside goes at once; the rest is deleted in order."""
        item = self._table.get(key)
        if item is None or item.obj.deleted_at is not None:
            return
        now = self._clock.now()
        if not item.obj.finalizers:
            audit = self._audit("deleted", key, item.uid, (), self._actor_of(item.obj.source, item.obj.origin))
            await self._table.drop(key, audit, *self._recorder.event(key, item.uid, Reason.DELETED, why))
            return
        audit = self._audit("deleted", key, item.uid, (), self._actor_of(item.obj.source, item.obj.origin))
        said = self._recorder.event(key, item.uid, Reason.DELETING, why)
        await self._table.update([(key, lambda o: replace(o, deleted_at=now))], audit, *said)

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
        item = self._table.get(key)
        if item is None and key in self._table.tombstones:
            await self._table.purge_task(key)
            return
        if item is None:
            raise NotFound(f"{key} does not exist", f"namespace {key.namespace}", f"see `reconciler get {key.kind.lower()}`")
        obj = item.obj
        if obj.deleted_at is not None:
            if asked:
                await self.annotate(key, asked)
            return
        if source is None and obj.source.startswith(OWNED):
            remedy = f"remove its node from {obj.source}; the tree would bring it back"
            raise Refused(f"{key} is declared by {obj.source}", "", remedy)
        guarded = protected_nodes(item.spec) if f"{PREFIX}delete-confirmed" not in asked else ()
        if guarded:
            raise Refused(f"{', '.join(guarded)} of {key} is protected from deletion", obj.origin, "confirm it with --confirm")
        if source is None and obj.source_commit and obj.source_commit in self._table.prunes.commits.values():
            raise Refused(f"{key} is declared in a repository", obj.origin, "remove it there, and push; it would come back")
        if source is None and still_declared(obj):
            raise Refused(f"{key} is declared in a file", obj.origin, "remove it there; a file that declares it would bring it back")
        if obj.annotations.get(PROTECTION) == "enabled" and f"{PREFIX}delete-confirmed" not in asked:
            remedy = f"confirm it with --confirm, or remove its annotation {PROTECTION} first"
            raise Refused(f"{key} is protected from deletion", obj.origin, remedy)
        also = tuple(Change(verb, None, "asked") for verb in sorted(verbs or {}))
        now, audit = self._clock.now(), self._audit("deleted", key, obj.uid, also)
        if not obj.finalizers:
            said = self._recorder.event(key, obj.uid, Reason.DELETED, "deleted" if source is None else why)
            await self._table.drop(key, audit, *said)
            return
        await self._table.update(
            [(key, lambda o: replace(o, deleted_at=now, annotations={**o.annotations, **asked}))],
            audit,
            *self._recorder.event(key, obj.uid, Reason.DELETING, why),
        )

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

    async def note(self, key: Key, reason: SourceReason, message: str, *, warning: bool = False, remember: PutMeta | None = None) -> None:
        """Tell of something about a source, and remember it."""
        event = self._recorder.event(key, "", reason, message, "Warning" if warning else "Normal")
        if event or remember is not None:
            await self._table.update([], *event, *([remember] if remember is not None else []))
        if remember is not None:
            self._table.prunes.note(remember.name, remember.value)

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
        since = timestamp(self._clock.now()) if on else ""
        said = "nothing is created and nothing is delivered from now on" if on else "creating and delivering goes on"
        reason = TreeReason.HALTED if on else TreeReason.GOES_ON
        event = self._recorder.event(Key("Controller", "", "fleet"), "", reason, said, "Warning" if on else "Normal")
        audit = self._audit("halted" if on else "resumed", Key("Controller", "", "fleet"), "")
        await self._table.update([], PutMeta(HALTED, since), audit, *event)
        self._table.halted = since
        return since

    async def annotate(self, key: Key, annotations: Mapping[str, str]) -> None:
        """Set annotations: the verbs that are not spec."""
        item = self._table.get(key)
        if item is None:
            raise NotFound(f"{key} does not exist", f"namespace {key.namespace}", f"see `reconciler get {key.kind.lower()}`")
        asked = [name for name, value in annotations.items() if item.obj.annotations.get(name) != value]
        audit = [self._audit(name.removeprefix(PREFIX), key, item.uid, (Change("annotation", None, annotations[name]),)) for name in asked]
        await self._table.update([(key, lambda o: replace(o, annotations={**o.annotations, **annotations}))], *audit)

    async def patch_spec(self, key: Key, change: Callable[[Json], Json], source: str) -> Outcome:
        """Change the spec of an object of this source."""
        item = self._table.get(key)
        if item is None:
            raise NotFound(f"{key} does not exist", f"namespace {key.namespace}", f"see `reconciler get {key.kind.lower()}`")
        obj = item.obj
        place = obj.origin, obj.source_id, obj.source_commit
        return await self.apply(Declared(key, change(dict(obj.spec)), obj.labels, obj.annotations, source, *place))

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


def _declared(obj: StoredObject) -> Json:
    """What somebody declares of an object, as far as an audit tells it."""
    labels: Json = {"labels": dict(obj.labels)} if obj.labels else {}
    return {**obj.spec, **labels}


def replaced_by(changed: StoredObject) -> Callable[[StoredObject], StoredObject]:
    """This declaration instead, with what the controller knows as it is now."""
    return lambda obj: replace(changed, version=obj.version, status=obj.status, record=obj.record)


def read_from(obj: StoredObject, declared: Declared) -> StoredObject:
    """The object with the place at which its declaration stands now."""
    return replace(obj, source=declared.source, origin=declared.origin, source_id=declared.source_id, source_commit=declared.source_commit)
