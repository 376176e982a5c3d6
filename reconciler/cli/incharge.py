"""Who is in charge of a cluster: what the Leases of operators tell of their holders."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.cluster import DEPLOYED, lease_name
from reconciler.core.keys import Json
from reconciler.errors import Forbidden, NotFound
from reconciler.sources.kube import raw
from reconciler.sources.kube.client import Cluster
from reconciler.sources.kube.lease import EVERYWHERE, INSTALLATION, RELEASE, RUNS_IN, SERVES, notes_of

LEASES = "/apis/coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class InCharge:
    """One Lease. `holder` '': nobody; `namespaces` None: all; `installation`, `runs_in`, `release`: as its last holder told, '' when it
    did not; `version`: of the object: it changes with every renewal."""

    namespace: str
    name: str
    holder: str
    namespaces: tuple[str, ...] | None
    installation: str
    runs_in: str
    release: str
    renewed: str
    version: str

    @property
    def where(self) -> str:
        return f"Lease {self.namespace}/{self.name}"

    def serves(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces


async def operators(cluster: Cluster, fleet: str, namespace: str) -> list[InCharge]:
    """Every Lease of this fleet's operators in the cluster; for somebody who may not list them, those in `namespace`, in the one that
    deploy/ makes and in `default`. Raises `NotFound` when there is none, `Forbidden` when none may be read."""
    name = lease_name(fleet)
    try:
        found = await cluster.items(f"{LEASES}/leases", fieldSelector=f"metadata.name={name}")
    except Forbidden:
        found = await _one_by_one(cluster, name, (DEPLOYED, namespace, "default"))
    if not found:
        raise NotFound("no operator has ever been in charge here", f"Lease {name}", "start one (docs/kubernetes.md), or name its --fleet")
    return [in_charge(lease) for lease in found]


async def _one_by_one(cluster: Cluster, name: str, namespaces: tuple[str, ...]) -> list[Json]:
    found: list[Json] = []
    refused: Forbidden | None = None
    for namespace in dict.fromkeys(namespaces):
        try:
            found.append(await cluster.get(f"{LEASES}/namespaces/{namespace}/leases/{name}"))
        except NotFound:
            continue
        except Forbidden as error:
            refused = refused or error
    if refused is not None and not found:
        raise refused
    return found


def in_charge(lease: Json) -> InCharge:
    """What a Lease object tells; one of somebody who says nothing of himself serves everything."""
    notes, spec = notes_of(lease), raw.spec(lease)
    serves = notes.get(SERVES, EVERYWHERE)
    return InCharge(
        namespace=str(raw.metadata(lease).get("namespace") or ""),
        name=str(raw.metadata(lease).get("name") or ""),
        holder=str(spec.get("holderIdentity") or ""),
        namespaces=None if serves == EVERYWHERE else tuple(serves.split(",")),
        installation=notes.get(INSTALLATION, ""),
        runs_in=notes.get(RUNS_IN, ""),
        release=notes.get(RELEASE, ""),
        renewed=str(spec.get("renewTime") or ""),
        version=raw.version(lease),
    )
