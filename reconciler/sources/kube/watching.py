"""The watch: kopf, in a thread and an event loop of its own, as nothing but a source of "this object looks like this now".

Only `@kopf.on.event` is used: no progress is kept in annotations, no finalizer, daemon, timer or index of kopf's ever touches an
object, and a handler copies and returns (field-anchors §3). Whatever ends kopf, it is started again; what was missed meanwhile is
found by the sweep. kopf is never asked to end in an orderly way: once one of its parts has ended, the others may wait for it for
ever. Its whole loop is ended, within a time of ours."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import aiohttp
import kopf

from reconciler.api.meta import GROUP, VERSION
from reconciler.api.registry import KINDS
from reconciler.core.keys import Json
from reconciler.sources.kube.access import Access

log = logging.getLogger("reconciler.kube")

PAUSE = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before kopf is started again after it ended by itself; the last repeats."""
BACKOFFS = (0.1, 1.0, 2.0, 3.0)
"""Seconds between kopf's own tries; then it ends, saying why, and is started again as above. Its default keeps silent for a minute."""
HEALTHY = 60.0
STOP_SECONDS = 5.0
ROUNDS, ROUND_SECONDS = 6, 0.5
"""So often a task of kopf's is cancelled, and given so long to end; some take a cancellation for something else and go on."""
LOOK = 1.0
"""Seconds between two signs of life."""
SILENT = 120.0
"""Seconds without one, after which only a new process helps; longer than any pause."""

OnEvent = Callable[[str, Json], None]
"""Event type (`ADDED`, `MODIFIED`, `DELETED`; '' for one of the first list) and the object."""


class Watching(Protocol):
    """Tells of every object there is, then of every change. `restarts`: how often it had to begin anew. `again` ends what runs,
    whatever state it is in, and begins anew at once. `alive`: False when not even that helps."""

    restarts: int

    def start(self) -> None: ...

    def again(self) -> None: ...

    def alive(self) -> bool: ...

    async def stop(self) -> None: ...


Watcher = Callable[[Access, Sequence[str] | None, OnEvent, Callable[[], None]], Watching]


class Watch:
    """Runs kopf until stopped. `on_event` and `restarted` are called in the loop that made this object."""

    def __init__(self, access: Access, namespaces: Sequence[str] | None, on_event: OnEvent, restarted: Callable[[], None]) -> None:
        self._access, self._namespaces, self._on_event, self._restarted = access, namespaces, on_event, restarted
        self._loop = asyncio.get_running_loop()
        self._said: deque[tuple[str, Json]] = deque()
        self._handing = False
        self._stop, self._flag, self._hurry = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._beat = time.monotonic()
        self._reported = ""
        self.restarts = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Ends the thread, which takes `ROUNDS` × `ROUND_SECONDS` at the most."""
        self._halt()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    def again(self) -> None:
        self._hurry.set()
        self._flag.set()

    def alive(self) -> bool:
        return self._thread is None or (self._thread.is_alive() and time.monotonic() - self._beat < SILENT)

    def _say(self, kind: str, obj: Json) -> None:
        """From kopf's thread: hand it over; what comes in quick succession costs one waking of the other loop."""
        self._said.append((kind, obj))
        if not self._handing:
            self._handing = True
            self._tell(self._hand_over)

    def _hand_over(self) -> None:
        self._handing = False  # before the first is taken: what is said from here on is handed over once more
        while self._said:
            self._on_event(*self._said.popleft())

    def _tell(self, act: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(act, *args)
        except RuntimeError:  # the loop has ended before us
            self._halt()

    def _halt(self) -> None:
        self._stop.set()
        self.again()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._hurry.clear()
            begun = self._beat = time.monotonic()
            why = "it ended by itself"
            try:
                alone(self._watch())
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # kopf ends with whatever its watch met
                why = _why(error)
            if self._stop.is_set():
                return
            self._beat = time.monotonic()
            failures = 0 if self._beat - begun > HEALTHY else failures + 1
            self.restarts += 1
            if not self._hurry.is_set():  # else the one who asked has told
                level = logging.WARNING if why != self._reported or not failures else logging.INFO
                log.log(level, "the watch ended: %s; it begins anew", why)
                self._reported = why
            self._hurry.wait(PAUSE[min(failures, len(PAUSE) - 1)])
            self._tell(self._restarted)

    async def _watch(self) -> None:
        """One kopf, until a part of it ends, or `again`. Its stop flag is of its own: a thread of this loop waits for it."""
        self._flag = flag = threading.Event()
        if self._stop.is_set():
            return
        sessions: list[aiohttp.ClientSession] = []
        try:
            await self._operate(flag, sessions)
        finally:
            flag.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(ROUND_SECONDS):
                    await asyncio.gather(*(session.close() for session in sessions))

    async def _operate(self, flag: threading.Event, sessions: list[aiohttp.ClientSession]) -> None:
        registry = kopf.OperatorRegistry()

        async def event(event: Mapping[str, object], **_: object) -> None:
            obj = event["object"]
            assert isinstance(obj, dict)  # as it was parsed; without a handler that patches, nobody changes it
            self._say(str(event["type"] or ""), obj)

        for kind in KINDS:
            kopf.on.event(GROUP, VERSION, kind.plural, registry=registry, id=kind.plural)(event)

        async def login(**_: object) -> kopf.AiohttpSession:
            tls = self._access.tls if self._access.tls is not None else True
            headers = await self._access.headers(fresh=True)
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=tls), headers={**headers, "User-Agent": "reconciler"}, proxy=self._access.proxy
            )
            sessions.append(session)
            return kopf.AiohttpSession(server=self._access.server, aiohttp_session=session)

        kopf.on.login(registry=registry, id="login")(login)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tasks = await kopf.spawn_tasks(
                registry=registry,
                settings=settings(),
                stop_flag=flag,
                clusterwide=self._namespaces is None,
                namespaces=list(self._namespaces or ()),
                standalone=True,
            )
        ended: set[asyncio.Task[object]] = set()
        while not ended:
            ended, _ = await asyncio.wait(tasks, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
            self._beat = time.monotonic()
        for task in tasks:
            task.cancel()
        for task in ended:
            await task


def alone(main: Coroutine[object, object, None]) -> None:
    """Run it in a loop of its own. At the end nothing of that loop is left, also of tasks that won't end. Raises what it raises."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_aside)
    try:
        loop.run_until_complete(main)
    finally:
        for _ in range(ROUNDS):
            left = asyncio.all_tasks(loop)
            if not left:
                break
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=ROUND_SECONDS))
        if left := asyncio.all_tasks(loop):
            log.warning("%d parts of the watch did not end and were dropped: %s", len(left), ", ".join(t.get_name() for t in left)[:300])
        loop.close()


def _aside(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What broke beside the watch itself, mostly while it ends: what it came to is told with the end."""
    log.debug("in the watch: %s: %s", context.get("message"), context.get("exception"))


class NothingHandled(kopf.DiffBaseStorage):
    """kopf compares what it hears of an object with what it handled last, also when nothing is registered that would want to
    know: for us there is nothing to compare. This is more than half of what an event costs in kopf."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[object] | None = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Never asked: only handlers of changes are."""


def settings() -> kopf.OperatorSettings:
    """Everything of kopf that would write, scan or kill is off."""
    made = kopf.OperatorSettings()
    made.scanning.disabled = True
    made.posting.enabled = False
    made.peering.standalone = True
    made.persistence.finalizer = f"{GROUP}/kopf"  # never appears; a test looks
    made.persistence.diffbase_storage = NothingHandled()
    made.watching.chunk_size = 500
    made.watching.reconnect_backoff = 0.2
    made.networking.request_timeout = 30
    made.networking.enforce_retry_after = True
    made.networking.error_backoffs = BACKOFFS
    made.process.ultimate_exiting_timeout = None
    return made


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
