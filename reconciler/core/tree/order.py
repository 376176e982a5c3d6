"""In which order the machines of a hierarchy come up and go down: roots first up, leaves first down (G-13). Decided for one place at a
time, from what was observed of the others; so it goes on after any crash. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from reconciler.api.treereasons import TreeReason
from reconciler.core.snapshot.slot import Held
from reconciler.core.treerecords import PlaceRecord


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What the others have to know of one place. `running`: it is declared to run; `going`: its object is being deleted; `prepared`: its
    machine runs and is as its profile says; `asleep`: it has no machine that runs, nor asked for one; `gone`: it has none at all."""

    running: bool = True
    going: bool = False
    prepared: bool = False
    asleep: bool = True
    gone: bool = True


Look = Callable[[str], Neighbour]
"""What is known of a place, by its name."""


class Family:
    """Who stands above and below whom."""

    def __init__(self, places: Iterable[PlaceRecord]) -> None:
        self._by_node: dict[str, list[str]] = {}
        self._below: dict[str, list[str]] = {}
        self._of: dict[str, PlaceRecord] = {}
        self._parents: dict[str, str] = {}
        for place in places:
            self._of[place.name] = place
            self._by_node.setdefault(place.node, []).append(place.name)
            if place.node not in self._parents:
                self._parents[place.node] = place.parent
                self._below.setdefault(place.parent, []).append(place.node)

    def __contains__(self, place: str) -> bool:
        return place in self._of

    def above(self, place: str) -> list[str]:
        """The places of the nearest node above it that has any."""
        node = self._parents.get(self._of[place].node, "")
        seen: set[str] = set()
        while node and node not in seen:
            if node in self._by_node:
                return self._by_node[node]
            seen.add(node)
            node = self._parents.get(node, "")
        return []

    def under(self, place: str) -> Iterator[str]:
        """Every place below it, near ones first."""
        level, seen = [self._of[place].node], set[str]()
        while level:
            level = [child for node in level for child in self._below.get(node, ()) if child not in seen]
            seen.update(level)
            for node in level:
                yield from self._by_node[node]


def not_up_yet(family: Family, place: str, look: Look) -> Held | None:
    """Why this place gets no running machine yet: one above it that is to run is not there yet."""
    for name in family.above(place):
        seen = look(name)
        if seen.running and not seen.going and not seen.prepared:
            return Held(TreeReason.PARENT_NOT_READY, f"node {name} above it comes first")
    return None


def not_down_yet(family: Family, place: str, look: Look) -> Held | None:
    """Why its machine is not suspended or deleted yet: one below it is on its way down."""
    here = look(place)
    for name in family.under(place):
        seen = look(name)
        if (seen.going and not seen.gone) if here.going else (not seen.running and not seen.asleep):
            return Held(TreeReason.CHILDREN_FIRST, f"node {name} below it goes first")
    return None


@dataclass(frozen=True, slots=True)
class Ledger:
    """What counts against the limits, each with an open create or delivery already in it. `vms`: machines that are there or on their way,
    `creating`: those that are being made; `working`: agents with a task."""

    vms: int = 0
    creating: int = 0
    working: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound: what is counted, how much of it there is, how much there may be, and what it is called."""

    there: int
    most: int | None
    name: str


def no_room(limits: Iterable[Limit]) -> Held | None:
    """Why nothing more may be begun (G-09): the first limit that is reached."""
    for limit in limits:
        if limit.most is not None and limit.there >= limit.most:
            return Held(TreeReason.CAPACITY, f"{limit.name} is {limit.most}, and there are {limit.there}")
    return None
