"""The fleet's breaker for creates (G-06): platform-wide allocation failures stop all creates but one probe at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.core.backoff import delay

FAILED_DELETES = 3
"""So many deletions that keep failing hold back creates: cleanup debt makes allocation worse."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """`reason` '' means closed. `since`, `next_probe`: controller clock. `probing`: the slot that may try, '' for none."""

    reason: str = ""
    since: float = 0.0
    failures: int = 0
    next_probe: float = 0.0
    probing: str = ""

    def blocks(self, slot: str, now: float, failing_deletes: int = 0) -> str:
        """Why this slot may not create now; '' when it may."""
        if failing_deletes > FAILED_DELETES:
            return f"{failing_deletes} deletions keep failing; creating nothing until they are through"
        if not self.reason or (now >= self.next_probe and self.probing in ("", slot)):
            return ""
        return f"the platform refuses new VMs: {self.reason}"

    def probe(self, slot: str) -> Breaker:
        return replace(self, probing=slot) if self.reason else self

    def failed(self, reason: str, now: float, jitter: float) -> Breaker:
        failures = self.failures + 1
        wait = delay(failures, jitter, base=15.0, most=300.0)
        return Breaker(reason, self.since or now, failures, now + wait)

    def succeeded(self) -> Breaker:
        return Breaker()
