"""What a lost store knew, from what outlived it: status in the cluster, claims on the machines, the conversation itself. Pure.

A claim is believed before a status: anybody with the right to may write a status, a claim is on the machine (design §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.keys import Json, JsonValue, Key, as_map, as_maps, as_strings
from reconciler.core.lieutenant.session import session_name
from reconciler.core.profile.rendering import digest
from reconciler.core.records import FINISHED, Attempt, BootRecord, EscalationStep, LieutenantRecord, SessionRecord, SlotRecord, TaskRecord
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.vm import Vm
from reconciler.core.task.view import marker_of
from reconciler.core.times import seconds, timestamp_ms
from reconciler.engine.ports import Intent


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
    told, session = as_map(status.get("vm")), as_map(status.get("session"))
    handled = as_strings(status.get("handled"))
    claimed = [vm for vm in vms.values() if claims.is_ours(vm, owner) and vm.labels.get(claims.UID) == uid]
    claimed.sort(key=lambda vm: (_int(vm.labels.get(claims.EPOCH)), vm.created_at, vm.vm_id))
    create = as_map(told.get("create"))
    epoch = max(_int(told.get("epoch")), _int(create.get("epoch")), *(_int(vm.labels.get(claims.EPOCH)) for vm in claimed), 0)
    at_hand = claimed[-1] if claimed else _unclaimed(str(told.get("id") or ""), uid, vms, owner)
    named = _session(uid, session)
    if at_hand is not None:
        known = _int(at_hand.labels.get(claims.EPOCH)) or epoch
        slot = SlotRecord(vm_id=at_hand.vm_id, account=at_hand.owner_id, epoch=known)
        return Restored(LieutenantRecord(slot=slot, session=named, boot=BootRecord(vm_id=at_hand.vm_id), handled=handled))
    record = LieutenantRecord(slot=SlotRecord(epoch=epoch, attempts=_int(create.get("attempt"))), session=named, handled=handled)
    return Restored(record, intent_of(key, uid, create) if create else None)


def vms_of(key: Key, uid: str, spec: Json, status: Json, vms: Mapping[str, Vm], owner: Owner) -> set[str]:
    """The VMs that a lieutenant owns or is about to, for somebody without the store: by claim, by status, by declaration. `vms`: a
    list of all machines that was begun before this object was read."""
    known = lieutenant(key, uid, status, vms, owner).record.slot.vm_id
    return {known, str(as_map(status.get("vm")).get("id") or ""), str(as_map(spec.get("adopt")).get("vmId") or "")} - {""}


def _unclaimed(vm_id: str, uid: str, vms: Mapping[str, Vm], owner: Owner) -> Vm | None:
    """The machine that status names, when its birth says that it was made for this very object."""
    vm = vms.get(vm_id)
    if vm is None or claims.valid_claim(vm) or not claims.born_ours(vm, owner) or vm.labels.get(claims.UID) != uid:
        return None
    return vm


def create_status(intent: Intent) -> Json:
    """An open create, as it stands in `status.vm.create`."""
    return {
        "token": intent.token,
        "attempt": intent.attempt,
        "sentAt": timestamp_ms(intent.sent_at),
        "serverTime": timestamp_ms(intent.server_time) if intent.server_time is not None else "",
        "commit": str(intent.payload.get("commit") or ""),
        "epoch": intent.payload.get("epoch"),
    }


def intent_of(key: Key, uid: str, create: Json) -> Intent | None:
    """The contrary; None when somebody made it unreadable."""
    sent = seconds(create.get("sentAt"))
    token = str(create.get("token") or "")
    if sent is None or not token:
        return None
    payload: Json = {"commit": str(create.get("commit") or ""), "epoch": _int(create.get("epoch"))}
    return Intent(token, key, uid, "create", _int(create.get("attempt")), payload, sent, seconds(create.get("serverTime")))


def task(key: Key, uid: str, status: Json) -> TaskRecord:
    """A task that was on its way is looked for in the conversation before anything is sent: its marker can be told from its uid
    and attempt, and the keeper forwards the same key once only (G-20)."""
    phase, attempt = str(status.get("phase") or "Pending"), _int(status.get("attempt"))
    attempts = tuple(
        Attempt(number=_int(a.get("number")), reason=str(a.get("reason") or ""), message=str(a.get("message") or ""))
        for a in as_maps(status.get("attempts"))
    )
    escalation_steps = tuple(
        EscalationStep(action=str(r.get("action") or ""), at=seconds(r.get("at")) or 0.0, why=str(r.get("reason") or ""))
        for r in as_maps(status.get("escalation"))
    )
    if phase in FINISHED:
        ready = next((c for c in as_maps(status.get("conditions")) if c.get("type") == "Ready"), {})
        result, landed = as_map(status.get("result")), seconds(status.get("landedAt")) or 0.0
        usage = as_map(result.get("usage"))
        checks, files = result.get("checks"), result.get("files")
        return TaskRecord(
            phase=phase,
            reason=str(ready.get("reason") or ""),
            message=str(ready.get("message") or ""),
            attempt=attempt,
            attempts=attempts,
            delivering_at=seconds(status.get("deliveredAt")) or 0.0,
            landed=0 if result else -1,
            landed_at=landed,
            stop_reason=str(result.get("stopReason") or ""),
            answer=str(result.get("answer") or ""),
            answer_bytes=_int(result.get("answerBytes")),
            input_tokens=_int(usage.get("inputTokens")),
            output_tokens=_int(usage.get("outputTokens")),
            cost=_number(usage.get("cost")),
            turns=_int(result.get("turns")),
            files=tuple(str(f) for f in files) if isinstance(files, list) else (),
            files_more=_int(result.get("filesMore")),
            checks=tuple(str(c) for c in checks) if isinstance(checks, list) else (),
            escalation_steps=escalation_steps,
            recalled=str(ready.get("reason")) == "AlreadyDone",
            finished_at=seconds(status.get("finishedAt")) or 0.0,
        )
    if phase == "Pending" or attempt < 1:
        return TaskRecord(attempt=attempt, attempts=attempts)
    return TaskRecord(
        phase="Delivering",
        attempt=attempt,
        attempts=attempts,
        sends=1,
        marker=marker_of(key.namespace, key.name, attempt, digest([uid, attempt])[:8]),
        delivering_at=seconds(status.get("deliveredAt")) or 0.0,
    )


def further(record: TaskRecord, status: Json) -> bool:
    """Whether the cluster tells of more than the store knows: an operator with another store went on from here, or the store is an old
    copy. Ours is written before the cluster's, so a store of our own is never behind."""
    phase = str(status.get("phase") or "Pending")
    if record.finished or phase == "Pending":
        return False
    return phase in FINISHED or _int(status.get("attempt")) > record.attempt


def acknowledged(record: LieutenantRecord, known: Json, told: Json) -> dict[str, str]:
    """One-shot verbs that were acted on: what the cluster says since another operator said it, else as recorded. `known`: the status
    as the store has it; `told`: as the cluster has it."""
    theirs = as_strings(told.get("handled"))
    return record.handled if told.get("handled") == known.get("handled") else {**record.handled, **theirs}


def _session(uid: str, told: Json) -> SessionRecord:
    """Which conversation is in force; the mirror is read anew from the machine."""
    name, generation, earlier = str(told.get("name") or ""), _int(told.get("generation")), told.get("earlier")
    number = name.removeprefix(f"{session_name(uid, generation)}-")
    return SessionRecord(
        name=name,
        generation=generation,
        incarnation=_int(number) if number != name else 0,
        earlier=tuple(str(one) for one in earlier) if isinstance(earlier, list) else (),
    )


def _number(value: JsonValue) -> float:
    try:
        return float(str(value or 0))
    except ValueError:
        return 0.0


def _int(value: object) -> int:
    """What a status or a label says; what is no number counts as 0."""
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else 0
