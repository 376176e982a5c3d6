"""Machines that exist already, that stay, and that nobody owns: adopt, forget, delete by policy, orphans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.core.keys import Key
from reconciler.engine.ports import RootSource, VmShape
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from tests.background import Platform, eventually
from tests.program import Program

LIEUTENANT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: %s, annotations: {%s}}
spec:
  role: Test
  profileRef: {name: lightweight}
  deletionPolicy: %s
"""
FAST = {"RECONCILER_SETTLE_SECONDS": "1", "RECONCILER_RESYNC_SECONDS": "0.2"}
NOWHERE = "00000000-0000-4000-8000-0000000000ee"


@pytest.fixture
def program(tmp_path: Path, stub: Platform) -> Program:
    (tmp_path / "specs").mkdir()
    return Program(tmp_path, {**FAST, **stub.endpoints.environment()})


def client(stub: Platform) -> VersClient:
    return VersClient(Settings(stub.endpoints.environment()))


def made(stub: Platform, labels: dict[str, str] | None = None) -> str:
    """A VM that somebody made by hand. Labels that name no VM id are completed with its own."""

    async def make() -> str:
        vers = client(stub)
        try:
            vm_id = await vers.create_vm(RootSource(), VmShape(), {}, "by-hand")
            if labels is not None:
                await vers.set_labels(vm_id, {**labels, "fleet.vers.sh/vm-id": vm_id})
            return vm_id
        finally:
            await vers.aclose()

    return stub.run(make())


def labels_of(program: Program, vm_id: str) -> dict[str, str]:
    told = program.json("get", "vm", vm_id)["metadata"]["labels"]
    return {name: value for name, value in told.items() if value}


def owner_of(program: Program, vm_id: str) -> Any:
    return program.json("get", "vm", vm_id)["status"]["owner"]


def orphans(program: Program) -> dict[str, str]:
    return {row["metadata"]["name"]: row["status"]["standing"] for row in program.json("orphans")["items"]}


@pytest.mark.guarantee("G-07")
def test_a_machine_is_adopted_and_forgotten(stub: Platform, program: Program) -> None:
    vm_id = made(stub)
    assert orphans(program)[vm_id] == "Unclaimed"
    with program.controller("specs"):
        assert "takes over" in program("adopt", vm_id, "--as", "old")
        eventually(lambda: labels_of(program, vm_id).get("fleet.vers.sh/name") == "old", "it is claimed")
        assert owner_of(program, vm_id) == "lieutenant/old"
        assert vm_id not in orphans(program)
        assert "belongs to lieutenant/old" in program.full("adopt", vm_id, "--as", "other").stderr
        assert program.full("adopt", vm_id, "--as", "other").returncode == 4
        program("forget", "lt", "old")
        program("wait", "lt/old", "--for", "delete", "--timeout", "60")
        assert set(labels_of(program, vm_id)) <= {"fleet.vers.sh/epoch"}
        assert stub.present() == [vm_id]
        assert orphans(program)[vm_id] == "Unclaimed"
    assert stub.calls.get("delete_vm", 0) == 0


@pytest.mark.guarantee("G-07")
def test_what_is_not_there_is_not_made(stub: Platform, program: Program) -> None:
    assert program.full("adopt", "short", "--as", "x").returncode == 64
    with program.controller("specs"):
        program("adopt", NOWHERE, "--as", "x", "--profile", "swarm")
        program("wait", "lt/x", "--for", "Stalled", "--timeout", "60")
        assert "AdoptNotFound" in program("describe", "lt", "x")
        assert stub.present() == []


@pytest.mark.guarantee("G-05")
def test_a_retained_machine_is_told_apart_and_a_snapshot_is_there_before_the_machine_goes(stub: Platform, program: Program) -> None:
    with program.controller("specs"):
        program("apply", "-f", "-", stdin=LIEUTENANT % ("kept", "", "Retain"))
        program("apply", "-f", "-", stdin=LIEUTENANT % ("shot", "", "Snapshot"))
        eventually(lambda: len(stub.present()) == 2, "both have a machine")
        owners = {owner_of(program, vm_id): vm_id for vm_id in stub.present()}
        eventually(lambda: labels_of(program, owners["lieutenant/shot"]).get("fleet.vers.sh/vm-id"), "it is claimed")
        program("delete", "lt", "kept", "--wait", "--timeout", "60")
        program("delete", "lt", "shot", "--wait", "--timeout", "60")
        assert stub.present() == [owners["lieutenant/kept"]]
        assert orphans(program) == {owners["lieutenant/kept"]: "Retained"} | _foreign(program, stub)
        assert program.full("orphans", "--delete", "--confirm").returncode == 0
        commits = [c for c in stub.simulator.world.commits.values() if c.name.startswith("default.default.shot.")]
        assert [c.parent_vm for c in commits] == [owners["lieutenant/shot"]]
        assert commits[0].id in program("events", "--for", "lt/shot")
    assert stub.present() == [owners["lieutenant/kept"]]


def _foreign(program: Program, stub: Platform) -> dict[str, str]:
    """Other people's machines, which the platform's list shows as well."""
    return {vm_id: "Unclaimed" for vm_id in orphans(program) if vm_id not in stub.present()}


@pytest.mark.guarantee("G-05")
def test_a_protected_object_goes_when_that_is_confirmed(stub: Platform, program: Program) -> None:
    with program.controller("specs"):
        program("apply", "-f", "-", stdin=LIEUTENANT % ("safe", "fleet.vers.sh/deletion-protection: enabled", "Delete"))
        eventually(lambda: len(stub.present()) == 1, "it has a machine")
        assert program.full("delete", "lt", "safe").returncode == 4
        assert "--confirm" in program.full("delete", "lt", "safe").stderr
        assert program.full("forget", "lt", "safe").returncode == 4
        program("delete", "lt", "safe", "--confirm", "--wait", "--timeout", "60")
    assert stub.present() == []


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize("running", [True, False], ids=["controller", "no controller"])
def test_only_orphans_are_deleted_and_only_when_that_is_confirmed(running: bool, stub: Platform, program: Program) -> None:
    with program.controller("specs"):
        program("apply", "-f", "-", stdin=LIEUTENANT % ("api", "", "Delete"))
        (owned,) = eventually(stub.present, "it has a machine")
        claim = eventually(lambda: labels_of(program, owned) if "fleet.vers.sh/vm-id" in labels_of(program, owned) else None, "claimed")
        lost = made(stub, {**claim, "fleet.vers.sh/uid": "of-one-that-is-gone"})
        theirs = made(stub, {**claim, "fleet.vers.sh/installation": "another"})
        nobodys = made(stub)
        eventually(lambda: orphans(program).get(lost) == "Orphan", "it is told")
        assert orphans(program)[nobodys] == "Unclaimed"
        assert theirs not in orphans(program)
        assert owned not in orphans(program)
        refused = program.full("orphans", "--delete")
        assert refused.returncode == 4
        assert lost in refused.stderr
        if running:
            program("orphans", "--delete", "--confirm")
            eventually(lambda: lost not in stub.present(), "the orphan is deleted")
    if not running:
        program("orphans", "--delete", "--confirm")
        assert lost in stub.present()
        with program.controller("specs"):
            eventually(lambda: lost not in stub.present(), "the next controller does it")
    assert set(stub.present()) == {owned, theirs, nobodys}
    assert Key("Lieutenant", "default", "api").name in program("get", "lt", "-o", "name")
