"""`run`: the controller in the foreground, over files. `plan`: what it would do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.api.registry import KINDS
from reconciler.cli import kube, names
from reconciler.cli.access import LateStore
from reconciler.cli.listen import Listen, PlainHttp, TlsCert, TlsKey, TokenFile, listening_of
from reconciler.cli.output import out, parse_format, say, show_entry, table, terminal, to_json
from reconciler.cli.runner import Runner
from reconciler.cli.sharedstate import of_another_account
from reconciler.cli.surfaced import surfaced
from reconciler.cli.validate import warn_unsupported
from reconciler.cli.where import Arguments, Where, existing, followed, where
from reconciler.config import Config
from reconciler.core.conditions import undeclared
from reconciler.core.keys import Json, Key
from reconciler.core.prune import to_come
from reconciler.engine.ports import StoredObject
from reconciler.engine.view import EngineView
from reconciler.errors import Unreachable, UsageError
from reconciler.sources.documents.kept import Kept
from reconciler.sources.documents.reader import Finding
from reconciler.sources.files.scan import Scan, Scanner
from reconciler.sources.files.source import FileSource
from reconciler.sources.files.sync import FileSync
from reconciler.sources.follower import Follower
from reconciler.views.documents import condition
from reconciler.views.folded import folded, summary
from reconciler.views.forecast import Forecast, Pruned, forecast_of

if TYPE_CHECKING:  # heavy parts, loaded when they are needed
    from reconciler.serve.http import Listening
    from reconciler.sources.git.source import Followed

POLL = 0.1
READING = 30.0
"""Seconds for which the look at everything after a start waits until the declarations are read."""


def run(
    config: Config,
    paths: Arguments = None,
    once: Annotated[bool, typer.Option("--once", help="Converge, then exit: 0, or 1 when something can't be reached.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="S", min=0.0, help="With --once: give up after this long (exit code 3).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, deletions too, and end: 0, or 1 when something is refused.")
    ] = False,
    listen: Listen = "",
    token_file: TokenFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    plain_http: PlainHttp = False,
) -> None:
    """Follow declarations in files and make them true.

    A repository is only read: of each commit all is put in force, or nothing (docs/git.md). Stopping changes nothing on any machine."""
    if timeout is not None and not once:
        raise UsageError("--timeout goes with --once", "--timeout", "add --once, or leave it out")
    listening = listening_of(listen, token_file, tls_cert, tls_key, plain_http)
    at = existing(config, paths or ())
    if dry_run:
        forecast = asyncio.run(_forecast(config, at, prune=True))
        _print_plan(forecast, config.verbose)
        raise typer.Exit(1 if forecast.refused else 0)
    raise typer.Exit(asyncio.run(follow(config, at, once, timeout, listening)))


async def follow(config: Config, at: Where, once: bool, timeout: float | None, listening: Listening | None) -> int:
    """One life of the controller in the foreground: until a signal, or convergence with `once`; returns the exit code."""
    runner = Runner(config, listening)

    async def work() -> None:
        ended = await runner.serve(_serve(runner, at, once), timeout=timeout)
        if not ended and not runner.ending:
            say(f"error: not converged within {timeout:g} s: see `reconciler get all`")
            runner.finish(3)

    return await runner.run(work)


async def _serve(runner: Runner, at: Where, once: bool) -> None:
    from reconciler.app import answers_of, controller
    from reconciler.serve.metrics import Sources

    config = runner.config
    async with controller(config, runner.prepare, runner.supervisor, runner.otlp, READING) as opened:
        runner.log(opened.secrets.known)
        if shared := of_another_account(opened.engine.table, opened.engine.vers.account(), config):
            say(shared)
        engine: EngineView = opened.engine
        sync = FileSync(engine.table, engine.declarations, say)
        repositories = followed(config, at, config.state / "git", opened.secrets, engine.declarations, opened.store)
        if engine.declarations.prunes.repositories:
            from reconciler.sources.git.source import forget_others

            await forget_others(repositories, engine.declarations)
        source = FileSource(at.paths, config.namespace, sync, engine, repositories, Kept(config.state / "documents.json"))
        follower = Follower(source, say, runner.supervisor)
        sources = Sources(
            lambda: engine,
            lambda: answers_of(opened.engine),
            lambda: True,
            source_errors=lambda: follower.errors,
            following=follower.healthy,
            supervisor=runner.supervisor,
        )
        async with (
            surfaced(runner, opened, lambda: _of_what_runs(config, follower, sync, engine, repositories)) as surface,
            runner.listening(sources, surface=lambda: surface),
        ):
            following = asyncio.create_task(follower.run(), name="follower")
            try:
                with _picture(config, engine):
                    if not once:
                        await following  # does not end by itself
                    await _converged(engine, follower, following, lambda: sync.look_again is None)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            objects = [item.obj for key in engine.table.all_keys() if (item := engine.table.get(key)) is not None]
            kept = [one.blocked for one in sync.prunings if one.blocked is not None]
            for blocked in kept:
                say(f"error: PruneBlocked: {blocked.message}")
            away = [one for one in repositories if one.trouble]
            for one in away:
                say(f"error: {one.repository.address.name}: {one.trouble}")
            runner.finish(verdict(objects, bool(sync.findings or kept or away)))


def _picture(config: Config, engine: EngineView) -> AbstractContextManager[None]:
    """On a terminal the fleet as it is now, below the lines; elsewhere there are the lines alone."""
    if not terminal() or config.log_format == "json":
        return nullcontext()
    from reconciler import log
    from reconciler.cli.live import below_the_lines

    def objects() -> list[StoredObject]:
        found = (engine.table.get(key) for key in engine.table.all_keys() if key.namespace == config.namespace)
        return [item.obj for item in found if item is not None]

    return below_the_lines(objects, lambda: engine.revision, lambda text: log.redact(text, engine.secrets.known()))


async def _converged(engine: EngineView, follower: Follower, following: asyncio.Task[None], settled: Callable[[], bool]) -> None:
    """Until everything that is declared is true, or will not become so by itself. `settled`: nothing waits to be seen absent once more.
    Raises a defect of ours: waiting would not mend it."""
    while not (follower.current() and settled() and engine.converged()):
        if following.done():
            following.result()
        if follower.defect is not None:
            raise follower.defect
        await asyncio.sleep(POLL)


def verdict(objects: Sequence[StoredObject], findings: bool) -> int:
    """The exit code of `--once`: what is not as declared is told."""
    code = 1 if findings else 0
    for obj in sorted(objects, key=lambda o: o.key):
        ready, stalled = condition(obj.status, "Ready"), condition(obj.status, "Stalled")
        if stalled.get("status") == "True" or undeclared(str(ready.get("reason"))):
            say(f"error: {names.short(obj.key)}: {ready.get('reason')}: {ready.get('message')}".rstrip(": "))
            code = 1
    return code


# --- plan -------------------------------------------------------------------------------------------------------------------------


def plan(
    config: Config,
    paths: Arguments = None,
    filename: Annotated[
        list[str] | None, typer.Option("-f", "--filename", metavar="FILE|DIR", help="The same as PATH.", show_default=False)
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table or json.")] = "table",
    prune: Annotated[bool, typer.Option("--prune", help="Also the acts by which what is not declared any more is deleted.")] = False,
) -> None:
    """Print what the loop would do; change nothing.

    The answer comes from the loop's own code. Exit code 2 unless everything that is declared is true already. One entry an object: what
    is done to it, why, and what is lost by it; + created, ~ changed, -/+ replaced, - deleted. -v shows every step.
    With --kube: what an apply of these files would change in the cluster, by the API server's own word."""
    shape = parse_format(output, ("table", "json"))
    given = [*(paths or ()), *(filename or ())]
    at = where(config, given)
    if config.kube and at.repositories:
        raise UsageError("a cluster is planned from files", at.repositories[0].address.name, "check it out, and name its folder")
    forecast = asyncio.run(_of_apply(config, at.paths) if config.kube else _forecast(config, at, prune))
    if shape.kind == "json":
        out(to_json(forecast.document()))
    else:
        done = "what is declared is true" if not config.kube else "the cluster has these declarations already"
        _print_plan(forecast, config.verbose, done)
    raise typer.Exit(forecast.code)


def _print_plan(forecast: Forecast, unfolded: bool, done: str = "what is declared is true") -> None:
    """Both parts of it; that nothing is to do only where that is so (G-49). `done`: what is so then; `unfolded`: every step."""
    entries = folded(forecast.planned)
    if forecast.planned and unfolded:
        rows = forecast.table()
        table(rows.header, rows.rows)
    elif forecast.planned:
        for entry in entries:
            show_entry(entry.lines())
    if forecast.planned:
        out(f"\n{summary(forecast, entries)}{'' if unfolded else ' -v shows every step.'}")
    if forecast.pending:
        rows = forecast.pending_table()
        out("\nnot as declared even then:" if forecast.planned else "nothing can be done now; not as declared:")
        table(rows.header, rows.rows)
    for pruned in forecast.prunes:
        for line in pruned.lines:
            out(line)
    if forecast.true:
        out(f"nothing to do: {done}")
    elif not forecast.planned and not forecast.pending and not forecast.prunes:
        out("nothing to do for what is valid; what is not is left as it was")


async def _read(config: Config, at: Where, sync: FileSync, engine: EngineView, store: LateStore) -> Scan:
    """One look at all of it; repositories are fetched into a directory that goes again."""
    with TemporaryDirectory(prefix="reconciler-") as cache:
        repositories = followed(config, at, Path(cache), engine.secrets, engine.declarations, store)
        for one in repositories:
            await one.fetch()
            one.must_be_there("nothing can be told of it now")
        return await FileSource(at.paths, config.namespace, sync, engine, repositories).scan()


async def _of_apply(config: Config, paths: Sequence[Path]) -> Forecast:
    """What an apply of these files does to a cluster."""
    found = await asyncio.to_thread(Scanner(config.namespace).scan, paths)
    for finding in found.findings:
        say(str(finding))
    for declared in found.objects:
        warn_unsupported(declared)
    wanted: list[tuple[Key, Json]] = []
    for kind in KINDS:
        for one in found.objects:
            if one.key.kind == kind.name:
                wanted.append((one.key, {"spec": one.spec, "labels": dict(one.labels), "annotations": dict(one.annotations)}))
    return Forecast(await kube.planned(config, wanted), found.inputs_hash, tuple(found.findings))


async def _of_what_runs(
    config: Config, follower: Follower, sync: FileSync, engine: EngineView, repositories: Sequence[Followed]
) -> Forecast:
    """What the controller that runs here is about to do, and what its last look found: declarations that are refused or can't be fetched,
    and what is not declared any more (G-49). Waits for the first look. Raises `Unreachable` when the last one failed."""
    while not follower.rounds or follower.last_error:
        if follower.last_error:
            raise Unreachable("declarations could not be taken in", follower.last_error, "it is tried again; the log says more")
        await asyncio.sleep(POLL)
    away = [Finding(one.repository.address.name, 1, 1, "", one.trouble) for one in repositories if one.trouble]
    refused = (*sync.findings, *away)
    prunes = [Pruned.of(one, False) for one in to_come(sync.prunings, engine.declarations.prunes.approved) if one.due or one.blocked]
    # A planner computes for a while: not on the loop's thread.
    forecast = await asyncio.to_thread(lambda: asyncio.run(_forecast(config, Where())))
    inputs = hashlib.sha256(f"{forecast.inputs_hash}{refused}{prunes}".encode()).hexdigest()
    return replace(forecast, inputs_hash=inputs, refused=refused, prunes=prunes)


async def _forecast(config: Config, at: Where, prune: bool = False) -> Forecast:
    """What a controller that follows these files would do. `prune`: also with what they do not declare any more."""
    from reconciler.app import INSTALLATION, engine_over
    from reconciler.engine.planning import inputs_hash, plan_everything

    found: Scan | None = None
    store = LateStore(config.store_address)
    try:
        async with engine_over(config, store, await store.meta(INSTALLATION) or "") as engine:
            said: set[str] = set()

            def tell(line: str) -> None:
                said.add(line)
                say(line)

            sync = FileSync(engine.table, engine.declarations, tell)
            prunes: list[Pruned] = []
            if not at.nothing:
                if shared := of_another_account(engine.table, engine.vers.account(), config):
                    say(shared)
                found = await _read(config, at, sync, engine, store)
                prunes = [Pruned.of(one, prune) for one in sync.decide(found, foresee=True) if one.due or one.blocked]
                await sync.round(found, foresee=prune)
                for line in dict.fromkeys(map(str, sync.findings)):  # a controller tells some in events only
                    if line not in said:
                        say(line)
                for declared in found.objects:
                    warn_unsupported(declared)
            foreseen = await plan_everything(engine)
            inputs = hashlib.sha256(f"{inputs_hash(engine)}{found.inputs_hash if found else ''}".encode()).hexdigest()
    finally:
        await store.aclose()
    return forecast_of(foreseen, inputs, tuple(sync.findings), prunes)
