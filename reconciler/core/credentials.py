"""Values that programs and files of the controller's host give: what an answer says, and when it is asked for again. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from reconciler.api.meta import epoch
from reconciler.core.backoff import delay
from reconciler.core.keys import Json, JsonValue

OURS = frozenset({"value", "expiresAt"})
EXEC_CREDENTIAL = "ExecCredential"
"""The kind of what a credential plugin of a Kubernetes client prints."""

LOOK = 5.0
"""Seconds between two looks at a file."""
SPARE = 3_600.0
"""Seconds before its end in which a value is renewed, at the most; a third of its life where that is shorter."""
SHORTEST = 5.0
RETRY, LONGEST_RETRY = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """`value`: shown nowhere; `expires`: seconds since the epoch, None where nothing is said of it."""

    value: str = field(repr=False)
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why an answer gives no value: no part of the answer is in it."""

    why: str


def answer_of(text: str, now: float) -> Drawn | Unusable:
    """The text alone, less the newline at its end; or JSON: `{"value", "expiresAt"}`, or an ExecCredential, whose `status` has `token` and
    `expirationTimestamp`. JSON of any other form is the value itself."""
    value: JsonValue = text.removesuffix("\n").removesuffix("\r")
    expires: JsonValue = None
    told = _object(text)
    if told.get("kind") == EXEC_CREDENTIAL:
        status = told.get("status")
        status = status if isinstance(status, dict) else {}
        value, expires = status.get("token"), status.get("expirationTimestamp")
        if not value:
            return Unusable("an ExecCredential without `status.token`")
    elif "value" in told and told.keys() <= OURS:
        value, expires = told["value"], told.get("expiresAt")
    if not isinstance(value, str) or not value:
        return Unusable("an empty value" if value == "" else "a value that is no string")
    if expires is None:
        return Drawn(value)
    try:
        end = epoch(expires) if isinstance(expires, str) else None
    except ValueError:
        end = None
    if end is None:
        return Unusable("an end that is no RFC 3339 timestamp")
    return Drawn(value, end) if end > now else Unusable("a value that has expired already")


def _object(text: str) -> Json:
    if not text.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def again_after(drawn: Drawn, now: float, refresh: float) -> float:
    """Seconds until it is asked for again: well before its end, so that a turn that is on can end meanwhile; every `refresh` seconds where
    nothing is said of its end."""
    if drawn.expires is None:
        return refresh
    life = drawn.expires - now
    return max(SHORTEST, life - min(SPARE, life / 3))


def retry_after(failures: int, jitter: float, left: float | None) -> float:
    """Seconds until it is tried again, not beyond the end of the value that is in force (`left` seconds)."""
    pause = delay(failures, jitter, base=RETRY, most=LONGEST_RETRY)
    return pause if left is None or left <= 0 else min(pause, left)
