"""The kinds that this release brings. Their plug-ins are imported when an engine is made: whoever only reads or declares objects needs
none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.keys import Json, Key, lieutenant
from reconciler.core.records import LieutenantRecord, TaskRecord
from reconciler.core.treerecords import BootProfileRecord, TreeRecord
from reconciler.engine.registry import AnyKind, Registration

if TYPE_CHECKING:
    from reconciler.engine.act.context import ActContext


def _boot_profile(context: ActContext) -> AnyKind:
    from reconciler.engine.kinds.bootprofile import BootProfileKind

    return BootProfileKind(context)


def _vm_tree(context: ActContext) -> AnyKind:
    from reconciler.engine.kinds.vmtree import VMTreeKind

    return VMTreeKind(context)


def _lieutenant(context: ActContext) -> AnyKind:
    from reconciler.engine.kinds.lieutenant import LieutenantKind

    return LieutenantKind(context)


def _machine(context: ActContext) -> AnyKind:
    from reconciler.engine.kinds.machine import MachineKind

    return MachineKind(context)


def its_lieutenant(key: Key, spec: Json) -> Key:
    """A task belongs to the work set of its lieutenant."""
    ref = spec.get("lieutenantRef")
    return lieutenant(key.namespace, str(ref.get("name", "")) if isinstance(ref, dict) else "")


STOCK: tuple[Registration, ...] = (
    Registration("BootProfile", _boot_profile, record=BootProfileRecord),
    Registration("VMTree", _vm_tree, record=TreeRecord),
    Registration("Machine", _machine, record=LieutenantRecord),
    Registration("Lieutenant", _lieutenant, record=LieutenantRecord),
    Registration("Task", reconciled_as=its_lieutenant, record=TaskRecord),
)
