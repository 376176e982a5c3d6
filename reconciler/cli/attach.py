"""`attach`: follow what an agent says and does, live, and talk to it: each line becomes a task, or a steer while it works."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.hangup import until_unread
from reconciler.cli.output import piece, say
from reconciler.cli.read import POLL, one
from reconciler.cli.redaction import redaction
from reconciler.cli.send import named
from reconciler.cli.submit import submit
from reconciler.config import Config
from reconciler.core.conversation import parse
from reconciler.core.keys import Key
from reconciler.core.messages import Message
from reconciler.core.records import FINISHED
from reconciler.engine.ports import Store, StoredObject
from reconciler.errors import ReconcilerError
from reconciler.serve.verbs import task_name, task_spec
from reconciler.views.conversation import Conversation, session_of
from reconciler.visible import one_line

if TYPE_CHECKING:
    from reconciler.agent.keeper_client import KeeperClient
    from reconciler.app import Reach

LOOK_EVERY = 1.0
"""Seconds between two looks where the keeper says nothing by itself."""

OBSERVE = 30.0
CHUNK = 1 << 20
SHOWN = 400
"""Characters shown of a tool call, and of a failed one's result."""


@dataclass(frozen=True, slots=True)
class News:
    """What is new: finished messages, and the text being written now ('' when none)."""

    messages: tuple[Message, ...]
    live: str


def attach(
    config: Config,
    words: Annotated[list[str], typer.Argument(metavar="LIEUTENANT", help="NAME, lieutenant NAME or lieutenant/NAME.", show_default=False)],
    history: Annotated[int, typer.Option("--history", metavar="N", min=0, help="Show so many messages from before.")] = 10,
) -> None:
    """Follow what an agent says and does, live; send it what you type.

    A typed line goes into the running turn, or becomes the next task. Ctrl-C detaches and disturbs nothing."""
    with suppress(KeyboardInterrupt):
        asyncio.run(until_unread(_attach(config, names.of_kind(words, "Lieutenant", config.namespace), history)))


async def _attach(config: Config, host: Key, history: int) -> None:
    async with reader(config) as store:
        obj = await one(store, host)
        clean = await redaction(config, store)
        talk = Conversation(store, session_of(obj))
        before = await talk.refresh()
        screen = Screen(clean)
        screen.show(News(before[-history:] if history else (), ""))
        mouth = Mouth(config, store, host)
        speaking = asyncio.create_task(mouth.speak())
        following = asyncio.create_task(_follow(config, store, obj, talk, screen))
        try:
            await asyncio.wait([speaking, following], return_when=asyncio.FIRST_COMPLETED)
            for task in (following, speaking):
                if task.done():
                    task.result()
        finally:
            for task in (following, speaking):
                task.cancel()
            await asyncio.gather(following, speaking, return_exceptions=True)
            screen.close()


async def _follow(config: Config, store: Store, obj: StoredObject, talk: Conversation, screen: Screen) -> None:
    """From the machine, live; from the mirror of the conversation while the machine can't be reached."""
    told = ""
    while True:
        try:
            async with _live(config, store, await one(store, obj.key), talk.size) as news:
                told = ""
                async for fresh in news:
                    screen.show(fresh)
        except ReconcilerError as error:
            if str(error) != told:
                told = str(error)
                say(f"not live for now: {error}")
        for _ in range(round(5 / POLL)):
            screen.show(News(await talk.refresh(), ""))
            await asyncio.sleep(POLL)


@asynccontextmanager
async def _live(config: Config, store: Store, obj: StoredObject, offset: int) -> AsyncIterator[AsyncIterator[News]]:
    from reconciler.app import reach

    async with reach(config, store, obj) as machine:
        spoke = asyncio.Event()
        client = await machine.private(lambda _: spoke.set(), spoke.set)
        try:
            await client.request("subscribe", machine.at.epoch, OBSERVE, deltas=True)
            yield _news(machine, client, offset, spoke)
        finally:
            await client.close()


async def _news(machine: Reach, client: KeeperClient, offset: int, spoke: asyncio.Event) -> AsyncIterator[News]:
    """What the session file has beyond `offset`, as it grows, and what is being written. Raises what the connection raises."""
    from reconciler.engine.state.objects import session_of as session_in_force

    rest = b""
    path = session_in_force(machine.item).file
    while True:
        spoke.clear()
        at = offset + len(rest)
        told = await client.request("observe", machine.at.epoch, OBSERVE, sessionFile=path, offset=at, max=CHUNK)
        chunk = base64.b64decode(str(told.get("chunk", "")))
        pending = rest + chunk
        messages, consumed = parse(pending, offset)
        offset, rest = offset + consumed, pending[consumed:]
        live = told.get("live")
        yield News(messages, live if isinstance(live, str) else "")
        if len(chunk) < CHUNK:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await spoke.wait()
            await asyncio.sleep(0.05)  # what is written letter by letter is shown in pieces


class Screen:
    """Writes a conversation down as it goes on. What was shown while it was being written is not shown again."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        self._clean = clean
        self._shown = ""  # of the message being written
        self._seen: set[str] = set()

    def show(self, news: News) -> None:
        for message in news.messages:
            if message.entry_id not in self._seen:
                self._seen.add(message.entry_id)
                self._message(message)
        live = self._clean(news.live)
        if live.startswith(self._shown) and len(live) > len(self._shown):
            self._write(live[len(self._shown) :])
            self._shown = live

    def _message(self, message: Message) -> None:
        text = self._clean(message.text).strip("\n")
        if message.role == "assistant":
            shown, self._shown = self._shown, ""
            rest = text[len(shown) :] if text.startswith(shown.strip("\n")) else f"\n{text}"
            if shown or text:
                self._write(f"{rest.rstrip()}\n")
            for call in message.calls:
                self._write(f"  · {one_line(call.tool)} {one_line(self._clean(call.about))[:SHOWN]}".rstrip() + "\n")
            if message.error:
                self._write(f"  ! {one_line(self._clean(message.error))[:SHOWN]}\n")
        elif message.role == "user":
            self._write("".join(f"> {line}\n" for line in text.splitlines()))
        elif message.role == "toolResult" and message.failed:
            self._write(f"  ! {text[:SHOWN]}\n")

    def _write(self, text: str) -> None:
        piece(text)

    def close(self) -> None:
        if self._shown:
            self._write("\n")


class Mouth:
    """Turns typed lines into tasks."""

    def __init__(self, config: Config, store: Store, host: Key) -> None:
        self._config, self._store, self._host = config, store, host
        self._sent: list[Key] = []

    async def speak(self) -> None:
        """Until the input ends; then until what was said has been dealt with. Without any input: for ever."""
        async for line in lines():
            if line.strip():
                await self._say(line)
        if not self._sent and not sys.stdin.isatty():
            await asyncio.Event().wait()
        still = self._sent
        while still:
            await asyncio.sleep(POLL)
            still = [key for key in still if await self._open(key)]
        await asyncio.sleep(2 * LOOK_EVERY)  # the last words are shown too

    async def _say(self, line: str) -> None:
        """A refusal is told, and nothing ends by it."""
        try:
            busy = await self._busy()
            key = Key("Task", self._host.namespace, task_name(self._host.name))
            spec = task_spec(self._host.name, line, steer=busy, after=[], files=[], commands=[])
            await submit(self._config, [{**named(key), "spec": spec, "labels": {}, "annotations": {}}])
        except ReconcilerError as error:
            say(f"error: {error}")
            return
        self._sent.append(key)
        say(f"{names.short(key)} {'steers what runs' if busy else 'is queued'}")

    async def _busy(self) -> bool:
        """Whether a task of this lieutenant runs now, so that a line is meant for its turn."""
        tasks = await self._store.objects("Task", self._host.namespace)
        mine = [task for task in tasks if task.spec.get("lieutenantRef") == {"name": self._host.name}]
        return any(task.status.get("phase") in ("Running", "AwaitingApproval") and task.spec.get("delivery") != "Steer" for task in mine)

    async def _open(self, key: Key) -> bool:
        found = await self._store.objects(key.kind, key.namespace, key.name)
        return bool(found) and found[0].status.get("phase") not in FINISHED


async def lines() -> AsyncIterator[str]:
    """Lines of our standard input, as they are typed."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    descriptor, pending = sys.stdin.fileno(), b""
    try:
        loop.add_reader(descriptor, arrived.set)
    except PermissionError:  # a regular file is always ready
        arrived.set()
    try:
        while True:
            await arrived.wait()
            data = os.read(descriptor, 1 << 16)
            *whole, pending = (pending + data).split(b"\n")
            for line in (*whole, pending) if not data else whole:
                yield line.decode(errors="replace")
            if not data:
                return
            if loop.remove_reader(descriptor):
                arrived.clear()
                loop.add_reader(descriptor, arrived.set)
    finally:
        loop.remove_reader(descriptor)
