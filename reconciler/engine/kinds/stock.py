"""The kinds that this release brings."""

from __future__ import annotations

from reconciler.engine.kinds.bootprofile import BOOT_PROFILE
from reconciler.engine.kinds.lieutenant import LIEUTENANT, TASK
from reconciler.engine.kinds.vmtree import VM_TREE
from reconciler.engine.registry import Registration

STOCK: tuple[Registration, ...] = (BOOT_PROFILE, VM_TREE, LIEUTENANT, TASK)
