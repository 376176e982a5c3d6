"""`init`: a folder that is valid as it stands, keeps what is there, and whose pull request job posts the plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.sources.files.scan import Scanner
from tests.background import Platform
from tests.cli.conftest import Run
from tests.cli.forge import Forge, Job, a_forge
from tests.sources.fleetdir import HEAD, marker, profile


def test_what_it_writes_is_valid_and_one_stack_of_its_own(run: Run, tmp_path: Path) -> None:
    assert run("init", "one").code == 0
    assert run("init", str(tmp_path / "two")).code == 0
    assert run("validate", "one").err == "1 valid\n"
    uuids = {Scanner().scan([tmp_path / name]).stacks[0].policy.uuid for name in ("one", "two")}
    assert len(uuids) == 2
    assert "00000000-0000-4000-8000-000000000000" not in uuids


def test_what_is_marked_as_a_proposal_is_valid_too(run: Run, tmp_path: Path) -> None:
    assert run("init").code == 0
    file = tmp_path / "specs" / "fleet.yaml"
    lines = file.read_text().splitlines()
    prose = tuple(f"# {word}" for word in ("One agent", "A piece of work"))
    proposed = [re.sub("^( *)# ", r"\1", line) for line in lines if not line.startswith(prose) and "An agent works" not in line]
    file.write_text("\n".join(line for line in proposed if "then take these marks away" not in line) + "\n")
    done = run("validate", "specs")
    assert (done.code, done.err) == (0, "2 valid\n"), done


def test_declarations_that_are_there_are_never_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "fleet.yaml").write_text("mine")
    done = run("init")
    assert done.code == 4
    assert "specs/fleet.yaml" in done.err
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and "home" not in str(path)) == ["fleet.yaml"]


def test_other_files_that_are_there_are_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    done = run("init")
    assert done.code == 0
    assert "kept: README.md" in done.err
    assert (tmp_path / "README.md").read_text() == "mine"
    assert run("validate", "specs").code == 0


def test_a_plan_of_it_makes_one_machine(run: Run, stub: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stub.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    run("init")
    done = run("plan", "-o", "json")
    assert done.code == 2
    assert done.json["summary"]["Create"] == 1
    assert done.json["pending"] == []


# --- the job for pull requests ------------------------------------------------------------------------------------------------------


@pytest.fixture
def forge() -> Iterator[Forge]:
    with a_forge() as server:
        yield server


LIEUTENANT = f"{HEAD}kind: Lieutenant\nmetadata: {{name: api}}\nspec: {{role: Build, profileRef: {{name: lightweight}}, mode: Suspended}}\n"


@pytest.fixture
def job(run: Run, forge: Forge, stub: Platform, tmp_path: Path) -> Job:
    run("init", "fleet")
    folder = tmp_path / "fleet"
    return Job(folder, (folder / ".github/workflows/fleet.yaml").read_text(), forge, stub.endpoints.environment())


@pytest.mark.slow
def test_the_plan_of_a_pull_request_is_one_comment_that_is_kept_up_to_date(job: Job, forge: Forge) -> None:
    assert job().returncode == 0
    (first,) = forge.comments[3:]
    assert "What merging this would do" in first["body"]
    assert "lieutenant/maker" in first["body"]
    file = job.folder / "specs" / "fleet.yaml"
    file.write_text(file.read_text().replace("name: maker", "name: other"))
    assert job().returncode == 0
    (second,) = forge.comments[3:]
    assert second["id"] == first["id"]
    assert "lieutenant/other" in second["body"]
    assert [one["body"] for one in forge.comments[:3]] == ["talk 0", "talk 1", "talk 2"]


@pytest.mark.slow
@pytest.mark.guarantee("G-41", "G-43")
def test_the_comment_shows_what_merging_would_delete_and_by_which_acts(job: Job, forge: Forge) -> None:
    specs = job.folder / "specs"
    (specs / ".reconciler.yaml").write_text(marker(maxDelete=1))
    (specs / "fleet.yaml").write_text(f"{LIEUTENANT}---\n{profile('kept')}")
    (specs / "more.yaml").write_text(f"{profile('one')}---\n{profile('two')}")
    assert job.reconciler("run", "specs", "--once", "--timeout", "60").returncode == 0
    assert job().returncode == 0
    (comment,) = forge.comments[3:]
    assert "Nothing would change" in comment["body"]
    (specs / "fleet.yaml").write_text(profile("kept"))
    assert job().returncode == 0
    assert "What merging this would do" in comment["body"]
    assert "-   lieutenant/api\n      what  Release\n" in comment["body"], "the act, and not only that something goes"
    assert "Plan: 1 to delete" in comment["body"]
    assert "not declared any more in stack specs: lieutenant/api" in comment["body"]
    (specs / "more.yaml").unlink()
    assert job().returncode == 0
    assert "PruneBlocked: 3 deletions wait of stack specs: `maxDelete` allows 1 at once" in comment["body"]
    assert "reconciler prune --approve" in comment["body"]


def test_what_is_not_valid_fails_the_job(job: Job, forge: Forge) -> None:
    file = job.folder / "specs" / "fleet.yaml"
    file.write_text(file.read_text().replace("profileRef", "profilRef"))
    done = job()
    assert done.returncode == 1
    assert "did you mean profileRef?" in done.stdout


def test_a_forge_that_refuses_fails_the_job_and_no_token_is_told(job: Job, forge: Forge) -> None:
    forge.refuse = True
    done = job()
    assert done.returncode == 1
    assert "403" in done.stderr
    assert "forge-token" not in done.stdout + done.stderr
