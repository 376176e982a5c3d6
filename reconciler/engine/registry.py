"""Kinds as plug-ins. Each has the same five parts; the loop knows none of them by name.

| part | says |
|---|---|
| observe | reads the world for one key into one typed snapshot; writes nothing |
| plan | snapshot → decisions; pure |
| act | one decision → effects |
| status | snapshot and plan → typed status; pure |
| requeue | plan → when to look again; from the decisions themselves |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from reconciler.api.status.base import Status
from reconciler.core.decisions import Decision
from reconciler.core.keys import Json, Key
from reconciler.core.lasterror import LastError
from reconciler.core.plan import Plan, Step
from reconciler.core.records import Record
from reconciler.engine.ports import StoredObject

if TYPE_CHECKING:
    from reconciler.engine.act.context import ActContext

S = TypeVar("S")

Change: TypeAlias = tuple[Key, Callable[[StoredObject], StoredObject]]
"""An object, and how it changes."""


class Announce(Enum):
    """Which changes of a status people are told of by an event."""

    NOTHING = "nothing"
    STALLED = "stalled"
    PHASES = "phases"  # a new phase, and being stalled


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """The status of one object and what it follows from. `announce`: which changes of it are events."""

    key: Key
    status: Status
    decision: Decision
    announce: Announce = Announce.NOTHING


class Kind(ABC, Generic[S]):
    """The five parts of one kind. `S`: its snapshot."""

    expands: ClassVar[bool] = False
    """Its acts only declare other objects; a plan carries them out on its own copy, to show what follows from those."""

    def follow(self, key: Key) -> None:
        """From now on be woken by what concerns this key, besides what is declared and what the platform lists."""
        return None

    @abstractmethod
    async def observe(self, key: Key) -> S:
        """What decisions about this key may depend on, as it is now. Writes nothing. Raises what cannot be left unknown."""

    @abstractmethod
    def plan(self, snapshot: S) -> Plan:
        """What follows from the snapshot. Pure."""

    @abstractmethod
    async def act(self, snapshot: S, step: Step) -> S | None:
        """Carry out one step. Returns the snapshot as it is known to be now, None when only looking can tell. Raises what the
        outside says."""

    @abstractmethod
    def status(self, snapshot: S, plan: Plan, error: LastError) -> Iterable[StatusUpdate]:
        """The status of every object that belongs to the key. `error`: what the last try came to."""

    def begun(self, snapshot: S, steps: Sequence[Step]) -> Sequence[Change]:
        """What has to be known durably before these steps begin; written together with the status that says so."""
        return ()

    def after(self, snapshot: S, step: Step) -> S | None:
        """The snapshot once this step has succeeded, None where that can't be foreseen. Pure."""
        return None

    def probing(self, snapshot: S) -> bool:
        """Whether it is looked at from time to time although it is steady."""
        return False

    def affected(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> Iterable[Key]:
        """Reconcile keys that must be looked at since this object, of any kind, was written. Its own key is looked at anyway when
        its declaration changed."""
        return ()

    def told(self, key: Key, before: StoredObject, after: StoredObject) -> Iterable[Key]:
        """Reconcile keys that must be looked at since the status of this object, of any kind, and nothing else of it changed."""
        return ()

    def left_behind(self) -> Iterable[Key]:
        """Keys without an object of which something is left that must be looked at after a start."""
        return ()

    def platform_changed(self) -> Iterable[Key]:
        """Reconcile keys that the platform's going away, or coming back, concerns."""
        return ()

    def forget(self, key: Key) -> None:
        """An object is gone: nothing is kept about it."""
        return None


AnyKind: TypeAlias = Kind[Any]
"""A plug-in whose snapshot is nobody's business but its own."""


def own_key(key: Key, spec: Json) -> Key:
    """An object that is reconciled by itself."""
    return key


@dataclass(frozen=True, slots=True)
class Registration:
    """How a kind takes part in the loop. `build`: makes its plug-in, None for a kind whose objects belong to the work set of another
    one's; `reconciled_as`: the reconcile key of an object, from its key and spec; `record`: what is remembered of it."""

    name: str
    build: Callable[[ActContext], AnyKind] | None = None
    reconciled_as: Callable[[Key, Json], Key] = own_key
    record: type[Record] = Record


class Registry:
    """The kinds of one engine, by name."""

    def __init__(self, registrations: Sequence[Registration]) -> None:
        self._by_name = {registration.name: registration for registration in registrations}

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_name.values())

    def record_of(self, kind: str) -> type[Record]:
        found = self._by_name.get(kind)
        return found.record if found is not None else Record

    def reconcile_key(self, key: Key, spec: Json) -> Key:
        """Where an object is reconciled: its own key, or that of the object to whose work set it belongs."""
        found = self._by_name.get(key.kind)
        return found.reconciled_as(key, spec) if found is not None else key

    def build(self, context: ActContext) -> dict[str, AnyKind]:
        """The plug-ins, by the kind of the keys that they reconcile."""
        return {registration.name: registration.build(context) for registration in self if registration.build is not None}
