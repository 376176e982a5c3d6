"""What agents remember over HTTP: read and changed with the token, by the operator of a cluster too, where nothing else is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.audit import Actor
from reconciler.core.governance.memory import LONGEST, MemoryEntry, Whose
from reconciler.engine.ports import PutMemory
from reconciler.views.remembered import book_of
from tests.serve.rig import BEARER, Served, fleet_served, small_fleet
from tests.serve.test_api import must_fit, told

PATH = "/api/v1/lieutenants/default/docs/memory"
SHARED = "/api/v1/memory/default"
SECRET = "sk-very-secret-value"
OLD = MemoryEntry(1_795_000_000.25, "e-1", f"the port is 8081, {SECRET}", "lieutenant/docs")


async def changed(served: Served, path: str, **asked: object) -> dict[str, object]:
    answer = await served.http.post(path, json=asked, headers=BEARER)
    assert answer.status_code == 200, answer.text
    must_fit(answer.json(), "Remembered")
    return dict(answer.json())


@pytest.mark.guarantee("G-32")
@pytest.mark.parametrize("cluster", [False, True])
async def test_memories_are_read_and_changed_wherever_objects_are_declared(tmp_path: Path, cluster: bool) -> None:
    async with fleet_served(tmp_path, small_fleet(), secrets=[SECRET], cluster=cluster) as served:
        await served.surface.store.write([PutMemory(Whose("default", "docs"), (OLD,))])
        before = await told(served, PATH.removeprefix("/api/v1"), "Memory")
        assert [(one["id"], one["by"], one["at"]) for one in before["entries"]] == [
            ("e-1", "lieutenant/docs", "2026-11-18T11:06:40.250000Z")
        ]
        assert SECRET not in str(before)
        done = await changed(served, PATH, add=["by hand", "and\nmore"], remove=["e-1"], by="ada")
        assert (done["added"], done["removed"], done["entries"]) == (2, 1, 2)
        after = await told(served, PATH.removeprefix("/api/v1"), "Memory")
        assert ([one["text"] for one in after["entries"]], [one["id"] for one in after["gone"]]) == (["by hand", "and\nmore"], ["e-1"])
        assert (after["gone"][0]["goneBy"], after["hash"]) == ("token (says ada)", done["hash"])
        assert book_of(after).digest == done["hash"]
        assert (await changed(served, SHARED, add=["for all"]))["entries"] == 1
        assert [one["text"] for one in (await told(served, "/memory/default", "Memory"))["entries"]] == ["for all"]
        written = [(entry.verb, entry.actor) for _, entry in await served.surface.store.audit()]
        own, shared = Actor("api", "token (says ada)"), Actor("api", "token")
        assert written == [("remembered", own), ("remembered", shared)], "what somebody says of himself is told as that"


@pytest.mark.guarantee("G-64")
async def test_without_the_token_nothing_that_is_remembered_changes(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet()) as served:
        for path in (PATH, SHARED):
            assert (await served.http.post(path, json={"add": ["x"]})).status_code == 401
        assert (await told(served, "/memory/default", "Memory"))["entries"] == []
    async with fleet_served(tmp_path / "other", small_fleet(), own=lambda client, server: False) as served:
        assert (await served.http.get(PATH)).status_code == 401


@pytest.mark.parametrize(
    ("path", "asked", "code", "says"),
    [
        (PATH.replace("docs", "nobody"), {"add": ["x"]}, 404, "nobody does not exist"),
        (PATH, {"add": ["x" * (LONGEST + 1)]}, 400, "too much to remember"),
        (PATH, {"add": [7]}, 422, "list of texts"),
        (PATH, {"text": "x"}, 400, "means nothing here"),
    ],
)
async def test_what_is_wrong_with_a_change_is_told(tmp_path: Path, path: str, asked: dict[str, object], code: int, says: str) -> None:
    async with fleet_served(tmp_path, small_fleet()) as served:
        answer = await served.http.post(path, json=asked, headers=BEARER)
        assert (answer.status_code, says in answer.json()["error"]["what"]) == (code, True), answer.text
        assert (await served.http.get(PATH.replace("docs", "nobody"))).status_code == 404
