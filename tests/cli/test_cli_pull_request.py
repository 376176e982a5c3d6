"""The plan of a pull request to a repository that a controller follows: of the fleet as it is, by what git has, and nothing comes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.background import Platform
from tests.cli.conftest import Run
from tests.cli.forge import ROOT, Forge, Job, a_forge
from tests.cli.test_cli_git import LIEUTENANT, origin, served
from tests.cli.test_cli_halt import KUBECONFIG
from tests.postgres import PostgresServer
from tests.program import Program
from tests.sources.fleetdir import marker, profile
from tests.sources.gitserver import Origin, daemon, http, needs_git

__all__ = ["origin", "served"]
pytestmark = needs_git
EXAMPLE = ROOT / "examples" / "gitops" / "pull-request.yaml.example"
WEB = LIEUTENANT.replace("name: api", "name: web").replace("Suspended", "Running")
FLEET: dict[str, str | None] = {
    "specs/.reconciler.yaml": marker(maxDelete=1),
    "specs/api.yaml": LIEUTENANT,
    "specs/one.yaml": profile("one"),
    "specs/two.yaml": profile("two"),
    "README.md": "not a declaration",
}
MERGE = "HEAD:refs/pull/7/merge"


@pytest.fixture
def forge() -> Iterator[Forge]:
    with a_forge() as server:
        yield server


@pytest.fixture
def job(run: Run, forge: Forge, stub: Platform, origin: Origin, tmp_path: Path) -> Iterator[Job]:
    """The example's, in a checkout of the followed branch that has its script and no declaration."""
    run("init", "fleet")
    shutil.rmtree(tmp_path / "fleet" / "specs")
    made = Job(tmp_path / "fleet", EXAMPLE.read_text(), forge, stub.endpoints.environment())
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "team").symlink_to(origin.served)
    with daemon(tmp_path / "hosts") as url:
        made.env |= {"GITHUB_SERVER_URL": url, "RECONCILER_STORE": ""}
        yield made


def without_the_names_of_stacks(document: Any) -> Any:
    """What a plan says. The inputs' hash covers the names of files."""
    del document["inputsHash"]
    for one in document["prune"]:
        del one["stack"]
    return document


@pytest.mark.guarantee("G-40", "G-41", "G-43")
@pytest.mark.parametrize("gone", [("api",), ("api", "one", "two")])
def test_it_is_planned_as_it_will_be_once_it_is_merged(run: Run, origin: Origin, served: str, gone: tuple[str, ...]) -> None:
    """By its ref, which is not the one that is followed, and from a folder in which it is checked out: what is declared already is
    nothing new, and what is not declared any more is deleted, or blocked under
    the hash by which it can be approved later."""
    origin.commit(FLEET)
    assert run("run", f"{served}@main#specs", "--once", "--timeout", "60").code == 0
    ways = (f"{served}@refs/pull/7/merge#specs", f"{served}@refs/pull/7/head#specs", str(origin.work / "specs"))
    origin.push(MERGE, "HEAD:refs/pull/7/head")
    assert [run("plan", way, "--prune").code for way in ways] == [0, 0, 0]
    origin.commit({**{f"specs/{name}.yaml": None for name in gone}, "specs/web.yaml": WEB}, push=False)
    origin.push(MERGE, "HEAD:refs/pull/7/head")
    assert run("plan", f"{served}@main#specs", "--prune").code == 0
    before = [without_the_names_of_stacks(run("plan", way, "--prune", "-o", "json").json) for way in ways]
    origin.push()
    after = without_the_names_of_stacks(run("plan", f"{served}@main#specs", "--prune", "-o", "json").json)
    assert before == [after] * 3
    assert after["summary"]["Create"] == 1
    (pruned,) = after["prune"]
    asked = pruned["blocked"]["objects"] if len(gone) > 1 else pruned["deleted"]
    assert sorted(one["name"] for one in asked) == sorted(gone)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.guarantee("G-41", "G-43")
def test_the_job_tells_of_the_fleet_that_a_controller_has(job: Job, forge: Forge, origin: Origin, tmp_path: Path) -> None:
    origin.commit(FLEET)
    program = Program(tmp_path, {name: value for name, value in job.env.items() if name.startswith("VERS_")}, warm=True)
    job.env["RECONCILER_STATE"] = str(program.state)
    with program.controller(f"git+{job.env['GITHUB_SERVER_URL']}/team/fleet.git@main#specs") as controller:
        program.comes("lt/api", "--for", "phase=Suspended")
        controller.says("CommitApplied")
        origin.push(MERGE)
        assert job().returncode == 0
        (comment,) = forge.comments[3:]
        assert "### Nothing would change" in comment["body"]
        proposed = origin.commit({"specs/api.yaml": None, "specs/web.yaml": WEB}, push=False)
        origin.push(MERGE)
        assert job().returncode == 0
        assert forge.comments[3:] == [comment]
        assert "### What merging this would do" in comment["body"]
        assert "-   lieutenant/api\n      what  Release\n" in comment["body"]
        assert "+   lieutenant/web" in comment["body"]
        assert "Plan: 1 to create, 1 to delete" in comment["body"]
        assert "bootprofile" not in comment["body"]
        origin.commit({"specs/one.yaml": None}, push=False)
        origin.push(MERGE)
        assert job().returncode == 0
        assert "PruneBlocked: 2 deletions wait of stack" in comment["body"]
        assert sorted(one["metadata"]["name"] for one in program.json("get", "lt,bp")["items"]) == ["api", "one", "two"]
        assert proposed not in program("events", "-A", "-o", "json")
        assert controller.stop() == 0


@pytest.mark.real("PostgreSQL")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_from_elsewhere_it_needs_the_store_as_a_user_who_may_only_read(
    job: Job, forge: Forge, origin: Origin, postgres_server: PostgresServer
) -> None:
    """A user with `GRANT SELECT` on the tables, and nothing else. So, too, the job of `init`, which plans what it has checked out."""
    origin.commit(FLEET)
    with postgres_server.database() as store:
        job.env["RECONCILER_STORE"] = store
        done = job.reconciler("run", f"git+{job.env['GITHUB_SERVER_URL']}/team/fleet.git@main#specs", "--once", "--timeout", "60")
        assert done.returncode == 0, done.stderr
        name = store.rpartition("/")[2]
        role = f"reader_{name}"
        postgres_server.execute(f"CREATE ROLE {role} LOGIN")
        with psycopg.connect(f"{postgres_server.admin.rpartition(' ')[0]} dbname={name}", autocommit=True) as connection:
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}".encode())
        job.env["RECONCILER_STORE"] = store.replace(f"//{postgres_server.user}@", f"//{role}@")
        origin.commit({"specs/api.yaml": None}, push=False)
        origin.push(MERGE)
        of_init = Job(job.folder, (job.folder / ".github/workflows/fleet.yaml").read_text(), forge, job.env)
        shutil.copytree(origin.work / "specs", job.folder / "specs")
        for one in (job, of_init):
            assert one().returncode == 0
            (comment,) = forge.comments[3:]
            assert "Plan: 1 to delete" in comment["body"], comment
            forge.comments.remove(comment)
    postgres_server.execute(f"DROP ROLE {role}")


def test_what_is_not_valid_fails_the_job_and_says_where(job: Job, forge: Forge, origin: Origin) -> None:
    origin.commit(FLEET)
    origin.commit({"specs/web.yaml": WEB.replace("profileRef", "profilRef")}, push=False)
    origin.push(MERGE)
    assert job().returncode == 1
    (comment,) = forge.comments[3:]
    assert "### The plan can't be made" in comment["body"]
    assert "fleet.git@refs/pull/7/merge:specs/web.yaml:4:" in comment["body"]
    assert "did you mean profileRef?" in comment["body"]


def test_what_can_not_be_merged_has_no_plan(job: Job, forge: Forge, origin: Origin) -> None:
    """The forge makes no such ref where there are conflicts."""
    origin.commit(FLEET)
    assert job().returncode == 1
    (comment,) = forge.comments[3:]
    assert "### The plan can't be made" in comment["body"]
    assert "the repository has no refs/pull/7/merge" in comment["body"]


@pytest.mark.slow
def test_of_a_private_repository_it_needs_the_table_and_the_token(job: Job, forge: Forge, origin: Origin, tmp_path: Path) -> None:
    origin.commit(FLEET)
    origin.push(MERGE)
    with http(tmp_path / "hosts", "hunter2hunter2") as server:
        job.env["GITHUB_SERVER_URL"] = server.url
        assert job().returncode == 1
        (comment,) = forge.comments[3:]
        assert "git ls-remote failed" in comment["body"]
        (job.folder / "fleet.toml").write_text(f'[gitSource]\nurl = "{server.url}/team/fleet.git"\nref = "main"\nsecret = "forge/token"\n')
        job.env |= {"RECONCILER_CONFIG": "fleet.toml", "RECONCILER_SECRET_FORGE_TOKEN": "hunter2hunter2"}
        assert job().returncode == 0
        assert "### Nothing would change" in comment["body"]
        assert "hunter2" not in json.dumps(forge.comments)


def test_a_cluster_is_not_planned_from_a_repository(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a plan of nothing."""
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    refused = run("plan", "--kube", "git+https://example.org/team/fleet.git@main#specs")
    assert refused.code == 64
    assert "check it out, and name its folder" in refused.err
