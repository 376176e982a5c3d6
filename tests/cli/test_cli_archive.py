"""`export` and `import`: a store goes to another machine or database whole, or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from reconciler.store.lock import acquire
from tests.cli.conftest import Run
from tests.program import Program

FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api, labels: {team: web}}
spec: {role: You keep the API, profileRef: {name: full}, env: [{name: KEY, valueFrom: {secretKeyRef: {name: model, key: key}}}]}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: one}
spec: {lieutenantRef: {name: api}, prompt: say hi}
"""
SECRET = "s3cret-of-nobody"


@pytest.fixture
def exported(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive of a store with two objects that use a secret."""
    monkeypatch.setenv("RECONCILER_SECRET_MODEL_KEY", SECRET)
    assert run("apply", "-f", "-", stdin=FLEET).code == 0
    file = tmp_path / "fleet.jsonl"
    done = run("export", str(file))
    assert done.code == 0, done
    assert "rows of" in done.err
    return file


@pytest.mark.guarantee("G-63")
def test_a_store_moves_to_another_state_directory_and_comes_out_the_same(run: Run, exported: Path, tmp_path: Path) -> None:
    there = ("--state", str(tmp_path / "there"))
    before = run("get", "all", "-o", "json").json
    assert run("import", str(exported), *there).code == 0
    assert run("get", "all", "-o", "json", *there).json == before
    again = tmp_path / "again.jsonl"
    assert run("export", str(again), *there).code == 0
    assert again.read_bytes() == exported.read_bytes()


@pytest.mark.guarantee("G-60")
def test_an_export_has_no_secret_and_is_for_its_owner_alone(exported: Path) -> None:
    assert SECRET not in exported.read_text()
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600


@pytest.mark.guarantee("G-63")
def test_a_store_that_is_not_empty_is_refused_with_what_to_do(run: Run, exported: Path) -> None:
    done = run("import", str(exported))
    assert done.code == 4
    assert "not empty" in done.err
    assert "import into a new store" in done.err


@pytest.mark.guarantee("G-63")
def test_a_store_that_a_controller_uses_is_refused_with_what_to_do(run: Run, exported: Path, tmp_path: Path) -> None:
    there = tmp_path / "busy"
    with acquire(there):
        done = run("import", str(exported), "--state", str(there))
    assert done.code == 4
    assert "stop it first" in done.err
    assert not (there / "state.db").exists()


def test_what_is_cut_is_refused_and_nothing_is_taken_from_it(run: Run, exported: Path, tmp_path: Path) -> None:
    exported.write_bytes(b"".join(exported.read_bytes().splitlines(keepends=True)[:-1]))
    there = ("--state", str(tmp_path / "there"))
    done = run("import", str(exported), *there)
    assert done.code == 1
    assert "cut or was altered" in done.err
    assert run("get", "all", *there).out == ""


def test_what_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    nothing = run("export", str(tmp_path / "x"), "--state", str(tmp_path / "nowhere"))
    assert nothing.code == 1
    assert not (tmp_path / "x").exists()
    assert run("import", str(tmp_path / "missing"), "--state", str(tmp_path / "there")).code == 1


@pytest.mark.guarantee("G-63")
def test_a_store_goes_through_a_pipe(tmp_path: Path) -> None:
    here, there = Program(tmp_path / "here", {}, warm=True), Program(tmp_path / "there", {}, warm=True)
    here("apply", "-f", "-", stdin=FLEET)
    there("import", "-", stdin=here("export"))
    assert there.json("get", "all") == here.json("get", "all")


@pytest.mark.real("PostgreSQL")
@pytest.mark.guarantee("G-63")
def test_a_store_moves_to_postgresql_and_back(run: Run, exported: Path, postgres_url: str, tmp_path: Path) -> None:
    before = run("get", "all", "-o", "json").json
    there = ("--state", str(tmp_path / "there"), "--store", postgres_url)
    assert run("import", str(exported), *there).code == 0
    assert run("get", "all", "-o", "json", *there).json == before
    assert run("import", str(exported), *there).code == 4
    back = tmp_path / "back.jsonl"
    assert run("export", str(back), *there).code == 0
    assert back.read_bytes() == exported.read_bytes()
