"""The status of a Lieutenant, made once, after deciding, from what was observed and decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from reconciler.api.governreasons import GovernReason
from reconciler.api.reasons import Reason
from reconciler.api.status.base import DIGEST, ID, WORD, Condition
from reconciler.api.status.lieutenant import (
    EARLIER,
    FILES,
    MODEL,
    STDERR,
    AgentStatus,
    ForkedFrom,
    Instructions,
    LieutenantStatus,
    LocalStatus,
    MachineStatus,
    QueueStatus,
    RestartsStatus,
    SessionStatus,
    VMStatus,
)
from reconciler.core.conditions import merge_conditions, next_try, progress_conditions, told, unreadable
from reconciler.core.decisions import AtNext, Decision, Steady, Wait
from reconciler.core.keys import Json, as_map
from reconciler.core.lasterror import NONE, LastError
from reconciler.core.lieutenant.bootstatus import boot_status
from reconciler.core.lieutenant.budget import budget_reason
from reconciler.core.lieutenant.configuration import mismatch, refusal
from reconciler.core.lieutenant.governancestatus import budget_status, memory_status, rest_status
from reconciler.core.lieutenant.health import CLOCK_TRIES, clock_is_wrong
from reconciler.core.lieutenant.phase import lieutenant_phase, works
from reconciler.core.lieutenant.preparation import PREPARED, SECRETS, expected_skills, process_of
from reconciler.core.lieutenant.providerstatus import fallback_status, provider_condition, provider_status
from reconciler.core.lieutenant.readback import unapplied
from reconciler.core.lieutenant.reminder import drift_condition
from reconciler.core.lieutenant.replacementstatus import replacement_status, up_to_date
from reconciler.core.lieutenant.snapshotstatus import rollback_status, snapshots_condition, snapshots_status
from reconciler.core.lieutenant.workspace import workspace_condition
from reconciler.core.profile.rendering import same_launch
from reconciler.core.records import BranchRecord, RestartRecord, SessionRecord
from reconciler.core.slot.snapshots import housekeeping
from reconciler.core.snapshot.agent import FORESEEN, Agent, Exited, Guest, Inside, Up
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.core.snapshot.session import Compacted
from reconciler.core.snapshot.slot import DesiredState, Slot
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, VmState
from reconciler.core.times import timestamp

RECALLED = frozenset({PREPARED, SECRETS, "agent", "organs"})
"""Done-marks that a plan needs to know of (it does not ask the machine)."""


def _ready(view: LieutenantView, decision: Decision, configured: Condition, last_error: LastError) -> Condition:
    """G-27: what is known not to be applied yet (a turn is on) is not ready, though nothing can be done about it now."""
    reason, message = told(decision, last_error)
    if isinstance(decision, Steady):
        if view.slot.desired is DesiredState.RUNNING and configured.status == "False":
            return Condition("Ready", "False", configured.reason, configured.message)
        if view.record.rest.reason == "Budget" and view.slot.desired is DesiredState.SUSPENDED:
            return Condition("Ready", "False", GovernReason.BUDGET_EXCEEDED, "its machine is suspended: its budget is used up")
        return Condition("Ready", "True", Reason.SUSPENDED if view.slot.desired is DesiredState.SUSPENDED else Reason.RUNNING)
    return Condition("Ready", "Unknown" if unreadable(reason) else "False", reason, message)


def vm_ready(view: LieutenantView) -> Condition:
    """The machine, as the platform has it."""
    clock = view.record.clock
    stuck = clock.vm_id == view.vm_id and clock.tries >= CLOCK_TRIES and isinstance(view.guest, Guest) and clock_is_wrong(view.guest)
    match view.slot.vm:
        case _ if not view.slot.record.vm_id:
            return Condition("VMReady", "False", Reason.NO_VM)
        case Unknown(why, reason):
            return Condition("VMReady", "Unknown", reason, why)
        case Absent():
            return Condition("VMReady", "Unknown", Reason.VM_MISSING, f"VM {view.slot.record.vm_id} is not in the platform's list")
        case Seen(VmState.RUNNING) if stuck:
            why = clock.error or "setting it has no effect"
            return Condition("VMReady", "True", Reason.CLOCK_NOT_CORRECTED, f"its clock is wrong and can't be set: {why}")
        case Seen(VmState.RUNNING):
            return Condition("VMReady", "True", Reason.RUNNING)
        case Seen(state):
            return Condition("VMReady", "False", state.value.capitalize(), f"VM {view.slot.record.vm_id} is {state.value}")


def _reachable(view: LieutenantView) -> Condition:
    kind = "AgentReachable"
    match view.agent, view.guest:
        case Agent(process=Up(responsive=responsive), output_blocked=True), _:
            return Condition(kind, "True" if responsive else "False", Reason.OUTPUT_BLOCKED, "its keeper has no room for what pi says")
        case Agent(process=Up(responsive=True)), _:
            return Condition(kind, "True", Reason.ANSWERING)
        case Agent(process=Up() as process), _:
            return Condition(kind, "False", Reason.AGENT_UNRESPONSIVE, f"pi (pid {process.pid}) does not answer")
        case Agent(process=Exited() as process), _:
            how = f"exit code {process.exit_code}" if process.signal is None else f"signal {process.signal}"
            return Condition(kind, "False", Reason.AGENT_EXITED, f"pi ended with {how}: {process.stderr_tail[-500:]}".rstrip(": "))
        case Agent(), _:
            return Condition(kind, "False", Reason.AGENT_NOT_STARTED)
        case Unknown() | None, Unknown(why):
            return Condition(kind, "Unknown", Reason.GUEST_UNREACHABLE, why)
        case Unknown(why), _:
            return Condition(kind, "Unknown", Reason.AGENT_UNREACHABLE, why)
        case _:
            return Condition(kind, "False", Reason.AGENT_NOT_STARTED)


def _configured(view: LieutenantView) -> Condition:
    kind = "AgentConfigured"
    if isinstance(view.rendered, Unresolved):
        return Condition(kind, "False", view.rendered.reason, view.rendered.message)
    if not isinstance(view.agent, Agent) or not isinstance(view.agent.process, Up):
        unknown = isinstance(view.agent, Unknown)
        return Condition(kind, "Unknown" if unknown else "False", Reason.AGENT_UNREACHABLE if unknown else Reason.AGENT_NOT_STARTED)
    process = view.agent.process
    if not process.responsive:
        return Condition(kind, "Unknown", Reason.AGENT_UNRESPONSIVE)
    if not same_launch(process.launch_hash, view.rendered):
        return Condition(kind, "False", Reason.LAUNCH_CHANGED, "its declaration changed; pi restarts on the same session when settled")
    if view.agent.keeper_version != view.lt.keeper_version:
        return Condition(kind, "Unknown", Reason.KEEPER_OUTDATED, "what pi was told is read back when it is next started")
    if (found := unapplied(view.lt)) is not None:
        return Condition(kind, "Unknown" if found.unread else "False", found.reason, found.words)
    if view.edited:
        return Condition(kind, "False", Reason.INSTRUCTIONS_EDITED, f"changed by somebody else: {', '.join(view.edited)}")
    refused, words = refusal(view.lt)
    if refused is not None:
        return Condition(kind, "False", refused, words)
    reason, words = mismatch(view.lt)
    if reason:
        return Condition(kind, "False", reason, words)
    if expected_skills(view.lt):
        if view.record.loaded.process != process_of(view.lt, process):
            return Condition(kind, "Unknown", Reason.READING_BACK, "pi has not said yet what it has loaded")
        if view.record.loaded.missing:
            return Condition(kind, "False", Reason.SKILL_NOT_LOADED, f"pi has no skill at {', '.join(view.record.loaded.missing)}")
    if (stands_in := view.fallback) is not None:
        return Condition(kind, "True", GovernReason.FALLBACK_USED, f"{stands_in.model} answers instead of {stands_in.instead_of}")
    version = view.guest.pi if isinstance(view.guest, Guest) and view.lt.pi_version else ""
    version = view.lt.pi_version if version == FORESEEN else version
    return Condition(kind, "True", Reason.APPLIED, f"pi {version} has what was declared" if version else "")


def suspended(view: LieutenantView) -> Condition:
    """Whether it costs no running machine."""
    if view.record.local.state == "Home":
        up = isinstance(view.agent, Agent) and isinstance(view.agent.process, Up)
        stopped = (
            view.slot.desired is DesiredState.SUSPENDED and isinstance(view.guest, Guest) and not up and not isinstance(view.agent, Unknown)
        )
        return Condition("Suspended", "True", Reason.AGENT_STOPPED) if stopped else Condition("Suspended", "False", Reason.RUNNING)
    match view.slot.vm:
        case Seen(VmState.SUSPENDED) if view.vm_id:
            return Condition("Suspended", "True", Reason.VM_SUSPENDED)
        case Unknown(why, reason) if view.vm_id:
            return Condition("Suspended", "Unknown", reason, why)
        case _ if not view.vm_id and view.slot.desired is DesiredState.SUSPENDED:
            return Condition("Suspended", "True", Reason.NO_VM)
        case _:
            return Condition("Suspended", "False", Reason.VM_NOT_SUSPENDED)


def lieutenant_status(
    view: LieutenantView,
    decision: Decision,
    previous: Json,
    generation: int,
    pending: int,
    active: str,
    convenience: tuple[str, ...] = (),
    last_error: LastError = NONE,
) -> LieutenantStatus:
    """The whole status of a Lieutenant. `pending`: tasks waiting; `active`: the one that holds the session; `convenience`:
    fields that were set and are not acted on."""
    if housekeeping(decision) and view.slot.desired is not DesiredState.GONE:
        decision = Steady()
    decision = decision.meanwhile if isinstance(decision, AtNext) else decision
    reachable, configured, boot = _reachable(view), _configured(view), boot_status(view, previous.get("boot"))
    ready = _ready(view, decision, configured, last_error)
    observed = view.slot.observe_only
    usable = not observed and works(view, decision) and view.slot.desired is DesiredState.RUNNING and reachable.status == "True"
    able = decision.reason if isinstance(decision, Wait) and works(view, decision) else Reason.USABLE
    silent = None if observed else provider_condition(view)
    usable = usable and silent is None and not budget_reason(decision)
    moving = progress_conditions(decision, ready.status, last_error)
    if isinstance(decision, Steady) and ready.status == "False":
        moving = [Condition("Reconciling", "True", ready.reason, ready.message)]
    conditions = [
        ready,
        *moving,
        silent
        or Condition("Available", "True" if usable else "False", able if usable else Reason.OBSERVE_ONLY if observed else ready.reason),
        *([] if view.local.declared else [vm_ready(view)]),
        reachable,
        configured,
        up_to_date(view),
        suspended(view),
    ]
    if view.record.local.state == "Home" and view.local.not_applied:
        parts = f"on this host these parts of its profile do not apply: {'; '.join(view.local.not_applied)}"
        conditions.append(Condition("ProfilePartlyApplied", "True", Reason.PROFILE_PARTLY_APPLIED, parts))
    if (lost := workspace_condition(view)) is not None:
        conditions.append(lost)
    if (drift := drift_condition(view)) is not None:
        conditions.append(drift)
    if (failing := snapshots_condition(view.slot)) is not None:
        conditions.append(failing)
    if (forked := _forked(view, decision)) is not None:
        conditions.append(forked)
    if view.unread:
        conditions.append(Condition("SecretsUnread", "True", view.unread[0][0], "; ".join(why for _, why in view.unread)))
    unsupported = (*view.unsupported, *convenience)
    if unsupported:
        conditions.append(Condition("Unsupported", "True", Reason.UNSUPPORTED, f"not acted on in this release: {', '.join(unsupported)}"))
    return LieutenantStatus(
        observed_generation=generation,
        phase=lieutenant_phase(view, decision, boot, previous),
        conditions=merge_conditions(previous.get("conditions"), conditions, generation, view.now),
        mode=MODES[view.slot.desired],
        queue=QueueStatus(pending, active),
        vm=vm_status(view.slot),
        snapshots=snapshots_status(view.slot),
        rollback=rollback_status(view.record),
        local=LocalStatus(view.local.place, view.record.local.state, view.slot.record.epoch) if view.record.local.state else None,
        agent=_agent_status(view, previous),
        provider=provider_status(view.provider),
        fallback=fallback_status(view.fallback),
        budget=budget_status(view.record.budget, bool(view.pools)),
        rest=rest_status(view.record.rest),
        memory=memory_status(view.memory, view.agent),
        session=_session_status(view.record.session, view.compacted),
        forked_from=_forked_from(view.slot.record.branch),
        handled=dict(sorted(view.record.handled.items())) or None,
        restarts=_restarts_status(view.record.restart),
        machine=machine_status(view, previous),
        boot=boot,
        replacement=replacement_status(view),
        next_try_at=next_try(decision),
    )


MODES: dict[DesiredState, Literal["Running", "Suspended"] | None] = {
    DesiredState.RUNNING: "Running",
    DesiredState.SUSPENDED: "Suspended",
    DesiredState.GONE: None,
}


def vm_status(slot: Slot) -> VMStatus | None:
    """The machine in the slot."""
    record = slot.record
    if not record.vm_id:
        return None
    return VMStatus(
        id=record.vm_id,
        epoch=record.epoch,
        state=slot.vm.state.value if isinstance(slot.vm, Seen) else "unknown",
        adopted=record.adopted == record.vm_id or None,
        restored_from=record.restored_from or None,
        restored_at=timestamp(record.restored_at) if record.restored_at else None,
        snapshot=(record.snapshot.commit_id if record.snapshot.vm_id == record.vm_id else "") or None,
        ref=record.ref or None,
        commit=record.commit or None,
    )


def _forked(view: LieutenantView, decision: Decision) -> Condition | None:
    """Of one that is to be, or was, made as a live copy."""
    if view.slot.record.branch.vm_id:
        return Condition("Forked", "True", Reason.FORKED)
    if view.slot.original is None or view.slot.desired is DesiredState.GONE:
        return None
    reason, message = told(decision, NONE)
    return Condition("Forked", "False", reason, message)


def _forked_from(branch: BranchRecord) -> ForkedFrom | None:
    return ForkedFrom(branch.source, branch.vm_id, timestamp(branch.at)) if branch.vm_id else None


def _session_status(record: SessionRecord, compacted: Compacted) -> SessionStatus | None:
    if not record.name:
        return None
    status = SessionStatus(record.name, record.generation, record.earlier[-EARLIER:] or None)
    if not compacted.id:
        return status
    at = timestamp(compacted.at) if compacted.at else None
    return replace(status, compactions=compacted.times, last_compaction_at=at, told_again=compacted.told)


def _restarts_status(restart: RestartRecord) -> RestartsStatus | None:
    if not restart.times:
        return None
    return RestartsStatus(
        recent=len(restart.times),
        last_at=timestamp(restart.times[-1]),
        exit_code=restart.exit_code,
        signal=restart.signal and restart.signal[:WORD],
        stderr_tail=restart.stderr_tail[-STDERR:],
    )


def machine_status(view: LieutenantView, previous: Json) -> MachineStatus | None:
    """The done-marks and versions on the machine; of one that was not looked into as before. Nothing of another one before it."""
    if isinstance(view.guest, Guest):
        guest = view.guest
        marks = {name: value[:DIGEST] for name, value in sorted(guest.marks.items()) if name in RECALLED}
        told = (version if version != FORESEEN else "" for version in (guest.node, guest.pi, guest.keeper))
        versions = ((version or "")[:WORD] or None for version in told)
        return MachineStatus(marks, *versions)
    same = view.vm_id and as_map(previous.get("vm")).get("id") == view.vm_id
    return MachineStatus.load(previous["machine"]) if "machine" in previous and same else None


def _agent_status(view: LieutenantView, previous: Json) -> AgentStatus | None:
    """As the keeper reports it, no longer than a status may be: it is the machine that says it. Of a suspended one as it was."""
    agent = view.agent
    if not isinstance(agent, Agent):
        recalled = "agent" in previous and view.vm_id and view.slot.desired is DesiredState.SUSPENDED
        return AgentStatus.load(previous["agent"]) if recalled else None
    keeper = agent.keeper_version[:WORD]
    match agent.process:
        case Up() as up:
            return AgentStatus(
                keeper_version=keeper,
                process="Up",
                pid=up.pid,
                model=(up.model or "")[:MODEL],
                thinking=(up.thinking or "")[:WORD],
                session_id=(up.session_id or "")[:ID],
                launch_hash=up.launch_hash[:DIGEST],
                told=_instructions(up.inside) if up.inside is not None else None,
            )
        case Exited() as exited:
            return AgentStatus(keeper, "Exited", exit_code=exited.exit_code, signal=exited.signal and exited.signal[:WORD])
        case _:
            return AgentStatus(keeper, "NotStarted")


def _instructions(inside: Inside) -> Instructions:
    return Instructions(inside.prompt[:DIGEST], {path: found[:DIGEST] for path, found in sorted(inside.context.items())[:FILES]})
