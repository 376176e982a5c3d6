"""Kubernetes mode, seen by a person with kubectl: the real front door on a real API server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.state.declared import Declared
from tests.conformance.kstatus import problems
from tests.kube.controlplane import Namespace
from tests.kube.operating import Person, RealTime, charge, until

pytestmark = pytest.mark.real("kube")

HEAD = "apiVersion: fleet.vers.sh/v1alpha1\n"
LIEUTENANT = (
    HEAD
    + """
kind: Lieutenant
metadata: {name: ada}
spec: {role: Keep it, profileRef: {name: lightweight}}
"""
)


def task(name: str, to: str = "ada", **spec: object) -> str:
    body = {"lieutenantRef": {"name": to}, "prompt": "do it", **spec}
    return json.dumps({"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Task", "metadata": {"name": name}, "spec": body})


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.guarantee("G-46")
async def test_a_fleet_is_applied_works_and_is_deleted(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """Applied with kubectl, waited for with kubectl, deleted with kubectl: no VM is left. Every status that was ever there is as
    kstatus wants it."""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        statuses: list[tuple[int, dict[str, object]]] = []
        replace = operator.kube_controller.sink._writes.status

        async def judged(path: str, body: dict[str, object]) -> dict[str, object]:
            told = await replace(path, body)  # type: ignore[arg-type]
            if path.endswith("/lieutenants/ada/status"):
                statuses.append((told["metadata"]["generation"], dict(told["status"])))  # type: ignore[index, call-overload, arg-type]
            return told  # type: ignore[return-value]

        operator.kube_controller.sink._writes.status = judged  # type: ignore[assignment, method-assign]
        await person.apply(LIEUTENANT)
        await person.apply(task("one"))
        await person.wait("lt/ada", "Ready")
        await person.wait("ltask/one", "Ready")
        done = await person.get("ltask", "one")
        assert done["status"]["phase"] == "Succeeded"
        assert done["status"]["result"]["answer"] == "done"
        ada = await person.get("lt", "ada")
        assert ada["metadata"]["finalizers"] == ["fleet.vers.sh/vm"]
        assert not any("kopf" in name for name in ada["metadata"].get("annotations", {}))
        assert ada["status"]["observedGeneration"] == ada["metadata"]["generation"] == 1
        assert len(world.alive()) == 1
        reasons = {event["reason"] for event in await person.list("events.events.k8s.io")}
        assert {"CreatedVM", "Delivering", "Succeeded"} <= reasons
        await person.kubectl("delete", "lt/ada", "ltask/one", "--timeout=60s")
        assert world.alive() == []
        await until(lambda: not operator.engine.table.all_keys(), "the store has forgotten them")
    assert await person.list("lt") == []
    assert len(statuses) > 2
    wrong = [
        problems(status, generation, before)
        for (generation, status), before in zip(statuses, [None, *(s for _, s in statuses)], strict=False)
    ]
    assert [one for one in wrong if one] == []


@pytest.mark.guarantee("G-08")
async def test_suspended_and_resumed_by_a_patch(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world):
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        (machine,) = world.alive()
        await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"spec":{"mode":"Suspended"}}')
        await person.wait("lt/ada", "Suspended")
        assert machine.state is VmState.SUSPENDED
        told = await person.get("lt", "ada")
        assert told["status"]["observedGeneration"] == told["metadata"]["generation"] == 2
        await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"spec":{"mode":"Running"}}')
        await person.wait("lt/ada", "Available")
        assert [m.vm_id for m in world.alive()] == [machine.vm_id]


@pytest.mark.guarantee("G-45")
async def test_at_rest_nothing_is_written_and_an_edited_status_is_put_right(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.apply(task("one"))
        await person.wait("ltask/one", "Ready")
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        await asyncio.sleep(1.0)
        before = {name: (await person.get(kind, name))["metadata"]["resourceVersion"] for kind, name in (("lt", "ada"), ("ltask", "one"))}
        writes = operator.kube_controller.sink.writes
        await operator.kube_controller.sweep()  # everything is compared again
        await person.apply(LIEUTENANT)  # the same once more
        await asyncio.sleep(3.0)  # three lists of the platform
        assert operator.kube_controller.sink.writes == writes
        after = {name: (await person.get(kind, name))["metadata"]["resourceVersion"] for kind, name in (("lt", "ada"), ("ltask", "one"))}
        assert after == before

        told = (await person.get("lt", "ada"))["status"]
        await asyncio.to_thread(cluster.set_status, "lt", "ada", {"phase": "Lies", "vm": {"id": "00000000-0000-4000-8000-00000000beef"}})
        await until(lambda: operator.kube_controller.sink.writes > writes, "the status is written again")
        assert (await person.get("lt", "ada"))["status"] == told
        await asyncio.sleep(1.0)
        assert operator.kube_controller.sink.writes == writes + 1, "one write for one change"
        assert len(world.alive()) == 1


@pytest.mark.slow
async def test_a_crash_of_the_api_server_is_survived(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world):
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        await asyncio.to_thread(cluster.plane.restart_api, crash=True)
        await person.apply(task("after"))
        await person.wait("ltask/after", "Ready")
        await person.kubectl("delete", "ltask/after", "--timeout=60s")
        assert len(world.alive()) == 1


@pytest.mark.guarantee("G-05")
async def test_deleted_by_force_is_deleted_all_the_same(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """Somebody tears out our finalizer: the object is gone at once, and its machine follows."""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        await person.kubectl("delete", "lt/ada", "--wait=false")
        await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        await until(lambda: world.alive() == [], "its machine is gone")
        await until(lambda: not operator.engine.table.all_keys(), "the store has forgotten it")


@pytest.mark.guarantee("G-04")
async def test_what_vanished_unseen_is_kept_and_told(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """While no operator ran, the object was torn out: nobody saw a deletion, so its machine stays until a person says so."""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world):
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
    await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    await person.kubectl("delete", "lt/ada", "--timeout=60s")
    async with charge(cluster, tmp_path, world) as operator:
        key = Key("Lieutenant", cluster.name, "ada")
        await asyncio.sleep(2.0)
        assert len(world.alive()) == 1
        events = await operator.engine.store.events(key)
        assert "DeclarationGone" in {event.reason for event in events}
        await operator.engine.declarations.delete(key)
        await until(lambda: world.alive() == [], "its machine is gone once a person says so")


@pytest.mark.guarantee("G-42")
async def test_an_object_has_one_source(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        key = Key("BootProfile", cluster.name, "mine")
        spec = {"source": {"image": "default"}}
        await operator.engine.declarations.apply(Declared(key, spec, {}, {}, "file", "/specs/mine.yaml:1"))  # type: ignore[arg-type]
        await person.apply(HEAD + "kind: BootProfile\nmetadata: {name: mine}\nspec: {source: {image: default}}\n")
        told = await person.sees("bp", "mine", "Stalled", "DeclaredElsewhere")
        assert "/specs/mine.yaml:1" in told["message"]


@pytest.mark.guarantee("G-60")
async def test_a_secret_reaches_the_agent_and_nothing_else(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """It is waited for, handed over, followed when it changes, and found nowhere else."""
    person = Person(cluster)
    one, two = "first-value-of-the-key", "second-value-of-the-key"
    async with charge(cluster, tmp_path, world):
        env = "[{name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}]"
        await person.apply(LIEUTENANT.replace("{role: Keep it,", f"{{role: Keep it, env: {env},"))
        await person.sees("lt", "ada", "Ready", "SecretNotFound")
        assert world.alive() == []
        await person.kubectl("create", "secret", "generic", "keys", f"--from-literal=token={one}")
        await person.wait("lt/ada", "Available")
        (machine,) = world.alive()
        assert machine.pi is not None
        assert machine.pi.launch.env["TOKEN"] == one
        patch = json.dumps({"stringData": {"token": two}})
        await person.kubectl("patch", "secret/keys", "--type=merge", "-p", patch)
        await until(lambda: machine.pi is not None and machine.pi.launch.env["TOKEN"] == two, "the new value is there")
        told = await person.kubectl("get", "lt,ltask,events.events.k8s.io", "-o", "yaml")
        await person.kubectl("delete", "lt/ada", "--timeout=60s")
    for value in (one, two):
        assert value not in told
        assert not [file for file in files_of(tmp_path) if value.encode() in file.read_bytes()]
