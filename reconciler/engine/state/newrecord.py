"""The change of an object that most acts make: another record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.core.records import Record
from reconciler.core.values import replaced
from reconciler.engine.ports import StoredObject


@dataclass(frozen=True, slots=True)
class NewRecord:
    """The change that replaces the record of an object."""

    record: Record

    def __call__(self, obj: StoredObject) -> StoredObject:
        return replaced(obj, record=self.record.dump())


def with_record(record: Record) -> Callable[[StoredObject], StoredObject]:
    """Replace the record of an object."""
    return NewRecord(record)
