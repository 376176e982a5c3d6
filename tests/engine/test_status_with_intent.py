"""What is told before a machine is made is in the store with the intent to make it: one transaction, not two."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.reasons import Reason
from reconciler.api.registry import KINDS
from reconciler.api.status.base import Status, Word, section
from reconciler.api.status.lieutenant import LieutenantStatus
from reconciler.core.decisions import Steady
from reconciler.core.values import replaced
from reconciler.engine.ports import AddEvent, Write
from reconciler.engine.registry import StatusUpdate
from reconciler.engine.state.heldstatuses import HeldStatuses
from reconciler.errors import Unreachable
from tests.conformance.kstatus import conditions_of
from tests.engine.stage import LT, Stage, failing, tell
from tests.store.samples import event, thing


def reconciling(status: dict[str, Any]) -> str:
    return str(conditions_of(status).get("Reconciling", {}).get("reason", ""))


def test_status_and_intent_are_one_transaction(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        writes: list[int] = []
        seen: list[tuple[str, int]] = []

        async def creating(act: Callable[[], Awaitable[Any]]) -> Any:
            image = await s.engine.store.load()
            (obj,) = (obj for obj in image.objects if obj.key == LT)
            seen.append((reconciling(dict(obj.status)), len([one for one in image.intents if one.owner.key.object == LT])))
            writes.append(s.weather.count("store.write"))
            return await act()

        await s.ready(await s.lieutenant("another"))  # the fleet has been listed then
        s.weather.rules["vers.create_vm"] = creating
        before = s.weather.count("store.write")
        await s.lieutenant()
        await s.ready()
        assert seen == [(Reason.CREATING_VM, 1)], "both are durable before the call"
        assert writes[0] - before == 2, "the declaration, and the intent with the status"
        told = [one.reason for one in s.controller.told if one.key == LT]
        assert told.index("Provisioning") < told.index("CreatedVM")
        stored_events = [one.reason for one in await s.engine.store.events(LT)]
        assert stored_events.count("Provisioning") == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
def test_what_tasks_waited_for_has_a_status_before_a_machine_is_made_for_it(tmp_path: Path) -> None:
    """Its tasks were told of a moment ago that it is not there; it was told of nothing, and a create is written down in its status."""

    async def story(s: Stage) -> None:
        seen: list[str] = []

        async def creating(act: Callable[[], Awaitable[Any]]) -> Any:
            seen.append(reconciling(s.status()))
            return await act()

        await s.ready(await s.lieutenant("another"))
        s.weather.rules["vers.create_vm"] = creating
        await s.says(await s.task("waits"), "Ready", Reason.LIEUTENANT_NOT_FOUND)
        await s.lieutenant()
        await s.ready()
        assert seen == [Reason.CREATING_VM]

    tell(tmp_path, story)


def test_a_transaction_that_fails_takes_neither(tmp_path: Path) -> None:
    """The declaration's write goes through, the one after it does not: no call was made, and the status is told with the next try."""

    async def story(s: Stage) -> None:
        async def second(act: Callable[[], Awaitable[Any]]) -> Any:
            del s.weather.rules["store.write"]
            s.weather.rules["store.write"] = failing(lambda: Unreachable("away"), times=2)
            return await act()

        await s.ready(await s.lieutenant("another"))
        s.weather.rules["store.write"] = second
        before = s.weather.count("store.write")
        await s.lieutenant()
        await s.until(lambda: s.weather.count("store.write") - before >= 3, "it was tried twice")
        assert s.weather.count("vers.create_vm") == 1
        await s.ready()
        assert s.weather.count("vers.create_vm") == 2

    tell(tmp_path, story)


def test_a_status_that_is_told_meanwhile_takes_the_place_of_the_one_that_is_held(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant()
        await s.ready()
        now = LieutenantStatus.load(s.status())
        first, second = (StatusUpdate(LT, replace(now, phase=phase), Steady()) for phase in ("Waiting", "Paused"))
        await s.engine.reporter.write([first], about_to_write=LT)
        assert s.status()["phase"] == now.phase, "it is not in force before it is written"
        await s.engine.reporter.write([second])
        await s.engine.table.update([(LT, lambda obj: replaced(obj, labels={"a": "b"}))])
        assert s.status()["phase"] == "Paused"

    tell(tmp_path, story)


def test_what_is_held_goes_with_the_next_write_and_only_once() -> None:
    held, obj = HeldStatuses(), thing("a")
    told = AddEvent(event())
    held.hold(obj.key, {"phase": "Provisioning"}, [told])
    writes: list[Write] = []
    assert held.join(obj, writes).status == {"phase": "Provisioning"}
    assert writes == [told]
    assert held.join(obj, writes) is obj
    held.hold(obj.key, {"phase": "Provisioning"}, [told])
    assert held.drop(obj.key) == [told], "heard already, so it is kept"
    assert held.join(obj, writes) is obj


def test_what_writes_statuses_is_there_before_anything_is_looked_at(tmp_path: Path) -> None:
    """Made with the first status, it would hold the event loop up for 25 ms and more."""

    @section
    class Toy(Status):
        more: Word = ""

    assert not Toy.adapter.pydantic_complete
    Toy.build()
    assert Toy.adapter.pydantic_complete

    async def story(s: Stage) -> None:
        assert [kind.name for kind in KINDS if not kind.status.adapter.pydantic_complete] == []
        assert s.status() == {}

    tell(tmp_path, story)
