"""The kinds by every name they go by."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.resources import BootProfile, Lieutenant, Spec, Task, VMTree
from reconciler.api.task import TaskSpec
from reconciler.api.vmtree import VMTreeSpec


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column. `path`: JSONPath as Kubernetes writes it. `wide`: shown only with `-o wide`."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


def _condition(kind: str, part: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{part}'


READY = Column("Ready", _condition("Ready", "status"), "Whether the declared state is reached.")
REASON = Column("Reason", _condition("Ready", "reason"), "Why.")
MESSAGE = Column("Message", _condition("Ready", "message"), "Why, in words.", wide=True)
AGE = Column("Age", ".metadata.creationTimestamp", "Time since creation.", type="date")
MODE = Column("Mode", ".spec.mode", "What is wanted; empty: Running.", wide=True)
PHASE = Column("Phase", ".status.phase", "What it is doing; may gain values.")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its name, its document and spec models, what command lines and the cluster call it, and the finalizers that keep a
    deleted object until its outside is gone."""

    name: str
    singular: str
    plural: str
    short: str
    model: type[Lieutenant] | type[VMTree] | type[BootProfile] | type[Task]
    spec: type[Spec]
    columns: tuple[Column, ...]
    finalizers: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Every word for it on a command line, lower-case."""
        return (self.singular, self.plural, self.short)


KINDS: tuple[Kind, ...] = (
    Kind(
        "BootProfile",
        "bootprofile",
        "bootprofiles",
        "bp",
        BootProfile,
        BootProfileSpec,
        (READY, REASON, Column("Extends", ".spec.extends.name", "The profile it builds on."), MESSAGE, AGE),
    ),
    Kind(
        "VMTree",
        "vmtree",
        "vmtrees",
        "vmt",
        VMTree,
        VMTreeSpec,
        (READY, REASON, PHASE, MODE, MESSAGE, AGE),
    ),
    Kind(
        "Lieutenant",
        "lieutenant",
        "lieutenants",
        "lt",
        Lieutenant,
        LieutenantSpec,
        (
            READY,
            REASON,
            PHASE,
            MODE,
            Column("Profile", ".spec.profileRef.name", "Its BootProfile.", wide=True),
            Column("VM", ".status.vm.id", "Its machine.", wide=True),
            MESSAGE,
            AGE,
        ),
        ("fleet.vers.sh/vm",),
    ),
    Kind(
        "Task",
        "task",
        "tasks",
        "ltask",
        Task,
        TaskSpec,
        (READY, REASON, PHASE, Column("Lieutenant", ".spec.lieutenantRef.name", "Who does it.", wide=True), MESSAGE, AGE),
        ("fleet.vers.sh/task",),
    ),
)
"""In the order in which objects of one apply are taken up: profiles first, tasks last."""

BY_NAME = {kind.name: kind for kind in KINDS}


def finalizers_of(kind: str) -> tuple[str, ...]:
    """What keeps a deleted object of this kind until its outside is gone."""
    found = BY_NAME.get(kind)
    return found.finalizers if found is not None else ()


def kind_of(word: str) -> Kind | None:
    """The kind that a command line's word means: its name, plural or short name in any case; None when it means none."""
    lower = word.lower()
    return next((kind for kind in KINDS if lower in kind.words), None)
