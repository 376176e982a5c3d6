"""The snapshot of a lieutenant and its tasks once an act has succeeded. Pure: a plan is made of it, and the loop goes on with it where an
act leaves nothing to be observed."""

from __future__ import annotations

from reconciler.core.decisions import (
    AbortTurn,
    Acknowledge,
    Act,
    Adopt,
    AnswerQuestion,
    AskOriginal,
    BeginSession,
    BindCreated,
    ClearSlot,
    CloseLocal,
    Continue,
    Create,
    Delete,
    Deliver,
    Detach,
    Escalate,
    ExpireTask,
    FenceLocal,
    Finish,
    GiveUpIntent,
    GovernAction,
    GuestAction,
    HoldForBudget,
    HoldForProvider,
    KeepEnd,
    LabelClaim,
    Landed,
    LeaveLocal,
    LookForArtifact,
    MarkForDeletion,
    MirrorSession,
    MoveOn,
    MoveToVm,
    NoteAnswer,
    NoteSession,
    NoteTaskSpending,
    NoteWorkspace,
    OpenLocal,
    Progress,
    Release,
    Remind,
    ReplacementAction,
    Reprompt,
    Resume,
    SendSteer,
    SnapshotAction,
    SpareAction,
    StandStill,
    Suspend,
    SwapMachines,
    TakeWarm,
    TellOfBudget,
    TryAgain,
    Verify,
    Withdraw,
)
from reconciler.core.keys import Key
from reconciler.core.lieutenant.aftergovernance import after_governing, started
from reconciler.core.lieutenant.afterguest import after_guest, agent_after
from reconciler.core.lieutenant.afterreplacement import after_replacement
from reconciler.core.lieutenant.aftersnapshot import after_snapshot, after_spare
from reconciler.core.lieutenant.policies import at_vm
from reconciler.core.lieutenant.preparation import PREPARED, SECRETS
from reconciler.core.lieutenant.requests import acknowledge
from reconciler.core.lieutenant.session import begun_anew, chosen
from reconciler.core.plan import Step
from reconciler.core.profile.localize import localized
from reconciler.core.provider.breaker import CLOSED
from reconciler.core.records import (
    LieutenantRecord,
    LocalRecord,
    SlotRecord,
    StandRecord,
    WorkspaceRecord,
)
from reconciler.core.slot.occupancy import emptied
from reconciler.core.snapshot.agent import FORESEEN, Agent, Guest, NotStarted, Up
from reconciler.core.snapshot.branch import Standing
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.local import StandbyVM
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.task import Dependency, Talk
from reconciler.core.snapshot.vm import Absent, Seen, VmState
from reconciler.core.snapshot.workset import TaskFacts, WorkSet
from reconciler.core.values import replaced

NEW_VM = "(new VM)"
NEW_SESSION = "(new session)"


def after(view: WorkSet, step: Step) -> WorkSet | None:
    """The snapshot once this act has succeeded; None when nothing is left of the lieutenant."""
    if step.key != view.key:
        return after_task(view, step.key, step.action)
    assert view.lieutenant is not None
    if isinstance(step.action, MirrorSession):
        return replaced(view, lieutenant=view.lieutenant.but(pending=0))
    if isinstance(step.action, Release):
        return None
    if isinstance(step.action, SpareAction) and not isinstance(step.action, SwapMachines):
        return replaced(view, lieutenant=after_spare(view.lieutenant, step.action))
    lt = after_lieutenant(view.lieutenant, step.action)
    talk = talk_after(view.talk, lt)
    if isinstance(step.action, AbortTurn) and view.talk is not None:
        talk = replaced(view.talk, settled=True)
    return replaced(view, lieutenant=lt, talk=talk)


def talk_after(talk: Talk | None, lt: LieutenantView) -> Talk | None:
    """The conversation, as far as this lieutenant's agent can be asked for it."""
    if not isinstance(lt.agent, Agent):
        return None
    up = isinstance(lt.agent.process, Up)
    said, paid = (talk.messages, talk.usages) if talk else ((), ())
    return Talk(said, lt.mirror_size, up and not _busy(lt), up, usages=paid)


def _busy(lt: LieutenantView) -> bool:
    return isinstance(lt.agent, Agent) and isinstance(lt.agent.process, Up) and lt.agent.process.busy


def after_lieutenant(lt: LieutenantView, action: Act) -> LieutenantView:
    if lt.standby is not None and getattr(action, "vm_id", "") == lt.slot.record.vm_id and isinstance(action, GuestAction):
        there = after_lieutenant(at_vm(lt), action)
        return lt.but(standby=StandbyVM(lt.standby.claim, there.guest, there.agent))
    if isinstance(action, ReplacementAction):
        return after_replacement(lt, action, after_lieutenant)
    if isinstance(action, GovernAction):
        return after_governing(lt, action)
    if isinstance(action, GuestAction):
        return after_guest(lt, action)
    if isinstance(action, SnapshotAction):
        return lt.but(slot=after_snapshot(lt.slot, action, lt.now))
    slot, record, guest = lt.slot, lt.slot.record, lt.guest
    match action:
        case Acknowledge():
            assert lt.requests is not None
            return with_record(lt, acknowledge(lt.record, lt.requests).record)
        case Create(attempt=attempt) if lt.record.local.state == "Home":
            record = record.but(vm_id=NEW_VM, epoch=record.epoch + 1, attempts=attempt)
            slot = replaced(slot, record=record, vm=Seen(VmState.RUNNING, claimed=False))
            claim = {**lt.claim, "vm-id": NEW_VM, "epoch": str(record.epoch)}
            return lt.but(slot=slot, standby=StandbyVM(claim, Guest(), None))
        case Create(attempt=attempt):
            record = record.but(vm_id=NEW_VM, epoch=record.epoch + 1, attempts=attempt)
            slot = replaced(slot, record=record, vm=Seen(VmState.RUNNING, claimed=False), original=None)
            return lt.but(slot=slot, claim={**lt.claim, "vm-id": NEW_VM, "epoch": str(record.epoch)}, guest=Guest(), agent=None)
        case AskOriginal():
            assert slot.original is not None
            asked = record.branch.but(asked_at=lt.now)
            stands = replaced(slot.original, standing=Standing(slot.original.vm_id, since=lt.now, named=slot.original.named))
            return lt.but(slot=replaced(slot, record=record.but(branch=asked), original=stands))
        case StandStill() as told:
            stand = lt.record.stand.but(vm_id=told.vm_id, session=told.session, size=told.size, since=lt.now)
            return lt.but(record=lt.record.but(stand=stand))
        case MoveOn():
            return lt.but(record=lt.record.but(stand=StandRecord(over=lt.now)))
        case BindCreated(vm_id, _):
            slot = replaced(slot, record=record.but(vm_id=vm_id), intent=None, original=None, vm=Seen(VmState.RUNNING, claimed=False))
            return lt.but(slot=slot, guest=Guest(), agent=None)
        case Adopt(vm_id):
            slot = replaced(slot, record=record.but(vm_id=vm_id, epoch=record.epoch + 1, adopted=vm_id), adopt=None)
            seen = lt.slot.adopt.vm if lt.slot.adopt is not None else Seen(VmState.RUNNING)
            slot = replaced(slot, vm=_seen(seen, claimed=False, claimed_by=""))
            return lt.but(slot=slot, claim={**lt.claim, "vm-id": vm_id, "epoch": str(slot.record.epoch)}, guest=Guest(), agent=None)
        case TakeWarm(vm_id):
            assert isinstance(lt.rendered, Rendered)
            taken = record.but(vm_id=vm_id, epoch=record.epoch + 1)
            slot = replaced(slot, record=taken, vm=Seen(VmState.SUSPENDED, claimed=False), warm=None)
            marks = {PREPARED: lt.rendered.profile_hash, SECRETS: lt.rendered.secrets_hash}
            guest = Guest(0.0, None, FORESEEN, FORESEEN, lt.lt.keeper_version, True, marks)
            claim = {**lt.claim, "vm-id": vm_id, "epoch": str(taken.epoch)}
            lt = lt.but(slot=slot, claim=claim, guest=guest)
            return lt.but(agent=agent_after(lt, NotStarted()))
        case GiveUpIntent():
            return lt.but(slot=replaced(slot, intent=None))
        case Detach():
            return lt.but(slot=replaced(slot, record=SlotRecord(epoch=record.epoch, adopted=record.adopted), vm=Absent(proven=True)))
        case LabelClaim():
            return lt.but(slot=replaced(slot, record=record.but(chosen=""), vm=_seen(slot.vm, claimed=True, claimed_by="")))
        case Suspend():
            return lt.but(slot=replaced(slot, vm=_seen(slot.vm, state=VmState.SUSPENDED)), guest=None, agent=None)
        case Resume():
            taken_as_it_is = isinstance(guest, Guest) and guest.claim is None  # by a lieutenant whose agent was never on it
            if isinstance(lt.rendered, Unresolved) or lt.record.local.state == "Home" or taken_as_it_is:
                return lt.but(slot=replaced(slot, vm=_seen(slot.vm, state=VmState.RUNNING)))
            marks = {PREPARED: lt.rendered.profile_hash, "agent": lt.rendered.agent_hash}
            guest = Guest(0.0, lt.claim, FORESEEN, FORESEEN, lt.lt.keeper_version, True, marks)
            slot = replaced(slot, vm=_seen(slot.vm, state=VmState.RUNNING))
            process = replaced(started(lt), model=lt.rendered.model, thinking=lt.rendered.thinking)
            return lt.but(slot=slot, guest=guest, agent=agent_after(lt, process))
        case MarkForDeletion(cause=cause):
            return lt.but(slot=replaced(slot, record=record.but(marked_for_deletion=True, cause=cause)), guest=None, agent=None)
        case Delete():
            return lt.but(slot=replaced(slot, vm=Absent(proven=True)))
        case NoteWorkspace(vm_id):
            return lt.but(record=lt.record.but(workspace=WorkspaceRecord(lost=vm_id)))
        case ClearSlot(vm_id):
            if record.cause in ("", "Dead"):
                lt = lt.but(record=lt.record.but(session=lt.record.session.but(lost=vm_id)))
            return lt.but(slot=replaced(slot, record=emptied(record, record.cause in ("", "Dead")), vm=Absent(proven=True)))
        case OpenLocal(place, fallback):
            assert isinstance(lt.rendered, Rendered)
            local = LocalRecord(state="Home", fallback=fallback)
            made = lt.rendered if lt.local.declared else localized(lt.rendered, place)
            claim = {**lt.claim, "vm-id": place, "epoch": str(record.epoch + 1)}
            slot = replaced(slot, record=record.but(epoch=record.epoch + 1))
            return lt.but(slot=slot, record=lt.record.but(local=local), rendered=made, claim=claim, guest=Guest(), agent=None)
        case FenceLocal():
            epoch = record.epoch + 1
            slot = replaced(slot, record=record.but(epoch=epoch))
            vm = lt.standby
            standby = replaced(vm, claim={**vm.claim, "epoch": str(epoch)}) if vm else None
            local = lt.record.local.but(fenced=epoch)
            return lt.but(slot=slot, record=lt.record.but(local=local), standby=standby, claim={**lt.claim, "epoch": str(epoch)})
        case MoveToVm():
            return at_vm(lt).but(agent=agent_after(lt, NotStarted()))
        case CloseLocal() | LeaveLocal():
            return lt.but(record=lt.record.but(local=LocalRecord()))
        case NoteSession(seen):
            return lt.but(record=lt.record.but(session=lt.record.session.but(seen=seen)))
        case BeginSession(generation, _):
            session = begun_anew(lt.record.session, NEW_SESSION, generation)
            agent = lt.agent if isinstance(lt.agent, Agent) else None
            fresh = replaced(agent, session_size=0) if agent else lt.agent
            return lt.but(record=lt.record.but(session=session), agent=fresh, mirror_size=0, session_seen=0, divergence=None)
        case KeepEnd(end):
            session = chosen(lt.record.session, NEW_SESSION, end)
            agent = lt.agent if isinstance(lt.agent, Agent) else None
            if agent is not None and end == "local":
                lt = lt.but(agent=replaced(agent, session_size=0))
            elif agent is not None:
                lt = lt.but(mirror_size=agent.session_size)
            return lt.but(record=lt.record.but(session=session), session_seen=0, divergence=None)
        case AbortTurn():
            slot = replaced(slot, busy=False)
            return lt.but(slot=slot)
        case _:
            return lt


def with_record(lt: LieutenantView, record: LieutenantRecord) -> LieutenantView:
    """The snapshot with this record, also in its slot."""
    return lt.but(record=record, slot=replaced(lt.slot, record=record.slot))


def after_task(view: WorkSet, key: Key, action: Act) -> WorkSet:
    """A delivered task is taken to succeed; dependants follow."""
    phase = "Succeeded" if isinstance(action, Deliver | SendSteer | Escalate | Reprompt | Continue | Verify) else ""
    facts: list[TaskFacts] = []
    for f in view.tasks:
        if f.key == key:
            if isinstance(action, Release | ExpireTask):
                continue
            record = f.record
            match action:
                case Finish(ended, reason, message):
                    record = record.but(phase=ended, reason=reason, message=message)
                case Landed(offset):
                    record = record.but(phase="Running", landed=offset)
                case Progress(size, activity):
                    record = record.but(progress_size=size, progress_at=view.now, activity=activity)
                case AnswerQuestion(question) if view.talk is not None:
                    view = replaced(view, talk=replaced(view.talk, asks=tuple(ask for ask in view.talk.asks if ask.id != question)))
                case LookForArtifact():
                    record = record.but(artifact="seen")
                case TryAgain():
                    record = record.but(phase="Pending", not_before=0.0)
                case HoldForProvider():
                    record = record.but(phase="Pending", held=record.held + 1)
                case HoldForBudget():
                    record = record.but(phase="Pending")
                case NoteTaskSpending(state):
                    record = record.but(budget=state)
                case TellOfBudget():
                    record = record.but(budget_told=view.now)
                case Remind() if view.lieutenant is not None:
                    said = replaced(view.lieutenant.compacted, told=True)
                    view = replaced(view, lieutenant=view.lieutenant.but(compacted=said))
                case AbortTurn(why):
                    record = record.but(abort=why, aborted_at=view.now)
                case Withdraw():
                    record = record.but(abort="Withdrawn", aborted_at=view.now)
                case _:
                    record = record.but(phase=phase or record.phase)
            f = replaced(f, record=record)
        facts.append(f)
    phases = {f.key.name: f.record.phase for f in facts}
    settled = [replaced(f, dependencies=tuple(Dependency(d.name, phases.get(d.name, d.phase)) for d in f.dependencies)) for f in facts]
    talk = replaced(view.talk, settled=True) if view.talk and isinstance(action, AbortTurn) else view.talk
    lt = view.lieutenant
    if lt is not None:
        sent = any(f.record.sent for f in settled)
        provider = lt.provider
        if isinstance(action, HoldForProvider):
            provider = replaced(provider, breaker=provider.breaker.failed(action.trouble, action.error, view.now))
        elif isinstance(action, NoteAnswer):
            provider = replaced(provider, breaker=CLOSED)
        lt = lt.but(provider=provider, active_task=sent, slot=replaced(lt.slot, busy=sent and bool(lt.slot.busy)))
    return replaced(view, tasks=tuple(settled), talk=talk, lieutenant=lt)


def _seen(vm: object, state: VmState | None = None, claimed: bool | None = None, claimed_by: str | None = None) -> Seen:
    old = vm if isinstance(vm, Seen) else Seen(VmState.RUNNING)
    by = old.claimed_by if claimed_by is None else claimed_by
    return replaced(old, state=state or old.state, claimed=old.claimed if claimed is None else claimed, claimed_by=by)
