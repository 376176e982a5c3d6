"""From what is declared to what is in force: every scan is applied whole; a broken document leaves its last good version alone, and what
is not declared any more is deleted only as `core.prune` says (G-42, G-43)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from reconciler import paths
from reconciler.api.annotations import PREFIX
from reconciler.api.parsing import load_spec
from reconciler.api.registry import KINDS
from reconciler.core.keys import Json, Key, short
from reconciler.core.prune import APART, NAMED, Absence, Blocked, Pruning, Removal, StackState, absences, parts, prune
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.declarations import Outcome
from reconciler.engine.state.declared import stands
from reconciler.engine.view import DeclarationPort, ObjectReader
from reconciler.errors import InvalidSpec, Refused, UsageError
from reconciler.paths import Absent, Present, Unreadable
from reconciler.sources.documents.reader import Finding
from reconciler.sources.files.scan import SOURCE, FileDeclared, Scan, scan
from reconciler.sources.files.stack import OnDrift
from reconciler.sources.inventory import SOURCES, Items, in_force, items_of, states

T = TypeVar("T")

AT_ONCE = 100
"""Objects that are compared and written before everything else of the process has its turn."""
MANY = 500
"""So many objects are looked through in a thread."""


class FileSync:
    """Applies scans, one after the other. `tell` takes one line for people, each only once until it changes. `now`: seconds; without it,
    those of the running loop.

    `findings`: everything wrong in the last round, unreadable documents and refused objects alike. `waiting`: what could not be declared
    because an earlier object of its name is still being deleted. `prunings`: what the last round found of every stack about deletions."""

    def __init__(
        self,
        table: ObjectReader,
        declarations: DeclarationPort,
        tell: Callable[[str], None],
        now: Callable[[], float] | None = None,
    ) -> None:
        self._table, self._declarations, self._tell, self._now = table, declarations, tell, now
        self._told: set[str] = set()
        self._broken: frozenset[str] = frozenset()
        self._absent: Mapping[Removal, Absence] = {}
        self._applied: dict[Key, Json] = {}
        self._in_events: set[Blocked] = set()
        self.findings: tuple[Finding, ...] = ()
        self.waiting: set[Key] = set()
        self.prunings: tuple[Pruning, ...] = ()

    @property
    def look_again(self) -> float | None:
        """Seconds until what is absent has been so for long enough; None when nothing is."""
        waits = [one.wait for one in self.prunings if one.wait is not None]
        return min(waits) if waits else None

    @property
    def blocked(self) -> bool:
        """Something is not as declared until a person acts."""
        return any(one.blocked is not None for one in self.prunings)

    def decide(self, found: Scan, foresee: bool = False) -> tuple[Pruning, ...]:
        """What becomes of what is not declared any more, by stack. `foresee`: as if this look were the second one."""
        return self._decided(states(found, items_of(self._table)), foresee)

    def _decided(self, known: Sequence[StackState], foresee: bool) -> tuple[Pruning, ...]:
        now = self._now() if self._now is not None else asyncio.get_running_loop().time()
        self._absent = absences(self._absent, known, now)
        seen = {one: Absence(float("-inf")) for one in self._absent} if foresee else self._absent
        return tuple(prune(stack, seen, now, self._declarations.prunes.approved) for stack in known)

    async def round(self, found: Scan, foresee: bool = False) -> int:
        """Apply one scan; returns how many objects changed. `foresee`: see `decide`. Raises what the store says when it is away."""
        self.waiting.clear()
        items = items_of(self._table)
        self.prunings = self._decided(await _aside(len(items), states, found, items), foresee)
        due = {one for pruning in self.prunings for one in pruning.due}
        held = {one.key for pruning in self.prunings for one in pruning.stack.removals if one.part and one not in due}
        await self._confirm()
        changed, refused = await self._apply_all(found, held)
        changed += await self._delete(due)
        blocked = [one.blocked for one in self.prunings if one.blocked is not None]
        self._in_events |= set(await self._declarations.note_blocked(blocked, self._over()))
        self.findings = tuple(sorted({*found.findings, *refused}))
        self._declarations.flawed({key: str(finding) for key, finding in found.flawed.items()})
        items = items_of(self._table)
        self._report(await _aside(len(items), _undeclared, found, items))
        return changed

    async def _apply_all(self, found: Scan, held: Collection[Key]) -> tuple[int, list[Finding]]:
        """Put in force what differs. Returns how many objects changed, and what was refused."""
        drifts = {stack.policy.uuid for stack in found.stacks if stack.policy.on_drift is OnDrift.REPORT}
        by_kind: dict[str, list[FileDeclared]] = {kind.name: [] for kind in KINDS}
        for one in found.objects:
            if one.key not in held:
                by_kind[one.key.kind].append(one)
        changed, refused = 0, list[Finding]()
        for objects in by_kind.values():
            for start in range(0, len(objects), AT_ONCE):
                differing = [one for one in objects[start : start + AT_ONCE] if not self._stands(one)]
                results = await asyncio.gather(*(self._apply(one, found, drifts) for one in differing))
                refused += [result for result in results if isinstance(result, Finding)]
                changed += sum(1 for result in results if result in (Outcome.CREATED, Outcome.CONFIGURED))
                await asyncio.sleep(0)
        return changed, refused

    def _stands(self, one: FileDeclared) -> bool:
        item = self._table.get(one.key)
        if item is None or not stands(item.obj, one):
            return False
        self._applied[one.key] = one.spec
        return True

    async def ahead(self, objects: Iterable[FileDeclared], found: Scan) -> bool:
        """Put some objects in force before the round that looks at everything, which tells of what is wrong with them; returns whether
        any changed. `found`: the last scan. Only what is declared there already, and loses nothing by it, is touched."""
        changed = False
        for one in objects:
            item = self._table.get(one.key)
            kept = item is not None and not item.deleting and item.obj.source == one.source
            if item is None or not kept or (item.obj.spec != one.spec and self._applied.get(one.key) != item.obj.spec):
                continue
            if item.obj.spec != one.spec and parts(item.spec, load_spec(one.key.kind, one.spec, tolerant=True)):
                continue
            changed |= await self._apply(one, found, set()) is Outcome.CONFIGURED
        return changed

    def _over(self) -> set[str]:
        """Approvals that are carried out, and those of what a look found to be otherwise: they are good for nothing later."""
        sure = {one.stack.id for one in self.prunings if one.wait is None and not one.stack.unclear}
        blocked = {one.blocked.hash for one in self.prunings if one.blocked is not None}
        return {name for name, stack in self._declarations.prunes.approved.items() if stack in sure and name not in blocked}

    async def _confirm(self) -> None:
        """Trees of which a person let protected nodes go are told so before they are declared without them."""
        for pruning in self.prunings:
            for key in {one.key for one in pruning.due if one.part and one.protected}:
                await self._declarations.annotate(key, {f"{PREFIX}delete-confirmed": pruning.approval})

    async def _delete(self, due: Iterable[Removal]) -> int:
        """Ask for these deletions, what others depend on last."""
        order = {kind.name: number for number, kind in enumerate(KINDS)}
        root = {one: pruning for pruning in self.prunings for one in pruning.due}
        done = 0
        for one in sorted((one for one in due if not one.part), key=lambda one: (-order[one.key.kind], one)):
            item = self._table.get(one.key)
            if item is None or item.uid != one.uid:
                continue
            pruning = root[one]
            verbs = {"delete-confirmed": pruning.approval} if pruning.approval else {}
            why = f"pruned: not declared any more in stack {pruning.stack.root}"
            await self._declarations.delete(one.key, item.obj.source, verbs=verbs, why=why)
            self._applied.pop(one.key, None)
            done += 1
        return done

    async def unfit(self, one: FileDeclared, found: Scan) -> Finding | None:
        """What would be wrong with applying this one of a scan; nothing is changed."""
        try:
            self._declarations.check(await self._succeeding(one, found))
        except (Refused, UsageError, InvalidSpec) as error:
            return self._refusal(one, error)
        return None

    async def _apply(self, one: FileDeclared, found: Scan, drifts: set[str]) -> Outcome | Finding:
        try:
            item = self._table.get(one.key)
            one = await self._succeeding(one, found)
            drifted = item is not None and item.obj.spec != one.spec and self._applied.get(one.key) == one.spec
            if drifted and item is not None and await asyncio.to_thread(spec_in_file, item.obj) == item.obj.spec:
                return Outcome.UNCHANGED  # its file was written since this look, and is in force already
            if drifted and one.source_id in drifts:
                message = "was changed elsewhere; that stays in force, because `onDrift` is Report: Revert would put it back"
                return self._finding(one, "spec", message)
            outcome = await self._declarations.apply(one)
            self._applied[one.key] = one.spec
            if drifted:
                self._tell(f"{one.place}: {short(one.key)} was changed elsewhere; put back as it is declared here")
            return outcome
        except (Refused, UsageError, InvalidSpec) as error:
            return self._refusal(one, error)

    def _refusal(self, one: FileDeclared, error: Refused | UsageError | InvalidSpec) -> Finding:
        item = self._table.get(one.key)
        if item is not None and item.deleting:
            self.waiting.add(one.key)
        field = error.what.partition(":")[0] if isinstance(error, UsageError) and error.what.startswith("spec") else "metadata.name"
        what = error.what.removeprefix(f"{field}: ")
        where = f" ({error.where})" if isinstance(error, Refused) and error.where else ""
        remedy = f"; {error.remedy}" if error.remedy else ""
        return self._finding(one, field, f"{what}{where}{remedy}")

    def _finding(self, one: FileDeclared, field: str, message: str) -> Finding:
        mark = one.at(tuple(field.split(".")))
        return Finding(one.file, mark.line, mark.column, field, message)

    async def _succeeding(self, one: FileDeclared, found: Scan) -> FileDeclared:
        """An object that stands elsewhere than before: where it stood is asked whether it still does, unless this look saw that. Raises
        `Refused` naming that place when it does, or when that can't be told (G-40)."""
        item = self._table.get(one.key)
        if item is None or item.obj.origin == one.origin:
            return one
        obj = item.obj
        file = obj.origin.rpartition(":")[0]
        if obj.source not in SOURCES or file == one.origin.rpartition(":")[0] or file in found.read:
            return one
        if obj.source == SOURCE and await asyncio.to_thread(still_in_file, obj):
            raise Refused(f"{one.key} is declared in another file", obj.origin, "remove it there first, or give this one another name")
        return replace(one, succeeds=obj.source)

    def _report(self, undeclared: Iterable[Key]) -> None:
        """Say what is new since the last round. `undeclared`: what is kept though nothing declares it any more."""
        lines = {str(finding) for finding in self.findings}
        broken = frozenset(finding.file for finding in self.findings)
        lines |= {f"{short(key)} is no longer declared; kept: `reconciler delete {key.kind.lower()} {key.name}"
                  f" -n {key.namespace}` removes it" for key in undeclared}  # fmt: skip
        blocked = {one.blocked for one in self.prunings if one.blocked is not None}
        self._in_events &= blocked
        lines |= {f"PruneBlocked: {one.message}" for one in blocked - self._in_events}  # of an earlier life: its event was told then
        lines |= {
            f"{one} is no longer declared in stack {pruning.stack.root}; it is deleted if that stays so for {APART:g} s"
            for pruning in self.prunings
            if pruning.wait is not None
            for one in pruning.stack.removals[:NAMED]
        }
        for line in sorted(lines - self._told):
            self._tell(line)
        unknown: set[str] = set()
        for file in sorted(self._broken - broken):
            match paths.look(Path(file)):
                case Present():
                    self._tell(f"{file}: good again")
                case Absent():
                    self._tell(f"{file}: gone, and with it what was wrong in it")
                case Unreadable():  # the finding about what is above it says why
                    unknown.add(file)
        self._told, self._broken = lines, broken | unknown


async def _aside(many: int, work: Callable[[Scan, Items], T], found: Scan, items: Items) -> T:
    """In a thread, when it takes longer than everything else of the process should wait."""
    return await asyncio.to_thread(work, found, items) if many > MANY else work(found, items)


def _undeclared(found: Scan, items: Items) -> list[Key]:
    """Objects of no stack, or of one that was not read, that no file declares any more (nor one that is not looked at here); only said
    when everything could be read."""
    if not found.clean:
        return []
    declared = {one.key for one in found.objects}
    read = {stack.policy.uuid for stack in found.stacks}
    repositories = {file.rpartition(":")[0] for file in found.read}
    gone: list[Key] = []
    for item in in_force(items):
        if item.key in declared or item.obj.source_id in read:
            continue
        if item.obj.source == SOURCE:
            absent = in_file(item.obj) is False
        else:
            absent = item.obj.origin.rsplit(":", 2)[0] in repositories
        if absent:
            gone.append(item.key)
    return gone


def in_file(obj: StoredObject) -> bool | None:
    """Whether the file that declared this object still does; None when that can't be told (blocks for one small read)."""
    if obj.source != SOURCE or not obj.origin:
        return False
    file = Path(obj.origin.rpartition(":")[0])
    match paths.look(file):
        case Absent():
            return False
        case Unreadable():
            return None
        case seen:
            if not seen.is_file:
                return False
    found = scan([file], obj.key.namespace)
    if obj.key in found.flawed or any(one.key == obj.key for one in found.objects):
        return True
    return None if any(finding.field == "" for finding in found.findings) else False


def spec_in_file(obj: StoredObject) -> Json | None:
    """What the file that declared this object says of it now; None when it does not declare it well, or at all (blocks for one small
    read)."""
    if obj.source != SOURCE or not obj.origin:
        return None
    found = scan([Path(obj.origin.rpartition(":")[0])], obj.key.namespace)
    return next((one.spec for one in found.objects if one.key == obj.key), None)


def still_in_file(obj: StoredObject) -> bool:
    """As `in_file`, before something that can't be undone: raises `Refused` when it can't be told."""
    declared = in_file(obj)
    if declared is None:
        remedy = "correct the permissions of the file and of the directories above it, or what is wrong in it"
        raise Refused(f"it can't be told whether a file still declares {obj.key}", obj.origin, remedy)
    return declared
