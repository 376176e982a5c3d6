"""Schedules: five cron fields, or one of the usual words."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import StringConstraints

from reconciler.api.markers import Checked

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_MONTHS = dict(zip(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), range(1, 13), strict=True))
_DAYS = dict(zip(("sun", "mon", "tue", "wed", "thu", "fri", "sat"), range(7), strict=True))
_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def fields_of(schedule: str) -> str:
    """The five fields of a schedule, also of one that is a word."""
    return _WORDS.get(schedule, schedule)


def expand(schedule: str) -> tuple[frozenset[int], ...]:
    """The allowed values of minute, hour, day of month, month, day of week (0-6, Sunday is 0). Raises ValueError saying
    which field is wrong and how."""
    parts = fields_of(schedule).split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f'must be a cron schedule of five fields, such as "0 * * * *", not {len(parts)}')
    names: tuple[dict[str, int], ...] = ({}, {}, {}, _MONTHS, _DAYS)
    minute, hour, day, month, weekday = (
        _field(part, *bounds, names=known) for part, bounds, known in zip(parts, _FIELDS, names, strict=True)
    )
    return minute, hour, day, month, frozenset(value % 7 for value in weekday)


def _field(text: str, what: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin = low if span == "*" else _number(first, what, low, high, names)
        end = high if span == "*" or (step and not dash) else _number(last, what, low, high, names) if dash else begin
        if end < begin:
            raise ValueError(f"a schedule's {what} {part!r} runs backwards; write the smaller number first")
        width = _number(step, f"step of {what}", 1, high, {}) if "/" in part else 1
        found.update(range(begin, end + 1, width))
    return frozenset(found)


def _number(text: str, what: str, low: int, high: int, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not (text.isascii() and text.isdigit()) or not low <= int(text[:9]) <= high:
        raise ValueError(f"a schedule's {what} must be {low} to {high}, not {text!r}")
    return int(text)


def _judge(schedule: str) -> str:
    try:
        expand(schedule)
    except ValueError as error:
        return str(error)
    return ""


Schedule = Annotated[str, StringConstraints(min_length=1, max_length=128), Checked(_judge)]


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _judge_zone(zone: str) -> str:
    return "" if zone in _zones() else f'must be a time zone of the IANA data base, such as "Europe/Berlin", not {zone!r}'


TimeZone = Annotated[str, StringConstraints(min_length=1, max_length=64), Checked(_judge_zone)]
