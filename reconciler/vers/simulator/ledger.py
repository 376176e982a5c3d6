"""What really happened: every call and every change, for tests to judge by. The platform's clients can't see it."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from reconciler.vers.simulator import limits


@dataclass(slots=True)
class Entry:
    """One call. `outcome`: '' while under way, else the status, `reset`, `hang` or `late`. `subjects`: ids made or changed."""

    seq: int
    at: float
    caller: str
    op: str
    method: str
    path: str
    key: str = ""
    fault: str = ""
    outcome: str = ""
    done_at: float | None = None
    subjects: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Change:
    """One effect. `call`: the entry's seq, 0 when nobody called (a death, an administrator)."""

    at: float
    call: int
    caller: str
    op: str
    subject: str
    detail: str = ""


class Ledger:
    """`calls` keeps the last `keep` entries, `changes` at least the last half of `limits.CHANGES`, `counts` everything."""

    def __init__(self, keep: int = limits.CALLS) -> None:
        self.calls: deque[Entry] = deque(maxlen=keep)
        self.changes: list[Change] = []
        self.forgotten = 0
        self.counts: Counter[str] = Counter()
        self.in_flight = 0
        self.max_in_flight = 0
        self._open: Counter[str] = Counter()
        self.max_open: Counter[str] = Counter()
        self._seq = 0

    def begin(self, at: float, caller: str, op: str, method: str, path: str, key: str) -> Entry:
        self._seq += 1
        entry = Entry(self._seq, at, caller, op, method, path[: limits.LOGGED], key[: limits.LOGGED])
        self.calls.append(entry)
        self.counts[op] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self._open[op] += 1
        self.max_open[op] = max(self.max_open[op], self._open[op])
        return entry

    def end(self, entry: Entry, at: float, outcome: str) -> None:
        if entry.done_at is None:
            entry.done_at, entry.outcome = at, outcome
            self.in_flight -= 1
            self._open[entry.op] -= 1

    def change(self, at: float, call: int, caller: str, op: str, subject: str, detail: str = "") -> None:
        self.changes.append(Change(at, call, caller, op, subject[: limits.LOGGED], detail[: limits.LOGGED]))
        if len(self.changes) > limits.CHANGES:
            half = len(self.changes) // 2
            del self.changes[:half]
            self.forgotten += half

    @property
    def changed(self) -> int:
        """How many changes there were, those forgotten too."""
        return self.forgotten + len(self.changes)

    def since(self, changed: int) -> list[Change]:
        """What came after there had been so many, as far as it is kept."""
        return self.changes[max(0, changed - self.forgotten) :]
