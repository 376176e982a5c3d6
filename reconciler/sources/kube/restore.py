"""What a lost store knew, from what outlived it: status in the cluster, claims on the machines, the conversation itself. Pure.

A claim is believed before a status: anybody with the right to may write a status, a claim is on the machine (design §5)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.api.status.bootprofile import BootProfileStatus
from reconciler.api.status.lieutenant import CreateIntent, ForkedFrom, LieutenantStatus, SessionStatus, SlotCreate, VMStatus
from reconciler.api.status.task import ResultStatus, TaskStatus, UsageStatus
from reconciler.api.status.vmtree import NodeStatus, VMTreeStatus
from reconciler.api.vmtree import Category, VMTreeSpec
from reconciler.core.keys import Json, Key, SlotOwner, as_map, as_strings
from reconciler.core.lieutenant.session import session_name
from reconciler.core.profile import bake, warm
from reconciler.core.profile.digests import digest
from reconciler.core.records import (
    FINISHED,
    NEXT,
    SPARE,
    Attempt,
    BootRecord,
    BranchRecord,
    EscalationStep,
    LieutenantRecord,
    ReplacementRecord,
    SessionRecord,
    SlotRecord,
    SpareRecord,
    TaskRecord,
)
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.vm import Vm
from reconciler.core.task.view import marker_of
from reconciler.core.times import seconds, timestamp_ms
from reconciler.core.tree.owned import owned_object
from reconciler.core.tree.places import Place, uid_of, wanted_places
from reconciler.core.treerecords import PlaceRecord, TreeRecord
from reconciler.engine.ports import Intent
from reconciler.engine.state.declared import OWNED


@dataclass(frozen=True, slots=True)
class Restored:
    """A lieutenant's record, and the creates that may still be on their way."""

    record: LieutenantRecord
    intents: tuple[Intent, ...] = ()

    def known(self) -> bool:
        """Whether it ever had a machine, or asked for one."""
        return bool(self.record.slot.vm_id or self.record.slot.epoch or self.intents)


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
    made = (intent_of(SlotOwner.of(key, uid, one.slot), one) for one in told.creates or () if one.slot in (NEXT, SPARE))
    others = tuple(intent for intent in made if intent is not None)
    forked = told.forked_from or ForkedFrom()
    branch = BranchRecord(source=forked.name, vm_id=forked.vm, at=seconds(forked.at) or 0.0, claimed=bool(forked.vm))
    if at_hand is not None:
        known = _int(at_hand.labels.get(claims.EPOCH)) or epoch
        adopted = at_hand.vm_id if ours.adopted and at_hand.vm_id == ours.id else ""
        slot = SlotRecord(vm_id=at_hand.vm_id, account=at_hand.owner_id, epoch=known, adopted=adopted, branch=branch)
        if at_hand.vm_id == ours.id:
            slot = slot.but(ref=ours.ref or "", commit=ours.commit or "")
        found = LieutenantRecord(slot=slot, session=named, boot=BootRecord(vm_id=at_hand.vm_id), handled=handled)
        named_beside = told.replacement.vm if told.replacement is not None else ""
        return Restored(with_others(found, slot_owner, vms, owner, others, named_beside), others)
    record = LieutenantRecord(slot=SlotRecord(epoch=epoch, attempts=create.attempt, branch=branch), session=named, handled=handled)
    own = intent_of(slot_owner, create)
    return Restored(dropping(record, others), (*((own,) if own is not None else ()), *others))


def with_others(
    record: LieutenantRecord, own: SlotOwner, vms: Mapping[str, Vm], owner: Owner, creates: Sequence[Intent], named: str
) -> LieutenantRecord:
    """With the machines that claim to stand beside its own, or that status names (`named`: one that was made, and not claimed yet). What
    they were for is not known any more; they are let go of by the usual procedure, for the agent is on its own machine: on another one it
    begins only when that one's claim says so."""
    spare, other = (_beside(SlotOwner.of(own.object, own.uid, node), vms, owner) for node in (SPARE, NEXT))
    if other is None and (made := _unclaimed(named, SlotOwner.of(own.object, own.uid, NEXT), vms, owner)) is not None:
        other = SlotRecord(vm_id=made.vm_id, account=made.owner_id, epoch=_int(made.labels.get(claims.EPOCH)))
    if spare is not None:
        record = record.but(spare=SpareRecord(slot=spare, purpose="Left"))
    if other is not None:
        record = record.but(next=other, replacement=ReplacementRecord(state="Dropping"))
    return dropping(record, creates)


def dropping(record: LieutenantRecord, creates: Sequence[Intent]) -> LieutenantRecord:
    """What a create for the slot `next` has made, or makes yet, is looked for and not kept."""
    if not any(intent.owner.node == NEXT for intent in creates):
        return record
    return record.but(replacement=ReplacementRecord(state="Dropping"))


def _beside(slot: SlotOwner, vms: Mapping[str, Vm], owner: Owner) -> SlotRecord | None:
    """The machine that claims to be in that slot; of several the one of the highest epoch."""
    claimed = [vm for vm in vms.values() if claims.is_ours(vm, owner) and claims.names(vm.labels, slot)]
    newest = max(claimed, key=lambda vm: (_int(vm.labels.get(claims.EPOCH)), vm.created_at, vm.vm_id), default=None)
    if newest is None:
        return None
    return SlotRecord(vm_id=newest.vm_id, account=newest.owner_id, epoch=_int(newest.labels.get(claims.EPOCH)))


@dataclass(frozen=True, slots=True)
class RestoredMachine:
    """A machine that a tree or a profile has itself: what its object is, and what is known of it. `source`: who declares it, `source_id`:
    which one of that name."""

    key: Key
    uid: str
    spec: Json
    source: str
    source_id: str
    restored: Restored
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """In what its object differs from the one that it was found by."""
        return {
            "key": self.key, "uid": self.uid, "generation": 1, "spec": self.spec, "labels": self.labels,
            "annotations": self.annotations, "source": self.source, "source_id": self.source_id, "deleted_at": None,
        }  # fmt: skip


def machines(tree: Key, uid: str, spec: VMTreeSpec, status: Json, vms: Mapping[str, Vm], owner: Owner) -> Iterator[RestoredMachine]:
    """The machines of a tree's own that are there, or on their way: by claim, and by the creates in `status.nodes`. What is removed from
    the tree meanwhile is an orphan. A node with an agent may have had none before: that machine is known by its claim."""
    nodes = {node.name: node for node in VMTreeStatus.load(status).nodes or ()}
    for place in wanted_places(spec, TreeRecord(), {}):
        former = place.node.has_agent
        owned = owned_object(tree, spec, without_agent(place) if former else place)
        slot = SlotOwner.of(owned.key, uid_of(uid, place.name))
        told = {} if former else _told_of_node(place, nodes.get(place.name))
        found = lieutenant(owned.key, slot.uid, told, vms, owner)
        if found.known():
            source = f"{OWNED}{tree.name}"
            yield RestoredMachine(owned.key, slot.uid, owned.spec, source, uid, found, owned.labels, owned.annotations)


def _told_of_node(place: Place, node: NodeStatus | None) -> Json:
    """What status says of the machine of a node without an agent, in the words in which a lieutenant's status says it."""
    vm: dict[str, Any] = {}
    if node is not None and node.create is not None:
        vm["create"] = node.create.dump()
    if node is not None and node.vm_id:  # it may have been made, and not claimed yet
        vm["id"] = node.vm_id
    if place.node.adopt is not None:
        vm |= {"id": place.node.adopt.vm_id, "adopted": True}
    told: dict[str, Any] = {"vm": vm} if vm else {}
    if node is not None and node.creates:
        told["creates"] = [create.dump() for create in node.creates]
    return told


def without_agent(place: Place) -> Place:
    """The same place as if its node had no agent."""
    return replace(place, node=place.node.model_copy(update={"category": Category.INFRA, "lieutenant": None}))


def of_profile(profile: Key, uid: str, status: Json, vms: Mapping[str, Vm], owner: Owner) -> Iterator[RestoredMachine]:
    """The machines of a profile's own: by the creates in `status.bake`, and the one that it is baked on also by claim. (Those that are kept
    ready are found by their claims as soon as the profile is looked at.)"""
    told = BootProfileStatus.load(status).bake
    creates = {slot: one for one in (told.creates if told is not None else None) or () if (slot := slot_of(profile, uid, one.slot))}
    oven = bake.machine_of(profile)
    for vm in vms.values():
        words = [vm.labels.get(name, "") for name in (claims.KIND, claims.NAMESPACE, claims.NAME, claims.UID)]
        mine = words[:3] == [oven.kind, oven.namespace, oven.name] and words[3].startswith(bake.oven_uid(uid, ""))
        if claims.is_ours(vm, owner) and mine and not any(slot.object == oven for slot in creates):
            creates[SlotOwner.of(oven, words[3])] = SlotCreate()
    for slot, create in creates.items():
        spec = bake.spec_of(profile) if bake.is_oven(slot.object) else warm.spec_of(profile, asleep=False)
        found = lieutenant(slot.object, slot.uid, {"vm": {"create": create.dump()}}, vms, owner)
        if found.known():
            yield RestoredMachine(slot.object, slot.uid, spec, f"{bake.SOURCE}{profile.name}", uid, found)


def slot_of(profile: Key, uid: str, name: str) -> SlotOwner | None:
    """The machine of a profile that its status calls so; None for a name that says nothing. `uid`: the profile's."""
    purpose, dash, rest = name.partition("-")
    if purpose == "bake" and dash and rest:
        return SlotOwner.of(bake.machine_of(profile), bake.oven_uid(uid, rest))
    if purpose == "warm" and rest.isdecimal() and len(rest) < 16:
        return SlotOwner.of(warm.key_of(profile, int(rest)), warm.uid_of(uid, int(rest)))
    return None


def tree(spec: VMTreeSpec, status: Json, deleting: bool) -> TreeRecord:
    """What a tree had declared, as far as its status tells of what is not declared any more. `deleting`: nothing of it is declared again,
    so all of what it declares is remembered here, and is taken down before it goes."""
    places = wanted_places(spec, TreeRecord(), {})
    declared = {place.name for place in places}
    gone = [node for node in VMTreeStatus.load(status).nodes or () if node.name not in declared]
    left = tuple(PlaceRecord(name=node.name, node=node.name, agent=node.lieutenant is not None) for node in gone)
    return TreeRecord(places=(*(place.record for place in places if deleting), *left))


def vms_of(key: Key, uid: str, spec: Json, status: Json, vms: Mapping[str, Vm], owner: Owner) -> set[str]:
    """The VMs that a lieutenant owns or is about to, for somebody without the store: by claim, by status, by declaration. `vms`: a
    list of all machines that was begun before this object was read."""
    known = {slot.vm_id for slot in lieutenant(key, uid, status, vms, owner).record.slots().values()}
    return {*known, vm_id_of(status), str(as_map(spec.get("adopt")).get("vmId") or "")} - {""}


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
