"""Machines that exist already, that stay, and that nobody owns: adopt, forget, delete by policy, orphans.

The controller is a process of its own; commands run in this one, and what the platform has is read from its own books."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.core.snapshot.machine import RootSource, VmShape
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from tests.background import Platform, eventually
from tests.cli.conftest import Run
from tests.program import Controller, Program

LIEUTENANT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: %s, annotations: {%s}}
spec:
  role: Test
  profileRef: {name: lightweight}
  deletionPolicy: %s
"""
FAST = {"RECONCILER_SETTLE_SECONDS": "1", "RECONCILER_RESYNC_SECONDS": "0.2"}
PROTECTED = "fleet.vers.sh/deletion-protection: enabled"
NOWHERE = "00000000-0000-4000-8000-0000000000ee"


def make_vm(stub: Platform, token: str, labels: Mapping[str, str] | None = None) -> str:
    """A VM made by hand, with these labels and its own id as the one that they name."""

    async def make() -> str:
        vers = VersClient(Settings(stub.endpoints.environment()))
        try:
            vm_id = await vers.create_vm(RootSource(), VmShape(), {}, token)
            if labels is not None:
                await vers.set_labels(vm_id, {**labels, "fleet.vers.sh/vm-id": vm_id})
            return vm_id
        finally:
            await vers.aclose()

    return stub.run(make())


class Scene:
    """A platform, a state directory, and a controller on it when one is wanted."""

    def __init__(self, folder: Path, run: Run, stub: Platform) -> None:
        (folder / "specs").mkdir()
        self.run, self.stub = run, stub
        self._program = Program(folder, {**FAST, **stub.endpoints.environment()}, warm=True)
        self._made = 0

    def controller(self) -> Controller:
        return self._program.controller("specs")

    def __call__(self, *words: str, code: int = 0, stdin: str | None = None) -> str:
        """Run a command to its end; what it said on both streams."""
        done = self.run(*words, stdin=stdin)
        assert done.code == code, f"{words}: exit {done.code}\n{done.out}\n{done.err}"
        return done.out + done.err

    def labels(self, vm_id: str) -> dict[str, str]:
        """Labels that say something, by the platform's own books."""
        return {name: value for name, value in dict(self.stub.simulator.world.present[vm_id].labels).items() if value}

    def claimed(self, name: str) -> str:
        """Wait until the machine of this lieutenant carries its claim; its id."""

        def found() -> str | None:
            return next((vm_id for vm_id in self.stub.present() if self.labels(vm_id).get("fleet.vers.sh/vm-id") == vm_id
                         and self.labels(vm_id).get("fleet.vers.sh/name") == name), None)  # fmt: skip

        return eventually(found, f"the machine of {name} is claimed")

    def make(self, labels: Mapping[str, str] | None = None) -> str:
        """A VM made by hand, with these labels and its own id as the one that they name."""
        self._made += 1
        return make_vm(self.stub, f"by-hand-{self._made}", labels)

    def orphans(self) -> dict[str, str]:
        """VM id → what `orphans` says that it is; machines of other accounts left out."""
        done = self.run("orphans", "-o", "json")
        assert done.code == 0, done.err
        told = {row["metadata"]["name"]: row["status"]["standing"] for row in done.json["items"]}
        return {vm_id: standing for vm_id, standing in told.items() if vm_id in self.stub.ever()}


@pytest.fixture
def scene(tmp_path: Path, run: Run, stub: Platform, monkeypatch: pytest.MonkeyPatch) -> Scene:
    for name, value in {**FAST, **stub.endpoints.environment()}.items():
        monkeypatch.setenv(name, value)
    return Scene(tmp_path, run, stub)


@pytest.mark.guarantee("G-07")
def test_a_machine_is_adopted_and_forgotten(scene: Scene) -> None:
    vm_id = scene.make()
    assert scene.orphans() == {vm_id: "Unclaimed"}
    with scene.controller():
        assert vm_id in scene("adopt", vm_id, "--as", "old")
        assert scene.claimed("old") == vm_id
        assert scene.orphans() == {}
        assert "belongs to lieutenant/old" in scene("adopt", vm_id, "--as", "other", code=4)
        scene("forget", "lt", "old")
        scene("wait", "lt/old", "--for", "delete", "--timeout", "60")
        assert set(scene.labels(vm_id)) <= {"fleet.vers.sh/epoch", "fleet.vers.sh/released-by"}
        assert scene.orphans() == {vm_id: "Unclaimed"}
    assert scene.stub.present() == [vm_id]
    assert scene.stub.calls.get("delete_vm", 0) == 0


@pytest.mark.guarantee("G-07")
def test_a_machine_of_another_installation_is_taken_only_by_an_answer(scene: Scene) -> None:
    claim = {"fleet.vers.sh/fleet": "default", "fleet.vers.sh/installation": "another", "fleet.vers.sh/epoch": "7"}
    vm_id = scene.make(claim)
    with scene.controller():
        scene("adopt", vm_id, "--as", "ours")
        scene("wait", "lt/ours", "--for", "Stalled", "--timeout", "60")
        assert "ClaimConflict" in scene("describe", "lt", "ours")
        assert scene.labels(vm_id)["fleet.vers.sh/installation"] == "another"
        scene("resolve", "lt", "ours", code=64)
        scene("resolve", "lt", "ours", "--none", code=4)
        scene("resolve", "lt", "ours", "--session", "vm", code=4)
        scene("resolve", "lt", "ours", "--vm", "short", code=64)
        scene("resolve", "lt", "ours", "--vm", vm_id)
        assert scene.claimed("ours") == vm_id
        assert int(scene.labels(vm_id)["fleet.vers.sh/epoch"]) > 7


@pytest.mark.guarantee("G-07")
def test_what_is_not_there_is_not_made(scene: Scene) -> None:
    scene("adopt", "short", "--as", "x", code=64)
    with scene.controller():
        scene("adopt", NOWHERE, "--as", "x", "--profile", "swarm")
        scene("wait", "lt/x", "--for", "Stalled", "--timeout", "60")
        assert "AdoptNotFound" in scene("describe", "lt", "x")
    assert scene.stub.ever() == []


@pytest.mark.guarantee("G-05")
def test_a_retained_machine_is_told_apart(scene: Scene) -> None:
    with scene.controller():
        scene("apply", "-f", "-", stdin=LIEUTENANT % ("kept", "", "Retain"))
        vm_id = scene.claimed("kept")
        scene("delete", "lt", "kept", "--wait", "--timeout", "60")
        assert scene.labels(vm_id)["fleet.vers.sh/retained"] == "default/kept"
        assert scene.orphans() == {vm_id: "Retained"}
        assert "nothing to delete" in scene("orphans", "--delete", "--confirm")
    assert scene.stub.present() == [vm_id]


@pytest.mark.guarantee("G-05")
def test_a_snapshot_is_there_before_the_machine_goes(scene: Scene) -> None:
    with scene.controller():
        scene("apply", "-f", "-", stdin=LIEUTENANT % ("shot", "", "Snapshot"))
        vm_id = scene.claimed("shot")
        scene("delete", "lt", "shot", "--wait", "--timeout", "60")
        (commit,) = [c for c in scene.stub.simulator.world.commits.values() if c.name.startswith("default.default.shot.")]
        assert commit.parent_vm == vm_id
        assert commit.id in scene("events", "--for", "lt/shot")
    assert scene.stub.present() == []


@pytest.mark.guarantee("G-05")
def test_a_protected_object_goes_when_that_is_confirmed(scene: Scene) -> None:
    with scene.controller():
        scene("apply", "-f", "-", stdin=LIEUTENANT % ("safe", PROTECTED, "Delete"))
        scene.claimed("safe")
        assert "--confirm" in scene("delete", "lt", "safe", code=4)
        scene("forget", "lt", "safe", code=4)
        assert len(scene.stub.present()) == 1
        scene("delete", "lt", "safe", "--confirm", "--wait", "--timeout", "60")
    assert scene.stub.present() == []


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize("running", [True, False], ids=["controller", "no controller"])
def test_only_orphans_are_deleted_and_only_when_that_is_confirmed(running: bool, scene: Scene) -> None:
    with scene.controller():
        scene("apply", "-f", "-", stdin=LIEUTENANT % ("api", "", "Delete"))
        owned = scene.claimed("api")
        claim = scene.labels(owned)
        lost = scene.make({**claim, "fleet.vers.sh/uid": "of-one-that-is-gone"})
        theirs = scene.make({**claim, "fleet.vers.sh/installation": "another"})
        nobodys = scene.make()
        eventually(lambda: scene.orphans().get(lost) == "Orphan", "it is told", pause=0.3)
        assert scene.orphans() == {lost: "Orphan", theirs: "Foreign", nobodys: "Unclaimed"}
        assert "lieutenant/default/api of fleet default, installation another" in scene("get", "vm", theirs)
        assert "<none>" in scene("get", "vm", lost)
        assert scene("get", "vm", "-l", "fleet.vers.sh/installation=another", "-o", "name") == f"vm/{theirs}\n"
        assert nobodys in scene("get", "vm", "-l", "!fleet.vers.sh/uid", "-o", "name")
        assert lost in scene("orphans", "--delete", code=4)
        if running:
            scene("orphans", "--delete", "--confirm")
            eventually(lambda: lost not in scene.stub.present(), "the orphan is deleted")
    if not running:
        scene("orphans", "--delete", "--confirm")
        assert lost in scene.stub.present()
        with scene.controller():
            eventually(lambda: lost not in scene.stub.present(), "the next controller does it")
    assert set(scene.stub.present()) == {owned, theirs, nobodys}
