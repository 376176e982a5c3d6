"""The status of a VMTree: its nodes, the worst first, and how many of them there are. Pure."""

from __future__ import annotations

from reconciler.api.phases import TreePhase
from reconciler.api.status.base import WORD, Condition
from reconciler.api.status.vmtree import NODES, NodeStatus, RolloutStatus, TreeCounts, VMTreeStatus
from reconciler.api.treereasons import TreeReason
from reconciler.core.conditions import merge_conditions, progress_conditions, reason_of, told, unreadable
from reconciler.core.decisions import Decision, Refuse, Steady
from reconciler.core.keys import Json
from reconciler.core.lasterror import LastError
from reconciler.core.tree.limits import beyond_limits
from reconciler.core.tree.places import key_of
from reconciler.core.tree.snapshot import Found, Other, TreeSnapshot

NOT_MADE = Found(ours=True)


def tree_status(view: TreeSnapshot, decision: Decision, previous: Json, generation: int, now: float, error: LastError) -> VMTreeStatus:
    """The whole status."""
    reason, message = told(decision, error)
    if isinstance(decision, Steady):
        ready = Condition("Ready", "True", TreeReason.NODES_READY)
    else:
        ready = Condition("Ready", "Unknown" if unreadable(reason) else "False", reason, message)
    nodes = sorted(node_statuses(view), key=_worst_first)
    every = [found for found in view.found.values() if found.ours]
    missing = sum(place.name not in view.found or not view.found[place.name].ours for place in view.places)
    counts = TreeCounts(
        nodes=len(view.places),
        ready=sum(as_declared(view, name) for name, found in view.found.items() if found.ours),
        reconciling=sum(not as_declared(view, name) and not found.stalled for name, found in view.found.items() if found.ours) + missing,
        stalled=sum(found.stalled for found in every),
    )
    return VMTreeStatus(
        observed_generation=generation,
        phase=phase_of(view, decision),
        conditions=merge_conditions(
            previous.get("conditions"), [ready, *progress_conditions(decision, ready.status, error)], generation, now
        ),
        mode="Running" if view.spec.mode == "Running" else "Suspended",
        counts=counts,
        rollout=rollout_status(view),
        nodes=tuple(nodes[:NODES]),
    )


def as_declared(view: TreeSnapshot, name: str) -> bool:
    """It is ready, and nothing of it is on its way out."""
    return view.found[name].ready and not view.found[name].deleting and name not in view.other


def rollout_status(view: TreeSnapshot) -> RolloutStatus | None:
    """None: every machine is of the profile that is declared."""
    outdated = sum(found.outdated for found in view.found.values())
    replacing = sum(found.replacing for found in view.found.values())
    if not outdated and not replacing:
        return None
    failed = tuple(name[:WORD] for name, found in view.found.items() if found.failed)[:20]
    return RolloutStatus("Paused" if view.paused else "Stopped" if failed else "Progressing", outdated, replacing, failed or None)


def phase_of(view: TreeSnapshot, decision: Decision) -> TreePhase:
    """One word for the column."""
    if view.deleting:
        return "Terminating"
    if isinstance(decision, Refuse):
        return "Stalled"
    if isinstance(decision, Steady):
        return "Suspended" if view.places and all(str(place.mode) == "Suspended" for place in view.places) else "Ready"
    if unreadable(reason_of(decision)[0]):
        return "Unknown"
    return "Pending" if not view.record.places else "Progressing"


def node_statuses(view: TreeSnapshot) -> list[NodeStatus]:
    """Every place that is declared or still has an object."""
    over = beyond_limits(view)
    declared, books = {place.name: place for place in view.places}, view.record.by_name()
    told: list[NodeStatus] = []
    for name in dict.fromkeys([*declared, *(place.name for place in view.record.places if place.name in view.found)]):
        place, remembered, found = declared.get(name), books.get(name), view.found.get(name, NOT_MADE)
        agent = place.node.has_agent if place is not None else remembered is not None and remembered.agent
        reason, message = (found.reason, found.message) if name in view.found else ("Pending", "")
        if name in over:
            reason, message = "LimitExceeded", over[name]
        elif name in view.found and not found.ours:
            reason, message = "NameTaken", "an object of this name is declared by somebody else"
        elif remembered is not None and remembered.kept:
            reason = "NodeKept"
        elif name in view.other and found.ready:
            reason, message = "HandingOver", beside_words(view.other[name])
        elif name in view.other:
            message = f"{message}; {beside_words(view.other[name])}" if message else beside_words(view.other[name])
        told.append(
            NodeStatus(
                name=name[:WORD],
                category=str(place.node.category) if place is not None else "",
                phase=found.phase or "Pending",
                reason=reason,
                message=message,
                ready=found.ready and name not in view.other,
                vm_id=found.vm_id or None,
                lieutenant=key_of(view.key, name, agent).name if agent else None,
                organs=found.organs,
                capabilities=found.capabilities,
            )
        )
    return told


def beside_words(other: Other) -> str:
    """What a place whose category changed has beside its own object."""
    vm_id = other.found.vm_id
    if other.found.deleting:
        return f"VM {vm_id}, which it had before, goes" if vm_id else "what it had before goes"
    return f"VM {vm_id}, which it had before, goes when its files are here" if vm_id else "what it had before goes"


def _worst_first(node: NodeStatus) -> tuple[int, str]:
    rank = 2 if node.ready else 0 if node.phase == "Stalled" or node.reason in ("LimitExceeded", "NameTaken") else 1
    return rank, node.name
