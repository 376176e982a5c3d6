"""`run`: the controller in the foreground, over files. `plan`: what it would do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from reconciler import log
from reconciler.api.registry import KINDS
from reconciler.cli import kube, names
from reconciler.cli.access import LateStore
from reconciler.cli.documents import condition
from reconciler.cli.output import out, parse_format, say, table, to_json
from reconciler.config import Config
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.engine.loop import Engine
from reconciler.engine.ports import Event, StoredObject
from reconciler.errors import ReconcilerError, UsageError
from reconciler.sources.documents.reader import Finding
from reconciler.sources.files.scan import Scan, Scanner
from reconciler.sources.files.sync import FileSync
from reconciler.sources.files.watch import watch

DEFAULT_PATH = Path("specs")
POLL = 0.1
STOP_SECONDS = 4.0
UNMET = frozenset({"ProfileNotFound", "SecretNotFound", "SecretForbidden", "LieutenantNotFound"})
"""Reasons that only a person can end, though they are waits: another declaration may come at any time."""
TERMINATED = 0
INTERRUPTED = 130

Paths = Annotated[
    list[Path] | None, typer.Argument(metavar="[PATH…]", help="Files and directories; without any: ./specs", show_default=False)
]

Listen = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Serve /healthz, /readyz and /metrics (with the token).", show_default=False)
]


def run(
    config: Config,
    paths: Paths = None,
    once: Annotated[bool, typer.Option("--once", help="Converge, then exit: 0, or 1 when something can't be reached.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="S", min=0.0, help="With --once: give up after this long (exit code 3).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
    listen: Listen = "",
) -> None:
    """Follow declarations in files and make them true.

    Stopping changes nothing on any machine."""
    if timeout is not None and not once:
        raise UsageError("--timeout goes with --once", "--timeout", "add --once, or leave it out")
    where = existing(paths)
    if dry_run:
        planned, _, wrong = asyncio.run(_planned(config, where))
        _print_plan(planned, wrong=bool(wrong))
        raise typer.Exit(1 if wrong else 0)
    raise typer.Exit(asyncio.run(Runner(config, where, once, timeout, listen).run()))


def existing(paths: Sequence[Path] | None) -> list[Path]:
    """What to read. Raises `UsageError` when nothing was named and the default is not there."""
    if paths:
        return list(paths)
    if not DEFAULT_PATH.exists():
        raise UsageError("there is no directory of declarations", f"./{DEFAULT_PATH}", "create it, or name files and directories")
    return [DEFAULT_PATH]


class Runner:
    """One life of the controller in the foreground."""

    def __init__(self, config: Config, paths: Sequence[Path], once: bool, timeout: float | None, listen: str = "") -> None:
        self._config, self._paths, self._once, self._timeout, self._listen = config, paths, once, timeout, listen
        self._dirty = asyncio.Event()
        self._end: asyncio.Future[int] | None = None

    async def run(self) -> int:
        """Until a signal, or convergence with `once`; returns the exit code."""
        from reconciler.app import answers_of, controller, listening, long_lived, served
        from reconciler.serve.http import read_address
        from reconciler.serve.metrics import Sources

        long_lived()
        loop = asyncio.get_running_loop()
        address = read_address(self._listen) if self._listen else None
        self._end = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, self._finish, TERMINATED)
        loop.add_signal_handler(signal.SIGINT, self._finish, INTERRUPTED)
        context = AsyncExitStack()
        opened = await context.enter_async_context(controller(self._config, self._prepare))
        log.setup(self._config.log_format, self._config.verbose, opened.secrets.known)
        if address is not None:
            try:
                sources = Sources(lambda: opened.engine, answers_of, lambda: True)
                http = await context.enter_async_context(served(sources, self._config, address))
            except ReconcilerError:
                await context.aclose()
                raise
            say(listening(self._config, address, http.port))
        sync = FileSync(opened.engine.table, opened.engine.declarations, say)
        watching = asyncio.create_task(watch(self._paths, self._dirty.set))
        following = asyncio.create_task(self._follow(opened.engine, sync))
        try:
            return await self._ended(following)
        finally:
            for task in (watching, following):
                task.cancel()
            await asyncio.gather(watching, following, return_exceptions=True)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await context.aclose()
            except TimeoutError:
                say("warning: stopping took too long; connections were left to the system")

    async def _ended(self, following: asyncio.Task[None]) -> int:
        assert self._end is not None
        either: list[asyncio.Future[int] | asyncio.Task[None]] = [self._end, following]
        await asyncio.wait(either, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            return self._end.result()
        if following.done():
            following.result()  # a defect of ours: told as such
        say(f"error: not converged within {self._timeout:g} s: see `reconciler get all`")
        return 3

    def _finish(self, code: int) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(code)

    # --- following ------------------------------------------------------------------------------------------------------------

    def _prepare(self, engine: Engine) -> None:
        """Before the engine starts: hear everything."""
        engine.recorder.listen(lambda event: self._event(engine, event))
        engine.on_platform.append(platform_line)

    def _event(self, engine: Engine, event: Event) -> None:
        message = log.redact(event.message, engine.secrets.known())
        out(transition(event, message, self._config))

    async def _follow(self, engine: Engine, sync: FileSync) -> None:
        scanner = Scanner(self._config.namespace)
        applied = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL if self._once else None):
                    await self._dirty.wait()
            if self._dirty.is_set():
                self._dirty.clear()
                found = await asyncio.to_thread(scanner.scan, self._paths)
                try:
                    await sync.round(found)
                    applied = True
                except ReconcilerError as error:
                    say(f"warning: declarations could not be stored: {error}; trying again")
                    asyncio.get_running_loop().call_later(1.0, self._dirty.set)
            if self._once and applied and engine.converged():
                self._finish(verdict([item.obj for key in engine.table.all_keys() if (item := engine.table.get(key))], bool(sync.findings)))
                return


def platform_line(message: str) -> None:
    """The platform's trouble, once; and its end."""
    say(f"platform: {log.one_line(message)}; waiting" if message else "platform: answers again")


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
        return json.dumps(told, ensure_ascii=False)
    name = names.short(event.key)
    if event.key.namespace != config.namespace:
        name = f"{event.key.namespace}/{name}"
    warning = "! " if event.type == "Warning" else ""
    return f"{datetime.fromtimestamp(event.at):%H:%M:%S} {name}  {warning}{event.reason}  {log.one_line(message)}".rstrip()


def verdict(objects: Sequence[StoredObject], findings: bool) -> int:
    """The exit code of `--once`: what is not as declared is told."""
    code = 1 if findings else 0
    for obj in sorted(objects, key=lambda o: o.key):
        ready, stalled = condition(obj.status, "Ready"), condition(obj.status, "Stalled")
        if stalled.get("status") == "True" or ready.get("reason") in UNMET:
            say(f"error: {names.short(obj.key)}: {ready.get('reason')}: {ready.get('message')}".rstrip(": "))
            code = 1
    return code


# --- plan -------------------------------------------------------------------------------------------------------------------------


def plan(
    config: Config,
    paths: Paths = None,
    filename: Annotated[
        list[Path] | None, typer.Option("-f", "--filename", metavar="FILE|DIR", help="The same as PATH.", show_default=False)
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table or json.")] = "table",
) -> None:
    """Print what the loop would do; change nothing.

    The answer comes from the loop's own code. Exit code 2 when there is something to do. With --kube: what an apply of these files
    would change in the cluster, by the API server's own word."""
    shape = parse_format(output, ("table", "json"))
    given = [*(paths or ()), *(filename or ())]
    where = given or ([DEFAULT_PATH] if DEFAULT_PATH.exists() else [])
    planned, inputs, wrong = asyncio.run(_of_apply(config, where) if config.kube else _planned(config, where))
    if shape.kind == "json":
        summary: Json = dict(sorted(Counter(str(action["verb"]) for action in planned).items()))
        actions: list[JsonValue] = list(planned)
        refused: list[JsonValue] = [
            {"file": one.file, "line": one.line, "column": one.column, "field": one.field, "message": one.message} for one in wrong
        ]
        out(to_json({"actions": actions, "summary": summary, "refused": refused, "inputsHash": inputs}))
    else:
        _print_plan(planned, wrong=bool(wrong))
    raise typer.Exit(1 if wrong else 2 if planned else 0)


def _print_plan(planned: Sequence[Json], *, wrong: bool = False) -> None:
    if not planned:
        out("nothing to do for what is valid; what is not is left as it was" if wrong else "nothing to do: what is declared is true")
        return
    rows = [[str(a["verb"]), f"{str(a['kind']).lower()}/{a['name']}", str(a["target"]), str(a["reason"])] for a in planned]
    table(("VERB", "OBJECT", "TARGET", "REASON"), rows)
    out(f"{len(planned)} to do")


async def _of_apply(config: Config, paths: Sequence[Path]) -> tuple[list[Json], str, tuple[Finding, ...]]:
    """As `_planned`, of what an apply does to a cluster."""
    found = await asyncio.to_thread(Scanner(config.namespace).scan, paths)
    for finding in found.findings:
        say(str(finding))
    wanted: list[tuple[Key, Json]] = []
    for kind in KINDS:
        for one in found.objects:
            if one.key.kind == kind.name:
                wanted.append((one.key, {"spec": one.spec, "labels": dict(one.labels), "annotations": dict(one.annotations)}))
    return await kube.planned(config, wanted), found.inputs_hash, tuple(found.findings)


async def _planned(config: Config, paths: Sequence[Path]) -> tuple[list[Json], str, tuple[Finding, ...]]:
    """Acts as JSON rows, the hash of what they follow from, and what is wrong with declarations."""
    from reconciler.app import INSTALLATION, engine_over
    from reconciler.engine.planning import inputs_hash, plan_everything

    found: Scan | None = await asyncio.to_thread(Scanner(config.namespace).scan, paths) if paths else None
    store = LateStore(config.store_address)
    try:
        async with engine_over(config, store, await store.meta(INSTALLATION) or "") as engine:
            await engine.load()
            sync = FileSync(engine.table, engine.declarations, say)
            if found is not None:
                await sync.round(found)
            planned = await plan_everything(engine)
            inputs = hashlib.sha256(f"{inputs_hash(engine)}{found.inputs_hash if found else ''}".encode()).hexdigest()
    finally:
        await store.aclose()
    rows: list[Json] = [
        {
            "kind": step.key.kind,
            "name": step.key.name,
            "namespace": step.key.namespace,
            "verb": step.verb,
            "target": step.target,
            "reason": step.reason,
        }
        for step in planned
    ]
    return rows, inputs, tuple(sync.findings)
