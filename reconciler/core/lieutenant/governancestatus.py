"""What the status of a lieutenant says of its budgets and of its rests. Pure."""

from __future__ import annotations

from reconciler.api.status.lieutenant import BudgetStatus, RestStatus
from reconciler.core.records import BudgetRecord, RestRecord
from reconciler.core.times import timestamp


def budget_status(record: BudgetRecord, declared: bool) -> BudgetStatus | None:
    """How far its budgets are used up, as it was last told."""
    if not declared and record.state == "Within":
        return None
    return BudgetStatus(record.state, timestamp(record.since) if record.since else None)


def rest_status(record: RestRecord) -> RestStatus | None:
    """That it rests, or how the last rest ended."""
    if not record.reason and not record.woken_at:
        return None
    return RestStatus(
        reason=record.reason or None,
        since=timestamp(record.since) if record.reason else None,
        woken_at=timestamp(record.woken_at) if record.woken_at else None,
        wake_seconds=f"{record.seconds:.1f}" if record.seconds else None,
    )
