"""Crashes of pi and clocks of machines: what is remembered of them, on our clock alone (G-12, G-25). Pure."""

from __future__ import annotations

from reconciler.api.lieutenant import Restart
from reconciler.core.backoff import delay
from reconciler.core.records import ClockRecord, RestartRecord
from reconciler.core.snapshot.agent import Exited, Guest

CLOCK_TOLERANCE = 2.0
"""Seconds a guest's clock may differ before it is corrected (G-12)."""

CLOCK_TRIES = 3
"""So often in a row a clock is set without effect before the machine is used as it is."""

CLOCK_ROW = 30.0
"""Seconds within which two tries are in a row: a look follows each at once. A clock that only drifts is wrong again later."""

CLOCK_PAUSE = 600.0
"""Seconds until a clock that could not be set is tried again."""

STDERR_KEPT = 2048


def after_an_end(old: RestartRecord, policy: Restart, ended: Exited, at: float, jitter: float, generation: int) -> RestartRecord:
    """One more unasked-for end of pi, noticed `at`. `ended.at` is the guest's own time: it tells one end from another and nothing
    else. Stable is what ran for so long since it was allowed to start, not what waited for so long."""
    rested = bool(old.times) and at - max(old.times[-1], old.not_before) >= policy.crash_loop.stable_seconds
    recent = () if rested else tuple(t for t in old.times if t > at - policy.crash_loop.window_seconds)
    times = (*recent, at)
    wait = delay(len(times), jitter, float(policy.backoff.base_seconds), float(policy.backoff.max_seconds))
    return RestartRecord(
        times=times,
        not_before=at + wait,
        crash_at=ended.at,
        degraded=len(times) > policy.crash_loop.max_restarts,
        generation=generation,
        exit_code=ended.exit_code,
        signal=ended.signal,
        stderr_tail=ended.stderr_tail[-STDERR_KEPT:],
    )


def clock_is_wrong(guest: Guest) -> bool:
    """Whether it differs by more than it may, and by more than a slow way to the machine explains."""
    return abs(guest.clock_skew) > max(CLOCK_TOLERANCE, guest.clock_uncertainty)


def clock_given_up(record: ClockRecord, vm_id: str, now: float) -> bool:
    """It was set so often without effect that the machine is used as it is for a while: none of our decisions reads it."""
    return record.vm_id == vm_id and record.tries >= CLOCK_TRIES and now < record.at + CLOCK_PAUSE


def clock_tried(old: ClockRecord, vm_id: str, at: float, error: str) -> ClockRecord:
    """The clock of this machine was set, or `error` says why not."""
    soon = CLOCK_ROW + (CLOCK_PAUSE if old.tries >= CLOCK_TRIES else 0.0)
    in_a_row = old.vm_id == vm_id and at < old.at + soon
    return ClockRecord(vm_id=vm_id, tries=old.tries + 1 if in_a_row else 1, at=at, error=error)
