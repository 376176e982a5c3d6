"""The snapshot of a lieutenant once an act inside its machine has succeeded. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from reconciler.core.decisions import (
    BringMemory,
    ContinueSession,
    CorrectClock,
    CountCrash,
    GuestAction,
    GuestClaim,
    Install,
    ReadBack,
    RestAgent,
    RestoreSession,
    RunStep,
    RunVerify,
    SaveMemory,
    SetModel,
    StartAgent,
    StartKeeper,
    StopAgent,
    WriteFiles,
)
from reconciler.core.lieutenant.aftergovernance import after_remembering, remembered_there, started
from reconciler.core.lieutenant.preparation import SECRETS, check_mark, hash_of, marks_of, process_of, step_mark
from reconciler.core.records import LoadedRecord
from reconciler.core.snapshot.agent import FORESEEN, Agent, Guest, NotStarted, Up
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.values import replaced


def after_guest(lt: LieutenantView, action: GuestAction) -> LieutenantView:
    guest = lt.guest
    match action:
        case WriteFiles(_, mark):
            assert isinstance(lt.rendered, Rendered)
            written = lt.rendered
            marked = _marked(guest, {mark: hash_of(written, mark)})
            marked = _marked(marked, {SECRETS: written.secrets_hash}) if mark == "files" else marked
            return lt.but(guest=marked, edited=()) if mark == "agent" and lt.edited else lt.inside(guest=marked)
        case CorrectClock():
            return lt.inside(guest=_guest(guest, clock_skew=0.0))
        case GuestClaim():
            return lt.inside(guest=_guest(guest, claim=lt.claim))
        case Install():
            return lt.inside(guest=_guest(guest, node=FORESEEN, pi=FORESEEN, keeper=lt.lt.keeper_version))
        case StartKeeper():
            return lt.inside(guest=_guest(guest, keeper_alive=True), agent=agent_after(lt, NotStarted()))
        case RunStep(_, name):
            assert isinstance(lt.rendered, Rendered)
            step = next(s for s in lt.rendered.steps if s.name == name)
            return lt.inside(guest=_done(guest, lt.rendered, step_mark(step)))
        case RunVerify(_, name):
            assert isinstance(lt.rendered, Rendered)
            check = lt.rendered.check(name)
            assert check is not None
            return lt.inside(guest=_done(guest, lt.rendered, check_mark(check)))
        case ReadBack():
            assert isinstance(lt.agent, Agent)
            assert isinstance(lt.agent.process, Up)
            return lt.but(record=lt.record.but(loaded=LoadedRecord(process=process_of(lt.lt, lt.agent.process))))
        case RestoreSession(_, size):
            agent = lt.agent if isinstance(lt.agent, Agent) else None
            return lt.but(agent=replaced(agent, session_size=size) if agent else None)
        case ContinueSession(vm_id):
            return lt.but(record=lt.record.but(session=lt.record.session.but(looked_on=vm_id)))
        case SaveMemory() | BringMemory():
            return after_remembering(lt, action)
        case StartAgent():
            return lt.inside(agent=agent_after(lt, started(lt)))
        case SetModel(_, model, thinking):
            if isinstance(lt.agent, Agent) and isinstance(lt.agent.process, Up):
                has = lt.agent.process
                process = replaced(has, model=model or has.model, thinking=thinking or has.thinking)
                return lt.but(agent=replaced(lt.agent, process=process))
            return lt
        case StopAgent() | RestAgent():
            return lt.but(agent=agent_after(lt, NotStarted()), guest=_marked(guest, {"agent": ""}))
        case CountCrash(at):
            restart = lt.record.restart.but(crash_at=at)
            return lt.but(record=lt.record.but(slot=lt.slot.record, restart=restart))
        case _:
            assert_never(action)


def _guest(guest: object, **changes: object) -> Guest:
    return replaced(guest if isinstance(guest, Guest) else Guest(), **changes)  # type: ignore[arg-type]


def _marked(guest: object, marks: Mapping[str, str]) -> Guest:
    old = guest if isinstance(guest, Guest) else Guest()
    return replaced(old, marks={**old.marks, **marks})


def _done(guest: object, rendered: Rendered, mark: tuple[str, str]) -> Guest:
    """A step or check went well."""
    return _marked(guest, marks_of(rendered, guest.marks if isinstance(guest, Guest) else {}, mark))


def agent_after(lt: LieutenantView, process: Up | NotStarted) -> Agent:
    size = lt.agent.session_size if isinstance(lt.agent, Agent) else (lt.mirror_size if isinstance(process, Up) else 0)
    memory = lt.agent.memory if isinstance(lt.agent, Agent) else remembered_there(lt)
    return Agent(lt.lt.keeper_version, lt.slot.record.epoch, process, "", size, memory=memory)
