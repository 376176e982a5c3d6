"""What the status of a lieutenant says of the provider of its model."""

from __future__ import annotations

from reconciler.api.status.base import WORD, Condition, clipped
from reconciler.api.status.governance import MODEL, FallbackStatus, ProviderStatus
from reconciler.core.lieutenant.provider import report_the_provider
from reconciler.core.snapshot.provider import Fallback, Provider
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import GovernPart
from reconciler.core.times import timestamp


def provider_condition(view: GovernPart) -> Condition | None:
    """It takes no work, whatever else holds, while its model can't answer."""
    told = report_the_provider(view) if view.slot.desired is DesiredState.RUNNING and view.lt.vm_id else None
    if told is None:
        return None
    return Condition("Available", "False", told.reason, told.message)


def provider_status(provider: Provider) -> ProviderStatus | None:
    breaker = provider.breaker
    if not breaker.open:
        return None
    return ProviderStatus(
        name=clipped(provider.name, 256),
        key=clipped(provider.key) or None,
        reason=clipped(breaker.reason, WORD),
        message=clipped(breaker.message),
        since=None if breaker.certain else timestamp(breaker.since),
        next_try=None if breaker.certain else timestamp(breaker.next_probe),
    )


def fallback_status(fallback: Fallback | None) -> FallbackStatus | None:
    if fallback is None:
        return None
    return FallbackStatus(
        model=clipped(fallback.model, MODEL),
        instead_of=clipped(fallback.instead_of, MODEL),
        since=timestamp(fallback.since) if fallback.since else None,
        message=clipped(fallback.why),
    )
