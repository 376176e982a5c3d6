"""From what files declare to what is in force: every scan is applied whole; a broken document leaves its last good version
alone, and nothing is deleted for being absent (G-42, G-43)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from reconciler import paths
from reconciler.api.registry import KINDS
from reconciler.core.keys import Key
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.declarations import Outcome
from reconciler.engine.view import DeclarationPort, ObjectReader
from reconciler.errors import InvalidSpec, Refused, UsageError
from reconciler.paths import Absent, Present, Unreadable
from reconciler.sources.documents.reader import Finding
from reconciler.sources.files.scan import SOURCE, FileDeclared, Scan, scan

AT_ONCE = 100


class FileSync:
    """Applies scans, one after the other. `tell` takes one line for people, each only once until it changes.

    `findings`: everything wrong in the last round, unreadable documents and refused objects alike. `waiting`: what could not be declared
    because an earlier object of its name is still being deleted."""

    def __init__(self, table: ObjectReader, declarations: DeclarationPort, tell: Callable[[str], None]) -> None:
        self._table, self._declarations, self._tell = table, declarations, tell
        self._told: set[str] = set()
        self._broken: frozenset[str] = frozenset()
        self.findings: tuple[Finding, ...] = ()
        self.waiting: set[Key] = set()

    async def round(self, found: Scan) -> int:
        """Apply one scan; returns how many objects changed. Raises what the store says when it can't be written."""
        refused: list[Finding] = []
        self.waiting.clear()
        changed = 0
        for kind in KINDS:
            objects = [declared for declared in found.objects if declared.key.kind == kind.name]
            for start in range(0, len(objects), AT_ONCE):
                results = await asyncio.gather(*(self._apply(one) for one in objects[start : start + AT_ONCE]))
                refused += [result for result in results if isinstance(result, Finding)]
                changed += sum(1 for result in results if result in (Outcome.CREATED, Outcome.CONFIGURED))
        self.findings = tuple(sorted({*found.findings, *refused}))
        self._declarations.flawed({key: str(finding) for key, finding in found.flawed.items()})
        self._report(found)
        return changed

    async def _apply(self, one: FileDeclared) -> Outcome | Finding:
        try:
            return await self._declarations.apply(one)
        except (Refused, UsageError, InvalidSpec) as error:
            item = self._table.get(one.key)
            if item is not None and item.deleting:
                self.waiting.add(one.key)
            field = error.what.partition(":")[0] if isinstance(error, UsageError) and error.what.startswith("spec") else "metadata.name"
            mark = one.at(tuple(field.split("."))) if isinstance(error, UsageError) else one.at(("metadata", "name"))
            what = error.what.removeprefix(f"{field}: ")
            where = f" ({error.where})" if isinstance(error, Refused) and error.where else ""
            remedy = f"; {error.remedy}" if error.remedy else ""
            return Finding(one.file, mark.line, mark.column, field, f"{what}{where}{remedy}")

    def _report(self, found: Scan) -> None:
        """Say what is new since the last round."""
        lines = {str(finding) for finding in self.findings}
        broken = frozenset(finding.file for finding in self.findings)
        lines |= {f"{key.kind.lower()}/{key.name} is no longer declared; kept: `reconciler delete {key.kind.lower()} {key.name}"
                  f" -n {key.namespace}` removes it" for key in (obj.key for obj in self._undeclared(found))}  # fmt: skip
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

    def _undeclared(self, found: Scan) -> Iterable[StoredObject]:
        """Objects declared by files that no file declares any more (nor one that is not looked at here); only said when everything
        could be read."""
        if not found.clean:
            return
        declared = {one.key for one in found.objects}
        for kind in KINDS:
            for item in self._table.of_kind(kind.name):
                if item.obj.source == SOURCE and item.key not in declared and not item.deleting and in_file(item.obj) is False:
                    yield item.obj


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


def still_in_file(obj: StoredObject) -> bool:
    """As `in_file`, before something that can't be undone: raises `Refused` when it can't be told."""
    declared = in_file(obj)
    if declared is None:
        remedy = "correct the permissions of the file and of the directories above it, or what is wrong in it"
        raise Refused(f"it can't be told whether a file still declares {obj.key}", obj.origin, remedy)
    return declared
