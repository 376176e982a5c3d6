"""Acts inside a machine: clock, claim, keeper, files, steps, and pi itself."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import assert_never

from reconciler.api.permissions import Permissions
from reconciler.api.reasons import Reason
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
    TakeSnapshot,
    WriteFiles,
)
from reconciler.core.governance.permissions.declared import for_task
from reconciler.core.keys import Json
from reconciler.core.lieutenant.afterwards import after_lieutenant
from reconciler.core.lieutenant.health import after_an_end, clock_given_up, clock_tried
from reconciler.core.lieutenant.policies import at_vm
from reconciler.core.lieutenant.preparation import SECRETS, WITHHELD
from reconciler.core.profile.bake import is_oven
from reconciler.core.profile.directories import AGENT_DIR, WORK_DIR
from reconciler.core.profile.localize import header_to
from reconciler.core.records import ConfigRecord
from reconciler.core.slot.marks import sealed
from reconciler.core.snapshot.agent import Agent, Exited, Guest
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.machine import GuestCommand, GuestFile
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.vm import Seen, Unknown, VmState
from reconciler.engine.act.configuration import ConfigActs
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.inheriting import InheritActs
from reconciler.engine.act.memory import MemoryActs
from reconciler.engine.act.preparation import BootActs, view_dir
from reconciler.engine.places import machine_of, path_at, place_at, place_of, tree_at
from reconciler.engine.ports import AddEvent, Launch, Machine, Place, where
from reconciler.engine.redaction import unseal
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.objects import LieutenantItem, session_of
from reconciler.errors import GuestFailed, GuestUnreachable, ReconcilerError

AGENT = "agent"
"""Done-mark of the files that pi reads at its start."""

STOP_GRACE = 10.0
REMOVAL = 30.0
SYNC = 120.0


class GuestActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools
        self.boot = BootActs(tools)

    async def act(self, item: LieutenantItem, view: LieutenantView, action: GuestAction) -> LieutenantView | None:
        """Carry out one decision about the inside of the machine. Returns the snapshot after it where that is certain; then what is known
        of the machine is known still, else the next pass looks into it afresh."""
        slot, given = item.record.slot, view
        place, agents = place_of(item), self.t.agents
        if place.local and slot.vm_id and getattr(action, "vm_id", "") == slot.vm_id:
            view = at_vm(view)  # something on the machine that it will move to
            place = place_at(item, view)
        machine, reached = Machine(place, slot.epoch), False
        try:
            reached = True
            match action:
                case WriteFiles():
                    await self.boot.write_files(item, view, action.mark)
                case CorrectClock():
                    await self.correct_clock(item, place)
                case GuestClaim():
                    await agents.write_claim(place, view.claim)
                case Install():
                    await agents.install(place)
                    self.note(item, action.done, where(place))
                case StartKeeper():
                    await agents.start_keeper(machine)
                case RunStep():
                    reached = await self.boot.run_step(item, view, action.step)
                case RunVerify():
                    reached = await self.boot.run_verify(item, view, action.check)
                case ReadBack():
                    await self.boot.read_back(item, view, action)
                case RestoreSession():
                    await self.restore(item, view)
                case ContinueSession():
                    await InheritActs(self.t).go_on(item)
                case SaveMemory() | BringMemory():
                    await MemoryActs(self.t).act(item, machine, action)
                case StartAgent():
                    reached = await self.start(item, view)
                case SetModel():
                    await ConfigActs(self.t).set_model(item, view, action)
                case StopAgent(_, why, hung):
                    await agents.stop_agent(machine, STOP_GRACE)
                    self.note(item, Reason.STOPPED_AGENT, why)
                    if hung:
                        await self.count(item, view, item.record.restart.crash_at, None, None, why)
                case CountCrash():
                    await self.count_crash(item, view)
                case RestAgent(_, why):
                    await agents.stop_agent(machine, STOP_GRACE)
                    self.note(item, Reason.STOPPED_AGENT, why)
                case _:
                    assert_never(action)
        except ReconcilerError:
            self.t.gatherer.machines.observe_again(place.id)
            raise
        known = not action.then_observe or isinstance(action, StartKeeper | StartAgent | SetModel)
        then = after_lieutenant(view, action) if known and reached else None
        self.remember(view, action, place, then.guest if then is not None else None)
        return then if given is view and not (then is not None and unasked(then)) else None

    def remember(self, view: LieutenantView, action: GuestAction, place: Place, guest: Guest | Unknown | None) -> None:
        """What this act has made of the machine: `guest`, where that is certain."""
        machines = self.t.gatherer.machines
        if not isinstance(guest, Guest):
            machines.observe_again(place.id)
        elif isinstance(action, WriteFiles) and action.mark == AGENT and isinstance(view.rendered, Rendered):
            machines.written(place.id, guest, view.rendered.agent_hash)
        else:
            machines.know(place.id, guest)

    async def before_a_snapshot(self, item: LieutenantItem, view: LieutenantView, action: TakeSnapshot) -> None:
        """The files that came from secrets go, and what is written reaches the disk. What can't be done is told, and holds nothing up; but
        what is baked has no secret in it (G-60): raises `GuestFailed` for that. On a machine that goes on they are written again; that this
        is to be done is marked there first."""
        there = Machine(Place(action.vm_id), item.record.slot.epoch)
        runs = isinstance(view.slot.vm, Seen) and view.slot.vm.state is VmState.RUNNING
        paths = self.t.gatherer.profiles.secret_files(item.key, item.spec)
        if paths:
            left = await self._withhold(item, there, paths, action.cause != "Deleted") if runs else "the machine does not run"
            if left and is_oven(item.key):
                raise GuestFailed(f"what came from secrets can't be taken off it: {left}", action.vm_id, "it is not committed")
            if left:
                self.t.recorder.note(item.key, item.uid, Reason.SECRETS_IN_SNAPSHOT, f"{', '.join(paths)}: {left}", "Warning")
        if runs and (why := await self._unwritten(there)):
            said = f"VM {action.vm_id}: what was written last may not be in the snapshot: {why}"
            self.t.recorder.note(item.key, item.uid, Reason.GUEST_UNREACHABLE, said, "Warning")

    async def _unwritten(self, there: Machine) -> str:
        """Write out what the machine has in its memory only; returns why it may not be on the disk, '' when it is."""
        try:
            result = await self.t.agents.run(there, GuestCommand(("sync",), cwd="/", timeout=SYNC))
        except (GuestFailed, GuestUnreachable) as error:
            return str(error)
        return "" if result.exit_code == 0 else f"sync ended with exit code {result.exit_code}"

    async def _withhold(self, item: LieutenantItem, there: Machine, paths: Sequence[str], goes_on: bool) -> str:
        """Remove the files that came from secrets; returns why they are still there, '' when they are not."""
        try:
            if goes_on:
                self.t.gatherer.machines.observe_again(there.id)
                await self.t.agents.mark(there, SECRETS, sealed(WITHHELD, there.id, item.record.slot))
            result = await self.t.agents.run(there, GuestCommand(("rm", "-f", "--", *paths), cwd="/", timeout=REMOVAL))
        except (GuestFailed, GuestUnreachable) as error:
            return str(error)
        return "" if result.exit_code == 0 else self.t.redact(result.stderr.strip()[-300:]) or "rm failed"

    def note(self, item: LieutenantItem, reason: str, message: str) -> None:
        self.t.recorder.note(item.key, item.uid, reason, message)

    async def correct_clock(self, item: LieutenantItem, place: Place) -> None:
        """Set it, and write down how that went: only the next look tells whether it took."""
        vm_id, error = place.vm_id, ""
        try:
            await self.t.agents.correct_clock(place)
        except GuestFailed as failed:
            error = self.t.redact(str(failed))[:500]
        clock = clock_tried(item.record.clock, vm_id, self.t.clock.now(), error)
        told: list[AddEvent] = []
        if clock_given_up(clock, vm_id, clock.at):
            what = f"the clock of VM {vm_id} is wrong and can't be set: {error or 'setting it has no effect'}"
            told = self.t.recorder.event(item.key, item.uid, Reason.CLOCK_NOT_CORRECTED, what, "Warning")
        elif not error:
            told = self.t.recorder.event(item.key, item.uid, Reason.CORRECTED_CLOCK, f"VM {vm_id}")
        await self.t.save(item, self.t.current(item).but(clock=clock), *told)

    # --- pi ----------------------------------------------------------------------------------------------------------------------------

    async def restore(self, item: LieutenantItem, view: LieutenantView) -> None:
        """The conversation, from the mirror, to a machine that never had it."""
        transcripts = self.t.gatherer.transcripts
        session = session_of(item)
        place = place_of(item)
        data = header_to(unseal(await transcripts.read(session.name), self.t.secrets), tree_at(self.t.settings, place))
        file = GuestFile(path_at(self.t.settings, place, session.file), data, 0o600)
        await self.t.agents.write_files(machine_of(item), [file], view_dir(view))
        self.note(item, Reason.RESTORED_SESSION, f"{len(data)} bytes on {where(place)}")

    async def start(self, item: LieutenantItem, view: LieutenantView) -> bool:
        """Whether pi runs now."""
        assert isinstance(view.rendered, Rendered)
        rendered, place, machine = view.rendered, place_of(item), machine_of(item)
        agent_dir = path_at(self.t.settings, place, AGENT_DIR)
        launch = Launch(
            command=rendered.command,
            argv=rendered.argv,
            env={**self.boot.environment(item, view), "PI_OFFLINE": "1", "PI_SKIP_VERSION_CHECK": "1", "PI_CODING_AGENT_DIR": agent_dir},
            work_dir=rendered.work_dir,
            agent_dir=agent_dir,
            session_file=path_at(self.t.settings, place, session_of(item).file),
            launch_hash=rendered.launch_hash,
            guard=guard_of(rendered),
            memory=rendered.memory.launch() if rendered.memory else None,
            compacting=rendered.compacting,
            sandbox=sandbox_of(self.t.settings, item, rendered),
        )
        record = item.record
        if place.local and record.local.fenced:  # this start would be refused by no fence: another one is raised before a move
            record = record.but(local=record.local.but(fenced=0))
        if record.replacement.fenced:
            record = record.but(replacement=record.replacement.but(fenced=0))
        if record is not item.record:
            await self.t.save(item, record)
        if launch.sandbox is not None:
            await self.t.agents.install_boundary(place)
        try:
            await self.t.agents.start_agent(machine, launch)
        except GuestFailed as failed:
            look = await self.t.agents.observe(machine, launch.session_file, 0)
            ended = look.agent.process
            if isinstance(ended, Exited):
                await self.count(item, view, ended.at, ended.exit_code, ended.signal, ended.stderr_tail)
            else:
                await self.count(item, view, item.record.restart.crash_at, failed.exit_code, None, failed.tail or failed.what)
            return False
        now = self.t.current(item)
        directory = "" if rendered.work_dir == WORK_DIR or place.local else rendered.work_dir
        if now.config != ConfigRecord() or now.workspace.directory != directory:  # what another pi refused says nothing about this one
            await self.t.save(item, now.but(config=ConfigRecord(), workspace=now.workspace.but(directory=directory)))
        self.note(item, Reason.STARTED_AGENT, f"pi on {where(place)}")
        return True

    async def count_crash(self, item: LieutenantItem, view: LieutenantView) -> None:
        assert isinstance(view.agent, Agent)
        assert isinstance(view.agent.process, Exited)
        ended = view.agent.process
        await self.count(item, view, ended.at, ended.exit_code, ended.signal, ended.stderr_tail)

    async def count(
        self, item: LieutenantItem, view: LieutenantView, crash_at: float, exit_code: int | None, signal: str | None, stderr: str
    ) -> None:
        """Write down an unasked-for end of pi; G-25 follows from what is written. `crash_at` is the guest's own time and
        only tells one end from another; all arithmetic is on our clock (G-12)."""
        ended_so = Exited(crash_at, exit_code, signal, self.t.redact(stderr))
        restart = after_an_end(item.record.restart, item.spec.restart, ended_so, self.t.clock.now(), self.t.jitter(), item.obj.generation)
        ended = f"ended with signal {signal}" if signal else f"ended with exit code {exit_code}"
        if exit_code is None and signal is None:
            ended = "was stopped"
        said = self.t.recorder.event(item.key, item.uid, Reason.AGENT_EXITED, f"pi {ended}: {restart.stderr_tail[-300:]}", "Warning")
        tried_with = view.rendered.basis if isinstance(view.rendered, Rendered) else ""
        await self.t.save(item, self.t.current(item).but(restart=restart.but(tried_with=tried_with)), *said)


def guard_of(rendered: Rendered, task: Permissions | None = None) -> Json | None:
    """The rules for tool calls as a keeper takes them, with those of a task below; None when nothing is checked."""
    rules = for_task(rendered.rules, task, rendered.work_dir)
    if rules is None:
        return None
    seconds = min(rendered.ask_seconds, float(task.ask_timeout_seconds)) if task is not None else rendered.ask_seconds
    return {**rules.declared(), "askMs": round(seconds * 1000)}


def sandbox_of(settings: EngineSettings, item: LieutenantItem, rendered: Rendered) -> Json | None:
    """The boundary of its agent as a keeper takes it; None where none is declared."""
    if rendered.boundary is None:
        return None
    agent_dir, session_file = (path_at(settings, place_of(item), path) for path in (AGENT_DIR, session_of(item).file))
    return rendered.boundary.declared(rendered.work_dir, agent_dir, posixpath.dirname(session_file))


def unasked(view: LieutenantView) -> bool:
    """A keeper runs there and was not asked yet: what it says decides what follows."""
    return isinstance(view.guest, Guest) and view.guest.keeper_alive and view.agent is None
