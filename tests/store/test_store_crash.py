"""G-63: kill -9 at any point loses no acknowledged batch and leaves none half."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.store.sqlstore import SqlStore, open_store
from tests.store.victim import WRITERS

ROUNDS = 4


@pytest.fixture
async def stores(where: str | Path) -> AsyncIterator[list[SqlStore]]:
    opened: list[SqlStore] = []
    yield opened
    for store in opened:
        await store.aclose()


@pytest.mark.guarantee("G-63")
@pytest.mark.parametrize("where", ["sqlite", "postgres"], indirect=True)
async def test_kill_9_while_writing(where: str | Path, stores: list[SqlStore]) -> None:
    chance = random.Random(63)
    acknowledged: dict[str, set[int]] = {}
    for number in range(ROUNDS):
        run = f"r{number}"
        acknowledged[run] = _killed(str(where), run, after=chance.randrange(1, 400), delay=chance.random() / 50)
        stores.append(open_store(where))
        await _check(stores[-1], acknowledged)
        await stores[-1].aclose()
    assert sum(map(len, acknowledged.values())) >= ROUNDS


def _killed(where: str, run: str, after: int, delay: float) -> set[int]:
    """Let a process write, kill it some way into whatever follows its `after`-th acknowledgement; the numbers it acknowledged."""
    argv = [sys.executable, "-m", "tests.store.victim", where, run]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2]) as victim:
        assert victim.stdout is not None
        assert victim.stderr is not None
        try:
            lines = [victim.stdout.readline() for _ in range(after)]
            with suppress(subprocess.TimeoutExpired):  # death may come anywhere in a commit, not just behind an acknowledgement
                victim.wait(delay)
        finally:
            os.kill(victim.pid, signal.SIGKILL)
        rest = victim.stdout.read()
        assert victim.wait() == -signal.SIGKILL, victim.stderr.read().decode()
    return {int(line) for line in (b"".join(lines) + rest).splitlines(keepends=True) if line.endswith(b"\n")}


async def _check(store: SqlStore, acknowledged: dict[str, set[int]]) -> None:
    image = await store.load()
    objects = {obj.key.name for obj in image.objects}
    assert objects == set(image.meta) == {one.token for one in image.intents}
    assert objects == {one.message for one in await store.events(limit=1_000_000)}
    for run, numbers in acknowledged.items():
        mirrored: set[int] = set()
        for writer in range(WRITERS):
            text = await store.session(f"{run}/{writer}")
            assert len(text) == image.sessions.get(f"{run}/{writer}", 0)
            mirrored |= {int(line) for line in text.splitlines()}
        assert {f"{run}-{number}" for number in mirrored} == {name for name in objects if name.startswith(f"{run}-")}
        lost = numbers - mirrored
        assert not lost, f"acknowledged and gone: {sorted(lost)}"
    if store.database.sqlite:
        with store.transaction(write=False) as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
