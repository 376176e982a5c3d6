"""The fleet's breaker for creates (G-06): platform-wide allocation failures stop all creates but one probe at a time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from reconciler.core.backoff import delay

BREAKER = "breaker"
"""Name under which the store keeps it."""

FAILED_DELETES = 3
"""So many deletions that keep failing hold back creates: cleanup debt makes allocation worse."""


FIRST_PROBE, LONGEST_PAUSE = 30.0, 450.0
"""Seconds between probes: doubled from the first to the longest, so that an hour without room costs 11 creates. No jitter:
one controller has one breaker."""


SILENCE = 2 * LONGEST_PAUSE
"""Seconds after the time of a probe that nobody made: whoever wanted a machine then wants none any more."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """`reason` '' means closed. `since`, `next_probe`: controller clock. `probes`: how many since it opened."""

    reason: str = ""
    since: float = 0.0
    probes: int = 0
    next_probe: float = 0.0

    def blocks(self, now: float, failing_deletes: int = 0) -> str:
        """Why no VM may be created now; '' when one may."""
        if failing_deletes > FAILED_DELETES:
            return f"{failing_deletes} deletions keep failing; creating nothing until they are through"
        if not self.reason or now >= self.next_probe:
            return ""
        return f"the platform refuses new VMs: {self.reason}"

    def doubts(self, now: float, failing_deletes: int = 0) -> str:
        """Why no machine should be given up for a new one now; '' when one may. Other than `blocks` it does not let probes through: they
        are for those who have none. When nobody has probed for long, what was said of the platform says nothing any more."""
        if self.reason and now < self.next_probe + SILENCE:
            return f"the platform refuses new VMs: {self.reason}"
        return self.blocks(now, failing_deletes)

    def probe(self, now: float) -> Breaker:
        """A create is about to be sent. While open it is the one probe of its time, whatever becomes of it or of its slot."""
        if not self.reason:
            return self
        probes = self.probes + 1
        return replace(self, probes=probes, next_probe=now + delay(probes + 1, 0.0, FIRST_PROBE, LONGEST_PAUSE))

    def failed(self, reason: str, now: float) -> Breaker:
        """No room. Creates that were under way when it opened change nothing but the reason."""
        if self.reason:
            return replace(self, reason=reason)
        return Breaker(reason, now, 0, now + delay(1, 0.0, FIRST_PROBE, LONGEST_PAUSE))

    def succeeded(self) -> Breaker:
        return Breaker()

    def dump(self) -> str:
        """As the store keeps it, so that a restart of the controller does not probe anew; '' when it is closed."""
        return json.dumps(asdict(self), sort_keys=True) if self.reason else ""

    @classmethod
    def load(cls, text: str) -> Breaker:
        """What `dump` wrote; anything else is a closed breaker: one probe too many, and no more."""
        try:
            told = json.loads(text) if text else {}
            return cls(str(told["reason"]), float(told["since"]), int(told["probes"]), float(told["next_probe"])) if told else cls()
        except (ValueError, TypeError, KeyError):
            return cls()
