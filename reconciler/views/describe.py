"""Everything about one object, for people: what was declared, what its status says, its work and what happened to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.parsing import load_spec
from reconciler.api.status.base import Status
from reconciler.api.status.vmtree import VMTreeStatus
from reconciler.api.stock import stock_profiles
from reconciler.core.keys import Json
from reconciler.core.snapshot.vm import VmMetadata
from reconciler.core.spending.books import Books
from reconciler.core.spending.pool import words_of
from reconciler.core.spending.window import begins
from reconciler.core.times import timestamp
from reconciler.engine.ports import Event, Store, StoredObject
from reconciler.views.conversation import is_for, last_said
from reconciler.views.documents import Table, age, labels_of, ready_reason, stock_spec, text_at
from reconciler.views.nodes import limit_table, node_table, tree_spec
from reconciler.views.profiles import resolved
from reconciler.views.repositories import signatures
from reconciler.views.spent import spent_since, usage_table
from reconciler.visible import one_line

EVENTS = 20
"""How many events are shown, the newest."""
LAST_OUTPUT = 2000
"""How many characters are shown of what the agent said last."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part with a title. `body`: rows, a piece of the object itself, or text."""

    title: str
    body: Table | Json | str


@dataclass(frozen=True, slots=True)
class Description:
    """`fields`: titles and values that fit on one line each; then the longer parts, in the order in which they are shown."""

    fields: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


async def describe(store: Store, obj: StoredObject, now: float, books: Books | None = None) -> Description:
    """The description of an object of this store. `now`: what its age is reckoned from; `books`: what was spent, None where that is not
    known. Raises what the store raises."""
    tasks: list[StoredObject] = []
    said = ""
    if obj.key.kind == "Lieutenant":
        tasks = [task for task in await store.objects("Task", obj.key.namespace) if is_for(task, obj.key)]
        said = await last_said(store, obj, tasks)
    signed = (await signatures(store, [obj])).get(obj.source_commit, "")
    found = description(obj, tasks, said, await store.events(obj.key, limit=EVENTS), now, signed)
    if obj.key.kind == "Lieutenant" and books is not None:
        return replace(found, sections=(*found.sections[:-1], *_usage(obj, books), found.sections[-1]))
    if obj.key.kind != "BootProfile":
        return found
    specs, origins = await profiles_of(store, obj.key.namespace)
    return replace(found, sections=(*found.sections[:1], Section("Comes to", resolved(obj.key.name, specs, origins)), *found.sections[1:]))


def _usage(obj: StoredObject, books: Books) -> Iterator[Section]:
    """What it spent, and of its own budget how much."""
    yield Section("Usage", usage_table(books, obj.key.namespace, obj.key.name))
    spec = load_spec(obj.key.kind, obj.spec, tolerant=True)
    if isinstance(spec, LieutenantSpec) and spec.budget is not None:
        spent = spent_since(books, obj.key.namespace, obj.key.name, begins(spec.budget, books.now))
        yield Section("Budget", f"used in its window: {words_of(spec.budget, spent)}")


async def profiles_of(store: Store, namespace: str) -> tuple[dict[str, Json], dict[str, str]]:
    """The specs of all boot profiles that can be used in a namespace, and where each is declared."""
    specs = {name: stock_spec(profile) for name, profile in stock_profiles().items()}
    origins = dict.fromkeys(specs, "this release")
    for obj in await store.objects("BootProfile", namespace):
        specs[obj.key.name], origins[obj.key.name] = obj.spec, obj.origin or obj.source
    return specs, origins


def stock(name: str) -> Description | None:
    """The description of a boot profile that this release brings, None when there is none of that name."""
    found = stock_profiles().get(name)
    if found is None:
        return None
    spec = stock_spec(found)
    by = "this release; a BootProfile of this name takes its place in its namespace"
    return Description((("Name", name), ("Kind", "BootProfile"), ("Declared by", by)), (Section("Spec", spec),))


def description(
    obj: StoredObject, tasks: Sequence[StoredObject], said: str, events: Sequence[Event], now: float, signed: str = ""
) -> Description:
    """`tasks`: of a lieutenant; `said`: the last text of its agent; `events`: the newest, oldest first; `signed`: what git said of the key
    that signed its commit, '' where that is not known."""
    fields = tuple((title, one_line(value)) for title, value in _fields(obj, now, signed) if value)
    return Description(fields, tuple(_sections(obj, tasks, said, events)))


def _fields(obj: StoredObject, now: float, signed: str) -> Iterator[tuple[str, str]]:
    created = timestamp(obj.created_at)
    yield "Name", obj.key.name
    yield "Namespace", obj.key.namespace
    yield "Kind", obj.key.kind
    yield "UID", obj.uid
    commit = f", commit {obj.source_commit}" + (f" ({signed})" if signed else "") if obj.source_commit else ""
    yield "Declared by", f"{obj.source} {obj.origin}".strip() + commit
    yield "Generation", str(obj.generation)
    yield "Created", f"{created} ({age(created, now)} ago)"
    yield "Deleting since", timestamp(obj.deleted_at) if obj.deleted_at is not None else ""
    yield "Labels", ", ".join(f"{name}={value}" for name, value in obj.labels.items())
    yield "Annotations", ", ".join(f"{name}={value}" for name, value in obj.annotations.items())
    yield "Phase", text_at(obj.status, ".phase")


def _sections(obj: StoredObject, tasks: Sequence[StoredObject], said: str, events: Sequence[Event]) -> Iterator[Section]:
    yield Section("Spec", obj.spec)
    yield Section("Conditions", _conditions(obj.status) or "none yet: no controller has looked at it")
    told_of = {"conditions", "phase", "observedGeneration"}
    if obj.key.kind == "VMTree":
        told_of |= {"nodes", "counts"}
        yield from _of_a_tree(obj)
    rest: Json = {name: value for name, value in obj.status.items() if name not in told_of}
    if rest:
        yield Section("Status", rest)
    if tasks:
        rows = ((task.key.name, text_at(task.status, ".phase") or "Pending", ready_reason(task.status)) for task in tasks)
        yield Section("Tasks", Table(("NAME", "PHASE", "REASON"), tuple(rows)))
    if said:
        yield Section("Last output", said[-LAST_OUTPUT:])
    yield Section("Events", _events(events) or "none")


def _of_a_tree(obj: StoredObject) -> Iterator[Section]:
    """Its nodes, how many of them there are, and how far that is from its limits."""
    status = VMTreeStatus.load(obj.status)
    counts = status.counts
    if counts is not None:
        told = (("NODES", counts.nodes), ("READY", counts.ready), ("RECONCILING", counts.reconciling), ("STALLED", counts.stalled))
        yield Section("Counts", Table(tuple(name for name, _ in told), (tuple(str(number) for _, number in told),)))
    spec = tree_spec(obj)
    if spec is not None:
        yield Section("Limits", limit_table(spec, status))
    yield Section("Nodes", node_table(status) or "none yet: no controller has looked at it")


def _ancestors(vm_id: str, lineage: Mapping[str, VmMetadata]) -> Iterator[str]:
    """What a VM was made from, and what that was, the nearest first; a ring ends it."""
    seen: set[str] = set()
    at: str | None = vm_id
    while at and at not in seen and (known := lineage.get(at)) is not None:
        seen.add(at)
        yield from (f"commit {known.parent_commit_id}",) if known.parent_commit_id else ()
        yield from (f"vm/{known.grandparent_vm_id}",) if known.grandparent_vm_id else ()
        at = known.grandparent_vm_id


def described_vm(vm: Json, owner: StoredObject | None, now: float, lineage: Mapping[str, VmMetadata]) -> Description:
    """A VM of the platform, from its document, and what the object says of it whose machine it is. `lineage`: by VM, what it was made
    from, as far as that is known."""
    created = text_at(vm, ".metadata.creationTimestamp")
    labels = labels_of(vm)
    fields = (
        ("Name", text_at(vm, ".metadata.name")),
        ("Kind", "VM"),
        ("State", text_at(vm, ".status.state")),
        ("Account", text_at(vm, ".status.account")),
        ("Owner", text_at(vm, ".status.owner") or "nobody here"),
        ("Created", f"{created} ({age(created, now)} ago)"),
        ("Made from", ", ".join(_ancestors(text_at(vm, ".metadata.name"), lineage))),
        ("Labels", ", ".join(f"{name}={value}" for name, value in labels.items() if value)),
    )
    sections: list[Section] = []
    if owner is not None:
        sections.append(Section("Conditions of its owner", _conditions(owner.status) or "none yet: no controller has looked at it"))
        rest: Json = {name: owner.status[name] for name in ("vm", "machine", "boot", "agent") if name in owner.status}
        if rest:
            sections.append(Section("Status of its owner", rest))
    return Description(tuple((title, one_line(value)) for title, value in fields if value), tuple(sections))


def _conditions(status: Json) -> Table | None:
    """`SINCE`: when its status last changed."""
    told = Status.load(status).conditions
    rows = tuple((one.type, one.status, one.reason, one.last_transition_time, one_line(one.message)) for one in told)
    return Table(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows) if rows else None


def _events(events: Sequence[Event]) -> Table | None:
    rows = tuple((timestamp(event.at), event.type, event.reason, str(event.count), one_line(event.message)) for event in events)
    return Table(("LAST SEEN", "TYPE", "REASON", "COUNT", "MESSAGE"), rows) if rows else None
