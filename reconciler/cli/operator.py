"""`operator`: the controller of what a cluster declares."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.listen import Listen, PlainHttp, TlsCert, TlsKey, TokenFile, listening_of
from reconciler.cli.output import say
from reconciler.cli.runner import Runner
from reconciler.config import Config
from reconciler.errors import Transient, UsageError

if TYPE_CHECKING:  # heavy parts, loaded when they are needed
    from reconciler.cluster import Operator, Scope
    from reconciler.serve.surface import Surface
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
    token_file: TokenFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    plain_http: PlainHttp = False,
) -> None:
    """Follow declarations in a Kubernetes cluster and make them true.

    Of several operators one acts: the holder of the Lease reconciler-FLEET. Operators that serve the same namespaces must be given
    the same --fleet; it is also part of the claims on VMs."""
    from reconciler.cluster import scope_of
    from reconciler.sources.kube.access import own_namespace

    if namespace and all_namespaces:
        raise UsageError("--namespace and --all-namespaces exclude each other", "--all-namespaces", "leave one of them out")
    listening = listening_of(listen, token_file, tls_cert, tls_key, plain_http)
    lease = lease_namespace or own_namespace(context, config.environ)
    scope = scope_of(namespace, all_namespaces, config.namespace, lease)

    async def life() -> int:
        runner = Runner(replace(config, context=context), listening)
        return await runner.run(OperatorLife(runner, scope).work)

    raise typer.Exit(asyncio.run(life()))


class OperatorLife:
    """One life of the operator's process: standing by, in charge, and again."""

    def __init__(self, runner: Runner, scope: Scope) -> None:
        self._runner, self._scope, self._config = runner, scope, runner.config
        self._operator: Operator | None = None
        self._surface: Surface | None = None
        self._beginning = False

    async def work(self) -> None:
        """Until the process is to end."""
        from reconciler import cluster
        from reconciler.app import answers_of
        from reconciler.cluster import front_of
        from reconciler.serve.metrics import Sources
        from reconciler.sources.kube.access import load

        async with cluster.cluster_of(load(self._config.context, self._config.environ)) as api:
            lease = cluster.lease_of(self._config, api, self._scope, cluster.identity(), say, self._runner.supervisor)
            sources = Sources(
                lambda: self._operator.engine if self._operator is not None else None,
                lambda: answers_of(self._operator.engine if self._operator is not None else None),
                lease.held,
                lambda: front_of(self._operator.kube_controller) if self._operator is not None else None,
                supervisor=self._runner.supervisor,
            )
            # Probes and metrics from the first moment, also while standing by. Standing by is ready, being what it is there for; one that
            # does not know whose the Lease is does not stand by.
            async with self._runner.listening(sources, lambda: not self._beginning and lease.known(), lambda: self._surface):
                await self._stand(api, lease)

    async def _stand(self, api: Cluster, lease: Lease) -> None:
        """Stand by, be in charge, and again, until told to stop."""
        from reconciler import cluster

        try:
            while not self._runner.ending:
                if not await self._acquired(lease):
                    break
                served = self._scope.namespaces
                say(f"in charge of {', '.join(served) if served else 'all namespaces'}, by the Lease {lease.where}")
                self._beginning = True
                runner = self._runner
                charge = cluster.operating(
                    self._config, api, self._scope, lease, say, runner.prepare, supervisor=runner.supervisor, otlp=runner.otlp
                )
                await self._charge(charge, lease)
                self._beginning = False
        finally:
            await lease.release()

    async def _charge(self, charge: AbstractAsyncContextManager[Operator], lease: Lease) -> None:
        """Act until told to stop or put out of charge. Raises what can't pass by itself."""
        try:
            await self._runner.serve(self._serve(charge), lease.lost.wait())
        except Transient as error:
            say(f"can't begin: {error}; trying again")
            await lease.release()
            await self._runner.wait(timeout=AGAIN)
            return
        if not self._runner.ending:
            say("out of charge: another operator may act now; standing by")

    async def _serve(self, charge: AbstractAsyncContextManager[Operator]) -> None:
        async with charge as operator:
            self._runner.log(operator.secrets.known)
            self._operator = operator
            try:
                with self._surfaced(operator) as self._surface:
                    await asyncio.Event().wait()
            finally:
                self._operator = self._surface = None

    @contextmanager
    def _surfaced(self, operator: Operator) -> Iterator[Surface | None]:
        """What is shown over HTTP; None where nothing listens. What is declared in the cluster is changed there."""
        if not self._runner.listens:
            yield None
            return
        from reconciler.serve.hiding import Hiding
        from reconciler.serve.surface import surface_of

        hiding = Hiding(operator.secrets.known, [self._config.environ.get("VERS_API_KEY", "")])
        remembers = operator.commands.handle
        with surface_of(operator.engine, operator.store, hiding, None, None, self._config.max_vms, remembers) as surface:
            yield surface

    async def _acquired(self, lease: Lease) -> bool:
        """In charge; False when told to stop before."""
        acquiring = self._runner.supervisor.start("lease candidacy", lease.acquire, may_end=True, most=AGAIN)
        await self._runner.wait(acquiring)
        if self._runner.ending:
            acquiring.cancel()
            await asyncio.gather(acquiring, return_exceptions=True)
            return False
        acquiring.result()
        return True
