"""What `tree` shows: hierarchies as declared, with what status says of them, and the fleet that stands in none. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.parsing import load_spec
from reconciler.api.stock import stock_profiles
from reconciler.api.vmtree import Node, Origin, VMTreeSpec
from reconciler.core.keys import Json, JsonValue, Key, as_map, as_maps, short
from reconciler.core.profile.rendering import profile_chain
from reconciler.core.records import FINISHED
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.core.tree.owned import NODE, TREE
from reconciler.core.tree.places import below as nodes_below
from reconciler.engine.ports import StoredObject
from reconciler.errors import InvalidSpec, UsageError
from reconciler.views.documents import condition, ready_reason
from reconciler.views.nodes import tree_spec


@dataclass(frozen=True, slots=True)
class Branch:
    """One line: a name and what is known of it; and what stands under it."""

    name: str
    facts: tuple[str, ...] = ()
    below: tuple[Branch, ...] = ()


class Forest:
    """All objects of one namespace, as they hang together."""

    def __init__(self, objects: Sequence[StoredObject]) -> None:
        self._by_kind: dict[str, list[StoredObject]] = {}
        for obj in sorted(objects, key=lambda obj: obj.key):
            self._by_kind.setdefault(obj.key.kind, []).append(obj)
        self._tasks: dict[str, list[StoredObject]] = {}
        for task in sorted(self._of("Task"), key=lambda task: (task.created_at, task.key)):
            self._tasks.setdefault(_at(task.spec, "lieutenantRef", "name"), []).append(task)
        self._profiles = {obj.key.name: obj for obj in self._of("BootProfile")}
        self._specs: dict[Key, VMTreeSpec | None] = {}
        self._shapes: dict[str, tuple[str, ...]] = {}
        self._placed: dict[tuple[str, str, str], list[StoredObject]] = {}
        for obj in (*self._of("Lieutenant"), *self._of("Machine")):
            self._placed.setdefault((obj.key.kind, obj.labels.get(TREE, ""), obj.labels.get(NODE, "")), []).append(obj)

    def _spec(self, tree: StoredObject) -> VMTreeSpec | None:
        """What is declared of a tree, read once."""
        if tree.key not in self._specs:
            self._specs[tree.key] = tree_spec(tree)
        return self._specs[tree.key]

    def _of(self, kind: str) -> list[StoredObject]:
        return self._by_kind.get(kind, [])

    def whole(self) -> list[Branch]:
        """Every VMTree, then the lieutenants that stand in none."""
        trees = [self.tree(tree) for tree in self._of("VMTree")]
        owned = {obj.key for tree in self._of("VMTree") for obj in self.members(tree)}
        return trees + [self.lieutenant(obj) for obj in self._of("Lieutenant") if obj.key not in owned]

    def chosen(self, objects: Sequence[StoredObject]) -> list[Branch]:
        """These VMTrees and lieutenants; a lieutenant that stands in one of them is shown there."""
        trees = [obj for obj in objects if obj.key.kind == "VMTree"]
        inside = {obj.key for tree in trees for obj in self.members(tree)}
        alone = [obj for obj in objects if obj.key.kind == "Lieutenant" and obj.key not in inside]
        return [self.tree(tree) for tree in trees] + [self.lieutenant(obj) for obj in alone]

    def below(self, objects: Sequence[StoredObject]) -> list[StoredObject]:
        """These VMTrees and lieutenants and what stands below them, each once."""
        found = [
            one for obj in objects for one in (self.members(obj) if obj.key.kind == "VMTree" else [obj, *self._tasks.get(obj.key.name, [])])
        ]
        return list({obj.key: obj for obj in found}.values())

    def members(self, tree: StoredObject, node: str = "", above: bool = False) -> list[StoredObject]:
        """The tree, its lieutenants and their tasks; `node`: of this node and those below it; `above`: also of those above it. Raises
        `UsageError` when there is none."""
        spec = self._spec(tree)
        wanted = {node, *nodes_below(_parents(spec), node)} if spec and node else None
        if spec and wanted and above:
            wanted.update(_line(spec, node))
        if node:
            _must_have(tree, spec, node)
        nodes = [
            lieutenant for one in (spec.nodes if spec else ()) if wanted is None or one.name in wanted for lieutenant in self._on(tree, one)
        ]
        return [tree, *nodes, *(task for one in nodes for task in self._tasks.get(one.key.name, []))]

    def tree(self, tree: StoredObject, node: str = "", above: bool = False) -> Branch:
        """One hierarchy, from its roots or from this node on; `above`: with the nodes above that one, and nothing else of theirs. Raises
        `UsageError` when there is none of that name."""
        spec = self._spec(tree)
        if spec is None:
            return Branch(short(tree.key), (*_state(tree), "its spec is not valid"))
        if node:
            _must_have(tree, spec, node)
        below: dict[str | None, list[Node]] = {}
        for one in spec.nodes:
            below.setdefault(one.parent, []).append(one)
        top = node
        for upper in _line(spec, node) if node and above else ():
            below[upper] = [one for one in below[upper] if one.name == top]
            top = upper
        tops = [one for one in spec.nodes if one.name == top] if node else below.get(None, [])
        roots = tuple(self._node(tree, spec, one, below) for one in tops)
        return Branch(short(tree.key), (*_state(tree), *_why(tree), f"{len(spec.nodes)} nodes"), roots)

    def _node(self, tree: StoredObject, spec: VMTreeSpec, node: Node, below: Mapping[str | None, list[Node]]) -> Branch:
        mode = node.mode or spec.mode
        inherited = node.from_ is Origin.PARENT
        facts = [
            node.category.value,
            f"×{node.replicas}" if node.replicas is not None else "",
            mode.value,
            "a live branch of its parent" if inherited else "",
            "protected" if node.protected else "",
            *(self._made_of(node.profile_ref.name) if node.profile_ref else ()),
        ]
        lieutenants = [self.lieutenant(one) for one in self._on(tree, node)]
        if node.has_agent and not lieutenants:
            facts.append("no lieutenant yet")
        machines = [self.machine(one) for one in self._machines_on(tree, node)]
        children = [self._node(tree, spec, child, below) for child in below.get(node.name, ())]
        return Branch(node.name, tuple(part for part in facts if part), (*lieutenants, *machines, *children))

    def _machines_on(self, tree: StoredObject, node: Node) -> list[StoredObject]:
        """The machines of a node without an agent that are there."""
        return self._placed.get(("Machine", tree.key.name, node.name), [])

    def machine(self, obj: StoredObject) -> Branch:
        """A machine that a tree has itself."""
        return Branch(short(obj.key), (*_state(obj), *_why(obj)), tuple(self._machine(obj)))

    def _on(self, tree: StoredObject, node: Node) -> list[StoredObject]:
        """The lieutenants of a node that are there."""
        return self._placed.get(("Lieutenant", tree.key.name, node.name), [])

    def lieutenant(self, obj: StoredObject) -> Branch:
        """An agent, its machine and its work: tasks that are not over by name, the others counted."""
        profile = _at(obj.spec, "profileRef", "name")
        below = [*self._machine(obj), *_work(self._tasks.get(obj.key.name, []))]
        mode = _at(obj.spec, "mode") or str(LieutenantSpec.model_fields["mode"].default)
        return Branch(short(obj.key), (*_state(obj), mode, *_why(obj), f"profile {profile}"), tuple(below))

    def _machine(self, obj: StoredObject) -> Iterator[Branch]:
        if _at(obj.status, "local", "state") == "Home":
            yield Branch("on the controller's host", ())
        vm = _at(obj.status, "vm", "id")
        if vm:
            yield Branch(f"vm/{vm}", (_at(obj.status, "vm", "state") or "unknown", *_verified(obj.status)))
        elif not _at(obj.status, "local", "state"):
            yield Branch("no machine", self._made_of(_at(obj.spec, "profileRef", "name"))[1:])

    def _made_of(self, name: str) -> tuple[str, ...]:
        """The profile, and which organs and capabilities it and what it extends declare."""
        if name not in self._shapes:
            self._shapes[name] = tuple(self._shape(name))
        return self._shapes[name]

    def _shape(self, name: str) -> Iterator[str]:
        yield f"profile {name}"
        chain = profile_chain(name, self._profile)
        if isinstance(chain, Unresolved):
            yield f"({chain.reason})"
            return
        for title in ("organs", "capabilities"):
            found = dict.fromkeys(one for spec in chain for one in (spec.organs if title == "organs" else spec.capabilities))
            if found:
                yield f"{title} {', '.join(found)}"

    def _profile(self, name: str) -> BootProfileSpec | None:
        declared = self._profiles.get(name)
        if declared is None:
            stock = stock_profiles().get(name)
            return stock.spec if stock is not None else None
        try:
            spec = load_spec("BootProfile", declared.spec, tolerant=True)
        except InvalidSpec:
            return None
        assert isinstance(spec, BootProfileSpec)
        return spec


def _parents(spec: VMTreeSpec) -> dict[str, str]:
    return {node.name: node.parent or "" for node in spec.nodes}


def _line(spec: VMTreeSpec, node: str) -> Iterator[str]:
    """The nodes above this one, the nearest first; a spec that is read has no ring."""
    parents = _parents(spec)
    at = parents.get(node, "")
    while at:
        yield at
        at = parents.get(at, "")


def _must_have(tree: StoredObject, spec: VMTreeSpec | None, node: str) -> None:
    known = [one.name for one in spec.nodes] if spec else []
    if node not in known:
        raise UsageError(f"{short(tree.key)} has no node {node!r}", f"--node {node}", f"use one of {', '.join(known)}")


def _at(doc: JsonValue, *names: str) -> str:
    """The text under these names, '' where there is none. A tree asks for many, and each asks for the path of a field only."""
    for name in names:
        doc = doc.get(name) if isinstance(doc, dict) else None
    return doc if isinstance(doc, str) else ""


def _state(obj: StoredObject) -> tuple[str, ...]:
    """The phase and whether what is declared is reached; as `get` has it."""
    ready = condition(obj.status, "Ready")
    if not ready:
        return ("not looked at yet",)
    if obj.status.get("observedGeneration") != obj.generation:
        return (_at(obj.status, "phase"), "changed since it was looked at")
    state = "Ready" if ready.get("status") == "True" else f"not Ready: {ready.get('reason', '')}"
    return tuple(part for part in (_at(obj.status, "phase"), state) if part)


def _why(obj: StoredObject) -> tuple[str, ...]:
    """In words, where a person has to do something."""
    stalled = condition(obj.status, "Stalled")
    return (str(stalled.get("message", "")),) if stalled.get("status") == "True" else ()


def _verified(status: Json) -> Iterator[str]:
    """Organs and capabilities as the machine itself was found to have them."""
    boot = as_map(status.get("boot"))
    for title in ("organs", "capabilities"):
        if found := as_maps(boot.get(title)):
            yield f"{title} " + ", ".join(f"{one.get('name', '')} ({one.get('state', '')})" for one in found)


def _work(tasks: Sequence[StoredObject]) -> Iterator[Branch]:
    over: Counter[str] = Counter()
    for task in tasks:
        phase = _at(task.status, "phase") or "Pending"
        if phase in FINISHED:
            over[phase] += 1
        else:
            reason = ready_reason(task.status)
            yield Branch(short(task.key), (phase, *([reason] if reason and reason != phase else [])))
    if over:
        yield Branch("tasks that are over", tuple(f"{count} {phase}" for phase, count in sorted(over.items())))
