"""Platform JSON into observations: tolerant of what may vary, strict about what decisions rest on.

A row that can't be understood fails the whole answer (`Malformed`): leaving it out would look like a VM that is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.core.snapshot.vm import Commit, Vm, VmMetadata, VmState
from reconciler.core.times import seconds
from reconciler.engine.ports import Json, JsonValue

# vers-api §3.1: read in lower case; `paused` and `sleeping` are one class to decisions.
_STATES: Mapping[str, VmState] = {
    "booting": VmState.BOOTING,
    "running": VmState.RUNNING,
    "paused": VmState.SUSPENDED,
    "sleeping": VmState.SUSPENDED,
    "dead": VmState.DEAD,
}
_LONGEST_ID = 128
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class Malformed(ValueError):
    """An answer that says success and makes no sense. Its text names the field, never the content."""


def state(value: JsonValue) -> VmState:
    """The platform's word for a state; any word we don't know, or none, is `UNKNOWN`."""
    if isinstance(value, str):
        known = _STATES.get(value)
        return known if known is not None else _STATES.get(value.strip().lower(), VmState.UNKNOWN)
    return VmState.UNKNOWN


def timestamp(value: JsonValue) -> float:
    """RFC 3339 → seconds since the epoch. Any number of fraction digits, any offset, none means UTC (vers-api §2)."""
    if not isinstance(value, str):
        raise Malformed("a time is missing")
    at = seconds(value)
    if at is None:
        at = seconds(value.strip().upper().replace(" UTC", "Z"))
    if at is None:
        raise Malformed("a time is not RFC 3339")
    return at


def vm(row: JsonValue) -> Vm:
    """One row of the list, or the answer of `/status` (same shape)."""
    if not isinstance(row, dict):
        raise Malformed("a VM is not an object")
    vm_id = row.get("vm_id")
    owner = row.get("owner_id")
    if not isinstance(vm_id, str) or not vm_id:
        raise Malformed("a VM has no vm_id")
    if len(vm_id) > _LONGEST_ID or not vm_id.isprintable():
        raise Malformed("a VM has a vm_id that can be none")
    return Vm(
        vm_id.lower(),  # ids are UUIDs, whose case says nothing
        owner if isinstance(owner, str) else "",
        timestamp(row.get("created_at")),
        state(row.get("state")),
        _labels(row.get("labels")),
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """The rows of one list as they came, and what they mean, by id."""

    rows: dict[str, Json] = field(default_factory=dict)
    vms: dict[str, Vm] = field(default_factory=dict)

    def add(self, rows: list[JsonValue], last: Listing) -> None:
        """Read some rows. A row that says what it said in the `last` list gives the same `Vm`: nearly all do, and looking at it
        costs less than reading it, as does comparing the lists afterwards. Raises `Malformed`."""
        before, known = last.rows, last.vms
        for row in rows:
            vm_id = row.get("vm_id") if isinstance(row, dict) else None
            if isinstance(vm_id, str) and self.rows.get(vm_id, row) != row:
                raise Malformed("a VM is in the list twice, and the two rows differ")
            if isinstance(vm_id, str) and (same := before.get(vm_id)) == row and same is not None:
                self.rows[vm_id], self.vms[vm_id] = same, known[vm_id]
            else:
                one = vm(row)
                assert isinstance(row, dict)  # `vm` takes nothing else
                if one.vm_id in self.vms and self.vms[one.vm_id] != one:
                    raise Malformed("a VM is in the list twice, and the two rows differ")
                self.rows[one.vm_id], self.vms[one.vm_id] = row, one


def list_rows(body: JsonValue) -> list[JsonValue]:
    """The rows of a list answer: an array (vers-api §2.1), or an object around it under `vms`."""
    if isinstance(body, dict) and "error" not in body:
        body = body.get("vms")
    if not isinstance(body, list):
        raise Malformed("the list is not an array")
    return body


def metadata(body: JsonValue) -> VmMetadata:
    """`/metadata`: lineage of one VM."""
    if not isinstance(body, dict):
        raise Malformed("the metadata is not an object")
    vm_id = body.get("vm_id")
    if not isinstance(vm_id, str) or not vm_id:
        raise Malformed("the metadata has no vm_id")
    deleted = body.get("deleted_at")
    return VmMetadata(
        vm_id.lower(),
        timestamp(body.get("created_at")),
        state(body.get("state")),
        _id_or_none(body.get("parent_commit_id")),
        _id_or_none(body.get("grandparent_vm_id")),
        None if deleted is None else timestamp(deleted),
    )


def created_id(body: JsonValue) -> str | None:
    """The id of the one new VM in `{vm_id}` or `{vms: [{vm_id}]}`, None when there is none (hybrid errors, vers-api §2.0)."""
    if not isinstance(body, dict):
        return None
    value = body.get("vm_id")
    rows = body.get("vms")
    if value is None and isinstance(rows, list) and len(rows) == 1:
        row = rows[0]
        value = row.get("vm_id") if isinstance(row, dict) else row
    return value if isinstance(value, str) and value else None


def committed_id(body: JsonValue) -> str | None:
    """The id of a commit, under either of its names."""
    value = (body.get("commit_id") or body.get("id")) if isinstance(body, dict) else None
    return value if isinstance(value, str) and value else None


def tagged(body: JsonValue) -> str:
    """The commit that a tag of a repository points to, '' for none (vers-api §2.3)."""
    if not isinstance(body, dict) or not isinstance(body.get("tag_name"), str):
        raise Malformed("the tag is not an object with a name")
    commit_id = body.get("commit_id")
    return commit_id if isinstance(commit_id, str) else ""


def commits(body: JsonValue) -> tuple[list[Commit], int | None]:
    """One page of commits, and how many there are in all (None: not said). The id goes by either of its names (vers-api §2.3)."""
    rows = body.get("commits") if isinstance(body, dict) else body
    if not isinstance(rows, list):
        raise Malformed("the list of commits is not an array")
    found = []
    for row in rows:
        commit_id = committed_id(row)
        if not isinstance(row, dict) or commit_id is None:
            raise Malformed("a commit has no id")
        name = row.get("name")
        at = timestamp(row.get("created_at"))
        found.append(Commit(commit_id, name if isinstance(name, str) else "", at, _id_or_none(row.get("parent_vm_id")) or ""))
    total = body.get("total") if isinstance(body, dict) else None
    return found, total if isinstance(total, int) else None


def _labels(value: JsonValue) -> Mapping[str, str]:
    if not value or not isinstance(value, dict):
        return _NO_LABELS
    if set(map(type, value.values())) == {str}:  # always so; the whole fleet's labels need no copy at every list
        return value  # type: ignore[return-value]
    return {name: text for name, text in value.items() if isinstance(text, str)}


def _id_or_none(value: JsonValue) -> str | None:
    return value if isinstance(value, str) and value else None
