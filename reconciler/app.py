"""The composition root: which parts make a controller. The only place that knows all of them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from reconciler.agent.agents import KeeperAgents
from reconciler.agent.bootstrap import GuestLayout, local_layout
from reconciler.agent.host import Host, host_id, make_host
from reconciler.agent.keeper_client import KeeperClient
from reconciler.agent.protocol import KEEPER_VERSION
from reconciler.agent.ssh import SshPool
from reconciler.agent.toolchain import PI_VERSION, Toolchain
from reconciler.agent.transport import Transport
from reconciler.api.meta import UUID, Mode
from reconciler.config import Config
from reconciler.core.conditions import suspended
from reconciler.core.keys import Json
from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.local import Hosting
from reconciler.core.snapshot.origin import EVERY, Sharing
from reconciler.engine.backend import DeclarationBackend, NullBackend
from reconciler.engine.clock import LoopClock
from reconciler.engine.effects import Effects, Hook
from reconciler.engine.loop import Engine
from reconciler.engine.outbox import Outbox
from reconciler.engine.parts import EngineParts
from reconciler.engine.places import machine_of, place_of
from reconciler.engine.ports import Agents, Machine, Place, PutMeta, Secrets, Store, StoredObject, VersApi
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.objects import LieutenantItem, parse
from reconciler.engine.supervision import Supervisor
from reconciler.engine.tracing import Tracing
from reconciler.errors import Refused
from reconciler.governing import Governing
from reconciler.serve.commands import Commands
from reconciler.serve.control import ControlServer
from reconciler.serve.refused import RefusedCommands
from reconciler.sources.credentials import HostDraws
from reconciler.sources.files.sync import spec_in_file, still_in_file
from reconciler.sources.secrets import FileSecrets
from reconciler.store.lock import ControllerLock, HeldByCommand, acquire
from reconciler.store.sqlstore import open_store
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings

if TYPE_CHECKING:  # an extra, loaded where it is asked for
    from reconciler.otel.export import Otlp

log = logging.getLogger("reconciler.app")

INSTALLATION = "installation"
LOCK_PATIENCE = 1.0
"""Seconds a controller waits for another one that is just ending."""
COMMAND_PATIENCE = 60.0
"""Seconds it waits for a command's write, which may make the store first; on a busy machine that takes a while."""


@dataclass(frozen=True, slots=True)
class Controller:
    """A running controller: declare through `engine.declarations`, look at `engine.table`, listen at `engine.recorder`. `commands`: what
    its control socket carries out."""

    engine: Engine
    store: Store
    secrets: Secrets
    commands: Commands


def long_lived() -> None:
    """For a process that keeps a whole fleet in memory: look for garbage cycles less often. Each full look costs in proportion to
    the fleet, and by default a few hundred changes bring one: it was half of what a change cost at 2,000 objects."""
    gc.set_threshold(50_000, 20, 50)


def begin_loading() -> None:
    """What is read at a start stays: to look for garbage in it meanwhile stands still for half a second at 10,000 objects."""
    gc.disable()


def end_loading() -> None:
    """What is there now is not looked through again."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def secrets_of(config: Config) -> FileSecrets:
    """`--secrets DIR`, else the environment."""
    return FileSecrets(config.secrets, config.environ, config.configs)


def vers_of(config: Config) -> VersClient:
    """The platform's client; must be closed."""
    return VersClient(Settings(config.environ))


@dataclass(frozen=True, slots=True)
class Ways:
    """To the platform, to the machines, and to the directories of this host that agents live in: `local_root`, whose id is `host`.
    `keeper_version`: of the keeper that `agents` install."""

    vers: VersApi
    agents: Agents
    keeper_version: str
    local_root: str = "/nonexistent"
    host: str = ""


class MakeWays(Protocol):
    """`ways_of`, or one to another world."""

    def __call__(self, config: Config, now: Callable[[], float], supervisor: Supervisor, /) -> AbstractAsyncContextManager[Ways]: ...


Tune = Callable[[EngineSettings], EngineSettings]


@asynccontextmanager
async def ways_of(config: Config, now: Callable[[], float], supervisor: Supervisor) -> AsyncIterator[Ways]:
    """Opened as they are used, closed at the end. `now`: the controller's clock; `supervisor`: hears of connections that end by a
    defect."""
    async with AsyncExitStack() as stack:
        vers = vers_of(config)
        stack.push_async_callback(vers.aclose)
        pool = SshPool(vers)
        stack.push_async_callback(pool.aclose)

        host = Host(config.agents_dir, config.environ)

        async def connect(at: Place) -> Transport:
            return await (host.transport(at.local) if at.local else pool.get(at.vm_id))

        async def release(at: Place) -> None:
            await (host.release(at.local) if at.local else pool.release(at.vm_id))

        async def tools(at: Place) -> Toolchain | None:
            return await host.tools() if at.local else None

        def layout(at: Place) -> GuestLayout:
            return local_layout(host.root, at.local) if at.local else GuestLayout()

        agents = KeeperAgents(connect, release, layout, tools, now, supervisor)
        stack.push_async_callback(agents.aclose)
        yield Ways(vers, agents, KEEPER_VERSION, str(host.root), host_id(host.root))


def sharing_of(config: Config, cluster: bool) -> Sharing:
    """Whoever writes the files of a folder owns the account's machines too; the people of a cluster's namespaces do not."""
    by_mode = () if cluster else (EVERY,)
    unowned = config.adopt_unowned if config.adopt_unowned is not None else by_mode
    return Sharing(frozenset(unowned), frozenset(config.share))


@asynccontextmanager
async def engine_over(
    config: Config,
    store: Store,
    installation: str,
    secrets: Secrets | None = None,
    hook: Hook | None = None,
    backend: DeclarationBackend | None = None,
    clock: LoopClock | None = None,
    supervisor: Supervisor | None = None,
    make_ways: MakeWays | None = None,
    tune: Tune = lambda settings: settings,
    outbox: Outbox | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[Engine]:
    """An engine with its ways to the platform and the machines, not started; closes those ways at the end.
    `secrets`: instead of those of files and environment; `hook`: around every effect; `backend`: a cluster in which
    declarations live; then no agent runs on this host; `clock`: instead of this host's; `supervisor`: keeps what runs beside;
    `make_ways`: to another world; `tune`: settings that no configuration has; `outbox`: where notices wait;
    `tracing`: told of what takes how long."""
    clock, supervisor = clock or LoopClock(), supervisor or Supervisor()
    async with (make_ways or ways_of)(config, clock.now, supervisor) as ways:
        governing = config.governing or Governing()
        settings = EngineSettings(
            fleet=config.fleet,
            installation=installation,
            default_model=config.default_model,
            settle_seconds=config.settle_seconds,
            empty_store_seconds=config.settle_seconds,
            resync_seconds=config.resync_seconds,
            dedicated_account=config.dedicated_account,
            max_vms=config.max_vms,
            audit_keep=governing.audit_keep,
            budget=governing.budget,
            prices=governing.prices,
            from_git=governing.from_git,
            sharing=sharing_of(config, cluster=backend is not None),
            hosting=Hosting.UNAVAILABLE if backend else Hosting.ALLOWED if config.allow_local else Hosting.NOT_ALLOWED,
            local_root=ways.local_root,
            host=ways.host,
            pi_version=PI_VERSION,
        )
        yield await Engine.open(
            EngineParts(
                settings=tune(settings),
                vers=ways.vers,
                agents=ways.agents,
                keeper_version=ways.keeper_version,
                store=store,
                secrets=secrets or secrets_of(config),
                clock=clock,
                effects=Effects(hook, tracing),
                backend=backend or NullBackend(),
                supervisor=supervisor,
                outbox=outbox,
                draws=HostDraws(config.environ) if backend is None else None,
            )
        )


@dataclass(frozen=True, slots=True)
class Reach:
    """The way to the machine of one lieutenant, for people who work on it. Nothing of it is decided here and its queue is not touched."""

    item: LieutenantItem
    agents: KeeperAgents

    async def private(self, heard: Callable[[Json], None], lost: Callable[[], None]) -> KeeperClient:
        """A connection of its own to its keeper; must be closed."""
        return await self.agents.private(self.at, heard, lost)

    @property
    def at(self) -> Machine:
        return machine_of(self.item)


@asynccontextmanager
async def reach(config: Config, store: Store, lieutenant: StoredObject) -> AsyncIterator[Reach]:
    """To where its agent lives, as the store knows it; a running controller is not asked. Raises `Refused` when it
    lives nowhere, and when its machine is suspended: nobody would answer there."""
    item = parse(lieutenant, LieutenantRecord)
    assert isinstance(item.record, LieutenantRecord)
    found = cast(LieutenantItem, item)
    if not place_of(found).id:
        raise Refused(f"{lieutenant.key.name} has no machine", str(lieutenant.key), "wait until it is ready: `reconciler wait`")
    if not place_of(found).local and suspended(lieutenant.status):
        name, where = f"lieutenant/{lieutenant.key.name}", f"namespace {lieutenant.key.namespace}"
        if found.spec.mode is Mode.SUSPENDED:
            raise Refused(f"{name} is suspended", where, f"`reconciler resume lt {lieutenant.key.name}` resumes it")
        raise Refused(f"{name} is suspended still", where, f"wait until it is resumed: `reconciler wait {name} --for Ready`")
    async with ways_of(config, LoopClock().now, Supervisor()) as ways:
        assert isinstance(ways.agents, KeeperAgents)
        yield Reach(found, ways.agents)


@asynccontextmanager
async def controller(
    config: Config,
    prepare: Callable[[Engine], None] = lambda _: None,
    supervisor: Supervisor | None = None,
    otlp: Otlp | None = None,
    patience: float = 0.0,
) -> AsyncIterator[Controller]:
    """Become the controller of this state directory: lock, store, engine, control socket. `prepare` is called with the engine
    before it starts; `otlp`: where it tells what it does; `patience`: see `Engine.start`. At the end everything is let go of and nothing
    outside is changed (G-01). Raises `Refused` naming the pid when another one runs."""
    supervisor = supervisor if supervisor is not None else Supervisor()
    async with AsyncExitStack() as stack:
        lock = await lock_of(config)
        stack.callback(lock.release)
        make_host(config.agents_dir)
        if patience:
            begin_loading()
            stack.callback(end_loading)
        store = await asyncio.to_thread(open_store, config.store_address)
        stack.push_async_callback(store.aclose)
        installation, lost = await installation_of(store, config.state / INSTALLATION)
        outbox = outbox_of(config)
        tracing = otlp.spans if otlp is not None else None
        engine = await stack.enter_async_context(
            engine_over(config, store, installation, supervisor=supervisor, outbox=outbox, tracing=tracing)
        )
        stack.push_async_callback(engine.stop)
        if lost:
            log.warning("the store knows nothing of this fleet: its machines are looked for by their claims, and nothing is created yet")
            engine.declarations.claimed = await engine.restore.claimed()
            await store.write([PutMeta(INSTALLATION, installation)])
        prepare(engine)
        if otlp is not None:
            otlp.attach(engine)
        await engine.start(patience=patience, loaded=end_loading)
        await stack.enter_async_context(notifying(config, engine, supervisor))
        refused = RefusedCommands(engine.table, engine.clock, engine.settings.audit_keep)
        commands = Commands(engine.declarations, still_in_file, engine.orphans.ask, engine.memory_desk.edit, refused.note, spec_in_file)
        control = ControlServer(config.state, commands.handle, supervisor)
        await control.start()
        stack.push_async_callback(control.stop)
        yield Controller(engine, store, engine.secrets, commands)


def otlp_of(config: Config, tell: Callable[[str], None]) -> Otlp | None:
    """What the standard variables of OpenTelemetry ask for; None when they ask for nothing. Raises `UsageError` for what there is not;
    what is asked for and can't be had because the extra is not installed is told."""
    if not any(name.startswith("OTEL_") for name in config.environ):
        return None
    from reconciler.otel.settings import wanted

    found = wanted(config.environ)
    if found is None:
        return None
    try:
        from reconciler.otel.export import Otlp
    except ModuleNotFoundError as error:
        tell(f"warning: nothing is sent by OTLP ({error.name} is not installed): install reconciler[otel], or unset the OTEL_ variables")
        return None
    return Otlp(found, version("reconciler"), f"{socket.gethostname()}_{os.getpid()}")


def outbox_of(config: Config) -> Outbox | None:
    """Where notices wait; None when there is no sink."""
    return Outbox([sink.want for sink in config.notify]) if config.notify else None


@asynccontextmanager
async def notifying(config: Config, engine: Engine, supervisor: Supervisor) -> AsyncIterator[None]:
    """While it is open the notices of this engine are delivered."""
    if engine.outbox is None:
        yield
        return
    from reconciler.notify.delivery import Delivery, Origin, delivering

    origin = Origin(engine.settings.installation, engine.settings.fleet)
    delivery = Delivery(engine.outbox, engine.store, engine.effects, origin, engine.jitter)
    async with delivering(config.notify, delivery, engine.secrets, config.environ, engine.clock.now, supervisor):
        yield


def answers_of(engine: Engine | None) -> Mapping[tuple[str, str], int]:
    """What the platform answered this engine, by method and status."""
    return engine.vers.answered() if engine is not None else {}


async def lock_of(config: Config) -> ControllerLock:
    """The controller's lock. A command that writes lets go of it by itself, and is waited for."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        try:
            return acquire(config.state)
        except Refused as held:
            if loop.time() > begun + (COMMAND_PATIENCE if isinstance(held, HeldByCommand) else LOCK_PATIENCE):
                raise
            await asyncio.sleep(0.05)


async def installation_of(store: Store, file: Path) -> tuple[str, bool]:
    """The uuid of this state directory's fleet; made once, durable, in the store and beside it. And whether the store was lost: it has
    none, and `file` has; it is not written there before the claims are read, so that a start in between finds it lost still."""
    known, noted = await store.meta(INSTALLATION), await asyncio.to_thread(noted_installation, file)
    made = known or noted or str(uuid.uuid4())
    if noted != made:
        await asyncio.to_thread(_note_installation, file, made)
    if not known and not noted:
        await store.write([PutMeta(INSTALLATION, made)])
    return made, bool(noted) and not known


def noted_installation(file: Path) -> str:
    """What the file says; '' when it is not there, or says something else than a uuid."""
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if re.fullmatch(UUID, text) else ""


def _note_installation(file: Path, installation: str) -> None:
    """Without it a lost store finds no machine again; nothing else depends on it."""
    try:
        file.write_text(f"{installation}\n", "utf-8")
    except OSError as error:
        log.warning("%s can't be written (%s): a lost store would not find its machines again", file, error.strerror)
