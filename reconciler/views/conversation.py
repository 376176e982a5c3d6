"""What an agent said, from the mirror of its conversation in the store; no machine is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.core.conversation import parse
from reconciler.core.keys import Key
from reconciler.core.messages import Message
from reconciler.core.records import LieutenantRecord, TaskRecord, run_of
from reconciler.engine.ports import Store, StoredObject
from reconciler.views.documents import text_at

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


def with_prompt(messages: tuple[Message, ...], task: StoredObject) -> tuple[Message, ...]:
    """The messages of one task's turn, from its prompt on."""
    landed = TaskRecord.load(task.record).landed
    return (*(one for one in messages if one.offset == landed), *turn_of(messages, task))


def answers(tasks: Sequence[StoredObject]) -> list[str]:
    """What these tasks' agent answered, as far as status has it (its end), oldest first. Times are of whole seconds; of two that ended
    within one the earlier delivered comes first, then the one of which the cluster was told first."""

    def order(task: StoredObject) -> tuple[str | float, ...]:
        return (*(str(task.status.get(at) or "") for at in ("finishedAt", "deliveredAt", "landedAt")), task.created_at, task.version)

    ended = sorted((task for task in tasks if task.status.get("finishedAt")), key=order)
    said = [str(result.get("answer") or "") if isinstance(result := task.status.get("result"), dict) else "" for task in ended]
    return [text for text in said if text]


def is_for(task: StoredObject, lieutenant: Key) -> bool:
    """Whether a task of the same namespace is this lieutenant's."""
    reference = task.spec.get("lieutenantRef")
    return isinstance(reference, dict) and reference.get("name") == lieutenant.name


async def last_said(store: Store, lieutenant: StoredObject, tasks: Sequence[StoredObject]) -> str:
    """The newest text of the agent: from the mirror of the session, else from the status of these tasks of it. '' when there is none."""
    talk = Conversation(store, session_of(lieutenant))
    await talk.refresh()
    return "".join((texts(talk.messages) or answers(tasks))[-1:])


async def answer_of(store: Store, lieutenant: Key, task: StoredObject) -> str:
    """The whole last answer of a task's turn, from the conversation; the tail in its status where that is not to be had."""
    for obj in await store.objects(lieutenant.kind, lieutenant.namespace, lieutenant.name):
        talk = Conversation(store, session_of(obj, task))
        await talk.refresh()
        said = texts(turn_of(talk.messages, task))
        if said:
            return said[-1]
    return text_at(task.status, ".result.answer")
