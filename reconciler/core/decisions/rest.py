"""What may be decided when nothing is to be done now."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.waits import Explained
from reconciler.core.snapshot.agent import Question


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something changes, or until `until` (controller clock) at the latest. How often it is looked at meanwhile,
    and whether it counts as being at rest, is a matter of its reason (`reason.waiting`)."""

    reason: Explained
    message: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class AwaitApproval(Wait):
    """A turn stands still until a person has answered these questions, or their time is over."""

    asks: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing will be done until a person decides or changes something."""

    reason: Explained
    message: str


@dataclass(frozen=True, slots=True)
class Steady:
    """Reality matches. `until`: when to look again by itself, if ever."""

    until: float | None = None


Rest = Wait | Refuse | Steady
