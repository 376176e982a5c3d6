"""What sources hand over: one object as it is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.keys import Json, Key

OWNED = "vmtree/"
"""How the source of what a tree declares begins; its name follows."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One object as a source declares it. `origin`: FILE:LINE, or ''. `source_id`: which source of that sort it is (the stack's uuid),
    `source_commit`: the commit that it was read from; '' where there is no such thing. `uid`: which one a new object gets, '' for any.
    `succeeds`: another source, known not to declare the object any more, from which it may be taken over."""

    key: Key
    spec: Json
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    source: str
    origin: str = ""
    source_id: str = ""
    source_commit: str = ""
    uid: str = ""
    succeeds: str = ""


@dataclass(frozen=True, slots=True)
class Intake:
    """One object as a cluster has it: identity, generation and deletion are the cluster's. `deleted_at`: deletion was asked for.
    `source_id`: the cluster's uid."""

    key: Key
    uid: str
    generation: int
    created_at: float
    spec: Json
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    source: str
    deleted_at: float | None = None
    source_id: str = ""
