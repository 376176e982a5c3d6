"""`plan`: what the loop would do, by the loop's own code, without doing it (G-41).

The platform is read as the loop reads it. Machines are not: what was last observed of them (status) is taken to hold, so a
plan never waits for a VM."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from reconciler.api.status.lieutenant import LieutenantStatus
from reconciler.api.treereasons import TreeReason
from reconciler.core.conditions import stalled_for
from reconciler.core.decisions import Create, TakeWarm
from reconciler.core.forecast import MOST_STEPS, Foreseen, forecast, left_by, together
from reconciler.core.governance.memory import NOTHING, memory_of
from reconciler.core.keys import Key
from reconciler.core.plan import Plan, Step
from reconciler.core.slot import claims
from reconciler.core.slot.marks import sealed
from reconciler.core.snapshot.agent import Agent, Guest, Inside, NotStarted, Unheard, Up, Verdict
from reconciler.core.snapshot.memory import OnMachine, Taken
from reconciler.core.snapshot.session import Divergence, SessionName
from reconciler.core.tree.places import key_of
from reconciler.core.treerecords import TreeRecord
from reconciler.engine.loop import Engine
from reconciler.engine.observe.machines import Machines
from reconciler.engine.observe.workset import Gatherer
from reconciler.engine.places import place_of
from reconciler.engine.ports import AgentObservation, Machine, MachineMemory, Place
from reconciler.engine.registry import AnyKind
from reconciler.engine.state.objects import LieutenantItem, session_of
from reconciler.engine.state.transcripts import Transcript
from reconciler.errors import GuestUnreachable


class RecalledAgents:
    """An `AgentReader` of machines and agents as status last told of them; what no status tells can't be asked."""

    def __init__(
        self,
        item_of: Callable[[Place], LieutenantItem | None],
        mirror: Callable[[str, Place], Awaitable[int]],
        owner: claims.Owner,
        keeper: str,
    ) -> None:
        self._item_of, self._mirror, self._owner, self._keeper = item_of, mirror, owner, keeper

    def _status(self, at: Place) -> tuple[LieutenantItem, LieutenantStatus]:
        item = self._item_of(at)
        if item is None:
            raise GuestUnreachable("nothing is known of this machine", at.id)
        return item, LieutenantStatus.load(item.obj.status)

    async def inspect(self, at: Place) -> Guest:
        item, status = self._status(at)
        if status.machine is None or at != place_of(item):
            return Guest()
        claim = claims.claim_file(self._owner, item.slot_owner, item.record.slot.epoch, at.id)
        marks = {name: sealed(value, at.id, item.record.slot) for name, value in status.machine.marks.items()}
        ready = status.condition("Ready")  # of a machine without an agent no status tells more of its keeper than that it is ready
        heard = status.agent is not None or (ready is not None and ready.status == "True")
        return Guest(0.0, claim, "known", "known", self._keeper, heard, marks)

    async def observe(self, at: Machine, session_file: str, offset: int) -> AgentObservation:
        item, status = self._status(at.place)
        agent = status.agent
        size = await self._mirror(session_of(item).name, at.place)
        if agent is None or agent.process != "Up":
            return AgentObservation(Agent(self._keeper, at.epoch, NotStarted(), session_file, size, memory=told_of(item, status)), b"")
        process = Up(
            pid=agent.pid or 0,
            started_at=0.0,
            launch_hash=agent.launch_hash or "",
            busy=status.phase == "Working",
            model=agent.model or None,
            thinking=agent.thinking or None,
            inside=Inside(agent.told.prompt, agent.told.files) if agent.told is not None else None,
            memory=Taken(told, told) if status.memory is not None and (told := status.memory.told) else None,
        )
        return AgentObservation(Agent(self._keeper, at.epoch, process, session_file, size, memory=told_of(item, status)), b"")

    async def verdict(self, at: Machine, key: str) -> Verdict:
        return Unheard()

    async def memory(self, at: Machine) -> MachineMemory:
        raise _not_asked(at)

    async def prefixes(self, at: Machine, path: str, ends: Sequence[int], blanks: Sequence[tuple[int, int]]) -> tuple[str, ...]:
        raise _not_asked(at)

    async def file_size(self, at: Machine, path: str) -> int | None:
        raise _not_asked(at)

    async def digest(self, at: Machine, path: str) -> str:
        raise _not_asked(at)

    async def read_file(self, at: Machine, path: str, limit: int) -> bytes:
        raise _not_asked(at)

    async def digests(self, at: Machine, paths: Sequence[str], work_dir: str) -> Mapping[str, str]:
        raise _not_asked(at)  # nothing is known to be edited

    def watch(self, at: Place, wake: Callable[[], None]) -> None:
        return None

    async def release(self, at: Place) -> None:
        return None


def told_of(item: LieutenantItem, status: LieutenantStatus) -> OnMachine | None:
    """What its machine remembers: what was to be remembered when status was told last, for it was brought there then."""
    told = status.memory
    if told is None:
        return None
    agent, shared = (size.hash if size is not None else NOTHING for size in (told.agent, told.shared))
    return OnMachine(memory_of(item.key, "Agent").tag, agent, shared)


class RecalledComparison:
    """Files and mirrors as status last told of them: the same, or parted."""

    def __init__(self, item_of: Callable[[Place], LieutenantItem | None]) -> None:
        self._item_of = item_of

    async def compare(self, at: Machine, session: SessionName, size: int, transcript: Transcript, tree: str = "") -> Divergence | None:
        item = self._item_of(at.place)
        divergence = item is not None and stalled_for(item.obj.status) == "SessionDiverged"
        return Divergence(0, size, transcript.size) if divergence else None

    def forget(self, place: Place) -> None:
        return None


def _not_asked(at: Machine) -> GuestUnreachable:
    return GuestUnreachable("a plan asks no machine", at.id)


def recalling(engine: Engine) -> Gatherer:
    """Reads what the engine's own does, and of the machines what status last told of them."""
    own = engine.gatherer
    item_of = partial(_at, engine)
    agents = RecalledAgents(item_of, own.file_length, own.owner, engine.keeper_version)
    machines = Machines(
        settings=engine.settings,
        transcripts=own.transcripts,
        agents=agents,
        comparison=RecalledComparison(item_of),
        secrets=engine.secrets,
        clock=engine.clock,
        owner=own.owner,
        keeper_version=engine.keeper_version,
    )
    return replace(own, machines=machines)


async def plan_everything(engine: Engine) -> Foreseen:
    """Every act the loop would carry out from here to rest, per reconcile key in order of name, and what is not as declared even
    then. `engine` is not started; its machines are not asked (they are recalled from status). Raises what the platform says when it
    can't be read."""
    kinds = engine.registry.build(replace(engine.tools, gatherer=recalling(engine)))
    await engine.fleet.list_since(engine.clock.now())
    found: list[Foreseen] = []
    for key in sorted(engine.table.all_keys()):
        kind = kinds.get(key.kind)
        if kind is not None and kind.expands:
            found.append(await expand(kind, key))
    trees = engine.gatherer.slots.trees
    trees.foreseeing = True
    try:
        for key in in_order(engine):
            kind = kinds.get(key.kind)
            if kind is not None and not kind.expands:
                one = forecast(await kind.observe(key), kind.plan, kind.after)
                member = trees.membership(key)
                if member is not None and any(isinstance(step.action, Create) for step in one.steps):
                    trees.foreseen[member.tree.key] = trees.foreseen.get(member.tree.key, 0) + 1
                if any(isinstance(step.action, Create | TakeWarm) for step in one.steps):
                    engine.gatherer.branches.foreseen.add(key)
                engine.gatherer.warm.foreseen |= {step.action.holder for step in one.steps if isinstance(step.action, TakeWarm)}
                found.append(one)
    finally:
        engine.gatherer.warm.foreseen.clear()
        engine.gatherer.branches.foreseen.clear()
        trees.foreseeing = False
        trees.foreseen.clear()
    return together(found)


async def expand(kind: AnyKind, key: Key) -> Foreseen:
    """What an object declares on behalf of others, declared on the planner's own copy. That it waits for those is shown with them."""
    steps: list[Step] = []
    plan = Plan(key)
    for _ in range(MOST_STEPS):
        snapshot = await kind.observe(key)
        plan = kind.plan(snapshot)
        following = plan.next_steps()
        if not following or following[0] in steps:
            break
        for step in following:
            steps.append(step)
            await kind.act(snapshot, step)
    left = {at: rest for at, rest in left_by(plan).items() if rest.reason is not TreeReason.NODES_CHANGING}
    return Foreseen(tuple(steps), left)


def in_order(engine: Engine) -> list[Key]:
    """Every reconcile key: what trees declare roots first, or leaves first where they go; then everything else by name."""
    ordered: dict[Key, None] = {}
    for key in sorted(engine.table.all_keys()):
        item = engine.table.get(key)
        if item is not None and isinstance(item.record, TreeRecord):
            members = [key_of(key, place.name, place.agent) for place in item.record.places]
            ordered.update(dict.fromkeys(reversed(members) if item.deleting else members))
    ordered.update(dict.fromkeys(sorted({engine.table.reconcile_key(key) for key in engine.table.all_keys()})))
    return list(ordered)


def _at(engine: Engine, place: Place) -> LieutenantItem | None:
    """The lieutenant whose agent is, or was, there."""
    if not place.local:
        owner = engine.table.owner_of(place.vm_id)
        return engine.table.lieutenant(owner.object) if owner else None
    known = (engine.table.lieutenant(key) for key in engine.table.all_keys())
    return next((item for item in known if item is not None and item.uid == place.local), None)


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
