"""Opening an engine over a large store: the objects are taken in portions, and whatever else runs beside it has its turns."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.core.keys import Key
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.ports import StoredObject
from reconciler.engine.registry import Registry
from reconciler.engine.state.objects import PORTION, ObjectTable
from tests.sources.bare import Nowhere

MANY = 10 * PORTION + 7
SPEC = {"role": "Build", "profileRef": {"name": "lightweight"}}


def stored(number: int) -> StoredObject:
    spec = SPEC if number else {"role": 7}
    return StoredObject(Key("Lieutenant", "default", f"l{number}"), f"uid-{number}", 1, 1, 0.0, dict(spec))


async def test_others_have_their_turns_and_the_table_is_the_same() -> None:
    objects = [stored(number) for number in range(MANY)]
    at_once, slowly = ObjectTable(Nowhere(), Registry(STOCK)), ObjectTable(Nowhere(), Registry(STOCK))
    at_once.fill(objects, {"halted": "2026-01-01T00:00:00Z"})
    filling = asyncio.ensure_future(slowly.fill_in_portions(objects, {"halted": "2026-01-01T00:00:00Z"}))
    turns: list[int] = []
    while not filling.done():
        await asyncio.sleep(0)
        turns.append(len(slowly.all_keys()))
    await filling
    steps = [after - before for before, after in zip([0, *turns], turns, strict=False)]
    assert len(turns) > MANY // PORTION
    assert max(steps) <= PORTION, "no step takes more than a portion"
    assert slowly.all_keys() == at_once.all_keys()
    assert slowly.broken == at_once.broken
    assert list(slowly.broken) == [Key("Lieutenant", "default", "l0")]
    assert slowly.halted == at_once.halted != ""


@pytest.mark.parametrize("number", [0, 1, PORTION])
async def test_whole_portions_and_none_are_taken_whole(number: int) -> None:
    table = ObjectTable(Nowhere(), Registry(STOCK))
    await table.fill_in_portions([stored(one) for one in range(1, number + 1)], {})
    assert len(table.all_keys()) == number
