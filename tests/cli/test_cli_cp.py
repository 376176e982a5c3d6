"""`cp` copies whole or not at all, also when it is this host that can't deliver."""

from __future__ import annotations

import asyncio
import builtins
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from reconciler.agent.execs import Source
from reconciler.cli.cp import Copy, void
from reconciler.errors import GuestFailed, GuestUnreachable


class CopyToHere(Copy):
    """The same, the commands of the machine run on this host. `away`: the commands for which the machine no longer answers."""

    def __init__(self, away: frozenset[str] = frozenset()) -> None:
        self.away = away

    async def _run(self, argv: Sequence[str], sink: Callable[[bytes], object] = void, source: Source | None = None) -> None:
        if argv[0] in self.away:
            raise GuestUnreachable("connection lost", "api")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
        data = b""
        while source is not None and (piece := await source()):
            data += piece
        said, _ = await process.communicate(data)
        sink(said)
        if process.returncode:
            raise GuestFailed(f"{argv[0]} ended with exit code {process.returncode}", "api", exit_code=process.returncode)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory of three files."""
    made = tmp_path / "tree"
    made.mkdir()
    for name in "abc":
        (made / name).write_text(name)
    return made


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second file may not be read (root may read everything, so permissions would not do)."""

    def refusing(name: str, mode: str) -> object:
        if name.endswith("/b"):
            raise PermissionError(13, "Permission denied", name)
        return builtins.open(name, mode)

    monkeypatch.setattr(tarfile, "bltn_open", refusing)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_a_directory_arrives_whole(tree: Path, tmp_path: Path) -> None:
    await CopyToHere()._put_directory(tree, str(tmp_path / "there"))
    assert names(tmp_path / "there") == ["a", "b", "c"]


@pytest.mark.usefixtures("unreadable")
async def test_a_directory_that_cannot_be_read_to_its_end_does_not_arrive(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        await CopyToHere()._put_directory(tree, str(tmp_path / "there"))
    assert names(tmp_path) == ["tree"]


@pytest.mark.usefixtures("unreadable")
async def test_what_went_wrong_is_told_and_not_that_it_could_not_be_tidied_up(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        await CopyToHere(frozenset({"rm"}))._put_directory(tree, str(tmp_path / "there"))
