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
from reconciler.core.prune import APART, NAMED, Absence, Blocked, Pruning, Removal, StackState, absences, parts, prune, to_come
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.changes import ObjectChange
from reconciler.engine.state.declarations import Outcome
from reconciler.engine.state.declared import stands
from reconciler.engine.view import DeclarationPort, ObjectReader
from reconciler.errors import InvalidSpec, Refused, UsageError
from reconciler.paths import Absent, Present, Unreadable
from reconciler.sources.documents.reader import Finding
from reconciler.sources.files.planned import Entering, Objection, Plan, Unfit
from reconciler.sources.files.scan import SOURCE, FileDeclared, Scan, scan
from reconciler.sources.files.stack import OnDrift
from reconciler.sources.inventory import SOURCES, Items, in_force, items_of, states

T = TypeVar("T")

AT_ONCE = 100
"""Objects that are compared, or written, before everything else of the process has its turn."""
TOGETHER = 1_000
"""Changed objects of files that are put in force in one step. More of them come AT_ONCE by AT_ONCE; those of a commit never do."""
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
        self._in_events: set[Blocked | str] = set()
        self.findings, self.prunings = tuple[Finding, ...](), tuple[Pruning, ...]()
        self.waiting: set[Key] = set()

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

    async def round(self, found: Scan, foresee: bool = False, entering: Sequence[Entering] = ()) -> int:
        """Apply one scan; returns how many objects changed. `foresee`: see `decide`. `entering`: commits that come in force by it, each
        whole or not at all. Raises what the store says when it is away, `Unfit` when something of such a commit is refused."""
        self.waiting.clear()
        items = items_of(self._table)
        self.prunings = self._decided(await _aside(len(items), states, found, items), foresee)
        due = {one for pruning in self.prunings for one in pruning.due}
        held = {one.key for pruning in self.prunings for one in pruning.stack.removals if one.part and one not in due}
        plans, refused = await self._plan_all(found, held)
        changed = await self._put_in_force(plans, due, refused, entering)
        blocked = [one.blocked for one in self.prunings if one.blocked is not None]
        self._in_events |= set(await self._declarations.note_blocked(blocked, self._over()))
        self.findings = tuple(sorted({*found.findings, *(one.finding for one in refused)}))
        flawed = {**{one.key: one.finding for one in refused if not one.drift and one.key not in self.waiting}, **found.flawed}
        self._in_events |= self._declarations.flawed({key: str(finding) for key, finding in flawed.items()})
        items = items_of(self._table)
        self._report(await _aside(len(items), _undeclared, found, items))
        return changed

    async def _plan_all(self, found: Scan, held: Collection[Key]) -> tuple[list[Plan], list[Objection]]:
        """What is to become of what differs, and what is refused. Nothing is changed."""
        drifts = {stack.policy.uuid for stack in found.stacks if stack.policy.on_drift is OnDrift.REPORT}
        confirmed = self._confirmed()
        by_kind: dict[str, list[FileDeclared]] = {kind.name: [] for kind in KINDS}
        for one in found.objects:
            if one.key not in held:
                by_kind[one.key.kind].append(one)
        plans, refused = list[Plan](), list[Objection]()
        for objects in by_kind.values():
            for start in range(0, len(objects), AT_ONCE):
                differing = [one for one in objects[start : start + AT_ONCE] if not self._stands(one)]
                made = await asyncio.gather(*(self._plan(one, found, drifts, confirmed.get(one.key, {})) for one in differing))
                plans += [one for one in made if isinstance(one, Plan)]
                refused += [one for one in made if isinstance(one, Objection)]
                await asyncio.sleep(0)
        return plans, refused

    async def _put_in_force(self, plans: list[Plan], due: Iterable[Removal], refused: list[Objection], entering: Sequence[Entering]) -> int:
        """Carry out what is planned, and ask for these deletions: in one step, but for too many plain files, which come before. Adds to
        `refused` what is refused by now. Returns how many objects changed."""
        _whole(refused, entering)
        committed = [plan for plan in plans if plan.one.source_commit]
        loose = [plan for plan in plans if not plan.one.source_commit]
        changed = 0
        if len(loose) > TOGETHER:
            for start in range(0, len(loose), AT_ONCE):
                changed += await self._write(self._as_it_is_now(loose[start : start + AT_ONCE], refused))
                await asyncio.sleep(0)
            loose = []
        plans = self._as_it_is_now([*loose, *committed], refused)
        _whole(refused, entering)
        changed += await self._write(plans, self._deletions(due), entering, changed)
        return changed

    async def _write(
        self, plans: Sequence[Plan], deletions: Sequence[ObjectChange] = (), entering: Sequence[Entering] = (), before: int = 0
    ) -> int:
        many = sum(plan.outcome is not Outcome.UNCHANGED for plan in plans) + len(deletions)
        changes = [plan.change for plan in plans if plan.change is not None]
        await self._declarations.put_in_force([*changes, *deletions], [one.note(before + many) for one in entering])
        for plan in plans:
            self._applied[plan.one.key] = plan.one.spec
            if plan.drifted:
                self._tell(f"{plan.one.place}: {short(plan.one.key)} was changed elsewhere; put back as it is declared here")
        for one in deletions:
            self._applied.pop(one.key, None)
        return many

    def _as_it_is_now(self, plans: Iterable[Plan], refused: list[Objection]) -> list[Plan]:
        """The same plans, made again for objects that somebody else changed meanwhile."""
        now: list[Plan] = []
        for plan in plans:
            if plan.change is None or self._table.get(plan.one.key) is not plan.change.before:
                try:
                    outcome, change = self._declarations.planned(plan.one, plan.verbs)
                except (Refused, UsageError, InvalidSpec) as error:
                    refused.append(Objection(plan.one.key, plan.one.source_commit, self._refusal(plan.one, error)))
                    continue
                plan = replace(plan, outcome=outcome, change=change)
            now.append(plan)
        return now

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
            plan = await self._plan(one, found, set(), {})
            changed |= isinstance(plan, Plan) and await self._write([plan]) > 0
        return changed

    def _over(self) -> set[str]:
        """Approvals that are carried out, and those of what a look found to be otherwise: they are good for nothing later."""
        sure = {one.stack.id for one in self.prunings if one.wait is None and not one.stack.unclear}
        blocked = {one.blocked.hash for one in self.prunings if one.blocked is not None}
        return {name for name, stack in self._declarations.prunes.approved.items() if stack in sure and name not in blocked}

    def _confirmed(self) -> dict[Key, Mapping[str, str]]:
        """Trees of which a person let protected nodes go are told so when they are declared without them."""
        parts_due = ((pruning, one) for pruning in self.prunings for one in pruning.due if one.part and one.protected)
        return {one.key: {f"{PREFIX}delete-confirmed": pruning.approval} for pruning, one in parts_due}

    def _deletions(self, due: Iterable[Removal]) -> list[ObjectChange]:
        """Asking for these deletions, what others depend on last."""
        order = {kind.name: number for number, kind in enumerate(KINDS)}
        root = {one: pruning for pruning in self.prunings for one in pruning.due}
        found: list[ObjectChange] = []
        for one in sorted((one for one in due if not one.part), key=lambda one: (-order[one.key.kind], one)):
            item = self._table.get(one.key)
            if item is None or item.uid != one.uid or item.deleting:
                continue
            pruning = root[one]
            verbs = {"delete-confirmed": pruning.approval} if pruning.approval else {}
            why = f"pruned: not declared any more in stack {pruning.stack.root}"
            found.append(self._declarations.planned_deletion(item, item.obj.source, verbs=verbs, why=why))
        return found

    async def unfit(self, one: FileDeclared, found: Scan) -> Finding | None:
        """What would be wrong with applying this one of a scan; nothing is changed."""
        try:
            self._declarations.check(await self._succeeding(one, found))
        except (Refused, UsageError, InvalidSpec) as error:
            return self._refusal(one, error)
        return None

    async def _plan(self, one: FileDeclared, found: Scan, drifts: Collection[str], verbs: Mapping[str, str]) -> Plan | Objection | None:
        """None: what is in force came into its file after this look."""
        try:
            item = self._table.get(one.key)
            one = await self._succeeding(one, found)
            drifted = item is not None and item.obj.spec != one.spec and self._applied.get(one.key) == one.spec
            if drifted and item is not None and await asyncio.to_thread(spec_in_file, item.obj) == item.obj.spec:
                return None
            if drifted and one.source_id in drifts:
                message = "was changed elsewhere; that stays in force, because `onDrift` is Report: Revert would put it back"
                return Objection(one.key, "", self._finding(one, "spec", message), drift=True)
            return Plan(one, *self._declarations.planned(one, verbs), verbs, drifted)
        except (Refused, UsageError, InvalidSpec) as error:
            return Objection(one.key, one.source_commit, self._refusal(one, error))

    def _refusal(self, one: FileDeclared, error: Refused | UsageError | InvalidSpec) -> Finding:
        if (item := self._table.get(one.key)) is not None and item.deleting:
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
        if item is None or (obj := item.obj).origin == one.origin:
            return one
        file = obj.origin.rpartition(":")[0]
        if obj.source not in SOURCES or file == one.origin.rpartition(":")[0] or file in found.read:
            return one
        if obj.source == SOURCE and await asyncio.to_thread(still_in_file, obj):
            remedy = "remove it there first, or give this one another name; of two fleets each needs a state directory of its own (--state)"
            raise Refused(f"{short(one.key)} is declared in another file", obj.origin, remedy)
        return replace(one, succeeds=obj.source)

    def _report(self, undeclared: Iterable[Key]) -> None:
        """Say what is new since the last round. `undeclared`: what is kept though nothing declares it any more."""
        found = {str(finding) for finding in self.findings}
        lines = found - self._in_events
        broken = frozenset(finding.file for finding in self.findings)
        lines |= {f"{short(key)} is no longer declared; kept: `reconciler delete {key.kind.lower()} {key.name}"
                  f" -n {key.namespace}` removes it" for key in undeclared}  # fmt: skip
        blocked = {one.blocked for one in self.prunings if one.blocked is not None}
        self._in_events &= {*blocked, *found}
        lines |= {f"PruneBlocked: {one.message}" for one in blocked - self._in_events}  # of an earlier life: its event was told then
        for pruning in self.prunings:
            if pruning.wait is not None:
                lines |= self._awaited(pruning)
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

    def _awaited(self, pruning: Pruning) -> set[str]:
        """What is absent and has not been so for long enough: what becomes of it then."""
        (later,) = to_come([pruning], self._declarations.prunes.approved)
        why = later.blocked.why if later.blocked is not None else ""
        gone = f"it is deleted if that stays so for {APART:g} s"
        kept = f"if that stays so for {APART:g} s, its deletion waits for a person: {why}"
        root = pruning.stack.root
        return {
            f"{one} is no longer declared in stack {root}; {gone if one in later.due else kept}" for one in pruning.stack.removals[:NAMED]
        }


def _whole(refused: Iterable[Objection], entering: Iterable[Entering]) -> None:
    """Raises `Unfit` when something of a commit that comes in force is refused."""
    commits = {one.commit for one in entering}
    if unfit := [one for one in refused if one.commit in commits]:
        raise Unfit(unfit)


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
        raise Refused(f"it can't be told whether a file still declares {short(obj.key)}", obj.origin, remedy)
    return declared
