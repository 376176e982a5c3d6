"""Snapshots as people see them: which there are, asking for one, going back to one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.records import CommitRecord, LieutenantRecord, SlotRecord
from reconciler.engine.ports import PutMeta, StoredObject
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import change

LT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec: {role: Test, profileRef: {name: lightweight}}
"""
ONE, TWO, LEFT = (f"00000000-0000-4000-9000-00000000000{number}" for number in (1, 2, 3))
VM = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def state(run: Run, tmp_path: Path) -> Path:
    """A lieutenant of whose machine two snapshots are kept, the first of them in use, and one of a lieutenant that is gone."""
    assert run("apply", "-f", "-", stdin=LT).code == 0
    taken = CommitRecord(commit_id=ONE, name="default.default.api.t.s", vm_id=VM, taken_at=1_700_000_000.0, check="Restored")
    slot = SlotRecord(vm_id=VM, commits=(taken, taken.but(commit_id=TWO, check="", cause="Requested")), restored_from=ONE)

    def changed(obj: StoredObject) -> StoredObject:
        return replace(obj, record=LieutenantRecord(slot=slot).dump())

    gone = {"kind": "Lieutenant", "namespace": "default", "name": "web", "uid": "u", "shared": "", "takenAt": 1_700_000_100.0}
    change(tmp_path / "state", changed, PutMeta(f"commit/{LEFT}", json.dumps(gone)), PutMeta("commit/removed", ""))
    return tmp_path / "state"


@pytest.mark.usefixtures("state")
def test_get_commits_shows_ours_with_owner_verification_and_use(run: Run) -> None:
    head, *rows = run("get", "commits").out.splitlines()
    assert head.split() == ["NAME", "OWNER", "VERIFIED", "IN-USE", "CAUSE", "AGE"]
    cells = [row.split("   ") for row in rows]
    assert [[cell.strip() for cell in row if cell.strip()][:5] for row in cells] == [
        [ONE, "lieutenant/api", "Restored", "lieutenant/api", "Scheduled"],
        [TWO, "lieutenant/api", "Listed", "<none>", "Requested"],
        [LEFT, "lieutenant/web (gone)", "Listed", "<none>", "Deleted"],
    ]
    doc = run("get", "commit", TWO, "-o", "json").json
    assert doc["kind"] == "Commit"
    assert doc["status"]["vm"] == VM
    assert run("get", "commit", "nothing").code == 1


@pytest.mark.usefixtures("state")
def test_a_snapshot_is_asked_for_by_annotation(run: Run) -> None:
    assert run("snapshot", "lt", "api").code == 0
    assert run("get", "lt", "api", "-o", "json").json["metadata"]["annotations"]["fleet.vers.sh/snapshot"]
    assert run("snapshot", "lt", "nobody").code == 1
    assert run("snapshot", "bp", "full").code == 64


@pytest.mark.usefixtures("state")
@pytest.mark.guarantee("G-11")
def test_a_rollback_needs_a_snapshot_of_ours_and_a_confirmation(run: Run) -> None:
    foreign = run("rollback", "api", LEFT, "--confirm")
    assert (foreign.code, "is no snapshot that was taken of it" in foreign.err) == (4, True)
    unconfirmed = run("rollback", "api", ONE)
    assert (unconfirmed.code, "--confirm" in unconfirmed.err) == (4, True)
    annotations = run("get", "lt", "api", "-o", "json").json["metadata"]["annotations"]
    assert "fleet.vers.sh/rollback" not in annotations
    assert run("rollback", "api", ONE, "--confirm").code == 0
    asked = run("get", "lt", "api", "-o", "json").json["metadata"]["annotations"]["fleet.vers.sh/rollback"]
    assert asked.startswith(f"{ONE}:")
