"""What the last try came to, in words and, where a person can do something about it, with a reason of its own."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.governreasons import GovernReason
from reconciler.api.reasons import Reason
from reconciler.errors import GuestFailed, ReconcilerError

_SIGNS = (
    (Reason.DISK_FULL, ("no space left on device", "enospc", "disk quota exceeded")),
    (
        Reason.NO_NAME_SERVICE,
        ("eai_again", "enotfound", "temporary failure resolving", "failure in name resolution", "could not resolve"),
    ),
    (GovernReason.SANDBOX_MISSING, ("bubblewrap, which the declared sandbox needs",)),
)
"""What programs on a machine say, in lower case. It names a cause for people; nothing is decided by it."""


@dataclass(frozen=True, slots=True)
class LastError:
    """`reason`: of the catalogue; '' where the reason of what is being done says enough."""

    message: str = ""
    reason: str = ""


NONE = LastError()


def last_error_of(error: ReconcilerError) -> LastError:
    """What to tell of an error that is met with another try. Its words are the machine's own: redact them before they are shown."""
    message = str(error)
    if not isinstance(error, GuestFailed):
        return LastError(message)
    said = f"{message} {error.tail}".lower()
    return LastError(message, next((reason for reason, signs in _SIGNS if any(sign in said for sign in signs)), Reason.GUEST_FAILED))
