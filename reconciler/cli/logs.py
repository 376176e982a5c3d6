"""`logs`: the whole conversation of an agent, to read and to search."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.grep import Around, Fixed, Grep, IgnoreCase, search
from reconciler.cli.hangup import until_unread
from reconciler.cli.names import Selector
from reconciler.cli.read import POLL, one
from reconciler.cli.redaction import redaction
from reconciler.cli.said import SPEAKER
from reconciler.cli.talk import Talk, still_there
from reconciler.config import Config
from reconciler.core.keys import Key
from reconciler.core.messages import Message
from reconciler.engine.ports import Store, StoredObject
from reconciler.errors import UsageError
from reconciler.views.entries import entries

TASK = "Task"


def logs(
    config: Config,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[LIEUTENANT]", help="NAME, lieutenant/NAME or task/NAME.", show_default=False)
    ] = None,
    selector: Selector = "",
    task: Annotated[str, typer.Option("--task", metavar="NAME", help="Only what belongs to this task.", show_default=False)] = "",
    grep: Grep = None,
    fixed: Fixed = False,
    ignore_case: IgnoreCase = False,
    around: Around = 0,
    earlier: Annotated[bool, typer.Option("--earlier", help="Also earlier conversations; --grep always searches them.")] = False,
    tail: Annotated[int, typer.Option("--tail", metavar="N", min=0, help="Only the last N lines; 0: all.")] = 0,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with everything that comes.")] = False,
) -> None:
    """Print or search the whole conversation of an agent.

    Prompts, answers, tool calls and their results, each below a line that says who and when: `--- user 2026-01-31T12:00:00Z ---`. With
    --grep only lines in which PATTERN is found, with their numbers in that piece; that nothing is found is said on standard error, and the
    exit code is 0 then, too. -f goes on until Ctrl-C (130), or until the lieutenant or the task is gone (0). It is read from the mirror of
    the conversation, so no machine is asked; secrets are taken out before anything is searched."""
    wanted = search(grep, fixed, ignore_case, around)
    keys, of = _named(config, words or [], selector, task)

    async def run() -> None:
        from reconciler.cli.choosing import fitting

        async with reader(config) as store:
            about = await one(store, of) if of is not None else None
            chosen = keys or ([_lieutenant_of(about)] if about is not None else [])
            if selector:
                chosen = [obj.key for obj in await fitting(store, config.namespace, selector, ("Lieutenant",))]
            clean = await redaction(config, store)

            def shown(log: Log, messages: Sequence[Message]) -> list[str]:
                """Lines, each piece below its own title."""
                lines: list[str] = []
                for piece in entries(messages, log.tools):
                    text = clean(piece.text)
                    body = [plain(line) for line in text.split("\n")] if wanted is None else wanted.lines(text)
                    lines += [f"{SPEAKER}{piece.title} ---", *body] if body else []
                return [f"{SPEAKER}{names.short(log.key)} ---", *lines] if lines and selector else lines

            told = [Log(store, key, about) for key in chosen]
            lines = [line for log in told for line in shown(log, await log.begin(earlier or wanted is not None))]
            for line in lines[-tail:] if tail else lines:
                output.out(line)
            if not lines:
                output.say("nothing found")
            while follow and (told := still_there(told)):
                await asyncio.sleep(POLL)
                for log in told:
                    for line in shown(log, await log.more()):
                        output.out(line)

    asyncio.run(until_unread(run()) if follow else run())


def plain(line: str) -> str:
    """No line of what somebody said looks like a title."""
    return f" {line}" if line.startswith(SPEAKER) else line


class Log(Talk):
    """`tools`: which tool was called, by call."""

    def __init__(self, store: Store, key: Key, of: StoredObject | None) -> None:
        super().__init__(store, key, of)
        self.tools: dict[str, str] = {}


def _named(config: Config, words: Sequence[str], selector: str, task: str) -> tuple[list[Key], Key | None]:
    """Which lieutenants, and which task of theirs. Raises `UsageError`."""
    if bool(words) == bool(selector):
        raise UsageError("whose conversation?", "logs", "name one lieutenant or task, or choose lieutenants by labels (-l)")
    if task and selector:
        raise UsageError("a task is one lieutenant's", f"--task {task}", "leave out the task or the selector")
    if not words:
        return [], None
    key = names.key(words, config.namespace) if len(words) > 1 or "/" in words[0] else names.of_kind(words, "Lieutenant", config.namespace)
    if key.kind == TASK and not task:
        return [], key
    if key.kind != "Lieutenant":
        raise UsageError(f"a {key.kind} has no conversation of its own", " ".join(words), "name a lieutenant or a task")
    return [key], names.of_kind([task], TASK, config.namespace) if task else None


def _lieutenant_of(task: StoredObject) -> Key:
    reference = task.spec.get("lieutenantRef")
    return Key("Lieutenant", task.key.namespace, str(reference.get("name", "")) if isinstance(reference, dict) else "")
