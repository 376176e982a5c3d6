"""The life of a controller's process, the same for `run` and `operator`: signals, what it listens on, what it prints, how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler import log
from reconciler.cli import names
from reconciler.cli.hangup import when_unread
from reconciler.cli.output import nowhere, out, say, unheard
from reconciler.config import Config
from reconciler.core.keys import Json
from reconciler.engine.ports import Event
from reconciler.engine.supervision import Supervisor
from reconciler.engine.view import EngineView
from reconciler.errors import ReconcilerError
from reconciler.visible import in_json, one_line

if TYPE_CHECKING:  # heavy parts, loaded when they are needed
    from reconciler.otel.export import Otlp
    from reconciler.serve.http import Listening
    from reconciler.serve.metrics import Sources
    from reconciler.serve.surface import Surface

STOP_SECONDS = 4.0
TERMINATED = 0
INTERRUPTED = 130

logger = logging.getLogger("reconciler.cli")


class Runner:
    """One process. `run` gives it its work; `finish`, or a signal, says that it is to end and with which exit code."""

    def __init__(self, config: Config, listening: Listening | None = None) -> None:
        self.config = config
        self._listening = listening
        self.supervisor = Supervisor()
        self.otlp: Otlp | None = None
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self, work: Callable[[], Awaitable[None]]) -> int:
        """Do the work until it ends or `finish` was called; returns the exit code. Raises what the work raises."""
        from reconciler.app import long_lived, otlp_of

        self.otlp = otlp_of(self.config, say)
        long_lived()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.finish, TERMINATED)
        loop.add_signal_handler(signal.SIGINT, self.finish, INTERRUPTED)
        self.log()
        with when_unread(self._unread):
            await work()
        return self._end.result()

    def log(self, known: Callable[[], Iterable[str]] = tuple) -> None:
        """Set logging up; `known`: secret values that never leave."""
        log.setup(self.config.log_format, self.config.verbose, known)
        logging.getLogger("kopf").setLevel(logging.CRITICAL)
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what does not come through is told in our words, once

    def finish(self, code: int) -> None:
        """End with this exit code, unless another one was given before."""
        if not self._end.done():
            self._end.set_result(code)

    def _unread(self) -> None:
        """A controller does not end, and its work does not stand still, because who looked at it went away."""
        nowhere()
        try:
            say("warning: nobody reads what is printed any more (standard output); it goes on without a reader until SIGTERM or SIGINT")
        except OSError:
            unheard()

    @property
    def ending(self) -> bool:
        return self._end.done()

    async def wait(self, *others: asyncio.Task[Any], timeout: float | None = None) -> None:
        """Until it is to end, one of the others is done, or so many seconds have passed."""
        either: list[asyncio.Future[Any]] = [self._end, *others]
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    async def serve(self, serving: Coroutine[Any, Any, None], *enders: Coroutine[Any, Any, Any], timeout: float | None = None) -> bool:
        """Run `serving` until it is to end, until one of `enders` ends or until the timeout; then it is ended within `STOP_SECONDS`.
        Returns whether it ended by itself. Raises what it raises before that; what it raises while it ends is reported."""
        task = asyncio.create_task(serving, name="serving")
        others = [asyncio.create_task(one) for one in enders]
        try:
            await self.wait(task, *others, timeout=timeout)
        finally:
            for one in others:
                one.cancel()
            ended = task.done()
            if not ended:
                await _end(task)
        if ended:
            task.result()
        return ended

    def prepare(self, engine: EngineView) -> None:
        """Before the engine starts: print every event, and the platform's absence."""

        def event(one: Event) -> None:
            with suppress(BrokenPipeError):  # `_unread` is about to be called
                out(transition(one, log.redact(one.message, engine.secrets.known()), self.config))

        engine.subscribe(events=event, platform=platform_line)

    @asynccontextmanager
    async def listening(
        self, sources: Sources, ready: Callable[[], bool] = lambda: True, surface: Callable[[], Surface | None] = lambda: None
    ) -> AsyncIterator[None]:
        """Everything that is served over HTTP, where `--listen` asks for it, and what OTLP is asked for. Raises what
        `reconciler.serve.http.served` raises."""
        if self.otlp is None:
            async with self._served(sources, ready, surface):
                yield
            return
        from reconciler.serve.metrics import ControllerCollector

        sources = replace(sources, more=self.otlp.families)
        exported = ControllerCollector(replace(sources, more=tuple))
        async with self.otlp.exporting(exported.collect, self.supervisor), self._served(sources, ready, surface):
            yield

    @asynccontextmanager
    async def _served(self, sources: Sources, ready: Callable[[], bool], surface: Callable[[], Surface | None]) -> AsyncIterator[None]:
        if self._listening is None:
            yield
            return
        from reconciler.serve.http import listening, served

        async with served(sources, self.config, self._listening, ready, surface) as http:
            say(listening(self.config, self._listening, http.port))
            yield

    @property
    def listens(self) -> bool:
        """Whether anything is served over HTTP."""
        return self._listening is not None


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=STOP_SECONDS)
    if not task.done():
        say("warning: stopping took too long; connections were left to the system")
    elif not task.cancelled() and (error := task.exception()) is not None:
        if isinstance(error, ReconcilerError):
            say(f"warning: while stopping: {error}")
        else:
            logger.error("while stopping: internal error", exc_info=error)


def platform_line(message: str) -> None:
    """That the platform can't be reached, once; and that it answers again."""
    say(f"platform: {one_line(message)}; waiting" if message else "platform: answers again")


def transition(event: Event, message: str, config: Config) -> str:
    """One line about something that happened."""
    if config.log_format == "json":
        told: Json = {
            "time": event.at,
            "type": event.type,
            "kind": event.key.kind,
            "namespace": event.key.namespace,
            "name": event.key.name,
            "reason": event.reason,
            "message": message,
        }
        return in_json(json.dumps(told, ensure_ascii=False))
    name = names.short(event.key)
    if event.key.namespace not in ("", config.namespace):
        name = f"{event.key.namespace}/{name}"
    warning = "! " if event.type == "Warning" else ""
    return f"{datetime.fromtimestamp(event.at):%H:%M:%S} {name}  {warning}{event.reason}  {one_line(message)}".rstrip()
