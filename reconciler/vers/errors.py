"""What an answer of the platform means, as a class of `reconciler.errors` (vers-api §2.0 and §5, as observed, not as specified).

Decided by status, content type and the *shape* of the body. An operation that is not idempotent was refused only where the answer proves
it (`_refused`, vers-api §7.4). Words prove nothing: those of allocation failures only say whether creates slow down, those of a doubtful
refusal are passed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import orjson

from reconciler.engine.ports import JsonValue
from reconciler.errors import (
    Conflict,
    DoubtfulRefusal,
    Forbidden,
    Indeterminate,
    NoRoom,
    NotFound,
    NotSent,
    RateLimited,
    ReconcilerError,
    Rejected,
    TimedOut,
    Unauthorized,
    Unreachable,
)

# F1 netlink, F3 Ceph, F18 quota (vers-api §5), matched in the platform's own `error` text or a plain-text body only.
_ALLOCATION = re.compile(r"\b(netlink|ceph|quota|capacity|allocat\w*)\b|(?<!time )\blimit (?:reached|exceeded)\b", re.IGNORECASE)
# F2: the text of an outage.
_OUTAGE = re.compile(r"(?:503 )?service unavailable", re.IGNORECASE)
_LOOK = "only looking can tell whether it took effect"
_SAID_CHARS = 300
MAX_RETRY_AFTER = 60.0


class Effect(Enum):
    """What sending an operation twice would do."""

    READ = "read"
    IDEMPOTENT = "idempotent"
    CREATE = "create"  # makes a VM each time
    COMMIT = "commit"  # makes a commit each time

    @property
    def once(self) -> bool:
        """Not idempotent: an unknown outcome is `Indeterminate`."""
        return self in (Effect.CREATE, Effect.COMMIT)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. `headers` have lower-case names; `body` is decoded only after status and type were looked at."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> JsonValue:
        """The body when it is JSON by type or by its first byte (the type is often missing), None otherwise."""
        if self.body.lstrip()[:1] not in (b"{", b"[") and "json" not in self.headers.get("content-type", ""):
            return None
        try:
            parsed: JsonValue = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return parsed

    def error(self) -> str | None:
        """The `error` text of the platform's JSON error shape or of a hybrid; None when the body is no such thing."""
        if self.body.lstrip()[:1] != b"{":  # above all a list of VMs, which is long and is decoded by its reader
            return None
        body = self.json()
        text = body.get("error") if isinstance(body, dict) else None
        return text if isinstance(text, str) else None

    def text(self) -> str:
        """A body of plain text, '' for anything else (HTML, JSON, binary)."""
        kind = self.headers.get("content-type", "")
        if (kind and "text/plain" not in kind) or self.body.lstrip()[:1] in (b"<", b"{", b"["):
            return ""
        return self.body[:4096].decode("utf-8", "replace").strip()

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def retry_after(answer: Answer) -> float | None:
    """Seconds of the Retry-After header, at most 60; None when it is missing or a date."""
    value = answer.headers.get("retry-after", "").strip()
    return min(float(value), MAX_RETRY_AFTER) if value.isascii() and value.isdigit() else None


def refusal(effect: Effect, where: str, answer: Answer) -> ReconcilerError | None:
    """What this answer means for an operation with this effect; None when it is a success.

    A 2xx with an `error` in it counts as an error unless it also carries a VM (the caller looks for the id first)."""
    status, error = answer.status, answer.error()
    if answer.ok:
        return None if error is None else _unknown(effect, where, f"the platform answered with an error: {clean(error)}")
    if effect.once and not _refused(effect, status, answer, error):
        return _doubt(effect, where, answer)
    return _meaning(where, answer)


def _meaning(where: str, answer: Answer) -> ReconcilerError:
    """What an answer that is no success says, taken at its word."""
    status, error = answer.status, answer.error()
    said = _said(answer, error)
    if status == 401 or (status == 403 and error is None):
        return Unauthorized("the platform refused the API key", where, "check VERS_API_KEY: wrong, missing or expired")
    if status == 403:
        return Forbidden(f"the platform forbids this: {said}", where, "the VM may be gone or belong to another account")
    if status == 404:
        if error is not None:
            return NotFound(f"the platform says: {said}", where)
        # A 404 that is not the platform's own shape comes from a proxy or a wrong address: no proof of absence (G-03).
        return Unreachable("something that is not the Vers API answered 404", where, "check VERS_BASE_URL")
    if status == 409:
        return Conflict(f"the platform reports a conflict: {said}", where)
    if status == 429:
        return RateLimited("the platform asks to slow down", where, retry_after=retry_after(answer))
    if status == 408:
        return Unreachable("the platform gave up waiting for the request (408)", where)
    if 400 <= status < 500:
        return Rejected(f"the platform refused the request ({status}): {said}", where)
    if status < 500:
        return Unreachable(f"unexpected answer {status}", where, "check VERS_BASE_URL")
    return Unreachable(f"the platform failed ({status}): {said}", where)


def _doubt(effect: Effect, where: str, answer: Answer) -> ReconcilerError:
    """What an answer means that does not prove that nothing was done. Where it is a refusal in words, these are what people are told."""
    status, error = answer.status, answer.error()
    words = error is not None or bool(answer.text())
    what = f"the platform failed ({status}): {_said(answer, error)}"
    if effect is not Effect.CREATE:
        return _unknown(effect, where, what)
    if status == 403 and _allocation(answer, error):
        return NoRoom(f"the platform has no room: {_said(answer, error)}", where, "wait, or raise the account's limits")
    if _allocation(answer, error) or (status == 503 and _OUTAGE.fullmatch(answer.text())):
        return NoRoom(what, where, _LOOK)
    if words and 400 <= status < 500 and status not in (408, 429):
        meaning = _meaning(where, answer)
        return DoubtfulRefusal(meaning.what, where, meaning.remedy)
    return _unknown(effect, where, what)


def _refused(effect: Effect, status: int, answer: Answer, error: str | None) -> bool:
    """Whether this answer to something that must not be sent twice proves that nothing was done: the refusals that the reference
    documents for such an operation, in the shape that it documents (vers-api §2.0, §7.4). 429, 409 and every 5xx are not among them. For a
    create neither are 403 and 404: gateways and filters between us and the platform give them of their own, also after the effect."""
    match status:
        case 400 | 422:  # what was sent is wrong: JSON of the platform, or plain text of its parser
            return error is not None or bool(answer.text())
        case 401:  # declared without a body
            return True
        case 403 if effect is not Effect.CREATE:  # JSON: not allowed; plain text: the gateway did not accept the key
            return error is not None or bool(answer.text())
        case 404 if effect is not Effect.CREATE:  # JSON only: what it was to be made from is not there
            return error is not None
        case _:
            return False


def unsent(where: str, why: str) -> ReconcilerError:
    """The request provably never left: no effect whatever the operation."""
    return NotSent(f"no connection to the Vers API: {why}", where, "check the network and VERS_BASE_URL")


def lost(effect: Effect, where: str, why: str) -> ReconcilerError:
    """The request may have been sent and the answer did not come."""
    return _unknown(effect, where, f"the connection broke before the answer: {why}")


def late(effect: Effect, where: str, seconds: float) -> ReconcilerError:
    """The deadline passed."""
    what = f"no answer within {seconds:g} s"
    return _unknown(effect, where, what) if effect.once else TimedOut(what, where)


def senseless(effect: Effect, where: str, why: str) -> ReconcilerError:
    """A success whose body can't be understood."""
    return _unknown(effect, where, f"the platform's answer makes no sense: {why}")


def _unknown(effect: Effect, where: str, what: str) -> ReconcilerError:
    return Indeterminate(what, where, _LOOK) if effect.once else Unreachable(what, where)


def _allocation(answer: Answer, error: str | None) -> bool:
    return _ALLOCATION.search(answer.text() if error is None else error) is not None


def _said(answer: Answer, error: str | None) -> str:
    return clean(answer.text() if error is None else error) or "no explanation"


def clean(text: str) -> str:
    """Foreign text fit for one line of a message: printable, bounded."""
    return "".join(c if c.isprintable() else " " for c in text[:_SAID_CHARS]).strip()
