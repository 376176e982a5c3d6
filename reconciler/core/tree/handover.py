"""A node whose category changes between one with an agent and one without (G-14): the object that it has from here on is declared beside
the one that it had, which works on. When the new one is ready nothing more is sent to the old one, its files are brought over when it is
settled, and then it goes. Without room for both `update.onNoRoom` of the node says whether it waits or goes first. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.meta import Mode
from reconciler.api.reasons import Reason
from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import CarryFiles, ChangeNode, Decision, FollowMode, NoteBeside, WithdrawOther
from reconciler.core.slot.deletion import CONFIRM
from reconciler.core.tree.places import Place
from reconciler.core.tree.snapshot import Found, Other, TreeSnapshot
from reconciler.core.treerecords import PlaceRecord

TRIES = 5
"""Failures in a row to bring files over after which a person is asked."""


def of_another_kind(place: Place, remembered: PlaceRecord) -> bool:
    """It has an agent and had none, or the other way round."""
    return place.node.has_agent is not remembered.agent


def changing(v: TreeSnapshot) -> Iterator[tuple[Place, PlaceRecord]]:
    """Places whose category changed, and whose object is still the one that they had."""
    books = v.record.by_name()
    for place in v.places:
        remembered, found = books.get(place.name), v.found.get(place.name)
        if (
            remembered is not None
            and of_another_kind(place, remembered)
            and found is not None
            and found.ours
            and place.name not in v.invalid
        ):
            yield place, remembered


def taken_back(v: TreeSnapshot, remembered: PlaceRecord) -> bool:
    """It is to have again what it had before, and that has not begun to go."""
    other = v.other.get(remembered.name)
    return other is not None and not other.found.deleting and remembered.beside.state in ("Making", "Settling")


def not_begun(v: TreeSnapshot, remembered: PlaceRecord) -> str:
    """Why nothing is made for the changed category yet; '' when it may be."""
    found = v.found[remembered.name]
    if found.deleting:
        return "what it has is being deleted"
    if taken_back(v, remembered):
        return ""
    if remembered.name in v.other:
        return "what it had before goes first"
    if found.replacing:
        return "its machine is being replaced"
    return v.held.get(remembered.name, "")


def begin_the_change(v: TreeSnapshot) -> Decision | None:
    """G-14: the object of the new category is declared, one place at a time and in the order of a rollout; what the place has works on."""
    for place, remembered in changing(v):
        if not_begun(v, remembered):
            continue
        old = v.found[place.name].vm_id
        if taken_back(v, remembered):
            return ChangeNode(place.name, "", f"node {place.name} is of the category again that VM {old or 'none'} was not made for")
        has = "with" if place.node.has_agent else "without"
        goes = f"; VM {old} works until it is ready, and goes when its files were brought over" if old else ""
        return ChangeNode(place.name, old, f"node {place.name} is {has} an agent from here on: another machine is made for it{goes}")
    return None


def pairs(v: TreeSnapshot) -> Iterator[tuple[Place, PlaceRecord, Other]]:
    """Places that have two objects, of which one is to go and was not asked to."""
    if not v.other:
        return
    books, wanted = v.record.by_name(), {place.name: place for place in v.places}
    for name, other in v.other.items():
        place, remembered = wanted.get(name), books.get(name)
        if place is not None and remembered is not None and not of_another_kind(place, remembered) and not other.found.deleting:
            yield place, remembered, other


def keep_the_other_in_step(v: TreeSnapshot) -> Decision | None:
    """G-08: what a place had before sleeps when the place is to sleep, and wakes with it."""
    return next((FollowMode(place.name) for place, _, other in pairs(v) if other.mode is not place.mode), None)


def hand_over(v: TreeSnapshot) -> Decision | None:
    """G-14: what a place had before its category changed goes only when the machine in its place is ready and has its files. It gets no
    work from then on, and a turn that is on ends first."""
    for place, remembered, other in pairs(v):
        step = next_step(v, place, remembered, other)
        if step is not None:
            return step
    gone = (place.name for place in v.record.places if place.beside.state and place.name not in v.other)
    return next((NoteBeside(name, "") for name in gone), None)


def next_step(v: TreeSnapshot, place: Place, remembered: PlaceRecord, other: Other) -> Decision | None:
    """What is to be done about one place that has two objects; None: it waits."""
    state, new, old = remembered.beside.state, v.found.get(place.name), other.found.vm_id
    if state == "":
        return NoteBeside(place.name, "Making")
    if other.protected and not v.confirmed:
        return None
    if state == "Going" or not other.made:
        return None if other.working else WithdrawOther(place.name, why_it_goes(place, old, new), v.confirmed)
    if new is None or not new.ours or new.deleting or place.mode is not Mode.RUNNING:
        return None
    if state == "Making":
        if new.ready:
            return NoteBeside(place.name, "Settling")
        return NoteBeside(place.name, "Going") if other.in_the_way else None
    if not old or not new.vm_id or (v.confirmed and remembered.beside.tries):
        return None if other.working else NoteBeside(place.name, "Going")
    if other.working or not other.both_run or v.now < remembered.beside.not_before:
        return None
    return CarryFiles(place.name, old, new.vm_id)


def why_it_goes(place: Place, old: str, new: Found | None) -> str:
    if new is not None and new.vm_id:
        return f"VM {new.vm_id} is the machine of node {place.name}"
    room = "there is no room for another machine beside it, and update.onNoRoom is InPlace"
    return f"the category of node {place.name} changed" + (f", {room}" if old else "")


def next_try(v: TreeSnapshot) -> float | None:
    """When files are brought over again that could not be."""
    times = [remembered.beside.not_before for _, remembered, _ in pairs(v) if v.now < remembered.beside.not_before]
    return min(times, default=None)


def stuck(v: TreeSnapshot) -> Iterator[tuple[TreeReason | Reason, str]]:
    """What a person has to do about a node whose category changed."""
    for place, remembered, other in pairs(v):
        name, vm_id = place.name, other.found.vm_id
        new = v.found.get(name)
        if other.protected and not v.confirmed and (new is None or new.ready or remembered.beside.state == "Going"):
            yield Reason.PROTECTED, f"VM {vm_id} of node {name} is protected from deletion; {CONFIRM} of the tree lets it go"
        elif remembered.beside.tries >= TRIES and remembered.beside.state == "Settling":
            yield (
                TreeReason.FILES_NOT_CARRIED,
                f"the files of VM {vm_id} can't be brought to the machine in its place, node {name}: {remembered.beside.trouble}; "
                f"{CONFIRM} of the tree lets it go without them",
            )


def held_changes(v: TreeSnapshot) -> list[str]:
    """Nodes whose category changed and for which nothing is begun yet, with the reason."""
    return [f"{place.name} ({why})" for place, remembered in changing(v) if (why := not_begun(v, remembered))]
