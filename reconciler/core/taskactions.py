"""What may be decided for a task; with everything else that may be, it is the union in `actions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Deliver:
    """Write Delivering, then send the prompt. `resend`: it was sent before and is proven not to have arrived. Then the same
    key is offered again where the keeper never saw it (should the first sending still arrive, it is known there), and a
    `fresh_key` is taken where the first came to nothing."""

    attempt: int
    resend: bool = False
    fresh_key: bool = True


@dataclass(frozen=True, slots=True)
class SendSteer:
    target: str


@dataclass(frozen=True, slots=True)
class Landed:
    """The marked message is in the conversation."""

    offset: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Write down that the conversation grew, or that there were other signs of work."""

    size: int
    activity: int = 0


@dataclass(frozen=True, slots=True)
class Escalate:
    """Take the next step of the escalation: Steer, Abort or RestartSession. `hard`: the last one showed no effect; stop pi."""

    step: str
    why: str
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Reprompt:
    """The turn was interrupted for a steer that did not land: say it as a prompt of its own, and have the target go on."""

    fresh_key: bool = True


@dataclass(frozen=True, slots=True)
class LookForArtifact:
    """See whether anything in the work dir changed since the prompt was sent."""


@dataclass(frozen=True, slots=True)
class Continue:
    """pi was restarted in the middle of the turn: ask it to go on (same attempt)."""

    number: int


@dataclass(frozen=True, slots=True)
class AbortTurn:
    why: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take a steer that has not landed out of pi's queue."""


@dataclass(frozen=True, slots=True)
class ExpireTask:
    """The result has been kept as long as was asked for: remove the task, remember that it was done."""


@dataclass(frozen=True, slots=True)
class Verify:
    """The turn settled well: check what was asked for."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """This attempt failed; another one is allowed."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Finish:
    phase: Literal["Succeeded", "Failed", "TimedOut", "Expired", "Cancelled"]
    reason: str
    message: str = ""
