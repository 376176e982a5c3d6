"""The fleet by who has to do something about it: what needs a person first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.attention import OF_DECLARATIONS, attention_of, failed
from reconciler.core.keys import Json, Key, as_map
from reconciler.core.keys import lieutenant as lieutenant_key
from reconciler.engine.ports import StoredObject
from reconciler.views.documents import condition
from reconciler.visible import one_line

LINE = 240
"""Characters of a message in a row; the object's own page has all of it."""


class Standing(StrEnum):
    """In the order in which a person looks at them."""

    NEEDS_YOU = "needs-you"
    WORKING = "working"
    READY = "ready"
    ASLEEP = "asleep"
    FAILED = "failed"


ORDER = {one: place for place, one in enumerate(Standing)}


@dataclass(frozen=True, slots=True)
class Row:
    """One object in a list. `since`: when Ready last changed (RFC 3339), '' before the first look. `active`: the task that holds the
    session, `pending`: how many wait; both of a lieutenant. `of`: the lieutenant of a task."""

    key: Key
    standing: Standing
    phase: str
    reason: str
    message: str
    since: str
    created_at: float
    vm: str = ""
    vm_state: str = ""
    active: str = ""
    pending: int = 0
    of: str = ""

    @property
    def document(self) -> Json:
        """For programs."""
        told: Json = {
            "kind": self.key.kind,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "standing": self.standing.value,
            "phase": self.phase,
            "reason": self.reason,
            "message": self.message,
            "since": self.since,
        }
        rest: Json = {
            "vm": self.vm,
            "vmState": self.vm_state,
            "activeTask": self.active,
            "pendingTasks": self.pending,
            "lieutenant": self.of,
        }
        return {**told, **{name: value for name, value in rest.items() if value}}


def row_of(obj: StoredObject, last: StoredObject | None = None, awaiting: bool = False) -> Row:
    """`last`: a lieutenant's task that ended last; `awaiting`: one of its tasks waits for an approval. Of one that failed it tells by
    which task."""
    standing = standing_of(obj, last, awaiting)
    of_task = last if last is not None and standing is Standing.FAILED else None
    told = condition((of_task or obj).status, "Ready")
    needed = attention_of(obj.status)
    if needed is not None and needed.reason in OF_DECLARATIONS:
        told = condition(obj.status, needed.reason)
    message = f"{of_task.key.name}: {told.get('message') or 'see the task'}" if of_task is not None else str(told.get("message") or "")
    queue = as_map(obj.status.get("queue"))
    pending = queue.get("pending")
    ready, vm = condition(obj.status, "Ready"), as_map(obj.status.get("vm"))
    return Row(
        key=obj.key,
        standing=standing,
        phase=str(obj.status.get("phase") or ("Pending" if not ready else "")),
        reason=str(told.get("reason") or "NotLookedAt"),
        message=one_line(message[: LINE * 2])[:LINE],
        since=str(ready.get("lastTransitionTime") or ""),
        created_at=obj.created_at,
        vm=str(vm.get("id") or ""),
        vm_state=str(vm.get("state") or ""),
        active=str(queue.get("active") or ""),
        pending=pending if isinstance(pending, int) else 0,
        of=str(as_map(obj.spec.get("lieutenantRef")).get("name") or ""),
    )


def standing_of(obj: StoredObject, last: StoredObject | None = None, awaiting: bool = False) -> Standing:
    """A lieutenant whose last task failed, and that rests since, has failed too."""
    needed = attention_of(obj.status)
    phase = str(obj.status.get("phase") or "")
    ready = condition(obj.status, "Ready").get("status") == "True"
    if obj.status.get("finishedAt"):
        return Standing.READY if needed is None else Standing.FAILED if needed.sort == "Failure" else Standing.NEEDS_YOU
    if needed is not None or awaiting:
        return Standing.NEEDS_YOU
    if phase in ("Suspended", "Suspending") or (ready and obj.status.get("mode") == "Suspended"):
        return Standing.ASLEEP
    if phase == "Working" or not ready:
        return Standing.WORKING
    return Standing.FAILED if last is not None and failed(last.status) else Standing.READY


class Board:
    """Rows of every object, kept as objects change. A change of a task is one of its lieutenant's row too."""

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self._objects: dict[Key, StoredObject] = {}
        self._tasks: dict[Key, dict[Key, StoredObject]] = {}

    def change(self, key: Key, obj: StoredObject | None) -> tuple[Row, ...]:
        """An object is this now (None: it is gone). Returns the rows that are other ones than before; not those that are gone."""
        before = self._objects.pop(key, None)
        if before is not None and (owner := _owner(before)) is not None:
            self._tasks.get(owner, {}).pop(key, None)
        touched = [key]
        if obj is None:
            self.rows.pop(key, None)
            touched = []
        else:
            self._objects[key] = obj
            if (owner := _owner(obj)) is not None:
                self._tasks.setdefault(owner, {})[key] = obj
        of = obj if obj is not None else before
        if of is not None and (owner := _owner(of)) is not None and owner in self._objects:
            touched.append(owner)
        return tuple(row for one in touched if (row := self._again(one)) is not None)

    def _again(self, key: Key) -> Row | None:
        tasks = self._tasks.get(key, {}).values()
        ended = [task for task in tasks if task.status.get("finishedAt")]
        last = max(ended, key=lambda task: (str(task.status.get("finishedAt")), task.created_at), default=None)
        needs = (attention_of(task.status) for task in tasks)
        awaiting = any(need is not None and need.sort == "Question" for need in needs)
        row = row_of(self._objects[key], last, awaiting)
        if self.rows.get(key) == row:
            return None
        self.rows[key] = row
        return row


def _owner(task: StoredObject) -> Key | None:
    """The lieutenant of a task; None for what is no task."""
    name = as_map(task.spec.get("lieutenantRef")).get("name")
    return lieutenant_key(task.key.namespace, str(name)) if name and task.key.kind == "Task" else None


def ordered(rows: Iterable[Row]) -> list[Row]:
    """What needs a person first; within that by name, so that nothing moves while somebody looks."""
    return sorted(rows, key=lambda row: (ORDER[row.standing], row.key.namespace, row.key.name, row.key.kind))
