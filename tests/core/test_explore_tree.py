"""Every state that a small hierarchy can get into, within small budgets of trouble: order and limits hold at each step, and left in peace
all of it comes to rest. The product's own order and limits decide; platform, journal and people are played.

Every shape of up to five nodes is explored. States that differ only in which of several like branches is which are one state: neither the
product nor what is played looks at names but to tell places apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import pytest

from reconciler.core.tree import order
from reconciler.core.tree.order import Family, Ledger, Limit, Neighbour
from reconciler.core.treerecords import PlaceRecord
from tests.effort import SOAKING

MOST, MOST_CREATING = 2, 1
SHAPES: dict[str, dict[str, str]] = {
    "chain": {"a": "", "b": "a", "c": "b"},
    "fork": {"a": "", "b": "a", "c": "a"},
    "two": {"a": "", "b": "a"},
}
NAMES = "abcde"
BUDGETS = [(1, 1, 5, 20_000), (1, 1, 3, 5_000), *([(2, 1, 5, 100_000)] if SOAKING else [])]
"""Changes, faults, room and the least number of states in each part; the wide ones are explored by `make soak`."""
Shape = tuple["Shape", ...]
"""What stands below one node, or all roots: of each its own shape."""


@cache
def forests(size: int) -> tuple[Shape, ...]:
    """Every forest of so many nodes, each once however its branches are ordered."""
    found: set[Shape] = {()} if size == 0 else set()
    for first in range(1, size + 1):
        found |= {tuple(sorted((below, *rest))) for below in forests(first - 1) for rest in forests(size - first)}
    return tuple(sorted(found))


def parents_of(forest: Shape) -> dict[str, str]:
    """By name the one above, '' for a root; each node before those below it."""
    found: dict[str, str] = {}

    def grow(below: Shape, above: str) -> None:
        for one in below:
            name = NAMES[len(found)]
            found[name] = above
            grow(one, name)

    grow(forest, "")
    return found


def drawn(forest: Shape) -> str:
    """A name for people: `a(bc)` has two below one root."""
    left = iter(NAMES)

    def draw(below: Shape) -> str:
        return "".join(f"{next(left)}{f'({draw(one)})' if one else ''}" for one in below)

    return draw(forest)


@cache
def seen(wanted: str, vm: str) -> Neighbour:
    """What the others see of a place that is to be so and is so."""
    return Neighbour(wanted == "R", wanted == "G", vm == "P", vm in "-AX", vm == "X")


def called(name: str) -> dict[str, str]:
    """The hierarchy that is drawn so."""
    return next(parents_of(forest) for size in range(1, 6) for forest in forests(size) if drawn(forest) == name)


class At(NamedTuple):
    """`wanted`: R to run, S to sleep, G to go. `vm`: `-` none, `?` a create is open, `B` boots, `U` is up, `P` is prepared, `A` sleeps,
    `X` its object is gone. `late`: what was sent for it and still may show."""

    wanted: str = "R"
    vm: str = "-"
    late: str = ""

    @property
    def seen(self) -> Neighbour:
        return seen(self.wanted, self.vm)

    @property
    def rests(self) -> bool:
        return not self.late and self.vm in {"R": "P", "S": "-A", "G": "X"}[self.wanted]


class State(NamedTuple):
    edits: int
    faults: int
    places: tuple[At, ...]


class Bad(Exception):
    """What must never happen."""


class Explored:
    """`above`: by name who stands above, or a shape by its name; each node before those below it, like branches side by side."""

    def __init__(self, above: str | Mapping[str, str], edits: int, faults: int, most: int = MOST) -> None:
        self.above, self.most = (SHAPES[above] if isinstance(above, str) else above), most
        self.names = list(self.above)
        self.numbers = {name: number for number, name in enumerate(self.names)}
        self.below = {name: [other for other in self.names if self.above[other] == name] for name in ("", *self.names)}
        self.shapes = {name: self.shape_of(name) for name in reversed(self.names)}
        self.held: dict[object, bool] = {}
        self.stands_for: dict[tuple[At, ...], tuple[At, ...]] = {}
        self.family = Family([PlaceRecord(name=name, node=name, parent=parent) for name, parent in self.above.items()])
        start = State(edits, faults, tuple(At() for _ in self.names))
        self.known: dict[State, tuple[State, str] | None] = {start: None}
        self.peaceful: set[State] = set()
        todo = deque([start])
        while todo:
            state = todo.popleft()
            try:
                self.settles(state)
                following = list(self.successors(state))
            except Bad as bad:
                raise AssertionError(f"{bad}: {self.trace(state)}") from bad
            for name, after in following:
                after = after._replace(places=self.canonical(after.places))
                if after not in self.known:
                    self.known[after] = state, name
                    todo.append(after)

    # --- symmetry -----------------------------------------------------------------------------------------------------------------

    def shape_of(self, name: str) -> Shape:
        return tuple(sorted(self.shape_of(child) for child in self.below[name]))

    def canonical(self, places: tuple[At, ...]) -> tuple[At, ...]:
        """Of all states that differ by the order of like branches the one that stands for them."""
        known = self.stands_for.get(places)
        if known is None:
            known = self.stands_for[places] = tuple(at for _, branch in self.ordered("", places) for at in branch)
        return known

    def ordered(self, name: str, places: Sequence[At]) -> list[tuple[Shape, tuple[At, ...]]]:
        """What stands below a node, branch by branch, like ones in the order of their states."""
        found = []
        for child in self.below[name]:
            inside = self.ordered(child, places) if self.below[child] else []
            found.append((self.shapes[child], (places[self.numbers[child]], *(at for _, branch in inside for at in branch))))
        return sorted(found) if len(found) > 1 else found

    def trace(self, state: State) -> str:
        names: list[str] = []
        while (known := self.known.get(state)) is not None:
            state, name = known
            names.append(name)
        return " → ".join(reversed(names))

    # --- what is decided ----------------------------------------------------------------------------------------------------------

    def look(self, s: State, name: str) -> Neighbour:
        return s.places[self.numbers[name]].seen

    def turn(self, s: State, name: str) -> bool:
        """Whether it may come up, or go down where that is wanted, as the product says of what is seen; asked once of the same sight."""
        sight = (name, *[(p.wanted, p.vm) for p in s.places])
        known = self.held.get(sight)
        if known is None:
            wanted = s.places[self.numbers[name]].wanted
            ask = order.not_up_yet if wanted == "R" else order.not_down_yet
            known = self.held[sight] = ask(self.family, name, lambda other: self.look(s, other)) is None
        return known

    def room(self, s: State) -> bool:
        ledger = Ledger(sum(p.vm in "?BUPA" for p in s.places), sum(p.vm in "?B" for p in s.places))
        limits = Limit(ledger.vms, self.most, "most"), Limit(ledger.creating, MOST_CREATING, "at once")
        return order.no_room(limits) is None

    def moves(self, s: State) -> Iterator[tuple[str, State]]:
        """What the controller does, the good outcome first; then what the platform does by itself."""
        for number, name in enumerate(self.names):
            p = s.places[number]

            def to(vm: str, late: str = "", number: int = number, p: At = p) -> State:
                return State(s.edits, s.faults, (*s.places[:number], At(p.wanted, vm, late), *s.places[number + 1 :]))

            turn = self.turn(s, name) if p.vm in ("-A" if p.wanted == "R" else "UPA") else False
            match p.wanted, p.vm:
                case "R", "-" if turn and self.room(s):
                    self.comes_up(s, name)
                    self.counted(to("B"), name)
                    yield f"create {name}", to("B")
                    if s.faults:
                        yield f"create {name} unanswered", to("?", "create")._replace(faults=s.faults - 1)
                        yield f"create {name} unanswered, nothing made", to("?")._replace(faults=s.faults - 1)
                case "R", "A" if turn:
                    self.comes_up(s, name)
                    yield f"resume {name}", to("P")
                case ("S", "U" | "P") if turn and not p.late:
                    self.goes_down(s, name)
                    yield f"suspend {name}", to("A")
                    if s.faults:
                        yield f"suspend {name} unanswered", to(p.vm, "suspend")._replace(faults=s.faults - 1)
                case ("G", "U" | "P" | "A") if turn and not p.late:
                    self.goes_down(s, name)
                    yield f"delete {name}", to("X")
                case "G", "-":
                    yield f"release {name}", to("X")
                case _, "U":
                    yield f"prepare {name}", to("P", p.late)
            if p.late == "create":
                yield f"the create of {name} shows", to("B")
            elif p.late:
                yield f"the suspension of {name} shows", to("A")
            elif p.vm == "?":
                yield f"the create of {name} is given up", to("-")
            if p.vm == "B":
                yield f"{name} boots", to("U", p.late)
            if s.faults and p.vm in "UPA":
                yield f"{name} vanishes", to("-")._replace(faults=s.faults - 1)
            if s.faults and p.vm == "P":
                yield f"{name} falls asleep unasked", to("A", p.late)._replace(faults=s.faults - 1)

    def successors(self, s: State) -> Iterator[tuple[str, State]]:
        """What the controller and the platform do, and what people declare: of one place, or of it and all below it at once."""
        yield from self.moves(s)
        if not s.edits:
            return
        for number, name in enumerate(self.names):
            for wanted in "RSG":
                if wanted != "G" or self.all_below_go(s, name):
                    yield f"declare {name} {wanted}", self.declared(s, wanted, [number])
                if self.below[name]:
                    yield f"declare all from {name} {wanted}", self.declared(s, wanted, range(number, number + self.size(name)))

    def size(self, name: str) -> int:
        """How many stand in its branch, itself counted: they are side by side."""
        return 1 + sum(self.size(child) for child in self.below[name])

    def declared(self, s: State, wanted: str, numbers: Iterable[int]) -> State:
        """What is on its way out is not declared anew."""
        places = list(s.places)
        for number in numbers:
            if places[number].wanted != "G":
                places[number] = places[number]._replace(wanted=wanted)
        return s if tuple(places) == s.places else State(s.edits - 1, s.faults, tuple(places))

    def all_below_go(self, s: State, name: str) -> bool:
        return all(s.places[self.numbers[other]].wanted == "G" for other, above in self.above.items() if above == name)

    # --- what must hold -----------------------------------------------------------------------------------------------------------

    def comes_up(self, s: State, name: str) -> None:
        above = self.above[name]
        while above:
            p = s.places[self.numbers[above]]
            if p.wanted == "R":
                if p.vm != "P":
                    raise Bad(f"{name} comes up before {above}")
                return
            above = self.above[above]

    def goes_down(self, s: State, name: str) -> None:
        mine = s.places[self.numbers[name]].wanted
        for number, other in enumerate(self.names):
            at, p = self.above[other], s.places[number]
            while at and at != name:
                at = self.above[at]
            if at and (p.vm != "X" if mine == "G" and p.wanted == "G" else mine == "S" and p.wanted == "S" and p.vm not in "-A"):
                raise Bad(f"{name} goes down before {other}")

    def counted(self, s: State, name: str) -> None:
        if sum(p.vm in "BUPA" or p.late == "create" for p in s.places) > self.most:
            raise Bad(f"{name} is one too many")
        if sum(p.vm == "B" or p.late == "create" for p in s.places) > MOST_CREATING:
            raise Bad(f"{name} is made while another one is")

    def settles(self, s: State) -> None:
        """Left in peace all of it rests, or what does not waits for room that others hold and rest in."""
        path = [s]
        while path[-1] not in self.peaceful:
            calm = path[-1]._replace(edits=0, faults=0)
            after = next((after for _, after in self.moves(calm)), None)
            if after is None:
                waiting = [p for p in calm.places if not p.rests]
                full = sum(p.vm in "?BUPA" for p in calm.places) >= self.most
                assert not waiting or full, f"it rests short of what is declared, in {calm.places}: {self.trace(s)}"
                break
            path.append(after)
            assert len(path) < 60, f"it never rests: {self.trace(s)}"
        self.peaceful.update(path)


DEALT = 4
"""The shapes of five nodes are dealt to so many tests, so that they run side by side."""


def trees(size: int) -> tuple[Shape, ...]:
    """Every forest of one root."""
    return tuple(forest for forest in forests(size) if len(forest) == 1)


@pytest.fixture
def explored(capsys: pytest.CaptureFixture[str]) -> Callable[..., int]:
    """How many states these shapes have; it is printed. `most`: there is room for so many."""

    def explore(shapes: Sequence[Shape], edits: int, faults: int, most: int) -> int:
        found = sum(len(Explored(parents_of(forest), edits, faults, most).known) for forest in shapes)
        with capsys.disabled():
            budget = f"{edits} changes, {faults} faults, room for {most}"
            print(f"\n{found} states of {', '.join(map(drawn, shapes))}: {budget}")
        return found

    return explore


def test_every_shape_of_a_hierarchy_is_there_once() -> None:
    assert [len(forests(size)) for size in range(1, 6)] == [1, 2, 4, 9, 20]
    assert len({drawn(forest) for forest in forests(5)}) == 20
    assert len(trees(5)) == 9


def test_like_branches_are_told_apart_by_nothing() -> None:
    """The same states, whether or not those that differ only by the order of like branches are taken for one."""

    class Plain(Explored):
        def canonical(self, places: tuple[At, ...]) -> tuple[At, ...]:
            return places

    above = parents_of(((), (), ()))
    every, few = Plain(above, 1, 1), Explored(above, 1, 1)
    assert {state._replace(places=few.canonical(state.places)) for state in every.known} == set(few.known)
    assert len(every.known) > 3 * len(few.known)


@pytest.mark.guarantee("G-09")
@pytest.mark.guarantee("G-13")
@pytest.mark.parametrize(("shape", "edits", "faults", "most", "least"), [
    ("two", 4, 2, 2, 2_000), ("chain", 3, 1, 3, 3_000), ("fork", 3, 1, 3, 2_000), ("chain", 2, 2, 2, 1_000), ("fork", 3, 1, 2, 1_000),
])  # fmt: skip
def test_order_and_limits_hold_in_every_state_and_all_comes_to_rest(shape: str, edits: int, faults: int, most: int, least: int) -> None:
    assert len(Explored(shape, edits, faults, most).known) >= least


@pytest.mark.guarantee("G-09")
@pytest.mark.guarantee("G-13")
@pytest.mark.parametrize(("size", "least"), [(1, 30), (2, 400), (3, 3_000), (4, 20_000)])
def test_the_same_holds_in_every_hierarchy_of_up_to_four_nodes(size: int, least: int, explored: Callable[..., int]) -> None:
    assert explored(forests(size), edits=1, faults=1, most=size) >= least


@pytest.mark.guarantee("G-09")
@pytest.mark.guarantee("G-13")
@pytest.mark.parametrize("part", range(DEALT))
def test_the_same_holds_in_every_tree_of_five_nodes(part: int, explored: Callable[..., int]) -> None:
    """Several roots, which have nothing in common but room, are explored more rarely."""
    assert explored(trees(5)[part::DEALT], edits=1, faults=1, most=5) >= 10_000


@pytest.mark.guarantee("G-09")
@pytest.mark.guarantee("G-13")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(DEALT))
@pytest.mark.parametrize(("edits", "faults", "most", "least"), BUDGETS)
def test_the_same_holds_in_every_hierarchy_of_five_nodes_with_more_trouble_or_less_room(
    part: int, edits: int, faults: int, most: int, least: int, explored: Callable[..., int]
) -> None:
    assert explored(forests(5)[part::DEALT], edits, faults, most) >= least
