"""How long to wait before the next attempt. Jitter is an input (0…1), so the result is a value."""

from __future__ import annotations


def delay(attempt: int, jitter: float, base: float = 2.0, most: float = 300.0) -> float:
    """min(base·2^(attempt-1), most) seconds, less up to half of it by jitter (G-25). `attempt` counts from 1."""
    full = min(base * 2.0 ** min(attempt - 1, 30), most)
    return full * (1.0 - 0.5 * jitter)
