"""A bad day: somebody took a right from the operator's role. The log names it, the object says it where it can, and all goes on by itself
once it is granted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.cluster import cluster_of
from reconciler.sources.kube.lease import Lease
from tests.kube.assets import ROOT
from tests.kube.controlplane import OPERATOR, Namespace, documents, path_of
from tests.kube.operating import Person, RealTime, access_of, charge, until
from tests.kube.test_operator import LIEUTENANT, task

pytestmark = pytest.mark.real("kube")

ENV = "[{name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}]"
WITH_SECRET = LIEUTENANT.replace("{role: Keep it,", f"{{role: Keep it, env: {ENV},")


class Rights:
    """The operator's role in one namespace, with something taken out of it."""

    def __init__(self, person: Person) -> None:
        self.person = person
        role = next(one for one in documents(ROOT / "deploy" / "cluster" / "rbac.yaml") if one["metadata"]["name"] == "reconciler")
        self.rules: list[dict[str, Any]] = role["rules"]

    async def without(self, resource: str, verb: str) -> None:
        left = []
        for rule in self.rules:
            for one in rule["resources"]:
                verbs = [name for name in rule["verbs"] if (one, name) != (resource, verb)]
                if verbs:
                    left.append({**rule, "resources": [one], "verbs": verbs})
        await self.grant(left)
        await self.take("operator")

    async def whole(self) -> None:
        await self.grant(self.rules)

    async def grant(self, rules: list[dict[str, Any]]) -> None:
        group, metadata = "rbac.authorization.k8s.io", {"name": "partly", "namespace": self.person.cluster.name}
        role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
        binding = {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "partly"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": OPERATOR}],
        }
        await asyncio.to_thread(self.person.cluster.plane.apply, role, binding)

    async def take(self, binding: str) -> None:
        """The binding of this name, if there is one."""
        path = path_of("rbac.authorization.k8s.io/v1", "rolebindings", self.person.cluster.name, binding)
        status, told = await asyncio.to_thread(self.person.cluster.plane.request, "DELETE", path)
        assert status in (200, 404), told


@pytest.mark.guarantee("G-66")
async def test_it_may_not_hold_an_object(cluster: Namespace, tmp_path: Path, world: RealTime, logged: Callable[[], str]) -> None:
    """Without its finalizer nothing is made; the object says which right is missing."""
    person = Person(cluster)
    rights = Rights(person)
    await rights.without("lieutenants", "patch")
    async with charge(cluster, tmp_path, world):
        await person.apply(LIEUTENANT)
        told = await person.sees("lt", "ada", "Stalled", "RightMissing")
        missing = 'cannot patch resource "lieutenants"'
        assert missing in told["message"]
        assert "docs/kubernetes.md" in told["message"]
        assert missing in logged()
        assert world.alive() == []
        await rights.whole()
        await person.kubectl("annotate", "lt", "ada", "note=again")  # it would be looked at again within a minute anyway
        await person.wait("lt/ada", "Ready")
        await person.kubectl("delete", "lt/ada", "--timeout=60s")


@pytest.mark.guarantee("G-66")
async def test_it_may_not_say_what_is_true(cluster: Namespace, tmp_path: Path, world: RealTime, logged: Callable[[], str]) -> None:
    """Only the log can tell; a create that can't be written down first is not sent."""
    person = Person(cluster)
    rights = Rights(person)
    await rights.without("lieutenants/status", "update")
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await until(lambda: 'cannot update resource "lieutenants/status"' in logged(), "the log names the right")
        assert world.alive() == []
        assert operator.kube_controller.reconcile_errors["Forbidden"] >= 1
        await rights.whole()
        await person.wait("lt/ada", "Ready", 90.0)
        await person.kubectl("delete", "lt/ada", "--timeout=60s")


@pytest.mark.guarantee("G-66")
async def test_it_may_not_read_a_secret(cluster: Namespace, tmp_path: Path, world: RealTime, logged: Callable[[], str]) -> None:
    person = Person(cluster)
    rights = Rights(person)
    await rights.without("secrets", "list")
    await person.kubectl("create", "secret", "generic", "keys", "--from-literal=token=a-value-of-the-key")
    async with charge(cluster, tmp_path, world):
        await person.apply(WITH_SECRET)
        told = await person.sees("lt", "ada", "Ready", "SecretForbidden")
        missing = 'cannot list resource "secrets"'
        assert missing in told["message"]
        assert missing in logged()
        assert world.alive() == []
        await rights.whole()
        await person.wait("lt/ada", "Ready", 90.0)
        await person.kubectl("delete", "lt/ada", "--timeout=60s")


@pytest.mark.guarantee("G-66")
async def test_it_may_not_read_a_secret_any_more(
    cluster: Namespace, tmp_path: Path, world: RealTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs goes on with the value read last, the lieutenant and what waits for such a value say so, until the right is back."""
    monkeypatch.setattr("reconciler.sources.kube.client.WATCH_SECONDS", 2)  # a watch that is open is not ended by the loss of a right
    person = Person(cluster)
    rights = Rights(person)
    await rights.whole()
    await rights.take("operator")
    await person.kubectl("create", "secret", "generic", "keys", "--from-literal=token=a-value-of-the-key")
    async with charge(cluster, tmp_path, world) as operator:
        operator.secrets.lost_after = 2.0
        await person.apply(WITH_SECRET)
        await person.wait("lt/ada", "Ready")
        (machine,) = world.alive()
        running = machine.pi
        await rights.without("secrets", "list")
        told = await person.sees("lt", "ada", "SecretsUnread", "SecretForbidden")
        assert told["status"] == "True"
        assert 'cannot list resource "secrets"' in told["message"]
        assert "secrets " + cluster.name + "/keys" in told["message"]
        assert "docs/kubernetes.md" in told["message"]
        assert (await person.condition("lt", "ada", "Ready"))["status"] == "True"
        await person.apply(task("one"))
        await person.wait("ltask/one", "Ready")
        assert machine.pi is running
        waiting = json.loads(task("two", contentFrom={"secretKeyRef": {"name": "keys", "key": "token"}}))
        del waiting["spec"]["prompt"]
        await person.apply(json.dumps(waiting))
        assert 'cannot list resource "secrets"' in (await person.sees("ltask", "two", "Ready", "ContentNotFound"))["message"]
        await rights.whole()
        await person.wait("ltask/two", "Ready")
        for _ in range(100):
            if not await person.condition("lt", "ada", "SecretsUnread"):
                break
            await asyncio.sleep(0.2)
        assert not await person.condition("lt", "ada", "SecretsUnread")
        await person.kubectl("delete", "lt/ada", "--timeout=60s")


@pytest.mark.guarantee("G-66")
async def test_it_may_not_tell_what_happened(cluster: Namespace, tmp_path: Path, world: RealTime, logged: Callable[[], str]) -> None:
    """Nothing depends on Events; that they are lost is said once, with the right that is missing."""
    person = Person(cluster)
    await Rights(person).without("events", "create")
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Ready")
        await person.kubectl("delete", "lt/ada", "--timeout=60s")
        assert operator.kube_controller.events.lost["Forbidden"] > 1
    assert logged().count('cannot create resource "events"') == 1


@pytest.mark.slow
@pytest.mark.guarantee("G-66")
@pytest.mark.parametrize(("kind", "verb"), [("tasks", "watch"), ("lieutenants", "list")])
async def test_it_may_not_watch_a_kind(
    kind: str, verb: str, cluster: Namespace, tmp_path: Path, world: RealTime, logged: Callable[[], str]
) -> None:
    """The log names the right, again and again but not hotly; nothing is destroyed; what happened meanwhile is found once it may."""
    person = Person(cluster)
    rights = Rights(person)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Ready")
        await rights.without(kind, verb)
        await operator.kube_controller._watch.stop()  # type: ignore[union-attr]  # every watch ends, as it does by itself after minutes
        operator.kube_controller._watch = operator.kube_controller._watcher(
            operator.kube_controller._cluster.access,
            operator.kube_controller._namespaces,
            operator.kube_controller._on_event,
            operator.kube_controller._due.set,
        )
        operator.kube_controller._watch.start()
        await until(lambda: f'cannot {verb} resource "{kind}"' in logged(), "the log names the right")
        await asyncio.sleep(6.0)
        assert logged().count(f'cannot {verb} resource "{kind}"') <= 8
        assert len(world.alive()) == 1
        await person.apply(task("one"))
        await rights.whole()
        await person.wait("ltask/one", "Ready", 90.0)
        await person.kubectl("delete", "lt/ada", "ltask/one", "--timeout=90s")
        assert world.alive() == []


@pytest.mark.guarantee("G-62", "G-66")
@pytest.mark.parametrize("verb", ["get", "create", "update"])
async def test_it_may_not_hold_its_lease(cluster: Namespace, verb: str) -> None:
    """Nobody is in charge without it: what is missing is said, and it begins once it is granted."""
    person = Person(cluster)
    said: list[str] = []
    role = next(one for one in documents(ROOT / "deploy" / "cluster" / "rbac.yaml") if one["metadata"]["name"] == "reconciler-lease")
    rules = Rights(person)
    await rules.grant([{**rule, "verbs": [name for name in rule["verbs"] if name != verb] or ["list"]} for rule in role["rules"]])
    await rules.take("operator-lease")
    async with cluster_of(access_of(cluster)) as api:
        lease = Lease(api, cluster.name, "reconciler-default", "one", said.append)
        waiting = asyncio.create_task(lease.acquire())
        if verb == "update":  # a new Lease is made without it, and then not renewed
            await waiting
            lease.seconds = 6.0
            await until(lease.lost.is_set, "it stands down")
            waiting = asyncio.create_task(lease.acquire())
        await until(lambda: any(f"cannot {verb} resource" in line and "leases" in line for line in said), "it says what is missing")
        assert not lease.held()
        await rules.grant(role["rules"])
        await asyncio.wait_for(waiting, 30)
        assert lease.held()
        await lease.release()


@pytest.mark.guarantee("G-66")
async def test_a_lease_that_may_not_be_renewed_says_why(cluster: Namespace, logged: Callable[[], str]) -> None:
    person = Person(cluster)
    async with cluster_of(access_of(cluster)) as api:
        lease = Lease(api, cluster.name, "reconciler-default", "one", lambda line: None, seconds=6.0)
        await lease.acquire()
        await person.kubectl("delete", "rolebinding", "operator-lease")
        await until(lease.lost.is_set, "it stands down")
        assert 'could not be renewed in time: leases.coordination.k8s.io "reconciler-default" is forbidden' in logged()
