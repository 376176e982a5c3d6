"""The four kinds as whole documents: apiVersion, kind, metadata, spec, status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic import JsonValue as AnyJson

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.markers import Rule, Told
from reconciler.api.meta import Model, ObjectMeta
from reconciler.api.task import TaskSpec
from reconciler.api.vmtree import VMTreeSpec

_Version = Annotated[Literal["fleet.vers.sh/v1alpha1"], Field()]


class Document(Model):
    """What every document has. `status` may stand there (the output of `get`) and is not read."""

    api_version: _Version = "fleet.vers.sh/v1alpha1"
    """Group and version of this API."""
    metadata: ObjectMeta
    """Name, labels, annotations."""
    status: dict[str, AnyJson] | None = None
    """What was observed; written by the controller, never read from a declaration."""


class Lieutenant(Document):
    """One persistent agent: its machine, its session, its queue, its limits."""

    kind: Literal["Lieutenant"] = "Lieutenant"
    """`Lieutenant`."""
    spec: LieutenantSpec
    """What is wanted."""


class BootProfile(Document):
    """How a machine and its agent come to be."""

    kind: Literal["BootProfile"] = "BootProfile"
    """`BootProfile`."""
    spec: BootProfileSpec
    """What is wanted."""


class Task(Document):
    """One piece of work for one lieutenant."""

    kind: Literal["Task"] = "Task"
    """`Task`."""
    spec: TaskSpec
    """What is wanted."""


def _names_fit(model: Model) -> Iterator[Told]:
    assert isinstance(model, VMTree)
    for index, node in enumerate(model.spec.nodes):
        ordinal = "" if node.replicas is None else f"-{max(node.replicas - 1, 0)}"
        name = f"{model.metadata.name}-{node.name}{ordinal}"
        if len(name) > 52:
            yield ("spec", "nodes", index, "name"), f"{name!r} would be longer than 52 characters; shorten this name or the tree's"


class VMTree(Document):
    """A hierarchy of machines and lieutenants."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "TREE-NODE, with replicas TREE-NODE-ORDINAL, must have at most 52 characters; shorten the node's name or the tree's",
            "self.spec.nodes.all(n, size(self.metadata.name) + 1 + size(n.name)"
            " + (!has(n.replicas) ? 0 : n.replicas <= 10 ? 2 : n.replicas <= 100 ? 3 : 4) <= 52)",
            _names_fit,
            ".spec.nodes",
        ),
    )

    kind: Literal["VMTree"] = "VMTree"
    """`VMTree`."""
    spec: VMTreeSpec
    """What is wanted."""


Resource = Lieutenant | VMTree | BootProfile | Task
Spec = LieutenantSpec | VMTreeSpec | BootProfileSpec | TaskSpec
