"""What is changed over HTTP is in the audit by its own door, with what is known of who asked: never as a command of somebody."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.api.annotations import PROTECTION
from reconciler.core.audit import Actor
from reconciler.core.keys import Json, Key
from reconciler.engine.state.declared import Declared
from reconciler.views.audit import audit_document
from tests.serve.rig import BEARER, Served, fleet_served, small_fleet
from tests.serve.test_page import mark_in, signed_in

WORK = Key("Task", "default", "web-now")
PAGE, API = Actor("page", "token"), Actor("api", "token")


async def written(served: Served) -> list[tuple[str, str, Actor]]:
    """Verb, object and actor of every entry, oldest first."""
    return [(entry.verb, entry.key.name, entry.actor) for _, entry in await served.surface.store.audit()]


@pytest.mark.guarantee("G-64")
async def test_an_approval_on_the_page_and_one_by_the_api_are_told_apart(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet()) as served:
        await served.status(WORK, phase="AwaitingApproval", asks=[{"id": name, "call": "bash(rm x)"} for name in ("a1", "a2", "a3")])
        http = await signed_in(served)
        mark = mark_in((await http.get("/tasks/default/web-now")).text)
        assert (await http.post("/tasks/default/web-now/approve", data={"mark": mark, "ids": "a1"})).status_code == 303
        approve = "/api/v1/tasks/default/web-now/approve"
        assert (await served.http.post(approve, json={"ids": ["a2"]}, headers=BEARER)).status_code == 200
        by_script = await http.post("/api/v1/tasks/default/web-now/deny", json={"ids": ["a3"]}, headers={"X-Form-Mark": mark})
        assert by_script.status_code == 200
        suspend = "/api/v1/lieutenants/default/docs/suspend"
        assert (await served.http.post(suspend, json={}, headers=BEARER)).status_code == 200
        assert await written(served) == [
            ("approved", "web-now", PAGE),
            ("approved", "web-now", API),
            ("denied", "web-now", PAGE),
            ("changed", "docs", API),
        ]
        documents = [audit_document(seq, entry)["status"] for seq, entry in await served.surface.store.audit()]
        assert [(one["door"], one["who"], one["verb"]) for one in documents if isinstance(one, dict)][:2] == [
            ("page", "token", "approved"),
            ("api", "token", "approved"),
        ]


@pytest.mark.guarantee("G-64")
async def test_nobody_names_himself_where_the_token_is_all_that_is_known(tmp_path: Path) -> None:
    """A body, or a request that is made from it, can neither choose the door nor be somebody."""
    async with fleet_served(tmp_path, small_fleet()) as served:
        for said in ({"by": "root"}, {"door": "command"}):
            answer = await served.http.post("/api/v1/lieutenants/default/docs/suspend", json=said, headers=BEARER)
            assert answer.status_code == 400, answer.text
        memory = await served.http.post("/api/v1/memory/default", json={"add": ["x"], "by": "r" * 500}, headers=BEARER)
        assert memory.status_code == 200
        ((_, _, actor),) = await written(served)
        assert (actor.door, actor.who[:15], len(actor.who)) == ("api", "token (says rrr", 200)


@pytest.mark.guarantee("G-28")
async def test_what_the_api_is_refused_is_told_as_that_of_the_api(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, []) as served:
        key = Key("Lieutenant", "default", "kept")
        spec: Json = {"role": "x", "profileRef": {"name": "lightweight"}}
        await served.engine.declarations.apply(Declared(key, spec, {}, {PROTECTION: "enabled"}, "file", "/a.yaml:1"))
        answer = await served.http.post("/api/v1/lieutenants/default/kept/suspend", json={}, headers=BEARER)
        assert answer.status_code == 409, answer.text
        assert (await written(served))[-1] == ("refused", "kept", API)
