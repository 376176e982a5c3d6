"""The status of a VMTree: of all its nodes together, and of each."""

from __future__ import annotations

from typing import Annotated, Literal

from reconciler.api.markers import ListMap
from reconciler.api.status.base import AtMost, Count, Id, Message, Section, Status, Word, section
from reconciler.api.status.lieutenant import CreateIntent, PieceStatus, SlotCreate

NODES = 200
"""Nodes that are told of, the worst first."""


@section
class NodeStatus(Section):
    """One machine of the tree."""

    name: Word
    """Its name in the tree, with replicas NAME-ORDINAL."""
    category: Word = ""
    """What it is for."""
    phase: Word = ""
    """One derived word for people; may gain values."""
    reason: Word = ""
    """Why, as one word of the catalogue."""
    message: Message = ""
    """Why, in words."""
    ready: bool = False
    """Whether it is as declared."""
    vm_id: Id | None = None
    """Full id of its machine."""
    lieutenant: Word | None = None
    """Its lieutenant, when it has an agent."""
    organs: Annotated[tuple[PieceStatus, ...], AtMost(64)] | None = None
    """Organs of its profile."""
    capabilities: Annotated[tuple[PieceStatus, ...], AtMost(64)] | None = None
    """Capabilities of its profile."""
    create: CreateIntent | None = None
    """The create of its machine that may be on its way, when it has no lieutenant."""
    creates: Annotated[tuple[SlotCreate, ...], AtMost(2)] | None = None
    """Those of machines beside that one."""


@section
class TreeCounts(Section):
    """How many nodes there are, replicas counted."""

    nodes: Count = 0
    """All that are declared."""
    ready: Count = 0
    """Those that are as declared."""
    reconciling: Count = 0
    """Those at which something moves or is waited for."""
    stalled: Count = 0
    """Those at which nothing moves until somebody changes something."""


@section
class RolloutStatus(Section):
    """How far a changed profile has come; there while some machine is of another one than declared."""

    state: Literal["Progressing", "Paused", "Stopped"] = "Progressing"
    """`Paused` by a person; `Stopped` since a node did not come through it."""
    outdated: Count = 0
    """Nodes whose machine is of another profile than declared."""
    replacing: Count = 0
    """Nodes for which another machine is made now."""
    failed: Annotated[tuple[Word, ...], AtMost(20)] | None = None
    """Nodes at which it stopped."""


@section
class VMTreeStatus(Status):
    """What was observed of a hierarchy; written by the controller."""

    mode: Literal["Running", "Suspended"] | None = None
    """What is wanted of the whole; nodes may say otherwise."""
    counts: TreeCounts | None = None
    """How many nodes are in which state."""
    rollout: RolloutStatus | None = None
    """A change of profile that is on its way."""
    nodes: Annotated[tuple[NodeStatus, ...], AtMost(NODES), ListMap("name")] | None = None
    """At most 200 nodes, the worst first."""
