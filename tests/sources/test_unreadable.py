"""What can't be read is unknown: a finding, never an absence, and never the end of what follows it (G-04, G-42, G-43)."""

from __future__ import annotations

import ast
import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler import paths
from reconciler.core.keys import Key
from reconciler.engine.loop import Engine
from reconciler.engine.settings import EngineSettings
from reconciler.errors import Refused
from reconciler.paths import Absent, Present, Unreadable
from reconciler.sources.files.scan import Scan, Scanner
from reconciler.sources.files.sync import FileSync, still_in_file
from reconciler.sources.files.watch import _steps
from reconciler.sources.secrets import FileSecrets
from tests.faults.harness import Controller, Life
from tests.sources.test_watching import watching
from tests.world import World

PACKAGE = Path(__file__).parents[2] / "reconciler"
ERRORS = ("EACCES", "EIO", "ESTALE", "ELOOP", "ENAMETOOLONG", "ENOTCONN")
ASKED = ("stat", "lstat", "scandir", "listdir", "open", "readlink")
"""How a process asks a file system."""
REAL: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in ASKED}


def document(name: str) -> str:
    return f"apiVersion: fleet.vers.sh/v1alpha1\nkind: BootProfile\nmetadata: {{name: {name}}}\nspec: {{extends: {{name: lightweight}}}}\n"


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, victim: Path, code: int) -> Iterator[None]:
    """Whatever is asked about this path, or about anything below it, fails."""
    with monkeypatch.context() as patch:
        for name in ASKED:

            def asked(path: Any, *args: Any, _real: Callable[..., Any] = REAL[name], **kwargs: Any) -> Any:
                if isinstance(path, str | os.PathLike) and Path(path).is_relative_to(victim):
                    raise OSError(code, os.strerror(code), str(path))
                return _real(path, *args, **kwargs)

            patch.setattr(os, name, asked)
        yield


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions count, also where the suite runs as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user may enter; that of a test belongs to the one that runs the suite."""
    made = Path(tempfile.mkdtemp(prefix="reconciler-"))
    made.chmod(0o755)
    yield made
    reopen(made)
    shutil.rmtree(made)


def reopen(folder: Path) -> None:
    """It and what is below it may be entered again, from above: what is in a closed one can't be asked for."""
    folder.chmod(0o755)
    with os.scandir(folder) as entries:
        below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    for one in below:
        reopen(one)


@dataclass
class Followed:
    """A fleet of two folders, in force."""

    fleet: Path
    engine: Engine
    sync: FileSync
    scanner: Scanner
    told: list[str] = field(default_factory=list)

    async def round(self) -> Scan:
        found = self.scanner.scan([self.fleet])
        await self.sync.round(found)
        return found

    def known(self) -> set[str]:
        return {key.name for key in self.engine.table.all_keys()}


@asynccontextmanager
async def followed(root: Path, state: Path) -> AsyncIterator[Followed]:
    fleet = root / "fleet"
    for folder in ("one", "two"):
        (fleet / folder).mkdir(parents=True)
        (fleet / folder / "a.yaml").write_text(document(folder))
    (fleet / "two" / "bad.yaml").write_text("kind: [")
    controller = Controller(World(), state / "state.db", Life(), EngineSettings(installation="i", workers=1))
    engine = await controller.up()
    told: list[str] = []
    try:
        one = Followed(fleet, engine, FileSync(engine.table, engine.declarations, told.append), Scanner(), told)
        await one.round()
        assert one.known() == {"one", "two"}
        assert any("bad.yaml" in line for line in told)
        told.clear()
        yield one
    finally:
        await controller.down()


@pytest.mark.guarantee("G-43")
@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("victim", ["fleet", "fleet/two", "fleet/two/a.yaml"])
async def test_what_cannot_be_read_is_a_finding_and_takes_nothing_away(
    name: str, victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of the fleet can't be read, with whatever error: it is told, and nothing counts as gone."""
    words = (os.strerror(getattr(errno, name)).lower(), "a loop of links")
    async with followed(tmp_path, tmp_path) as one:
        item = one.engine.table.get(Key("BootProfile", "default", "two"))
        assert item is not None
        with failing(monkeypatch, tmp_path / victim, getattr(errno, name)):
            found = await one.round()
            assert not found.clean
            assert any(str(tmp_path / victim) in line and any(word in line for word in words) for line in one.told), one.told
            assert not any("no longer declared" in line or "gone" in line for line in one.told)
            assert one.known() == {"one", "two"}
            with pytest.raises(Refused, match="can't be told whether a file still declares"):
                still_in_file(item.obj)
        (one.fleet / "two" / "bad.yaml").unlink()
        assert (await one.round()).clean
        assert any("bad.yaml: gone" in line for line in one.told)
        assert still_in_file(item.obj)
        (one.fleet / "two" / "a.yaml").unlink()
        await one.round()
        assert any("two is no longer declared" in line for line in one.told), "an absence that is proven is told"
        assert not still_in_file(item.obj)


@pytest.mark.guarantee("G-43")
async def test_a_folder_that_an_ordinary_user_may_not_enter(open_dir: Path, tmp_path: Path) -> None:
    """With the kernel's own permissions: the folder itself, and one of which the names can be read and nothing else."""
    async with followed(open_dir, tmp_path) as one:
        for path in (one.fleet, *one.fleet.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)  # whatever the umask is
        with ordinary_user():
            for mode in (0o000, 0o444):
                os.seteuid(0) if os.getuid() == 0 else None
                (one.fleet / "two").chmod(mode)
                os.seteuid(65534) if os.getuid() == 0 else None
                found = one.scanner.scan([one.fleet])
                assert {obj.key.name for obj in found.objects} == {"one"}
                assert any("permission denied" in finding.message for finding in found.findings)
                assert not found.clean
                assert isinstance(paths.look(one.fleet / "two" / "a.yaml"), Unreadable)
        await one.sync.round(found)
        assert not any("no longer declared" in line or "gone" in line for line in one.told)
        assert one.known() == {"one", "two"}


async def test_a_watch_survives_that_the_folder_above_cannot_be_entered(open_dir: Path) -> None:
    root = open_dir / "above" / "fleet"
    root.mkdir(parents=True)
    for folder in (open_dir, root.parent, root):
        os.chown(folder, 65534 if os.geteuid() == 0 else -1, -1)
    with ordinary_user():
        async with watching(root, rescan=0.2) as bell:
            root.parent.chmod(0o000)
            await bell.wait(bell.count + 3)
            root.parent.chmod(0o755)
            await bell.wait(bell.count + 2)
        async with watching(root) as bell:
            await bell.after(lambda: (root / "a.yaml").write_text("a"))


def test_a_loop_of_links_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert {path.name for path in _steps(tmp_path / "a")} == {"a", "b"}
    assert isinstance(paths.look(tmp_path / "a"), Unreadable)
    assert isinstance(paths.real(tmp_path / "a"), Unreadable)
    (finding,) = Scanner().scan([tmp_path / "a"]).findings
    assert "loop of links" in finding.message


async def test_a_link_that_is_remade_all_the_time_ends_no_watch(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    link = tmp_path / "fleet"
    link.symlink_to("one")
    async with watching(link, rescan=0.05) as bell:
        for _ in range(200):
            link.unlink()
            if bell.count % 2:
                await asyncio.sleep(0.001)
            link.symlink_to("one")
            await asyncio.sleep(0)
        await bell.wait(bell.count + 2)


@pytest.mark.parametrize("name", ERRORS)
def test_a_secret_that_cannot_be_read_is_refused_and_not_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ns" / "name" / "key"
    file.parent.mkdir(parents=True)
    file.write_text("a value")
    file.chmod(0o600)
    environ = {"RECONCILER_SECRET_NAME_KEY": "of the environment"}
    secrets = FileSecrets(tmp_path, environ)
    assert secrets.get("ns", "name", "key") == "a value"
    with failing(monkeypatch, file.parent, getattr(errno, name)), pytest.raises(Refused, match=r"can't be (read|told)"):
        secrets.get("ns", "name", "key")


def test_every_answer_has_its_type(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert isinstance(paths.look(tmp_path / "file"), Present)
    assert (paths.is_file(tmp_path / "file"), paths.is_folder(tmp_path)) == (True, True)
    for absent in (tmp_path / "no", tmp_path / "file" / "below"):
        assert paths.look(absent) == Absent() == paths.real(absent)
    for unreadable in (tmp_path / ("x" * 300), Path("a\0b")):
        assert isinstance(paths.look(unreadable), Unreadable)
        assert isinstance(paths.real(unreadable), Unreadable)
        assert not paths.is_file(unreadable)


QUESTIONS = ("exists", "is_file", "is_dir", "is_symlink", "is_mount", "samefile", "lstat", "readlink", "resolve")
HANDLED = {
    ("config.py", "agents_dir"): "the state directory of a process that begins",
    ("agent/toolchain.py", "find_node"): "asked once, by `Host._find`, which has an error for it",
    ("agent/toolchain.py", "_is_pi"): "asked once, by `Host._find`, which has an error for it",
    ("agent/toolchain.py", "_system_pi"): "asked once, by `Host._find`, which has an error for it",
    ("agent/toolchain.py", "_is_whole"): "asked once, by `Host._find`, which has an error for it",
    ("agent/toolchain.py", "_fetched_pi"): "inside of `except OSError`",
    ("sources/files/tree.py", "_row_of"): "inside of `except OSError`",
    ("store/sqlitefile.py", "private"): "inside of `except OSError`",
}
"""Where what lives long asks `pathlib` itself, and why that can't end it."""


def test_what_lives_long_asks_the_file_system_in_one_place() -> None:
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        file = str(path.relative_to(PACKAGE))
        if file.startswith(("cli/", "api/", "vers/simulator/")) or file == "paths.py":  # one command, packaged files, a program of its own
            continue
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in QUESTIONS:
                        found.add((file, function.name))
    assert found - set(HANDLED) == set(), "ask `reconciler.paths`, whose answers say when something can't be told"
    assert set(HANDLED) - found == set(), "gone"
