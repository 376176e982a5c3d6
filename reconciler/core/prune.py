"""What may be deleted for being absent from where it was declared (design §8.1, G-43). Pure: absences in, deletions or reasons out.

A *removal* is a deletion that a source's silence asks for: of a whole object, or of nodes and replicas of a tree that is still declared.
It is carried out only when the stack is marked and says `prune`, all of it could be read, it was absent in clean looks at least
`APART` seconds apart, it is not protected, no more go than `maxDelete` allows, and the stack was not emptied. Otherwise it is *blocked*
under a hash that a person may approve."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.api.meta import Model
from reconciler.api.vmtree import Node, VMTreeSpec
from reconciler.core.keys import Key, short

APART = 10.0
"""Seconds that must lie between the first clean look that did not find something and the one after which it is deleted."""
SHARE = 5
"""Without `maxDelete` one part in so many of a stack may go at once, and always one."""
NAMED = 10
"""Removals that a message names; of the others it says how many there are."""


@dataclass(frozen=True, slots=True, order=True)
class Removal:
    """One deletion that is asked for. `part`: of a tree that is still declared, what of it goes; '' for the whole object. `uid`,
    `generation`: which object, as it is in force. `machines`: how many deletions it counts for."""

    key: Key
    part: str = ""
    uid: str = ""
    generation: int = 0
    machines: int = 1
    protected: bool = False

    def __str__(self) -> str:
        name = short(self.key) if self.key.namespace == "default" else f"{self.key.namespace}/{short(self.key)}"
        return f"{name} {self.part}".rstrip() + (" (protected)" if self.protected else "")


@dataclass(frozen=True, slots=True)
class StackState:
    """A stack at one look. `id`: its uuid, '' for all that stands in no stack; `root`: as people name it. `prune`, `max_delete`,
    `allow_empty`: its policy. `unclear`: why an absence proves nothing now, '' when all of it was read. `declared`: objects that it
    declares; `known`: what is in force of it, counted in machines. `removals`: what is not declared any more. `stamp`: another one says
    that it was written since."""

    id: str
    root: str
    prune: bool = False
    max_delete: int | None = None
    allow_empty: bool = False
    unclear: str = ""
    declared: int = 0
    known: int = 0
    removals: tuple[Removal, ...] = ()
    stamp: str = ""

    @property
    def most(self) -> int:
        """Deletions that need no person."""
        return self.max_delete if self.max_delete is not None else max(1, self.known // SHARE)


@dataclass(frozen=True, slots=True)
class Blocked:
    """Removals that need a person. `hash`: names exactly these, '' while nothing can be approved."""

    stack: str
    root: str
    removals: tuple[Removal, ...]
    why: str
    hash: str

    @property
    def message(self) -> str:
        """What is kept, why, and what a person can do."""
        many = sum(one.machines for one in self.removals)
        of = f" of stack {self.root}" if self.root else ""
        return f"{many} deletion{'s wait' if many != 1 else ' waits'}{of}: {self.why}: {some(self.removals)}; {self.remedy}"

    def held(self, one: Removal) -> str:
        """Why this one of them is kept, and what a person can do."""
        what = f"{one.part} is" if one.part else "it is"
        return f"{what} not declared any more{f' in stack {self.root}' if self.root else ''}, and kept: {self.why}; {self.remedy}"

    @property
    def remedy(self) -> str:
        if not self.hash:
            return "they are looked at again when that is mended"
        return f"put them back, or `reconciler prune --approve {self.hash}` deletes exactly these"


@dataclass(frozen=True, slots=True)
class Pruning:
    """What follows for one stack. `due`: deleted now; `blocked`: kept until a person acts, None when nothing is; `wait`: seconds until what
    is absent has been so for long enough, None when nothing waits for that. `approval`: the hash under which a person approved `due`."""

    stack: StackState
    due: tuple[Removal, ...] = ()
    blocked: Blocked | None = None
    wait: float | None = None
    approval: str = ""


def some(removals: Iterable[Removal]) -> str:
    """The first few of them, and how many more there are."""
    names = [str(one) for one in sorted(removals)]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def digest(stack: str, removals: Iterable[Removal]) -> str:
    """Names exactly these removals, of these objects as they are in force."""
    told = hashlib.sha256(stack.encode())
    for one in sorted(removals):
        told.update(f"\n{one.key}|{one.part}|{one.uid}|{one.generation}|{one.machines}".encode())
    return told.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Absence:
    """Since when something is absent, from a stack that was not written since: `stamp`."""

    since: float
    stamp: str = ""


def absences(before: Mapping[Removal, Absence], stacks: Iterable[StackState], now: float) -> dict[Removal, Absence]:
    """Since when each removal is absent without a break: a look that found it, that could not read all of its stack, or that found the
    stack written anew begins anew."""
    found: dict[Removal, Absence] = {}
    for stack in stacks:
        for one in () if stack.unclear else stack.removals:
            known = before.get(one)
            found[one] = known if known is not None and known.stamp == stack.stamp else Absence(now, stack.stamp)
    return found


def prune(stack: StackState, since: Mapping[Removal, Absence], now: float, approved: Iterable[str] = ()) -> Pruning:
    """What of this stack is deleted now and what is blocked. `since`: see `absences`; `approved`: hashes that a person approved."""
    if not stack.removals:
        return Pruning(stack)
    if stack.unclear:
        return Pruning(stack, blocked=Blocked(stack.id, stack.root, stack.removals, stack.unclear, ""))
    latest = max(since[one].since if one in since else now for one in stack.removals)
    if now - latest < APART:
        return Pruning(stack, wait=APART - (now - latest))
    free = tuple(one for one in stack.removals if not one.protected)
    kept = stack.removals
    why = _refusal(stack, free)
    if not why:
        kept = tuple(one for one in stack.removals if one.protected)
        why = "it is protected" if len(kept) == 1 else "they are protected"
    if not kept:
        return Pruning(stack, due=free)
    name = digest(stack.id, kept)
    if name in set(approved):
        return Pruning(stack, due=stack.removals, approval=name)
    due = tuple(one for one in stack.removals if one not in kept)
    return Pruning(stack, due=due, blocked=Blocked(stack.id, stack.root, kept, why, name))


def to_come(prunings: Iterable[Pruning], approved: Collection[str] = ()) -> tuple[Pruning, ...]:
    """What these leave for later: what is absent as if it had been so for long enough, and without the deletions that are `due`."""
    return tuple(replace(one, due=()) if one.wait is None else _if_it_stays(one.stack, approved) for one in prunings)


def _if_it_stays(stack: StackState, approved: Collection[str]) -> Pruning:
    return prune(stack, dict.fromkeys(stack.removals, Absence(float("-inf"))), 0.0, approved)


def _refusal(stack: StackState, free: tuple[Removal, ...]) -> str:
    """Why nothing of this stack goes without a person; '' when that is allowed."""
    if not stack.id:
        return "no `.reconciler.yaml` says that anything may be deleted there"
    if not stack.prune:
        return "`prune` is not true in its `.reconciler.yaml`"
    if not stack.declared and not stack.allow_empty:
        return "it declares nothing any more, and `allowEmpty` is not true"
    many = sum(one.machines for one in free)
    if many > stack.most:
        how = "`maxDelete`" if stack.max_delete is not None else "`maxDelete`, a fifth where it is not set,"
        return f"{how} allows {stack.most} at once"
    return ""


# --- trees --------------------------------------------------------------------------------------------------------------------


def machines(spec: Model) -> int:
    """How many deletions the deletion of an object counts for: a tree is as many as it has places, and at least one."""
    return max(1, sum(_places(node) for node in spec.nodes)) if isinstance(spec, VMTreeSpec) else 1


def parts(before: Model, after: Model) -> tuple[tuple[str, int, bool], ...]:
    """What of a tree goes when it is declared anew: in words, how many machines, and whether it is protected. Nothing of anything else."""
    if not isinstance(before, VMTreeSpec) or not isinstance(after, VMTreeSpec):
        return ()
    now = {node.name: node for node in after.nodes}
    found: list[tuple[str, int, bool]] = []
    for node in before.nodes:
        then = now.get(node.name)
        if then is None or then.has_agent is not node.has_agent:
            if _places(node):
                found.append((_whole(node, then), _places(node), node.protected))
        elif _places(then) < _places(node):
            words = f"replicas of {node.name} from {_places(node)} to {_places(then)}"
            found.append((words, _places(node) - _places(then), node.protected))
    return tuple(found)


def _whole(node: Node, then: Node | None) -> str:
    """All that a node had: it is gone, or it has an agent from here on, or none any more."""
    if then is None:
        return f"node {node.name}"
    return f"agent of node {node.name}" if node.has_agent else f"machine without an agent of node {node.name}"


def _places(node: Node) -> int:
    return 1 if node.replicas is None else node.replicas
