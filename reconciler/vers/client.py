"""The Vers platform over HTTP: `VersClient` implements `reconciler.engine.ports.VersApi`, one method an operation.

Reads and the idempotent writes (delete, labels) are tried up to three times, everything else exactly once. Key and URL are
resolved for every request. What an answer means is decided in `errors`, what it says is read in `models`.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import orjson
from pydantic import SecretStr

from reconciler.core.snapshot.machine import BranchSource, CommitSource, CreateSource, RootSource, VmShape
from reconciler.core.snapshot.vm import Commit, Vm, VmList, VmMetadata, VmState
from reconciler.core.times import http_date
from reconciler.engine.ports import Json, JsonValue
from reconciler.errors import NotFound, Rejected, Unreachable
from reconciler.vers import errors, models
from reconciler.vers.errors import Effect
from reconciler.vers.keys import Endpoint, Settings, is_uuid
from reconciler.vers.wire import Call, Outcome, Wire

_T = TypeVar("_T")
_SLICE: Final = 2000  # rows decoded before the loop gets a turn
_PAGE: Final = 100  # the most the platform gives at once (vers-api §2.3)
_REF: Final = re.compile(r"(?!\.\.?:)([A-Za-z0-9._-]{1,64}):(?!\.\.?$)([A-Za-z0-9._-]{1,128})")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,200}")
_SUSPEND_WORDS: Final = ("Sleeping", "Paused")  # newest dialect first (vers-api §3.3)
_LIST_PATHS: Final = ("/vms", "/vm")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds one attempt of an operation may take (vers-api §6)."""

    read: float = 15.0
    create_root: float = 60.0
    create_from_commit: float = 300.0
    commit: float = 300.0
    delete: float = 60.0
    state: float = 60.0
    labels: float = 30.0


class VersClient:
    """The port's implementation. `settings` says where and as whom; `clock` gives seconds since the epoch; at most
    `concurrency` calls are under way; `sleep` waits between attempts (seconds); `tls` verifies the API, None means by the usual
    authorities. Also gives the SSH layer keys and addresses."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        concurrency: int = 50,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings if settings is not None else Settings()
        self._timeouts = timeouts if timeouts is not None else Timeouts()
        self._clock = clock
        self._wire = Wire(self._settings, concurrency, sleep, tls)
        self._dialect: dict[str, str] = {}
        self._list_path: dict[str, str] = {}
        self._listing = models.Listing()

    # --- the port -------------------------------------------------------------------------------------------------------

    def account(self) -> str:
        return self._settings.account()

    async def list_vms(self) -> VmList:
        begun = self._clock()
        outcome = await self._list()
        answer = outcome.required()
        last, fresh = self._listing, models.Listing()
        at_work = self._clock()
        try:
            rows = models.list_rows(answer.json())
            work = self._clock() - at_work
            for start in range(0, len(rows), _SLICE):
                if start:
                    await asyncio.sleep(0)
                at_work = self._clock()
                fresh.add(rows[start : start + _SLICE], last)
                work += self._clock() - at_work
        except models.Malformed as malformed:
            raise errors.senseless(Effect.READ, outcome.where, str(malformed)) from None
        self._listing = fresh
        return VmList(fresh.vms, begun, self._clock(), http_date(answer.headers.get("date")), work)

    async def get_vm(self, vm_id: str) -> Vm:
        vm = await self._read(f"/vm/{_checked(vm_id)}/status", models.vm)
        _same(vm_id, vm.vm_id)
        return vm

    async def get_metadata(self, vm_id: str) -> VmMetadata:
        metadata = await self._read(f"/vm/{_checked(vm_id)}/metadata", models.metadata)
        _same(vm_id, metadata.vm_id)
        return metadata

    async def resolve_ref(self, ref: str) -> str:
        named = _REF.fullmatch(ref)
        if named is None:
            raise Rejected("a reference is REPOSITORY:TAG", repr(ref[:200]), "use letters, digits, dot, dash and underscore")
        commit_id = await self._read(f"/repositories/{named[1]}/tags/{named[2]}", models.tagged)
        if not is_uuid(commit_id):
            raise NotFound("the tag has no commit", ref)
        return commit_id.lower()

    async def create_vm(self, source: CreateSource, shape: VmShape, labels: Mapping[str, str], token: str) -> str:
        if not _TOKEN.fullmatch(token):
            raise Rejected("an intent's token must be 1 to 200 printable characters", "create_vm")
        path, timeout, body = self._creation(source, shape, labels)
        outcome = await self._wire.once(Call("POST", path, Effect.CREATE, timeout, orjson.dumps(body) if body else None, token))
        # The id counts before any `error` beside it: a VM that exists must not be forgotten.
        if outcome.answer is not None and outcome.answer.ok:
            vm_id = models.created_id(outcome.answer.json())
            if vm_id is not None and is_uuid(vm_id):
                return vm_id.lower()
        outcome.required()
        raise errors.senseless(Effect.CREATE, outcome.where, "no VM id in it")

    async def commit(self, vm_id: str, name: str) -> str:
        body = orjson.dumps({"name": name})
        outcome = await self._wire.once(Call("POST", f"/vm/{_checked(vm_id)}/commit", Effect.COMMIT, self._timeouts.commit, body))
        commit_id = models.committed_id(outcome.required().json())
        if commit_id is None or not is_uuid(commit_id):
            raise errors.senseless(Effect.COMMIT, outcome.where, "no commit id in it")
        return commit_id

    async def delete_commit(self, commit_id: str) -> None:
        call = Call("DELETE", f"/commits/{_checked(commit_id)}", Effect.IDEMPOTENT, self._timeouts.delete)
        (await self._wire.insist(call)).required()

    async def list_commits(self) -> tuple[Commit, ...]:
        found: dict[str, Commit] = {}
        offset = 0
        while True:
            page, total = await self._read(f"/commits?limit={_PAGE}&offset={offset}", models.commits)
            fresh = [commit for commit in page if commit.commit_id not in found]
            found.update((commit.commit_id, commit) for commit in fresh)
            offset += len(page)
            if not fresh or (total is not None and offset >= total):
                return tuple(found.values())  # (a page that brings nothing new: paging is not understood there)

    async def delete_vm(self, vm_id: str) -> None:
        outcome = await self._wire.insist(Call("DELETE", f"/vm/{_checked(vm_id)}", Effect.IDEMPOTENT, self._timeouts.delete))
        if not isinstance(outcome.error, NotFound):
            outcome.required()

    async def suspend_vm(self, vm_id: str) -> None:
        """Speaks both dialects of `PATCH state` and remembers per URL which one was understood. Raises as the port says."""
        base = self._settings.url()
        word = self._dialect.get(base, _SUSPEND_WORDS[0])
        outcome = await self._patch_state(vm_id, word)
        if _unknown_word(outcome):
            word = _SUSPEND_WORDS[1] if word == _SUSPEND_WORDS[0] else _SUSPEND_WORDS[0]
            outcome = await self._patch_state(vm_id, word)
        if outcome.error is None:
            self._dialect[outcome.base] = word
        await self._confirm_state(outcome, vm_id, VmState.SUSPENDED)

    async def resume_vm(self, vm_id: str) -> None:
        await self._confirm_state(await self._patch_state(vm_id, "Running"), vm_id, VmState.RUNNING)

    async def set_labels(self, vm_id: str, labels: Mapping[str, str]) -> None:
        body = orjson.dumps({"labels": dict(labels)})
        outcome = await self._wire.insist(Call("PATCH", f"/vm/{_checked(vm_id)}/label", Effect.IDEMPOTENT, self._timeouts.labels, body))
        outcome.required()

    async def aclose(self) -> None:
        await self._wire.aclose()

    def answered(self) -> Mapping[tuple[str, str], int]:
        """How many attempts were made, by HTTP method and status (`none`: no answer)."""
        return self._wire.answered

    # --- for the SSH layer ----------------------------------------------------------------------------------------------

    async def ssh_key(self, vm_id: str) -> SecretStr:
        """The VM's private key (OpenSSH PEM, vers-api §4), never cached here. Raises like the reads of the port."""
        return await self._read(f"/vm/{_checked(vm_id)}/ssh_key", _private_key)

    def endpoint(self, vm_id: str) -> Endpoint:
        """How to dial the VM, resolved now. Raises `Unreachable` when a setting is wrong."""
        return self._settings.endpoint(vm_id)

    # --- how -------------------------------------------------------------------------------------------------------------

    def _creation(self, source: CreateSource, shape: VmShape, labels: Mapping[str, str]) -> tuple[str, float, Json]:
        """Path, seconds and body of a create. Sizes and labels are for new machines only; restored ones take none (vers-api §7.1)."""
        match source:
            case RootSource(image):
                config: Json = {"image_name": image}
                sizes = (("vcpu_count", shape.vcpus), ("mem_size_mib", shape.memory_mib), ("fs_size_mib", shape.disk_mib))
                config.update({name: size for name, size in sizes if size is not None})
                if labels:
                    config["labels"] = dict(labels)
                # Not waiting for the boot keeps the window of a lost answer short (vers-api §7.2).
                return "/vm/new_root?wait_boot=false", self._timeouts.create_root, {"vm_config": config}
            case CommitSource(commit_id):
                return "/vm/from_commit", self._timeouts.create_from_commit, {"commit_id": _checked(commit_id)}
            case BranchSource(vm_id):
                # One copy a call: what came of several is not told apart when the answer is lost (vers-api §7.3). The original goes on.
                return f"/vm/branch/by_vm/{_checked(vm_id)}?count=1&keep_paused=false", self._timeouts.create_from_commit, {}

    async def _list(self) -> Outcome:
        """`/vms`, or `/vm` where that is not served (vers-api §2.5). A list that is 404 on both says nothing about VMs."""
        first = self._list_path.get(self._settings.url(), _LIST_PATHS[0])
        for path in (first, *(other for other in _LIST_PATHS if other != first)):
            outcome = await self._wire.insist(Call("GET", path, Effect.READ, self._timeouts.read))
            if outcome.answer is None or outcome.answer.status not in (404, 405):
                if outcome.error is None:
                    self._list_path[outcome.base] = path
                return outcome
        raise Unreachable("there is no list of VMs at this address", outcome.where, "check VERS_BASE_URL")

    async def _read(self, path: str, decode: Callable[[JsonValue], _T]) -> _T:
        outcome = await self._wire.insist(Call("GET", path, Effect.READ, self._timeouts.read))
        answer = outcome.required()
        try:
            return decode(answer.json())  # in no local: it may be a private key
        except models.Malformed as malformed:
            raise errors.senseless(Effect.READ, outcome.where, str(malformed)) from None

    async def _patch_state(self, vm_id: str, word: str) -> Outcome:
        body = orjson.dumps({"state": word})
        return await self._wire.once(Call("PATCH", f"/vm/{_checked(vm_id)}/state", Effect.IDEMPOTENT, self._timeouts.state, body))

    async def _confirm_state(self, outcome: Outcome, vm_id: str, wanted: VmState) -> None:
        """A 400 may mean that the VM is in that state already (vers-api §3.3): then one look decides. Anything else counts as is."""
        if outcome.answer is not None and outcome.answer.status == 400 and (await self.get_vm(vm_id)).state is wanted:
            return
        outcome.required()


def _checked(identifier: str) -> str:
    """A full UUID, fit for a path; prefixes and anything else never leave this process (vers-api §4)."""
    if not is_uuid(identifier):
        raise Rejected("not a full id", repr(identifier[:80]), "use the 36-character id")
    return identifier


def _same(asked: str, answered: str) -> None:
    if asked.lower() != answered.lower():
        raise Unreachable("the platform answered about another VM", f"{asked} asked, {answered} answered")


def _unknown_word(outcome: Outcome) -> bool:
    """422 of the other dialect (vers-api §2.0): the text says `unknown variant`."""
    return outcome.answer is not None and outcome.answer.status == 422 and b"unknown variant" in outcome.answer.body


def _private_key(body: JsonValue) -> SecretStr:
    key = body.get("ssh_private_key") if isinstance(body, dict) else None
    if not isinstance(key, str) or not key:
        raise models.Malformed("there is no ssh_private_key")
    return SecretStr(key)
