"""`output`: what an agent said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.read import POLL, one
from reconciler.cli.redaction import redaction
from reconciler.config import Config
from reconciler.core.keys import Key
from reconciler.engine.ports import Store, StoredObject
from reconciler.views.conversation import Conversation, answers, before, is_for, session_of, texts, turn_of

BOUNDARY = "--- answer "
NEXT = f"\n{BOUNDARY}"


def output_of(
    config: Config,
    words: Annotated[list[str], typer.Argument(metavar="LIEUTENANT", help="NAME, lieutenant NAME or lieutenant/NAME.", show_default=False)],
    task: Annotated[str, typer.Option("--task", metavar="NAME", help="What was said for this task.", show_default=False)] = "",
    tail: Annotated[int, typer.Option("--tail", metavar="N", min=0, help="Only the last N characters; 0: all.")] = 0,
    history: Annotated[
        int | None,
        typer.Option("--history", metavar="N", min=0, help="The last N answers, also of earlier conversations; 0: all.", show_default="1"),
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with everything that is said.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="For programs: every character as it was said, and no lines between answers.")] = False,
) -> None:
    """Print what an agent said.

    Several answers are told apart by lines `--- answer 2 of 3 ---`; what a terminal would obey, or not show, is written out (`\\x1b`).
    It is read from the mirror of the conversation, so no machine is asked. With --kube: the answers of its tasks, as their status has
    them."""
    key = names.of_kind(words, "Lieutenant", config.namespace)
    wanted = names.of_kind([task], "Task", config.namespace) if task else None

    show = (lambda text: output.raw(text + "\n")) if raw else output.out

    async def run() -> None:
        async with reader(config) as store:
            obj = await one(store, key)
            clean = await redaction(config, store)
            of = await one(store, wanted) if wanted is not None else None
            talk = Conversation(store, session_of(obj, of))
            await talk.refresh()
            said = texts(talk.messages if of is None else turn_of(talk.messages, of))
            if config.kube:
                said = await told(store, key, of)
            if history is not None and of is None and (history == 0 or len(said) < history):
                said = texts(await before(store, obj)) + said
            count = history if history is not None else (0 if wanted or tail else 1)
            shown = [clean(one_answer) for one_answer in (said[-count:] if count else said)]
            text = "\n\n".join(shown if raw or history is None else told_apart(shown))
            if text:
                show(text[-tail:] if tail else text)
            while follow:
                await asyncio.sleep(POLL)
                if config.kube:
                    for one_more in (now := await told(store, key, of))[len(said) :]:
                        show("\n" + clean(one_more))
                    said = now
                elif of is None and session_of(obj := await one(store, key)) != talk.session:
                    talk = Conversation(store, session_of(obj))
                for one_more in texts(await talk.refresh()):
                    show("\n" + clean(one_more))

    asyncio.run(run())


def told_apart(said: Sequence[str]) -> list[str]:
    """Several answers, each below a line of its own; no line of an answer looks like one."""
    if len(said) < 2:
        return list(said)
    return [f"{BOUNDARY}{n} of {len(said)} ---\n{text.replace(NEXT, f'{NEXT[0]} {BOUNDARY}')}" for n, text in enumerate(said, 1)]


async def told(store: Store, lieutenant: Key, task: StoredObject | None) -> list[str]:
    """The answers that status has: of one task, or of all of this lieutenant's."""
    if task is not None:
        return answers([await one(store, task.key)])
    return answers([found for found in await store.objects("Task", lieutenant.namespace) if is_for(found, lieutenant)])
