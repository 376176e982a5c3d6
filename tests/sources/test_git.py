"""A repository as a source, against real git servers: of each commit all is put in force or nothing, and git is only ever read."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.core.keys import as_strings
from reconciler.core.signing import signers
from reconciler.errors import Unreachable
from reconciler.sources.documents.reader import MAX_BYTES
from reconciler.sources.files.scan import Scan
from reconciler.sources.files.source import FileSource
from reconciler.sources.git.address import Address, Credential, GitSettings
from reconciler.sources.git.command import REACH
from reconciler.sources.git.repository import Repository
from reconciler.sources.git.source import Followed
from reconciler.views.documents import document
from tests.sources.bare import Bare
from tests.sources.fleetdir import marker, profile
from tests.sources.gitserver import GIT, Origin, daemon, git, http, key_pair, needs_git

pytestmark = needs_git
TOKEN = "s3cret-token-value"


class Rows(dict[str, str]):
    """Rows of `meta`."""

    async def meta(self, name: str) -> str | None:
        return self.get(name)


@dataclass
class Following:
    """A repository that is followed into a table, one step at a time."""

    settings: GitSettings
    cache: Path
    bare: Bare = field(default_factory=Bare)
    rows: Rows = field(default_factory=Rows)
    secrets: dict[str, str] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        environ = {"PATH": os.environ["PATH"]}
        self.repository = Repository(self.settings, self.cache, environ, lambda one: self.secrets.get(f"{one.name}/{one.key}"))
        self.one = Followed(self.repository, self.bare.declarations, "default", self.rows.meta)
        self.source = FileSource(self.paths, "default", self.bare.sync, self, [self.one])  # type: ignore[arg-type]
        self.events: list[tuple[str, str]] = []
        self.bare.declarations._recorder.listen(lambda event: self.events.append((event.reason, event.message)))

    async def step(self, after: float = 0.0) -> Scan:
        """Fetch, and put in force what there is."""
        self.bare.now += after
        await self.one.fetch()
        found = await self.source.scan()
        entering = self.one.entering()
        await self.bare.sync.round(found, entering=[entering] if entering is not None else [])
        await self.one.settled()
        return found

    def known(self) -> set[str]:
        return set(self.bare.known())


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path)


@pytest.fixture
def served(origin: Origin) -> Iterator[str]:
    with daemon(origin.served) as url:
        yield f"{url}/fleet.git"


def following(url: str, tmp_path: Path, **more: str) -> Following:
    return Following(GitSettings(Address(url, more.pop("ref", ""), more.pop("subdir", "")), **more), tmp_path / "cache")  # type: ignore[arg-type]


@pytest.mark.guarantee("G-40")
async def test_a_commit_is_in_force_and_everything_says_which(origin: Origin, served: str, tmp_path: Path) -> None:
    commit = origin.commit({"specs/a.yaml": profile("a"), "specs/deep/b.yaml": "# first\n" + profile("b"), "README.md": "no: [yaml"})
    one = following(served, tmp_path, ref="main")
    await one.step()
    a, b = one.bare.known()["a"], one.bare.known()["b"]
    assert (a.source, a.source_commit, a.origin) == ("git", commit, f"{served}@main:specs/a.yaml:1")
    assert b.origin == f"{served}@main:specs/deep/b.yaml:2"
    assert [reason for reason, _ in one.events] == ["CommitApplied"]
    assert commit in one.events[0][1]
    assert one.bare.sync.findings == ()


async def test_the_same_over_smart_http_with_a_credential_that_is_nowhere_to_be_seen(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token goes to the server, and into no argument, environment or file."""
    origin.commit({"a.yaml": profile("a")})
    traced = tmp_path / "traced"
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "git").write_text(
        f'#!/bin/sh\n{{ tr "\\0" " " < /proc/$$/cmdline; tr "\\0" " " < /proc/$$/environ; }} >> {traced}\nexec {GIT} "$@"\n'
    )
    (bin_ / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    with http(origin.served, TOKEN) as server:
        settings = GitSettings(Address(f"{server.url}/fleet.git"), credential=Credential("forge", "token"))
        one = Following(settings, tmp_path / "cache", secrets={"forge/token": TOKEN})
        await one.step()
        assert one.known() == {"a"}
        assert any(given for _, given in server.asked)
        one.secrets["forge/token"] = "wrong"
        await one.step()
        assert one.known() == {"a"}
        assert "git ls-remote failed" in one.one.trouble
        one.secrets.clear()
        await one.step()
        assert "the credential is not there" in one.one.trouble
    assert "ls-remote" in traced.read_text()
    for file in (traced, *(path for path in (tmp_path / "cache").rglob("*") if path.is_file())):
        assert TOKEN.encode() not in file.read_bytes()
    assert TOKEN not in str(one.events) + str(one.bare.told) + one.one.trouble + repr(one.repository.__dict__)


async def test_why_a_repository_cannot_be_reached_is_said_once_in_gits_own_words(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.git"
    one = following(f"file://{nowhere}", tmp_path)
    await one.step()
    assert one.one.trouble == f"git ls-remote failed: '{nowhere}' does not appear to be a git repository: {REACH}"
    told = f"file://{nowhere}: {one.one.trouble}; what was declared before stays in force"
    assert one.events == [("RepositoryUnreachable", told)]
    with pytest.raises(Unreachable) as found:
        one.one.must_be_there("so nothing is known")
    said = f"git ls-remote failed: '{nowhere}' does not appear to be a git repository (file://{nowhere})"
    assert str(found.value) == f"{said}: {REACH}; so nothing is known"


async def test_a_server_that_does_not_answer_is_said_with_its_address_once(tmp_path: Path) -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/fleet.git"
        one = following(url, tmp_path)
        await one.step()
    with pytest.raises(Unreachable) as found:
        one.one.must_be_there("so nothing is known")
    assert str(found.value).count(url) == 1
    assert str(found.value).startswith("git ls-remote failed: Failed to connect to 127.0.0.1 port")


@pytest.mark.guarantee("G-42")
async def test_a_broken_commit_leaves_the_last_good_one_in_force_and_says_which(origin: Origin, served: str, tmp_path: Path) -> None:
    first = origin.commit({"a.yaml": profile("a"), "b.yaml": profile("b")})
    one = following(served, tmp_path)
    await one.step()
    broken = origin.commit({"a.yaml": profile("a", "/root/other"), "bad.yaml": "kind: [", "b.yaml": None, "c.yaml": profile("c")})
    await one.step()
    assert one.known() == {"a", "b"}, "all of it or nothing"
    assert "/root/other" not in str(one.bare.known()["a"].spec)
    assert one.bare.known()["a"].source_commit == first
    reason, message = one.events[-1]
    assert reason == "CommitRefused"
    assert broken in message
    assert f"{served}:bad.yaml:" in message
    assert f"commit {first} stays in force" in message
    mended = origin.commit({"bad.yaml": None})
    await one.step()
    assert one.known() == {"a", "b", "c"}
    assert {obj.source_commit for name, obj in one.bare.known().items() if name != "b"} == {mended}
    assert any("bootprofile/b is no longer declared; kept" in line for line in one.bare.told)


async def test_what_the_store_would_refuse_is_found_before_anything_of_a_commit_is_applied(
    origin: Origin, served: str, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "x.yaml").write_text(profile("x"))
    one = Following(GitSettings(Address(served)), tmp_path / "cache", paths=(folder,))
    origin.commit({"a.yaml": profile("a")})
    await one.step()
    one.paths = ()
    one.source = FileSource((), "default", one.bare.sync, one, [one.one])  # type: ignore[arg-type]
    origin.commit({"a.yaml": profile("a", "/root/other"), "x.yaml": profile("x")})
    await one.step()
    assert one.events[-1][0] == "CommitRefused"
    assert f"({folder}/x.yaml:1)" in one.events[-1][1], "the first one is named"
    assert "/root/other" not in str(one.bare.known()["a"].spec)
    (folder / "x.yaml").unlink()
    await one.step()
    assert one.bare.known()["x"].source == "git", "what no file declares any more may move into a repository"


@pytest.mark.guarantee("G-43")
async def test_offline_a_deleted_branch_and_a_restart_keep_the_last_commit(origin: Origin, tmp_path: Path) -> None:
    with daemon(origin.served) as url:
        commit = origin.commit({"a.yaml": profile("a"), ".reconciler.yaml": marker()})
        one = following(f"{url}/fleet.git", tmp_path, ref="main")
        await one.step()
        origin.push(":refs/heads/main")
        for _ in range(3):
            await one.step(30)
        assert "has no main" in one.one.trouble
        assert one.known() == {"a"}
        assert one.events[-1][0] == "RepositoryUnreachable"
        assert f"commit {commit} stays in force" in one.events[-1][1]
    for _ in range(3):
        await one.step(30)
    assert one.known() == {"a"}
    assert one.bare.known()["a"].source_commit == commit
    again = Following(one.settings, one.cache, one.bare, Rows({f"git/{one.repository.id}": f'{{"commit": "{commit}"}}'}))
    await again.step()
    assert again.one.good is not None
    assert again.one.good.id == commit, "from the cache"
    assert again.known() == {"a"}


@pytest.mark.guarantee("G-43")
async def test_a_stack_of_a_repository_prunes_as_one_of_a_directory_does(origin: Origin, served: str, tmp_path: Path) -> None:
    origin.commit({".reconciler.yaml": marker(maxDelete=1), "a.yaml": profile("a"), "b.yaml": profile("b"), "c.yaml": profile("c")})
    one = following(served, tmp_path)
    await one.step()
    origin.commit({"b.yaml": None})
    await one.step()
    assert one.known() == {"a", "b", "c"}
    await one.step(10)
    assert one.known() == {"a", "c"}
    origin.commit({"a.yaml": None, "c.yaml": None, "d.yaml": profile("d")})
    for _ in range(3):
        await one.step(10)
    assert one.known() == {"a", "c", "d"}
    assert [reason for reason, _ in one.events if reason == "PruneBlocked"]


@pytest.mark.parametrize("what", ["submodule", "lfs", "link", "folder link", "large"])
async def test_what_is_not_read_is_refused_by_name(what: str, origin: Origin, served: str, tmp_path: Path) -> None:
    origin.commit({"a.yaml": profile("a"), "deep/b.yaml": profile("b")}, push=False)
    match what:
        case "submodule":
            git(origin.work, "update-index", "--add", "--cacheinfo", f"160000,{origin.head()},vendored")
            git(origin.work, "commit", "-q", "-m", "a submodule")
        case "lfs":
            origin.commit({"big.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"}, push=False)
        case "link":
            (origin.work / "c.yaml").symlink_to("/etc/passwd")
            origin.commit({}, push=False)
        case "folder link":
            (origin.work / "again").symlink_to("deep")
            origin.commit({}, push=False)
        case "large":
            origin.commit({"large.yaml": "# " + "x" * MAX_BYTES}, push=False)
    origin.push()
    one = following(served, tmp_path)
    await one.step()
    assert one.known() == set()
    words = {
        "submodule": "vendored:1:1: -: is a submodule",
        "lfs": "big.yaml:1:1: -: is kept in Git LFS",
        "link": "c.yaml:1:1: -: is a link",
    }
    words |= {"folder link": "again:1:1: -: is a link", "large": "large.yaml:1:1: -: larger than 8 MiB"}
    assert any(words[what] in str(finding) for finding in one.bare.sync.findings), one.bare.sync.findings


@pytest.mark.guarantee("G-61")
async def test_nothing_of_a_repository_is_run(origin: Origin, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks, filters, templates and a person's own configuration do nothing."""
    ran = tmp_path / "ran"
    home = tmp_path / "home"
    (home / "templates" / "hooks").mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-merge"):
        (home / "templates" / "hooks" / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (home / "templates" / "hooks" / name).chmod(0o755)
    config = f'[init]\n templateDir = {home}/templates\n[core]\n hooksPath = {home}/templates/hooks\n[filter "x"]\n smudge = touch {ran}\n'
    (home / ".gitconfig").write_text(config)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    origin.commit({"a.yaml": profile("a"), ".gitattributes": "* filter=x\n"})
    one = following(served, tmp_path)
    await one.step()
    assert one.known() == {"a"}
    assert not ran.exists()


async def test_refs_and_directories_are_what_they_say(origin: Origin, served: str, tmp_path: Path) -> None:
    first = origin.commit({"prod/a.yaml": profile("a"), "test/b.yaml": profile("b")})
    git(origin.work, "tag", "-a", "v1", "-m", "one")
    origin.push("refs/tags/v1")
    origin.commit({"prod/c.yaml": profile("c")})
    for number, (ref, subdir, names) in enumerate(
        [("v1", "", {"a", "b"}), ("main", "prod", {"a", "c"}), (first, "prod", {"a"}), ("refs/heads/main", "test", {"b"})]
    ):
        one = following(served, tmp_path / str(number), ref=ref, subdir=subdir)
        await one.step()
        assert one.known() == names, ref
    one = following(served, tmp_path / "none", ref="main", subdir="nowhere")
    await one.step()
    assert "there is no directory nowhere" in str(one.bare.sync.findings)


async def only_ours_are_put_in_force(one: Following, origin: Origin, signed: Callable[[str, str], str], told: str) -> None:
    """`signed`: makes a commit with the key of that name, for a profile of that one; `told`: what git says of a good one."""
    good = signed("ours", "a")
    await one.step()
    assert one.known() == {"a"}
    assert told in one.events[-1][1]
    assert told in shown(one, "a", good)
    assert shown(one, "a", good) == one.bare.declarations.prunes.signers[good], "as a later life reads it, and this one knows it"
    bad = signed("theirs", "b")
    await one.step()
    assert one.known() == {"a"}
    assert one.events[-1][0] == "CommitRefused"
    assert bad in one.events[-1][1]
    assert f"commit {good} stays in force" in one.events[-1][1]
    plain = origin.commit({"c.yaml": profile("c")})
    await one.step()
    assert one.known() == {"a"}
    assert plain in one.events[-1][1]
    second = signed("ours", "d")
    await one.step()
    assert one.known() == {"a", "b", "c", "d"}
    assert all(told in shown(one, name, second) for name in "abcd")
    assert set(signers(one.rows.values())) == {good, second}, "of what is kept from an earlier commit it is known, too"
    await an_unverified_one_is_verified_when_keys_are_named(one, second, told)


def shown(one: Following, name: str, commit: str) -> str:
    """What `status.source` of an object says of the signature; it names this commit. The rows are as the store has them."""
    one.rows.update(one.bare.declarations.prunes.repositories)
    status = document(one.bare.known()[name], signers(one.rows.values()))["status"]
    assert isinstance(status, dict)
    source = as_strings(status["source"])
    assert source["commit"] == commit
    return source.get("signature", "")


async def an_unverified_one_is_verified_when_keys_are_named(one: Following, commit: str, told: str) -> None:
    """Without keys nothing is said of a signature; with keys that are named later it is, once, also of the commit that is in force."""
    plain = Following(GitSettings(one.settings.address), one.cache / "plain")
    await plain.step()
    assert shown(plain, "a", commit) == ""
    again = Following(one.settings, plain.cache, bare=plain.bare, rows=plain.rows)
    await again.step()
    assert told in shown(again, "a", commit)
    await again.step()
    assert [(reason, told in message) for reason, message in again.events] == [("CommitApplied", True)]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen on this host")
async def test_only_commits_signed_by_a_named_key_are_put_in_force(origin: Origin, served: str, tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        key_pair(tmp_path / name)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"a@example.org {(tmp_path / 'ours.pub').read_text()}")
    one = following(served, tmp_path, verify=str(allowed))

    def signed(by: str, name: str) -> str:
        (origin.work / f"{name}.yaml").write_text(profile(name))
        git(origin.work, "add", "-A")
        git(origin.work, "-c", "gpg.format=ssh", "-c", f"user.signingKey={tmp_path / by}", "commit", "-q", "-S", "-m", name)
        origin.push()
        return origin.head()

    await only_ours_are_put_in_force(one, origin, signed, 'Good "git" signature for a@example.org')


def ended(*words: str) -> bytes:
    """What a command said."""
    return subprocess.run(words, check=True, capture_output=True, timeout=60).stdout


@pytest.mark.skipif(shutil.which("gpg") is None, reason="there is no gpg on this host")
async def test_only_commits_signed_by_a_named_openpgp_key_are_put_in_force(origin: Origin, served: str, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ring-") as ring:  # short: the agent's socket is in it
        gpg = ("gpg", "--batch", "--quiet", "--homedir", ring, "--pinentry-mode", "loopback", "--passphrase", "")
        try:
            for name in ("ours", "theirs"):
                ended(*gpg, "--quick-generate-key", f"{name}@example.org", "ed25519", "sign", "never")
            keys = tmp_path / "keys.asc"
            keys.write_bytes(ended(*gpg, "--armor", "--export", "ours@example.org"))
            one = following(served, tmp_path, verify=str(keys))

            def signed(by: str, name: str) -> str:
                (origin.work / f"{name}.yaml").write_text(profile(name))
                git(origin.work, "add", "-A")
                signer = tmp_path / "signer"
                signer.write_text(f'#!/bin/sh\nexec {" ".join(gpg[:5])} "$@"\n')
                signer.chmod(0o700)
                git(origin.work, "-c", f"gpg.program={signer}", "-c", f"user.signingKey={by}@example.org", "commit", "-q", "-S", "-m", name)
                origin.push()
                return origin.head()

            await only_ours_are_put_in_force(one, origin, signed, 'Good signature from "ours@example.org"')
            keys.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n")
            origin.commit({"e.yaml": profile("e")})
            await one.step()
            assert one.known() == {"a", "b", "c", "d"}
            assert "keys can't be read" in one.events[-1][1]
        finally:
            ended("gpgconf", "--homedir", ring, "--kill", "all")
