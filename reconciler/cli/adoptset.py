"""`adopt` of a set: which VMs that nothing here owns are meant, what would be declared for them, and declaring it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.api.meta import API_VERSION
from reconciler.api.parsing import load_spec
from reconciler.app import vers_of
from reconciler.cli import kubeorphans, names
from reconciler.cli.access import reader, visible
from reconciler.cli.orphans import look
from reconciler.cli.output import out, say
from reconciler.cli.several import each, tell
from reconciler.cli.submit import submit
from reconciler.cli.yamlout import to_yaml
from reconciler.config import Config
from reconciler.core.fleet import adoption
from reconciler.core.fleet.adoption import LONGEST, MOST, Proposal
from reconciler.core.fleet.orphans import Stray
from reconciler.core.keys import Json, Key, as_map, as_maps
from reconciler.core.snapshot.vm import VmMetadata
from reconciler.engine.ports import StoredObject
from reconciler.errors import Forbidden, NotFound, ReconcilerError, Refused, UsageError
from reconciler.serve.commands import naming
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from reconciler.views.selecting import labels_of_vm, matches
from reconciler.visible import one_line


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which VMs are meant: all that is said must hold. `selector`: labels, as elsewhere; `named`: a pattern; `made_from`: a VM or a commit
    that they descend from."""

    selector: str = ""
    named: str = ""
    made_from: str = ""

    def __str__(self) -> str:
        said = (("-l", self.selector), ("--named", self.named), ("--made-from", self.made_from))
        return " ".join(f"{option} {value}" for option, value in said if value)


def adopt_set(config: Config, chosen: Chosen, profile: str, role: str, tree: str, confirm: bool) -> None:
    """Print what would be declared, or declare it. Raises `Refused`, when all of it is done, if a VM that is meant can't be adopted."""
    if not str(chosen):
        raise UsageError("which VM?", "", "name it and say --as NAME, or choose a set by -l, --named or --made-from")
    if chosen.selector:
        matches({}, chosen.selector)
    asyncio.run(_adopt_set(config, chosen, profile, role, tree, confirm))


async def _adopt_set(config: Config, chosen: Chosen, profile: str, role: str, tree: str, confirm: bool) -> None:
    async with reader(config) as store:
        objects = [obj for kind in ("Lieutenant", "VMTree") for obj in await visible(config, store, kind)]
    exists = any(obj.key == Key("VMTree", config.namespace, tree) for obj in objects)
    if tree and exists and confirm:
        raise Refused(
            f"vmtree/{tree} exists already", f"namespace {config.namespace}", "add the nodes that it prints, or choose another name"
        )
    strays = await (kubeorphans.look(config) if config.kube else look(config))
    fitting = [s for s in strays if _fits(s, chosen)]
    account = Settings(config.environ).account()
    meant = [s for s in fitting if s.vm.owner_id == account]
    if len(meant) < len(fitting):
        say(f"note: {len(fitting) - len(meant)} VMs of other accounts are left out")
    lineage = await _lineage(config, [s.vm.vm_id for s in meant]) if chosen.made_from or tree else {}
    if chosen.made_from:
        meant = [s for s in meant if adoption.descends(s.vm.vm_id, chosen.made_from, lineage)]
    if len(meant) > MOST:
        raise UsageError(f"{len(meant)} VMs are meant, at most {MOST} at once", str(chosen), "choose fewer")
    taken = [obj.key.name for obj in objects if obj.key.kind == "Lieutenant" and obj.key.namespace == config.namespace] if not tree else []
    proposal = adoption.propose(meant, adopters(objects), taken, lineage, LONGEST - len(tree) - 1 if tree else LONGEST)
    declared = _declarations(proposal, config.namespace, profile, role, tree)
    for key, spec in declared:
        load_spec(key.kind, spec)
    for vm_id, who in proposal.declared:
        say(f"note: {who} is declared to adopt VM {vm_id} already")
    if not proposal.found and not proposal.refused:
        say(f"there is nothing to adopt: no VM that nothing here owns fits {chosen}")
    wrong: list[ReconcilerError] = []
    if confirm:
        wrong = await _declare(config, declared)
    elif declared:
        _print(declared, proposal)
        more = f"; vmtree/{tree} exists already: add these nodes to it by hand" if exists else ""
        say(f"nothing is declared; keep this in a file of your fleet, or say --confirm{more}")
    refused: list[ReconcilerError] = [
        Refused(f"VM {vm_id} is not adopted: {one_line(why)}", "", _REMEDY) for vm_id, why in proposal.refused
    ]
    tell(config, [*wrong, *refused])


_REMEDY = "`reconciler orphans` says whose it is; name it alone (`adopt VM_ID --as NAME`) and answer with `resolve` to take it all the same"


def adopters(objects: Sequence[StoredObject]) -> dict[str, str]:
    """By VM, the lieutenant or the node that is declared to adopt it."""
    found: dict[str, str] = {}
    for obj in objects:
        for who, spec in (("", obj.spec), *((f" (node {node.get('name')})", node) for node in as_maps(obj.spec.get("nodes")))):
            if vm_id := str(as_map(spec.get("adopt")).get("vmId") or ""):
                found.setdefault(vm_id, f"{names.short(obj.key)}{who}")
    return found


def _fits(stray: Stray, chosen: Chosen) -> bool:
    fits = not chosen.selector or matches(labels_of_vm(stray.vm, None), chosen.selector)
    return fits and (not chosen.named or adoption.called(stray.vm, chosen.named))


def _declarations(proposal: Proposal, namespace: str, profile: str, role: str, tree: str) -> list[tuple[Key, Json]]:
    if not proposal.found:
        return []
    if tree:
        return [(Key("VMTree", namespace, tree), adoption.tree(proposal.found, profile, role))]
    return adoption.lieutenants(proposal.found, namespace, profile, role)


async def _declare(config: Config, declared: Sequence[tuple[Key, Json]]) -> list[ReconcilerError]:
    """One after the other; what goes wrong with one keeps none of the others."""

    async def one(what: tuple[Key, Json]) -> None:
        key, spec = what
        await submit(config, [{**naming(key, "apply"), "spec": spec, "labels": {}, "annotations": {}}])
        vms = [str(as_map(at.get("adopt")).get("vmId")) for at in (spec, *as_maps(spec.get("nodes"))) if at.get("adopt")]
        for vm_id in vms:
            out(f"{names.short(key)} takes over VM {vm_id}")

    return (await each(declared, one))[1]


def _print(declared: Sequence[tuple[Key, Json]], proposal: Proposal) -> None:
    for one in proposal.found:
        out(f"# VM {one.vm.vm_id} ({one.name}): {one.vm.state.value}, {one_line(one.why)}")
    for key, spec in declared:
        metadata: Json = {"name": key.name, "namespace": key.namespace} if key.namespace != "default" else {"name": key.name}
        out("---")
        out(to_yaml({"apiVersion": API_VERSION, "kind": key.kind, "metadata": metadata, "spec": spec}).rstrip("\n"))


async def _lineage(config: Config, vm_ids: Sequence[str]) -> Mapping[str, VmMetadata]:
    """What these VMs were made from, and what those were, as far as the platform tells. What it does not tell is left out."""
    client = vers_of(config)
    known: dict[str, VmMetadata] = {}
    commits: dict[str, str] | None = None
    asked: set[str] = set()
    todo = list(dict.fromkeys(vm_ids))
    try:
        while todo and len(asked) < MOST * 2:
            asked.update(todo)
            told = await asyncio.gather(*(_metadata(client, vm_id) for vm_id in todo))
            for one in [found for found in told if found is not None]:
                if one.parent_commit_id and not one.grandparent_vm_id:
                    commits = await _parents(client) if commits is None else commits
                    one = replace(one, grandparent_vm_id=commits.get(one.parent_commit_id))
                known[one.vm_id] = one
            todo = [at for at in {one.grandparent_vm_id for one in known.values()} if at and at not in asked]
    finally:
        await client.aclose()
    return known


async def _metadata(client: VersClient, vm_id: str) -> VmMetadata | None:
    try:
        return await client.get_metadata(vm_id)
    except (NotFound, Forbidden):
        return None


async def _parents(client: VersClient) -> dict[str, str]:
    """By commit, the VM that it was taken of."""
    try:
        return {commit.commit_id: commit.parent_vm_id for commit in await client.list_commits() if commit.parent_vm_id}
    except (NotFound, Forbidden):
        return {}
