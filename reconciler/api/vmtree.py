"""VMTree: a hierarchy of machines and lieutenants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reconciler.api.document import Document
from reconciler.api.lieutenant import AgentSettings, BindCreated, Budget, Snapshots, Update
from reconciler.api.markers import Judged, ListMap, Rule, Told, Transition, immutable, presence_immutable
from reconciler.api.meta import Choice, DeletionPolicy, Items, Mode, Model, Name, Prose, Ref, Resources


class Category(Choice):
    """What a node is for. `Lieutenant`, `Agent` and `Swarm` nodes have an agent, `Infra` and `Resource` nodes have none."""

    INFRA = "Infra"
    LIEUTENANT = "Lieutenant"
    AGENT = "Agent"
    SWARM = "Swarm"
    RESOURCE = "Resource"


class Origin(Choice):
    """What a node's machine starts from."""

    PROFILE = "Profile"
    PARENT = "Parent"


class LieutenantTemplate(AgentSettings):
    """The lieutenant of an agent node; the tree gives it its name, profile, mode and source."""

    role: Prose | None = None
    """Who this agent is; unset: the node's name and category."""


def _branch_has_parent(model: Judged) -> Iterator[Told]:
    assert isinstance(model, Node)
    if model.from_ is Origin.PARENT and model.parent is None:
        yield ("from",), "`from: Parent` needs a parent; add `parent: NODE` or remove `from`"


def _node_has_profile(model: Judged) -> Iterator[Told]:
    assert isinstance(model, Node)
    if model.from_ is Origin.PROFILE and model.profile_ref is None:
        yield ("profileRef",), "required unless `from: Parent`; add `profileRef: {name: ...}`"


def _node_is_not_its_parent(model: Judged) -> Iterator[Told]:
    assert isinstance(model, Node)
    if model.parent == model.name:
        yield ("parent",), f"{model.name!r} cannot be its own parent (a cycle); name another node or remove `parent`"


def _node_may_have_agent(model: Judged) -> Iterator[Told]:
    assert isinstance(model, Node)
    if model.lieutenant is not None and not model.has_agent:
        yield ("lieutenant",), f"a node of category {model.category} has no agent; remove `lieutenant` or change the category"


ADOPTS_ONE = "takes over one machine that exists; remove `adopt`, or `replicas` and `from: Parent`"


def _adopts_one(model: Judged) -> Iterator[Told]:
    assert isinstance(model, Node)
    if model.adopt is not None and (model.replicas is not None or model.from_ is Origin.PARENT):
        yield ("adopt",), ADOPTS_ONE


class Node(Model):
    """One place in the tree (several, with `replicas`)."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "`from: Parent` needs a parent; add `parent: NODE` or remove `from`",
            "!has(self.from) || self.from != 'Parent' || has(self.parent)",
            _branch_has_parent,
            ".from",
        ),
        Rule(
            "required unless `from: Parent`; add `profileRef: {name: ...}`",
            "has(self.profileRef) || (has(self.from) && self.from == 'Parent')",
            _node_has_profile,
            ".profileRef",
        ),
        Rule(
            "a node cannot be its own parent; name another node or remove `parent`",
            "!has(self.parent) || self.parent != self.name",
            _node_is_not_its_parent,
            ".parent",
        ),
        Rule(
            "a node of category Infra or Resource has no agent; remove `lieutenant` or change the category",
            "!has(self.lieutenant) || !(self.category in ['Infra', 'Resource'])",
            _node_may_have_agent,
            ".lieutenant",
        ),
        Rule(
            ADOPTS_ONE,
            "!has(self.adopt) || !(has(self.replicas) || (has(self.from) && self.from == 'Parent'))",
            _adopts_one,
            ".adopt",
        ),
    )
    transitions: ClassVar[tuple[Transition, ...]] = (presence_immutable("replicas"), *immutable("adopt"))

    name: Name
    """Unique within the tree; lieutenants are called TREE-NODE, with replicas TREE-NODE-ORDINAL."""
    category: Category
    """What it is for."""
    parent: Name | None = None
    """The node above; unset: a root."""
    from_: Origin = Field(default=Origin.PROFILE, alias="from")
    """`Profile`: made from its profile. `Parent`: a live branch of its parent, with the same disk and memory."""
    profile_ref: Ref | None = None
    """The BootProfile; required unless `from: Parent`."""
    adopt: BindCreated | None = None
    """Take over this VM instead of making one; not with `replicas` or `from: Parent`. Immutable."""
    replicas: Annotated[int, Field(ge=0, le=500)] | None = None
    """How many; unset: one, without an ordinal in its name. Whether it is set is immutable."""
    mode: Mode | None = None
    """Beats the tree's `mode`."""
    protected: bool = False
    """Never deleted by cascade, prune or collection."""
    resources: Resources = Resources()
    """Size of the machine, over the profile's."""
    update: Update = Update()
    """How a changed profile reaches its machine; what `lieutenant.update` says beats it."""
    lieutenant: LieutenantTemplate | None = None
    """The agent of a Lieutenant, Agent or Swarm node."""

    @property
    def has_agent(self) -> bool:
        """Whether the tree makes a Lieutenant for it (design §3)."""
        return self.category not in (Category.INFRA, Category.RESOURCE)


class TreeLimits(Model):
    """Limits that hold at every moment."""

    max_vms: Annotated[int, Field(ge=1, le=10_000)] | None = Field(default=None, alias="maxVMs")
    """Most VMs of the tree; unset: no limit."""
    max_depth: Annotated[int, Field(ge=1, le=500)] | None = None
    """Most levels; unset: no limit."""
    max_children: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Most children of one node, replicas counted; unset: no limit."""
    max_concurrent_creates: Annotated[int, Field(ge=1, le=1000)] = 2
    """Most machines being made at once."""
    max_working: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Most agents at work at once; the tasks of others wait. Unset: no limit."""


class OnNodeRemoved(Choice):
    """What becomes of what stood below a removed node."""

    REFUSE = "Refuse"
    CASCADE = "Cascade"
    REPARENT = "Reparent"
    ORPHAN = "Orphan"


class Reach(Choice):
    """How far suspending a node goes."""

    CASCADE = "Cascade"
    NODE_ONLY = "NodeOnly"


class Order(Choice):
    """In which order nodes are taken down."""

    LEAVES_FIRST = "LeavesFirst"


class TreePolicy(Model):
    """What happens to the rest when something happens to a node."""

    on_node_removed: OnNodeRemoved = OnNodeRemoved.REFUSE
    """Children of a removed node: `Refuse` the removal, delete them too, hang them one level up, or let them go."""
    suspend: Reach = Reach.CASCADE
    """Whether suspending a node suspends what stands below it."""
    order: Order = Order.LEAVES_FIRST
    """Order of deletion and suspension."""


class Strategy(Model):
    """How changes roll through the tree."""

    max_unavailable: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Most nodes that are down for a change at once."""


def _graph(model: Judged) -> Iterator[Told]:
    assert isinstance(model, VMTreeSpec)
    parents = {node.name: node.parent for node in model.nodes}
    ghosts = False
    for index, node in enumerate(model.nodes):
        if node.parent is not None and node.parent not in parents:
            ghosts = True
            yield ("nodes", index, "parent"), f"no node is called {node.parent!r}; add it or name one of the tree's nodes"
    if not ghosts and (ring := cycle(parents)):
        yield ("nodes",), f"a cycle: {' -> '.join([*ring, ring[0]])}; a tree needs a root, remove one `parent`"


def cycle(parents: dict[str, str | None]) -> list[str]:
    """The first ring of parents, each name followed by its parent; [] when there is none. Unknown parents end a walk."""
    good: set[str] = set()
    for start in parents:
        walked: list[str] = []
        seen: set[str] = set()
        at: str | None = start
        while at is not None and at not in good:
            if at in seen:
                return walked[walked.index(at) :]
            walked.append(at)
            seen.add(at)
            at = parents.get(at)
        good |= seen
    return []


class VMTreeSpec(Model):
    """What the hierarchy should be."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "every `parent` must be the name of a node of the tree; `reconciler validate FILE` says which one is not",
            # The list of one list gives the names a name: `exists` in `all` costs more than a server allows for 500 nodes.
            "[self.nodes.map(m, m.name)].all(names, self.nodes.all(n, !has(n.parent) || n.parent in names))",
            _graph,
            ".nodes",
        ),
    )

    nodes: Annotated[Items[Node], Field(min_length=1, max_length=500), ListMap("name")]
    """The places, as a flat list in which each names its parent."""
    mode: Mode = Mode.RUNNING
    """For all nodes that do not say otherwise."""
    limits: TreeLimits = TreeLimits()
    """Limits."""
    policy: TreePolicy = TreePolicy()
    """Consequences."""
    strategy: Strategy = Strategy()
    """Changes."""
    snapshots: Snapshots | None = None
    """Commits of all machines; unset: none."""
    budget: Budget | None = None
    """Money, tokens and machine hours of the whole tree; unset: no limit."""
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    """What becomes of the VMs."""


def _names_fit(model: Judged) -> Iterator[Told]:
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
