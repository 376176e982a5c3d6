"""What files and repositories have declared, as it is in force: the store's own rows, by stack. From it and a new look follows what is not
declared any more (`core.prune` decides what becomes of that)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from reconciler.api.annotations import PROTECTION
from reconciler.api.parsing import load_spec
from reconciler.api.registry import KINDS
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.keys import Key
from reconciler.core.prune import Removal, StackState, machines, parts
from reconciler.core.tree.places import protected_nodes
from reconciler.engine.state.objects import AnyItem
from reconciler.engine.view import ObjectReader
from reconciler.sources.files.scan import COMMITTED, SOURCE, FileDeclared, Scan

SOURCES = (SOURCE, COMMITTED)
"""What an inventory is kept of."""


Items = Mapping[Key, AnyItem]
"""Objects as they are at one moment: they may be looked through elsewhere while the table goes on."""


def items_of(table: ObjectReader) -> Items:
    """All of them, as they are now."""
    return {key: item for key in table.all_keys() if (item := table.get(key)) is not None}


def in_force(items: Items) -> Iterable[AnyItem]:
    """Every object that a file or a repository declared, unless its deletion was asked for; by kind, as kinds depend on each other."""
    order = {kind.name: number for number, kind in enumerate(KINDS)}
    found = [item for item in items.values() if item.obj.source in SOURCES and not item.deleting]
    return sorted(found, key=lambda item: order.get(item.key.kind, len(order)))


def states(found: Scan, items: Items) -> list[StackState]:
    """Every stack that was read, and what stands in none, with what is in force of it and not declared any more. Objects that stand in no
    stack are only told of: of those trees alone, which lose nodes, are removals."""
    known: defaultdict[str, list[AnyItem]] = defaultdict(list)
    for item in in_force(items):
        known[item.obj.source_id].append(item)
    declared: defaultdict[str, list[FileDeclared]] = defaultdict(list)
    for one in found.objects:
        declared[one.source_id].append(one)
    there = {one.key for one in found.objects} | set(found.flawed)
    made = []
    for stack in {stack.policy.uuid: stack for stack in found.stacks}.values():
        policy = stack.policy
        state = StackState(
            id=policy.uuid,
            root=stack.root,
            prune=policy.prune,
            max_delete=policy.max_delete,
            allow_empty=policy.allow_empty,
            unclear=found.unclear.get(policy.uuid, ""),
            declared=len(declared[policy.uuid]),
            known=sum(machines(item.spec) for item in known[policy.uuid]),
            removals=(*_absent(known[policy.uuid], there), *_shrunk(declared[policy.uuid], items)),
            stamp=found.stamps.get(policy.uuid, ""),
        )
        made.append(state)
    loose = _shrunk(declared[""], items)
    unclear, stamp = found.unclear.get("", ""), found.stamps.get("", "")
    made.append(StackState("", "", unclear=unclear, declared=len(declared[""]), removals=loose, stamp=stamp))
    return made


def _absent(known: Sequence[AnyItem], there: set[Key]) -> tuple[Removal, ...]:
    return tuple(
        Removal(item.key, "", item.uid, item.obj.generation, machines(item.spec), _protected(item))
        for item in known
        if item.key not in there
    )


def _protected(item: AnyItem) -> bool:
    """As it was declared last, also when that is gone."""
    return item.obj.annotations.get(PROTECTION) == "enabled" or bool(protected_nodes(item.spec))


def _shrunk(declared: Iterable[FileDeclared], items: Items) -> tuple[Removal, ...]:
    """Nodes and replicas that are gone from trees that are still declared."""
    found: list[Removal] = []
    for one in declared:
        item = items.get(one.key)
        if item is None or item.deleting or not isinstance(item.spec, VMTreeSpec) or item.obj.spec == one.spec:
            continue
        lost = parts(item.spec, load_spec(one.key.kind, one.spec, tolerant=True))
        found += [Removal(one.key, part, item.uid, item.obj.generation, many, guarded) for part, many, guarded in lost]
    return tuple(found)
