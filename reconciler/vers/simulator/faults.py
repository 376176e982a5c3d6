"""Faults, addressed by operation and call: `OP:NTH[:before|after]:KIND`, e.g. `from_commit:2:after:reset` (vers-api §9)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import orjson

from reconciler.errors import UsageError
from reconciler.vers.simulator.wire import JSON, TEXT, Reply

When = Literal["before", "after"]

CREATES = frozenset(
    {"new_root", "from_commit", "branch", "branch_by_vm", "branch_by_commit", "branch_by_tag", "branch_by_ref", "fork_repository"}
)


def _error(status: int, message: str) -> Reply:
    return Reply(status, orjson.dumps({"error": message, "success": False}), JSON)


_ANSWERS = {
    "netlink": _error(500, "netlink error: Address in use (os error 98)"),
    "ceph": _error(500, "ceph error: failed to create volume: No space left on device (os error 28)"),
    "commit_s3": _error(500, "Error uploading commit to S3"),
    "delete_fails": _error(500, "failed to delete VM"),
    "quota": _error(403, "quota exceeded"),
    "429": Reply(429, b"Too Many Requests", TEXT, 0.0, (("retry-after", "1"),)),
    "500": _error(500, "internal server error"),
    "502": Reply(502, b"502 Bad Gateway", None),
    "503": Reply(503, b"503 Service unavailable", TEXT),
    "504": Reply(504, b"504 Gateway Timeout", None),
    "403": Reply(403, b"403 Forbidden", None),
    "404": _error(404, "not found"),
    "garbage": Reply(200, b"<html>not what you asked for</html>", "text/html"),
}
_CUTS = ("reset", "hang")
_EVENTS = ("vm_dies", "expire_key", "ssh_drop")
_SPEC = re.compile(
    r"(?P<op>[a-z0-9_*]+):(?P<first>\d+|\*)(?P<range>-(?P<last>\d+)?)?:"
    r"(?:(?P<when>before|after):)?(?P<kind>[a-z0-9_]+)(?:=(?P<value>\d+(\.\d+)?))?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`op`: an operation's name, `create` (all that make VMs) or `*`. Calls `first`..`last` (None: for ever), counted from
    when the fault was set. `kind`: a status or named answer, reset, hang, late, delay, or an event. `seconds`: late and delay."""

    op: str
    first: int
    last: int | None
    when: When
    kind: str
    seconds: float = 0.0

    def matches(self, op: str) -> bool:
        return self.op in ("*", op) or (self.op == "create" and op in CREATES)

    @property
    def answer(self) -> Reply | None:
        """What is answered instead; None when the kind is not an answer."""
        return _ANSWERS.get(self.kind)

    def __str__(self) -> str:
        nth = "*" if (self.first, self.last) == (1, None) else str(self.first)
        if self.last != self.first and nth != "*":
            nth += f"-{self.last or ''}"
        value = f"={self.seconds:g}" if self.kind in ("late", "delay") else ""
        return f"{self.op}:{nth}:{self.when}:{self.kind}{value}"


def parse_fault(spec: str, operations: frozenset[str]) -> Fault:
    """Raises `UsageError` for a spec that names no operation, call or kind we know. Without before|after: before.
    `late=S`: the connection is reset now and the effect comes S seconds later. `delay=S`: the call takes S seconds more."""
    kinds = sorted([*_ANSWERS, *_CUTS, *_EVENTS, "late=S", "delay=S"])
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise UsageError("malformed fault", f"--fault {spec}", "OP:NTH[:before|after]:KIND, NTH one of 2, 1-5, 3-, *")
    op, kind, value = found["op"], found["kind"], found["value"]
    if op not in operations | {"*", "create", "ssh"}:
        raise UsageError(f"unknown operation {op!r}", f"--fault {spec}", f"one of *, create, ssh, {', '.join(sorted(operations))}")
    timed = kind in ("late", "delay")
    if (not timed and (kind not in _ANSWERS and kind not in _CUTS + _EVENTS)) or timed != (value is not None):
        raise UsageError(f"unknown kind of fault {kind!r}", f"--fault {spec}", f"one of {', '.join(kinds)}")
    if found["first"] == "*":
        first, last = 1, None
    else:
        first = int(found["first"])
        last = int(found["last"]) if found["last"] else (None if found["range"] else first)
    if first < 1 or (last is not None and last < first) or (found["first"] == "*" and found["range"]):
        raise UsageError("calls are counted from 1, upwards", f"--fault {spec}", "NTH one of 2, 1-5, 3-, *")
    return Fault(op, first, last, "after" if found["when"] == "after" else "before", kind, float(value or 0))


@dataclass
class FaultPlan:
    """The faults in force, each with its own count of the calls that matched it."""

    _faults: list[tuple[Fault, list[int]]] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        self._faults.append((fault, [0]))

    def clear(self) -> None:
        self._faults.clear()

    def current(self) -> list[Fault]:
        return [fault for fault, _ in self._faults]

    def strike(self, op: str) -> Fault | None:
        """Count one call of `op`; the first fault that this call hits, in the order they were set."""
        hit: Fault | None = None
        for fault, count in self._faults:
            if fault.matches(op):
                count[0] += 1
                if hit is None and fault.first <= count[0] and (fault.last is None or count[0] <= fault.last):
                    hit = fault
        return hit
