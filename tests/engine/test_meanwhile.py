"""What may take long is told of while it lasts, and not when it is soon over."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.engine.meanwhile import Meanwhile
from reconciler.errors import Unreachable
from tests.faults.harness import virtual


def test_it_is_told_once_when_it_has_lasted_and_never_when_it_was_soon_over() -> None:
    async def story() -> None:
        told = list[float]()
        clock = asyncio.get_running_loop().time

        async def tell() -> None:
            told.append(clock())

        begun = clock()
        async with Meanwhile(tell, 1.0):
            await asyncio.sleep(0.5)
        async with Meanwhile(tell, 1.0):
            await asyncio.sleep(30.0)
        await asyncio.sleep(60.0)
        assert told == [begun + 1.5]

    virtual(story)


def test_what_the_telling_came_to_is_raised_when_it_is_over() -> None:
    async def story() -> None:
        done = list[str]()

        async def tell() -> None:
            raise Unreachable("the database is away", "here")

        async def act() -> None:
            async with Meanwhile(tell, 1.0):
                await asyncio.sleep(2.0)
                done.append("whole")

        with pytest.raises(Unreachable):
            await act()
        assert done == ["whole"]

    virtual(story)


def test_nothing_is_told_any_more_after_its_end_however_that_came() -> None:
    async def story() -> None:
        told = False

        async def tell() -> None:
            nonlocal told
            await asyncio.sleep(5.0)
            told = True

        async def act() -> None:
            async with Meanwhile(tell, 1.0):
                await asyncio.sleep(2.0)
                raise ValueError("of it")

        with pytest.raises(ValueError, match="of it"):
            await act()
        await asyncio.sleep(60.0)
        assert not told
        async with Meanwhile(tell, 1.0):
            await asyncio.sleep(2.0)
        assert told, "the end of what is told is waited for"

    virtual(story)
