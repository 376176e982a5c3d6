"""What a lost store knew, from what outlived it: status in the cluster, claims on the machines, the conversation itself. Pure.

A claim is believed before a status: anybody with the right to may write a status, a claim is on the machine (design §5)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.api.status.lieutenant import CreateIntent, ForkedFrom, LieutenantStatus, SessionStatus, VMStatus
from reconciler.api.status.task import ResultStatus, TaskStatus, UsageStatus
from reconciler.api.status.vmtree import VMTreeStatus
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.keys import Json, Key, SlotOwner, as_map, as_strings
from reconciler.core.lieutenant.session import session_name
from reconciler.core.profile.rendering import digest
from reconciler.core.records import (
    FINISHED,
    Attempt,
    BootRecord,
    BranchRecord,
    EscalationStep,
    LieutenantRecord,
    SessionRecord,
    SlotRecord,
    TaskRecord,
)
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.vm import Vm
from reconciler.core.task.view import marker_of
from reconciler.core.times import seconds, timestamp_ms
from reconciler.core.tree.owned import OwnedObject, owned_object
from reconciler.core.tree.places import uid_of, wanted_places
from reconciler.core.treerecords import PlaceRecord, TreeRecord
from reconciler.engine.ports import Intent
from reconciler.engine.state.declared import OWNED


@dataclass(frozen=True, slots=True)
class Restored:
    """A lieutenant's record, and the create that may still be on its way."""

    record: LieutenantRecord
    intent: Intent | None = None

    def known(self) -> bool:
        """Whether it ever had a machine, or asked for one."""
        return bool(self.record.slot.vm_id or self.record.slot.epoch or self.intent)


def lieutenant(key: Key, uid: str, status: Json, vms: Mapping[str, Vm], owner: Owner) -> Restored:
    """`vms`: a list of all machines, read just now. Empty status and no claim: it never had a machine."""
    told = LieutenantStatus.load(status)
    ours, handled = told.vm or VMStatus(), told.handled or {}
    create = ours.create or CreateIntent()
    slot_owner = SlotOwner.of(key, uid)
    claimed = [vm for vm in vms.values() if claims.is_ours(vm, owner) and claims.names(vm.labels, slot_owner)]
    claimed.sort(key=lambda vm: (_int(vm.labels.get(claims.EPOCH)), vm.created_at, vm.vm_id))
    epoch = max(ours.epoch or 0, create.epoch or 0, *(_int(vm.labels.get(claims.EPOCH)) for vm in claimed), 0)
    at_hand = claimed[-1] if claimed else _unclaimed(ours.id or "", slot_owner, vms, owner)
    named = _session(uid, told.session or SessionStatus())
    forked = told.forked_from or ForkedFrom()
    branch = BranchRecord(source=forked.name, vm_id=forked.vm, at=seconds(forked.at) or 0.0, claimed=bool(forked.vm))
    if at_hand is not None:
        known = _int(at_hand.labels.get(claims.EPOCH)) or epoch
        slot = SlotRecord(vm_id=at_hand.vm_id, account=at_hand.owner_id, epoch=known, branch=branch)
        if at_hand.vm_id == ours.id:
            slot = slot.but(ref=ours.ref or "", commit=ours.commit or "")
        return Restored(LieutenantRecord(slot=slot, session=named, boot=BootRecord(vm_id=at_hand.vm_id), handled=handled))
    record = LieutenantRecord(slot=SlotRecord(epoch=epoch, attempts=create.attempt, branch=branch), session=named, handled=handled)
    return Restored(record, intent_of(slot_owner, create))


@dataclass(frozen=True, slots=True)
class RestoredMachine:
    """A machine that a tree has itself: what its object is, and what is known of it."""

    key: Key
    uid: str
    owned: OwnedObject
    tree: Key
    tree_uid: str
    restored: Restored

    @property
    def identity(self) -> dict[str, Any]:
        """In what its object differs from its tree's."""
        return {
            "key": self.key, "uid": self.uid, "generation": 1, "spec": self.owned.spec, "labels": self.owned.labels,
            "annotations": self.owned.annotations, "source": f"{OWNED}{self.tree.name}", "source_id": self.tree_uid, "deleted_at": None,
        }  # fmt: skip


def machines(tree: Key, uid: str, spec: VMTreeSpec, status: Json, vms: Mapping[str, Vm], owner: Owner) -> Iterator[RestoredMachine]:
    """The machines of a tree's own that are there, or on their way: by claim, and by the creates in `status.nodes`. What is removed from
    the tree meanwhile is an orphan."""
    creates = {node.name: node.create for node in VMTreeStatus.load(status).nodes or ()}
    for place in wanted_places(spec, TreeRecord(), {}):
        if place.node.has_agent:
            continue
        owned = owned_object(tree, spec, place)
        slot = SlotOwner.of(owned.key, uid_of(uid, place.name))
        told: Json = {"vm": {"create": create.dump()}} if (create := creates.get(place.name)) is not None else {}
        found = lieutenant(owned.key, slot.uid, told, vms, owner)
        if found.known():
            yield RestoredMachine(owned.key, slot.uid, owned, tree, uid, found)


def tree(spec: VMTreeSpec, status: Json) -> TreeRecord:
    """What a tree had declared, as far as its status tells of what is not declared any more."""
    declared = {place.name for place in wanted_places(spec, TreeRecord(), {})}
    gone = [node for node in VMTreeStatus.load(status).nodes or () if node.name not in declared]
    return TreeRecord(places=tuple(PlaceRecord(name=node.name, node=node.name, agent=node.lieutenant is not None) for node in gone))


def vms_of(key: Key, uid: str, spec: Json, status: Json, vms: Mapping[str, Vm], owner: Owner) -> set[str]:
    """The VMs that a lieutenant owns or is about to, for somebody without the store: by claim, by status, by declaration. `vms`: a
    list of all machines that was begun before this object was read."""
    known = lieutenant(key, uid, status, vms, owner).record.slot.vm_id
    return {known, vm_id_of(status), str(as_map(spec.get("adopt")).get("vmId") or "")} - {""}


def vm_id_of(status: Json) -> str:
    """The machine that the status of a lieutenant names; '' when it names none."""
    vm = LieutenantStatus.load(status).vm
    return vm.id or "" if vm is not None else ""


def _unclaimed(vm_id: str, slot: SlotOwner, vms: Mapping[str, Vm], owner: Owner) -> Vm | None:
    """The machine that status names, when its birth says that it was made for this very object."""
    vm = vms.get(vm_id)
    if vm is None or claims.valid_claim(vm) or not claims.born_ours(vm, owner) or not claims.names(vm.labels, slot):
        return None
    return vm


def create_status(intent: Intent) -> CreateIntent:
    """An open create, as it stands in `status.vm.create`."""
    return CreateIntent(
        token=intent.token,
        attempt=intent.attempt,
        sent_at=timestamp_ms(intent.sent_at),
        server_time=timestamp_ms(intent.server_time) if intent.server_time is not None else "",
        commit=str(intent.payload.get("commit") or ""),
        epoch=_int(intent.payload.get("epoch")),
        session=str(intent.payload.get("session") or "") or None,
        size=_int(intent.payload.get("size")) or None,
        source=str(intent.payload.get("source") or "") or None,
    )


def intent_of(slot: SlotOwner, create: CreateIntent) -> Intent | None:
    """The contrary; None when there is none, or somebody made it unreadable."""
    sent = seconds(create.sent_at)
    if sent is None or not create.token:
        return None
    payload: Json = {"commit": create.commit, "epoch": create.epoch or 0}
    if create.session:
        payload |= {"session": create.session, "size": create.size or 0, "source": create.source or ""}
    return Intent(create.token, slot, "create", create.attempt, payload, sent, seconds(create.server_time))


def task(key: Key, uid: str, status: Json) -> TaskRecord:
    """A task that was on its way is looked for in the conversation before anything is sent: its marker can be told from its uid
    and attempt, and the keeper forwards the same key once only (G-20)."""
    told = TaskStatus.load(status)
    phase, attempt = told.phase or "Pending", told.attempt
    attempts = tuple(Attempt(number=a.number, reason=a.reason, message=a.message) for a in told.attempts or ())
    if phase in FINISHED:
        ready, result = told.condition("Ready"), told.result or ResultStatus()
        usage, reason = result.usage or UsageStatus(), ready.reason if ready is not None else ""
        return TaskRecord(
            phase=phase,
            reason=reason,
            message=ready.message if ready is not None else "",
            attempt=attempt,
            attempts=attempts,
            delivering_at=seconds(told.delivered_at) or 0.0,
            landed=0 if told.result is not None else -1,
            landed_at=seconds(told.landed_at) or 0.0,
            stop_reason=result.stop_reason,
            answer=result.answer,
            answer_bytes=result.answer_bytes,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost=_number(usage.cost),
            turns=result.turns,
            files=result.files,
            files_more=result.files_more or 0,
            checks=result.checks,
            escalation_steps=tuple(
                EscalationStep(action=step.action, at=seconds(step.at) or 0.0, why=step.reason) for step in told.escalation or ()
            ),
            recalled=reason == "AlreadyDone",
            finished_at=seconds(told.finished_at) or 0.0,
        )
    if phase == "Pending" or attempt < 1:
        return TaskRecord(attempt=attempt, attempts=attempts)
    return TaskRecord(
        phase="Delivering",
        attempt=attempt,
        attempts=attempts,
        sends=1,
        marker=marker_of(key.namespace, key.name, attempt, digest([uid, attempt])[:8]),
        delivering_at=seconds(told.delivered_at) or 0.0,
    )


def further(record: TaskRecord, status: Json) -> bool:
    """Whether the cluster tells of more than the store knows: an operator with another store went on from here, or the store is an old
    copy. Ours is written before the cluster's, so a store of our own is never behind."""
    told = TaskStatus.load(status)
    if record.finished or told.phase in ("", "Pending"):
        return False
    return told.phase in FINISHED or told.attempt > record.attempt


def acknowledged(record: LieutenantRecord, known: Json, told: Json) -> dict[str, str]:
    """One-shot verbs that were acted on: what the cluster says since another operator said it, else as recorded. `known`: the status
    as the store has it; `told`: as the cluster has it."""
    theirs = as_strings(told.get("handled"))
    return record.handled if told.get("handled") == known.get("handled") else {**record.handled, **theirs}


def _session(uid: str, told: SessionStatus) -> SessionRecord:
    """Which conversation is in force; the mirror is read anew from the machine. A name that is not this object's own was forged: it
    would open another one's conversation."""
    own = re.compile(rf"{re.escape(uid)}-g[0-9]+(-[0-9]+)?")
    earlier = tuple(name for name in told.earlier or () if own.fullmatch(name))
    if told.name and not own.fullmatch(told.name):
        return SessionRecord(earlier=earlier)
    number = told.name.removeprefix(f"{session_name(uid, told.generation)}-")
    return SessionRecord(
        name=told.name,
        generation=told.generation,
        incarnation=_int(number) if number != told.name else 0,
        earlier=earlier,
    )


def _number(value: str) -> float:
    try:
        number = float(value or 0)
    except (ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def _int(value: object) -> int:
    """What a label says; what is no number counts as 0."""
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16 else 0
