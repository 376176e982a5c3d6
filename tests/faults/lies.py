"""What the platform may say without a word of it being true, while every answer has the right type: the strikes of the crash harness
that are no crash and no error.

`list-…`: the answer of a change is lost, and the next list is wrong once; at every other number only after lists have failed for
longer than the settle window. `odd-…`: a header or field that is odd and can be parsed. `hostile-…`: a value that is made up.
`commits-…`: as `list-…`, of the list of commits. `refused-…`: the call took effect, and what stands between answers with a refusal in the
shape of the platform's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from reconciler.api.annotations import PREFIX
from reconciler.core.snapshot.vm import Commit, Vm, VmList, VmMetadata, VmState
from reconciler.core.times import http_date
from reconciler.errors import Unreachable
from reconciler.vers import models
from reconciler.vers.errors import Answer, Effect, refusal
from tests.world import FOREIGN

WRONG_LISTS = ("list-empty", "list-stale", "list-short", "list-doubled")
WRONG_COMMITS = ("commits-empty", "commits-stale", "commits-short", "commits-doubled")
_ODD_LISTS = ("odd-late-date", "odd-early-date", "odd-no-date", "odd-state", "odd-times", "odd-no-labels", "odd-case")
_HOSTILE_LISTS = ("hostile-dead", "hostile-claimed", "hostile-owner")
_REFUSALS: Mapping[str, Answer] = {
    "refused-403": Answer(403, {"content-type": "application/json"}, b'{"error":"Forbidden","success":false}'),
    "refused-404": Answer(404, {"content-type": "application/json"}, b'{"error":"commit not found","success":false}'),
    "refused-quota": Answer(403, {"content-type": "application/json"}, b'{"error":"quota exceeded","success":false}'),
    "refused-key": Answer(403, {}, b"403 Forbidden"),
}
_IN_USE = Answer(409, {"content-type": "application/json"}, b'{"error":"commit still has 1 active VM(s)","success":false}')
_NOWHERE = "00000000-0000-4000-8fff-00000000dead"
_LIES: Mapping[str, tuple[str, ...]] = {
    "vers.get_vm": ("odd-state", "odd-times", "hostile-dead", "hostile-claimed"),
    "vers.get_metadata": ("odd-state", "hostile-parent"),
    "vers.resolve_ref": (*WRONG_COMMITS, "hostile-known", "hostile-ghost"),
    "vers.list_commits": (*WRONG_COMMITS, "odd-no-parents", "hostile-parents"),
    "vers.create_vm": (*WRONG_LISTS, "hostile-known", "hostile-ghost", *_REFUSALS),
    "vers.commit": (*WRONG_LISTS, *WRONG_COMMITS, "hostile-known"),
    "vers.delete_commit": (*WRONG_COMMITS, "hostile-nothing", "refused-in-use"),
    **{f"vers.{name}": (*WRONG_LISTS, "hostile-nothing") for name in ("delete_vm", "suspend_vm", "resume_vm", "set_labels")},
}


def lies_of(effect: str, number: int) -> tuple[str, ...]:
    """The strikes at this effect. A run is mostly lists: each is struck by one odd and one hostile kind, in turn."""
    if effect == "vers.list_vms":
        return _ODD_LISTS[number % len(_ODD_LISTS)], _HOSTILE_LISTS[number % len(_HOSTILE_LISTS)]
    return _LIES.get(effect, ())


@dataclass
class Liar:
    """What the next list is to be, of VMs or of commits. `wrong`: its kind, '' for a true one; `blind_until`: such lists fail before (loop
    time); `last`, `commits`: the last true ones; `told`: how many wrong ones were told."""

    wrong: str = ""
    blind_until: float = 0.0
    last: VmList | None = None
    commits: tuple[Commit, ...] = ()
    told: int = 0

    def strike(self, kind: str, blind_until: float) -> None:
        """The next list of what this kind is about is to be wrong."""
        self.wrong, self.blind_until = kind, blind_until

    async def listed(self, name: str, act: Callable[[], Awaitable[Any]], now: float) -> Any:
        """The next answer of this effect, which is one of the two lists."""
        return await (self.list_vms(act, now) if name == "vers.list_vms" else self.list_commits(act, now))

    async def list_vms(self, act: Callable[[], Awaitable[VmList]], now: float) -> VmList:
        """The next list, as it is or as it is made to look."""
        wrong = self.wrong in WRONG_LISTS
        if wrong and now < self.blind_until:
            raise Unreachable("503 Service unavailable")
        right, before = await act(), self.last
        self.last = right
        if not wrong:
            return right
        kind, self.wrong, self.told = self.wrong, "", self.told + 1
        return _wrong(kind, right, before if before is not None else replace(right, vms={}))

    async def list_commits(self, act: Callable[[], Awaitable[tuple[Commit, ...]]], now: float) -> tuple[Commit, ...]:
        """The next list of commits, as it is or as it is made to look."""
        wrong = self.wrong in WRONG_COMMITS
        if wrong and now < self.blind_until:
            raise Unreachable("503 Service unavailable")
        right, before = await act(), self.commits
        self.commits = right
        if not wrong:
            return right
        kind, self.wrong, self.told = self.wrong, "", self.told + 1
        return _wrong_commits(kind, right, before)

    async def answer(self, kind: str, act: Callable[[], Awaitable[Any]]) -> Any:
        """One answer of the right type that is odd or not true."""
        if kind in ("hostile-nothing", "hostile-ghost"):
            return _NOWHERE if kind == "hostile-ghost" else None
        right = await act()
        if kind == "refused-in-use":
            kept = refusal(Effect.IDEMPOTENT, "DELETE /commits", _IN_USE)
            assert kept is not None
            raise kept
        if kind in _REFUSALS:
            error = refusal(Effect.CREATE, "POST /vm", _REFUSALS[kind])
            assert error is not None
            raise error
        match right:
            case VmList():
                self.last = right
                return _list(kind, right)
            case Vm():
                return read(models.vm, _row(kind, right))
            case VmMetadata():
                return _metadata(kind, right)
            case tuple():
                self.commits = right
                return tuple(_commit(kind, commit) for commit in right)
            case _:
                return self._known(right)

    def _known(self, right: str) -> str:
        """The id of something else that is there: of another commit where a commit is told, else of another VM, in the last list."""
        commits = {commit.commit_id for commit in self.commits}
        if right in commits:
            return min(commits - {right}, default=right)
        others = [vm_id for vm_id in (self.last.vms if self.last is not None else ()) if vm_id != right]
        return others[0] if others else right


def read(decode: Callable[[Any], Any], raw: object) -> Any:
    """By the client's own decoder; what makes no sense to it is an answer that says nothing, as the client has it."""
    try:
        return decode(raw)
    except models.Malformed as malformed:
        raise Unreachable(str(malformed)) from None


def _wrong(kind: str, right: VmList, before: VmList) -> VmList:
    match kind:
        case "list-empty":
            return replace(right, vms={})
        case "list-stale":
            return replace(right, vms=before.vms)
        case "list-short":
            newest = max(right.vms.values(), key=lambda vm: (vm.created_at, vm.vm_id), default=None)
            return replace(right, vms={vm_id: vm for vm_id, vm in right.vms.items() if vm is not newest})
        case "list-doubled":
            return _decoded(right, [*map(_json, right.vms.values()), *map(_json, before.vms.values())])
        case _:
            raise AssertionError(kind)


def _wrong_commits(kind: str, right: tuple[Commit, ...], before: tuple[Commit, ...]) -> tuple[Commit, ...]:
    match kind:
        case "commits-empty":
            return ()
        case "commits-stale":
            return before
        case "commits-short":
            newest = max(right, key=lambda commit: (commit.created_at, commit.commit_id), default=None)
            return tuple(commit for commit in right if commit is not newest)
        case "commits-doubled":  # an id that comes twice counts once: of the others those are here that are gone
            there = {commit.commit_id for commit in right}
            return (*right, *(commit for commit in before if commit.commit_id not in there))
        case _:
            raise AssertionError(kind)


def _list(kind: str, right: VmList) -> VmList:
    dates = {"odd-late-date": "Fri, 31 Dec 9999 23:59:59 GMT", "odd-early-date": "Thu, 01 Jan 1970 00:00:00 GMT", "odd-no-date": ""}
    if kind in dates:
        return replace(right, server_time=http_date(dates[kind]))
    return _decoded(right, [_row(kind, vm) for vm in right.vms.values()])


def _decoded(right: VmList, rows: list[Any]) -> VmList:
    def decode(raw: Any) -> dict[str, Vm]:
        listing = models.Listing()
        listing.add(models.list_rows(raw), models.Listing())
        return listing.vms

    return replace(right, vms=read(decode, rows))


def _json(vm: Vm) -> dict[str, Any]:
    """A row as the platform writes it."""
    state = "sleeping" if vm.state is VmState.SUSPENDED else vm.state.value
    at = datetime.fromtimestamp(vm.created_at, UTC).isoformat()
    return {"vm_id": vm.vm_id, "owner_id": vm.owner_id, "created_at": at, "state": state, "labels": dict(vm.labels)}


def _row(kind: str, vm: Vm) -> dict[str, Any]:
    row = _json(vm)
    match kind:
        case "odd-state":
            row["state"] = "Migrating"
        case "odd-times":
            row["created_at"] = "9999-12-31T23:59:59.999999999-00:00"
        case "odd-no-labels":
            row["labels"] = None
        case "odd-case":
            row["vm_id"] = vm.vm_id.upper()
        case "hostile-dead":
            row["state"] = "dead"
        case "hostile-owner":
            row["owner_id"] = FOREIGN
        case "hostile-claimed":
            row["labels"] = {**vm.labels, f"{PREFIX}installation": "another", f"{PREFIX}vm-id": vm.vm_id}
        case _:
            raise AssertionError(kind)
    return row


def _metadata(kind: str, right: VmMetadata) -> VmMetadata:
    return replace(right, state=VmState.UNKNOWN) if kind == "odd-state" else replace(right, parent_commit_id=_NOWHERE)


def _commit(kind: str, right: Commit) -> Commit:
    return replace(right, parent_vm_id="" if kind == "odd-no-parents" else _NOWHERE)
