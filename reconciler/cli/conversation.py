"""What an agent said, from the mirror of its conversation in the store; no machine is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.core.conversation import parse
from reconciler.core.keys import Json, JsonValue
from reconciler.core.records import LieutenantRecord, TaskRecord, run_of
from reconciler.core.snapshot.conversation import Message
from reconciler.engine.ports import Secrets, Store, StoredObject
from reconciler.engine.redaction import stand_ins
from reconciler.log import redact

WHOLE = 1 << 40
"""People get answers whole, however long they are."""


class Conversation:
    """One lieutenant's messages as far as they are mirrored. `refresh` reads what was added since."""

    def __init__(self, store: Store, session: str) -> None:
        self._store, self.session = store, session
        self.size = 0
        self._rest = b""
        self.messages: tuple[Message, ...] = ()

    async def refresh(self) -> tuple[Message, ...]:
        """Returns the messages that are new."""
        fresh: list[Message] = []
        while self.session and (data := await self._store.session(self.session, self.size)):
            pending = self._rest + data
            found, consumed = parse(pending, self.size - len(self._rest), WHOLE)
            self._rest = pending[consumed:]
            self.size += len(data)
            fresh += found
        self.messages = (*self.messages, *fresh)
        return tuple(fresh)


def session_of(lieutenant: StoredObject, task: StoredObject | None = None) -> str:
    """The name of the mirror of its session, or of the one that this task was sent to; '' when there was none."""
    of_task = TaskRecord.load(task.record).session if task is not None else ""
    return of_task or LieutenantRecord.load(lieutenant.record).session.name


async def before(store: Store, lieutenant: StoredObject) -> tuple[Message, ...]:
    """What was said in the conversations before the one in force, oldest first."""
    messages: list[Message] = []
    for name in LieutenantRecord.load(lieutenant.record).session.earlier:
        messages += await Conversation(store, name).refresh()
    return tuple(messages)


def texts(messages: Iterable[Message]) -> list[str]:
    """What the agent itself said, empty messages (mere tool calls) left out."""
    return [m.text.strip() for m in messages if m.role == "assistant" and m.text.strip()]


def turn_of(messages: tuple[Message, ...], task: StoredObject) -> tuple[Message, ...]:
    """The messages of one task's turn."""
    record = TaskRecord.load(task.record)
    if record.landed < 0:
        return ()
    return run_of(messages, record.landed, record.span_end or None)


class Redaction:
    """Takes the values of every secret that is referred to out of texts (G-60)."""

    def __init__(self, secrets: Secrets, objects: Iterable[StoredObject], more: Iterable[str] = ()) -> None:
        found = {value for value in more if value}
        for obj in objects:
            for name, key in references(obj.spec):
                value = secrets.get(obj.key.namespace, name, key)
                if value:
                    found.add(value)
        self._values = sorted(found, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for _, stand_in in stand_ins(self._values):  # as the mirror of a conversation has it
            text = text.replace(stand_in.decode("ascii"), "[redacted]")
        return redact(text, self._values)


def references(value: JsonValue) -> Iterator[tuple[str, str]]:
    """Every `secretKeyRef` in a spec, as (name, key)."""
    if isinstance(value, dict):
        reference = value.get("secretKeyRef")
        if isinstance(reference, dict):
            yield str(reference.get("name", "")), str(reference.get("key", ""))
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def usage_of(task: StoredObject) -> Json:
    """What a finished task cost, {} before."""
    result = task.status.get("result")
    usage = result.get("usage") if isinstance(result, dict) else None
    return usage if isinstance(usage, dict) else {}
