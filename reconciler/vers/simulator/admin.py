"""The administrator's side: what really happened, faults, knobs, and deeds behind every client's back. Own token, own path."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import asdict
from itertools import islice

from reconciler.errors import UsageError
from reconciler.vers.simulator import wire
from reconciler.vers.simulator.api import Api
from reconciler.vers.simulator.faults import parse_fault
from reconciler.vers.simulator.knobs import turn
from reconciler.vers.simulator.records import DropConnections, Vm
from reconciler.vers.simulator.routes import OPERATIONS, Request
from reconciler.vers.simulator.wire import ApiError, Body, Json, JsonValue, Reply

_PAGE = 10_000


def allowed(authorization: str, token: str) -> bool:
    """`Bearer TOKEN`, or Basic with the token as password (so that a browser and a URL with user info work)."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())


UNAUTHORIZED = Reply(401, b"401 Unauthorized", wire.TEXT, 0.0, (("www-authenticate", 'Basic realm="simulator"'),))


class Admin:
    """`GET state|calls|changes`, `POST faults {spec}`, `DELETE faults`, `PATCH knobs|latency {name: value}`, `POST vms {labels}`
    (a foreign VM), `POST vms/ID/kill|suspend|resume|drop_ssh`, `POST key {state}`; all under /admin."""

    def __init__(self, api: Api, token: str) -> None:
        self._api = api
        self._token = token

    def handle(self, request: Request) -> Reply:
        """One request; effects are left in the world."""
        if not allowed(request.headers.get("authorization", ""), self._token):
            return UNAUTHORIZED
        try:
            return self._route(request)
        except ApiError as exc:
            return exc.reply
        except UsageError as exc:
            return wire.refused(400, str(exc)).reply

    def _route(self, request: Request) -> Reply:
        api, world = self._api, self._api.world
        match request.method, request.segments[1:]:
            case "GET", ("state",):
                return wire.reply(200, self.state())
            case "GET", ("calls",):
                after, limit = request.query.number("after", 0), request.query.number("limit", _PAGE)
                calls: list[JsonValue] = [asdict(e) for e in islice((e for e in world.ledger.calls if e.seq > after), limit)]
                return wire.reply(200, {"calls": calls})
            case "GET", ("changes",):
                changes: list[JsonValue] = [asdict(c) for c in world.ledger.since(request.query.number("after", 0))]
                return wire.reply(200, {"changes": changes})
            case "POST", ("faults",):
                fault = parse_fault(Body(request.body).required_text("spec"), OPERATIONS)
                api.faults.add(fault)
                return wire.reply(201, {"fault": str(fault)})
            case "DELETE", ("faults",):
                api.faults.clear()
                return wire.empty(204)
            case "PATCH", ("knobs",):
                fields = Body(request.body).fields
                world.knobs = turn(world.knobs, [f"{name}={value}" for name, value in fields.items()])
                return wire.reply(200, asdict(world.knobs))
            case "PATCH", ("latency",):
                body = Body(request.body)
                for op, seconds in body.fields.items():
                    if op not in OPERATIONS | {"*"} or isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
                        raise wire.refused(400, f"no latency of {seconds!r} for {op!r}")
                    api.latency[op] = float(seconds)
                return wire.reply(200, dict(api.latency))
            case "POST", ("vms",):
                vm = world.add_foreign(Body(request.body, required=False).strings("labels"))
                return wire.reply(201, {"vm_id": vm.id})
            case "POST", ("key",):
                world.key_expired = Body(request.body).required_text("state") == "expired"
                return wire.empty(204)
            case "POST", ("vms", vm_id, deed):
                return self._deed(wire.parse_uuid("vm_id", vm_id), deed)
        raise wire.not_found("no such administrative operation")

    def _deed(self, vm_id: str, deed: str) -> Reply:
        world = self._api.world
        match deed:
            case "kill":
                world.kill(vm_id)
            case "suspend":
                world.suspend_behind(vm_id)
            case "resume":
                world.resume_behind(vm_id)
            case "drop_ssh":
                world.effects.append(DropConnections(vm_id))
            case _:
                raise wire.not_found("no such administrative operation")
        return wire.empty(204)

    def state(self) -> Json:
        """The truth: every VM there ever was, whatever the list shows."""
        world, ledger = self._api.world, self._api.world.ledger
        commits: list[JsonValue] = [asdict(c) for c in world.commits.values()]
        vms: list[JsonValue] = [self._vm(vm) for vm in world.vms.values()]
        faults: list[JsonValue] = [str(f) for f in self._api.faults.current()]
        return {
            "now": world.clock(),
            "vms": vms,
            "commits": commits,
            "counts": dict(ledger.counts),
            "in_flight": ledger.in_flight,
            "max_in_flight": ledger.max_in_flight,
            "max_open": dict(ledger.max_open),
            "deferred": len(world.deferred),
            "faults": faults,
            "knobs": asdict(world.knobs),
        }

    def _vm(self, vm: Vm) -> Json:
        """Without the secret its key is made of."""
        now = self._api.world.clock()
        return {
            "vm_id": vm.id,
            "owner_id": vm.owner,
            "foreign": vm.owner != self._api.world.account.key_id,
            "state": vm.state(now),
            "exists": vm.exists(now),
            "labels": dict(vm.labels),
            "created_at": vm.created_at,
            "deleted_at": vm.deleted_at,
            "parent_commit_id": vm.parent_commit,
        }
