"""The follow loop that every source shares: nothing that fails in it ends it, is missed or is repeated without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from reconciler.engine.supervision import Supervisor
from reconciler.errors import Unreachable
from reconciler.sources.follower import Follower

PAUSE = 0.01


class Scripted:
    """A source whose watch, scans and applies fail as often as a test says."""

    def __init__(self) -> None:
        self.watch_failures: list[Exception] = []
        self.apply_failures: list[Exception] = []
        self.declared, self.in_force = 1, 0
        self.watches = 0
        self.changed: Callable[[], None] = lambda: None

    async def watch(self, changed: Callable[[], None]) -> None:
        self.watches += 1
        self.changed = changed
        changed()
        if self.watch_failures:
            raise self.watch_failures.pop(0)
        await asyncio.Event().wait()

    async def scan(self) -> int:
        return self.declared

    async def apply(self, found: int) -> None:
        if self.apply_failures:
            raise self.apply_failures.pop(0)
        self.in_force = found


@asynccontextmanager
async def following(source: Scripted) -> AsyncIterator[tuple[Follower, list[str]]]:
    lines: list[str] = []
    follower = Follower(source, lines.append, Supervisor(), PAUSE)
    task = asyncio.create_task(follower.run())
    try:
        yield follower, lines
    finally:
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  # any of several things may bring it about
            await asyncio.sleep(0.005)


async def test_a_change_is_in_force_after_a_round() -> None:
    source = Scripted()
    async with following(source) as (follower, lines):
        await until(follower.current)
        assert (source.in_force, follower.rounds) == (1, 1)
        source.declared = 2
        source.changed()
        assert not follower.current()
        await until(follower.current)
    assert (source.in_force, follower.rounds, lines) == (2, 2, [])


@pytest.mark.guarantee("G-66")
async def test_what_fails_again_and_again_is_said_once_counted_always_and_got_over() -> None:
    source = Scripted()
    source.apply_failures = [Unreachable("the store is away", "state.db", "wait") for _ in range(3)]
    async with following(source) as (follower, lines):
        await until(lambda: follower.errors["Unreachable"] == 1)
        assert not follower.current()
        assert not follower.healthy()
        await until(follower.current)
        assert follower.healthy()
    assert follower.errors == {"Unreachable": 3}
    assert len(lines) == 1
    assert "the store is away" in lines[0]
    assert follower.defect is None
    assert source.in_force == 1


async def test_a_defect_is_kept_logged_and_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    source = Scripted()
    bug = KeyError("a bug")
    source.apply_failures = [bug]
    async with following(source) as (follower, lines):
        await until(follower.current)
    assert follower.defect is bug
    assert lines == ["warning: declarations could not be taken in: internal error: KeyError; trying again"]
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_a_watch_that_ends_begins_anew_and_everything_is_read_again() -> None:
    source = Scripted()
    source.watch_failures = [OSError("no more watches"), OSError("no more watches")]
    async with following(source) as (follower, lines):
        await until(lambda: source.watches == 3)
        await until(lambda: follower.current() and follower.healthy())
        source.declared = 5
        source.changed()
        await until(lambda: source.in_force == 5)
    assert follower.errors == {"OSError": 2}
    assert all("the watch on declarations ended" in line for line in lines)
