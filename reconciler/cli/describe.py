"""`describe`: the long view of one object, as text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from reconciler.api.status.base import Status
from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.conversation import Conversation, answers, is_for, session_of, texts
from reconciler.cli.documents import text_at
from reconciler.cli.output import age, table_lines
from reconciler.cli.read import One, one
from reconciler.cli.redaction import redaction
from reconciler.cli.yamlout import to_yaml
from reconciler.config import Config
from reconciler.core.keys import Json
from reconciler.core.times import timestamp
from reconciler.engine.ports import Event, StoredObject
from reconciler.log import one_line


def describe(config: Config, words: One) -> None:
    """Show everything about one object.

    Spec, conditions, machine, session, queue, usage, last output, events."""
    key = names.key(words, config.namespace)

    async def run() -> None:
        async with reader(config) as store:
            obj = await one(store, key)
            tasks = [task for task in await store.objects("Task", key.namespace) if is_for(task, key)] if key.kind == "Lieutenant" else []
            said = ""
            if key.kind == "Lieutenant":
                talk = Conversation(store, session_of(obj))
                await talk.refresh()
                said = "\n\n".join((texts(talk.messages) or answers(tasks))[-1:])
            text = description(obj, tasks, said, await store.events(key, limit=20))
            output.out((await redaction(config, store))(text))

    asyncio.run(run())


def description(obj: StoredObject, tasks: Sequence[StoredObject], said: str, events: Sequence[Event]) -> str:
    """`tasks`: of a lieutenant; `said`: the last thing its agent said; `events`: the newest, oldest first."""
    return "\n".join(_lines(obj, tasks, said, events))


def _lines(obj: StoredObject, tasks: Sequence[StoredObject], said: str, events: Sequence[Event]) -> Iterator[str]:
    where = f"{obj.source} {obj.origin}".strip()
    for title, value in (
        ("Name", obj.key.name),
        ("Namespace", obj.key.namespace),
        ("Kind", obj.key.kind),
        ("UID", obj.uid),
        ("Declared by", where),
        ("Generation", str(obj.generation)),
        ("Created", f"{timestamp(obj.created_at)} ({age(timestamp(obj.created_at))} ago)"),
        ("Deleting since", timestamp(obj.deleted_at) if obj.deleted_at is not None else ""),
        ("Labels", ", ".join(f"{name}={value}" for name, value in obj.labels.items())),
        ("Annotations", ", ".join(f"{name}={value}" for name, value in obj.annotations.items())),
        ("Phase", text_at(obj.status, ".phase")),
    ):
        if value:
            yield f"{title + ':':<16}{one_line(value)}"
    yield "Spec:"
    yield from _indented(to_yaml(obj.spec))
    yield from _conditions(obj.status)
    rest: Json = {name: value for name, value in obj.status.items() if name not in ("conditions", "phase", "observedGeneration")}
    if rest:
        yield "Status:"
        yield from _indented(to_yaml(rest))
    if tasks:
        yield "Tasks:"
        rows = [[task.key.name, text_at(task.status, ".phase") or "Pending", _reason(task)] for task in tasks]
        yield from _indented("\n".join(table_lines(("NAME", "PHASE", "REASON"), rows)))
    if said:
        yield "Last output:"
        yield from _indented(said[-2000:])
    yield "Events:"
    if events:
        shown = [[timestamp(e.at), e.type, e.reason, one_line(e.message)] for e in events]
        yield from _indented("\n".join(table_lines(("TIME", "TYPE", "REASON", "MESSAGE"), shown)))
    else:
        yield "  none"


def _conditions(status: Json) -> Iterator[str]:
    rows = [[c.type, c.status, c.reason, one_line(c.message)] for c in Status.load(status).conditions]
    yield "Conditions:"
    if rows:
        yield from _indented("\n".join(table_lines(("TYPE", "STATUS", "REASON", "MESSAGE"), rows)))
    else:
        yield "  none yet: no controller has looked at it"


def _reason(task: StoredObject) -> str:
    return text_at(task.status, '.conditions[?(@.type=="Ready")].reason')


def _indented(text: str) -> Iterator[str]:
    return (f"  {line}" for line in text.rstrip("\n").split("\n"))
