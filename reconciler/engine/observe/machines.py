"""What is inside a machine, or in a directory on this host: guest, keeper, agent and conversation. Looks into one are kept until
something suggests another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from reconciler.core.keys import Key
from reconciler.core.profile.instructions import sha256
from reconciler.core.profile.localize import first_line, header_from, in_tree, shift_of
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.marks import valid
from reconciler.core.snapshot.agent import FORESEEN, Agent, Exited, Guest, Process, Up, Verdict
from reconciler.core.snapshot.local import Hosting, StandbyVM
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.session import SessionName
from reconciler.core.snapshot.task import Talk
from reconciler.core.snapshot.vm import Absent, Unknown, Vm, VmState
from reconciler.core.task.view import continued, landed_at
from reconciler.core.values import replaced
from reconciler.engine.credentials import Credentials
from reconciler.engine.observe.comparison import Comparison
from reconciler.engine.observe.content import bytes_of
from reconciler.engine.places import here, machine_of, place_of, tree_at
from reconciler.engine.ports import AgentReader, Clock, Machine, Place
from reconciler.engine.redaction import redact_agent, seal
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.items import continue_key
from reconciler.engine.state.objects import LieutenantItem, TaskItem, command_key, session_of
from reconciler.engine.state.transcripts import Transcript, Transcripts
from reconciler.errors import GuestFailed, GuestUnreachable, StaleEpoch

NOTHING_OF_IT = 1 << 52
"""Offset beyond the end of every session."""

LOOK_EVERY = 60.0
"""Seconds after which a machine whose keeper answers is looked into afresh all the same: it may have been suspended and resumed
between two lists, and its clock be wrong (G-12)."""

READ_AT_ONCE = 8 * 1024 * 1024
"""Bytes of a conversation after which what was read is saved before more is read."""


class Inside(NamedTuple):
    """What was read on the machine of an agent, and the conversation with it. `guest`, `agent`: None when there was no reason to look;
    `verdicts`: of tasks that are being delivered; `edited`: files for pi that are not on the disk as they were written."""

    transcript: Transcript
    guest: Guest | Unknown | None
    agent: Agent | Unknown | None
    talk: Talk | None
    verdicts: Mapping[Key, Verdict]
    edited: tuple[str, ...]


class Machines:
    """`agents`, `comparison`: the way in, which changes nothing. `owner`: whose claim a machine must carry to be looked into."""

    def __init__(
        self,
        settings: EngineSettings,
        transcripts: Transcripts,
        agents: AgentReader,
        comparison: Comparison,
        secrets: Credentials,
        clock: Clock,
        owner: Owner,
        keeper_version: str,
    ) -> None:
        self.settings, self.transcripts, self.agents, self.comparison = settings, transcripts, agents, comparison
        self.secrets, self.clock, self.owner, self.keeper_version = secrets, clock, owner, keeper_version
        self._guests: dict[str, Guest] = {}
        self._edited: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._looked: dict[str, float] = {}
        self._mute: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    def observe_again(self, place: str) -> None:
        """The next pass looks into this machine afresh. `place`: a place's id."""
        self._guests.pop(place, None)
        self._edited.pop(place, None)

    def know(self, place: str, guest: Guest) -> None:
        """An act of ours has just made this of a machine that was looked into. What it installed has a version that only a look tells."""
        if FORESEEN in (guest.node, guest.pi):
            self._guests.pop(place, None)
        elif place in self._guests:
            self._guests[place] = guest

    def written(self, place: str, guest: Guest, agent_hash: str) -> None:
        """As `know`; and pi's files are as they were written."""
        self.know(place, guest)
        self._edited[place] = agent_hash, ()

    def usable(self, item: LieutenantItem, observed: Vm | Absent | Unknown, place: Place) -> bool:
        """There is something to look into, and we may."""
        if place.local:
            return here(self.settings, item) and (self.settings.hosting is Hosting.ALLOWED or item.deleting)
        if not isinstance(observed, Vm) or observed.state is not VmState.RUNNING or item.record.slot.marked_for_deletion:
            return False
        return claims.claimed_for(observed, self.owner, item.slot_owner, item.record.slot.epoch)

    async def read(
        self, item: LieutenantItem, tasks: list[TaskItem], rendered: Rendered | Unresolved, observed: Vm | Absent | Unknown
    ) -> Inside:
        """The machine of its agent, as it is now."""
        transcript = await self.transcripts.get(session_of(item).name)
        guest, agent = await self.observe_agent(item, observed, transcript, place_of(item))
        talk = talk_of(agent, transcript)
        verdicts = await self.verdicts(item, tasks, agent, talk)
        return Inside(transcript, guest, agent, talk, verdicts, await self.edited(item, rendered, guest, agent))

    async def observe_agent(
        self, item: LieutenantItem, observed: Vm | Absent | Unknown, transcript: Transcript | None, place: Place
    ) -> tuple[Guest | Unknown | None, Agent | Unknown | None]:
        """Guest and agent of a running, claimed machine, or of this host; what can't be read is Unknown. Without a transcript
        no conversation is read there."""
        slot, at = item.record.slot, place.id
        if not self.usable(item, observed, place):
            self.observe_again(at)
            self.comparison.forget(place)
            return None, None
        cached = self._guests.get(at)
        fresh = self.clock.now() < self._looked.get(at, 0.0) + LOOK_EVERY
        if cached is not None and cached.keeper_alive and fresh:
            agent = await self.ask_keeper(item, place, transcript)
            if not isinstance(agent, Unknown):
                return cached, agent
        try:
            guest = await self.agents.inspect(place)
        except (GuestUnreachable, GuestFailed) as error:
            self.observe_again(at)
            return Unknown(str(error)), Unknown(str(error))
        guest = replaced(guest, marks=valid(guest.marks, at, slot))
        self._guests[at] = guest
        self._edited.pop(at, None)
        self._looked[at] = self.clock.now()
        expected = claims.claim_file(self.owner, item.slot_owner, slot.epoch, at)
        if not guest.keeper_alive or dict(guest.claim or {}) != expected:
            return guest, None
        return guest, await self.ask_keeper(item, place, transcript)

    async def observe_standby(self, item: LieutenantItem, observed: Vm | Absent | Unknown, transcript: Transcript) -> StandbyVM | None:
        """The inside of the slot's VM, while the agent lives on this host."""
        slot = item.record.slot
        if item.record.local.state != "Home" or not slot.vm_id:
            return None
        guest, agent = await self.observe_agent(item, observed, None, Place(slot.vm_id))
        return StandbyVM(claims.claim_file(self.owner, item.slot_owner, slot.epoch, slot.vm_id), guest, agent)

    async def ask_keeper(self, item: LieutenantItem, place: Place, transcript: Transcript | None) -> Agent | Unknown:
        """pi's state and then the conversation, to its end or until there is enough to be saved first (without a transcript: pi's state
        only)."""
        machine, session, tree = Machine(place, item.record.slot.epoch), session_of(item), tree_at(self.settings, place)
        session = SessionName(session.name, in_tree(tree, session.file))
        try:
            if transcript is None:
                look = await self.agents.observe(machine, session.file, NOTHING_OF_IT)
                return redact_agent(look.agent, self.secrets)
            tail = b""  # of a line that is not finished: only whole lines are taken
            while True:
                at = transcript.size + shift_of(transcript.header, tree) + len(tail)
                look = await self.agents.observe(machine, session.file, at)
                self.ended(place, look.agent.process)
                header = transcript.header or header_from(first_line(look.chunk), tree)
                size = max(0, look.agent.session_size - shift_of(header, tree))
                agent = redact_agent(replaced(look.agent, session_size=size), self.secrets)
                transcript.report(place.id, size)
                transcript.divergence = await self.comparison.compare(machine, session, size, transcript, tree)
                if transcript.divergence is not None:
                    return agent
                whole, newline, tail = (tail + look.chunk).rpartition(b"\n")
                if newline:
                    begin = whole + newline if transcript.size else header_from(whole + newline, tree)
                    transcript.take(seal(begin, self.secrets))
                transcript.seen = transcript.size + len(tail)
                if size <= transcript.seen:
                    transcript.reported = transcript.size
                if size <= transcript.seen or not look.chunk or transcript.unsaved >= READ_AT_ONCE:
                    return agent
        except (GuestUnreachable, GuestFailed, StaleEpoch) as error:
            return Unknown(str(error))

    def ended(self, place: Place, process: Process) -> None:
        """Each time that pi has ended by itself its file is compared with the mirror again: what pi refuses to read is told as that."""
        if isinstance(process, Exited) and self._ended.get(place.id) != process.at:
            self._ended[place.id] = process.at
            self.comparison.forget(place)

    async def edited(
        self, item: LieutenantItem, rendered: Rendered | Unresolved, guest: Guest | Unknown | None, agent: Agent | Unknown | None
    ) -> tuple[str, ...]:
        """Files for pi that were written and are not on the disk as they were written; asked as seldom as a machine is looked into.
        A keeper of another version can't be asked."""
        if not isinstance(rendered, Rendered) or not isinstance(guest, Guest) or not isinstance(agent, Agent):
            return ()
        if agent.keeper_version != self.keeper_version or guest.marks.get("agent") != rendered.agent_hash:
            return ()
        machine = machine_of(item)
        known = self._edited.get(machine.id)
        if known is not None and known[0] == rendered.agent_hash:
            return known[1]
        try:
            found = await self.agents.digests(machine, [file.path for file in rendered.agent_files], rendered.work_dir)
        except (GuestUnreachable, GuestFailed, StaleEpoch):
            return ()
        contents = {file.path: bytes_of(item.key, file, self.secrets) for file in rendered.agent_files}
        edited = tuple(path for path, content in contents.items() if content is not None and found.get(path) != sha256(content))
        self._edited[machine.id] = rendered.agent_hash, edited
        return edited

    def mute_since(self, place: str, agent: Agent | Unknown | None, now: float) -> float:
        """Since when pi on this machine has not answered; 0 when it does, or when nobody could ask."""
        if isinstance(agent, Agent) and isinstance(agent.process, Up) and not agent.process.responsive:
            return self._mute.setdefault(place, now)
        self._mute.pop(place, None)
        return 0.0

    async def verdicts(
        self, item: LieutenantItem, tasks: list[TaskItem], agent: Agent | Unknown | None, talk: Talk | None
    ) -> dict[Key, Verdict]:
        """What became of the prompt sent last, for tasks that are being delivered, or that go on, and where it is not seen yet."""
        found: dict[Key, Verdict] = {}
        if not tasks or talk is None or not isinstance(agent, Agent):
            return found
        machine = machine_of(item)
        for task in tasks:
            said = said_last(task, talk)
            if said is None or landed_at(talk, said[1], task.record.baseline):
                continue
            try:
                found[task.key] = await self.agents.verdict(machine, said[0])
            except (GuestUnreachable, GuestFailed, StaleEpoch):
                return found
        return found


def said_last(task: TaskItem, talk: Talk) -> tuple[str, str] | None:
    """The key of the prompt that was sent last for a task, and how it begins in the conversation; None where nobody waits for it."""
    record = task.record
    if record.phase == "Delivering":
        return command_key(task), record.marker
    if record.phase == "Running" and record.continues and talk.settled:
        return continue_key(task, record.continues), continued(record.marker, record.continues)
    return None


def talk_of(agent: Agent | Unknown | None, transcript: Transcript) -> Talk | None:
    """The conversation, when it was read to its end just now."""
    if not isinstance(agent, Agent) or agent.session_size != transcript.seen or transcript.divergence is not None:
        return None
    if isinstance(agent.process, Up):
        settled = agent.process.responsive and not agent.process.busy
        process = agent.process
        return Talk(
            transcript.messages,
            transcript.size,
            settled,
            True,
            process.started_at,
            process.activity,
            process.retry_after,
            process.tool,
            process.work,
            process.guard.asks if process.guard is not None else (),
            transcript.usages,
        )
    return Talk(transcript.messages, transcript.size, False, False, usages=transcript.usages)
