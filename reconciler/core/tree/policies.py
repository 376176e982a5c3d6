"""A hierarchy: which objects it declares, and which it takes back. In what order their machines come and go, and how many there may
be, is decided where they are made and suspended (`core.tree.order`). Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.governreasons import GovernReason
from reconciler.api.reasons import Reason
from reconciler.api.treereasons import TreeReason
from reconciler.api.vmtree import OnNodeRemoved
from reconciler.core.chain import Chain
from reconciler.core.conditions import held_back
from reconciler.core.decisions import (
    Decision,
    DeclareNodes,
    ForgetNodes,
    KeepNodes,
    NoteBudget,
    NoteRevision,
    Refuse,
    Release,
    Steady,
    Wait,
    WithdrawNodes,
)
from reconciler.core.slot.deletion import CONFIRM
from reconciler.core.spending.pool import held_words
from reconciler.core.tree import handover
from reconciler.core.tree.handover import of_another_kind
from reconciler.core.tree.limits import beyond_limits
from reconciler.core.tree.places import Place
from reconciler.core.tree.rollout import revision_of
from reconciler.core.tree.snapshot import TreeSnapshot
from reconciler.core.treerecords import PlaceRecord

AT_ONCE = 50
"""Objects that are declared in one act."""

NAMED = 5
"""Nodes that a message names; of the others it says how many there are."""


def some(names: list[str] | tuple[str, ...]) -> str:
    """The first few of them, and how many more there are."""
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


# --- the whole goes ---------------------------------------------------------------------------------------------------------------


def protect_before_the_end(v: TreeSnapshot) -> Decision | None:
    """G-05: a tree with a protected node goes only when a person says so; until then nothing of it does."""
    if not v.deleting or v.confirmed:
        return None
    guarded = [p.name for p in v.record.places if p.protected and any(not found.deleting for found in v.objects(p.name))]
    if not guarded:
        return None
    return Refuse(Reason.PROTECTED, f"{some(guarded)} of it is protected from deletion; {CONFIRM} lets all of it go")


def take_down_the_whole(v: TreeSnapshot) -> Decision | None:
    """G-13: everything it declared is taken back; machines go leaves first. It goes itself when nothing is left."""
    if not v.deleting:
        return None
    there = [place for place in v.record.places if v.objects(place.name)]
    staying = tuple(place.name for place in reversed(there) if not asked_to_go(v, place))
    if staying:
        return WithdrawNodes(staying, "its tree was deleted", v.confirmed)
    if gone := nothing_left(v):
        return ForgetNodes(gone)
    if there:
        return waiting_for_the_end(v, there)
    return Release()


def asked_to_go(v: TreeSnapshot, place: PlaceRecord) -> bool:
    """The deletion of all it has was asked for; of a protected one also with the confirmation that the tree has."""
    return all(
        found.deleting and (not v.confirmed or not place.protected or found.confirmed == v.confirmed) for found in v.objects(place.name)
    )


def waiting_for_the_end(v: TreeSnapshot, there: list[PlaceRecord]) -> Decision:
    """What is still there; what can't go without a person is told first."""
    stuck = [f"{place.name} ({found.reason}: {found.message})" for place in there for found in v.objects(place.name) if found.stalled]
    if stuck:
        return Refuse(TreeReason.NODES_STALLED, f"can't be deleted: {some(stuck)}")
    return Wait(TreeReason.NODES_CHANGING, f"being deleted: {some([place.name for place in there])}")


def nothing_left(v: TreeSnapshot) -> tuple[str, ...]:
    """Places whose objects are gone and not wanted."""
    wanted = {place.name for place in v.places} if not v.deleting else set[str]()
    return tuple(
        place.name for place in v.record.places if place.name not in wanted and not (v.found.get(place.name) or v.other.get(place.name))
    )


# --- what may not begin -----------------------------------------------------------------------------------------------------------


def refuse_the_unsupported(v: TreeSnapshot) -> Decision | None:
    """A field that protects and is not acted on in this release: nothing starts."""
    if not v.unsupported or v.record.places:
        return None
    return Refuse(Reason.UNSUPPORTED, f"not acted on in this release: {', '.join(v.unsupported)}; remove it or use a later release")


# --- nodes come and go ------------------------------------------------------------------------------------------------------------


def removed(v: TreeSnapshot) -> list[PlaceRecord]:
    """Places whose node is not declared any more, or that are a replica too many; leaves first."""
    wanted = {place.name: place for place in v.places}
    gone = [p for p in v.record.places if p.name not in wanted and not p.kept and v.objects(p.name)]
    parents = {p.node: p.parent for p in v.record.places}
    return sorted(gone, key=lambda p: (-_level(parents, p.node), p.name))


def _level(parents: dict[str, str], node: str) -> int:
    level, seen = 0, set[str]()
    while node and node not in seen:
        seen.add(node)
        node, level = parents.get(node, ""), level + 1
    return level


def with_it(v: TreeSnapshot) -> dict[str, list[str]]:
    """By removed node that has no removed one above it: the places that stood below it and were removed together with it."""
    gone, parents = removed(v), {p.node: p.parent for p in v.record.places}
    above = {node: _above(parents, node) for node in parents}
    nodes = {p.node for p in gone} - {node.name for node in v.spec.nodes}
    tops = [node for node in sorted(nodes) if not nodes & above[node]]
    return {top: [p.name for p in gone if top in above[p.node]] for top in tops}


def _above(parents: dict[str, str], node: str) -> set[str]:
    """Every node above this one; itself too where what is remembered is a ring."""
    found: set[str] = set()
    while (node := parents.get(node, "")) and node not in found:
        found.add(node)
    return found


def take_back_what_is_removed(v: TreeSnapshot) -> Decision | None:
    """Nodes that are not declared any more, and replicas that are too many, go; what stood below them does as `onNodeRemoved` says."""
    gone = removed(v)
    together = with_it(v)
    dragged = {name for names in together.values() for name in names}
    policy = v.spec.policy.on_node_removed
    if dragged and policy is OnNodeRemoved.REPARENT:
        return KeepNodes(tuple(sorted(dragged)))
    refused = dragged if policy is OnNodeRemoved.REFUSE and not v.confirmed else set[str]()
    held = {p.name for p in gone if refused and (p.name in refused or p.node in together)}
    going = tuple(p.name for p in gone if p.name not in held and not asked_to_go(v, p))
    if not going:
        return None
    orphaned = tuple(name for name in going if name in dragged) if policy is OnNodeRemoved.ORPHAN else ()
    return WithdrawNodes(going, "it is not declared any more", v.confirmed, orphaned)


def tell_of_the_budget(v: TreeSnapshot) -> Decision | None:
    """G-29: how far the pool is used up is told when it changes, and what the tree declares follows from it."""
    state = v.pool.state if v.pool is not None else "Within"
    return NoteBudget(state) if state != v.record.budget else None


def forget_what_is_gone(v: TreeSnapshot) -> Decision | None:
    """A place that is not declared any more, and of which nothing is left, is taken off the books."""
    gone = nothing_left(v)
    return ForgetNodes(gone) if gone else None


def declare_what_is_missing(v: TreeSnapshot) -> Decision | None:
    """The objects of all places, as the tree declares them; roots first. What another one declares under that name is left alone."""
    over, books = beyond_limits(v), v.record.by_name()
    wrong = [place for place in v.places if place.name not in (*over, *v.invalid) and needs_declaring(v, place, books.get(place.name))]
    if not wrong:
        return None
    now = wrong[:AT_ONCE]
    return DeclareNodes(
        tuple(place.name for place in now), tuple(place.name for place in now if was_changed(v, place, books.get(place.name)))
    )


def needs_declaring(v: TreeSnapshot, place: Place, remembered: PlaceRecord | None) -> bool:
    found = v.found.get(place.name)
    if found is None or remembered is None:
        return found is None or found.ours
    if not found.ours or found.deleting or of_another_kind(place, remembered):
        return False
    return not found.same or remembered != place.record.but(digest=v.digests[place.name], beside=remembered.beside)


def was_changed(v: TreeSnapshot, place: Place, remembered: PlaceRecord | None) -> bool:
    """Somebody else changed it: it differs from what the tree had declared, which is what it still declares."""
    found = v.found.get(place.name)
    return found is not None and not found.same and remembered is not None and remembered.digest == v.digests[place.name]


# --- how it stands ----------------------------------------------------------------------------------------------------------------


def problems(v: TreeSnapshot) -> Iterator[tuple[TreeReason | Reason, str]]:
    """What a person has to change in the declaration."""
    names = [place.name for place in v.places]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield TreeReason.NAME_TAKEN, f"two nodes make a place called {name}; rename one of them"
    for place in v.places:
        found = v.found.get(place.name)
        if found is not None and not found.ours:
            yield TreeReason.NAME_TAKEN, f"the name of node {place.name} is taken by an object that this tree does not declare"
    if v.spec.policy.on_node_removed is OnNodeRemoved.REFUSE and not v.confirmed:
        for top, dragged in with_it(v).items():
            if any(not found.deleting for name in dragged for found in v.objects(name)):
                yield TreeReason.NODE_REMOVAL_REFUSED, f"{top} was removed together with {some(dragged)} below it"
    yield from handover.stuck(v)
    for name, why in v.invalid.items():
        yield TreeReason.NODE_INVALID, f"{name}: {why}"
    for why in beyond_limits(v).values():
        yield TreeReason.LIMIT_EXCEEDED, why


def report_the_problems(v: TreeSnapshot) -> Decision | None:
    """All of one reason together; everything else goes on."""
    found = list(problems(v))
    if not found:
        return None
    reason = found[0][0]
    return Refuse(reason, "; ".join(why for of, why in found if of is reason)[:1000])


def report_the_nodes(v: TreeSnapshot) -> Decision | None:
    """Ready means all of them: while one moves the tree does; when none does and one can't go on, it is stalled, whoever waits for it;
    of what can't be read it is not said that it changes."""
    moving: list[str] = []
    held: list[str] = []
    unknown: list[str] = []
    stalled: list[str] = []
    for name, found in v.found.items():
        if found.stalled:
            stalled.append(f"{name} ({found.reason})")
        elif found.unknown:
            unknown.append(name)
        elif not found.ready:
            (held if held_back(found.reason) else moving).append(name)
    for name, other in v.other.items():
        new = v.found.get(name)
        if other.found.stalled:
            stalled.append(f"{name} ({other.found.reason})")
        elif new is not None and new.ready:
            moving.append(name)
    held += handover.held_changes(v)
    extra = [p.name for p in v.record.places if p.ordinal is not None and p.name in v.found and v.found[p.name].deleting]
    too_many = more_than_declared(v)
    if moving or (extra and not stalled):
        return Wait(TreeReason.NODES_CHANGING, some(moving or extra), until=handover.next_try(v))
    if stalled:
        return Refuse(TreeReason.NODES_STALLED, some(stalled))
    if unknown:
        return Wait(TreeReason.NODES_UNKNOWN, some(unknown))
    if held:
        return Wait(TreeReason.NODES_CHANGING, some(held), until=handover.next_try(v))
    if too_many:
        return Wait(TreeReason.SCALING_DOWN, f"{some(too_many)} works; one too many goes when it is idle")
    return None


def report_the_budget(v: TreeSnapshot) -> Decision | None:
    """G-29: while it is used up the tree is not as declared, though each of its nodes is as the tree wants it now."""
    if v.pool is None or not v.pool.holds:
        return None
    if v.pool.state == "CostUnknown":
        return Refuse(GovernReason.COST_UNKNOWN, f"nothing is sent to its agents: {held_words(v.pool)}")
    said = "nothing is sent to its agents until its window has moved on, or the budget is raised"
    return Wait(GovernReason.BUDGET_EXCEEDED, said, until=v.pool.ends)


def more_than_declared(v: TreeSnapshot) -> list[str]:
    """Replicas beyond the declared number that are still there because they work."""
    counts: dict[str, list[str]] = {}
    for place in v.places:
        if place.ordinal is not None:
            counts.setdefault(place.node.name, []).append(place.name)
    replicas = {node.name: node.replicas or 0 for node in v.spec.nodes}
    return [
        name for node, names in counts.items() if len(names) > replicas[node] for name in names if v.use.get(name) and v.use[name].working
    ]


def remember_what_works(v: TreeSnapshot) -> Decision | None:
    """A spec with which everything is as declared is what a later rollout is undone to."""
    done = bool(v.declared) and not any(found.outdated or found.replacing for found in v.found.values())
    return NoteRevision() if done and v.record.revisions[-1:] != (revision_of(v.declared),) else None


TREE: Chain[TreeSnapshot] = Chain(
    "A tree",
    "A hierarchy of machines.",
    (
        protect_before_the_end,
        take_down_the_whole,
        refuse_the_unsupported,
        take_back_what_is_removed,
        tell_of_the_budget,
        forget_what_is_gone,
        declare_what_is_missing,
        handover.begin_the_change,
        handover.keep_the_other_in_step,
        handover.hand_over,
        report_the_problems,
        report_the_nodes,
        report_the_budget,
        remember_what_works,
    ),
)


def plan(view: TreeSnapshot) -> Decision:
    """None has an opinion: every node is as declared."""
    return TREE.evaluate(view) or Steady()
