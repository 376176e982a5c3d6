"""What sources hand over: one object as it is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.api.annotations import is_verb
from reconciler.core.keys import Json, Key

if TYPE_CHECKING:  # what only compares needs not all ports
    from reconciler.engine.ports import StoredObject

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
    """One object as a cluster has it: identity, generation and deletion are the cluster's. `deleted_at`: deletion was asked for;
    `why`: where that was not a person. `source_id`: the cluster's uid."""

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
    why: str = ""


def stands(obj: StoredObject, declared: Declared) -> bool:
    """Whether it is in force already, as it is declared and where: to apply it once more would do nothing."""
    place = declared.origin, declared.source, declared.source_id, declared.source_commit
    if obj.deleted_at is not None or (obj.origin, obj.source, obj.source_id, obj.source_commit) != place or obj.spec != declared.spec:
        return False
    verbs = {name: value for name, value in obj.annotations.items() if is_verb(name)} if obj.annotations else {}
    return obj.labels == declared.labels and obj.annotations == {**verbs, **declared.annotations}


def read_from(obj: StoredObject, declared: Declared) -> StoredObject:
    """The object with the place at which its declaration stands now."""
    return replace(obj, source=declared.source, origin=declared.origin, source_id=declared.source_id, source_commit=declared.source_commit)


def audited(obj: StoredObject) -> Json:
    """What somebody declares of an object, as far as an audit tells it."""
    labels: Json = {"labels": dict(obj.labels)} if obj.labels else {}
    return {**obj.spec, **labels}
