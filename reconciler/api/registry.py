"""The kinds by every name they go by. The models of a kind are imported when they are asked for: many commands need only names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, cast, overload

if TYPE_CHECKING:
    from reconciler.api.resources import Resource, Spec
    from reconciler.api.status.base import Status


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column. `path`: JSONPath as Kubernetes writes it. `wide`: shown only with `-o wide`. `default`: what holds where the
    declaration says nothing."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False
    default: str = ""


def _condition(kind: str, part: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{part}'


READY = Column("Ready", _condition("Ready", "status"), "Whether the declared state is reached.")
REASON = Column("Reason", _condition("Ready", "reason"), "Why.")
MESSAGE = Column("Message", _condition("Ready", "message"), "Why, in words.", wide=True)
AGE = Column("Age", ".metadata.creationTimestamp", "Time since creation.", type="date")
MODE = Column("Mode", ".status.mode", "What is wanted; empty: Running.", wide=True, default="Running")
PHASE = Column("Phase", ".status.phase", "What it is doing; may gain values.")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its name, what command lines and the cluster call it, and the finalizers that keep a deleted object until its outside is
    gone. Its models are `NAME`, `NAMESpec` and `NAMEStatus` of `module`, by default the modules in this package and in `status` that are
    called like its `singular`."""

    name: str
    singular: str
    plural: str
    short: str
    columns: tuple[Column, ...]
    finalizers: tuple[str, ...] = ()
    module: str = ""

    @property
    def model(self) -> type[Resource]:
        """The model of its documents."""
        return cast("type[Resource]", getattr(self._module(), self.name))

    @property
    def spec(self) -> type[Spec]:
        """The model of what it declares."""
        return cast("type[Spec]", getattr(self._module(), f"{self.name}Spec"))

    @property
    def status(self) -> type[Status]:
        """The model of its status."""
        module = import_module(self.module or f"reconciler.api.status.{self.singular}")
        return cast("type[Status]", getattr(module, f"{self.name}Status"))

    def _module(self) -> ModuleType:
        return import_module(self.module or f"reconciler.api.{self.singular}")

    @property
    def words(self) -> tuple[str, ...]:
        """Every word for it on a command line, lower-case."""
        return (self.singular, self.plural, self.short)


STOCK: tuple[Kind, ...] = (
    Kind(
        "BootProfile",
        "bootprofile",
        "bootprofiles",
        "bp",
        (
            READY,
            REASON,
            Column("Extends", ".spec.extends.name", "The profile it builds on."),
            Column("Bake", ".status.bake.state", "Whether machines begin with its commit.", wide=True),
            Column("Warm", ".status.bake.warm", "How many machines are kept ready.", type="integer", wide=True),
            MESSAGE,
            AGE,
        ),
    ),
    Kind(
        "VMTree",
        "vmtree",
        "vmtrees",
        "vmt",
        (
            READY,
            REASON,
            PHASE,
            Column("Nodes", ".status.counts.nodes", "How many places it declares.", type="integer"),
            Column("Ready nodes", ".status.counts.ready", "How many of them are as declared.", type="integer", wide=True),
            MODE,
            MESSAGE,
            AGE,
        ),
        ("fleet.vers.sh/vmtree",),
    ),
    Kind(
        "Lieutenant",
        "lieutenant",
        "lieutenants",
        "lt",
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
        (READY, REASON, PHASE, Column("Lieutenant", ".spec.lieutenantRef.name", "Who does it.", wide=True), MESSAGE, AGE),
        ("fleet.vers.sh/task",),
    ),
)


INTERNAL: Mapping[str, Kind] = {"Machine": Kind("Machine", "machine", "machines", "machine", (), ("fleet.vers.sh/vm",))}
"""Kinds that nobody declares: what others make of their declarations, kept in the store only."""


class Kinds(Sequence[Kind]):
    """The kinds of this process, in the order in which objects of one apply are taken up: profiles first, tasks last, and those that were
    added after them."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.by_name = {kind.name: kind for kind in kinds}

    def add(self, kind: Kind) -> None:
        """From now on this kind is known. Raises `ValueError` when its name is taken."""
        if kind.name in self.by_name:
            raise ValueError(f"there is a kind {kind.name} already")
        self.by_name[kind.name] = kind

    def remove(self, name: str) -> None:
        self.by_name.pop(name, None)

    @overload
    def __getitem__(self, index: int) -> Kind: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Kind]: ...

    def __getitem__(self, index: int | slice) -> Kind | Sequence[Kind]:
        return list(self.by_name.values())[index]

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self.by_name.values()))

    def __len__(self) -> int:
        return len(self.by_name)


KINDS = Kinds(STOCK)
BY_NAME: Mapping[str, Kind] = KINDS.by_name


def finalizers_of(kind: str) -> tuple[str, ...]:
    """What keeps a deleted object of this kind until its outside is gone."""
    found = BY_NAME.get(kind) or INTERNAL.get(kind)
    return found.finalizers if found is not None else ()


def kind_of(word: str) -> Kind | None:
    """The kind that a command line's word means: its name, plural or short name in any case; None when it means none."""
    lower = word.lower()
    return next((kind for kind in KINDS if lower in kind.words), None)
