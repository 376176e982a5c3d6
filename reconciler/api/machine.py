"""Machine: a node of a VMTree that has no agent. The controller makes it from the tree and keeps it in its store; nobody declares one."""

from __future__ import annotations

from reconciler.api.lieutenant import Lieutenant, LieutenantSpec


class MachineSpec(LieutenantSpec):
    """What is wanted of the machine; of a lieutenant's fields, those that concern its agent are left out."""


class Machine(Lieutenant):
    """One machine of a tree."""
