"""The breaker of one model provider with one key, like the fleet's breaker for creates: while the provider is at its limit, or refuses,
no prompt goes to it but one probe at a time. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from reconciler.api.reasons import Reason
from reconciler.core.backoff import delay
from reconciler.core.provider.trouble import LONGEST_ASKED, Trouble

PROVIDERS = "providers"
"""Name under which the store keeps all of them."""

FIRST_PROBE, LONGEST_PAUSE = 30.0, 900.0
"""Seconds between probes of a provider that time mends: doubled from the first to the longest."""

REFUSED_PAUSE = 1800.0
"""Seconds between probes of one that refuses: nothing but a change is expected to help, and a change is tried at once."""

MOST = 1000
"""So many are kept; beyond that the oldest are forgotten, which costs one prompt each."""

TOLD = 500


@dataclass(frozen=True, slots=True)
class ProviderBreaker:
    """`reason` '' means closed. `message`: the provider's own words. `since`, `next_probe`: controller clock. `prober`: the task that
    is the probe, until it is known what came of it. `certain`: it is known without a request that none can succeed; none is sent until
    something changes, and the store keeps nothing of it."""

    reason: str = ""
    message: str = ""
    since: float = 0.0
    probes: int = 0
    next_probe: float = 0.0
    prober: str = ""
    certain: bool = False

    @property
    def open(self) -> bool:
        return bool(self.reason)

    @property
    def refused(self) -> bool:
        """Time does not mend it."""
        return self.reason == Reason.MODEL_REFUSED

    def blocks(self, now: float, probing: bool) -> bool:
        """Whether no prompt may be sent now. `probing`: the probe of another task is still under way."""
        return self.open and (self.certain or probing or now < self.next_probe)

    def probe(self, now: float, task: str) -> ProviderBreaker:
        """A prompt of this task is about to be sent. While open it is the one probe of its time, whatever becomes of it."""
        if not self.open:
            return self
        probes = self.probes + 1
        return replace(self, probes=probes, next_probe=now + self.pause(probes + 1), prober=task)

    def failed(self, trouble: Trouble, message: str, now: float) -> ProviderBreaker:
        """The provider said no. Prompts that were under way when it opened change nothing but what is known."""
        asked = now + min(max(trouble.retry_after, 0.0), LONGEST_ASKED)
        if not self.open:
            fresh = ProviderBreaker(str(trouble.reason), message[:TOLD], now)
            return replace(fresh, next_probe=max(asked, now + fresh.pause(1)))
        again = replace(self, reason=str(trouble.reason), message=message[:TOLD], prober="")
        soonest = max(self.next_probe, now + again.pause(1))
        return replace(again, next_probe=max(asked, soonest))

    def pause(self, number: int) -> float:
        return REFUSED_PAUSE if self.refused else delay(number, 0.0, FIRST_PROBE, LONGEST_PAUSE)

    def asked_for(self, now: float) -> ProviderBreaker:
        """A person wants it tried now."""
        return replace(self, next_probe=min(self.next_probe, now)) if self.open else self


CLOSED = ProviderBreaker()


def kept(breakers: Mapping[str, ProviderBreaker]) -> str:
    """As the store keeps them, so that a restart of the controller does not ask anew; '' when all are closed."""
    newest = sorted((item for item in breakers.items() if item[1].open), key=lambda item: (-item[1].since, item[0]))[:MOST]
    return json.dumps({scope: asdict(breaker) for scope, breaker in newest}, sort_keys=True) if newest else ""


def read_kept(text: str) -> dict[str, ProviderBreaker]:
    """What `kept` wrote; anything else is a closed breaker: one prompt too many, and no more."""
    try:
        told = json.loads(text) if text else {}
        return {
            str(scope): ProviderBreaker(
                str(one["reason"]),
                str(one["message"]),
                float(one["since"]),
                int(one["probes"]),
                float(one["next_probe"]),
                str(one["prober"]),
            )
            for scope, one in told.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
