"""What waits for a person: a question about a tool call, a block that only a person lifts, or work that failed. Pure.

Read from the status of one object; every list, count and notice of such things is made of it (G-37)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.core.conditions import condition_of, undeclared
from reconciler.core.keys import Json, as_maps
from reconciler.core.times import seconds

Sort = Literal["Question", "Block", "Failure"]
AWAITING = "AwaitingApproval"
DONE = ("Succeeded", "Cancelled")
"""Phases of work that ended as somebody wanted."""


@dataclass(frozen=True, slots=True)
class Attention:
    """`reason`: of the catalogue; `message`: for people, of any length; `since`: RFC 3339, '' when it is not known."""

    sort: Sort
    reason: str
    message: str
    since: str

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
        failed = stuck or status.get("phase") not in DONE
        return _told("Failure", stalled if stuck else ready) if failed else None
    asks = as_maps(status.get("asks"))
    if asks or status.get("phase") == AWAITING:
        since = min((str(ask.get("since", "")) for ask in asks), default=str(ready.get("lastTransitionTime", "")))
        return Attention("Question", AWAITING, "; ".join(str(ask.get("call", "")) for ask in asks) or str(ready.get("message", "")), since)
    if stuck:
        return _told("Block", stalled)
    return _told("Block", ready) if undeclared(str(ready.get("reason", ""))) else None


def _told(sort: Sort, condition: Json) -> Attention:
    return Attention(sort, *(str(condition.get(name) or "") for name in ("reason", "message", "lastTransitionTime")))
