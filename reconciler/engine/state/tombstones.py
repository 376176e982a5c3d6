"""What is remembered of a task whose data was removed when its time was over: enough to know it again (design §7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from reconciler.api.reasons import Reason
from reconciler.core.keys import Json, Key
from reconciler.core.keys import task as task_key
from reconciler.core.profile.digests import digest
from reconciler.core.records import FINISHED, TaskRecord
from reconciler.engine.ports import PutMeta

PREFIX = "tombstone/"
NOT_THE_WORK = ("cancel", "approvals", "budget")
"""The fields of a task that do not say what is to be done."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """`work`: digest of what was to be done; the rest is the result."""

    work: str
    phase: str
    reason: str
    finished_at: float

    @classmethod
    def of(cls, spec: Json, record: TaskRecord) -> Self:
        return cls(work_of(spec), record.phase, record.reason, record.finished_at)

    def record(self) -> TaskRecord:
        """The record of the same task declared again: it has its result."""
        done = self.phase == "Succeeded"
        message = "the same task was done before; its data have been removed" if done else "the same task ended so before"
        return TaskRecord(
            phase=self.phase,
            reason=Reason.ALREADY_DONE if done else self.reason,
            message=message,
            finished_at=self.finished_at,
            recalled=True,
        )

    def write(self, key: Key) -> PutMeta:
        return PutMeta(name_of(key), json.dumps(asdict(self)))


def work_of(spec: Json) -> str:
    """Digest of what a task's spec asks for."""
    return digest({name: value for name, value in spec.items() if name not in NOT_THE_WORK})


def name_of(key: Key) -> str:
    return f"{PREFIX}{key.namespace}/{key.name}"


def cleared(key: Key) -> PutMeta:
    """Nothing is remembered of it any more."""
    return PutMeta(name_of(key), "")


def read(meta: Mapping[str, str]) -> dict[Key, Tombstone]:
    """All that the store remembers. One that can't be read (a newer release wrote it) is passed over."""
    found: dict[Key, Tombstone] = {}
    for name, value in meta.items():
        namespace, slash, task = name.removeprefix(PREFIX).partition("/")
        if not name.startswith(PREFIX) or not slash or not value:
            continue
        try:
            facts = json.loads(value)
            stone = Tombstone(str(facts["work"]), str(facts["phase"]), str(facts["reason"]), float(facts["finished_at"]))
        except (ValueError, KeyError, TypeError):
            continue
        if stone.phase in FINISHED:
            found[task_key(namespace, task)] = stone
    return found
