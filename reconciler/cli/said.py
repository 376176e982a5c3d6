"""`output`: what an agent said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.grep import Around, Fixed, Grep, IgnoreCase, Search, search
from reconciler.cli.hangup import until_unread
from reconciler.cli.names import Selector
from reconciler.cli.read import POLL, one
from reconciler.cli.redaction import redaction
from reconciler.cli.talk import Talk, still_there
from reconciler.config import Config
from reconciler.core.keys import Key
from reconciler.engine.ports import Store, StoredObject
from reconciler.errors import UsageError
from reconciler.views.conversation import answers, before, is_for, texts

BOUNDARY = "--- answer "
SPEAKER = "--- "
NEXT = f"\n{BOUNDARY}"


def output_of(
    config: Config,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[LIEUTENANT]", help="NAME, lieutenant NAME or lieutenant/NAME.", show_default=False)
    ] = None,
    selector: Selector = "",
    task: Annotated[str, typer.Option("--task", metavar="NAME", help="What was said for this task.", show_default=False)] = "",
    tail: Annotated[int, typer.Option("--tail", metavar="N", min=0, help="Only the last N characters; 0: all.")] = 0,
    history: Annotated[
        int | None,
        typer.Option("--history", metavar="N", min=0, help="The last N answers, also of earlier conversations; 0: all.", show_default="1"),
    ] = None,
    grep: Grep = None,
    fixed: Fixed = False,
    ignore_case: IgnoreCase = False,
    around: Around = 0,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with everything that is said.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="For programs: every character as it was said, and no lines between answers.")] = False,
) -> None:
    """Print what an agent said.

    Several answers are told apart by lines `--- answer 2 of 3 ---`; what a terminal would obey, or not show, is written out (`\\x1b`).
    With -l: of all lieutenants with these labels, each below a line `--- lieutenant/NAME ---`.
    With --grep: of all answers, also of earlier conversations, the lines in which PATTERN is found, with their numbers in the answer; that
    nothing is found is said on standard error (0). -f goes on until Ctrl-C (130), or until the lieutenant or the task is gone (0).
    It is read from the mirror of the conversation, so no machine is asked. With --kube: the answers of its tasks, as their status has
    them."""
    if bool(words) == bool(selector):
        raise UsageError("whose output?", "output", "name one lieutenant, or choose some by labels (-l)")
    if task and selector:
        raise UsageError("a task is one lieutenant's", f"--task {task}", "leave out the task or the selector")
    looked_for = search(grep, fixed, ignore_case, around)
    if looked_for is not None and raw:
        raise UsageError("lines that are found are for people", "--raw", "leave out --raw or --grep")
    history = 0 if looked_for is not None and history is None else history
    key = names.of_kind(words, "Lieutenant", config.namespace) if words else None
    wanted = names.of_kind([task], "Task", config.namespace) if task else None

    show = (lambda text: output.raw(text + "\n")) if raw else output.out

    async def run() -> None:
        from reconciler.cli.choosing import fitting

        async with reader(config) as store:
            keys = [obj.key for obj in await fitting(store, config.namespace, selector, ("Lieutenant",))] if key is None else [key]
            if not keys:
                output.say(f"nothing found in namespace {config.namespace}")
            clean = await redaction(config, store)
            of = await one(store, wanted) if wanted is not None else None
            speakers = [Speaker(store, known, of, bool(config.kube)) for known in keys]
            last: Key | None = None

            def head(of_whom: Key) -> None:
                nonlocal last
                if key is None and not raw and of_whom != last:
                    output.out(("\n" if last is not None else "") + f"{SPEAKER}{names.short(of_whom)} ---")
                last = of_whom

            for speaker in speakers:
                said = await speaker.said(history)
                count = history if history is not None else (0 if wanted or tail else 1)
                shown = found_in([clean(one_answer) for one_answer in (said[-count:] if count else said)], looked_for)
                text = "\n\n".join(shown if raw or history is None else told_apart(shown))
                if text:
                    head(speaker.key)
                    show(text[-tail:] if tail else text)
            if last is None and looked_for is not None:
                output.say("nothing found")
            while follow and (speakers := still_there(speakers)):
                await asyncio.sleep(POLL)
                for speaker in speakers:
                    for one_more in await speaker.says():
                        for text in filter(None, found_in([clean(one_more)], looked_for)):
                            head(speaker.key)
                            show("\n" + text)

    asyncio.run(until_unread(run()) if follow else run())


def found_in(said: Sequence[str], looked_for: Search | None) -> list[str]:
    """The answers; where something is looked for, of each the lines in which it is found, '' of those without."""
    return list(said) if looked_for is None else ["\n".join(looked_for.lines(text)) for text in said]


class Speaker(Talk):
    """What one lieutenant itself says. `of`: for this task only. `kube`: what status has of it; a cluster mirrors no conversation."""

    def __init__(self, store: Store, key: Key, of: StoredObject | None, kube: bool) -> None:
        super().__init__(store, key, of)
        self._kube = kube
        self._answers = 0

    async def said(self, history: int | None) -> list[str]:
        """All answers so far; of earlier conversations too where `history` asks for more than this one has. Raises `NotFound`."""
        said = texts(await self.begin(False))
        if self._kube:
            said = await self._told_more()
        if history is not None and self._of is None and (history == 0 or len(said) < history):
            said = texts(await before(self._store, await one(self._store, self.key))) + said
        return said

    async def says(self) -> list[str]:
        """What was said since the last call."""
        fresh = texts(await self.more())
        return await self._told_more() if self._kube and self.gone is None else fresh

    async def _told_more(self) -> list[str]:
        now = await told(self._store, self.key, self._of)
        fresh, self._answers = now[self._answers :], len(now)
        return fresh


def told_apart(said: Sequence[str]) -> list[str]:
    """Several answers, each below a line of its own; no line of an answer looks like one."""
    if len(said) < 2:
        return list(said)
    return [f"{BOUNDARY}{n} of {len(said)} ---\n{text.replace(NEXT, f'{NEXT[0]} {BOUNDARY}')}" for n, text in enumerate(said, 1) if text]


async def told(store: Store, lieutenant: Key, task: StoredObject | None) -> list[str]:
    """The answers that status has: of one task, or of all of this lieutenant's."""
    if task is not None:
        return answers([await one(store, task.key)])
    return answers([found for found in await store.objects("Task", lieutenant.namespace) if is_for(found, lieutenant)])
