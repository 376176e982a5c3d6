"""What a person with kubectl does and sees, with an operator in charge: tables, descriptions, edits of a profile, verbs, mistakes."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kube.assets import ROOT
from tests.kube.controlplane import ControlPlane, Namespace, documents
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_crds_in_use import table
from tests.kube.test_operator import HEAD, LIEUTENANT, task
from tests.kube.test_operator_worse_days import lax

pytestmark = pytest.mark.real("kube")

INVALID = ROOT / "tests" / "manifests" / "invalid"
PROFILE = HEAD + "kind: BootProfile\nmetadata: {name: mine}\nspec: {extends: {name: lightweight}, steps: [{name: tools, run: one}]}\n"
OURS = LIEUTENANT.replace("lightweight", "mine")


@pytest.fixture
async def world() -> AsyncIterator[RealTime]:
    made = RealTime()
    yield made
    assert made.violations == []


# --- seen ---------------------------------------------------------------------------------------------------------------------------


async def test_a_fleet_at_work_in_tables_and_descriptions(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """80 columns whatever goes on; wide shows machine and profile; what happened stands under the object."""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world):
        await person.apply(PROFILE)
        await person.apply(OURS)
        await person.apply(LIEUTENANT.replace("{name: ada}", "{name: bob}").replace("spec: {", "spec: {mode: Suspended, "))
        await person.apply(LIEUTENANT.replace("{name: ada}", "{name: eve}").replace("lightweight", "not-there"))
        await person.apply(task("one"))
        await person.apply(task("bad", acceptance=[{"file": {"path": "never.txt"}}]))
        await person.apply(task("waits", to="bob"))
        await person.kubectl("wait", "ltask/one", "lt/bob", "bp/mine", "--for=condition=Ready", "--timeout=60s")
        await person.sees("ltask", "bad", "Stalled", "AcceptanceFailed")
        await person.wait("lt/ada", "Ready")
        await person.sees("lt", "eve", "Ready", "ProfileNotFound")
        await person.sees("ltask", "waits", "Ready", "LieutenantSuspended")

        text = await person.kubectl("get", "fleet")
        assert max(map(len, text.splitlines())) <= 80, text
        rows = {row["NAME"]: (row["READY"], row["REASON"], row.get("PHASE", "")) for row in table(text)}
        assert rows["lieutenant.fleet.vers.sh/ada"] == ("True", "Running", "Idle"), text
        assert rows["lieutenant.fleet.vers.sh/bob"][0] == "True", "asleep as declared"
        assert rows["lieutenant.fleet.vers.sh/eve"][:2] == ("False", "ProfileNotFound")
        assert rows["task.fleet.vers.sh/one"] == ("True", "Completed", "Succeeded")
        assert rows["task.fleet.vers.sh/bad"] == ("False", "AcceptanceFailed", "Failed")
        assert rows["task.fleet.vers.sh/waits"] == ("False", "LieutenantSuspended", "Pending")
        wide = {row["NAME"]: row for row in table(await person.kubectl("get", "lt", "-o", "wide"))}
        vm_id = (await person.get("lt", "ada"))["status"]["vm"]["id"]
        assert (wide["ada"]["VM"], wide["ada"]["PROFILE"]) == (vm_id, "mine"), "ids are whole"
        assert (wide["bob"]["VM"], wide["bob"]["MODE"]) == ("", "Suspended")

        for what, news in (("lt/ada", "CreatedVM"), ("ltask/one", "Delivering"), ("ltask/bad", "AcceptanceFailed")):
            told = await person.kubectl("describe", what)
            assert news in told.partition("\nEvents:")[2], told
        assert vm_id in (await person.kubectl("describe", "lt/ada")).partition("\nEvents:")[2]
        mine = await person.kubectl("events", "--for", "lieutenant/ada")
        assert "CreatedVM" in mine

        await person.kubectl("delete", "fleet", "--all", "--timeout=60s")
        assert world.alive() == []


@pytest.mark.guarantee("G-66")
async def test_the_same_news_again_is_counted(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """One Event with a count, and no new one for each time."""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        item = next(iter(operator.engine.table.of_kind("Lieutenant")))
        for number in range(5):
            operator.engine.recorder.event(item.key, item.uid, "Idle", f"the same again: {number}")
        await until(lambda: not operator.kube_controller.events._waiting, "all is told")
        await asyncio.sleep(1.0)
        found = [one for one in await person.list("events.events.k8s.io") if one.get("note") == "the same again: 0"]
        assert len(found) == 1
        assert found[0]["series"]["count"] == 5


# --- a profile changes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-44")
async def test_an_edited_profile_is_acted_on_as_the_lieutenant_says(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """By default its machine stays and says that it is outdated; with Recreate it is replaced, when settled, under its conversation."""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(PROFILE)
        await person.apply(OURS)
        await person.apply(task("one"))
        await person.wait("ltask/one", "Ready")
        (old,) = world.alive()
        await person.apply(PROFILE.replace("run: one", "run: two"))
        told = await person.sees("lt", "ada", "UpToDate", "ProfileChanged")
        assert "update.onProfileChange" in told["message"]
        assert (await person.get("lt", "ada"))["status"]["boot"]["outdated"] is True
        await person.wait("lt/ada", "Available")
        assert [machine.vm_id for machine in world.alive()] == [old.vm_id]

        world.work_seconds = 4.0
        await person.apply(task("two"))
        await person.kubectl("wait", "ltask/two", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
        await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"spec":{"update":{"onProfileChange":"Recreate"}}}')
        await asyncio.sleep(1.0)
        assert old in world.alive(), "never in a turn: another one is made beside it"
        await person.wait("ltask/two", "Ready")
        await person.sees("lt", "ada", "UpToDate", "ProfileApplied")
        await person.wait("lt/ada", "Ready")
        (new,) = world.alive()
        assert new.vm_id != old.vm_id
        assert new.session.startswith(old.session)
        world.work_seconds = 0.4
        await person.apply(task("three"))
        await person.wait("ltask/three", "Ready")
        assert len(world.prompts) == 3
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")

        await person.kubectl("delete", "bp/mine", "--timeout=30s")
        await person.sees("lt", "ada", "Ready", "ProfileNotFound")
        assert [machine.vm_id for machine in world.alive()] == [new.vm_id], "a profile that is gone takes nothing with it"
        await person.apply(PROFILE.replace("run: one", "run: two"))
        await person.wait("lt/ada", "Ready")
        assert world.created == 2


# --- verbs ------------------------------------------------------------------------------------------------------------------------------


async def test_a_verb_is_acted_on_once_and_echoed(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world, "one", crash=True, lease_seconds=4.0) as operator:
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        await person.kubectl("annotate", "lt/ada", "fleet.vers.sh/retry=first")
        await person.kubectl("wait", "lt/ada", "--for=jsonpath={.status.handled.retry}=first", "--timeout=60s")
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        writes = operator.kube_controller.sink.writes
        await operator.kube_controller.sweep()
        await asyncio.sleep(2.0)
        assert operator.kube_controller.sink.writes == writes
        assert (await person.get("lt", "ada"))["metadata"]["annotations"]["fleet.vers.sh/retry"] == "first", "the annotation is theirs"
    async with charge(cluster, tmp_path, world, "two", lease_seconds=4.0) as operator:
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert operator.kube_controller.sink.writes == 0, "another life does not do it again"
        await person.kubectl("annotate", "--overwrite", "lt/ada", "fleet.vers.sh/retry=second")
        await person.kubectl("wait", "lt/ada", "--for=jsonpath={.status.handled.retry}=second", "--timeout=60s")


# --- mistakes -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-42")
@pytest.mark.parametrize("name", ["bad-schedule.yaml", "tree-cycle.yaml"])
async def test_what_only_the_operator_can_judge_it_names_in_the_object(
    name: str, cluster: Namespace, tmp_path: Path, world: RealTime
) -> None:
    """The schema lets it pass; the object is Stalled with the field and the word that a file would be refused with. Others go on."""
    person = Person(cluster)
    (document,) = documents(INVALID / name)
    _, _, field, word = (INVALID / name).read_text("utf-8").split("\n", 1)[0].removeprefix("# ").split(" ", 3)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(json.dumps(document))
        told = await person.sees(document["kind"], document["metadata"]["name"], "Stalled", "InvalidSpec")
        assert field in told["message"]
        assert word in told["message"]
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Ready")
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert world.created == 1
        await person.kubectl("delete", "fleet", "--all", "--timeout=60s")
        assert world.alive() == []


@pytest.mark.guarantee("G-05")
async def test_deleted_with_force_nothing_is_left(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """`--force --grace-period=0` skips no finalizer of ours: machines and work are ended all the same, and then it is gone."""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        world.work_seconds = 30.0
        await person.apply(task("one"))
        await person.kubectl("wait", "ltask/one", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
        await person.kubectl("delete", "lt/ada", "ltask/one", "--force", "--grace-period=0", "--timeout=60s")
        await until(lambda: world.alive() == [], "its machine is gone")
        await until(lambda: not operator.engine.table.all_keys(), "the store has forgotten them")


@pytest.mark.guarantee("G-05")
async def test_a_finalizer_taken_away_from_a_living_object_comes_back(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """By hand, by a tool that replaces metadata: it is held again, so that a delete still waits for its machine. Others' stay."""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.apply(task("one"))
        await person.wait("ltask/one", "Ready")
        (machine,) = world.alive()
        for what, kept in (("lt/ada", "fleet.vers.sh/vm"), ("ltask/one", "fleet.vers.sh/task")):
            await person.kubectl("patch", what, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/theirs"]}}')
            kind, _, name = what.partition("/")
            for _ in range(100):
                held = (await person.get(kind, name))["metadata"]["finalizers"]
                if kept in held:
                    break
                await asyncio.sleep(0.1)
            assert held == ["example.com/theirs", kept]
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert world.alive() == [machine]
        await person.kubectl("delete", "lt/ada", "ltask/one", "--wait=false")
        await until(lambda: world.alive() == [], "its machine is gone")
        for what in ("lt/ada", "ltask/one"):
            await person.kubectl("patch", what, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
            await person.kubectl("wait", what, "--for=delete", "--timeout=30s")
        await until(lambda: not operator.engine.table.all_keys(), "the store has forgotten them")


@pytest.mark.guarantee("G-42")
@pytest.mark.guarantee("G-05")
async def test_an_object_that_no_longer_validates_keeps_its_machine_and_can_be_deleted(
    private_plane_with_kinds: ControlPlane, tmp_path: Path, world: RealTime
) -> None:
    """It was in force; an older CRD let a change through; then the CRD was upgraded under it. Its last good version stays in force, its
    status can be written, and its delete ends as any other."""
    plane = private_plane_with_kinds
    kinds = [document for file in sorted((ROOT / "crds").glob("*.yaml")) for document in documents(file)]
    await asyncio.to_thread(plane.apply, *[lax(copy.deepcopy(kind)) for kind in kinds])
    person = Person(plane.namespace())
    async with charge(person.cluster, tmp_path, world):
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        (machine,) = world.alive()
        await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"spec":{"limits":{"maxTurns":"many"},"mode":"Suspended"}}')
        told = await person.sees("lt", "ada", "Stalled", "InvalidSpec")
        assert "spec.limits.maxTurns" in told["message"]
        await asyncio.to_thread(plane.install_crds)
        await person.kubectl("annotate", "lt/ada", "example.com/touched=1")
        await person.apply(task("one"))
        await person.wait("ltask/one", "Ready")
        assert world.alive() == [machine], "nothing of the bad version was carried out"
        status = (await person.get("lt", "ada"))["status"]
        assert status["vm"]["id"] == machine.vm_id
        await person.kubectl("delete", "lt/ada", "--timeout=60s")
        assert world.alive() == []


@pytest.mark.guarantee("G-05")
async def test_an_object_that_no_longer_validates_and_a_lost_store(
    private_plane_with_kinds: ControlPlane, tmp_path: Path, world: RealTime
) -> None:
    """Its status is all that is known of its machine: it stays there, and holds the object, until somebody corrects the declaration."""
    plane = private_plane_with_kinds
    kinds = [document for file in sorted((ROOT / "crds").glob("*.yaml")) for document in documents(file)]
    await asyncio.to_thread(plane.apply, *[lax(kind) for kind in kinds])
    person = Person(plane.namespace())
    async with charge(person.cluster, tmp_path / "one", world, "one", lease_seconds=4.0):
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        (machine,) = world.alive()
    await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"spec":{"limits":{"maxTurns":"many"}}}')
    async with charge(person.cluster, tmp_path / "two", world, "two", lease_seconds=4.0):
        await person.sees("lt", "ada", "Stalled", "InvalidSpec")
        assert (await person.get("lt", "ada"))["status"]["vm"]["id"] == machine.vm_id
        await person.kubectl("delete", "lt/ada", "--wait=false")
        await asyncio.sleep(3.0)
        assert (await person.get("lt", "ada"))["metadata"]["finalizers"] == ["fleet.vers.sh/vm"]
        assert world.alive() == [machine]
        await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"spec":{"limits":null}}')
        await person.kubectl("wait", "lt/ada", "--for=delete", "--timeout=60s")
        assert world.alive() == []
