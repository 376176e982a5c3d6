"""Which tool calls an agent may make."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from reconciler.api.markers import ListAtomic, ListSet, Pattern
from reconciler.api.meta import Choice, Items, Model, PositiveSeconds


class Verdict(Choice):
    """What happens to a tool call."""

    DENY = "Deny"
    ASK = "Ask"
    ALLOW = "Allow"


ToolPattern = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Pattern(r"^[A-Za-z_*][A-Za-z0-9_.:*-]*(\(.+\))?$", "must be TOOL or TOOL(ARGUMENT), such as read or bash(npm *)"),
]
ToolPatterns = Annotated[Items[ToolPattern], Field(max_length=200), ListSet()]
ToolName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    Pattern(r"^[A-Za-z_][A-Za-z0-9_.:-]*$", "must be the name of a tool, such as read"),
]
ToolCall = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000),
    Pattern(r"^[A-Za-z_][A-Za-z0-9_.:-]*(\((.|\n)*\))?$", "must be a call, such as bash(git status) or write(src/a.ts)"),
]
AgentPattern = Annotated[
    str, StringConstraints(min_length=1, max_length=253), Pattern(r"^[a-z0-9*][a-z0-9.*-]*$", "must be a name, in which `*` may stand")
]


class PermissionExample(Model):
    """A call, and what the rules of this document must say about it."""

    call: ToolCall
    """A call, such as `bash(npm run build && rm -rf dist)` or `write(src/a.ts)`."""
    expect: Verdict
    """The answer."""


class AgentPermissions(Model):
    """Which lieutenants the agent may make."""

    allow: Annotated[Items[AgentPattern], Field(max_length=100), ListSet()] = ()
    """Their names; `*` stands for any part of one."""
    max_depth: Annotated[int, Field(ge=0, le=20)] = 1
    """How many generations below it."""


class Permissions(Model):
    """Which tool calls the agent may make, decided outside of its model. The strictest match over all levels (BootProfile, Lieutenant,
    Task) wins: Deny, then Ask, then Allow. Without any `permissions` nothing is checked."""

    tools: Annotated[Items[ToolName], Field(max_length=100), ListSet()] = ()
    """The tools that the model sees; unset: all that pi and the profile bring."""
    default: Verdict | None = None
    """For calls that no rule of any level names: the strictest one that is declared holds; `Deny` where none is."""
    allow: ToolPatterns = ()
    """Calls that just run."""
    ask: ToolPatterns = ()
    """Calls that wait for a person."""
    deny: ToolPatterns = ()
    """Calls that never run, whatever else is allowed."""
    ask_may_be_allowed: bool = False
    """A lower level may allow what this one asks about."""
    ask_timeout_seconds: PositiveSeconds = 600
    """How long a call waits for a person; then it is denied."""
    agents: AgentPermissions | None = None
    """Which lieutenants it may make."""
    examples: Annotated[Items[PermissionExample], Field(max_length=200), ListAtomic()] = ()
    """Calls with their expected answers. A wrong one refuses the document."""
