"""A GitOps tool beside the operator: the example for Flux is what Flux's API takes and leads to what is there, and two who write to the
same objects have nothing to fight about. (Flux itself is played: what it sends is server-side apply as `kustomize-controller`.)"""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.meta import GROUP
from tests.kube.assets import ROOT, Assets
from tests.kube.controlplane import ControlPlane, Namespace, documents, running
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_operator import LIEUTENANT, task

pytestmark = pytest.mark.real("kube")

EXAMPLE = ROOT / "examples" / "gitops" / "flux.yaml.example"
FLUX = "kustomize-controller"

TEXT: dict[str, Any] = {"type": "string"}
FLAG: dict[str, Any] = {"type": "boolean"}
NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 253}
DURATION: dict[str, Any] = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}


def record(required: str = "", **fields: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": fields}
    return {**made, "required": required.split()} if required else made


def several(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


PLACE = record("name", name=NAME, namespace=NAME)
KINDS = {
    ("source.toolkit.fluxcd.io", "GitRepository", "gitrepositories"): record(
        "interval url",
        interval=DURATION,
        url={"type": "string", "pattern": "^(http|https|ssh)://.*$"},
        ref=record(branch=TEXT, tag=TEXT, semver=TEXT, name=TEXT, commit=TEXT),
        secretRef=record("name", name=NAME),
        timeout=DURATION,
        ignore=TEXT,
        suspend=FLAG,
    ),
    ("kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations"): record(
        "interval prune sourceRef",
        interval=DURATION,
        timeout=DURATION,
        retryInterval=DURATION,
        path=TEXT,
        prune=FLAG,
        wait=FLAG,
        force=FLAG,
        suspend=FLAG,
        targetNamespace={"type": "string", "minLength": 1, "maxLength": 63},
        serviceAccountName=TEXT,
        dependsOn=several(PLACE),
        healthChecks=several(record("kind name", apiVersion=TEXT, kind=TEXT, name=NAME, namespace=NAME)),
        sourceRef=record(
            "kind name",
            apiVersion=TEXT,
            kind={"type": "string", "enum": ["GitRepository", "OCIRepository", "Bucket"]},
            name=NAME,
            namespace=NAME,
        ),
    ),
}
"""What Flux documents of its v1 kinds, as far as an example may need it: a field that is not here is refused by name."""


def stand_in(group: str, kind: str, plural: str, spec: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": spec}, "required": ["spec"]}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


@pytest.fixture(scope="module")
def with_flux(kube_assets: Assets) -> Iterator[ControlPlane]:
    """A server that knows Flux's kinds."""
    with running(kube_assets) as plane:
        plane.apply(*(stand_in(*name, spec) for name, spec in KINDS.items()))
        plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
        plane.kubectl("create", "namespace", "flux-system")
        yield plane


def built(plane: ControlPlane, path: str, room: Path) -> list[dict[str, Any]]:
    """What Flux makes of a path: kustomize's output; where there is no kustomization, of all files in it and below."""
    folder = ROOT / path
    assert folder.is_dir(), path
    if not (folder / "kustomization.yaml").exists():
        every = (file for suffix in ("yaml", "yml") for file in folder.rglob(f"*.{suffix}"))
        files = sorted(file for file in every if not any(part.startswith(".") for part in file.relative_to(folder).parts))
        for number, file in enumerate(files):
            shutil.copy(file, room / f"{number}.yaml")
        made = {"resources": [f"{number}.yaml" for number in range(len(files))]}
        (room / "kustomization.yaml").write_text(
            json.dumps({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **made})
        )
        folder = room
    rendered = room / "rendered"
    rendered.write_text(plane.kubectl("kustomize", str(folder)))
    return documents(rendered)


def test_flux_takes_the_example_and_finds_what_it_names(with_flux: ControlPlane, tmp_path: Path) -> None:
    plane = with_flux
    done = plane.try_kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=EXAMPLE.read_text("utf-8"))
    assert (done.returncode, done.stderr) == (0, "")
    found = documents(EXAMPLE)
    sources = {one["metadata"]["name"] for one in found if one["kind"] == "GitRepository"}
    kustomizations = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "Kustomization"}
    assert {spec["sourceRef"]["name"] for spec in kustomizations.values()} <= sources
    brought: dict[str, list[dict[str, Any]]] = {}
    for name, spec in kustomizations.items():
        (tmp_path / name).mkdir()
        brought[name] = built(plane, spec["path"], tmp_path / name)
        assert {one["name"] for one in spec.get("dependsOn", [])} <= set(kustomizations)
        there = {(one["apiVersion"], one["kind"], one["metadata"]["name"], one["metadata"].get("namespace")) for one in brought[name]}
        asked = {(one["apiVersion"], one["kind"], one["name"], one["namespace"]) for one in spec.get("healthChecks", [])}
        assert asked <= there
        assert not (spec.get("wait") and asked), "Flux ignores healthChecks where it waits for everything"

    ours = [name for name, objects in brought.items() if {one["apiVersion"].split("/")[0] for one in objects} == {GROUP}]
    assert ours, "one of them brings declarations"
    for name in ours:
        spec = kustomizations[name]
        kinds = {
            one["spec"]["names"]["kind"] for other in spec["dependsOn"] for one in brought[other["name"]] if "CustomResource" in one["kind"]
        }
        assert {one["kind"] for one in brought[name]} <= kinds, "first the kinds, then what is of them"
        assert spec["wait"]
        assert spec["targetNamespace"]
        assert not [one for one in brought[name] if "ttlSecondsAfterFinished" in one["spec"]], "it would be declared again and again"
    for name in set(kustomizations) - set(ours):
        assert not kustomizations[name]["prune"], "a kind that is pruned takes all its machines with it"


@pytest.mark.parametrize(
    ("kind", "path", "value", "says"),
    [
        ("Kustomization", ("dependOn",), [{"name": "x"}], "dependOn"),
        ("Kustomization", ("healthChecks",), [{"name": "x", "kinds": "y"}], "kind"),
        ("Kustomization", ("timeout",), "5 minutes", "timeout"),
        ("GitRepository", ("url",), "git@example.org:x", "url"),
    ],
)
def test_what_flux_would_refuse_is_refused_here(
    with_flux: ControlPlane, kind: str, path: tuple[str, ...], value: object, says: str
) -> None:
    """The stand-in for Flux's kinds is strict enough to tell."""
    doc = copy.deepcopy(next(one for one in documents(EXAMPLE) if one["kind"] == kind))
    doc["spec"][path[0]] = value
    done = with_flux.try_kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=json.dumps(doc))
    assert done.returncode != 0
    assert says in done.stderr


# --- two who write ------------------------------------------------------------------------------------------------------------------


FLEET = LIEUTENANT + "---\napiVersion: fleet.vers.sh/v1alpha1\nkind: BootProfile\nmetadata: {name: mine}\nspec: {extends: {name: swarm}}\n"


class Flux:
    """Applies and compares as kustomize-controller does."""

    def __init__(self, person: Person, text: str) -> None:
        self.person, self.text = person, text

    async def _apply(self, *more: str) -> list[dict[str, Any]]:
        told = await self.person.kubectl(
            "apply", "--server-side", "--field-manager", FLUX, "--force-conflicts", "-o", "json", *more, "-f", "-", stdin=self.text
        )
        found: dict[str, Any] = json.loads(told)
        items: list[dict[str, Any]] = found.get("items", [found])
        return items

    async def apply(self) -> list[dict[str, Any]]:
        return await self._apply()

    async def drift(self) -> list[str]:
        """The objects that an apply would change."""
        found = []
        for would in await self._apply("--dry-run=server"):
            live = await self.person.get(would["kind"], would["metadata"]["name"])
            if {**would, "metadata": bare(would)} != {**live, "metadata": bare(live)}:
                found.append(would["metadata"]["name"])
        return found


def bare(obj: dict[str, Any]) -> dict[str, Any]:
    """Its metadata without what the server counts and notes."""
    return {name: value for name, value in obj["metadata"].items() if name not in ("managedFields", "resourceVersion")}


def fields(node: dict[str, Any], at: str = "") -> Iterator[str]:
    """The first two levels of names in a set of managed fields."""
    for name, inner in node.items():
        path = f"{at}.{name.removeprefix('f:')}".lstrip(".")
        yield from [path] if at or not inner else fields(inner, path)


async def owned(person: Person, kind: str, name: str) -> dict[str, set[str]]:
    """What each manager says of an object."""
    told: dict[str, Any] = json.loads(await person.kubectl("get", kind, name, "-o", "json", "--show-managed-fields"))
    found: dict[str, set[str]] = {}
    for one in told["metadata"]["managedFields"]:
        found.setdefault(one["manager"], set()).update(fields(one["fieldsV1"]))
    return found


@pytest.mark.guarantee("G-45")
async def test_what_flux_declares_and_what_we_say_do_not_meet(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """We own status and our finalizer, the other all it declares: applied again there is nothing to do, for either."""
    person = Person(cluster)
    flux = Flux(person, FLEET + "---\n" + task("one"))
    async with charge(cluster, tmp_path, world) as operator:
        await flux.apply()
        for what in ("lt/ada", "bp/mine", "ltask/one"):
            await person.wait(what, "Ready")
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert await flux.drift() == []
        writes = operator.kube_controller.sink.writes
        before = {kind: [one["metadata"]["resourceVersion"] for one in await person.list(kind)] for kind in ("lt", "bp", "ltask")}
        for _ in range(3):
            await flux.apply()
        await asyncio.sleep(2.0)
        assert operator.kube_controller.sink.writes == writes
        assert {kind: [one["metadata"]["resourceVersion"] for one in await person.list(kind)] for kind in before} == before

        for kind, name, finalizers in (
            ("lt", "ada", {"metadata.finalizers"}),
            ("ltask", "one", {"metadata.finalizers"}),
            ("bp", "mine", set()),
        ):
            found = await owned(person, kind, name)
            assert set(found) == {FLUX, "reconciler"}, found
            assert all(one.startswith("spec.") for one in found[FLUX]), found
            assert {one for one in found["reconciler"] if not one.startswith("status")} == finalizers, found


@pytest.mark.guarantee("G-08")
async def test_what_flux_puts_back_we_follow_and_what_it_lets_go_is_deleted(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """A person suspends by hand; the next round of Flux says Running again. What leaves the repository is pruned, with its machine."""
    person = Person(cluster)
    flux = Flux(person, LIEUTENANT.replace("spec: {", "spec: {mode: Running, "))
    async with charge(cluster, tmp_path, world):
        await flux.apply()
        await person.wait("lt/ada", "Available")
        (machine,) = world.alive()
        await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"spec":{"mode":"Suspended"}}')
        await person.wait("lt/ada", "Suspended")
        assert await flux.drift() == ["ada"]
        await flux.apply()
        await person.wait("lt/ada", "Available")
        assert await flux.drift() == []
        assert world.alive() == [machine]
        await person.kubectl("delete", "lt/ada", "--cascade=background", "--timeout=60s")
        assert world.alive() == []
