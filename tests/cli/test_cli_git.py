"""A repository on the command line: followed, planned, shown with its commit, and never written to."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli import gitdoctor
from tests.background import Platform
from tests.cli.conftest import Run
from tests.program import Program
from tests.sources.fleetdir import HEAD, profile
from tests.sources.gitserver import Origin, daemon, git, key_pair, needs_git

pytestmark = needs_git
LIEUTENANT = f"{HEAD}kind: Lieutenant\nmetadata: {{name: api}}\nspec: {{role: Build, profileRef: {{name: lightweight}}, mode: Suspended}}\n"


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path)


@pytest.fixture
def served(origin: Origin, stub: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in stub.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    with daemon(origin.served) as url:
        yield f"git+{url}/fleet.git"


@pytest.mark.guarantee("G-40", "G-41")
def test_a_repository_is_planned_followed_and_shown_with_its_commit(run: Run, origin: Origin, served: str, tmp_path: Path) -> None:
    commit = origin.commit({"fleet/a.yaml": profile("a"), "fleet/api.yaml": LIEUTENANT})
    address = f"{served}@main#fleet"
    place = f"{served.removeprefix('git+')}@main:fleet/api.yaml:1"
    planned = run("plan", address)
    assert planned.code == 0, planned
    assert not (tmp_path / "state").exists(), "a plan leaves nothing behind"
    ended = run("run", address, "--once", "--timeout", "60")
    assert ended.code == 0, ended
    assert "CommitApplied" in ended.out
    assert commit in ended.out
    assert run("get", "lt", "api", "-o", "json").json["status"]["source"] == {"origin": place, "commit": commit}
    assert f"git {place}, commit {commit}" in run("describe", "lt", "api").out
    for words in (("suspend", "lt", "api"), ("set", "lt", "api", "mode=Running")):
        refused = run(*words)
        assert refused.code == 4
        assert f"({place}): change it there, and push" in refused.err
    deleted = run("delete", "lt", "api")
    assert deleted.code == 4
    assert place in deleted.err
    origin.commit({"fleet/api.yaml": None})
    assert run("run", address, "--once", "--timeout", "60").code == 0
    assert run("delete", "lt", "api").code == 0, "what no commit declares any more can be deleted"


@pytest.mark.guarantee("G-42")
def test_a_broken_commit_ends_a_run_with_1_and_leaves_what_is_in_force(run: Run, origin: Origin, served: str) -> None:
    origin.commit({"a.yaml": profile("a")})
    assert run("run", served, "--once", "--timeout", "60").code == 0
    broken = origin.commit({"a.yaml": profile("a").replace("agent", "agnet"), "b.yaml": profile("b")})
    ended = run("run", served, "--once", "--timeout", "60")
    assert ended.code == 1
    assert "CommitRefused" in ended.out
    assert broken in ended.out
    assert "did you mean agent" in ended.err
    (needed,) = run("get", "attention", "-o", "json").json["items"]
    assert needed["metadata"]["name"] == f"repository/{served.removeprefix('git+')}"
    assert needed["status"]["reason"] == "CommitRefused"
    assert broken in needed["status"]["message"]
    assert needed["status"]["remedy"] == "Correct what the message names, and push."
    assert run("run", served, "--once", "--timeout", "60").code == 1
    assert run("get", "attention", "-o", "json").json["items"] == [needed], "it waits since then, whoever restarts"
    assert run("get", "bp", "-o", "name").out.split() == ["bootprofile/a"]
    assert run("plan", served).code == 1
    origin.commit({"a.yaml": profile("a")})
    assert run("run", served, "--once", "--timeout", "60").code == 0
    assert run("get", "attention").out == ""


def test_what_cannot_be_reached_is_said_in_gits_own_words(run: Run, origin: Origin, served: str) -> None:
    origin.commit({"a.yaml": profile("a")})
    ended = run("run", f"{served}@nowhere", "--once", "--timeout", "60")
    assert ended.code == 1
    assert "the repository has no nowhere" in ended.err
    assert "RepositoryUnreachable" in run("get", "attention").out
    assert run("run", served, "--once", "--timeout", "60").code == 0
    assert run("get", "attention").out == "", "that one is not followed any more"
    planned = run("plan", f"{served.rpartition('/')[0]}/other.git")
    assert planned.code == 1
    (line,) = planned.err.splitlines()
    assert line.count("git ls-remote failed") == line.count("other.git)") == 1
    assert "fatal" not in line
    assert "check its address" in line
    assert run("run", "git+https://user:hunter2@example.org/f.git").code == 64


@pytest.mark.guarantee("G-40")
@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen on this host")
def test_what_a_signed_commit_declares_says_by_whom_it_is_signed(run: Run, origin: Origin, served: str, tmp_path: Path) -> None:
    key_pair(tmp_path / "ours")
    (tmp_path / "signers").write_text(f"a@example.org {(tmp_path / 'ours.pub').read_text()}")
    config = tmp_path / "config.toml"
    config.write_text(f'[gitSource]\nurl = "{served.removeprefix("git+")}"\nverify = "signers"\n')
    origin.commit({"a.yaml": profile("a"), "api.yaml": LIEUTENANT}, push=False)
    git(origin.work, "-c", "gpg.format=ssh", "-c", f"user.signingKey={tmp_path / 'ours'}", "commit", "-q", "--amend", "-S", "-m", "signed")
    origin.push()
    ended = run("run", "--config", str(config), "--once", "--timeout", "60")
    assert ended.code == 0, ended
    told = 'Good "git" signature for a@example.org'
    for kind, name in (("bp", "a"), ("lt", "api")):
        source = run("get", kind, name, "-o", "json").json["status"]["source"]
        assert source["commit"] == origin.head()
        assert source["signature"].startswith(told)
        assert f"commit {origin.head()} ({told}" in run("describe", kind, name).out
    tree = run("tree", "-o", "json").json["items"]
    assert {one["status"]["source"]["signature"].startswith(told) for one in tree if "source" in one["status"]} == {True}


@pytest.mark.guarantee("G-42")
def test_a_running_controller_follows_pushes_by_the_configuration(tmp_path: Path, origin: Origin, served: str, stub: Platform) -> None:
    origin.commit({"prod/a.yaml": profile("a")})
    program = Program(tmp_path / "home", dict(stub.endpoints.environment()), warm=True)
    config = program.folder / "config.toml"
    config.write_text(f'[gitSource]\nurl = "{served.removeprefix("git+")}"\nref = "main"\npath = "prod"\ninterval = 1\n')
    with program.controller("--config", str(config)) as controller:
        program.comes("bp/a", "--for", "Ready")
        second = origin.commit({"prod/b.yaml": profile("b")})
        program.comes("bp/b", "--for", "Ready")
        controller.says(f"commit {second} of")
        assert controller.stop() == 0


def about_sources(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.split()[1:2] == ["source"]]


def test_doctor_asks_every_repository_of_the_configuration_and_says_what_to_do(
    run: Run, origin: Origin, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, config = served.removeprefix("git+"), tmp_path / "config.toml"
    commit = origin.commit({"a.yaml": profile("a")})
    with socket.socket() as silent:  # takes connections, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        slow = f"git://127.0.0.1:{silent.getsockname()[1]}/fleet.git"
        monkeypatch.setattr(gitdoctor, "SECONDS", 1.0)
        tables = (
            f'url = "{url}"\nref = "main"',
            f'url = "{url}"\nref = "{commit}"',
            f'url = "{url}"\nref = "nowhere"',
            f'url = "{url.rpartition("/")[0]}/other.git"',
            f'url = "{slow}"',
            f'url = "{url}"\nsecret = "forge/token"',
        )
        config.write_text("".join(f"[[gitSource]]\n{table}\n" for table in tables))
        asked = run("doctor", "--config", str(config))
    assert asked.code == 1
    good, pinned, nowhere, other, silence, without = about_sources(asked.out)
    assert good == f"ok     source   {url}@main answers and has refs/heads/main"
    assert pinned.startswith(f"ok     source   {url}@{commit} answers")
    assert nowhere.startswith("wrong")
    assert "has no nowhere" in nowhere
    assert "push it again, or name another ref" in nowhere
    assert other.startswith("wrong")
    assert "git ls-remote failed" in other
    assert "check its address, this host's network, and the credential" in other
    assert silence.startswith(f"wrong  source   the repository does not answer within 1 s ({slow}): check its address")
    assert "provide key token of secret forge" in without
    assert not (tmp_path / "state").exists(), "nothing was fetched"
    config.write_text('[gitSource]\nurl = "https://me:hunter2@example.org/fleet.git"\n')
    (wrong,) = about_sources(run("doctor", "--config", str(config)).out)
    assert "a URL may not hold a credential" in wrong
    assert "hunter2" not in wrong
