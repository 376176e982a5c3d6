"""The simulated platform's state: what exists, whose it is, what time it is. Pure: time, identity and keys are injected.

`vms.VmOps` and `catalog.CatalogOps` hold the operations; this holds what they share. Every delay is a time stamp compared
with `clock()`, so the same world runs under a real clock and under a virtual one.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NoReturn

import orjson

from reconciler.vers.simulator import limits, wire
from reconciler.vers.simulator.knobs import Knobs
from reconciler.vers.simulator.ledger import Ledger
from reconciler.vers.simulator.records import (
    Account,
    Caller,
    Commit,
    Deferred,
    DropConnections,
    Effect,
    FreezeGuest,
    KillGuest,
    Kit,
    Repository,
    Shape,
    StartGuest,
    Tag,
    ThawGuest,
    Vm,
)
from reconciler.vers.simulator.wire import ApiError


class NotYet(Exception):
    """The platform waits (for a boot) and does the operation then: call again at `at`, nothing has happened."""

    def __init__(self, at: float) -> None:
        super().__init__(f"not before {at}")
        self.at = at


@dataclass(frozen=True, slots=True)
class Touched:
    """One record to be made durable; gone from the world when it is no longer in its table."""

    kind: str
    id: str


class World:
    """`clock`: seconds since the epoch. `seed`: same seed and same calls, same ids. `render_key`: 32 secret bytes → the
    OpenSSH private key made of them. `effects` and `touched` are drained by whoever drives the world."""

    def __init__(self, account: Account, clock: Callable[[], float], seed: int, knobs: Knobs, render_key: Callable[[bytes], str]) -> None:
        self.account = account
        self.clock = clock
        self.seed = seed
        self.knobs = knobs
        self.render_key = render_key
        self.ledger = Ledger()
        self.vms: dict[str, Vm] = {}
        self.present: dict[str, Vm] = {}
        self.commits: dict[str, Commit] = {}
        self.tags: dict[str, Tag] = {}
        self.repositories: dict[str, Repository] = {}
        self.environment: dict[str, str] = {}
        self.deferred: list[Deferred] = []
        self.effects: list[Effect] = []
        self.touched: dict[Touched, None] = {}
        self.key_expired = False
        self.most_vms = limits.VMS
        self.starting = 0
        """Machines under way, as whoever carries effects out counts them."""
        self.replies: dict[str, wire.Reply] = {}
        self._ids = 0
        self._recent_calls: list[float] = []

    # --- identity and time ---------------------------------------------------------------------------------------------

    @property
    def ids_made(self) -> int:
        return self._ids

    def resume_ids(self, made: int) -> None:
        """Go on after a restart where the ids had got to."""
        self._ids = made

    def new_id(self) -> str:
        """A version 4 UUID, determined by the seed and how many were made before."""
        self._ids += 1
        return str(uuid.UUID(bytes=hashlib.sha256(f"{self.seed}/{self._ids}".encode()).digest()[:16], version=4))

    @property
    def foreign_owner(self) -> str:
        return str(uuid.UUID(bytes=hashlib.sha256(f"{self.seed}/foreign".encode()).digest()[:16], version=4))

    def stamp(self, at: float) -> str:
        return wire.rfc3339(at, self.knobs.timestamps)

    def touch(self, kind: str, record_id: str) -> None:
        self.touched[Touched(kind, record_id)] = None

    # --- who may call --------------------------------------------------------------------------------------------------

    def authenticate(self, authorization: str) -> str:
        """The owner id of a valid `Authorization` header; raises the gateway's text 403 (vers-api §2.0)."""
        scheme, _, key = authorization.partition(" ")
        expected = self.account.key_id + self.account.secret
        valid = scheme.lower() == "bearer" and hmac.compare_digest(key.strip().encode(), expected.encode())
        if not valid or self.key_expired or self.knobs.key_state == "expired":
            raise wire.bad_key()
        return self.account.key_id

    def throttle(self) -> None:
        """Count one call against `rate_limit`; raises 429 (never observed live, handled by the vendor's clients: F19)."""
        limit = self.knobs.rate_limit
        if not limit:
            return
        now = self.clock()
        self._recent_calls = [at for at in self._recent_calls if at > now - 1]
        if len(self._recent_calls) >= limit:
            raise ApiError(429, b"Too Many Requests", wire.TEXT, (("retry-after", "1"),))
        self._recent_calls.append(now)

    # --- VMs -------------------------------------------------------------------------------------------------------------

    def vm(self, vm_id: str) -> Vm:
        """A VM that exists now; raises the JSON 404."""
        vm = self.present.get(vm_id)
        if vm is None or not vm.exists(self.clock()):
            raise wire.not_found()
        return vm

    def own_vm(self, vm_id: str, who: Caller) -> Vm:
        """A VM that exists and is the caller's; raises the JSON 404 or 403."""
        vm = self.vm(vm_id)
        if vm.owner != who.owner:
            raise wire.forbidden()
        return vm

    def settled_vm(self, vm_id: str, who: Caller, skip_wait_boot: bool) -> Vm:
        """Own, and not booting: while it is, raises `NotYet`, or 400 with skip_wait_boot (vers-api §2.1)."""
        vm = self.own_vm(vm_id, who)
        if vm.state(self.clock()) == "booting":
            if skip_wait_boot:
                raise wire.refused(400, "VM is still booting")
            raise NotYet(vm.running_at)
        return vm

    def check_room(self, kept: Mapping[str, object], what: str, most: int = limits.NAMES) -> None:
        """Raises the JSON 403 when there are as many records of a kind as the simulator keeps."""
        if len(kept) >= most:
            raise wire.refused(403, f"quota exceeded: {most} {what}")

    def check_quota(self, wanted: int = 1) -> None:
        """Raises the JSON 403 when `wanted` more VMs exceed the quota (F18), or what the simulator can hold."""
        self.sweep()
        if self.starting + wanted > limits.STARTING and self.starting:
            raise wire.too_much(f"{self.starting} VMs are being started")
        if len(self.present) + wanted > self.most_vms:
            raise wire.refused(403, f"quota exceeded: {len(self.present)} of {self.most_vms} VMs in use")
        if not self.knobs.quota:
            return
        now = self.clock()
        counted = sum(
            1
            for vm in self.vms.values()
            if vm.owner == self.account.key_id
            and (vm.leaked or (vm.exists(now) and (self.knobs.quota_counts_suspended == "yes" or not vm.suspended)))
        )
        if counted + wanted > self.knobs.quota:
            raise wire.refused(403, f"quota exceeded: {counted} of {self.knobs.quota} VMs in use")

    def add_vm(self, who: Caller, op: str, shape: Shape, labels: dict[str, str], commit: str | None, boots: float) -> Vm:
        """A new VM that runs after `boots` seconds."""
        now = self.clock()
        vm_id = self.new_id()
        key_seed = hmac.new(self.account.secret.encode(), vm_id.encode(), hashlib.sha256).hexdigest()
        running_at = now + boots
        vm = Vm(
            vm_id,
            who.owner,
            now,
            self._ids,
            labels,
            shape,
            commit,
            key_seed,
            "running",
            running_at,
            now + self.knobs.list_lag_s,
            running_at + self.knobs.ssh_ready_delay_s,
        )
        self.vms[vm_id] = self.present[vm_id] = vm
        self.changed(who, op, vm_id, f"commit={commit}" if commit else "")
        self.touch("vm", vm_id)
        if who.owner == self.account.key_id:
            offset = self.knobs.clock_offset_on_restore if commit else 0.0
            kit = Kit(self.knobs.guest_tools == "present", self.knobs.guest_names == "present", self.knobs.guest_disk_kib)
            self.effects.append(StartGuest(vm_id, commit, kit, offset, dict(self.environment)))
        return vm

    def changed(self, who: Caller, op: str, subject: str, detail: str = "") -> None:
        self.ledger.change(self.clock(), who.call, who.owner, op, subject, detail)

    def sweep(self) -> None:
        """Forget the deleted among the present ones (cheap lists); tombstones stay in `vms`."""
        now = self.clock()
        for vm_id in [vm.id for vm in self.present.values() if vm.deleted_at is not None and vm.deleted_at <= now]:
            del self.present[vm_id]
        if len(self.vms) - len(self.present) > limits.TOMBSTONES:
            gone = [vm.id for vm in islice(self.vms.values(), limits.TOMBSTONES) if vm.id not in self.present]
            for vm_id in gone[: len(gone) // 2]:
                del self.vms[vm_id]
                self.touch("vm", vm_id)

    # --- behind everybody's back ---------------------------------------------------------------------------------------

    def _somebody_elses(self, vm_id: str) -> Vm:
        vm = self.present.get(vm_id)
        if vm is None or not vm.exists(self.clock()):
            raise wire.not_found()
        return vm

    def kill(self, vm_id: str) -> None:
        """The VM dies (state `dead`); it stays listed."""
        vm = self._somebody_elses(vm_id)
        vm.phase = "dead"
        self.changed(Caller("platform"), "vm_dies", vm_id)
        self.touch("vm", vm_id)
        self.effects += [KillGuest(vm_id), DropConnections(vm_id)]

    def suspend_behind(self, vm_id: str) -> None:
        vm = self._somebody_elses(vm_id)
        vm.phase = "sleeping" if self.knobs.suspended_reads_as == "sleeping" or self.knobs.suspend_dialect == "sleeping" else "paused"
        self.changed(Caller("platform"), "suspend", vm_id)
        self.touch("vm", vm_id)
        self.effects.append(FreezeGuest(vm_id))

    def resume_behind(self, vm_id: str) -> None:
        vm = self._somebody_elses(vm_id)
        vm.phase = "running"
        self.changed(Caller("platform"), "resume", vm_id)
        self.touch("vm", vm_id)
        self.effects.append(ThawGuest(vm_id, self.knobs.lose_processes_on_resume == "yes"))

    def add_foreign(self, labels: dict[str, str] | None = None) -> Vm:
        """A VM of another owner of the same organisation: listed, and not ours to change."""
        return self.add_vm(Caller(self.foreign_owner), "foreign", Shape(), labels or {}, None, 0.0)

    # --- for whoever drives --------------------------------------------------------------------------------------------

    def take_effects(self) -> list[Effect]:
        taken, self.effects = self.effects, []
        return taken

    def due(self) -> list[Deferred]:
        """Late effects whose time has come, oldest first; they are taken off the list."""
        if not self.deferred:
            return []
        now = self.clock()
        ready = sorted((d for d in self.deferred if d.at <= now), key=lambda d: d.at)
        if ready:
            self.deferred = [d for d in self.deferred if d.at > now]
            self.touch("meta", "deferred")
        return ready

    def commit(self, commit_id: str, message: str = "commit not found") -> Commit:
        found = self.commits.get(commit_id)
        if found is None:
            raise wire.not_found(message)
        return found


def bounded(values: dict[str, str], most: int, what: str) -> dict[str, str]:
    """Raises 400 when names and values together have more than `most` bytes."""
    if sum(len(name.encode()) + len(value.encode()) for name, value in values.items()) > most:
        raise wire.refused(400, f"{what} are larger than {most} bytes together")
    return values


def no_key(_: bytes) -> str:
    """`render_key` for a world without SSH."""
    return "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n"


def unreachable(message: str) -> NoReturn:
    """A state that the routes rule out."""
    raise AssertionError(message)


def json_row(fields: wire.Json, knobs: Knobs) -> wire.Json:
    """One object of a reply; with `extra_fields`, also what no client knows (vers-api §2.0)."""
    if knobs.extra_fields == "yes":
        fields["x_unknown_field"] = {"nested": [1, None, "two"]}
    return fields


def json_reply(status: int, value: wire.JsonValue, knobs: Knobs, at: float = 0.0) -> wire.Reply:
    return wire.Reply(status, orjson.dumps(value), wire.JSON if knobs.omit_content_type == "no" else None, at)
