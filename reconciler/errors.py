"""Every error the product raises on purpose; the class decides what happens next, never the place that catches it.

ReconcilerError
├── Transient                  try again later, with back-off
│   ├── Unreachable            no answer, or an answer that says nothing (5xx, 503 text, connection refused)
│   │   ├── NotSent            the request provably never left
│   │   └── GuestUnreachable   the machine or its keeper did not answer
│   ├── RateLimited            429; `retry_after` seconds
│   ├── TimedOut               the deadline of one call passed
│   └── Conflict               409, or a row that somebody else changed first
├── Indeterminate              a call that is not idempotent may or may not have happened
│   └── DoubtfulRefusal        a create was answered with a refusal that proves nothing (403, 404: anybody in between can say so)
│       └── NoRoom             and its words tell of no room (quota, netlink, Ceph, 503)
├── Terminal                   stays wrong until somebody changes something
│   ├── Unauthorized           no key, wrong key, expired key
│   ├── Forbidden              the key is fine and may not do this (or the VM is not there: see vers-api §2.0)
│   ├── NotFound               proven by the platform's own 404
│   ├── Rejected               400/422: what we sent is wrong
│   ├── GuestFailed            a step, an install or a command in the guest ended badly
│   └── InvalidSpec            a declaration that can't be carried out
├── Refused                    protected, over a cap, needs confirmation: exit code 4
├── StaleEpoch                 the keeper has seen a higher epoch: somebody else is in charge
└── UsageError                 the user's command line or document: exit code 64
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class ReconcilerError(Exception):
    """`what` happened, `where` (object, file:line, URL or VM id) and the `remedy`; prints as `what (where): remedy`."""

    what: str
    where: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        remedy = f": {self.remedy}" if self.remedy else ""
        return f"{self.what}{where}{remedy}"


class Transient(ReconcilerError):
    """Try again later."""


class Unreachable(Transient):
    """No answer, or one that says nothing about the object asked for."""


class NotSent(Unreachable):
    """The request provably never left: no effect, whatever the operation."""


class GuestUnreachable(Unreachable):
    """The machine or its keeper did not answer."""


@dataclass(eq=False)
class RateLimited(Transient):
    """429. `retry_after`: seconds to wait, as the platform said (capped at 60), or None."""

    retry_after: float | None = None


class TimedOut(Transient):
    """The deadline of one call passed."""


class Conflict(Transient):
    """409, or a row that somebody else changed first."""


class Indeterminate(ReconcilerError):
    """A call that is not idempotent may or may not have taken effect; only looking can tell."""


class DoubtfulRefusal(Indeterminate):
    """A create was answered with a refusal. It is what people are told, and no proof that nothing was made."""


class NoRoom(DoubtfulRefusal):
    """The words of the refusal tell of no room for another VM: a reason to slow down."""


class Terminal(ReconcilerError):
    """Stays wrong until somebody changes something."""


class Unauthorized(Terminal):
    """No key, a wrong key or an expired one."""


class Forbidden(Terminal):
    """The key is accepted, this act is not; a DELETE of an unknown VM also answers so."""


class NotFound(Terminal):
    """The platform says that it does not exist."""


class Rejected(Terminal):
    """The platform refused the request as malformed or invalid (400, 422)."""


@dataclass(eq=False)
class GuestFailed(Terminal):
    """Something run in the guest ended badly. `exit_code` and the `tail` of its output say how."""

    exit_code: int | None = None
    tail: str = ""


class InvalidSpec(Terminal):
    """A declaration that can't be carried out."""


class Refused(ReconcilerError):
    """Protected, over a cap, or needs a person's confirmation."""


class StaleEpoch(ReconcilerError):
    """The keeper has seen a higher epoch than ours: another controller is in charge."""


class UsageError(ReconcilerError):
    """The command line or a document is wrong."""


REFUSED = (NotSent, Terminal)
"""What proves that a call which is not idempotent had no effect. Whatever else one raises leaves its outcome open (G-02)."""
