"""Every test of the store's behaviour runs on each kind of store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from reconciler.store.sqlstore import SqlStore, open_store

Open = Callable[[], SqlStore]


@pytest.fixture(params=["sqlite", "sqlite-inline", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """An empty place for a store."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return tmp_path / "state" / "store.db"


@pytest.fixture
async def opened(request: pytest.FixtureRequest, where: str | Path) -> AsyncIterator[Open]:
    """Opens this test's store, as often as asked (a restart); all are closed in the end."""
    stores: list[SqlStore] = []
    inline = "sqlite-inline" in request.node.name

    def open_again() -> SqlStore:
        stores.append(open_store(where, inline=inline))
        return stores[-1]

    yield open_again
    for one in stores:
        await one.aclose()


@pytest.fixture
def store(opened: Open) -> SqlStore:
    return opened()
