"""What a plan says of what is not declared any more, and how a person approves it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.core import prune
from reconciler.sources.files import sync
from reconciler.views import forecast
from tests.background import Platform
from tests.cli.conftest import Run
from tests.program import Program
from tests.sources.fleetdir import marker, profile, tree
from tests.sources.gitserver import Origin, daemon, needs_git


@pytest.fixture
def fleet(tmp_path: Path, stub: Platform, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in stub.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    for module in (prune, forecast, sync):  # a second on a clock for each deletion that is waited for here; the real ten are shown by the
        monkeypatch.setattr(module, "APART", 1.0)  # controller that is a process of its own, and by the tables of what is pruned
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / ".reconciler.yaml").write_text(marker(maxDelete=1))
    for name in ("a", "b", "c"):
        (folder / f"{name}.yaml").write_text(profile(name))
    return folder


@pytest.mark.guarantee("G-41", "G-43")
def test_a_plan_says_what_would_be_deleted_and_what_is_blocked(run: Run, fleet: Path) -> None:
    assert run("run", "fleet", "--once").code == 0
    assert run("plan", "fleet").code == 0
    (fleet / "a.yaml").unlink()
    plain = run("plan", "fleet")
    assert plain.code == 2
    assert "nothing to do" not in plain.out
    assert "not declared any more in stack fleet: bootprofile/a; deleted when that is so for 1 s (`--prune` shows the acts)" in plain.out
    told = run("plan", "fleet", "--prune", "-o", "json")
    assert told.code == 2
    assert told.json["prune"] == [
        {"stack": "fleet", "deleted": [{"kind": "BootProfile", "name": "a", "namespace": "default", "protected": False}]}
    ]
    (fleet / "b.yaml").unlink()
    blocked = run("plan", "fleet", "--prune")
    assert blocked.code == 2
    assert "PruneBlocked: 2 deletions wait of stack fleet: `maxDelete` allows 1 at once: bootprofile/a, bootprofile/b" in blocked.out
    assert run("get", "bp", "-o", "name").out.split() == ["bootprofile/a", "bootprofile/b", "bootprofile/c"], "a plan deletes nothing"


@pytest.mark.guarantee("G-43")
def test_an_approval_without_a_controller_waits_for_the_next_one(run: Run, fleet: Path) -> None:
    assert run("run", "fleet", "--once").code == 0
    for name in ("a", "b"):
        (fleet / f"{name}.yaml").unlink()
    assert run("prune").err == "nothing waits for an approval\n"
    listed = run("prune", "fleet").out
    found = re.search(r"^([0-9a-f]{16}) ", listed, re.MULTILINE)
    assert found, listed
    assert run("prune", "fleet", "--approve", "0" * 16).code == 4
    assert run("prune", "--approve", found[1]).code == 4, "no controller has found that yet, and no path is named"
    approved = run("prune", "fleet", "--approve", found[1])
    assert approved.code == 0
    assert approved.out == "approved: bootprofile/a, bootprofile/b; the next controller deletes them\n"
    ended = run("run", "fleet", "--once", "--timeout", "60")
    assert ended.code == 0, ended
    assert run("get", "bp", "-o", "name").out.split() == ["bootprofile/c"]


def test_a_controller_says_what_is_blocked_ends_with_1_and_tells_commands(run: Run, fleet: Path) -> None:
    assert run("run", "fleet", "--once").code == 0
    for name in ("a", "b"):
        (fleet / f"{name}.yaml").unlink()
    ended = run("run", "fleet", "--once", "--timeout", "60")
    assert ended.code == 1, ended
    assert "PruneBlocked" in ended.out
    found = re.search(r"reconciler prune --approve ([0-9a-f]{16})", ended.err)
    assert found, ended.err
    assert found[1] in run("prune").out
    assert run("prune", "--approve", found[1]).code == 0
    assert run("run", "fleet", "--once", "--timeout", "60").code == 0
    assert run("prune").err == "nothing waits for an approval\n"


def test_a_dry_run_prints_the_plan_and_ends(run: Run, fleet: Path) -> None:
    (fleet / "t.yaml").write_text(tree("lead"))
    first = run("run", "fleet", "--dry-run")
    assert first.code == 0
    assert "vmtree/prod" in first.out
    (fleet / "t.yaml").unlink()
    assert run("run", "fleet", "--once").code == 0
    assert run("run", "fleet", "--dry-run").code == 0
    (fleet / "a.yaml").unlink()
    assert "bootprofile/a" in run("run", "fleet", "--dry-run").out


@pytest.mark.guarantee("G-43")
def test_a_running_controller_acts_on_an_approval(tmp_path: Path, stub: Platform, fleet: Path) -> None:
    program = Program(tmp_path / "home", dict(stub.endpoints.environment()), warm=True)
    with program.controller(str(fleet)) as controller:
        program.comes("bp/a", "bp/b", "bp/c", "--for", "Ready")
        (fleet / "a.yaml").unlink()
        (fleet / "b.yaml").unlink()
        controller.says("PruneBlocked")
        found = re.search(r"reconciler prune --approve ([0-9a-f]{16})", controller.said)
        assert found
        assert "; the controller deletes them" in program("prune", "--approve", found[1])
        program("wait", "bp/a", "bp/b", "--for", "delete")
        assert program("get", "bp", "-o", "name").split() == ["bootprofile/c"]
        assert controller.stop() == 0


@needs_git
@pytest.mark.guarantee("G-40", "G-43")
def test_what_a_repository_does_not_declare_any_more_is_approved_as_of_files(run: Run, fleet: Path, tmp_path: Path) -> None:
    """The hash that a look at the repository shows is the one that the controller acts on."""
    origin = Origin(tmp_path)
    origin.commit({".reconciler.yaml": marker(maxDelete=1), **{f"{name}.yaml": profile(name) for name in "abc"}})
    with daemon(origin.served) as url:
        address = f"git+{url}/fleet.git"
        assert run("run", address, "--once", "--timeout", "60").code == 0
        assert run("prune", address).err == "nothing waits for an approval\n"
        origin.commit({"a.yaml": None, "b.yaml": None})
        listed = run("prune", address)
        assert listed.code == 0
        found = re.search(r"^([0-9a-f]{16}) .* 2 .*bootprofile/a, bootprofile/b", listed.out, re.MULTILINE)
        assert found, listed
        broken = origin.commit({"c.yaml": profile("c").replace("agent", "agnet")})
        refused = run("prune", address, "--approve", found[1])
        assert refused.code == 4, "nothing is concluded from a commit that is not put in force"
        assert f"commit {broken} would not be put in force" in refused.err
        assert re.search(r"c\.yaml:\d+:\d+: .*did you mean agent", refused.err)
        origin.commit({"c.yaml": profile("c")})
        approved = run("prune", address, "--approve", found[1])
        assert approved.out == "approved: bootprofile/a, bootprofile/b; the next controller deletes them\n"
        assert run("run", address, "--once", "--timeout", "60").code == 0
        assert run("get", "bp", "-o", "name").out.split() == ["bootprofile/c"]
        away = run("prune", f"{address}@nowhere")
    assert away.code == 1
    assert "the repository has no nowhere" in away.err
    assert "`reconciler prune` alone shows what the controller found" in away.err
    assert run("prune", "git+https://me:hunter2@example.org/fleet.git").code == 64


@pytest.mark.guarantee("G-37", "G-42", "G-43")
def test_a_file_that_became_invalid_and_a_blocked_deletion_are_listed_until_they_are_over(run: Run, fleet: Path) -> None:
    assert run("run", "fleet", "--once").code == 0
    assert run("get", "attention").out == ""
    (fleet / "c.yaml").write_text(profile("c").replace("agent", "agnet"))
    for name in ("a", "b"):
        (fleet / f"{name}.yaml").unlink()
    ended = run("run", "fleet", "--once", "--timeout", "60")
    assert ended.code == 1, ended
    assert "DeclarationInvalid" in ended.out
    listed = {doc["metadata"]["name"]: doc for doc in run("get", "attention", "-o", "json").json["items"]}
    reasons = {name: doc["status"]["reason"] for name, doc in listed.items()}
    assert reasons == {"bootprofile/a": "PruneBlocked", "bootprofile/b": "PruneBlocked", "bootprofile/c": "DeclarationInvalid"}
    assert "c.yaml" in listed["bootprofile/c"]["status"]["message"]
    assert all(doc["status"]["remedy"] and doc["metadata"]["creationTimestamp"] for doc in listed.values())
    assert run("run", "fleet", "--once", "--timeout", "60").code == 1
    again = {doc["metadata"]["name"]: doc for doc in run("get", "attention", "-o", "json").json["items"]}
    assert again == listed, "it waits since then, whoever restarts"
    for name in ("a", "b", "c"):
        (fleet / f"{name}.yaml").write_text(profile(name))
    ended = run("run", "fleet", "--once", "--timeout", "60")
    assert ended.code == 0, ended
    assert "DeclarationGood" in ended.out
    assert run("get", "attention").out == ""
