"""Operators that die, and stores that are lost: the cluster and the machines know enough."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import VmShape, VmSource
from tests.kube.controlplane import Namespace
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_operator import LIEUTENANT, task
from tests.world import FakeVers

pytestmark = pytest.mark.real("kube")


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-62")
async def test_another_operator_with_an_empty_store_goes_on(
    cluster: Namespace, tmp_path: Path, world: RealTime, caplog: pytest.LogCaptureFixture
) -> None:
    """No second VM, nothing is sent twice, and what was running ends well: status, claims and the conversation say it all."""
    person = Person(cluster)
    async with charge(cluster, tmp_path / "one", world, "one", crash=True, lease_seconds=4.0):
        await person.apply(LIEUTENANT)
        await person.apply(task("one"))
        await person.wait("ltask/one", "Ready")
        world.work_seconds = 6.0
        await person.apply(task("two"))
        await person.kubectl("wait", "ltask/two", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
    result = (await person.get("ltask", "one"))["status"]
    assert "restored" not in caplog.text, "what is new is not restored"
    caplog.clear()
    async with charge(cluster, tmp_path / "two", world, "two", lease_seconds=4.0) as operator:
        told = [record.getMessage() for record in caplog.records if "restored" in record.getMessage() and record.levelname == "WARNING"]
        assert told == ["the cluster knew more than the store: restored from status and claims: 1 lieutenant and 2 tasks"]
        await person.wait("ltask/two", "Ready")
        await person.apply(task("three"))
        world.work_seconds = 0.4
        await person.wait("ltask/three", "Ready")
        assert world.created == 1
        assert len(world.prompts) == 3, [text.splitlines()[0] for _, text in world.prompts]
        assert (await person.get("ltask", "one"))["status"] == result
        await person.kubectl("delete", "ltask", "--all", "--timeout=60s")
        await person.kubectl("delete", "lt", "--all", "--timeout=60s")
        assert world.alive() == []
        await until(lambda: not operator.engine.table.all_keys(), "the store has forgotten them")


SLEEPER = LIEUTENANT.replace("name: ada", "name: sleeper").replace("{role: Keep it,", "{role: Keep it, mode: Suspended,")


@pytest.mark.guarantee("G-46")
@pytest.mark.guarantee("G-62")
async def test_an_operator_with_an_older_store_believes_what_another_one_finished(
    cluster: Namespace, tmp_path: Path, world: RealTime
) -> None:
    """What ended has ended, with the answer it had; and what rests is not touched by who takes over."""
    person = Person(cluster)
    world.work_seconds, world.answer = 5.0, lambda prompt: (f"answer to {prompt.splitlines()[0]}", "stop")
    async with charge(cluster, tmp_path / "one", world, "one", crash=True, lease_seconds=4.0):
        await person.apply(LIEUTENANT)
        await person.apply(SLEEPER)
        await person.wait("lt/sleeper", "Ready")
        await person.apply(task("one"))
        await person.kubectl("wait", "ltask/one", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
        await person.apply(task("two"))
        await person.kubectl("wait", "ltask/two", "--for=jsonpath={.status.phase}=Pending", "--timeout=60s")
    rested = await person.get("lt", "sleeper")
    async with charge(cluster, tmp_path / "two", world, "two", crash=True, lease_seconds=4.0):
        await person.kubectl("annotate", "lt", "ada", "fleet.vers.sh/retry=once")
        for name in ("one", "two"):
            await person.wait(f"ltask/{name}", "Ready")
        ended = [(await person.get("ltask", name))["status"] for name in ("one", "two")]
        assert await person.get("lt", "sleeper") == rested
    assert ended[0]["result"]["answer"] != ended[1]["result"]["answer"]
    async with charge(cluster, tmp_path / "one", world, "three", lease_seconds=4.0) as operator:
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert [(await person.get("ltask", name))["status"] for name in ("one", "two")] == ended
        assert await person.get("lt", "sleeper") == rested
        item = operator.engine.table.lieutenant(Key("Lieutenant", cluster.name, "ada"))
        assert item is not None
        assert item.record.handled == {"retry": "once"}
        assert len(world.prompts) == 2, [text.splitlines()[0] for _, text in world.prompts]


class Mute(FakeVers):
    """Creates, and never says so."""

    async def create_vm(self, source: VmSource, shape: VmShape, labels: Mapping[str, str], token: str) -> str:
        await super().create_vm(source, shape, labels, token)
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.guarantee("G-02")
async def test_a_create_without_an_answer_and_a_lost_store_make_one_vm(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """The open create stands in status before it is sent; whoever comes next finds the VM it made."""
    person = Person(cluster)
    async with charge(cluster, tmp_path / "one", world, "one", vers=Mute):
        await person.apply(LIEUTENANT)
        await until(lambda: world.created == 1, "a VM was made")
        create = (await person.get("lt", "ada"))["status"]["vm"]["create"]
        (machine,) = world.alive()
        assert machine.labels["fleet.vers.sh/intent"] == create["token"]
    async with charge(cluster, tmp_path / "two", world, "two"):
        await person.wait("lt/ada", "Available")
        assert world.created == 1
        vm = (await person.get("lt", "ada"))["status"]["vm"]
        assert vm["id"] == machine.vm_id
        assert "create" not in vm


async def test_a_restart_on_the_same_store_changes_nothing(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
    before = await person.get("lt", "ada")
    pid = world.alive()[0].pi
    async with charge(cluster, tmp_path, world) as operator:
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        await asyncio.sleep(1.5)
        assert operator.kube_controller.sink.writes == 0
    assert await person.get("lt", "ada") == before
    assert world.alive()[0].pi is pid
