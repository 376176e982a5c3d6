"""A lieutenant's conversation, as declared."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reconciler.api.meta import Choice, Model


class OnLost(Choice):
    """What happens when the session's machine is gone for good."""

    RESUME = "Resume"
    FAIL = "Fail"
    NEW = "New"


class OnWorkspaceLost(Choice):
    """What happens when the conversation goes on and its files are gone with the machine."""

    TELL = "Tell"
    HOLD = "Hold"


class Session(Model):
    """The conversation."""

    generation: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Raise it to start a new conversation on purpose."""
    on_lost: OnLost = OnLost.RESUME
    """`Resume` from the mirror or a snapshot, else stop; `Fail`: stop; `New`: begin anew."""
    on_workspace_lost: OnWorkspaceLost = OnWorkspaceLost.TELL
    """When the machine is replaced and the conversation goes on without its files. `Tell`: the agent is told before its next prompt.
    `Hold`: no work until a person says so (`reconciler resolve lieutenant NAME --workspace`); then it is told too."""
