"""How long to wait before the next attempt. Jitter is an input (0…1), so the result is a value."""

from __future__ import annotations


def delay(attempt: int, jitter: float, base: float = 2.0, most: float = 300.0) -> float:
    """min(base·2^(attempt-1), most) seconds, less up to half of it by jitter (G-25). `attempt` counts from 1."""
    full = min(base * 2.0 ** min(attempt - 1, 30), most)
    return full * (1.0 - 0.5 * jitter)


def pause_after(took: float, share: float = 0.05, most: float = 10.0) -> float:
    """Seconds until what took `took` seconds of work may be done again, so that it takes at most `share` of all time. A pause
    is never longer than `most`: a process that was stopped meanwhile measures too much."""
    return min(took * (1.0 / share - 1.0), most)
