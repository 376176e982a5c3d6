"""`plan`: what the loop would do, by the loop's own code, without doing it (G-41).

The platform is read as the loop reads it. Machines are not: what was last observed of them (status) is taken to hold, so a
plan never waits for a VM."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.conditions import stalled_for
from reconciler.core.decisions import Action
from reconciler.core.forecast import forecast
from reconciler.core.keys import Json, Key, as_strings
from reconciler.core.slot import claims
from reconciler.core.snapshot.agent import Agent, Guest, Inside, NotStarted, Unheard, Up, Verdict
from reconciler.core.snapshot.session import Divergence, SessionName
from reconciler.engine.effects import Effects
from reconciler.engine.loop import Engine
from reconciler.engine.observe.comparison import SessionComparison
from reconciler.engine.places import place_of
from reconciler.engine.ports import AgentObservation, Agents, Archive, CommandResult, GuestCommand, GuestFile, Launch, Place
from reconciler.engine.state.objects import LieutenantItem, session_of
from reconciler.engine.state.transcripts import Transcript, Transcripts
from reconciler.errors import GuestUnreachable


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of a plan: what would be done to which object."""

    key: Key
    verb: str
    target: str
    reason: str


class RecalledAgents:
    """Machines and agents as status last told of them. Anything that would change one raises."""

    def __init__(
        self, item_of: Callable[[Place], LieutenantItem | None], mirror: Callable[[str, Place], Awaitable[int]], keeper: str
    ) -> None:
        self._item_of, self._mirror, self._keeper = item_of, mirror, keeper
        self.owner = claims.Owner("", "")

    def _status(self, at: Place) -> tuple[LieutenantItem, Json, Json]:
        item = self._item_of(at)
        if item is None:
            raise GuestUnreachable("nothing is known of this machine", at.id)
        agent, machine = item.obj.status.get("agent"), item.obj.status.get("machine")
        return item, agent if isinstance(agent, dict) else {}, machine if isinstance(machine, dict) else {}

    async def inspect(self, at: Place) -> Guest:
        item, agent, machine = self._status(at)
        if not machine or at != place_of(item):
            return Guest()
        claim = claims.claim_file(self.owner, item.slot_owner, item.record.slot.epoch, at.id)
        return Guest(0.0, claim, "known", "known", self._keeper, bool(agent), as_strings(machine.get("marks")))

    async def observe(self, at: Place, epoch: int, session_file: str, offset: int) -> AgentObservation:
        item, agent, _ = self._status(at)
        size = await self._mirror(session_of(item).name, at)
        if agent.get("process") != "Up":
            return AgentObservation(Agent(self._keeper, epoch, NotStarted(), session_file, size), b"")
        busy = item.obj.status.get("phase") == "Working"
        told = agent.get("told")
        inside = Inside(str(told.get("prompt", "")), as_strings(told.get("files"))) if isinstance(told, dict) else None
        pid = agent.get("pid")
        process = Up(
            pid=pid if isinstance(pid, int) else 0,
            started_at=0.0,
            launch_hash=str(agent.get("launchHash", "")),
            busy=busy,
            model=text_of(agent, "model"),
            thinking=text_of(agent, "thinking"),
            inside=inside,
        )
        return AgentObservation(Agent(self._keeper, epoch, process, session_file, size), b"")

    async def prefixes(self, at: Place, epoch: int, path: str, ends: Sequence[int], blanks: Sequence[tuple[int, int]]) -> tuple[str, ...]:
        raise GuestUnreachable("a plan asks no machine", at.id)

    async def verdict(self, at: Place, epoch: int, key: str) -> Verdict:
        return Unheard()

    def watch(self, at: Place, wake: Callable[[], None]) -> None:
        return None

    async def release(self, at: Place) -> None:
        return None

    async def aclose(self) -> None:
        return None

    # A plan changes nothing: these are here because the port has them, and say so when called.

    async def correct_clock(self, at: Place) -> None:
        raise _changes_nothing(at)

    async def write_claim(self, at: Place, claim: Mapping[str, str]) -> None:
        raise _changes_nothing(at)

    async def remove_claim(self, at: Place) -> None:
        raise _changes_nothing(at)

    async def install(self, at: Place) -> None:
        raise _changes_nothing(at)

    async def start_keeper(self, at: Place, epoch: int) -> None:
        raise _changes_nothing(at)

    async def write_files(self, at: Place, epoch: int, files: Sequence[GuestFile], work_dir: str) -> None:
        raise _changes_nothing(at)

    async def mark(self, at: Place, epoch: int, name: str, value: str) -> None:
        raise _changes_nothing(at)

    async def run(self, at: Place, epoch: int, command: GuestCommand) -> CommandResult:
        raise _changes_nothing(at)

    async def pack(self, at: Place, epoch: int, directory: str, limit: int) -> Archive:
        raise _changes_nothing(at)

    async def unpack(self, at: Place, epoch: int, directory: str, content: bytes) -> None:
        raise _changes_nothing(at)

    async def dissolve(self, at: Place, epoch: int, keep: bool) -> None:
        raise _changes_nothing(at)

    async def file_size(self, at: Place, epoch: int, path: str) -> int | None:
        raise _changes_nothing(at)

    async def digest(self, at: Place, epoch: int, path: str) -> str:
        raise _changes_nothing(at)

    async def read_file(self, at: Place, epoch: int, path: str, limit: int) -> bytes:
        raise _changes_nothing(at)

    async def digests(self, at: Place, epoch: int, paths: Sequence[str], work_dir: str) -> Mapping[str, str]:
        raise _changes_nothing(at)  # nobody is asked: nothing is known to be edited

    async def start_agent(self, at: Place, epoch: int, launch: Launch) -> None:
        raise _changes_nothing(at)

    async def stop_agent(self, at: Place, epoch: int, grace: float) -> None:
        raise _changes_nothing(at)

    async def reread(self, at: Place, epoch: int) -> None:
        raise _changes_nothing(at)

    async def send(self, at: Place, epoch: int, key: str, command: Json) -> Verdict:
        raise _changes_nothing(at)

    async def call(self, at: Place, epoch: int, command: Json) -> Json:
        raise _changes_nothing(at)


def text_of(facts: Json, name: str) -> str | None:
    """A text of a status, None when it says nothing."""
    return str(facts.get(name, "")) or None


class RecalledComparison(SessionComparison):
    """Files and mirrors as status last told of them: the same, or parted."""

    def __init__(
        self, agents: Agents, transcripts: Transcripts, effects: Effects, item_of: Callable[[Place], LieutenantItem | None]
    ) -> None:
        super().__init__(agents, transcripts, effects)
        self._item_of = item_of

    async def compare(
        self, place: Place, epoch: int, session: SessionName, size: int, transcript: Transcript, tree: str = ""
    ) -> Divergence | None:
        item = self._item_of(place)
        divergence = item is not None and stalled_for(item.obj.status) == "SessionDiverged"
        return Divergence(0, size, transcript.size) if divergence else None


def _changes_nothing(at: Place) -> GuestUnreachable:
    return GuestUnreachable("a plan changes nothing", at.id)


async def plan_everything(engine: Engine) -> list[Planned]:
    """Every act the loop would carry out from here to rest, per lieutenant in order of name. `engine` is loaded, not started;
    its machines are not asked (they are recalled from status). Raises what the platform says when it can't be read."""
    gatherer = engine.gatherer
    recalled = RecalledAgents(lambda at: _at(engine, at), gatherer.file_length, engine.keeper_version)
    recalled.owner = gatherer.owner
    gatherer.machines.agents = recalled
    gatherer.machines.ends = RecalledComparison(recalled, gatherer.transcripts, engine.effects, lambda at: _at(engine, at))
    await engine.fleet.list_since(engine.clock.now())
    keys = sorted({engine.table.reconcile_key(key) for key in engine.table.all_keys()})
    planned: list[Planned] = []
    for key in keys:
        kind = engine.kinds.get(key.kind)
        if kind is not None:
            steps = forecast(await kind.observe(key), kind.plan, kind.after)
            planned += [line_of(step.key, step.action) for step in steps]
    return planned


def _at(engine: Engine, place: Place) -> LieutenantItem | None:
    """The lieutenant whose agent is, or was, there."""
    if not place.local:
        owner = engine.table.owner_of(place.vm_id)
        return engine.table.lieutenant(owner.object) if owner else None
    known = (engine.table.lieutenant(item.key) for item in engine.table.of_kind("Lieutenant") if item.uid == place.local)
    return next(known, None)


def line_of(key: Key, action: Action) -> Planned:
    """An act in words: its own name, what it is done to, and why."""
    return Planned(key, action.verb, action.target, action.because)


def inputs_hash(engine: Engine) -> str:
    """Of everything a plan depends on: all declarations, all records, and what the platform showed."""
    told = hashlib.sha256()
    for key in sorted(engine.table.all_keys()):
        item = engine.table.get(key)
        if item is not None:
            told.update(f"{key}|{item.obj.generation}|{item.obj.spec}|{item.obj.record}|{item.obj.deleted_at}\n".encode())
    latest = engine.fleet.latest
    for vm_id, vm in sorted(latest.vms.items() if latest else ()):
        told.update(f"{vm_id}|{vm.state}|{sorted(vm.labels.items())}\n".encode())
    return told.hexdigest()
