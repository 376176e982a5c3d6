"""The composition root of Kubernetes mode: which parts make an operator, and when it may act."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

from reconciler.api.meta import LABEL
from reconciler.app import INSTALLATION, MakeWays, Tune, engine_over, lock_of, notifying, outbox_of
from reconciler.config import Config
from reconciler.engine.clock import LoopClock
from reconciler.engine.loop import Engine
from reconciler.engine.ports import PutMeta, Store, StoredObject
from reconciler.engine.supervision import Supervisor
from reconciler.errors import Forbidden, NotFound, Refused, UsageError
from reconciler.serve.commands import Commands
from reconciler.serve.control import ControlServer
from reconciler.serve.metrics import Front
from reconciler.serve.refused import RefusedCommands
from reconciler.sources.kube import raw
from reconciler.sources.kube.access import Access, own_namespace
from reconciler.sources.kube.client import Cluster
from reconciler.sources.kube.controller import KubeController
from reconciler.sources.kube.lease import EVERYWHERE, RELEASE, RUNS_IN, SERVES, Lease
from reconciler.sources.kube.lease import INSTALLATION as NOTED
from reconciler.sources.kube.orphans import OrphanRequests
from reconciler.sources.kube.secrets import KubeSecrets
from reconciler.store.sqlstore import open_store

if TYPE_CHECKING:  # an extra, loaded where it is asked for
    from reconciler.otel.export import Otlp

log = logging.getLogger("reconciler.kube")

T = TypeVar("T")
AGREED = 2.0
"""Seconds by which clocks may differ without a word: a date in an answer has whole seconds, and is a moment old."""
PERMITTED_SECONDS = 2.0
"""Between two looks of one who lacks the right to begin."""
SYSTEM = "/api/v1/namespaces/kube-system"
DEPLOYED = "reconciler"
"""The namespace that deploy/ makes: where an operator of every namespace outside of the cluster meets the one inside."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What one operator serves. `namespaces` None: all. `lease`: the namespace of its Lease, '' when nobody said."""

    namespaces: tuple[str, ...] | None
    lease: str = ""

    @property
    def home(self) -> str:
        """The namespace whose Lease says who acts. It is part of `installation` too: operators that take each other's VMs for their
        own are those that ask the same Lease, whatever namespaces they serve."""
        return self.lease or (min(self.namespaces) if self.namespaces else DEPLOYED)

    @property
    def serves(self) -> str:
        """As the Lease tells it."""
        return ",".join(sorted(self.namespaces)) if self.namespaces is not None else EVERYWHERE


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator in charge. `commands`: carries out what is asked of its store."""

    engine: Engine
    kube_controller: KubeController
    secrets: KubeSecrets
    store: Store
    commands: Commands


def identity() -> str:
    """Names this process among operators."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


def lease_of(
    config: Config, cluster: Cluster, scope: Scope, who: str, tell: Callable[[str], None], supervisor: Supervisor | None = None
) -> Lease:
    """One Lease for each fleet and namespace of operators."""
    notes = {SERVES: scope.serves, RUNS_IN: own_namespace(config.context, config.environ), RELEASE: version("reconciler")}
    return Lease(cluster, scope.home, lease_name(config.fleet), who, tell, notes=notes, supervisor=supervisor)


def lease_name(fleet: str) -> str:
    """RBAC names it too: deploy/cluster/rbac.yaml."""
    return f"reconciler-{fleet}"


@asynccontextmanager
async def cluster_of(access: Access) -> AsyncIterator[Cluster]:
    """A client of the API server; closed at the end."""
    cluster = Cluster(access)
    try:
        yield cluster
    finally:
        await cluster.aclose()


@asynccontextmanager
async def operating(
    config: Config,
    cluster: Cluster,
    scope: Scope,
    lease: Lease,
    tell: Callable[[str], None],
    prepare: Callable[[Engine], None] = lambda _: None,
    supervisor: Supervisor | None = None,
    make_ways: MakeWays | None = None,
    tune: Tune = lambda settings: settings,
    otlp: Otlp | None = None,
) -> AsyncIterator[Operator]:
    """Be the operator in charge, while `lease` is held: store, engine, front door, control socket. At the end everything is let go
    of and nothing outside is changed. `make_ways`, `tune`: as `engine_over` has them; `otlp`: where it tells what it does. Raises `Refused`
    for a store of another cluster, and what store and API server say."""
    supervisor = supervisor if supervisor is not None else Supervisor()
    async with AsyncExitStack() as stack:
        lock = await lock_of(config)
        stack.callback(lock.release)
        store = await asyncio.to_thread(open_store, config.store_address)
        stack.push_async_callback(store.aclose)
        uid = await permitted_uid(cluster, tell)
        installation = await installed(store, uid, scope)
        clock = clock_of(cluster.dated, tell)
        lease.notes[NOTED] = installation
        secrets = KubeSecrets(cluster, supervisor)
        stack.push_async_callback(secrets.aclose)
        kube_controller = KubeController(cluster, secrets, scope.namespaces, lease.identity, tell, lease.check, supervisor=supervisor)
        engine = await stack.enter_async_context(
            engine_over(
                config,
                store,
                installation,
                secrets,
                Gate(lease),
                kube_controller.sink,
                clock,
                supervisor,
                make_ways,
                tune,
                outbox_of(config),
                otlp.spans if otlp is not None else None,
            )
        )
        stack.push_async_callback(engine.stop)
        stack.push_async_callback(kube_controller.close)
        prepare(engine)
        if otlp is not None:
            otlp.attach(engine)
        await kube_controller.open(engine, uid)
        await stack.enter_async_context(notifying(config, engine, supervisor))
        requests = OrphanRequests(lease, engine.orphans, supervisor=supervisor)
        requests.start()
        stack.push_async_callback(requests.stop)

        def still_declared(obj: StoredObject) -> bool:
            return obj.source == raw.SOURCE and obj.key in kube_controller.seen

        refused = RefusedCommands(engine.table, engine.clock, engine.settings.audit_keep)
        commands = Commands(engine.declarations, still_declared, engine.orphans.ask, engine.memory_desk.edit, refused.note)
        control = ControlServer(config.state, commands.handle, supervisor)
        await control.start()
        stack.push_async_callback(control.stop)
        yield Operator(engine, kube_controller, secrets, store, commands)


def clock_of(served: float | None, tell: Callable[[str], None], host: Callable[[], float] = time.time) -> LoopClock:
    """The clock of an operator in charge. Deadlines, back-offs and what is over were written down by another one, on another host:
    where this host's clock is not the API server's (`served`, to a second; None: unknown), the API server's is used."""
    ahead = host() - served - 0.5 if served is not None else 0.0
    if served is None or abs(ahead) <= AGREED:
        return LoopClock(host())
    tell(f"this host's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the API server's, which is used; set it right")
    return LoopClock(served + 0.5)


class Gate:
    """Around every effect: nothing is done without the lease, not even by a process that slept and knows nothing yet."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    async def __call__(self, number: int, name: str, act: Callable[[], Awaitable[T]]) -> T:
        self._lease.check()
        return await act()


def front_of(kube_controller: KubeController) -> Front:
    """How the way to the cluster does, for the metrics."""
    return Front(
        kube_controller.sink.writes,
        len(kube_controller.failures),
        kube_controller.watch_restarts,
        kube_controller.reconcile_errors,
        kube_controller.events.lost,
        kube_controller.watching(),
    )


async def cluster_uid(cluster: Cluster) -> str:
    """What tells this cluster from every other: the uid of its first namespace."""
    try:
        return raw.uid(await cluster.get(SYSTEM))
    except NotFound:
        raise Refused("this API server has no namespace kube-system", cluster.access.server, "name a cluster with --context") from None


async def permitted_uid(cluster: Cluster, tell: Callable[[str], None], again: float = PERMITTED_SECONDS) -> str:
    """As `cluster_uid`. While we may not read it, that is told, once, and we wait: only somebody who grants the right helps."""
    told = ""
    while True:
        try:
            return await cluster_uid(cluster)
        except Forbidden as error:
            if error.what != told:
                told = error.what
                tell(f"waiting: {told}: bind the ClusterRole reconciler-cluster of deploy/cluster to it; it goes on by itself")
        await asyncio.sleep(again)


async def installed(store: Store, uid: str, scope: Scope) -> str:
    """Whose VMs are ours: this cluster's, in this scope's namespaces; outlives the store. Raises `Refused` for a store in which
    another cluster or a state directory's own fleet lives."""
    installation = f"{uid}/{scope.home}"
    known = await store.meta(INSTALLATION)
    if known and known != installation:
        where = f"installation {known}, not {installation}"
        remedy = "use another --state directory or --store; of the same cluster: --lease-namespace has the part after the slash"
        raise Refused("this store belongs to another fleet", where, remedy)
    if not known:
        await store.write([PutMeta(INSTALLATION, installation)])
    return installation


def scope_of(namespaces: Sequence[str] | None, everywhere: bool, default: str, lease: str = "") -> Scope:
    """What the command line asks for; names may be repeated or separated by commas. `lease`: the namespace of the Lease, as somebody
    said or as the pod's own. Raises `UsageError` for what can't be a namespace."""
    named = tuple(dict.fromkeys(part.strip() for one in namespaces or () for part in one.split(",") if part.strip()))
    for name in (*named, *([lease] if lease else [])):
        if not re.fullmatch(LABEL, name) or len(name) > 63:
            raise UsageError(f"{name!r} can't be a namespace", "operator", "use lower-case letters, digits and -")
    return Scope(None if everywhere else named or (default,), lease)
