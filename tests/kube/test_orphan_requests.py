"""Requests to delete orphans on the operator's Lease: each is handed on once, answered once, and nothing of it is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from reconciler.engine.subscriptions import Unsubscribe, subscribed
from reconciler.errors import Unreachable
from reconciler.sources.kube.lease import Lease
from reconciler.sources.kube.orphans import ASKED, KEPT, OUTCOME, OrphanRequests, answered_at, requested

ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


class Held:
    """What of a Lease the requests need; `renew` writes like one."""

    def __init__(self) -> None:
        self.annotations: dict[str, str] = {}
        self.edits: dict[str, str | None] = {}
        self.listeners: list[Callable[[Mapping[str, str]], None]] = []

    def subscribe(self, listener: Callable[[Mapping[str, str]], None]) -> Unsubscribe:
        listener(self.annotations)
        return subscribed(self.listeners, listener)

    def read(self) -> None:
        for listener in self.listeners:
            listener(dict(self.annotations))

    def renew(self) -> None:
        wanted: dict[str, str | None] = {**self.annotations, **self.edits}
        self.annotations, self.edits = {name: value for name, value in wanted.items() if value is not None}, {}
        self.read()


class Engine:
    """`OrphanPort`: notes what is asked for. `failures`: of the next writes."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failures = 0
        self.listeners: list[Callable[[str, str, str], None]] = []

    async def ask(self, vm_ids: Iterable[str]) -> None:
        if self.failures:
            self.failures -= 1
            raise Unreachable("the store is away", "state.db", "wait")
        self.asked += vm_ids

    def subscribe(self, listener: Callable[[str, str, str], None]) -> Unsubscribe:
        return subscribed(self.listeners, listener)

    def over(self, vm_id: str, message: str) -> None:
        for listener in self.listeners:
            listener(vm_id, "DeletedOrphan", message)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_request_is_handed_on_once_and_answered_with_the_next_renewal() -> None:
    lease, engine = Held(), Engine()
    lease.annotations = {f"{ASKED}{ONE}": "then", "serves": "*"}
    requests = OrphanRequests(cast(Lease, lease), engine, lambda: 1000.0)
    requests.start()
    await until(lambda: engine.asked == [ONE])
    lease.annotations[f"{ASKED}{TWO}"] = "now"
    lease.read()
    lease.read()
    await until(lambda: engine.asked == [ONE, TWO])
    engine.over(ONE, "is gone")
    lease.read()  # a renewal lost against another write: the request still stands there
    lease.renew()
    await asyncio.sleep(0)
    assert engine.asked == [ONE, TWO]
    assert set(lease.annotations) == {"serves", f"{ASKED}{TWO}", f"{OUTCOME}{ONE}"}
    assert json.loads(lease.annotations[f"{OUTCOME}{ONE}"])["message"] == "is gone"
    await requests.stop()
    assert (lease.listeners, engine.listeners) == ([], [])


async def test_a_request_outlives_a_store_that_is_away() -> None:
    lease, engine = Held(), Engine()
    engine.failures = 1
    lease.annotations = {f"{ASKED}{ONE}": "then"}
    requests = OrphanRequests(cast(Lease, lease), engine)
    requests.start()
    await until(lambda: engine.asked == [ONE])
    await requests.stop()


async def test_an_answer_that_nobody_took_is_removed_in_time() -> None:
    lease, engine, now = Held(), Engine(), [1000.0]
    requests = OrphanRequests(cast(Lease, lease), engine, lambda: now[0])
    lease.annotations = {f"{ASKED}{ONE}": "then"}
    requests.start()
    await until(lambda: engine.asked == [ONE])
    engine.over(ONE, "is gone")
    lease.renew()
    lease.renew()
    assert f"{OUTCOME}{ONE}" in lease.annotations
    now[0] += KEPT + 1
    lease.read()
    lease.renew()
    assert lease.annotations == {}
    await requests.stop()


async def test_what_somebody_made_unreadable_asks_for_nothing() -> None:
    assert requested({f"{ASKED}../x": "", f"{ASKED}": "", f"{ASKED}{ONE}.": "", f"x{ASKED}{ONE}": "", f"{ASKED}{ONE}": ""}) == {ONE}
    assert answered_at("no json") == answered_at("[]") == answered_at('{"at": 3}') == 0.0
