"""Stored objects with what they hold parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.meta import Model
from reconciler.api.parsing import load_spec
from reconciler.api.task import TaskSpec
from reconciler.core.keys import Key, SlotOwner
from reconciler.core.lieutenant.session import current
from reconciler.core.records import LieutenantRecord, Record, TaskRecord
from reconciler.core.snapshot.session import SessionName
from reconciler.engine.ports import StoredObject

S = TypeVar("S", bound=Model)
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Item(Generic[S, R]):
    """A stored object with its spec and record parsed. `node`: of its slots the one that is meant, '' for its own."""

    obj: StoredObject
    spec: S
    record: R
    node: str = ""

    @property
    def key(self) -> Key:
        return self.obj.key

    @property
    def uid(self) -> str:
        return self.obj.uid

    @property
    def slot_owner(self) -> SlotOwner:
        """The slot that is meant, as journal and claims know it."""
        return SlotOwner.of(self.key, self.uid, self.node)

    @property
    def deleting(self) -> bool:
        return self.obj.deleted_at is not None


LieutenantItem = Item[LieutenantSpec, LieutenantRecord]
TaskItem = Item[TaskSpec, TaskRecord]
AnyItem = Item[Model, Record]


def session_of(item: LieutenantItem) -> SessionName:
    """The conversation in force: the name of its mirror and the path of its file."""
    return current(item.record.session, item.uid, item.spec.session.generation)


def command_key(task: TaskItem) -> str:
    """The durable key of the last prompt sent for this attempt; forwarded to pi at most once, ever."""
    return f"{task.uid}:{task.record.attempt}:{task.record.sends}"


def continue_key(task: TaskItem, number: int) -> str:
    """The durable key of the prompt that asks for the rest of a turn."""
    return f"{task.uid}:{task.record.attempt}:c{number}"


def parse(obj: StoredObject, record_type: type[Record], old: AnyItem | None = None) -> AnyItem:
    """`record_type`: what is remembered of its kind.

    What is the very same as in `old` is taken from there: it costs nothing, and stays the key of what was made from it.
    Raises `InvalidSpec` when the stored spec is not valid in this release."""
    spec = old.spec if old is not None and old.obj.spec is obj.spec else load_spec(obj.key.kind, obj.spec, tolerant=True)
    record = old.record if old is not None and old.obj.record is obj.record else record_type.load(obj.record)
    return Item(obj, spec, record)
