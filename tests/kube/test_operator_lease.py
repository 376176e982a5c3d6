"""Of several operators one acts (G-62): the Lease by itself in virtual time, with an API server's manners and nothing else of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from reconciler.cluster import clock_of, cluster_of, cluster_uid
from reconciler.core.keys import Json
from reconciler.errors import Conflict, NotFound, Refused, Unreachable
from reconciler.sources.kube.client import Cluster
from reconciler.sources.kube.lease import INSTALLATION, SECONDS, SERVES, Lease, notes_of, unserved
from tests.faults.harness import virtual
from tests.kube.controlplane import Namespace
from tests.kube.operating import access_of


class Leases:
    """One Lease object with resourceVersions. `away`: nobody answers."""

    def __init__(self) -> None:
        self.obj: dict[str, Any] = {}
        self.version = 0
        self.away = False

    def _answer(self) -> Json:
        if self.away:
            raise Unreachable("connection refused")
        if not self.obj:
            raise NotFound("no lease")
        return {**self.obj, "metadata": {**self.obj["metadata"], "resourceVersion": str(self.version)}}

    async def get(self, path: str) -> Json:
        await asyncio.sleep(0.01)
        return self._answer()

    async def create(self, path: str, body: Json) -> Json:
        await asyncio.sleep(0.01)
        if self.obj:
            raise Conflict("it exists")
        self.obj, self.version = dict(body), self.version + 1
        return self._answer()

    async def replace(self, path: str, body: Json) -> Json:
        await asyncio.sleep(0.01)
        known = self._answer()
        if body["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"]:
            raise Conflict("it moved on")
        self.obj, self.version = dict(body), self.version + 1
        return self._answer()


def candidate(leases: Leases, who: str, told: list[str] | None = None) -> Lease:
    clock = asyncio.get_running_loop().time
    return Lease(cast(Cluster, leases), "ns", "reconciler-default", who, (told if told is not None else []).append, clock=clock)


@pytest.mark.guarantee("G-62")
def test_one_acts_and_the_other_takes_over_after_a_crash() -> None:
    """Takeover no later than five seconds after the lease is over, and never before the other has stopped by itself."""

    async def main() -> None:
        leases, told = Leases(), list[str]()
        one, two = candidate(leases, "one"), candidate(leases, "two", told)
        await one.acquire()
        assert one.held()
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(100)
        assert not waiting.done()
        assert not two.held()
        assert told == ["standing by: one is in charge"]
        assert one._renewing is not None
        one._renewing.cancel()  # kill -9
        crashed = asyncio.get_running_loop().time()
        while not waiting.done():
            assert not two.held()
            await asyncio.sleep(0.1)
        assert two.held()
        assert not one.held(), "what is left of the first may not act any more"
        assert asyncio.get_running_loop().time() - crashed <= SECONDS + 5
        with pytest.raises(Refused):
            one.check()

    virtual(main)


@pytest.mark.guarantee("G-62")
def test_a_holder_that_cannot_renew_stands_down_before_anybody_else_begins() -> None:
    async def main() -> None:
        leases = Leases()
        one = candidate(leases, "one")
        await one.acquire()
        leases.away = True
        await asyncio.wait_for(one.lost.wait(), SECONDS)
        assert not one.held()
        leases.away = False
        two = candidate(leases, "two")
        await asyncio.wait_for(two.acquire(), SECONDS + 5)
        assert two.held()
        assert not one.held()

    virtual(main)


@pytest.mark.guarantee("G-62")
def test_who_stands_by_knows_whose_it_is_and_for_how_long() -> None:
    """What a readiness probe asks: never from an API server that did not answer, and not for longer than a lease lasts."""

    async def main() -> None:
        leases = Leases()
        one, two = candidate(leases, "one"), candidate(leases, "two")
        leases.away = True
        waiting = asyncio.create_task(one.acquire())
        await asyncio.sleep(10)
        assert not one.known()
        leases.away = False
        await waiting
        assert one.known()
        standing = asyncio.create_task(two.acquire())
        await asyncio.sleep(100)
        assert two.known()
        leases.away = True
        await asyncio.sleep(SECONDS / 2)
        assert two.known(), "a moment without an answer is no trouble yet"
        await asyncio.sleep(SECONDS)
        assert [one.known(), two.known()] == [False, False]
        leases.away = False
        await asyncio.wait_for(standing, SECONDS)
        assert two.known()

    virtual(main)


@pytest.mark.guarantee("G-62")
def test_a_process_that_slept_through_its_lease_does_nothing() -> None:
    """Its own tasks did not run meanwhile either: the clock alone tells."""

    async def main() -> None:
        leases = Leases()
        slept = [0.0]
        loop = asyncio.get_running_loop()
        one = Lease(cast(Cluster, leases), "ns", "l", "one", lambda line: None, clock=lambda: loop.time() + slept[0])
        await one.acquire()
        one.check()
        slept[0] = SECONDS
        with pytest.raises(Refused):
            one.check()

    virtual(main)


def test_given_back_it_is_had_at_once_and_a_lost_race_is_lost() -> None:
    async def main() -> None:
        leases = Leases()
        one, two, three = (candidate(leases, who) for who in ("one", "two", "three"))
        await one.acquire()
        begun = asyncio.get_running_loop().time()
        waiting = [asyncio.create_task(two.acquire()), asyncio.create_task(three.acquire())]
        await asyncio.sleep(0.5)
        await one.release()
        assert not one.held()
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(5)
        assert asyncio.get_running_loop().time() - begun < SECONDS
        assert sorted([two.held(), three.held()]) == [False, True]
        for task in waiting:
            task.cancel()

    virtual(main)


def test_trouble_is_told_once_and_waited_for() -> None:
    async def main() -> None:
        leases, told = Leases(), list[str]()
        leases.away = True
        one = candidate(leases, "one", told)
        waiting = asyncio.create_task(one.acquire())
        await asyncio.sleep(30)
        assert len(told) == 1
        assert "connection refused" in told[0]
        leases.away = False
        await asyncio.wait_for(waiting, 5)
        assert one.held()

    virtual(main)


@pytest.mark.guarantee("G-62")
@pytest.mark.parametrize("wrong", ["1970-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000000Z"])
def test_clocks_that_differ_by_years_harm_nothing(wrong: str) -> None:
    """What a lease says of the time is written for people; another's clock also begins elsewhere and runs a little faster."""

    async def main() -> None:
        leases = Leases()
        replace = leases.replace

        async def skewed(path: str, body: Json) -> Json:
            return await replace(path, {**body, "spec": {**cast(dict[str, Any], body["spec"]), "renewTime": wrong}})

        leases.replace = skewed  # type: ignore[method-assign]
        loop = asyncio.get_running_loop()
        one = candidate(leases, "one")
        two = Lease(cast(Cluster, leases), "ns", "reconciler-default", "two", lambda line: None, clock=lambda: 1e9 + loop.time() * 1.05)
        await one.acquire()
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(200)
        assert one.held()
        assert not waiting.done(), "as long as it is renewed, nobody else begins"
        assert one._renewing is not None
        one._renewing.cancel()
        await asyncio.wait_for(waiting, SECONDS + 5)
        assert not one.held()

    virtual(main)


def test_who_stands_by_says_what_nobody_serves() -> None:
    """Two operators of different namespaces that meet on one Lease: only the holder's are served, and the other one says so."""
    for theirs, ours in (("a,b", "a,b"), ("*", "a"), ("a,b", "b"), ("*", "*")):
        assert unserved({SERVES: theirs}, {SERVES: ours}) == ""
    assert unserved({}, {SERVES: "a"}) == unserved({SERVES: "a"}, {}) == "", "one that says nothing of itself"
    assert "of a only, so b, c are not served" in unserved({SERVES: "a"}, {SERVES: "a,b,c"})
    assert "the other namespaces are not served" in unserved({SERVES: "a"}, {SERVES: "*"})


@pytest.mark.guarantee("G-62")
def test_the_lease_tells_of_its_holder() -> None:
    """Who stands by reads it there; what somebody else has written on it stays."""

    async def main() -> None:
        leases, told = Leases(), list[str]()
        one, two = candidate(leases, "one"), candidate(leases, "two", told)
        one.notes, two.notes = {SERVES: "a"}, {SERVES: "b"}
        await one.acquire()
        assert notes_of(leases.obj) == {SERVES: "a"}
        leases.obj["metadata"]["annotations"]["somebody"] = "else"
        leases.version += 1
        one.notes[INSTALLATION] = "cluster/ops"
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(10)
        assert notes_of(leases.obj) == {SERVES: "a", INSTALLATION: "cluster/ops", "somebody": "else"}
        assert one.held()
        assert told == ["standing by: one is in charge, of a only, so b is not served: give both the same namespaces, or this one a "
                        "--lease-namespace of its own"]  # fmt: skip
        await one.release()
        await asyncio.wait_for(waiting, 5)
        assert notes_of(leases.obj)[SERVES] == "b"
        await two.release()

    virtual(main)


@pytest.mark.guarantee("G-62")
@pytest.mark.real("kube")
@pytest.mark.parametrize(("off", "word"), [(3600.0, "ahead of"), (-3600.0, "behind"), (0.0, "")])
async def test_operators_on_hosts_whose_clocks_differ_have_one_clock(cluster: Namespace, off: float, word: str) -> None:
    """The API server's."""
    told: list[str] = []
    async with cluster_of(access_of(cluster)) as api:
        await cluster_uid(api)
        clock = clock_of(api.dated, told.append, lambda: time.time() + off)
    assert abs(clock.now() - time.time()) < 3
    assert [word in line and "3600 s" in line for line in told] == ([True] if word else [])


async def test_an_api_server_that_tells_no_date_leaves_us_our_own() -> None:
    assert clock_of(None, print, lambda: 7.0).now() == pytest.approx(7.0, abs=1)
