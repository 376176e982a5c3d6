"""What is to become of declared objects, planned before anything of it holds: all of it is put in force in one step, or none of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.api.reasons import Reason
from reconciler.api.sourcereasons import SourceReason
from reconciler.core.keys import Key
from reconciler.engine.ports import AddAudit, DropObject, PutMeta, PutObject, StoredObject, Write
from reconciler.engine.state.items import AnyItem


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """What becomes of one object. `before`: as it is when this is planned, None when there is none; `after`: as it will be, None when it
    goes. `audit`: who did what. `reason`, `why`: of the event that tells of it, None where none does."""

    key: Key
    before: AnyItem | None
    after: AnyItem | None
    audit: tuple[AddAudit, ...] = ()
    reason: Reason | None = None
    why: str = ""

    @property
    def uid(self) -> str:
        known = self.after or self.before
        return known.uid if known is not None else ""

    @property
    def another(self) -> bool:
        """Another object of this name takes the place of the one that is there."""
        return self.before is not None and self.after is not None and self.before.uid != self.after.uid

    def steps(self) -> Iterable[tuple[StoredObject | None, StoredObject | None]]:
        """What the object was and what it is, as listeners are told it: one goes before another takes its place."""
        before, after = self.before.obj if self.before else None, self.after.obj if self.after else None
        if self.another:
            yield before, None
        yield (None if self.another else before), after

    def writes(self) -> Iterable[Write]:
        """The rows of the object and of its audit."""
        if self.before is not None and (self.after is None or self.another):
            yield DropObject(self.key, self.before.uid)
        if self.after is not None:
            yield PutObject(self.after.obj, 0 if self.before is None or self.another else self.before.obj.version)
        yield from self.audit


@dataclass(frozen=True, slots=True)
class Note:
    """Something about a source that is told in an event, and what is remembered with it."""

    key: Key
    reason: SourceReason
    message: str
    warning: bool = False
    remember: PutMeta | None = None
