"""Lists of the platform: shared by all who ask, and so far apart that they take a small share of the controller's time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from reconciler.core.backoff import pause_after
from reconciler.core.snapshot.vm import Absent, Unknown, Vm, VmList, VmState
from reconciler.engine.clock import LoopClock
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.ports import VersApi
from reconciler.errors import Unreachable
from tests.faults.harness import virtual

LATENCY = 0.1


class Platform:
    """Lists of no VM; each takes `LATENCY` seconds, and `work` seconds to read. Remembers when they began."""

    def __init__(self, work: float, clock: LoopClock) -> None:
        self.work = work
        self.began: list[float] = []
        self.failing = self.forgetful = False
        self.vms: dict[str, Vm] = {}
        self.kept: list[tuple[str, ...]] = []
        self._clock = clock

    def account(self) -> str:
        return "account"

    async def list_vms(self) -> VmList:
        begun = self._clock.now()
        self.began.append(begun)
        await asyncio.sleep(LATENCY)
        if self.failing:
            raise Unreachable("no answer")
        return VmList(dict(self.vms), begun, self._clock.now(), None, self.work)


def fleet(work: float) -> tuple[Fleet, Platform, LoopClock]:
    clock = LoopClock(0.0)
    platform = Platform(work, clock)

    async def keep(vm_ids: Sequence[str], at: float) -> None:
        platform.kept.append(tuple(vm_ids))
        if platform.forgetful:
            raise Unreachable("the store")

    return Fleet(cast(VersApi, platform), clock, 60.0, {}, keep), platform, clock


async def ask_for(seen: Fleet, clock: LoopClock, seconds: float) -> None:
    """Ten who all want a list that is newer than now, again and again for so long."""

    async def one() -> None:
        while clock.now() < seconds:
            since = clock.now()
            assert (await seen.list_since(since)).begun >= since

    await asyncio.gather(*(one() for _ in range(10)))


@pytest.mark.parametrize(("work", "apart"), [(0.0, LATENCY), (0.01, LATENCY + 0.19), (0.1, LATENCY + 1.9)])
def test_the_pause_between_lists_grows_with_the_work_of_one(work: float, apart: float) -> None:
    async def main() -> None:
        seen, platform, clock = fleet(work)
        await ask_for(seen, clock, 20.0)
        gaps = [later - earlier for earlier, later in zip(platform.began, platform.began[1:], strict=False)]
        assert gaps == pytest.approx([apart] * len(gaps))
        assert len(gaps) >= 9

    virtual(main)


def test_the_first_list_and_one_after_a_long_time_wait_for_nothing() -> None:
    async def main() -> None:
        seen, platform, clock = fleet(0.1)
        await seen.list_since(clock.now())
        await asyncio.sleep(5)
        await seen.list_since(clock.now())
        assert platform.began == pytest.approx([0.0, LATENCY + 5])

    virtual(main)


def test_whoever_asks_during_a_pause_shares_the_list_after_it() -> None:
    async def main() -> None:
        seen, platform, clock = fleet(0.1)
        first = await seen.list_since(clock.now())
        assert await seen.list_since(first.begun) is first

        async def later(wait: float) -> VmList:
            await asyncio.sleep(wait)
            return await seen.list_since(clock.now())

        lists = await asyncio.gather(*(later(wait) for wait in (0.0, 0.5, 1.0, 1.8)))
        assert all(one is lists[0] for one in lists)
        assert platform.began == pytest.approx([0.0, LATENCY + 1.9])

    virtual(main)


def test_a_list_that_failed_causes_no_pause_and_a_paused_one_can_be_stopped() -> None:
    async def main() -> None:
        seen, platform, clock = fleet(0.1)
        platform.failing = True
        for _ in range(2):
            with pytest.raises(Unreachable):
                await seen.list_since(clock.now())
        platform.failing = False
        await seen.list_since(clock.now())
        assert platform.began == pytest.approx([0.0, LATENCY, 2 * LATENCY])
        waiting = asyncio.ensure_future(seen.list_since(clock.now()))
        await asyncio.sleep(0.1)
        await seen.stop()
        assert waiting.cancelled()
        assert len(platform.began) == 3

    virtual(main)


def test_a_pause_is_bounded() -> None:
    assert pause_after(0.0) == 0.0
    assert pause_after(1.0, share=0.5) == 1.0
    assert pause_after(3600.0) == 10.0


def test_nobody_gets_a_list_before_what_was_first_seen_in_it_is_durable() -> None:
    async def main() -> None:
        seen, platform, clock = fleet(0.0)
        platform.vms["a"] = Vm("a", "account", 0.0, VmState.RUNNING)
        platform.forgetful = True
        with pytest.raises(Unreachable):
            await seen.list_since(clock.now())
        assert seen.latest is None
        assert not seen.first_seen
        platform.forgetful = False
        begun = (await seen.list_since(clock.now())).begun
        assert platform.kept == [("a",), ("a",)]
        assert seen.first_seen == {"a": begun}
        await seen.list_since(clock.now())
        assert len(platform.kept) == 2

    virtual(main)


@pytest.mark.guarantee("G-45")
def test_a_list_is_news_only_where_it_shows_something_else_than_was_seen() -> None:
    async def main() -> None:
        seen, platform, clock = fleet(0.0)
        platform.vms["a"] = row = Vm("a", "account", 0.0, VmState.RUNNING, {"x": "1"})
        assert seen.news("a"), "there is no list yet"
        await seen.list_since(clock.now())
        assert seen.news("a"), "nobody has seen it yet"
        seen.showed("a", row)
        assert not seen.news("a")
        seen.showed("a", replace(row, created_at=5.0, labels={"x": "1"}))
        assert not seen.news("a"), "state and labels are what is decided by"
        seen.showed("a", replace(row, state=VmState.BOOTING))
        assert seen.news("a")
        seen.showed("a", replace(row, labels={}))
        assert seen.news("a")
        seen.showed("a", Absent(proven=False))
        assert seen.news("a"), "it is there after all"
        seen.showed("a", Unknown("no answer"))
        assert seen.news("a")
        seen.showed("a", row)
        del platform.vms["a"]
        await seen.list_since(clock.now())
        assert seen.news("a"), "it is gone"
        seen.showed("a", Absent(proven=False))
        assert not seen.news("a")
        seen.forget("a")
        assert seen.news("a"), "nothing is kept about what is gone"

    virtual(main)


def test_a_list_that_lags_behind_labels_just_taken_is_no_news() -> None:
    async def main() -> None:
        seen, platform, clock = fleet(0.0)
        platform.vms["a"] = row = Vm("a", "account", 0.0, VmState.RUNNING)
        await seen.list_since(clock.now())
        await asyncio.sleep(1)
        seen.labelled("a", {"x": "1"})
        looked = await seen.look("a", lambda vm: True, 60.0)
        assert looked == replace(row, labels={"x": "1"})
        seen.showed("a", looked)
        assert not seen.news("a")

    virtual(main)
