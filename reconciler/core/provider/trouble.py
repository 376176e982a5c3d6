"""What an error of the model means, from pi's own words alone: something that time mends, something that only a change mends, or
something about this one request. Pure.

pi reports an error as the status of the answer and its body (`429: {"message": …}`), as the body alone, or as what happened to the
connection (pi-rpc §3). The status decides where it says enough; words decide where there is none, or where providers use one status
for several things."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from reconciler.api.reasons import Reason

LONGEST_ASKED = 21_600.0
"""Seconds; no provider is left alone for longer because it says so. It is only asked by one prompt then."""


class Remedy(StrEnum):
    """What makes it work again."""

    TIME = "Time"  # a limit, an overload, a quota, the network
    CHANGE = "Change"  # of the key, of the account's rights, of the model
    REQUEST = "Request"  # it is about what was asked: nobody else is concerned


@dataclass(frozen=True, slots=True)
class Trouble:
    """`only_model`: no other model of this provider is concerned. `suspect`: the request itself may be the
    cause, so that one task may not hold up the others with it for ever.
    `overflow`: it is more than the model takes. `retry_after`: seconds that the provider asks for; 0: it does not say."""

    remedy: Remedy
    only_model: bool = False
    suspect: bool = False
    overflow: bool = False
    retry_after: float = 0.0

    @property
    def reason(self) -> Reason:
        match self.remedy:
            case Remedy.TIME:
                return Reason.PROVIDER_LIMITED
            case Remedy.CHANGE:
                return Reason.MODEL_REFUSED
            case Remedy.REQUEST:
                return Reason.CONTEXT_TOO_LONG if self.overflow else Reason.MODEL_ERROR


class Cause(StrEnum):
    """What is the matter with a provider, as far as somebody can do something about it."""

    KEY = "Key"
    MODEL = "Model"
    QUOTA = "Quota"
    NETWORK = "Network"
    BUSY = "Busy"


_STATUS = re.compile(r'^\s*(?:error:?\s*)?\(?([45]\d\d)\b|"(?:code|status|statusCode)"\s*:\s*([45]\d\d)\b', re.I)
_NO_MODEL = re.compile(
    r"model[^.]{0,200}(not (?:be )?found|does not exist|doesn't exist|not supported|unknown|not available|no longer available|deprecated)"
    r"|(unknown|invalid|no such|unsupported) model|model_not_found|not_found_error[^.]{0,80}model|no model (?:is )?selected",
    re.I,
)
_NO_KEY = re.compile(
    r"no api key|(invalid|incorrect|missing|expired|revoked)[^.]{0,40}(api[ _-]?key|credential|token)|api[ _-]?key[^.]{0,40}"
    r"(not valid|invalid|expired|revoked|missing|required|not found)|unauthori[sz]ed|authentication|not authenticated|unauthenticated"
    r"|permission[_ ]denied|/login",
    re.I,
)
_LIMIT = re.compile(
    r"rate[ _-]?limit|too many requests|overloaded|over ?capacity|quota|resource[_ ]exhausted|insufficient[_ ](balance|credit|funds|quota)"
    r"|credit balance|billing|usage limit|service unavailable|temporarily unavailable|try again (later|in)|retry delay",
    re.I,
)
_QUOTA = re.compile(r"quota|insufficient[_ ](balance|credit|funds)|credit balance|billing|usage limit|payment", re.I)
_NETWORK = re.compile(
    r"connection (error|refused|reset|closed|timed out)|fetch failed|socket hang up|premature close|\bterminated\b|network"
    r"|\be(conn|timedout|notfound|hostunreach|ai_again|pipe)\w*|getaddrinfo|timed? ?out|timeout|bad gateway|certificate",
    re.I,
)
_OVERFLOW = re.compile(
    r"context[ _](length|window)[ _-]?(is )?(exceeded|too)|(prompt|input|context) is too long|maximum (context|prompt) length"
    r"|(exceeds?|larger than|greater than|over)[^.]{0,60}(context (window|length|size)|maximum number of (input )?tokens)"
    r"|model_context_window_exceeded",
    re.I,
)
_CUT = re.compile(r"stream ended|without finish_reason|unexpected end|incomplete", re.I)
_ASKED = re.compile(
    r"(?:retry[ _-]?after|try again in|retry in|requested)\W{0,4}(?:about )?(\d{1,9}(?:\.\d{1,6})?)\s*"
    r"(ms|s|sec|seconds?|m|min|minutes?|h|hours?)?\b",
    re.I,
)
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_MENDED_BY_TIME = frozenset({402, 408, 409, 423, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524, 529})


def trouble_of(error: str) -> Trouble:
    """`error`: what pi says of an answer that failed, or of a prompt that it did not take."""
    status, asked = status_of(error), asked_to_wait(error)
    if status in (401, 403):
        limited = bool(_LIMIT.search(error)) and not _NO_KEY.search(error)
        return Trouble(Remedy.TIME, retry_after=asked) if limited else Trouble(Remedy.CHANGE)
    if status in _MENDED_BY_TIME:
        return Trouble(Remedy.TIME, retry_after=asked)
    if status == 404:
        return Trouble(Remedy.CHANGE, only_model=True)
    if status >= 500:
        return Trouble(Remedy.TIME, suspect=not _LIMIT.search(error), retry_after=asked)
    return _by_words(error, asked, spoken=status == 0)


def cause_of(error: str, refused: bool) -> Cause:
    """Why a provider that said this takes no prompts. `refused`: time does not mend it."""
    status = status_of(error)
    if refused:
        return Cause.MODEL if trouble_of(error).only_model else Cause.KEY
    if status == 402 or _QUOTA.search(error):
        return Cause.QUOTA
    return Cause.NETWORK if status == 0 and not _LIMIT.search(error) and _NETWORK.search(error) else Cause.BUSY


def _by_words(error: str, asked: float, spoken: bool) -> Trouble:
    """`spoken`: there was no answer with a status, so it may be the connection."""
    if _OVERFLOW.search(error):
        return Trouble(Remedy.REQUEST, overflow=True)
    if _NO_KEY.search(error):
        return Trouble(Remedy.CHANGE)
    if _LIMIT.search(error):
        return Trouble(Remedy.TIME, retry_after=asked)
    if _NO_MODEL.search(error):
        return Trouble(Remedy.CHANGE, only_model=True)
    if spoken and _NETWORK.search(error):
        return Trouble(Remedy.TIME, retry_after=asked)
    if spoken and _CUT.search(error):
        return Trouble(Remedy.TIME, suspect=True)
    return Trouble(Remedy.REQUEST)


def status_of(error: str) -> int:
    """The status of the provider's answer; 0 where pi does not say one."""
    found = _STATUS.search(error[:4096])
    return int(found.group(1) or found.group(2)) if found else 0


def asked_to_wait(error: str) -> float:
    """Seconds that the provider asks to be left alone for, in its own words; 0: it does not ask."""
    found = _ASKED.search(error[:4096])
    if found is None:
        return 0.0
    word = (found.group(2) or "").lower()
    unit = "ms" if word == "ms" else word[:1]
    return min(float(found.group(1)) * _UNITS[unit], LONGEST_ASKED)
