"""Fleets that must not share a state directory: what is shared by mistake is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.records import LieutenantRecord, SlotRecord
from reconciler.engine.ports import StoredObject
from tests.background import Platform
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import change

OTHER = "0c0c0c0c-0000-4000-8000-000000000000"
LT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec: {role: Keep the API, profileRef: {name: lightweight}}
"""
VM = "00000000-0000-4000-8000-0000000000aa"


@pytest.fixture
def folders(run: Run, stub: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders that declare a lieutenant of the same name. That of the first is in force, on a machine of another account."""
    for name, value in stub.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    first, second = (tmp_path / name / "specs" / "lt.yaml" for name in ("first", "second"))
    for file in (first, second):
        file.parent.mkdir(parents=True)
        file.write_text(LT)
    assert run("apply", "-f", str(first)).code == 0

    def in_force(obj: StoredObject) -> StoredObject:
        record = LieutenantRecord(slot=SlotRecord(vm_id=VM, account=OTHER, epoch=1))
        return replace(obj, source="file", origin=f"{first}:1", record=record.dump())

    change(tmp_path / "state", in_force)
    return first, second


@pytest.mark.parametrize("words", [("plan",), ("run", "--once", "--timeout", "60")])
def test_the_fleet_of_another_account_is_told_in_one_line(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folders[1].parents[1])
    shown = run(*words)
    assert shown.code == 1
    told = [line for line in shown.err.splitlines() if line.startswith("warning")]
    assert told == [
        f"warning: the fleet here has 1 machine of another account of the platform than the key is of ({tmp_path / 'state'}): put the "
        "right key back, or give the fleet of this key a state directory of its own (--state DIR)"
    ]
    assert "of two fleets each needs a state directory of its own (--state)" in shown.err + shown.out
    assert not run("plan", "--state", str(tmp_path / "own")).err, "there nothing is wrong"


@pytest.mark.parametrize("words", [("suspend", "lt", "api"), ("set", "lt", "api", "role=Rest")])
def test_what_another_folder_declares_is_not_changed_from_one_that_declares_it_too(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    first, second = folders
    monkeypatch.chdir(second.parents[1])
    refused = run(*words)
    assert refused.code == 4
    assert refused.err == (
        f"error: lieutenant/api is in force from another folder, and specs/lt.yaml:1 declares it too ({first}:1): "
        "give the fleet of this folder a state directory of its own (--state DIR), or change it there\n"
    )
    assert first.read_text() == second.read_text() == LT
    second.write_text(LT.replace("name: api", "name: another"))
    assert run(*words).code == 0, "it is declared there alone"
    assert first.read_text() != LT
    first.write_text(LT)
    second.write_text(LT)
    monkeypatch.chdir(first.parents[1])
    assert run(*words).code == 0
    assert first.read_text() != LT
