"""Watching: every kind of change is noticed, also when the watched directory is another one by now."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reconciler.sources.files.watch import watch


class Bell:
    """Counts what `watch` says, and lets a test wait for more."""

    def __init__(self) -> None:
        self.count = 0
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self.count += 1
        self._rung.set()

    async def wait(self, count: int) -> None:
        """Until it has step so often."""
        async with asyncio.timeout(30):
            while self.count < count:
                self._rung.clear()
                await self._rung.wait()

    async def after(self, act: Callable[[], object]) -> None:
        """Do something and wait until it is noticed. Setting up a watch takes a moment we cannot see, so do it again until then;
        the watch has none but its long round to notice it otherwise."""
        before = self.count
        async with asyncio.timeout(30):
            while self.count == before:
                act()
                self._rung.clear()
                try:
                    async with asyncio.timeout(1):
                        await self._rung.wait()
                except TimeoutError:
                    continue


@asynccontextmanager
async def watching(*paths: Path, rescan: float = 3600) -> AsyncIterator[Bell]:
    bell = Bell()
    task = asyncio.create_task(watch(paths, bell.ring, rescan=rescan))
    try:
        await bell.wait(1)
        yield bell
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_changes_below_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    async with watching(tmp_path) as bell:
        await bell.after(lambda: (tmp_path / "a.yaml").write_text("a"))
        await bell.after(lambda: (tmp_path / "sub" / "b.yaml").write_text("b"))

        def replace_atomically() -> None:
            (tmp_path / ".new").write_text("c")
            (tmp_path / ".new").rename(tmp_path / "a.yaml")

        await bell.after(replace_atomically)


async def test_a_single_file_is_watched_through_replacement(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a")
    async with watching(file) as bell:
        for _ in range(2):

            def replace() -> None:
                (tmp_path / "new").write_text("b")
                (tmp_path / "new").rename(file)

            await bell.after(replace)


async def test_a_root_that_is_removed_and_made_anew_is_still_watched(tmp_path: Path) -> None:
    root = tmp_path / "outer" / "fleet"
    root.mkdir(parents=True)

    def remove() -> None:
        root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(tmp_path / "outer")

    async with watching(root) as bell:
        await bell.after(remove)
        await bell.after(lambda: root.mkdir(parents=True, exist_ok=True) or (root / "a.yaml").write_text("a"))
        await bell.after(lambda: (root / "b.yaml").write_text("b"))


async def test_a_root_that_comes_later_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "not" / "yet"
    async with watching(root) as bell:
        await bell.after(lambda: root.mkdir(parents=True, exist_ok=True) or (root / "a.yaml").write_text("a"))
        await bell.after(lambda: (root / "b.yaml").write_text("b"))


async def test_a_swapped_link_is_noticed(tmp_path: Path) -> None:
    """As a mounted ConfigMap changes, and as a checkout of the next commit is put in place."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(name)
    root = tmp_path / "root"
    root.mkdir()
    (root / "..data").symlink_to(tmp_path / "one")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "one")

    def swap(link: Path) -> None:
        fresh = link.with_name(link.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(tmp_path / ("two" if link.readlink().name == "one" else "one"))
        fresh.rename(link)

    async with watching(root, current) as bell:
        await bell.after(lambda: swap(root / "..data"))
        await bell.after(lambda: swap(current))
        await bell.after(lambda: (current / "b.yaml").write_text("in what it leads to now"))


async def test_rounds_come_without_any_event(tmp_path: Path) -> None:
    async with watching(tmp_path, rescan=0.02) as bell:
        await bell.wait(bell.count + 3)


async def test_a_watch_that_polls_notices_changes_and_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "true")
    hints: set[str] = set()
    bell = Bell()
    task = asyncio.create_task(watch([tmp_path], bell.ring, rescan=3600, hint=hints.update))
    try:
        await bell.wait(1)
        await bell.after(lambda: (tmp_path / "a.yaml").write_text(f"{bell.count} {len(hints)} {time.monotonic_ns()}"))
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert str(tmp_path / "a.yaml") in hints


BLIND = """
import asyncio, logging, os, resource, sys, time
from pathlib import Path
from reconciler.sources.files import watch as watching

async def main():
    root, rounds = Path(sys.argv[1]), []
    noticed = asyncio.Event()

    def dirty():
        rounds.append(sorted(os.listdir(root)))
        if "new.yaml" in rounds[-1]:
            noticed.set()

    blind = asyncio.Event()
    class Told(logging.Handler):
        def emit(self, record):
            blind.set()
    logging.getLogger(watching.__name__).addHandler(Told())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    task = asyncio.create_task(watching.watch([root], dirty, rescan=3600))
    await asyncio.sleep(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # the system gives no descriptor, and so no events
    await blind.wait()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (root / "new.yaml").write_text("x")
    await asyncio.wait_for(noticed.wait(), 60)
    task.cancel()
    print(len(rounds))

asyncio.run(main())
"""


def test_where_the_system_gives_no_events_everything_is_looked_at_every_two_seconds(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    done = subprocess.run([sys.executable, "-c", BLIND, str(tmp_path / "fleet")], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert 2 <= int(done.stdout) <= 40, "by rounds: without one there is nothing but the first look for an hour"
