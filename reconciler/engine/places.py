"""Where an agent lives: on a machine, or in a directory of its own on this host."""

from __future__ import annotations

from functools import lru_cache

from reconciler.core.profile.localize import in_tree, local_dir, tree_of
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.engine.ports import Machine, Place
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.objects import LieutenantItem


def place_of(item: LieutenantItem) -> Place:
    """Where its agent lives now: on its slot's VM, or in a directory of its own on this host."""
    return Place(local=item.uid) if item.record.local.state == "Home" else _vm(item.record.slot.vm_id)


@lru_cache(maxsize=1 << 14)  # asked for at every turn
def _vm(vm_id: str) -> Place:
    return Place(vm_id)


def machine_of(item: LieutenantItem) -> Machine:
    """Where its agent lives now, in its present epoch."""
    return Machine(place_of(item), item.record.slot.epoch)


def place_at(item: LieutenantItem, view: LieutenantView) -> Place:
    """The machine that this view is of: where the agent lives, or the VM that it will move to."""
    return Place(local=item.uid) if view.record.local.state == "Home" else _vm(item.record.slot.vm_id)


def machine_at(item: LieutenantItem, view: LieutenantView) -> Machine:
    """The place of `place_at`, in the present epoch."""
    return Machine(place_at(item, view), item.record.slot.epoch)


def here(settings: EngineSettings, item: LieutenantItem) -> bool:
    """Its directory, if it has one, is in our state directory."""
    return not item.record.local.state or item.record.local.host == settings.host


def tree_at(settings: EngineSettings, place: Place) -> str:
    """What stands in for `/` at this place; '' where `/` does."""
    return tree_of(local_dir(settings.local_root, place.local)) if place.local else ""


def path_at(settings: EngineSettings, place: Place, path: str) -> str:
    """A machine's path, as it is at this place."""
    return in_tree(tree_at(settings, place), path)
