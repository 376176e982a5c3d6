"""The platform without I/O, under a virtual clock: what crash harnesses drive."""

from __future__ import annotations

import orjson
import pytest

from reconciler.vers.simulator.api import Answer, Api, Hang, Outcome, Reset, Wait
from reconciler.vers.simulator.faults import parse_fault
from reconciler.vers.simulator.knobs import Knobs
from reconciler.vers.simulator.operations import Operations
from reconciler.vers.simulator.records import Account, Caller, FreezeGuest, RemoveGuest, SnapshotGuest, StartGuest, ThawGuest
from reconciler.vers.simulator.routes import OPERATIONS, Request, Router
from reconciler.vers.simulator.wire import ApiError, Body, Query, parse_uuid
from reconciler.vers.simulator.world import World, no_key

ACCOUNT = Account("11111111-2222-4333-8444-555555555555", "f" * 64, 0.0)


class Virtual:
    """A world whose clock is a number."""

    def __init__(self, knobs: Knobs | None = None, *faults: str, seed: int = 7, latency: dict[str, float] | None = None) -> None:
        self.now = 1_000_000.0
        self.world = World(ACCOUNT, lambda: self.now, seed, knobs or Knobs(), no_key)
        self.api = Api(self.world, latency)
        for spec in faults:
            self.api.faults.add(parse_fault(spec, OPERATIONS))

    def call(self, method: str, path: str, body: object = None) -> Outcome:
        """To its end, the clock moved on wherever it waits."""
        headers = {"authorization": f"Bearer {ACCOUNT.key_id}{ACCOUNT.secret}"}
        call = self.api.begin(Request.of(method, f"/api/v1{path}", headers, b"" if body is None else orjson.dumps(body)))
        while isinstance(outcome := self.api.step(call), Wait):
            assert outcome.until > self.now
            self.now = outcome.until
        return outcome

    def ok(self, method: str, path: str, body: object = None) -> dict[str, object]:
        outcome = self.call(method, path, body)
        assert isinstance(outcome, Answer)
        assert outcome.reply.status < 300, outcome.reply.body
        found: dict[str, object] = orjson.loads(outcome.reply.body)
        return found

    def create(self) -> str:
        return str(self.ok("POST", "/vm/new_root", {"vm_config": {}})["vm_id"])


def test_same_seed_and_same_calls_give_the_same_ids() -> None:
    def ids(seed: int) -> list[str]:
        v = Virtual(seed=seed)
        vm_id = v.create()
        return [vm_id, str(v.ok("POST", f"/vm/{vm_id}/commit", {})["commit_id"]), v.create()]

    assert ids(1) == ids(1)
    assert not set(ids(1)) & set(ids(2))
    for made in ids(1):
        assert parse_uuid("vm_id", made)[14] == "4"


def test_delays_are_time_stamps_and_nothing_sleeps() -> None:
    v = Virtual(Knobs(boot_s=90, commit_s=30, branch_s=10, delete_s=6), latency={"list_vms": 5})
    began = v.now
    vm_id = v.create()
    assert v.now == began
    commit = v.ok("POST", f"/vm/{vm_id}/commit", {})["commit_id"]  # waits for the boot, then takes its time
    assert v.now == began + 120
    v.ok("POST", "/vm/from_commit", {"commit_id": commit})
    assert v.now == began + 130
    v.ok("DELETE", f"/vm/{vm_id}")
    assert v.now == began + 136
    v.ok("GET", "/vms")
    assert v.now == began + 141


def test_a_late_effect_lands_at_its_time_and_only_once() -> None:
    v = Virtual(None, "from_commit:1:late=500")
    commit = v.ok("POST", f"/vm/{v.create()}/commit", {})["commit_id"]
    assert v.call("POST", "/vm/from_commit", {"commit_id": commit}) == Reset()
    assert len(v.world.vms) == 1
    v.now += 499
    v.api.tick()
    assert len(v.world.vms) == 1
    v.now += 1
    for _ in range(2):
        v.api.tick()
        assert len(v.world.vms) == 2
    late = list(v.world.vms.values())[-1]
    assert (late.parent_commit, late.created_at) == (commit, v.now)


def test_a_late_effect_that_can_not_happen_any_more_does_not() -> None:
    v = Virtual(None, "delete_vm:1:late=10")
    vm_id = v.create()
    assert v.call("DELETE", f"/vm/{vm_id}") == Reset()
    v.ok("DELETE", f"/vm/{vm_id}")
    v.now += 11
    v.api.tick()
    assert v.world.ledger.calls[-1].outcome == "403"


def test_what_guests_have_to_do_comes_in_order() -> None:
    v = Virtual()
    vm_id = v.create()
    branched = v.ok("POST", f"/vm/branch/by_vm/{vm_id}?keep_paused=true")["vms"]
    assert isinstance(branched, list)
    child = branched[0]["vm_id"]
    v.ok("DELETE", f"/vm/{child}")
    v.call("PATCH", f"/vm/{vm_id}/state", {"state": "Running"})
    kinds = [type(effect) for effect in v.world.take_effects()]
    assert kinds == [StartGuest, SnapshotGuest, FreezeGuest, StartGuest, RemoveGuest, ThawGuest]
    assert v.world.take_effects() == []


def test_calls_under_way_are_counted() -> None:
    v = Virtual(Knobs(branch_s=10))
    commit = v.ok("POST", f"/vm/{v.create()}/commit", {})["commit_id"]
    headers = {"authorization": f"Bearer {ACCOUNT.key_id}{ACCOUNT.secret}"}
    calls = [v.api.begin(Request.of("POST", "/api/v1/vm/from_commit", headers, orjson.dumps({"commit_id": commit}))) for _ in range(3)]
    assert all(isinstance(v.api.step(call), Wait) for call in calls)
    assert (v.world.ledger.in_flight, v.world.ledger.max_open["from_commit"]) == (3, 3)
    v.now += 10
    assert all(isinstance(v.api.step(call), Answer) for call in calls)
    assert (v.world.ledger.in_flight, v.world.ledger.max_in_flight) == (0, 3)


def test_a_hanging_call_stays_under_way_until_it_is_abandoned() -> None:
    v = Virtual(None, "list_vms:1:hang")
    call = v.api.begin(Request.of("GET", "/api/v1/vms", {}, b""))
    assert v.api.step(call) == Hang()
    assert v.world.ledger.in_flight == 1
    v.api.abandon(call, "hang")
    assert v.world.ledger.in_flight == 0


def test_deeds_behind_the_clients_back() -> None:
    v = Virtual()
    vm_id = v.create()
    for deed, state in ((v.world.suspend_behind, "paused"), (v.world.resume_behind, "running"), (v.world.kill, "dead")):
        deed(vm_id)
        assert v.ok("GET", f"/vm/{vm_id}/status")["state"] == state
    with pytest.raises(ApiError):
        v.world.kill("00000000-0000-4000-8000-000000000000")
    assert [c.op for c in v.world.ledger.changes if c.caller == "platform"] == ["suspend", "resume", "vm_dies"]


def test_operations_are_plain_methods() -> None:
    """Without any HTTP: `op(...)` returns a reply or raises `ApiError`."""
    v = Virtual()
    operations = Operations(v.world)
    who = Caller(ACCOUNT.key_id)
    made = operations.vms.new_root(who, Query({}), Body(b'{"vm_config":{"labels":{"a":"b"}}}'))
    assert (made.status, made.headers) == (201, (("content-type", "application/json"),))
    vm_id = orjson.loads(made.body)["vm_id"]
    with pytest.raises(ApiError) as refused:
        operations.vms.set_state(who, vm_id, Query({}), Body(b'{"state":"asleep"}'))
    assert (refused.value.status, refused.value.content_type) == (422, "text/plain; charset=utf-8")
    assert v.world.vms[vm_id].labels == {"a": "b"}


def test_every_operation_has_a_route_and_a_method() -> None:
    assert Operations(Virtual().world).names() == OPERATIONS


@pytest.mark.parametrize(
    ("method", "path", "op"),
    [
        ("POST", "/api/v1/vm/new_root", "new_root"),
        ("GET", "/api/v1/vm/commits/x/parents", "commit_parents"),
        ("POST", "/api/v1/vm/branch/by_vm/x", "branch_by_vm"),
        ("POST", "/api/v1/vm/x/branch", "branch"),
        ("POST", "/api/v1/repositories/fork", "fork_repository"),
        ("GET", "/api/v1/public/repositories/o/r/tags", "list_public_repository_tags"),
        ("GET", "/health", "health"),
        ("GET", "/api/v1/vm//status", "unknown"),
        ("GET", "/vms", "unknown"),
    ],
)
def test_routes(method: str, path: str, op: str) -> None:
    assert Router().match(Request.of(method, path, {})).op == op


def test_a_wrong_method_is_told_from_a_wrong_path() -> None:
    assert Router().match(Request.of("PUT", "/api/v1/vms", {})).allowed is False
    assert Router().match(Request.of("GET", "/api/v1/nothing", {})).allowed is True
