"""`doctor --kube`: what somebody needs who works with a cluster, and what the operator there does, checked one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from reconciler.api.registry import KINDS
from reconciler.api.version import GROUP
from reconciler.cli.incharge import InCharge, operators
from reconciler.cli.remarks import Remark
from reconciler.config import Config
from reconciler.core.keys import Json, as_map
from reconciler.errors import Forbidden, NotFound, Unreachable
from reconciler.sources.kube import kinds
from reconciler.sources.kube.client import Cluster
from reconciler.sources.kube.lease import RETRY

LOOKS = 0.5
SHOWN = 6
READING, WRITING = ("get", "list", "watch"), ("create", "update", "patch", "delete")
INSTALL = "`kubectl apply --server-side -f crds/` installs those of this release"


async def server(config: Config, cluster: Cluster) -> str:
    """Where it is, its release, and as whom it knows us."""
    told = await cluster.get("/version")
    return f"{cluster.access.server}: Kubernetes {told.get('gitVersion', 'of an unknown release')}, as {await _who(cluster)}"


async def _who(cluster: Cluster) -> str:
    """The name that the API server has for us; releases before 1.28 do not say."""
    body: Json = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        told = await cluster.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    except (NotFound, Forbidden):
        return "somebody"
    return str(as_map(as_map(told.get("status")).get("userInfo")).get("username") or "somebody")


async def installed(config: Config, cluster: Cluster) -> str:
    """The kinds, and that they are those of this release."""
    try:
        lacking = kinds.missing(await cluster.get(kinds.DISCOVERY))
    except NotFound:
        lacking = [kind.plural for kind in KINDS]
    if lacking:
        raise NotFound(f"the cluster does not serve {', '.join(lacking)} of {GROUP}", cluster.access.server, INSTALL)
    try:
        unlike = kinds.differences(await cluster.get(kinds.OPENAPI))
    except (NotFound, Forbidden) as error:
        raise Remark(f"whether the kinds are those of this release can't be seen: {error.what}", kinds.OPENAPI, INSTALL) from None
    if unlike:
        more = f" and {len(unlike) - SHOWN} more" if len(unlike) > SHOWN else ""
        where = f"{', '.join(unlike[:SHOWN])}{more}"
        raise Remark(
            "the cluster's kinds are of another release than this program", where, f"{INSTALL}; or use the program of that release"
        )
    return f"{', '.join(kind.plural for kind in KINDS)} are served as this release knows them"


async def rights(config: Config, cluster: Cluster) -> str:
    """What we may do with our kinds in the namespace."""
    asked = [(verb, kind.plural) for kind in KINDS for verb in (*READING, *WRITING)]
    answers = await asyncio.gather(*(_may(cluster, config.namespace, verb, plural) for verb, plural in asked))
    refused = [what for what, allowed in zip(asked, answers, strict=True) if not allowed]
    if not refused:
        return f"you may read and change everything of {GROUP} in namespace {config.namespace}"
    lacking = {verb: [plural for name, plural in refused if name == verb] for verb, _ in refused}
    whole = {verb for verb, plurals in lacking.items() if len(plurals) == len(KINDS)}
    said = [verb if verb in whole else f"{verb} {', '.join(plurals)}" for verb, plurals in lacking.items()]
    what = f"you may not {'; '.join(said)}"
    if any(verb in READING for verb in lacking):
        raise Forbidden(what, f"namespace {config.namespace}", "have the role `view` or `edit` bound to you there")
    raise Remark(what, f"namespace {config.namespace}", "have the role `edit` bound to you there")


async def _may(cluster: Cluster, namespace: str, verb: str, plural: str) -> bool:
    attributes: Json = {"namespace": namespace, "verb": verb, "group": GROUP, "resource": plural}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    told = await cluster.create(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {**kind, "spec": {"resourceAttributes": attributes}}
    )
    return as_map(told.get("status")).get("allowed") is True


async def operator(config: Config, cluster: Cluster) -> str:
    """Who serves the namespace, and that it lives: its Lease changes while we look. Clocks need not agree for that."""
    try:
        leases = await operators(cluster, config.fleet, config.namespace)
    except Forbidden as error:
        raise Remark(f"whether an operator is alive can't be seen: {error.what}", error.where, "ask whoever runs it") from None
    serving = [lease for lease in leases if lease.serves(config.namespace)]
    if not serving:
        served = "; ".join(f"{lease.where} serves {_served(lease)}" for lease in leases)
        raise NotFound(f"no operator serves namespace {config.namespace}", served, "start one with it: `reconciler operator --namespace`")
    held = [lease for lease in serving if lease.holder]
    if not held:
        raise Unreachable("no operator is in charge", serving[0].where, "see whether its pod runs, and what it says")
    alive = await _renewed(cluster, config, held)
    silent = "; ".join(f"{lease.holder} by the {lease.where}, last seen {lease.renewed}" for lease in held if lease.where not in alive)
    if not alive:
        raise Unreachable(f"the operator in charge is silent: {silent}", held[0].where, "see whether its pod runs, and what it says")
    found = [f"{one.holder} is in charge of {_served(one)} by the {one.where}; {_runs(one)}" for one in alive.values()]
    return "; ".join([*found, *([f"silent: {silent}"] if silent else [])])


async def _renewed(cluster: Cluster, config: Config, held: list[InCharge]) -> dict[str, InCharge]:
    """Which of these Leases are renewed, or taken over, within two rounds of an operator; as they are then."""
    before = {lease.where: lease.version for lease in held}
    alive: dict[str, InCharge] = {}
    for _ in range(int(2 * RETRY / LOOKS) + 2):
        await asyncio.sleep(LOOKS)
        for lease in await operators(cluster, config.fleet, config.namespace):
            if lease.holder and before.get(lease.where, lease.version) != lease.version:
                alive[lease.where] = lease
        if alive.keys() == before.keys():
            break
    return alive


def _served(lease: InCharge) -> str:
    return ", ".join(lease.namespaces) if lease.namespaces is not None else "all namespaces"


def _runs(lease: InCharge) -> str:
    runs = f"runs in namespace {lease.runs_in}" if lease.runs_in else "runs outside of the cluster"
    return f"{runs}, release {lease.release}" if lease.release else "does not say where it runs"


Check = Callable[[Config, Cluster], Awaitable[str]]
CHECKS: dict[str, Check] = {"server": server, "kinds": installed, "rights": rights, "operator": operator}
"""In this order; when the first one fails there is nobody to ask for the rest."""
