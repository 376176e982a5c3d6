"""`operator`: the controller of what a cluster declares."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Concatenate

import typer

from reconciler import log
from reconciler.cli.output import out, say
from reconciler.cli.run import INTERRUPTED, STOP_SECONDS, TERMINATED, Listen, platform_line, transition
from reconciler.config import Config
from reconciler.engine.loop import Engine
from reconciler.engine.ports import Event
from reconciler.errors import Transient, UsageError

if TYPE_CHECKING:  # heavy parts, loaded when they are needed
    from reconciler.cluster import Operator, Scope
    from reconciler.sources.kube.client import Cluster
    from reconciler.sources.kube.lease import Lease

AGAIN = 2.0
"""Seconds before another try when the operator could not begin, or was put out of charge."""


def operator(
    config: Config,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", metavar="NS…", help="Serve these namespaces; may be repeated.")
    ] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Serve every namespace.")] = False,
    context: Annotated[str, typer.Option("--context", metavar="C", help="Context of the kubeconfig.", show_default=False)] = "",
    lease_namespace: Annotated[
        str,
        typer.Option(
            "--lease-namespace",
            metavar="NS",
            help="Where the Lease is. Default: the pod's own namespace; outside of a pod the first served, with -A `reconciler`.",
            show_default=False,
        ),
    ] = "",
    listen: Listen = "",
) -> None:
    """Follow declarations in a Kubernetes cluster and make them true. Of several operators one acts: the holder of the Lease
    reconciler-FLEET. Operators that serve the same namespaces must be given the same one; it is also part of the claims on VMs."""
    from reconciler.cluster import scope_of
    from reconciler.sources.kube.access import own_namespace

    if namespace and all_namespaces:
        raise UsageError("--namespace and --all-namespaces exclude each other", "--all-namespaces", "leave one of them out")
    lease = lease_namespace or own_namespace(context, config.environ)
    scope = scope_of(namespace, all_namespaces, config.namespace, lease)
    raise typer.Exit(asyncio.run(Runner(replace(config, context=context), scope, listen).run()))


class Runner:
    """One life of the operator's process: standing by, in charge, and again."""

    def __init__(self, config: Config, scope: Scope, listen: str = "") -> None:
        self._config, self._scope, self._listen = config, scope, listen
        self._end: asyncio.Future[int] | None = None
        self._operator: Operator | None = None
        self._beginning = False

    async def run(self) -> int:
        """Until a signal; returns the exit code."""
        from reconciler import cluster
        from reconciler.app import long_lived
        from reconciler.sources.kube.access import load

        long_lived()
        loop = asyncio.get_running_loop()
        self._end = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, self._finish, TERMINATED)
        loop.add_signal_handler(signal.SIGINT, self._finish, INTERRUPTED)
        log.setup(self._config.log_format, self._config.verbose)
        logging.getLogger("kopf").setLevel(logging.CRITICAL)
        async with cluster.cluster_of(load(self._config.context, self._config.environ)) as api:
            lease = cluster.lease_of(self._config, api, self._scope, cluster.identity(), say)
            async with self._served(lease):
                await self._stand(api, lease)
        return self._end.result()

    @asynccontextmanager
    async def _served(self, lease: Lease) -> AsyncIterator[None]:
        """Probes and metrics from the first moment, also while standing by. Standing by is ready, being what it is there for;
        one that does not know whose the Lease is does not stand by."""
        if not self._listen:
            yield
            return
        from reconciler.app import answers_of, listening, served
        from reconciler.cluster import front_of
        from reconciler.serve.http import read_address
        from reconciler.serve.metrics import Sources

        def engine() -> Engine | None:
            return self._operator.engine if self._operator is not None else None

        address = read_address(self._listen)
        sources = Sources(
            engine, answers_of, lease.held, lambda: front_of(self._operator.kube_controller) if self._operator is not None else None
        )
        async with served(sources, self._config, address, lambda: not self._beginning and lease.known()) as http:
            say(listening(self._config, address, http.port))
            yield

    async def _stand(self, api: Cluster, lease: Lease) -> None:
        """Stand by, be in charge, and again, until told to stop."""
        from reconciler import cluster

        assert self._end is not None
        try:
            while not self._end.done():
                if not await self._acquired(lease):
                    break
                served = self._scope.namespaces
                say(f"in charge of {', '.join(served) if served else 'all namespaces'}, by the Lease {lease.where}")
                self._beginning = True
                await self._charge(cluster.operating(self._config, api, self._scope, lease, say, self._prepare), lease)
                self._beginning = False
        finally:
            await lease.release()

    async def _charge(self, charge: AbstractAsyncContextManager[Operator], lease: Lease) -> None:
        """Act until told to stop or put out of charge. Raises what can't pass by itself."""
        assert self._end is not None
        serving, lost = asyncio.create_task(self._serve(charge)), asyncio.create_task(lease.lost.wait())
        either: list[asyncio.Future[Any]] = [self._end, lost, serving]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        if serving.done():
            try:
                serving.result()
            except Transient as error:
                say(f"can't begin: {error}; trying again")
            await lease.release()
            await asyncio.wait([self._end], timeout=AGAIN)
            return
        serving.cancel()
        await asyncio.wait([serving], timeout=STOP_SECONDS)
        if not serving.done():
            say("warning: stopping took too long; connections were left to the system")
        if not self._end.done():
            say("out of charge: another operator may act now; standing by")

    async def _serve(self, charge: AbstractAsyncContextManager[Operator]) -> None:
        async with charge as operator:
            log.setup(self._config.log_format, self._config.verbose, operator.secrets.known)
            logging.getLogger("kopf").setLevel(logging.CRITICAL)
            self._operator = operator
            try:
                await asyncio.Event().wait()
            finally:
                self._operator = None

    async def _acquired(self, lease: Lease) -> bool:
        """In charge; False when told to stop before."""
        assert self._end is not None
        acquiring = asyncio.create_task(lease.acquire())
        either: list[asyncio.Future[Any]] = [self._end, acquiring]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            acquiring.cancel()
            await asyncio.gather(acquiring, return_exceptions=True)
            return False
        acquiring.result()
        return True

    def _finish(self, code: int) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(code)

    def _prepare(self, engine: Engine) -> None:
        engine.recorder.listen(lambda event: self._event(engine, event))
        engine.on_platform.append(platform_line)

    def _event(self, engine: Engine, event: Event) -> None:
        out(transition(event, log.redact(event.message, engine.secrets.known()), self._config))


COMMANDS: dict[str, Callable[Concatenate[Config, ...], None]] = {"operator": operator}
