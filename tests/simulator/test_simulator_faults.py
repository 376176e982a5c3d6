"""Faults hit the call they name, before or after the effect, and the ground truth says so."""

from __future__ import annotations

import httpx2 as httpx
import pytest

from reconciler.errors import UsageError
from reconciler.vers.simulator.faults import CREATES, FaultPlan, parse_fault
from reconciler.vers.simulator.routes import OPERATIONS
from tests.simulator.conftest import Start
from tests.simulator.support import Running, until


async def create(s: Running, **more: object) -> httpx.Response:
    return await s.api.post("/vm/new_root", json={"vm_config": {}}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("spec", "vms"), [("new_root:1:before:reset", 0), ("new_root:1:after:reset", 1), ("new_root:1:reset", 0)])
async def test_a_lost_response_with_and_without_effect(start: Start, spec: str, vms: int) -> None:
    s = await start(faults=(spec,))
    with pytest.raises(httpx.ReadError):
        await create(s)
    assert len(await s.listed()) == vms
    assert len(s.simulator.world.vms) == vms
    assert (await create(s)).status_code == 201


@pytest.mark.parametrize(("spec", "vms"), [("new_root:1:before:hang", 0), ("new_root:1:after:hang", 1)])
async def test_an_answer_that_never_comes(start: Start, spec: str, vms: int) -> None:
    s = await start(faults=(spec,))
    with pytest.raises(httpx.ReadTimeout):
        await create(s, timeout=0.1)
    assert len(await s.listed()) == vms
    ledger = s.simulator.world.ledger
    await until(lambda: ledger.in_flight == 0, "the call ends with its client")
    assert ledger.calls[0].outcome == "hang"


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "body"),
    [
        ("503", 503, "text/plain; charset=utf-8", "503 Service unavailable"),
        ("500", 500, "application/json", '{"error":"internal server error","success":false}'),
        ("netlink", 500, "application/json", '{"error":"netlink error: Address in use (os error 98)","success":false}'),
        ("commit_s3", 500, "application/json", '{"error":"Error uploading commit to S3","success":false}'),
        ("quota", 403, "application/json", '{"error":"quota exceeded","success":false}'),
        ("403", 403, None, "403 Forbidden"),
        ("429", 429, "text/plain; charset=utf-8", "Too Many Requests"),
        ("garbage", 200, "text/html", "<html>"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_answers_of_an_outage(start: Start, when: str, kind: str, status: int, content_type: str | None, body: str) -> None:
    s = await start(faults=(f"new_root:*:{when}:{kind}",))
    answer = await create(s)
    assert (answer.status_code, answer.headers.get("content-type")) == (status, content_type)
    assert answer.text.startswith(body)
    assert "retry-after" not in answer.headers or status == 429
    assert len(await s.listed()) == (1 if when == "after" else 0)


async def test_an_effect_after_the_caller_gave_up(start: Start) -> None:
    """The late-appearing VM: reset now, effect past the settle window."""
    s = await start(faults=("new_root:1:late=120",))
    with pytest.raises(httpx.ReadError):
        await create(s)
    assert await s.listed() == set()
    s.set_clock(s.now() + 119)
    assert await s.listed() == set()
    s.set_clock(s.now() + 2)
    assert len(await s.listed()) == 1
    changes = [c for c in s.simulator.world.ledger.changes if c.op == "new_root"]
    assert [c.at for c in changes] == [pytest.approx(s.now(), abs=1)]


async def test_a_late_effect_needs_no_call_to_come(start: Start) -> None:
    s = await start(faults=("new_root:1:late=0.1",))
    with pytest.raises(httpx.ReadError):
        await create(s)
    await until(lambda: len(s.simulator.world.vms) == 1, "the late VM")


async def test_the_nth_call_and_a_range(start: Start) -> None:
    s = await start(faults=("list_vms:2:before:500", "list_vms:4-5:before:503", "status:1-:502"))
    assert [(await s.api.get("/vms")).status_code for _ in range(6)] == [200, 500, 200, 503, 503, 200]
    vm_id = await s.create()
    assert [(await s.api.get(f"/vm/{vm_id}/status")).status_code for _ in range(3)] == [502] * 3


async def test_a_platform_wide_outage_and_its_end(start: Start) -> None:
    s = await start()
    s.simulator.add_fault("*:*:503")
    assert [(await s.api.request(m, p)).status_code for m, p in (("GET", "/vms"), ("POST", "/keys/validate"))] == [503, 503]
    s.simulator.clear_faults()
    assert (await s.api.get("/vms")).status_code == 200


async def test_all_creates_and_nothing_else(start: Start) -> None:
    s = await start()
    vm_id = await s.create()
    s.simulator.add_fault("create:*:netlink")
    for path in ("/vm/new_root", "/vm/from_commit", f"/vm/branch/by_vm/{vm_id}", f"/vm/{vm_id}/branch"):
        assert "netlink error" in (await s.api.post(path, json={"vm_config": {}})).json()["error"]
    assert (await s.api.post(f"/vm/{vm_id}/commit", json={})).status_code == 201
    assert await s.listed() == {vm_id}


async def test_events(start: Start) -> None:
    s = await start(faults=("commit:1:after:vm_dies", "list_vms:2:after:expire_key"))
    vm_id = await s.create()
    assert (await s.api.post(f"/vm/{vm_id}/commit", json={})).status_code == 201
    assert await s.state(vm_id) == "dead"
    assert [(await s.api.get("/vms")).status_code for _ in range(3)] == [200, 200, 403]


async def test_deletes_that_fail(start: Start) -> None:
    s = await start(faults=("delete_vm:1-2:before:delete_fails",))
    vm_id = await s.create()
    assert [(await s.api.delete(f"/vm/{vm_id}")).status_code for _ in range(2)] == [500, 500]
    assert await s.listed() == {vm_id}
    assert (await s.api.delete(f"/vm/{vm_id}")).status_code == 200


async def test_latency_and_a_slow_call(start: Start) -> None:
    s = await start(latency={"list_vms": 600.0}, faults=("status:1:delay=600",))
    vm_id = await s.create()
    for path in ("/vms", f"/vm/{vm_id}/status"):
        with pytest.raises(httpx.ReadTimeout):
            await s.api.get(path, timeout=0.05)
    assert await s.state(vm_id) == "running"


async def test_the_ledger_knows_what_happened(start: Start) -> None:
    s = await start(faults=("new_root:2:after:reset",))
    first = await s.create()
    with pytest.raises(httpx.ReadError):
        await create(s, headers={"X-Idempotency-Key": "intent-2"})
    calls = list(s.simulator.world.ledger.calls)
    assert [(c.op, c.outcome, c.key, c.fault) for c in calls] == [
        ("new_root", "201", "", ""),
        ("new_root", "reset", "intent-2", "new_root:2:after:reset"),
    ]
    assert calls[0].subjects == [first]
    assert set(calls[1].subjects) == set(s.simulator.world.vms) - {first}
    assert s.simulator.world.ledger.counts["new_root"] == 2


@pytest.mark.parametrize(
    "spec", ["from_commit:2:after:reset", "list_vms:1-5:before:503", "new_root:*:before:netlink", "new_root:1:before:late=30"]
)
def test_specs_read_as_they_are_written(spec: str) -> None:
    assert str(parse_fault(spec, OPERATIONS)) == spec


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "new_root",
        "nonsense:1:reset",
        "new_root:0:reset",
        "new_root:5-2:reset",
        "new_root:1:explode",
        "new_root:1:late",
        "new_root:1:reset=3",
    ],
)
def test_a_wrong_spec_is_refused(spec: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_fault(spec, OPERATIONS)
    assert f"--fault {spec}" in str(refused.value)


def test_each_fault_counts_from_when_it_was_set() -> None:
    plan = FaultPlan()
    plan.add(parse_fault("create:2:500", OPERATIONS))
    hits = [plan.strike(op) is not None for op in ("new_root", "list_vms", "from_commit", "branch")]
    assert hits == [False, False, True, False]
    plan.add(parse_fault("branch:1:reset", OPERATIONS))
    assert str(plan.strike("branch")) == "branch:1:before:reset"
    assert CREATES <= OPERATIONS
