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
    """Who stands above and below whom. Never a ring: what was declared before, of a place that is on its way out or not declared anew
    yet, may contradict what is declared now, and gives way to it."""

    def __init__(self, places: Iterable[PlaceRecord]) -> None:
        self._by_node: dict[str, list[str]] = {}
        self._below: dict[str, list[str]] = {}
        self._of: dict[str, PlaceRecord] = {}
        self._parents: dict[str, str] = {}
        for place in places:
            self._of[place.name] = place
            self._by_node.setdefault(place.node, []).append(place.name)
        for place in sorted(self._of.values(), key=lambda place: place.going):
            if place.node not in self._parents:
                self._parents[place.node] = place.parent if place.node not in self._from(place.parent) else ""
                self._below.setdefault(self._parents[place.node], []).append(place.node)

    def _from(self, node: str) -> Iterator[str]:
        """This node and those above it."""
        while node:
            yield node
            node = self._parents.get(node, "")

    def __contains__(self, place: str) -> bool:
        return place in self._of

    def above(self, place: str) -> Iterator[list[str]]:
        """The places of each node above it, the nearest first."""
        for node in self._from(self._parents[self._of[place].node]):
            if node in self._by_node:
                yield self._by_node[node]

    def under(self, place: str, beyond: Callable[[list[str]], bool] = lambda _: True) -> Iterator[str]:
        """Every place below it, near ones first. `beyond`: whether those below a node with these places are meant too."""
        level = [self._of[place].node]
        while level:
            level = [child for node in level for child in self._below.get(node, ())]
            for node in level:
                yield from self._by_node[node]
            level = [node for node in level if beyond(self._by_node[node])]


def not_up_yet(family: Family, place: str, look: Look) -> Held | None:
    """Why this place gets no running machine yet: one above it that is to run is not there yet. Of nodes that are not to run nobody waits
    for anything but what stands above them."""
    for names in family.above(place):
        awaited = {name: seen for name in names if (seen := look(name)).running and not seen.going}
        for name, seen in awaited.items():
            if not seen.prepared:
                return Held(TreeReason.PARENT_NOT_READY, f"node {name} above it comes first")
        if awaited:
            break
    return None


def not_down_yet(family: Family, place: str, look: Look) -> Held | None:
    """Why its machine is not suspended or deleted yet: one below it is on its way down."""
    here = look(place)
    for name in family.under(place):
        seen = look(name)
        if (seen.going and not seen.gone) if here.going else (not seen.running and not seen.asleep):
            return Held(TreeReason.CHILDREN_FIRST, f"node {name} below it goes first")
    return None


def next_to_move(family: Family, place: str, look: Look) -> Iterator[str]:
    """Whose turn may come when this place has changed: the next ones below it that are to come up, the next above it that are to go down.
    What stands beyond those waits for them."""
    for names in family.above(place):
        yield from names
        if any((seen.going and not seen.gone) or (not seen.running and not seen.asleep) for seen in map(look, names)):
            break
    yield from family.under(place, beyond=lambda names: not any(seen.running and not seen.going for seen in map(look, names)))


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
