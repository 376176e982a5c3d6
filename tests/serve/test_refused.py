"""A command that is refused is in the audit, with who it was refused to: the same one again is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.api.annotations import PROTECTION
from reconciler.core.audit import Actor, Change, Entry
from reconciler.core.keys import Json, Key
from reconciler.engine.state.declared import Declared
from reconciler.errors import Unreachable
from reconciler.serve.commands import Commands, naming
from reconciler.serve.refused import RefusedCommands
from tests.engine.stage import LT, Stage, failing, tell

DELETE: Json = {**naming(LT, "delete"), "by": "ann"}
WHY = "Lieutenant/default/api is protected from deletion"


def commands(s: Stage) -> Commands:
    engine = s.engine
    refused = RefusedCommands(engine.table, engine.clock, 100)
    return Commands(engine.declarations, lambda obj: False, engine.orphans.ask, engine.memory_desk.edit, refused.note)


async def refused(s: Stage) -> list[Entry]:
    return [entry for _, entry in await s.engine.store.audit() if entry.verb == "refused"]


async def protected(s: Stage) -> None:
    await s.declare(Declared(LT, {"role": "x", "profileRef": {"name": "lightweight"}}, {}, {PROTECTION: "enabled"}, "api"))
    await s.ready()


@pytest.mark.guarantee("G-28")
def test_a_deletion_that_protection_refuses_is_there_with_who_asked(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await protected(s)
        handle = commands(s).handle
        for _ in range(9):
            answer = await handle(DELETE)
            assert isinstance(answer.get("error"), dict)
        await handle({**DELETE, "by": "bob"})
        found = await refused(s)
        told = [(entry.actor, entry.key, entry.changes) for entry in found]
        ann = Actor("command", "ann")
        times = ["", " (2 times)", " (4 times)", " (8 times)"]
        assert told == [
            *((ann, LT, (Change("delete", None, f"{WHY}{often}"),)) for often in times),
            (Actor("command", "bob"), LT, (Change("delete", None, WHY),)),
        ]
        item = s.engine.table.lieutenant(LT)
        assert item is not None
        assert {entry.uid for entry in found} == {item.uid}

    tell(tmp_path, story)


def test_what_is_wrong_or_not_there_is_no_refusal(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        handle = commands(s).handle
        await handle({**naming(Key("Lieutenant", "default", "nobody"), "delete"), "by": "ann"})
        await handle({**naming(LT, "apply"), "spec": {"surprise": 1}, "labels": {}, "annotations": {}})
        assert await refused(s) == []

    tell(tmp_path, story)


def test_a_refusal_that_can_not_be_written_down_stays_one(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await protected(s)
        s.weather.rules["store.write"] = failing(lambda: Unreachable("away"), times=1)
        answer = await commands(s).handle(DELETE)
        assert answer["error"]["type"] == "Refused"  # type: ignore[index, call-overload]
        assert await refused(s) == []

    tell(tmp_path, story)
