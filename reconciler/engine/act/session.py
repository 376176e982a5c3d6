"""Acts on the conversation: save what was read of it, note what can't be saved yet, begin another one, let one of two ends go on. All of
them only write into our own books; what is on a machine or in the store stays where it is (G-32)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, assert_never

from reconciler.api.reasons import Reason
from reconciler.core.decisions import (
    BeginSession,
    KeepEnd,
    MirrorSession,
    MoveOn,
    NoteSession,
    NoteWorkspace,
    RewindSession,
    SessionAction,
    StandStill,
)
from reconciler.core.lieutenant.session import begun_anew, chosen, current, forked, path_of, rewound
from reconciler.core.lieutenant.workspace import gone_with_it
from reconciler.core.records import RestartRecord, StandRecord
from reconciler.core.snapshot.agent import Agent, Exited
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.times import timestamp
from reconciler.engine.act.context import ActContext
from reconciler.engine.ports import AddEvent, Write
from reconciler.engine.state.objects import LieutenantItem, session_of
from reconciler.engine.state.transcripts import Transcript
from reconciler.errors import ReconcilerError


class SessionActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    async def act(self, item: LieutenantItem, view: LieutenantView, action: SessionAction) -> None:
        """Carry out one decision about the conversation, durably."""
        if isinstance(action, MirrorSession):
            await self.mirror(item)
            return
        old = item.record.session
        said: list[AddEvent] = []
        if isinstance(action, NoteWorkspace):
            await self.workspace_lost(item, action.vm_id)
            return
        if isinstance(action, StandStill | MoveOn):
            await self.stand(item, action)
            return
        if isinstance(action, RewindSession):
            await self.rewind(item, action)
            return
        match action:
            case NoteSession(seen):
                session = old.but(seen=seen)
            case BeginSession(generation, why):
                session = begun_anew(old, item.uid, generation)
                kept = f"; the one before, {view.mirror_size} bytes, is kept as {old.name}" if old.name else ""
                declared = generation > old.generation
                said = self.event(item, Reason.BEGAN_SESSION, f"{session.name}: {why}{kept}", "Normal" if declared else "Warning")
            case KeepEnd(end):
                session = chosen(old, item.uid, end)
                where, new = session_of(item), current(session, item.uid, old.generation)
                if end == "vm":
                    told = f"{where.file} goes on, mirrored as {new.name}; the mirror {where.name} is kept"
                else:
                    told = f"the mirror {where.name} goes on in {new.file}; {where.file} is kept on the machine"
                said = self.event(item, Reason.RESOLVED_SESSION, told, "Warning")
            case _:
                assert_never(action)
        restart = item.record.restart
        if isinstance(action, KeepEnd):  # what ended pi again and again was the end that does not go on
            ended = view.agent.process.at if isinstance(view.agent, Agent) and isinstance(view.agent.process, Exited) else restart.crash_at
            restart = RestartRecord(crash_at=ended)
        workspace = item.record.workspace.but(lost="") if isinstance(action, BeginSession) else item.record.workspace
        await self.t.save(item, item.record.but(session=session, restart=restart, workspace=workspace), *said)

    async def mirror(self, item: LieutenantItem) -> None:
        """What was read is saved, and what it cost is in the books, in one transaction."""
        budgets, transcripts, now = self.t.gatherer.budgets, self.t.gatherer.transcripts, self.t.clock.now()
        transcript = await transcripts.get(session_of(item).name)
        inherited = await self.inherited(item, transcript)
        item = replace(item, record=self.t.current(item))
        counted = budgets.count(item, transcript.name, transcript.costs, inherited, now)

        async def write(rows: Sequence[Write]) -> None:
            await self.t.save(item, item.record.but(spending=counted.record), *rows, *counted.rows(item.key))

        try:
            await transcripts.save(transcript.name, write)
        except ReconcilerError:
            budgets.doubt(item)
            raise
        budgets.put(item, counted, now)

    async def inherited(self, item: LieutenantItem, transcript: Transcript) -> frozenset[str]:
        """The messages of this conversation that another one had, with which it goes on: they are in the books already."""
        before = item.record.spending.session
        if before in ("", transcript.name):
            return frozenset()
        return frozenset(message.entry_id for message in (await self.t.gatherer.transcripts.get(before)).costs)

    async def rewind(self, item: LieutenantItem, action: RewindSession) -> None:
        """The conversation up to there goes on under another name; all of it is kept under the one that it had."""
        transcripts, old = self.t.gatherer.transcripts, item.record.session
        session = rewound(old, item.uid)
        whole = await transcripts.read(old.name, action.size)
        rows = transcripts.beginning(session.name, forked(whole, session.name, path_of(old.name))) if whole else []
        told = f"{session.name}: {action.turns} turns are taken back, {action.size} bytes go on; all of it is kept as {old.name}"
        said = self.event(item, Reason.BEGAN_SESSION, told, "Warning")
        await self.t.save(item, item.record.but(session=session, restart=RestartRecord()), *rows, *said)
        if rows:
            transcripts.began(session.name, sum(len(row.data) for row in rows))

    async def stand(self, item: LieutenantItem, action: StandStill | MoveOn) -> None:
        """It stands still, or goes on with its work, unless a copy was asked for while that was decided."""
        now, vm_id = self.t.clock.now(), item.record.slot.vm_id
        if isinstance(action, StandStill):
            stand = item.record.stand.but(vm_id=action.vm_id, session=action.session, size=action.size, since=now)
        elif self.t.gatherer.branches.sent(vm_id, now):
            return
        else:
            stand = StandRecord(over=now)
        await self.t.save(item, item.record.but(stand=stand))

    async def workspace_lost(self, item: LieutenantItem, vm_id: str) -> None:
        as_of = item.record.slot.restored_at
        gone = gone_with_it(vm_id, f"as of {timestamp(as_of)}" if as_of else "")
        message = f"{gone}; the conversation goes on without them, and the agent is told"
        said = self.event(item, Reason.WORKSPACE_LOST, message, "Warning")
        await self.t.save(item, item.record.but(workspace=item.record.workspace.but(left="", lost=vm_id)), *said)

    def event(self, item: LieutenantItem, reason: str, message: str, kind: Literal["Normal", "Warning"]) -> list[AddEvent]:
        return self.t.recorder.event(item.key, item.uid, reason, message, kind)
