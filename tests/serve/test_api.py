"""The JSON API over a real socket: what it shows, what it changes, whom it answers, and how much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from jsonschema import Draft202012Validator
from starlette.routing import Route

from reconciler.core.keys import Key
from reconciler.engine.ports import Event
from reconciler.engine.ports.store import HALTED
from reconciler.serve.api import openapi, reading
from reconciler.serve.api.asking import BODY
from reconciler.serve.http import Listening, api_routes
from reconciler.serve.server import Address
from tests.serve.rig import BEARER, NOW, TALK, TOKEN, Served, fleet_served, large_fleet, said, small_fleet

SECRET = 'sk-very"secret'
API = Key("Lieutenant", "default", "api")
WEB = Key("Lieutenant", "default", "web")


def happened(number: int) -> Event:
    return Event(API if number % 2 else WEB, "uid-1", "Warning" if number % 2 else "Normal", "Crashed", f"it ended, {SECRET}", NOW + number)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    events = [happened(number) for number in range(4)]
    async with fleet_served(tmp_path, small_fleet(), events, [("s-1", TALK)], [SECRET]) as found:
        yield found


async def told(served: Served, path: str, schema: str, **query: object) -> Any:
    """What a path answers; it is what the description of the API says."""
    answer = await served.http.get(f"/api/v1{path}", params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    must_fit(found, schema)
    return found


def must_fit(found: object, schema: str) -> None:
    whole = {"$ref": f"#/components/schemas/{schema}", "components": openapi.openapi()["components"]}
    Draft202012Validator(whole).validate(found)


def names(listed: Mapping[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


# --- reading ------------------------------------------------------------------------------------------------------------------


async def test_objects_of_a_kind_by_namespace_label_standing_and_phase(served: Served) -> None:
    assert names(await told(served, "/lieutenants", "List")) == ["api", "docs", "prod-lead", "sleeper", "unlucky", "web"]
    assert names(await told(served, "/lt", "List", labelSelector="team=web")) == ["sleeper", "web"]
    assert names(await told(served, "/lieutenants", "List", standing="needs-you")) == ["api"]
    assert names(await told(served, "/lieutenants", "List", standing="failed")) == ["unlucky"]
    assert names(await told(served, "/tasks", "List", phase="Running")) == ["web-now"]
    assert names(await told(served, "/lieutenants", "List", namespace="another")) == []


async def test_a_list_goes_on_where_a_page_of_it_ended(served: Served) -> None:
    seen: list[str] = []
    query: dict[str, object] = {"limit": 4}
    while True:
        page = await told(served, "/lieutenants", "List", **query)
        seen += names(page)
        if "continue" not in page["metadata"]:
            break
        assert page["metadata"]["remainingItemCount"] == 6 - len(seen)
        query["continue"] = page["metadata"]["continue"]
    assert seen == ["api", "docs", "prod-lead", "sleeper", "unlucky", "web"]


@pytest.mark.guarantee("G-65")
async def test_a_page_ends_by_its_bytes_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE_BYTES", 100)
    page = await told(served, "/lieutenants", "List")
    assert names(page) == ["api"]
    assert page["metadata"]["remainingItemCount"] == 5


async def test_one_object_is_the_resource_as_get_prints_it(served: Served) -> None:
    found = await told(served, "/lieutenants/default/api", "Object")
    assert (found["kind"], found["metadata"]["name"], found["status"]["phase"]) == ("Lieutenant", "api", "Stalled")
    assert "record" not in found


async def test_the_fleet_by_who_has_to_do_something(served: Served) -> None:
    found = await told(served, "/fleet", "Rows")
    assert [(row["name"], row["standing"]) for row in found["items"]] == [
        ("api", "needs-you"),
        ("web", "working"),
        ("docs", "ready"),
        ("prod", "ready"),
        ("prod-lead", "ready"),
        ("sleeper", "asleep"),
        ("unlucky", "failed"),
    ]
    assert found["counts"] == {"needs-you": 1, "working": 1, "ready": 3, "asleep": 1, "failed": 1}
    assert [row["name"] for row in (await told(served, "/fleet", "Rows", limit=2, offset=1))["items"]] == ["web", "docs"]


async def test_events_of_all_and_of_one_and_after_one(served: Served) -> None:
    found = await told(served, "/events", "Events")
    assert [event["involvedObject"]["name"] for event in found["items"]] == ["web", "api", "web", "api"]
    of_one = await told(served, "/events", "Events", **{"for": "lieutenant/default/api"})
    assert {event["involvedObject"]["name"] for event in of_one["items"]} == {"api"}
    later = await told(served, "/events", "Events", after=found["items"][1]["seq"])
    assert [event["seq"] for event in later["items"]] == [event["seq"] for event in found["items"][2:]]


async def test_capacity_usage_and_plan(served: Served) -> None:
    capacity = await told(served, "/capacity", "Capacity")
    assert (capacity["maxVMs"], capacity["breaker"], capacity["halted"]) == (20, "", "")
    usage = await told(served, "/usage", "Usage")
    kinds = {"input": 3609, "output": 1020, "cacheRead": 0, "cacheWrite": 0}
    money = {"cost": "0.037500", "machineHours": "0.00", "costUnknown": 0}
    assert usage["total"] == {"tokens": 4629, "answers": 6, **kinds, **money}
    assert {row["name"]: row["answers"] for row in usage["byTree"]} == {"default/prod": 2, "-": 4}
    assert [row["name"] for row in usage["byLieutenant"]] == ["default/prod-lead", "default/unlucky", "default/docs"]
    assert (await told(served, "/usage", "Usage", namespace="other"))["total"]["answers"] == 0
    await asyncio.gather(*(told(served, "/plan", "Plan") for _ in range(5)))
    assert served.foreseen == 1, "however many ask, it is made once"


async def test_that_the_fleet_is_halted_is_told_by_api_and_page_until_it_goes_on(served: Served) -> None:
    http = served.http

    async def shown() -> tuple[str, list[bool]]:
        pages = [(await http.get(path)).text for path in ("/", "/capacity")]
        halted = (await told(served, "/capacity", "Capacity"))["halted"]
        stands = [bool(halted) and f"since {halted}" in page for page in pages]
        return halted, stands

    assert await shown() == ("", [False, False])
    since = await served.engine.declarations.halt(True)
    assert await shown() == (since, [True, True])
    assert await served.engine.store.meta(HALTED) == since, "and is kept"
    await served.engine.declarations.halt(False)
    assert await shown() == ("", [False, False])


async def test_a_conversation_from_its_end_and_before(served: Served) -> None:
    path = "/lieutenants/default/api/conversation"
    last = await told(served, path, "Conversation", limit=2)
    assert [one["role"] for one in last["messages"]] == ["toolResult", "assistant"]
    assert (last["size"], last["end"]) == (len(TALK), len(TALK))
    earlier = await told(served, path, "Conversation", limit=50, before=last["before"])
    assert len(earlier["messages"]) == 4
    assert earlier["messages"][1]["calls"] == [{"id": "c1", "tool": "write", "about": "server.js"}]
    assert earlier["before"] is None
    more = said("assistant", "And on.")
    await served.say("s-1", more)
    assert [one["text"] for one in (await told(served, path, "Conversation", after=len(TALK)))["messages"]] == ["And on."]


@pytest.mark.guarantee("G-65")
async def test_a_conversation_of_30_mb_is_read_a_piece_at_a_time(tmp_path: Path) -> None:
    lines = [said("user", f"{number} " + "x" * 30_000) for number in range(1000)]
    huge = b"".join(lines) + said("toolResult", "y" * 20_000_000) + said("assistant", "the end")
    async with fleet_served(tmp_path, small_fleet(), talks=[("s-1", huge)]) as served:
        path = "/lieutenants/default/api/conversation"
        last = await told(served, path, "Conversation", limit=200)
        assert [one["text"] for one in last["messages"]] == ["the end"]
        passed = await told(served, path, "Conversation", limit=5, before=last["before"])
        while passed["messages"] == []:
            assert passed["skipped"] > 0, "what is too long a line is passed over, and that is said"
            passed = await told(served, path, "Conversation", limit=5, before=passed["before"])
        assert [one["text"].split(" ")[0] for one in passed["messages"]] == ["995", "996", "997", "998", "999"]
        assert all(len(one["text"]) < 20_000 for one in passed["messages"])


# --- what never leaves ----------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-60")
async def test_no_secret_leaves_whatever_the_path(served: Served) -> None:
    await served.status(API, note=f"{SECRET} and {json.dumps(SECRET)}")
    await served.say("s-1", said("assistant", f"the key is {SECRET}"))
    for path in ("/lieutenants", "/lieutenants/default/api", "/events", "/lieutenants/default/api/conversation", "/fleet"):
        answer = await served.http.get(f"/api/v1{path}")
        assert answer.status_code == 200
        assert SECRET not in answer.text
        assert json.dumps(SECRET)[1:-1] not in answer.text
        answer.json()
    assert "[redacted]" in (await served.http.get("/api/v1/events")).text


@pytest.mark.guarantee("G-65")
async def test_nothing_in_an_answer_is_obeyed_by_a_terminal(served: Served) -> None:
    await served.status(API, note="\x1b[31m\u202e\x9b red")
    answer = await served.http.get("/api/v1/lieutenants/default/api")
    assert not set(answer.text) & set("\x1b\u202e\x9b")
    assert answer.json()["status"]["note"] == "\x1b[31m\u202e\x9b red"


# --- changing -------------------------------------------------------------------------------------------------------------------


async def done(served: Served, path: str, **asked: object) -> httpx.Response:
    return await served.http.post(f"/api/v1{path}", json=asked, headers=BEARER)


async def test_send_and_steer_declare_a_task(served: Served) -> None:
    for steer in (False, True):
        answer = await done(
            served, "/lieutenants/default/docs/send", prompt="Write it down", steer=steer, after=["docs-1"], files=["notes.txt"]
        )
        assert answer.status_code == 201, answer.text
        must_fit(answer.json(), "Done")
        made = served.engine.table.get(Key("Task", "default", answer.json()["name"]))
        assert made is not None
        assert made.obj.source == "api"
        assert made.obj.spec["prompt"] == "Write it down"
        assert made.obj.spec.get("delivery") == ("Steer" if steer else None)
        assert made.obj.spec["after"] == [{"name": "docs-1"}]


async def test_suspend_resume_cancel_and_retry_are_declarations(served: Served) -> None:
    def spec(key: Key) -> Mapping[str, Any]:
        item = served.engine.table.get(key)
        assert item is not None
        return item.obj.spec

    docs = Key("Lieutenant", "default", "docs")
    assert (await done(served, "/lieutenants/default/docs/suspend")).status_code == 200
    assert spec(docs)["mode"] == "Suspended"
    assert (await done(served, "/lieutenants/default/docs/resume")).status_code == 200
    assert spec(docs)["mode"] == "Running"
    assert (await done(served, "/tasks/default/web-now/cancel")).status_code == 200
    assert spec(Key("Task", "default", "web-now"))["cancel"] is True
    assert (await done(served, "/lieutenants/default/api/retry")).status_code == 200
    item = served.engine.table.get(API)
    assert item is not None
    assert "fleet.vers.sh/retry" in item.obj.annotations


async def test_a_question_is_answered(served: Served) -> None:
    key = Key("Task", "default", "web-now")
    await served.status(key, phase="AwaitingApproval", asks=[{"id": "a1", "call": "bash(rm x)"}, {"id": "a2", "call": "bash(ls)"}])
    page = (await served.http.get("/tasks/default/web-now")).text
    assert "bash(rm x)" in page
    assert (await done(served, "/tasks/default/web-now/deny", ids=["a1"], reason="not that file")).status_code == 200
    assert (await done(served, "/tasks/default/web-now/approve", ids=["a2"])).status_code == 200
    item = served.engine.table.get(key)
    assert item is not None
    assert item.obj.spec["approvals"] == [
        {"id": "a1", "decision": "Deny", "reason": "not that file"},
        {"id": "a2", "decision": "Approve"},
    ]
    assert (await done(served, "/tasks/default/web-now/approve", ids=["a9"])).status_code == 409


async def test_who_names_no_question_means_those_that_nobody_has_answered(served: Served) -> None:
    """The controller may not have seen the last answer yet, and it must not become another one."""
    key = Key("Task", "default", "web-now")

    async def told(decision: str, **asked: object) -> list[str]:
        answer = await done(served, f"/tasks/default/web-now/{decision}", **asked)
        item = served.engine.table.get(key)
        assert item is not None
        given = item.obj.spec.get("approvals", [])
        assert isinstance(given, list)
        return [*([answer.text] if answer.status_code != 200 else []), *(f"{one['id']} {one['decision']}" for one in given)]  # type: ignore[index,call-overload]

    await served.status(key, phase="AwaitingApproval", asks=[{"id": "a1", "call": "bash(rm x)"}, {"id": "a2", "call": "bash(ls)"}])
    assert await told("deny", ids=["a1"]) == ["a1 Deny"]
    assert await told("approve") == ["a1 Deny", "a2 Approve"]
    refused, *given = await told("approve")
    assert "what it asked was answered already (a1, a2), and is being carried out" in refused
    assert given == ["a1 Deny", "a2 Approve"]
    await served.status(key, phase="AwaitingApproval", asks=[{"id": "a3", "call": "bash(ls)"}])
    refused, *_ = await told("approve", ids=["a1"])
    assert "question a1 was answered already (Deny)" in refused


@pytest.mark.parametrize(
    ("path", "asked", "code", "says"),
    [
        ("/lieutenants/default/nobody/send", {"prompt": "x"}, 404, "does not exist"),
        ("/tasks/default/docs-1/cancel", {}, 409, "Succeeded already"),
        ("/tasks/default/docs-1/retry", {}, 409, "one result"),
        ("/tasks/default/web-now/send", {"prompt": "x"}, 400, "takes no work"),
        ("/lieutenants/default/docs/send", {"prompt": " "}, 400, "empty"),
        ("/lieutenants/default/docs/send", {"prompt": 7}, 400, "string"),
        ("/lieutenants/default/docs/send", {"prompt": "x", "sudo": True}, 400, "means nothing"),
        ("/lieutenants/default/docs/send", {"prompt": "x" * 70_000}, 422, ""),
        ("/lieutenants/default/docs/suspend", {"confirm": "yes"}, 400, "true or false"),
        ("/bp/default/x/suspend", {}, 404, "does not exist"),
        ("/pods/default/x/suspend", {}, 404, "no kind"),
    ],
)
async def test_what_is_wrong_is_told_with_a_remedy(served: Served, path: str, asked: dict[str, object], code: int, says: str) -> None:
    answer = await done(served, path, **asked)
    assert answer.status_code == code, answer.text
    must_fit(answer.json(), "Error")
    assert says in answer.json()["error"]["what"]


async def test_what_a_file_declares_is_refused_and_the_file_is_named(tmp_path: Path) -> None:
    from dataclasses import replace

    objects = [replace(one, source="file", origin="fleet/web.yaml:3") for one in small_fleet() if one.key == WEB]
    async with fleet_served(tmp_path, objects) as served:
        answer = await done(served, "/lieutenants/default/web/suspend")
        assert answer.status_code == 409
        assert answer.json()["error"]["where"] == "fleet/web.yaml:3"


async def test_what_a_cluster_declares_is_changed_there(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet(), cluster=True) as served:
        answer = await done(served, "/lieutenants/default/docs/suspend")
        assert answer.status_code == 409
        assert "kubectl" in answer.json()["error"]["remedy"]


async def test_an_operator_that_stands_by_knows_nothing(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet(), stands_by=True) as served:
        answer = await served.http.get("/api/v1/lieutenants")
        assert answer.status_code == 503
        assert "stands by" in answer.json()["error"]["what"]
        assert (await served.http.get("/healthz")).status_code != 401


# --- who may --------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": "reconciler_1=x"}]
)
async def test_another_user_of_this_host_is_shown_nothing(tmp_path: Path, header: dict[str, str]) -> None:
    async with fleet_served(tmp_path, small_fleet(), own=lambda client, server: False) as served:
        for path in ("/api/v1", "/api/v1/lieutenants", "/api/v1/stream", "/api/v1/openapi.json", "/metrics", "/api/v1/nothing"):
            answer = await served.http.get(path, headers=header)
            assert answer.status_code == 401, path
            assert "Keep the API" not in answer.text
        assert (await served.http.get("/api/v1/lieutenants", headers=BEARER)).status_code == 200


@pytest.mark.guarantee("G-64")
async def test_without_a_token_this_user_reads_and_changes_nothing(served: Served) -> None:
    assert (await served.http.get("/api/v1/lieutenants")).status_code == 200
    before = served.engine.revision
    for act in ("send", "suspend", "resume", "cancel", "retry"):
        answer = await served.http.post(f"/api/v1/lieutenants/default/docs/{act}", json={"prompt": "x"})
        assert answer.status_code == 401, act
    assert served.engine.revision == before


@pytest.mark.guarantee("G-64")
async def test_the_kernel_says_whose_a_connection_is(tmp_path: Path) -> None:
    from reconciler.serve.credentials import is_own

    async with fleet_served(tmp_path, small_fleet(), own=is_own) as served:
        assert (await served.http.get("/api/v1/lieutenants")).status_code == 200


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "a b", "[::2]"])
async def test_a_name_that_only_points_here_is_refused(served: Served, host: str) -> None:
    answer = await served.http.get("/api/v1/lieutenants", headers={"Host": host, **BEARER})
    assert answer.status_code in (400, 421)
    assert "items" not in answer.text


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_what_comes_through_a_proxy_or_from_another_page_is_not_this_user(served: Served, headers: dict[str, str]) -> None:
    assert (await served.http.get("/api/v1/lieutenants", headers=headers)).status_code == 401


@pytest.mark.guarantee("G-64")
async def test_beyond_loopback_everything_needs_the_token(tmp_path: Path) -> None:
    everywhere = Listening(Address("0.0.0.0", 0), plain=True)
    async with fleet_served(tmp_path, small_fleet(), listening=everywhere) as served:
        assert (await served.http.get("/api/v1/lieutenants")).status_code == 401
        assert (await served.http.get("/api/v1/lieutenants", headers={"Host": "fleet.example.com", **BEARER})).status_code == 200
        assert (await served.http.get("/healthz")).status_code != 401


# --- bounds ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-65")
async def test_bodies_and_addresses_are_bounded(served: Served) -> None:
    path = "/api/v1/lieutenants/default/docs/send"
    for content in (b"x" * (BODY + 1), _chunks()):
        answer = await served.http.post(path, content=content, headers=BEARER)
        assert answer.status_code == 413
    for body in (b"{", b"[1]", b"[" * 200_000, b"\xff"):
        assert (await served.http.post(path, content=body, headers=BEARER)).status_code == 400
    assert (await served.http.get("/api/v1/lieutenants", params={"labelSelector": "a" * 5000})).status_code == 400
    assert (await served.http.get("/api/v1/" + "a" * 20_000)).status_code in (400, 404, 414)
    for query in ({"limit": "0"}, {"limit": "1001"}, {"limit": "ten"}, {"continue": "%%"}, {"labelSelector": "a=b,,"}, {"standing": "odd"}):
        answer = await served.http.get("/api/v1/lieutenants", params=query)
        assert answer.status_code == 400, query
        must_fit(answer.json(), "Error")
    assert (await served.http.get("/api/v1/lieutenants")).status_code == 200


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(BODY // 65536 + 1):
        yield b"x" * 65536


async def test_many_objects_are_listed_a_page_at_a_time(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, large_fleet(3000)) as served:
        page = await told(served, "/lieutenants", "List")
        assert len(page["items"]) == 500
        assert page["metadata"]["remainingItemCount"] == 2500


# --- its description ------------------------------------------------------------------------------------------------------------


async def test_the_description_names_every_route_and_no_other(served: Served) -> None:
    answer = (await served.http.get("/api/v1/openapi.json")).json()
    described = {(method.upper(), path) for path, item in answer["paths"].items() for method in item}
    routes = {
        (method, route.path)
        for route in api_routes(None)  # type: ignore[arg-type]
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert described == routes
    for schema in answer["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
