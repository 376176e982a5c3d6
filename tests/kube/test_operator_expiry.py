"""Tasks whose time is over leave the cluster; what they came to stays known, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from reconciler.engine.loop import Engine
from reconciler.errors import Unreachable
from reconciler.sources.kube.client import Cluster
from tests.kube.controlplane import Namespace
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_operator import LIEUTENANT, task
from tests.kube.test_operator_rights import Rights

T = TypeVar("T")
pytestmark = pytest.mark.real("kube")


async def gone(person: Person, name: str) -> None:
    await person.kubectl("wait", f"ltask/{name}", "--for=delete", "--timeout=60s")


async def known_as_done(person: Person, world: RealTime, name: str, **spec: object) -> None:
    """The same task declared again has its result at once and is not done twice; what comes after it may begin."""
    prompts = len(world.prompts)
    await person.apply(task(name, **spec))
    told = await person.sees("ltask", name, "Ready", "AlreadyDone")
    assert told["status"] == "True"
    assert (await person.get("ltask", name))["status"]["phase"] == "Succeeded"
    assert len(world.prompts) == prompts


@pytest.mark.guarantee("G-20")
async def test_a_task_whose_time_is_over_goes_and_what_it_came_to_stays(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.apply(task("one", ttlSecondsAfterFinished=4))
        await person.wait("ltask/one", "Ready")
        finished = operator.engine.clock.now()
        assert (await person.get("ltask", "one"))["metadata"]["finalizers"] == ["fleet.vers.sh/task"]
        await gone(person, "one")
        assert operator.engine.clock.now() >= finished + 2, "not before its time"
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert not operator.kube_controller.sink.leaving

        await person.apply(task("next", after=[{"name": "one"}]))
        await person.wait("ltask/next", "Ready")
        await known_as_done(person, world, "one", ttlSecondsAfterFinished=4)
        await asyncio.sleep(5.0)
        assert (await person.get("ltask", "one"))["status"]["phase"] == "Succeeded", "what was declared again stays"

        await person.kubectl("delete", "ltask/one", "--timeout=60s")
        await person.apply(task("one", ttlSecondsAfterFinished=4))
        await person.wait("ltask/one", "Ready")
        assert len(world.prompts) == 3, "a person's delete means: do it again"


class Cut:
    """From the operator's first call of this name on (`before`: not even that one is made) it does nothing more: it died."""

    def __init__(self, call: str, before: bool) -> None:
        self.call, self.before, self.dead = call, before, False

    def prepare(self, engine: Engine) -> None:
        through = engine.effects.hook
        assert through is not None

        async def hook(number: int, name: str, act: Callable[[], Awaitable[T]]) -> T:
            if not self.dead and name != self.call:
                return await through(number, name, act)
            first, self.dead = not self.dead, True
            if first and not self.before:
                await through(number, name, act)
            await asyncio.Event().wait()
            raise AssertionError

        engine.effects.hook = hook


@pytest.mark.slow
@pytest.mark.guarantee("G-20")
@pytest.mark.parametrize(
    ("call", "before", "lost"),
    [
        ("kube.remove_finalizer", True, False),
        ("kube.remove_finalizer", False, False),
        ("kube.delete", True, False),
        ("kube.delete", False, False),
        ("kube.remove_finalizer", True, True),
        ("kube.delete", True, True),
    ],
)
async def test_an_operator_that_dies_over_it_leaves_nothing_behind(
    call: str, before: bool, lost: bool, cluster: Namespace, tmp_path: Path, world: RealTime
) -> None:
    """Buried in the store and not gone from the cluster yet, or gone by half: the next operator ends it, and knows the result. (A store
    that is lost after the object went takes the memory of it along.)"""
    person, cut = Person(cluster), Cut(call, before)
    async with charge(cluster, tmp_path / "one", world, "one", lease_seconds=4.0, crash=True, prepare=cut.prepare):
        await person.apply(LIEUTENANT)
        await person.apply(task("one", ttlSecondsAfterFinished=2))
        await until(lambda: cut.dead, "it is on its way out")
        await asyncio.sleep(1.0)  # what the cluster says of it is heard
    async with charge(cluster, tmp_path / ("two" if lost else "one"), world, "two", lease_seconds=4.0) as operator:
        await gone(person, "one")
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        await known_as_done(person, world, "one", ttlSecondsAfterFinished=2)
        assert len(world.prompts) == 1


@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-66")
async def test_what_may_not_be_deleted_keeps_its_result(
    cluster: Namespace, tmp_path: Path, world: RealTime, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the right the object stays, with its result in it, and the log says which right; another life does not do it again."""
    person = Person(cluster)
    rights = Rights(person)
    await rights.without("tasks", "delete")
    for life in ("one", "two"):
        async with charge(cluster, tmp_path, world, life) as operator:
            await person.apply(LIEUTENANT)
            await person.apply(task("one", ttlSecondsAfterFinished=1))
            await until(
                lambda operator=operator: operator.kube_controller.reconcile_errors["Forbidden"] >= 3, "it was tried again and again"
            )  # type: ignore[misc]
            assert 'cannot delete resource "tasks"' in caplog.text
            told = (await person.get("ltask", "one"))["status"]
            assert (told["phase"], told["result"]["answer"]) == ("Succeeded", "done")
    async with charge(cluster, tmp_path, world, "three"):
        await rights.whole()
        await gone(person, "one")
    assert len(world.prompts) == 1


@pytest.mark.slow
@pytest.mark.guarantee("G-20")
async def test_an_api_server_that_is_away_when_its_time_is_over(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world, lease_seconds=60.0) as operator:
        delete, refused = operator.kube_controller.sink._writes.delete, 0

        async def away(path: str, uid: str) -> None:
            nonlocal refused
            refused += 1
            if refused <= 3:
                raise Unreachable("connection refused", path, "trying again")
            await delete(path, uid)

        operator.kube_controller.sink._writes.delete = away  # type: ignore[method-assign]
        await person.apply(LIEUTENANT)
        await person.apply(task("one", ttlSecondsAfterFinished=1))
        await gone(person, "one")
        assert refused > 3
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert isinstance(operator.kube_controller.sink._cluster, Cluster)
        await known_as_done(person, world, "one", ttlSecondsAfterFinished=1)
