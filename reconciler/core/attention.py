"""What waits for a person: a question about a tool call, a block that only a person lifts, or work that failed. Pure.

Read from the status of one object, or from what is remembered of one repository; every list, count and notice of such things is made of
it (G-37)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from reconciler.api.catalogue import REASONS
from reconciler.api.sourcereasons import SourceReason
from reconciler.core.conditions import condition_of, undeclared
from reconciler.core.keys import Json, as_map, as_maps
from reconciler.core.times import seconds

Sort = Literal["Question", "Block", "Failure"]
AWAITING = "AwaitingApproval"
DONE = ("Succeeded", "Cancelled")
"""Phases of work that ended as somebody wanted."""
OF_DECLARATIONS = tuple(sorted(one for one in SourceReason if one.waiting.source))
"""Types of conditions: somebody must correct a file, whatever the object itself does."""


@dataclass(frozen=True, slots=True)
class Attention:
    """`reason`: of the catalogue; `message`: for people, of any length; `since`: RFC 3339, '' when it is not known."""

    sort: Sort
    reason: str
    message: str
    since: str

    @property
    def remedy(self) -> str:
        """What a person can do about it, as the catalogue says; '' where it does not know the reason."""
        known = REASONS.get(self.reason)
        return known.remedy if known is not None else ""

    def age(self, now: float) -> float:
        """Seconds for which it has waited."""
        begun = seconds(self.since)
        return max(0.0, now - begun) if begun is not None else 0.0


def attention_of(status: Json) -> Attention | None:
    """What of an object with this status waits for a person, None when nothing does. What goes on by itself, such as a delay, is none of
    it; what is not declared, such as a secret, is."""
    ready, stalled = condition_of(status, "Ready"), condition_of(status, "Stalled")
    stuck = stalled.get("status") == "True"
    if status.get("finishedAt"):
        badly = stuck or status.get("phase") not in DONE
        return _told("Failure", stalled if stuck else ready) if badly else _of_declaration(status)
    if (question := question_of(status)) is not None:
        return question
    if stuck:
        return _told("Block", stalled)
    return _told("Block", ready) if undeclared(str(ready.get("reason", ""))) else _of_declaration(status)


def question_of(status: Json) -> Attention | None:
    """The question about tool calls that an object with this status waits with, None when there is none."""
    asks = as_maps(status.get("asks"))
    if status.get("finishedAt") or not (asks or status.get("phase") == AWAITING):
        return None
    ready = condition_of(status, "Ready")
    since = min((str(ask.get("since", "")) for ask in asks), default=str(ready.get("lastTransitionTime", "")))
    return Attention("Question", AWAITING, "; ".join(str(ask.get("call", "")) for ask in asks) or str(ready.get("message", "")), since)


def attention_of_repository(row: str) -> tuple[str, Attention] | None:
    """What of a repository waits for a person, by its address, as its row of the store remembers it."""
    try:
        told = as_map(json.loads(row or "{}"))
    except ValueError:
        return None
    trouble = {name: str(value) for name, value in as_map(told.get("trouble")).items()}
    if not trouble.get("reason"):
        return None
    needed = Attention("Block", trouble["reason"], trouble.get("message", ""), trouble.get("since", ""))
    return str(told.get("url", "")), needed


def failed(status: Json) -> bool:
    """Whether it is work that ended badly."""
    needed = attention_of(status)
    return needed is not None and needed.sort == "Failure"


def _of_declaration(status: Json) -> Attention | None:
    """What of it was wrong where it is declared; comes after what it is itself blocked by."""
    found = (condition_of(status, kind) for kind in OF_DECLARATIONS)
    return next((_told("Block", one) for one in found if one.get("status") == "True"), None)


def _told(sort: Sort, condition: Json) -> Attention:
    return Attention(sort, *(str(condition.get(name) or "") for name in ("reason", "message", "lastTransitionTime")))
