"""Secrets and ConfigMaps in numbers and sizes that people have."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.sources.kube.client import AT_ONCE
from tests.kube.controlplane import Namespace
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_operator import LIEUTENANT

pytestmark = pytest.mark.real("kube")

LARGE = "A line of a text that is as long as texts are.\n" * 8_000


def everything(items: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def profile(name: str, **spec: object) -> dict[str, Any]:
    body = {"extends": {"name": "lightweight"}, **spec}
    return {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "BootProfile", "metadata": {"name": name}, "spec": body}


@pytest.mark.guarantee("G-65")
async def test_more_secrets_than_calls_may_be_made_at_once(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """Each is watched, and that keeps nobody from renewing the Lease, writing a status or following a change."""
    person = Person(cluster)
    count = 2 * AT_ONCE
    secrets = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s-{n}"}, "stringData": {"k": f"value-number-{n}"}}
        for n in range(count)
    ]
    profiles = [
        profile(f"p-{n}", env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": f"s-{n}", "key": "k"}}}]) for n in range(count)
    ]
    async with charge(cluster, tmp_path, world, lease_seconds=6.0) as operator:
        await person.apply(everything(secrets))
        await person.apply(everything(profiles))
        await person.kubectl("wait", "bp", "--all", "--for=condition=Ready", "--timeout=60s")
        await until(lambda: len(operator.secrets._followed) == count, "all are followed")
        await person.apply(LIEUTENANT.replace("lightweight", f"p-{count - 1}"))
        await person.wait("lt/ada", "Available")
        (machine,) = world.alive()
        assert machine.pi is not None
        assert machine.pi.launch.env["TOKEN"] == f"value-number-{count - 1}"
        await person.kubectl("patch", f"secret/s-{count - 1}", "--type=merge", "-p", '{"stringData": {"k": "another-value"}}')
        await until(lambda: machine.pi is not None and machine.pi.launch.env["TOKEN"] == "another-value", "the change is followed")
        assert operator.kube_controller.reconcile_errors["TimedOut"] == 0


@pytest.mark.guarantee("G-65")
async def test_a_text_as_large_as_a_configmap_may_be_is_followed(
    cluster: Namespace, tmp_path: Path, world: RealTime, caplog: pytest.LogCaptureFixture
) -> None:
    person = Person(cluster)

    def text(last: str) -> str:
        return everything([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "texts"}, "data": {"big": LARGE + last}}])

    async with charge(cluster, tmp_path, world):
        await person.kubectl("create", "-f", "-", stdin=text("one"))
        big = {"path": "big.txt", "contentFrom": {"configMapKeyRef": {"name": "texts", "key": "big"}}}
        await person.apply(everything([profile("mine", files=[big])]))
        await person.apply(LIEUTENANT.replace("lightweight", "mine"))
        await person.wait("lt/ada", "Available")
        (machine,) = world.alive()
        assert machine.files["big.txt"] == (LARGE + "one").encode()
        await person.kubectl("replace", "-f", "-", stdin=text("two"))
        await until(lambda: machine.files["big.txt"] == (LARGE + "two").encode(), "the change is followed")
    assert "can't be read" not in caplog.text


@pytest.mark.guarantee("G-37")
@pytest.mark.guarantee("G-65")
async def test_a_secret_that_goes_after_it_was_used_is_told_as_missing_and_one_that_lost_its_key_as_that(
    cluster: Namespace, tmp_path: Path, world: RealTime
) -> None:
    """Nobody is told that a Secret lacks a key when there is no such Secret; what runs goes on, and the same Secret heals it."""
    person = Person(cluster)
    await person.kubectl("create", "secret", "generic", "vault", "--from-literal=word=a-value-of-the-vault")
    async with charge(cluster, tmp_path, world):
        env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "word"}}}]
        await person.apply(everything([profile("guarded", env=env)]))
        await person.apply(LIEUTENANT.replace("lightweight", "guarded"))
        await person.wait("lt/ada", "Available")
        (machine,) = world.alive()
        await person.kubectl("delete", "secret/vault")
        gone = await person.sees("lt", "ada", "Ready", "SecretNotFound")
        assert f"Secret vault is not in namespace {cluster.name}; create it with the key word" in gone["message"]
        assert "has no key" not in gone["message"]
        await person.kubectl("create", "secret", "generic", "vault", "--from-literal=other=a-value-of-the-vault")
        for _ in range(240):
            told = await person.condition("lt", "ada", "Ready")
            if "has no key" in told["message"]:
                break
            await asyncio.sleep(0.25)
        assert f"Secret vault in namespace {cluster.name} has no key word; add it" in told["message"]
        await person.kubectl("patch", "secret/vault", "--type=merge", "-p", '{"stringData": {"word": "a-value-of-the-vault"}}')
        await person.wait("lt/ada", "Ready")
        assert [one is machine and not one.deleted for one in world.alive()] == [True]
        shown = json.dumps(await person.get("lt", "ada")) + await person.kubectl("get", "events", "-o", "json")
        assert "a-value-of-the-vault" not in shown
