"""What holds for every hierarchy: its order never comes to a halt, and what it declares follows from the declaration alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.api.meta import Mode
from reconciler.api.parsing import load_spec
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.decisions import (
    CarryFiles,
    ChangeNode,
    DeclareNodes,
    FollowMode,
    KeepNodes,
    NoteBeside,
    Refuse,
    Steady,
    Wait,
    WithdrawNodes,
    WithdrawOther,
)
from reconciler.core.keys import Json, Key
from reconciler.core.tree import order
from reconciler.core.tree import places as places_of
from reconciler.core.tree.order import Family, Neighbour
from reconciler.core.tree.owned import OwnedObject, owned_object
from reconciler.core.tree.places import Use, place_name, wanted_places
from reconciler.core.tree.policies import plan
from reconciler.core.tree.snapshot import Found, Other, TreeSnapshot
from reconciler.core.treerecords import BesideRecord, PlaceRecord, TreeRecord

TREE = Key("VMTree", "default", "prod")
NAMES = "abcdef"


def spec_of(nodes: list[Json], **more: object) -> VMTreeSpec:
    spec = load_spec("VMTree", {"nodes": nodes, **more})  # type: ignore[dict-item]
    assert isinstance(spec, VMTreeSpec)
    return spec


def node(name: str, parent: str = "", **more: object) -> Json:
    made: Json = {"name": name, "category": "Agent", "profileRef": {"name": "lightweight"}}
    return {**made, **({"parent": parent} if parent else {}), **more}  # type: ignore[dict-item]


@st.composite
def hierarchies(draw: st.DrawFn, modes: bool = True, least: int = 1) -> list[Json]:
    """Nodes in any order, each below one of the others or none."""
    names = draw(st.permutations(NAMES[: draw(st.integers(least, len(NAMES)))]))
    made: list[Json] = []
    for number, name in enumerate(names):
        parent = draw(st.sampled_from(["", *names[:number]]))
        more: Json = {"category": draw(st.sampled_from(["Agent", "Infra"]))}
        if draw(st.booleans()):
            more["replicas"] = draw(st.integers(0, 3))
        if modes and draw(st.booleans()):
            more["mode"] = draw(st.sampled_from(["Running", "Suspended"]))
        made.append(node(name, parent, **more))
    return draw(st.permutations(made))


# --- what is declared -------------------------------------------------------------------------------------------------------------


NOTHING = TreeRecord()


def owned_by(spec: VMTreeSpec, record: TreeRecord = NOTHING) -> dict[str, OwnedObject]:
    return {place.name: owned_object(TREE, spec, place) for place in wanted_places(spec, record, {})}


def declared(
    spec: VMTreeSpec, record: TreeRecord = NOTHING, before: Mapping[str, OwnedObject] | None = None, **more: object
) -> TreeSnapshot:
    """The tree with this declared, when `before` is what its objects are (None: none of them is there)."""
    owned = owned_by(spec, record)
    names = {place.name for place in record.places} | set(owned)
    found = {name: Found(ours=True, ready=True, same=before[name] == owned.get(name)) for name in names if before and name in before}
    places = wanted_places(spec, record, {})
    return replace(TreeSnapshot(TREE, spec, record, places, {name: repr(one) for name, one in owned.items()}, found), **more)  # type: ignore[arg-type]


def carried_out(view: TreeSnapshot) -> tuple[TreeRecord, dict[str, OwnedObject]]:
    """The record and the objects when all that is missing was declared."""
    return TreeRecord(places=tuple(p.record.but(digest=view.digests[p.name]) for p in view.places)), owned_by(view.spec, view.record)


@given(hierarchies(), st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_in_the_declaration_means_nothing(nodes: list[Json], chance: object) -> None:
    other = list(nodes)
    chance.shuffle(other)  # type: ignore[attr-defined]
    assert owned_by(spec_of(nodes)) == owned_by(spec_of(other))
    one, two = ({place.name: place for place in wanted_places(spec_of(some), NOTHING, {})} for some in (nodes, other))
    assert one == two


@given(hierarchies())
def test_nothing_is_done_about_what_is_as_declared(nodes: list[Json]) -> None:
    spec = spec_of(nodes)
    record, objects = carried_out(declared(spec))
    assert isinstance(plan(declared(spec, record, objects)), Steady)


@pytest.mark.guarantee("G-48")
@given(hierarchies(modes=False, least=2), st.data())
def test_other_parents_change_labels_and_books_and_nothing_else(nodes: list[Json], data: st.DataObject) -> None:
    record, objects = carried_out(declared(spec_of(nodes)))
    names = data.draw(st.permutations([one["name"] for one in nodes]))
    moved = []
    for number, name in enumerate(names):
        one = next({k: v for k, v in one.items() if k != "parent"} for one in nodes if one["name"] == name)
        parent = data.draw(st.sampled_from([None, *names[:number]]))
        moved.append({**one, "parent": parent} if parent else one)
    spec = spec_of(moved)
    view = declared(spec, record, objects)
    decision = plan(view)
    assert isinstance(decision, Steady | DeclareNodes)
    assert {name: one.spec for name, one in owned_by(spec, record).items()} == {name: one.spec for name, one in objects.items()}
    assert not isinstance(decision, DeclareNodes) or decision.reverted == ()
    assert isinstance(plan(declared(spec, *carried_out(view))), Steady)


# --- replicas ---------------------------------------------------------------------------------------------------------------------

USES = st.builds(Use, made=st.booleans(), working=st.booleans(), idle_since=st.floats(0, 100))


IDLE = [Use(made=True, idle_since=float(9 - number)) for number in range(9)]


@pytest.mark.guarantee("G-10")
@example(1, {0, 1, 2}, [Use(made=True, working=number > 0) for number in range(9)])
@example(1, {0, 1, 2}, IDLE)
@example(1, {0, 1, 2}, [replace(use, idle_since=10 - use.idle_since) for use in IDLE])
@given(st.integers(0, 6), st.sets(st.integers(0, 8)), st.lists(USES, min_size=9, max_size=9))
def test_fewer_replicas_never_take_one_that_works_and_more_move_none(replicas: int, there: set[int], uses: list[Use]) -> None:
    use = {place_name("w", number): one for number, one in enumerate(uses)}
    working = {number for number in there if uses[number].working}
    left = set(places_of.ordinals_of("w", replicas, sorted(there), use))
    assert working <= left
    assert len(left) == max(replicas, len(working))
    assert left <= there if len(there) >= replicas else there <= left
    gone = [uses[number] for number in there - left]
    idle = [uses[number] for number in left & there - working]
    assert not any(one.made and not other.made for one in gone for other in idle), "one with a machine went before one without"
    assert not any(one.made == other.made and one.idle_since > other.idle_since for one in gone for other in idle)


# --- order ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class At:
    """How a place stands. `vm`: `none`, `raw` (not prepared), `ready`, `asleep`; `gone`: its object is not there any more; `guarded`: it
    goes only when a person says so."""

    wanted: str
    vm: str
    guarded: bool = False
    gone: bool = False

    @property
    def seen(self) -> Neighbour:
        if self.gone:
            return Neighbour(running=False, going=True, gone=True)
        running, going = self.wanted == "running", self.wanted == "gone"
        return Neighbour(running, going, self.vm == "ready", self.vm in ("none", "asleep"))

    @property
    def rests(self) -> bool:
        if self.wanted == "gone":
            return self.gone
        return self.vm == "ready" if self.wanted == "running" else self.vm in ("none", "asleep")


def moved(family: Family, name: str, at: Mapping[str, At]) -> At | None:
    """The place when it is there where it is to be; None: it may not go there now."""
    here = at[name]
    look = lambda other: at[other].seen  # noqa: E731
    if here.wanted == "gone":
        free = here.vm == "none" or (not here.guarded and order.not_down_yet(family, name, look) is None)
        return replace(here, gone=True, vm="none") if free else None
    if here.wanted == "suspended":
        return replace(here, vm="asleep") if order.not_down_yet(family, name, look) is None else None
    free = here.vm == "raw" or order.not_up_yet(family, name, look) is None
    return replace(here, vm="ready") if free else None


@st.composite
def remembered(draw: st.DrawFn) -> tuple[PlaceRecord, ...]:
    """Any books: what stays hangs together as some declaration has it; of what goes anything may have been declared once."""
    names = draw(st.permutations(NAMES[: draw(st.integers(1, len(NAMES)))]))
    places: list[PlaceRecord] = []
    for number, name in enumerate(names):
        parent, old = draw(st.sampled_from(["", *names[:number]])), st.sampled_from(["", *names])
        for ordinal in range(draw(st.integers(1, 2))):
            going = draw(st.booleans())
            places.append(
                PlaceRecord(name=f"{name}-{ordinal}", node=name, ordinal=ordinal, parent=draw(old) if going else parent, going=going)
            )
    return tuple(draw(st.permutations(places)))


@pytest.mark.guarantee("G-13")
@given(remembered(), st.data())
def test_the_order_never_comes_to_a_halt(places: tuple[PlaceRecord, ...], data: st.DataObject) -> None:
    """From wherever the places are, one of those that do not rest may move, until all rest; only a person who guards one is waited for."""
    family = Family(places)
    kept, machines = st.sampled_from(["running", "suspended"]), st.sampled_from(["none", "raw", "ready", "asleep"])
    at = {
        place.name: At("gone" if place.going else data.draw(kept), data.draw(machines), place.going and data.draw(st.booleans()))
        for place in places
    }
    while restless := [name for name, one in at.items() if not one.rests]:
        free = {name: there for name in restless if (there := moved(family, name, at)) is not None}
        if not free:
            guards = [name for name in restless if at[name].guarded]
            assert guards, f"nothing moves: { {name: at[name] for name in restless} }"
            at |= {name: replace(at[name], guarded=False) for name in guards}
            continue
        name = data.draw(st.sampled_from(sorted(free)))
        at[name] = free[name]


@pytest.mark.guarantee("G-13")
def test_what_was_declared_before_never_holds_up_what_is_declared_now() -> None:
    """The one that goes stood below the one that stays, which stands below it now; and a replica that goes stood below what is below the
    others."""
    gone, stays = PlaceRecord(name="x", node="x", parent="p", going=True), PlaceRecord(name="p", node="p", parent="x")
    at = {"x": At("gone", "ready"), "p": At("running", "none")}
    for places in ((gone, stays), (stays, gone)):
        assert [len(list(islice(Family(places).above(name), 3))) for name in ("x", "p")] in ([0, 1], [1, 0]), "no ring"
        assert moved(Family(places), "x", at) == At("gone", "none", gone=True)
        assert moved(Family(places), "p", at) == At("running", "ready")
    old, new = (PlaceRecord(name=f"w-{n}", node="w", ordinal=n, parent="" if n else "a", going=not n) for n in range(2))
    below = PlaceRecord(name="a", node="a", parent="w")
    at = {"w-0": At("gone", "ready"), "w-1": At("running", "none"), "a": At("suspended", "ready")}
    for places in ((old, new, below), (new, below, old)):
        assert moved(Family(places), "w-1", at) is not None
        assert moved(Family(places), "a", at | {"w-1": At("suspended", "ready")}) is not None
    left = {"w-0": At("gone", "none", gone=True), "a": At("gone", "ready")}
    assert (
        moved(Family((PlaceRecord(name="w-0", node="w", parent="a", going=True), below.but(parent="", going=True))), "a", left) is not None
    )


@pytest.mark.guarantee("G-13")
@given(hierarchies(), st.sampled_from(["Cascade", "NodeOnly"]), st.data())
def test_none_is_up_before_what_stands_above_it_nor_down_before_what_goes_below_it(
    nodes: list[Json], reach: str, data: st.DataObject
) -> None:
    """Judged by the declaration alone, also where a node has no replicas or sleeps in between."""
    spec = spec_of(nodes, policy={"suspend": reach})
    places = {place.name: place for place in wanted_places(spec, NOTHING, {})}
    parents = {one.name: one.parent for one in spec.nodes}
    family = Family([place.record for place in places.values()])
    machines = st.sampled_from(["none", "raw", "ready", "asleep"])
    at = {name: At("running" if place.mode is Mode.RUNNING else "suspended", data.draw(machines)) for name, place in places.items()}

    def over(name: str) -> list[str]:
        chain, at_node = [], parents[places[name].node.name]
        while at_node is not None:
            chain.append(at_node)
            at_node = parents[at_node]
        return [other for up in chain for other, place in places.items() if place.node.name == up]

    for name in [name for name, one in at.items() if not one.rests]:
        if moved(family, name, at) is None or at[name].vm == "raw":
            continue
        if at[name].wanted == "running":
            to_run = [other for other in over(name) if at[other].wanted == "running"]
            near = [other for other in to_run if places[other].node.name == places[to_run[0]].node.name]
            assert all(at[other].vm == "ready" for other in near), (name, at)
        else:
            below = [other for other in places if name in over(other)]
            assert all(at[other].rests for other in below if at[other].wanted == "suspended"), (name, at)


# --- what was found in such trees ---------------------------------------------------------------------------------------------------


def after(record: TreeRecord, view: TreeSnapshot) -> TreeRecord:
    decision = plan(view)
    assert isinstance(decision, KeepNodes), decision
    return TreeRecord(places=tuple(p.but(kept=True, parent="root") if p.name in decision.places else p for p in record.places))


def test_a_kept_node_that_is_declared_again_is_as_any_other() -> None:
    whole = [node("root"), node("a", "root"), node("b", "a")]
    record, objects = carried_out(declared(spec_of(whole)))
    record = after(record, declared(spec_of(whole[:1], policy={"onNodeRemoved": "Reparent"}), record, objects))
    again = plan(declared(spec_of(whole), record, objects))
    assert isinstance(again, DeclareNodes)
    assert again.places == ("b",)
    record, objects = carried_out(declared(spec_of(whole), record, objects))
    gone = plan(declared(spec_of(whole[:2]), record, objects))
    assert isinstance(gone, WithdrawNodes)
    assert gone.places == ("b",)


def test_what_stands_below_a_node_without_replicas_stands_below_the_next_one() -> None:
    spec = spec_of([node("root"), node("none", "root", replicas=0), node("leaf", "none")])
    places = {place.name: place.record for place in wanted_places(spec, NOTHING, {})}
    assert places["leaf"].parent == "root"
    family = Family(places.values())
    assert list(family.under("root")) == ["leaf"]
    assert order.not_up_yet(family, "leaf", lambda _: Neighbour()) is not None
    record, objects = carried_out(declared(spec))
    other = spec_of([node("other")])
    more, others = carried_out(declared(other))
    decision = plan(declared(other, TreeRecord(places=(*record.places, *more.places)), {**objects, **others}))
    assert isinstance(decision, Refuse)
    assert decision.reason == "NodeRemovalRefused"


def handed(state: str, found: Found | None = None, other: Other | None = None, **more: object) -> TreeSnapshot:
    """A node that had an agent and has none now, so far."""
    had, has = spec_of([node("a")]), spec_of([node("a", category="Infra")])
    record, objects = carried_out(declared(had))
    if not state:
        return declared(has, record, objects, **more)
    record, _ = carried_out(declared(has))
    (place,) = record.places
    record = TreeRecord(places=(place.but(beside=BesideRecord(state=state)),))  # type: ignore[arg-type]
    view = declared(has, record, owned_by(has), **more)
    return replace(view, found={"a": found} if found else view.found, other={"a": other or OLD})


OLD = Other(Found(ours=True, ready=True, vm_id="old"), both_run=True)
NEW = Found(ours=True, vm_id="new")
READY = replace(NEW, ready=True)
GONE = replace(OLD, found=replace(OLD.found, deleting=True))


@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (handed(""), ChangeNode),
        (handed("", held={"a": "another one is first"}), Wait),
        (handed("", invalid={"a": "it has no profile"}), Refuse),
        (handed("Making", NEW), Wait),
        (handed("Making", NEW, replace(OLD, in_the_way=True)), NoteBeside("a", "Going")),
        (handed("Making", NEW, replace(OLD, made=False)), WithdrawOther),
        (handed("Making", NEW, replace(OLD, mode=Mode.SUSPENDED)), FollowMode("a")),
        (handed("Making", READY, replace(OLD, working=True)), NoteBeside("a", "Settling")),
        (handed("Making", READY, replace(OLD, protected=True)), Refuse),
        (handed("Making", READY, replace(OLD, protected=True), confirmed="yes"), NoteBeside("a", "Settling")),
        (handed("Settling", READY, replace(OLD, working=True)), Wait),
        (handed("Settling", READY, replace(OLD, both_run=False)), Wait),
        (handed("Settling", READY), CarryFiles("a", "old", "new")),
        (handed("Settling", NEW), CarryFiles("a", "old", "new")),
        (handed("Going", READY, replace(OLD, working=True)), Wait),
        (handed("Going", READY), WithdrawOther),
        (handed("Going", READY, GONE), Wait),
        (replace(handed("Going", READY), other={}), NoteBeside("a", "")),
        (replace(handed("Settling", READY), deleting=True), WithdrawNodes),
        (replace(handed("Going", replace(READY, deleting=True)), deleting=True), WithdrawNodes),
    ],
)
def test_what_a_node_had_before_its_category_changed_goes_step_by_step(view: TreeSnapshot, expected: object) -> None:
    decision = plan(view)
    assert isinstance(decision, expected) if isinstance(expected, type) else decision == expected


@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("state", ["Making", "Settling", "Going"])
def test_a_category_that_is_changed_back_takes_what_the_node_has_still(state: str) -> None:
    view = handed(state, NEW)
    spec = spec_of([node("a")])
    back = replace(view, spec=spec, places=wanted_places(spec, view.record, {}))
    decision = plan(back)
    assert isinstance(decision, Wait if state == "Going" else ChangeNode)
    assert isinstance(plan(replace(back, other={"a": GONE})), Wait)


def test_a_tree_of_which_one_is_stalled_and_the_others_wait_for_it_is_stalled() -> None:
    spec = spec_of([node("a"), node("b", "a")])
    record, objects = carried_out(declared(spec))
    found = {"a": Found(ours=True, stalled=True, reason="BootFailed"), "b": Found(ours=True, reason="ParentNotReady")}
    decision = plan(declared(spec, record, objects, found=found))
    assert isinstance(decision, Refuse)
    assert decision.reason == "NodesStalled"
