"""VersClient against a real HTTP server that answers every shape the platform is known to answer (vers-api §2.0, §5)."""

from __future__ import annotations

import asyncio
import gzip
import logging
import random
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from vers_stub import Action, Garbage, Half, Hang, Platform, Reply, Request, Reset, json_reply, platform, text_reply

from reconciler.core.snapshot.machine import BranchSource, CommitSource, RootSource, VmShape
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.ports import VersApi
from reconciler.errors import (
    REFUSED,
    Conflict,
    DoubtfulRefusal,
    Forbidden,
    Indeterminate,
    NoRoom,
    NotFound,
    RateLimited,
    ReconcilerError,
    Rejected,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from reconciler.vers import wire
from reconciler.vers.client import Timeouts, VersClient
from reconciler.vers.keys import Settings

ACCOUNT = "0f5a6b1c-1111-4222-8333-444455556666"
TAIL = "c0ffee" * 10 + "beef"
KEY = ACCOUNT + TAIL
VM, OTHER = "11111111-2222-4333-8444-555555555555", "11111111-2222-4333-8444-666666666666"
COMMIT = "99999999-8888-4777-8666-555555555555"
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing here is https; loading the real ones takes time
ROW = {"vm_id": VM, "owner_id": ACCOUNT, "created_at": "2026-04-17T20:01:02Z", "state": "running", "labels": {"a": "b"}}
META = {"vm_id": VM, "owner_id": ACCOUNT, "created_at": "2026-04-17T20:01:02.123456789+02:00", "state": "sleeping", "ip": "fd00::1"}


class Pauses:
    """Stands for the clock's sleep: remembers what was asked and returns at once."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)


@asynccontextmanager
async def connected(
    served: Platform, *, pauses: Pauses | None = None, env: dict[str, str] | None = None, concurrency: int = 50, seconds: float = 30.0
) -> AsyncIterator[VersClient]:
    environment = env if env is not None else {"VERS_API_KEY": KEY, "VERS_BASE_URL": served.url}
    client = VersClient(
        Settings(environment, Path("/nonexistent")),
        concurrency=concurrency,
        timeouts=Timeouts(seconds, seconds, seconds, seconds, seconds, seconds, seconds),
        sleep=pauses or Pauses(),
        tls=NO_AUTHORITIES,
    )
    try:
        yield client
    finally:
        await client.aclose()


def always(action: Action) -> AbstractAsyncContextManager[Platform]:
    return platform(lambda _: action)


Operation = Callable[[VersClient], object]


async def create_root(client: VersClient) -> object:
    return await client.create_vm(RootSource(), VmShape(1, 512, 1024), {"owner": "me"}, "token-1")


async def restore(client: VersClient) -> object:
    return await client.create_vm(CommitSource(COMMIT), VmShape(), {}, "token-1")


async def commit(client: VersClient) -> object:
    return await client.commit(VM, "snapshot-1")


async def list_vms(client: VersClient) -> object:
    return await client.list_vms()


async def get_vm(client: VersClient) -> object:
    return await client.get_vm(VM)


async def get_metadata(client: VersClient) -> object:
    return await client.get_metadata(VM)


async def ssh_key(client: VersClient) -> object:
    return await client.ssh_key(VM)


async def delete(client: VersClient) -> object:
    return await client.delete_vm(VM)


async def suspend(client: VersClient) -> object:
    return await client.suspend_vm(VM)


async def resume(client: VersClient) -> object:
    return await client.resume_vm(VM)


async def set_labels(client: VersClient) -> object:
    return await client.set_labels(VM, {"a": "b"})


CREATES = [create_root, restore]
ONCE = [create_root, restore, commit, suspend, resume]
READS = [list_vms, get_vm, get_metadata, ssh_key]
REPEATED = [*READS, delete, set_labels]
EVERYTHING = [*ONCE, *REPEATED]
AGAIN = [suspend, resume, *REPEATED]


def name(operation: Operation) -> str:
    return operation.__name__


# --- what goes right -------------------------------------------------------------------------------------------------------


async def test_the_client_is_the_port() -> None:
    async with always(json_reply([])) as served, connected(served) as client:
        api: VersApi = client
        assert api.account() == ACCOUNT


async def test_a_list_becomes_observations_with_the_platforms_clock() -> None:
    rows = [
        ROW,
        {**ROW, "vm_id": VM.replace("1", "2"), "state": "Paused", "labels": None, "surprise": {"x": 1}},
        {**ROW, "vm_id": VM.replace("1", "3"), "state": "hibernating", "created_at": "2026-04-17T22:01:02.123456789+02:00"},
        {key: value for key, value in ROW.items() if key != "labels"} | {"vm_id": VM.replace("1", "4"), "state": "sleeping"},
    ]
    reply = json_reply(rows, Date="Fri, 17 Apr 2026 20:05:00 GMT")
    async with always(reply) as served, connected(served) as client:
        seen = await client.list_vms()
    assert [vm.state for vm in seen.vms.values()] == [VmState.RUNNING, VmState.SUSPENDED, VmState.UNKNOWN, VmState.SUSPENDED]
    first, second, third, _ = seen.vms.values()
    assert (first.vm_id, first.owner_id, first.created_at, dict(first.labels)) == (VM, ACCOUNT, 1776456062.0, {"a": "b"})
    assert dict(second.labels) == {}
    assert third.created_at == pytest.approx(1776456062.123456)
    assert seen.server_time == 1776456300.0
    assert seen.begun <= seen.ended
    assert served.requests[0].target == "/api/v1/vms"
    assert served.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_ten_thousand_rows_arrive_whole() -> None:
    rows = [{**ROW, "vm_id": str(UUID(int=i)), "created_at": f"2026-04-17T20:01:02.{i:09d}Z"} for i in range(10_000)]
    async with always(json_reply(rows)) as served, connected(served) as client:
        seen = await client.list_vms()
    assert len(seen.vms) == 10_000
    assert seen.vms[str(UUID(int=9_999))].state is VmState.RUNNING
    assert seen.server_time is None


async def test_only_rows_that_say_something_new_are_read_again() -> None:
    ids = [VM.replace("1", digit) for digit in "1234"]
    rows = [{**ROW, "vm_id": vm_id} for vm_id in ids]
    async with always(json_reply(rows)) as served, connected(served) as client:
        before = (await client.list_vms()).vms
        changed = [rows[0], {**rows[1], "state": "paused"}, {**rows[2], "labels": {"a": "c"}}]  # the fourth is gone
        served.handler = lambda _: json_reply([*changed, {"vm_id": ids[3]}])
        with pytest.raises(Unreachable, match="a time is missing"):
            await client.list_vms()
        served.handler = lambda _: json_reply(changed)
        after = (await client.list_vms()).vms
        assert list(after) == ids[:3]
        assert after[ids[0]] is before[ids[0]]
        assert (after[ids[1]].state, before[ids[1]].state) == (VmState.SUSPENDED, VmState.RUNNING)
        assert (after[ids[2]].labels, before[ids[2]].labels) == ({"a": "c"}, {"a": "b"})
        served.handler = lambda _: json_reply(rows)
        assert (await client.list_vms()).vms == before


async def test_a_json_body_without_content_type_is_read() -> None:
    async with always(Reply(200, b'  [{"vm_id":"x","created_at":"2026-01-01T00:00:00Z"}]')) as served, connected(served) as client:
        assert (await client.list_vms()).vms["x"].state is VmState.UNKNOWN


async def test_a_compressed_answer_is_read_and_a_broken_one_is_no_answer() -> None:
    packed = gzip.compress(json_reply([ROW]).body)
    headers = {"Content-Encoding": "gzip"}
    async with always(Reply(200, packed, "application/json", headers)) as served, connected(served) as client:
        assert VM in (await client.list_vms()).vms
        served.handler = lambda _: Reply(200, b"not gzip", "application/json", headers)
        with pytest.raises(Unreachable):
            await client.list_vms()


@pytest.mark.guarantee("G-65")
async def test_an_answer_without_measure_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_MAX_BODY", 10_000)
    async with always(Reply(200, b" " * 100_000, "application/json")) as served, connected(served) as client:
        with pytest.raises(Unreachable, match="larger than"):
            await client.get_vm(VM)
        served.handler = lambda _: json_reply(ROW)
        assert (await client.get_vm(VM)).vm_id == VM


@pytest.mark.parametrize("missing", [text_reply("not found", 404), Reply(405), json_reply({"error": "not found", "success": False}, 404)])
async def test_the_list_falls_back_to_its_other_path_and_remembers_it(missing: Reply) -> None:
    async with platform(lambda r: json_reply([ROW]) if r.path == "/api/v1/vm" else missing) as served, connected(served) as client:
        assert VM in (await client.list_vms()).vms
        assert VM in (await client.list_vms()).vms
        assert [r.path for r in served.requests] == ["/api/v1/vms", "/api/v1/vm", "/api/v1/vm"]


async def test_metadata_tells_the_lineage() -> None:
    body = {**META, "parent_commit_id": COMMIT, "grandparent_vm_id": None, "deleted_at": "2026-04-17T21:00:00Z", "vcpu_count": 2}
    async with always(json_reply(body)) as served, connected(served) as client:
        seen = await client.get_metadata(VM)
    assert (seen.parent_commit_id, seen.grandparent_vm_id, seen.state) == (COMMIT, None, VmState.SUSPENDED)
    assert seen.deleted_at == 1776459600.0


async def test_a_root_carries_sizes_labels_and_the_token() -> None:
    async with always(json_reply({"vm_id": VM}, 201)) as served, connected(served) as client:
        created = await client.create_vm(RootSource("default"), VmShape(vcpus=2, disk_mib=8192), {"fleet": "x"}, "intent-7")
    request = served.requests[0]
    assert created == VM
    assert (request.method, request.target) == ("POST", "/api/v1/vm/new_root?wait_boot=false")
    assert request.json() == {"vm_config": {"image_name": "default", "vcpu_count": 2, "fs_size_mib": 8192, "labels": {"fleet": "x"}}}
    assert request.headers["x-idempotency-key"] == "intent-7"


@pytest.mark.parametrize(
    ("source", "sent"),
    [(CommitSource(COMMIT), {"commit_id": COMMIT})],
    ids=["commit"],
)
@pytest.mark.parametrize("body", [{"vm_id": VM}, {"vms": [{"vm_id": VM}]}, {"vms": [{"vm_id": VM}], "error": "one of two failed"}])
async def test_a_restore_takes_either_form_of_answer(source: CommitSource, sent: object, body: object) -> None:
    async with always(json_reply(body, 201)) as served, connected(served) as client:
        assert await client.create_vm(source, VmShape(4, 4096, None), {"fleet": "x"}, "t") == VM
    assert served.requests[0].json() == sent


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("body", [{"vm_id": OTHER}, {"vms": [{"vm_id": OTHER}]}])
async def test_a_live_copy_is_one_of_a_running_vm_and_has_no_body(body: object) -> None:
    async with always(json_reply(body, 201)) as served, connected(served) as client:
        assert await client.create_vm(BranchSource(VM), VmShape(4, 4096, None), {"fleet": "x"}, "t") == OTHER
    request = served.requests[0]
    assert (request.method, request.target) == ("POST", f"/api/v1/vm/branch/by_vm/{VM}?count=1&keep_paused=false")
    assert request.body == b""


@pytest.mark.guarantee("G-02")
async def test_a_live_copy_is_asked_for_once() -> None:
    async with always(json_reply({"error": "oops"}, 500)) as served, connected(served) as client:
        with pytest.raises(Indeterminate):
            await client.create_vm(BranchSource(VM), VmShape(), {}, "t")
    assert len(served.requests) == 1


@pytest.mark.parametrize("field", ["commit_id", "id"])
async def test_a_commit_answers_under_either_name(field: str) -> None:
    async with always(json_reply({field: COMMIT}, 201)) as served, connected(served) as client:
        assert await client.commit(VM, "before-upgrade") == COMMIT
    assert served.requests[0].json() == {"name": "before-upgrade"}


@pytest.mark.parametrize("operation", [delete, suspend, resume, set_labels], ids=name)
async def test_an_empty_answer_is_a_success(operation: Operation) -> None:
    async with always(Reply(200)) as served, connected(served) as client:
        await operation(client)  # type: ignore[misc]
    assert len(served.requests) == 1


async def test_deleting_what_is_not_there_is_done() -> None:
    async with always(json_reply({"error": "not found", "success": False}, 404)) as served, connected(served) as client:
        await client.delete_vm(VM)
    assert [r.method for r in served.requests] == ["DELETE"]


# --- the two dialects of suspend (vers-api §3.3) ------------------------------------------------------------------------------


def speaking(word: str) -> Callable[[Request], Action]:
    def answer(request: Request) -> Action:
        sent = request.json()
        assert isinstance(sent, dict)
        if sent["state"] in (word, "Running"):
            return Reply(200)
        variant = f"state: unknown variant `{sent['state']}`, expected `{word}` or `Running` at line 1 column 19"
        return text_reply(f"Failed to deserialize the JSON body into the target type: {variant}", 422)

    return answer


@pytest.mark.parametrize(("word", "calls"), [("Sleeping", 1), ("Paused", 2)])
async def test_the_dialect_is_found_once_per_platform(word: str, calls: int) -> None:
    async with platform(speaking(word)) as served, connected(served) as client:
        await client.suspend_vm(VM)
        assert len(served.requests) == calls
        await client.suspend_vm(VM)
        assert len(served.requests) == calls + 1
        await client.resume_vm(VM)
        served.handler = speaking("Paused" if word == "Sleeping" else "Sleeping")  # the platform was upgraded
        await client.suspend_vm(VM)


async def test_another_422_is_not_taken_for_a_dialect() -> None:
    async with always(text_reply("Failed to deserialize: missing field", 422)) as served, connected(served) as client:
        with pytest.raises(Rejected):
            await client.suspend_vm(VM)
        assert len(served.requests) == 1


@pytest.mark.parametrize(("operation", "state"), [(suspend, "paused"), (resume, "running")], ids=["suspend", "resume"])
async def test_a_refusal_of_what_is_so_already_is_a_success(operation: Operation, state: str) -> None:
    def answer(request: Request) -> Action:
        return (
            json_reply({"error": "invalid state", "success": False}, 400)
            if request.method == "PATCH"
            else json_reply({**ROW, "state": state})
        )

    async with platform(answer) as served, connected(served) as client:
        await operation(client)  # type: ignore[misc]
        served.handler = lambda r: answer(r) if r.method == "PATCH" else json_reply({**ROW, "state": "booting"})
        with pytest.raises(Rejected, match="invalid state"):
            await operation(client)  # type: ignore[misc]


# --- every error shape (vers-api §2.0) -------------------------------------------------------------------------------------------

NOT_FOUND = json_reply({"error": "not found", "success": False}, 404)
OUTAGE = text_reply("503 Service unavailable", 503)
SLOW = text_reply("slow down", 429)
FORBIDDEN_TEXT = Reply(403, b"403 Forbidden")
FORBIDDEN_JSON = json_reply({"error": "Forbidden", "success": False}, 403)
SHAPES: list[tuple[str, Reply, list[Operation], type[ReconcilerError]]] = [
    ("gateway refuses the key", FORBIDDEN_TEXT, [*AGAIN, commit], Unauthorized),
    ("a 403 text on a create", FORBIDDEN_TEXT, CREATES, DoubtfulRefusal),
    ("401 without a body", Reply(401), EVERYTHING, Unauthorized),
    ("403 JSON", FORBIDDEN_JSON, [*AGAIN, commit], Forbidden),
    ("403 JSON on a create", FORBIDDEN_JSON, CREATES, DoubtfulRefusal),
    ("no credit", json_reply({"error": "Payment required", "success": False}, 402), CREATES, DoubtfulRefusal),
    ("malformed id", Reply(400, b"Invalid URL: Cannot parse `vm_id` with value `x`: UUID parsing failed"), [*CREATES, delete], Rejected),
    (
        "body is no JSON",
        text_reply("Failed to parse the request body as JSON: expected value", 400),
        [*CREATES, commit],
        Rejected,
    ),
    ("validation", json_reply({"error": "Invalid ref format. Expected 'repo_name:tag_name'", "success": False}, 400), [restore], Rejected),
    ("wrong shape", text_reply("Failed to deserialize the JSON body into the target type", 422), [*ONCE, set_labels], Rejected),
    (
        "not found",
        json_reply({"error": "not found", "success": False}, 404),
        [get_vm, get_metadata, ssh_key, suspend, set_labels],
        NotFound,
    ),
    ("commit not found", json_reply({"error": "commit not found", "success": False}, 404), [restore], DoubtfulRefusal),
    ("hybrid 404", json_reply({"vms": [], "error": "parent vm not found"}, 404), [restore], DoubtfulRefusal),
    ("hybrid 404 on a commit", json_reply({"vms": [], "error": "parent vm not found"}, 404), [commit], NotFound),
    ("hybrid 201", json_reply({"vms": [], "error": "tag not found"}, 201), [restore], Indeterminate),
    ("hybrid 201, unknown words", json_reply({"vms": [], "error": "half of it failed"}, 201), CREATES, Indeterminate),
    ("hybrid 201, no room", json_reply({"vms": [], "error": "netlink error: Address in use (os error 98)"}, 201), CREATES, Indeterminate),
    ("somebody else's 404", text_reply("404 page not found", 404), AGAIN, Unreachable),
    ("somebody else's JSON 404", json_reply({"detail": "Not Found"}, 404), AGAIN, Unreachable),
    ("conflict", json_reply({"error": "commit still has 1 active VM(s)", "success": False}, 409), AGAIN, Conflict),
    ("rate limit", SLOW, AGAIN, RateLimited),
    ("redirect", Reply(302, headers={"Location": "http://127.0.0.1:1/"}), AGAIN, Unreachable),
    ("outage", OUTAGE, [*REPEATED, suspend, resume], Unreachable),
    ("outage on a create", OUTAGE, CREATES, NoRoom),
    ("outage on a commit", OUTAGE, [commit], Indeterminate),
    (
        "netlink",
        json_reply({"error": "netlink error: Address in use (os error 98)", "success": False}, 500),
        CREATES,
        NoRoom,
    ),
    ("netlink as text", text_reply("netlink error: Address in use (os error 98)", 500), CREATES, NoRoom),
    ("Ceph", json_reply({"error": "ceph: no space for volume", "success": False}, 500), CREATES, NoRoom),
    ("quota", json_reply({"error": "VM quota exceeded", "success": False}, 403), CREATES, NoRoom),
    ("netlink elsewhere", json_reply({"error": "netlink error", "success": False}, 500), [*REPEATED, suspend, resume], Unreachable),
    ("500", json_reply({"error": "Internal server error", "success": False}, 500), [*CREATES, commit], Indeterminate),
    ("500 on the rest", json_reply({"error": "Internal server error", "success": False}, 500), [*REPEATED, suspend, resume], Unreachable),
    ("502 page that mentions ceph", text_reply("<html>ceph quota</html>", 502, "text/html"), [*CREATES, commit], Indeterminate),
    ("503 of a proxy", text_reply("upstream connect error or disconnect/reset before headers", 503), [*CREATES, commit], Indeterminate),
    ("504", Reply(504), [*CREATES, commit], Indeterminate),
    ("408", Reply(408), [*CREATES, commit], Indeterminate),
    ("success without an id", json_reply({}, 201), [*CREATES, commit], Indeterminate),
    ("success with a prefix for an id", json_reply({"vm_id": VM[:12], "commit_id": "c"}, 201), [*CREATES, commit], Indeterminate),
    ("success with a partial count", json_reply({"vms": [], "error": "0 of 1 were made"}, 201), CREATES, Indeterminate),
    ("success with more than the count", json_reply({"vms": [{"vm_id": VM}, {"vm_id": OTHER}]}, 201), CREATES, Indeterminate),
    ("success that is no JSON", text_reply("created", 201), [*CREATES, commit], Indeterminate),
    ("success that is no JSON", text_reply("welcome", 200), READS, Unreachable),
    ("empty success", Reply(200), READS, Unreachable),
    ("success cut short", Reply(200, b'[{"vm_id":', "application/json"), READS, Unreachable),
    ("rows without ids", json_reply([{"state": "running"}]), READS, Unreachable),
    ("rows without times", json_reply([{"vm_id": VM, "created_at": "yesterday"}]), [list_vms], Unreachable),
    ("an error in a success", json_reply({"error": "oops"}), READS, Unreachable),
    ("another VM's answer", json_reply({**META, "vm_id": COMMIT}), [get_vm, get_metadata], Unreachable),
]


@pytest.mark.parametrize(
    ("reply", "operation", "expected"),
    [
        pytest.param(reply, operation, expected, id=f"{shape}-{name(operation)}")
        for shape, reply, operations, expected in SHAPES
        for operation in operations
    ],
)
async def test_every_shape_has_its_class(reply: Reply, operation: Operation, expected: type[ReconcilerError]) -> None:
    async with always(reply) as served, connected(served) as client:
        with pytest.raises(expected) as caught:
            await operation(client)  # type: ignore[misc]
    # 404 on a list, JSON or not, says nothing about VMs and is Unreachable by then.
    assert served.url in caught.value.where or expected is Unreachable
    assert KEY not in str(caught.value)


PROVEN = [
    *(text_reply("Failed to parse the request body as JSON", status) for status in (400, 422)),
    *(json_reply({"error": "no", "success": False}, status) for status in (400, 422)),
    Reply(401),
]
"""Every answer that proves that an operation which must not be sent twice was refused (vers-api §7.4)."""

FROM_BETWEEN = [
    *(json_reply({"error": "no", "success": False}, status) for status in (403, 404)),
    FORBIDDEN_TEXT,
    json_reply({"vms": [], "error": "parent vm not found"}, 404),
]
"""Refusals that a gateway gives too, after the effect. They prove it of a commit, and not of a create."""

WORDS = (
    "request time limit exceeded",
    "503 Service Unavailable",
    "Service unavailable",
    "quota exceeded",
    "netlink error: Address in use (os error 98)",
    "not found",
    "commit not found",
    "Forbidden",
    "nothing was created",
    "",
)


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("operation", [*CREATES, commit], ids=name)
async def test_only_a_documented_refusal_proves_that_nothing_was_made(operation: Operation) -> None:
    """Every other status says nothing, whatever its words and its type, and so does a documented one in the dress of a proxy."""
    async with always(Reply(500)) as served, connected(served) as client:
        for reply in [*PROVEN, *FROM_BETWEEN]:
            served.handler = lambda _, reply=reply: reply
            with pytest.raises(DoubtfulRefusal if operation in CREATES and reply in FROM_BETWEEN else REFUSED):
                await operation(client)  # type: ignore[misc]
        page = "text/html"
        for status in (
            200,
            201,
            202,
            204,
            301,
            307,
            400,
            402,
            403,
            404,
            405,
            408,
            409,
            410,
            413,
            418,
            422,
            425,
            429,
            451,
            499,
            500,
            502,
            503,
            504,
            599,
        ):
            for words in WORDS:
                said = [text_reply(f"<html>{words}</html>", status, page)]
                if status not in (400, 403, 422):
                    said.append(text_reply(words, status))
                if status not in (400, 403, 404, 422):
                    said.append(json_reply({"error": words, "success": False}, status))
                for reply in said:
                    served.handler = lambda _, reply=reply: reply
                    with pytest.raises(Indeterminate):
                        await operation(client)  # type: ignore[misc]


@pytest.mark.guarantee("G-02")
async def test_a_doubtful_refusal_says_what_the_platform_said() -> None:
    async with always(json_reply({"error": "label not allowed", "success": False}, 403)) as served, connected(served) as client:
        with pytest.raises(DoubtfulRefusal, match="label not allowed"):
            await create_root(client)  # type: ignore[misc]
        served.handler = lambda _: FORBIDDEN_TEXT
        with pytest.raises(DoubtfulRefusal, match="VERS_API_KEY"):
            await create_root(client)  # type: ignore[misc]


@pytest.mark.guarantee("G-06")
async def test_words_of_no_room_slow_creates_down_and_a_time_limit_is_none() -> None:
    async with always(Reply(500)) as served, connected(served) as client:
        for words, expected in (("VM limit reached", True), ("request time limit exceeded", False), ("upstream timed out", False)):
            served.handler = lambda _, words=words: text_reply(words, 500)
            with pytest.raises(Indeterminate) as caught:
                await create_root(client)  # type: ignore[misc]
            assert isinstance(caught.value, NoRoom) is expected


# --- lost answers, deadlines, attempts ---------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("action", [Reset(), Half(), Garbage(), Hang()], ids=["reset", "half", "garbage", "hang"])
@pytest.mark.parametrize("operation", [*CREATES, commit], ids=name)
async def test_a_lost_answer_of_a_create_is_indeterminate_and_sent_once(action: Action, operation: Operation) -> None:
    async with always(action) as served, connected(served, seconds=0.3) as client:
        with pytest.raises(Indeterminate):
            await operation(client)  # type: ignore[misc]
        assert len(served.requests) == 1


@pytest.mark.guarantee("G-02")
async def test_a_create_on_a_kept_connection_that_breaks_is_not_sent_again() -> None:
    async with always(json_reply([])) as served, connected(served) as client:
        await client.list_vms()
        served.handler = lambda _: Reset()
        with pytest.raises(Indeterminate):
            await create_root(client)
        assert [r.method for r in served.requests] == ["GET", "POST"]


@pytest.mark.parametrize("operation", EVERYTHING, ids=name)
async def test_what_was_provably_not_sent_is_unreachable(operation: Operation) -> None:
    async with always(Reply(200)) as served:
        closed = served.url
    async with connected(served, env={"VERS_API_KEY": KEY, "VERS_BASE_URL": closed}) as client:
        with pytest.raises(Unreachable):
            await operation(client)  # type: ignore[misc]


@pytest.mark.parametrize("operation", [*REPEATED, suspend, resume], ids=name)
async def test_a_deadline_of_the_rest_is_timed_out_and_not_tried_again(operation: Operation) -> None:
    async with always(Hang()) as served, connected(served, seconds=0.3) as client:
        with pytest.raises(TimedOut):
            await operation(client)  # type: ignore[misc]
        assert len(served.requests) == 1


@pytest.mark.parametrize(
    "trouble", [Reset(), text_reply("503 Service unavailable", 503), text_reply("slow", 429)], ids=["reset", "503", "429"]
)
@pytest.mark.parametrize("operation", REPEATED, ids=name)
async def test_idempotent_calls_get_over_passing_trouble(operation: Operation, trouble: Action) -> None:
    good: dict[str, Reply] = {
        "vms": json_reply([ROW]),
        "status": json_reply(ROW),
        "metadata": json_reply(META),
        "ssh_key": json_reply({"ssh_port": 22, "ssh_private_key": "PEM"}),
    }
    troubles = 2

    def answer(request: Request) -> Action:
        nonlocal troubles
        troubles -= 1
        return trouble if troubles >= 0 else good.get(request.path.rsplit("/", 1)[1], Reply(200))

    pauses = Pauses()
    async with platform(answer) as served, connected(served, pauses=pauses) as client:
        await operation(client)  # type: ignore[misc]
        assert len(served.requests) == 3
    assert 0.5 <= pauses.asked[0] <= 0.625
    if not isinstance(trouble, Reset):  # the HTTP library itself repeats a read once when its connection broke
        assert 1.0 <= pauses.asked[1] <= 1.25


@pytest.mark.parametrize("trouble", [OUTAGE, Reply(500), SLOW], ids=["503", "500", "429"])
@pytest.mark.parametrize(("operation", "calls"), [*((o, 1) for o in ONCE), *((o, 3) for o in REPEATED)])
async def test_attempts_are_bounded(operation: Operation, calls: int, trouble: Reply) -> None:
    async with always(trouble) as served, connected(served) as client:
        with pytest.raises(ReconcilerError):
            await operation(client)  # type: ignore[misc]
        assert len(served.requests) == calls


@pytest.mark.parametrize("reply", [json_reply({"error": "in use"}, 409), FORBIDDEN_TEXT, FORBIDDEN_JSON, text_reply("x", 404)])
@pytest.mark.parametrize("operation", [get_vm, delete, set_labels], ids=name)
async def test_definite_answers_are_not_argued_with(operation: Operation, reply: Reply) -> None:
    async with always(reply) as served, connected(served) as client:
        with pytest.raises(ReconcilerError):
            await operation(client)  # type: ignore[misc]
        assert len(served.requests) == 1


@pytest.mark.parametrize(("header", "low", "high"), [("7", 7.0, 8.75), ("9999", 60.0, 75.0), ("soon", 0.5, 0.625)])
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_up_to_a_minute(status: int, header: str, low: float, high: float) -> None:
    pauses = Pauses()
    reply = Reply(status, b"busy", "text/plain", {"Retry-After": header})
    async with always(reply) as served, connected(served, pauses=pauses) as client:
        with pytest.raises((RateLimited, Unreachable)) as caught:
            await client.get_vm(VM)
    assert low <= pauses.asked[0] <= high
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after == (None if header == "soon" else low)


async def test_cancelling_a_call_frees_its_slot() -> None:
    async with always(Hang()) as served, connected(served, concurrency=1) as client:
        waiting = asyncio.create_task(client.get_vm(VM))
        await served.hanging.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        served.handler = lambda _: json_reply(ROW)
        assert (await client.get_vm(VM)).vm_id == VM


@pytest.mark.guarantee("G-65")
async def test_no_more_than_the_limit_at_once_and_reads_pass_slow_writes() -> None:
    release = asyncio.Event()
    full = asyncio.Event()

    async def answer(request: Request) -> Action:
        if request.method == "POST":
            if served.at_once == 3:
                full.set()
            await release.wait()
            return json_reply({"vm_id": VM}, 201)
        return json_reply([ROW])

    async with platform(answer) as served, connected(served, concurrency=4) as client:
        creates = [asyncio.create_task(restore(client)) for _ in range(9)]
        await full.wait()
        assert VM in (await client.list_vms()).vms
        release.set()
        assert await asyncio.gather(*creates) == [VM] * 9
        assert served.most_at_once == 4


async def test_calls_after_closing_are_refused_unsent() -> None:
    async with always(json_reply([])) as served, connected(served) as client:
        await client.list_vms()
        await client.aclose()
        with pytest.raises(Unreachable, match="closed"):
            await create_root(client)
        assert len(served.requests) == 1


# --- what never leaves this process -----------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-67")
@pytest.mark.parametrize("bad", ["", VM[:12], f"{VM}/../../keys", f"{VM}\n", "x" * 36, f"{VM}?a=b"])
async def test_only_full_ids_reach_a_path(bad: str) -> None:
    async with always(Reply(200)) as served, connected(served) as client:
        for call in (client.get_vm, client.get_metadata, client.ssh_key, client.delete_vm, client.suspend_vm, client.resume_vm):
            with pytest.raises(Rejected):
                await call(bad)
        with pytest.raises(Rejected):
            await client.commit(bad, "n")
        with pytest.raises(Rejected):
            await client.create_vm(CommitSource(bad), VmShape(), {}, "t")
        with pytest.raises(Rejected):
            await client.resolve_ref(bad)
        with pytest.raises(Rejected):
            await client.create_vm(BranchSource(bad), VmShape(), {}, "t")
        with pytest.raises(Rejected):
            await create_with_token(client, "two\r\nX-Evil: 1")
    assert served.requests == []


async def create_with_token(client: VersClient, token: str) -> str:
    return await client.create_vm(RootSource(), VmShape(), {}, token)


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("operation", EVERYTHING, ids=name)
async def test_neither_key_shows_in_logs_exceptions_or_reprs(operation: Operation, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pem = "-----BEGIN CANARY-PEM-----"
    echo = text_reply(f"you sent Bearer {KEY} and {pem[:0]}", random.Random(name(operation)).choice([400, 409, 500]))
    actions: list[Action] = [echo, Reset(), FORBIDDEN_TEXT, json_reply({"ssh_private_key": pem, "vm_id": 7}), Half()]
    for action in actions:
        async with always(action) as served, connected(served) as client:
            shown = repr(client) + repr(vars(client))
            try:
                result = await operation(client)  # type: ignore[misc]
                shown += repr(result) + str(result)
            except ReconcilerError as error:
                below = error.__traceback__.tb_next if error.__traceback__ else None  # this test's own frame knows the key
                shown += "".join(traceback.TracebackException(type(error), error, below, capture_locals=True).format()) + repr(error)
        assert served.requests[0].headers["authorization"] == f"Bearer {KEY}"
        for text in (shown, caplog.text):
            assert TAIL not in text
            assert pem not in text


async def test_the_ssh_key_is_a_secret_that_can_be_used() -> None:
    async with always(json_reply({"ssh_port": 2222, "ssh_private_key": "PEM"})) as served, connected(served) as client:
        key = await client.ssh_key(VM)
    assert key.get_secret_value() == "PEM"
    assert "PEM" not in repr(key) + str(key)


async def test_a_corrected_key_and_address_need_no_restart() -> None:
    async with platform(lambda r: json_reply([ROW]) if KEY in r.headers["authorization"] else FORBIDDEN_TEXT) as served:
        env = {"VERS_API_KEY": "wrong", "VERS_BASE_URL": served.url}
        async with connected(served, env=env) as client:
            with pytest.raises(Unauthorized):
                await client.list_vms()
            env["VERS_API_KEY"] = KEY
            assert VM in (await client.list_vms()).vms
            env["VERS_API_KEY"] = ""
            with pytest.raises(Unauthorized, match="no Vers API key"):
                await client.list_vms()
        assert len(served.requests) == 2
