"""`orphans --kube`: the platform as the person's own key sees it, beside the cluster's objects and the operators' Leases. The operator's
store is not asked, so what only that knows is Unknown here, and its deletion is never asked for from here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reconciler.api.meta import API_VERSION, LABEL
from reconciler.api.vmtree import VMTreeSpec
from reconciler.app import vers_of
from reconciler.cli import kube
from reconciler.cli.incharge import InCharge, operators
from reconciler.cli.output import say
from reconciler.cluster import cluster_uid
from reconciler.config import Config
from reconciler.core.fleet.orphans import Sight, Standing, Stray, strays
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.vm import Vm
from reconciler.core.tree.places import uid_of, wanted_places
from reconciler.core.treerecords import TreeRecord
from reconciler.engine.ports import StoredObject
from reconciler.errors import Forbidden, NotFound, TimedOut
from reconciler.sources.kube.client import Cluster, collection
from reconciler.sources.kube.orphans import ask, outcomes
from reconciler.sources.kube.restore import machines, vms_of
from reconciler.vers.client import VersClient
from reconciler.views.nodes import tree_spec

PATIENCE = 120.0
"""Seconds that the operator's answer is waited for: it looks at a whole list twice, and leaves alone what may still find its owner."""
OWNERS = ("Lieutenant", "VMTree")
"""Kinds whose objects may be named in a claim."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects that may own VMs, and the namespaces that were read (None: all)."""

    found: tuple[StoredObject, ...]
    namespaces: frozenset[str] | None


async def look(config: Config) -> list[Stray]:
    """Every VM of the platform's list without an owner in the cluster. Raises what the platform, and what the API server says."""
    async with kube.connected(config) as cluster:
        client = vers_of(config)
        try:
            found = await told(config, cluster, client)
        finally:
            await client.aclose()
    return found


async def delete(config: Config, doomed: Sequence[Stray], tell: Callable[[str, str], None]) -> None:
    """Ask the operators whose VMs these are to delete them, and wait for what becomes of each: `tell` is called with VM id and outcome.
    An operator deletes only what is an orphan by its own store, with its own key. Raises `TimedOut` when an answer is missing, and
    what the API server says."""
    async with kube.connected(config) as cluster:
        leases = await operators(cluster, config.fleet, config.namespace)
        asked: dict[InCharge, list[str]] = {}
        for stray in doomed:
            asked.setdefault(lease_of(leases, stray), []).append(stray.vm.vm_id)
        for lease, vm_ids in asked.items():
            await ask(cluster, lease.namespace, lease.name, vm_ids)
            if not lease.holder:
                say(f"note: no operator is in charge by {lease.where}; the next one acts on it")
        every = [outcomes(cluster, lease.namespace, lease.name, vm_ids, tell, PATIENCE) for lease, vm_ids in asked.items()]
        left = frozenset[str]().union(*await asyncio.gather(*every))
        if left:
            what = f"the operator has not said yet what became of {', '.join(sorted(left))}"
            raise TimedOut(what, ", ".join(lease.where for lease in asked), "the request stands; see `reconciler orphans --kube`")


def lease_of(leases: Sequence[InCharge], stray: Stray) -> InCharge:
    """The Lease by which this VM's operator acts: it is in the namespace that the installation's name ends with. Raises `NotFound`."""
    installation = stray.vm.labels.get(claims.INSTALLATION, "")
    for lease in leases:
        if lease.installation == installation and lease.namespace == installation.rpartition("/")[2]:
            return lease
    raise NotFound(f"no operator of installation {installation} is known", f"vm/{stray.vm.vm_id}", "start it, then ask again")


async def told(config: Config, cluster: Cluster, client: VersClient) -> list[Stray]:
    """VMs first, objects afterwards: who has claimed a VM by the first look is there at the second, or gone for good."""
    named = await installations(config, cluster)
    listed = await client.list_vms()
    vms = listed.vms
    objects = await read(cluster, vms.values(), named, config.namespace)
    owners = await proven(cluster, named, vms.values(), frozenset(obj.uid for obj in objects.found))
    trees = [(obj, spec) for obj in objects.found if (spec := declared(obj)) is not None]
    nodes = (uid_of(obj.uid, place.name) for obj, spec in trees for place in wanted_places(spec, TreeRecord(), {}))
    sight = Sight(objects.namespaces, frozenset(obj.uid for obj in objects.found) | frozenset(nodes))
    first_seen = {vm.vm_id: vm.created_at for vm in vms.values()}  # when the operator saw it first is in its store
    settled = (listed.server_time or listed.begun) - config.settle_seconds
    lieutenants = [obj for obj in objects.found if obj.key.kind == "Lieutenant"]
    found: dict[str, Stray] = {}
    known: set[str] = set()
    for owner in owners:
        owned = set[str]().union(*(vms_of(obj.key, obj.uid, obj.spec, obj.status, vms, owner) for obj in lieutenants))
        for obj, spec in trees:
            owned |= {found.restored.record.slot.vm_id for found in machines(obj.key, obj.uid, spec, obj.status, vms, owner)} - {""}
        known |= owned
        for stray in strays(vms.values(), owner, owned, first_seen, settled, sight):
            if stray.standing is Standing.FOREIGN and any(claims.is_ours(stray.vm, one) for one in owners):
                continue  # of another operator of this cluster
            if stray.vm.vm_id not in found or stray.standing is not Standing.UNCLAIMED:  # nobody's to one of several operators
                found[stray.vm.vm_id] = stray
    if known and not known & vms.keys():
        say("note: no machine of this cluster's objects is seen with your key; is it of the account that the operator uses?")
    return sorted(found.values(), key=lambda stray: (stray.vm.created_at, stray.vm.vm_id))


async def installations(config: Config, cluster: Cluster) -> list[Owner]:
    """Whose VMs are this cluster's, as Leases say."""
    leases = await operators(cluster, config.fleet, config.namespace)
    found = list(dict.fromkeys(lease.installation for lease in leases if lease.installation))
    if not found:
        raise NotFound("no operator has said which VMs are its own", leases[0].where, "wait until one of this release has been in charge")
    return [Owner(config.fleet, installation) for installation in found]


async def proven(cluster: Cluster, named: Sequence[Owner], vms: Iterable[Vm], uids: frozenset[str]) -> list[Owner]:
    """Those that are this cluster's beyond doubt: whoever may write Leases could name another cluster's, all of whose VMs would look like
    orphans here. By the cluster's uid or, for somebody who may not read that, by a claim for an object that is there. Raises
    `Forbidden` when nothing proves any."""
    try:
        uid = await cluster_uid(cluster)
        found = [owner for owner in named if owner.installation.startswith(f"{uid}/")]
        refused = None
    except Forbidden as error:
        every = tuple(vms)
        found = [owner for owner in named if any(claims.is_ours(vm, owner) and vm.labels.get(claims.UID) in uids for vm in every)]
        refused = error
    for owner in named:
        if owner not in found:
            say(f"note: nothing proves that installation {owner.installation} is this cluster's; its VMs are foreign here")
    if not found:
        what = f"which VMs are this cluster's can't be proven{f': {refused.what}' if refused else ''}"
        raise Forbidden(what, "namespace kube-system", "ask somebody who may read it")
    return found


async def read(cluster: Cluster, vms: Iterable[Vm], owners: Sequence[Owner], namespace: str) -> Objects:
    """Everything that may own one of these VMs: of the whole cluster or, where that is not allowed, of each namespace that a claim or
    the command line names, as far as allowed."""
    try:
        return Objects(tuple([obj for kind in OWNERS for obj in await every(cluster, kind, None)]), None)
    except Forbidden:
        pass
    ours = [vm for vm in vms if any(claims.is_ours(vm, owner) for owner in owners)]
    named = {vm.labels.get(claims.NAMESPACE, "") for vm in ours}
    found: list[StoredObject] = []
    seen: set[str] = set()
    for one in sorted({namespace, *(name for name in named if re.fullmatch(LABEL, name))}):  # a label may hold anything
        try:
            found += [obj for kind in OWNERS for obj in await every(cluster, kind, one)]
            seen.add(one)
        except (Forbidden, NotFound):
            continue
    return Objects(tuple(found), frozenset(seen))


def declared(obj: StoredObject) -> VMTreeSpec | None:
    """The spec of a tree; None for anything else, and for one that is not valid."""
    return tree_spec(obj) if obj.key.kind == "VMTree" else None


async def every(cluster: Cluster, kind: str, namespace: str | None) -> list[StoredObject]:
    """Objects of one kind. Raises what the API server says."""
    return [kube.stored({"kind": kind, "apiVersion": API_VERSION, **raw}) for raw in await cluster.items(collection(kind, namespace))]
