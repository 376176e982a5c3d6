"""A small world in virtual time: a platform and machines with agents, judged by what really happened in it.

Doubles of the outside only (platform, machines); the controller under test, its store and its conversation reader are the
real ones. The world outlives the controller, as the real one does."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.core.governance.boundary import Boundary
from reconciler.core.governance.permissions.rules import hash_of
from reconciler.core.snapshot.agent import (
    Accepted,
    Agent,
    Compacting,
    Declined,
    Exited,
    Guarded,
    Guest,
    Inside,
    Lost,
    NotStarted,
    Question,
    Refusals,
    RunningTool,
    Unheard,
    Up,
    Verdict,
)
from reconciler.core.snapshot.machine import (
    BranchSource,
    CommandResult,
    CommitSource,
    CreateSource,
    GuestCommand,
    GuestFile,
    RootSource,
    VmShape,
)
from reconciler.core.snapshot.vm import Commit, Vm, VmList, VmMetadata, VmState
from reconciler.engine import ports
from reconciler.engine.observe.comparison import blanked, digests_of
from reconciler.engine.ports import AgentObservation, Archive, Json, JsonValue, Launch, MachineMemory, Place
from reconciler.errors import (
    Conflict,
    Forbidden,
    GuestFailed,
    GuestUnreachable,
    NoRoom,
    NotFound,
    Rejected,
    StaleEpoch,
    Unauthorized,
)
from tests.memoryworld import Remembered, taken

ACCOUNT = "5f0c2c0e-6a0e-4d7b-9a53-000000000001"
GOLDEN = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1cff"
"""The commit that `golden:latest` points to."""
FOREIGN = "5f0c2c0e-6a0e-4d7b-9a53-0000000000ff"
KEEPER = "1.0.0"


def false_fails(command: GuestCommand) -> int | CommandResult:
    """For `World.commands`: every command works but `false`."""
    return CommandResult(1, "", "it does not work", 0.1) if command.argv == ("false",) else 0


def boundary_hash(sandbox: Json | None) -> str:
    """What a keeper says of a boundary that it was told to make."""
    if sandbox is None:
        return ""
    places = {name: value for name, value in sandbox.items() if isinstance(value, list)}
    listed = {name: tuple(str(place) for place in value) for name, value in places.items()}
    return Boundary(listed["writable"], listed["hidden"], listed.get("network")).hash


@dataclass
class Pi:
    """A pi process: one turn at a time, a queue for steers."""

    pid: int
    started_at: float
    launch: Launch
    task: asyncio.Task[None] | None = None
    steers: list[str] = field(default_factory=list)
    aborted: bool = False
    deaf: bool = False
    activity: int = 0
    tool: RunningTool | None = None
    work: int = 0
    stubborn: bool = False  # an abort shows no effect
    model: str = ""
    thinking: str = "off"
    inside: Inside | None = None
    compacting: Compacting | None = None
    rules: Json | None = None  # those that hold now
    asks: list[Question] = field(default_factory=list)
    answers: list[tuple[str, bool, str]] = field(default_factory=list)
    refused: Refusals = field(default_factory=Refusals)
    never_spoke: bool = False  # it has not answered once since its start
    told_memory: str | None = None  # what it was told of its memory at its start, None for none

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()


@dataclass
class Machine:
    """A VM and what is in it."""

    vm_id: str
    created_at: float
    owner: str = ACCOUNT
    state: VmState = VmState.BOOTING
    running_at: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)
    parent_commit: str | None = None
    branched_from: str = ""
    source: CreateSource | None = None
    shape: VmShape | None = None
    deleted: bool = False
    marks: dict[str, str] = field(default_factory=dict)
    claim: dict[str, str] | None = None
    clock_skew: float = 0.0
    installed: bool = False
    keeper_epoch: int = -1
    keeper_alive: bool = False
    keeper_of: str = ""  # the machine that its keeper takes itself to be on: on a live copy its parent, until it is claimed
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, bytes] = field(default_factory=dict)  # by path
    session_file: str = ""  # the one pi was started on last, or that was written last
    pi: Pi | None = None
    exited: Exited | None = None
    last_model: str = ""  # as the session has it: pi goes on with it
    reachable: bool = True
    delay: float = 0.0  # seconds that every answer takes
    output_blocked: bool = False  # its keeper has no room for what pi says
    memory: Remembered = field(default_factory=Remembered)

    @property
    def session(self) -> bytes:
        return self.sessions.get(self.session_file, b"")

    @session.setter
    def session(self, content: bytes) -> None:
        self.sessions[self.session_file] = content


@dataclass(frozen=True)
class Frozen:
    """A machine that a dead controller's suspend reached in the middle of a turn, and what was said to its agent last."""

    vm_id: str
    said: str


class World:
    """The truth. `violations` collects what must never happen; `created`, `deleted` count VMs. `posthumous`: calls of a dead
    controller that still are on their way; what one of them may do, and the next controller undoes, is in `frozen_by_the_dead`."""

    def __init__(self, work_seconds: float = 4.0) -> None:
        self.machines: dict[str, Machine] = {}
        self.homes: dict[str, Machine] = {}
        self.created = 0
        self.deletes: list[str] = []
        self.violations: list[str] = []
        self.posthumous: Sequence[asyncio.Task[object]] = ()
        self.frozen_by_the_dead: list[Frozen] = []
        self.prompts: list[tuple[str, str]] = []
        self.foreign_effects = 0
        self.work_seconds = work_seconds
        self.boot_seconds = 0.6
        self.suspend_seconds = 0.0  # that a call to suspend takes until it has its effect
        self.suspending: set[str] = set()  # VMs that such a call is on its way to
        self.key = ACCOUNT
        self.fail_lists: Exception | None = None
        self.hide_from_lists: set[str] = set()
        self.pids = 100
        self.entries = 0
        self.cost = 0.001  # US dollars that pi says an answer costs
        self.billed = 0  # tokens of all answers, as the provider of the model would bill them
        self.answer: Callable[[str], tuple[str, str]] = lambda prompt: ("done", "stop")
        self.calls: list[tuple[str, dict[str, str]]] = []  # tool calls of a turn, one a round, before its answer
        self.call_seconds = 1.0
        self.failing_models: dict[str, str] = {}  # what a turn with this model ends with
        self.unknown_models: set[str] = set()
        self.declines = ""  # what pi says instead of taking a prompt
        self.retry_after = 0.0  # seconds that the model's provider asks to be left alone for
        self.deaf_to_instructions = False
        self.tells_memory = True  # or pi does not say what it remembers
        self.found_facts: list[str] = []  # which models looked for facts before a compaction
        self.missing_model = ""  # that is to find facts, and that pi does not know
        self.loses_steers = False  # what is said in the middle of a turn never reaches the model
        self.keeps_rules = False  # a keeper does not take up the rules that come with a prompt
        self.ruled: list[tuple[str, Json | None, Json | None]] = []  # what was handed to pi, the rules with it, and those in force then
        self.own_compaction: Compacting | None = None  # how pi shortens its conversation whatever it is told
        self.boundless = False  # keepers say that no pi runs in a boundary
        self.clocks = "obey"  # or refuse, or ignore: what setting a machine's clock comes to
        self.no_pi: Callable[[Machine], bool] = lambda machine: False  # where pi ends as soon as it is started
        self.commands: Callable[[GuestCommand], int | CommandResult] = lambda command: 0
        self.tells_grandparents = True
        self.branch_seconds = 0.5  # a VM that is copied live is paused for so long
        self.leave_paused = False  # and is not resumed
        self.full = False  # no room for another VM
        self.commits: dict[str, Commit] = {}
        self.commits_made = 0
        self.hidden_commits: set[str] = set()
        self.foreign_commits: set[str] = set()
        self.refs = {"golden:latest": GOLDEN}
        self.disks: dict[str, Machine] = {}  # what a VM restored from a commit has on its disk
        self.watchers: dict[str, list[Callable[[], None]]] = {}

    def now(self) -> float:
        return 1_800_000_000.0 + asyncio.get_running_loop().time()

    def alive(self) -> list[Machine]:
        return [m for m in self.machines.values() if not m.deleted and m.owner == ACCOUNT]

    def make(self, labels: Mapping[str, str], parent: str | None = None, owner: str = ACCOUNT) -> Machine:
        number = len(self.machines) + 1
        vm_id = f"00000000-0000-4000-8000-{number:012d}"
        machine = Machine(vm_id, self.now(), owner, labels=dict(labels), parent_commit=parent, running_at=self.now() + self.boot_seconds)
        self.machines[vm_id] = machine
        if owner == ACCOUNT:
            self.created += 1
        return machine

    def state(self, m: Machine) -> VmState:
        if m.state is VmState.BOOTING and self.now() >= m.running_at:
            m.state = VmState.RUNNING
        return m.state

    def home(self, place: str, make: bool) -> Machine:
        """A directory on the controller's host; one that is not there can be looked for all the same."""
        found = self.homes.get(place) or Machine(place, self.now(), state=VmState.RUNNING)
        return self.homes.setdefault(place, found) if make else found

    def own(self, vm_id: str) -> Machine:
        m = self.machines.get(vm_id)
        if m is None or m.deleted:
            raise NotFound("not found", vm_id)
        if m.owner != ACCOUNT:
            self.foreign_effects += 1
        return m

    def wake(self, m: Machine) -> None:
        for watcher in self.watchers.get(m.vm_id, []):
            asyncio.get_running_loop().call_soon(watcher)

    # --- pi -------------------------------------------------------------------------------------------------------------------------

    def entry(self, m: Machine, message: dict[str, object]) -> None:
        if not m.session and m.pi is not None:
            header = {"type": "session", "version": 3, "id": f"{self.pids:08x}", "cwd": m.pi.launch.work_dir}
            m.session += json.dumps(header, separators=(",", ":")).encode() + b"\n"
        self.entries += 1
        used = message.get("usage")
        self.billed += sum(used[sort] for sort in ("input", "output")) if isinstance(used, dict) else 0
        at = "2026-11-21T08:17:39.704Z"
        line = {"type": "message", "id": f"{self.entries:08x}", "parentId": None, "timestamp": at, "message": message}
        m.session += json.dumps(line).encode() + b"\n"

    def compact(self, m: Machine) -> str:
        """pi shortens its conversation. Returns the id of the entry that says so."""
        launch = m.pi.launch.memory if m.pi is not None else None
        if launch is not None and (model := m.memory.facts_in(m.session, launch, self.now(), m.vm_id[-12:])):
            self.looked_for_facts(m, model)
        self.entries += 1
        name = f"{self.entries:08x}"
        used = {"input": 20, "output": 5}
        self.billed += 25
        at = "2026-11-21T08:17:40.000Z"
        line = {"type": "compaction", "id": name, "parentId": None, "timestamp": at, "summary": "It went on.", "usage": used}
        m.session += json.dumps(line).encode() + b"\n"
        self.wake(m)
        return name

    def looked_for_facts(self, m: Machine, model: str) -> None:
        """What that cost stands in the conversation."""
        self.entries += 1
        self.found_facts.append(model)
        usage = {"input": 10, "output": 5, "cost": {"total": self.cost}}
        self.billed += 15
        provider, _, name = model.partition("/")
        line = {
            "type": "usage",
            "id": f"{self.entries:08x}",
            "kind": "reconciler-facts",
            "provider": provider,
            "model": name,
            "usage": usage,
        }
        m.session += json.dumps(line).encode() + b"\n"

    def user(self, m: Machine, text: str) -> None:
        self.prompts.append((m.vm_id, text))
        self.entry(m, {"role": "user", "content": [{"type": "text", "text": text}], "timestamp": 1})

    def assistant(self, m: Machine, text: str, stop: str) -> None:
        """`stop`: `error: WORDS` is an error of the model, `nothing` a good end without text and tokens, as real providers do it."""
        usage = {"input": 10, "output": 5, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 15, "cost": {"total": self.cost}}
        content: list[dict[str, object]] = [{"type": "text", "text": text}]
        stop, _, words = stop.partition(": ")
        if words or stop == "nothing":
            content, usage = [], {"input": 0, "output": 0, "cost": {"total": 0.0}}
        message = {"role": "assistant", "content": content, "stopReason": "stop" if stop == "nothing" else stop, "usage": usage}
        message |= {"provider": "acme", "model": "large"}
        self.entry(m, {**message, "timestamp": 2, **({"errorMessage": words} if words else {})})

    async def use_tools(self, m: Machine, pi: Pi) -> bool:
        """The rounds of a turn before its answer: call, work, result, and what was said meanwhile (as measured: a steer lands
        when the call that is on has its result). False: ended meanwhile."""
        for number, (tool, arguments) in enumerate(self.calls):
            call = {"type": "toolCall", "id": f"call-{self.entries}-{number}", "name": tool, "arguments": arguments}
            usage = {"input": 10, "output": 5, "cost": {"total": self.cost}}
            self.entry(m, {"role": "assistant", "content": [call], "stopReason": "toolUse", "usage": usage, "timestamp": 2})
            self.wake(m)
            denied = await self.permitted(m, pi, tool, arguments)
            if denied is None or not await self.pause(m, pi, 0.0 if denied else self.call_seconds):
                return False
            failed = bool(denied) or arguments.get("path", "").startswith("/proc/")
            if tool == "write" and not failed:
                m.files[posixpath.join("/root/workspace", arguments["path"])] = b"written"
            content = [{"type": "text", "text": denied or "ok"}]
            result = {"role": "toolResult", "toolCallId": call["id"], "toolName": tool, "content": content, "isError": failed}
            self.entry(m, {**result, "timestamp": 3})
            if pi.steers:
                self.user(m, pi.steers.pop(0))
            self.wake(m)
        return True

    async def permitted(self, m: Machine, pi: Pi, tool: str, arguments: Mapping[str, str]) -> str | None:
        """Once it is known whether a call may run: '' when it may, else why not; None when the turn was ended meanwhile. Here all may."""
        return ""

    async def pause(self, m: Machine, pi: Pi, seconds: float) -> bool:
        """Work for that long, frozen time not counted. False: ended meanwhile."""
        left = seconds
        while left > 0:
            step = min(0.25, left)
            await asyncio.sleep(step)
            if pi.aborted or m.pi is not pi or m.deleted:
                return False
            if m.state is VmState.RUNNING:
                left -= step
        return True

    async def turn(self, m: Machine, pi: Pi, text: str) -> None:
        self.user(m, text)
        m.memory.written(text, pi.launch.memory, self.now(), m.vm_id[-12:])
        self.wake(m)
        prompt = text
        while True:
            if not await self.use_tools(m, pi):
                break
            if not await self.pause(m, pi, self.work_seconds / 2):
                break
            if pi.steers:
                prompt = pi.steers.pop(0)
                self.user(m, prompt)
                self.wake(m)
                continue
            if not await self.pause(m, pi, self.work_seconds / 2):
                break
            said, stop = self.answer(prompt)
            if pi.model in self.failing_models:
                said, stop = "", f"error: {self.failing_models[pi.model]}"
            self.assistant(m, said, stop)
            break
        if pi.aborted and m.pi is pi:
            self.assistant(m, "", "aborted")
            pi.aborted = False
        pi.task = None
        self.wake(m)

    def kill_pi(self, m: Machine, code: int | None = None, signal: str | None = "SIGKILL", stderr: str = "boom") -> None:
        """pi dies by itself."""
        if m.pi is None:
            return
        pi, m.pi = m.pi, None
        if pi.task is not None:
            pi.task.cancel()
        m.exited = Exited(self.now(), code, signal, stderr, pi.launch.launch_hash)
        self.wake(m)


def copy_disk(source: Machine, target: Machine) -> None:
    """Everything that is kept in files: what is installed, the claim and the marks of its parent, files and conversations."""
    target.installed, target.claim = source.installed, dict(source.claim) if source.claim is not None else None
    target.marks, target.files, target.modes = dict(source.marks), dict(source.files), dict(source.modes)
    target.sessions = dict(source.sessions)
    target.memory = source.memory.copied()


def copy_live(source: Machine, target: Machine) -> None:
    """What is in memory, too: the keeper, and pi as it is on the source, which is that other machine's as far as either knows."""
    copy_disk(source, target)
    target.keeper_alive, target.keeper_epoch, target.keeper_of = source.keeper_alive, source.keeper_epoch, source.vm_id
    target.verdicts, target.session_file, target.last_model = dict(source.verdicts), source.session_file, source.last_model
    target.exited, target.pi = source.exited, replace(source.pi, task=None, steers=[]) if source.pi is not None else None


class FakeVers:
    """The platform's API over the world."""

    def __init__(self, world: World, latency: float = 0.02) -> None:
        self.world, self.latency = world, latency

    def account(self) -> str:
        return self.world.key

    def answered(self) -> Mapping[tuple[str, str], int]:
        return {}

    async def _call(self) -> None:
        await asyncio.sleep(self.latency)
        if not self.world.key:
            raise Unauthorized("no API key", "VERS_API_KEY", "set it")

    async def list_vms(self) -> VmList:
        begun = self.world.now()
        await self._call()
        if self.world.fail_lists is not None:
            raise self.world.fail_lists
        rows = {
            m.vm_id: Vm(m.vm_id, m.owner, m.created_at, self.world.state(m), dict(m.labels))
            for m in self.world.machines.values()
            if not m.deleted and m.vm_id not in self.world.hide_from_lists
        }
        return VmList(rows, begun, self.world.now(), self.world.now())

    async def get_vm(self, vm_id: str) -> Vm:
        await self._call()
        m = self.world.machines.get(vm_id)
        if m is None or m.deleted:
            raise NotFound("not found", vm_id)
        return Vm(m.vm_id, m.owner, m.created_at, self.world.state(m), dict(m.labels))

    async def get_metadata(self, vm_id: str) -> VmMetadata:
        await self._call()
        m = self.world.own(vm_id) if self.world.machines[vm_id].owner == ACCOUNT else self.world.machines[vm_id]
        made_of = self.world.commits.get(m.parent_commit or "")
        parent = (made_of.parent_vm_id if made_of is not None and self.world.tells_grandparents else "") or None
        return VmMetadata(m.vm_id, m.created_at, self.world.state(m), m.parent_commit, parent)

    async def resolve_ref(self, ref: str) -> str:
        await self._call()
        if ref not in self.world.refs:
            raise NotFound("tag not found", ref)
        return self.world.refs[ref]

    async def create_vm(self, source: CreateSource, shape: VmShape, labels: Mapping[str, str], token: str) -> str:
        await self._call()
        if self.world.full:
            raise NoRoom("netlink error: Address in use", "POST /vm")
        if isinstance(source, BranchSource):
            return await self.branch(source)
        born = labels if isinstance(source, RootSource) else {}
        parent = source.commit_id if isinstance(source, CommitSource) else None
        made = self.world.make(born, parent)
        made.source, made.shape = source, shape
        if parent in self.world.disks:
            copy_disk(self.world.disks[parent], made)
        return made.vm_id

    async def branch(self, source: BranchSource) -> str:
        """Pause, commit, start the copy, resume."""
        m = self.world.own(source.vm_id)
        if self.world.state(m) is not VmState.RUNNING:
            raise Rejected(f"the VM is {m.state}", source.vm_id)
        if m.pi is not None and m.pi.busy:
            self.world.violations.append(f"a live copy of {source.vm_id} in the middle of a turn")
        m.state = VmState.SUSPENDED
        made = self.world.make({}, f"00000000-0000-4000-a000-{len(self.world.machines):012d}")
        made.source, made.branched_from, made.running_at = source, m.vm_id, self.world.now() + self.world.branch_seconds
        copy_live(m, made)
        commit = str(made.parent_commit)
        self.world.commits[commit] = Commit(commit, "internal", self.world.now(), m.vm_id)
        await asyncio.sleep(self.world.branch_seconds)
        if m.state is VmState.SUSPENDED and not self.world.leave_paused:
            m.state = VmState.RUNNING
        return made.vm_id

    async def commit(self, vm_id: str, name: str) -> str:
        await self._call()
        m = self.world.own(vm_id)
        if self.world.state(m) is VmState.DEAD:
            raise Rejected("the VM is dead", vm_id)
        if m.pi is not None and m.pi.busy:
            self.world.violations.append(f"snapshot of {vm_id} in the middle of a turn")
        self.world.commits_made += 1
        made = Commit(f"00000000-0000-4000-9000-{self.world.commits_made:012d}", name, self.world.now(), vm_id)
        self.world.commits[made.commit_id] = made
        self.world.disks[made.commit_id] = Machine(vm_id, self.world.now())
        copy_disk(m, self.world.disks[made.commit_id])
        return made.commit_id

    async def delete_commit(self, commit_id: str) -> None:
        await self._call()
        if commit_id not in self.world.commits:
            raise NotFound("commit not found", commit_id)
        used = sum(1 for m in self.world.machines.values() if m.parent_commit == commit_id and not m.deleted)
        if used:
            raise Conflict(f"commit still has {used} active VM(s)", commit_id)
        if commit_id in self.world.foreign_commits:
            self.world.foreign_effects += 1
        del self.world.commits[commit_id], self.world.disks[commit_id]

    async def list_commits(self) -> tuple[Commit, ...]:
        await self._call()
        return tuple(c for c in self.world.commits.values() if c.commit_id not in self.world.hidden_commits)

    async def delete_vm(self, vm_id: str) -> None:
        await self._call()
        m = self.world.machines.get(vm_id)
        if m is None or m.deleted:
            raise Forbidden("Forbidden", vm_id)
        self.world.own(vm_id)
        if m.pi is not None and m.pi.busy:
            self.world.violations.append(f"deleted {vm_id} in the middle of a turn")
        m.deleted = True
        m.pi = None
        self.world.deletes.append(vm_id)

    async def suspend_vm(self, vm_id: str) -> None:
        await self._call()
        m = self.world.own(vm_id)
        if self.world.suspend_seconds:
            self.world.suspending.add(vm_id)
            await asyncio.sleep(self.world.suspend_seconds)
            self.world.suspending.discard(vm_id)
        if m.pi is not None and m.pi.busy:
            if asyncio.current_task() in self.world.posthumous:
                self.world.frozen_by_the_dead.append(Frozen(vm_id, [text for at, text in self.world.prompts if at == vm_id][-1]))
            else:
                self.world.violations.append(f"suspended {vm_id} in the middle of a turn")
        self.world.state(m)
        m.state = VmState.SUSPENDED

    async def resume_vm(self, vm_id: str) -> None:
        await self._call()
        self.world.own(vm_id).state = VmState.RUNNING

    async def set_labels(self, vm_id: str, labels: Mapping[str, str]) -> None:
        await self._call()
        m = self.world.own(vm_id)
        m.labels.update(labels)


class FakeAgents:
    """Machines and keepers over the world. A controller's connection object: a new one for each controller."""

    def __init__(self, world: World, latency: float = 0.01) -> None:
        self.world, self.latency = world, latency

    async def _reach(self, at: Place, make: bool = False) -> Machine:
        await asyncio.sleep(self.latency)
        m = self.world.home(at.id, make) if at.local else self.world.machines.get(at.id)
        if m is None or m.deleted or self.world.state(m) is not VmState.RUNNING or not m.reachable:
            raise GuestUnreachable("no answer", at.id)
        if m.delay:
            await asyncio.sleep(m.delay)
        return m

    async def _keeper(self, at: ports.Machine) -> Machine:
        m = await self._reach(at.place)
        if not m.keeper_alive:
            raise GuestUnreachable("keeper does not answer", at.id)
        if m.keeper_of not in ("", m.vm_id):
            raise GuestFailed("this keeper belongs to another machine; it waits for a claim", at.id)
        if at.epoch < m.keeper_epoch:
            raise StaleEpoch("stale epoch", at.id)
        m.keeper_epoch = at.epoch
        return m

    def _claimed(self, m: Machine, epoch: int) -> None:
        """A keeper that came with a live copy becomes this machine's: the parent's pi ends here, and the epoch starts anew."""
        if m.keeper_alive and m.keeper_of not in ("", m.vm_id):
            m.keeper_of, m.keeper_epoch, m.pi, m.exited = m.vm_id, epoch, None, None

    async def inspect(self, at: Place) -> Guest:
        m = await self._reach(at)
        tools = "x" if m.installed else None
        return Guest(m.clock_skew, m.claim, tools, tools, KEEPER if m.installed else None, m.keeper_alive, dict(m.marks))

    async def correct_clock(self, at: Place) -> None:
        if self.world.clocks == "refuse":
            raise GuestFailed("setting the clock failed with exit code 1", at.vm_id, "Operation not permitted", 1, "not permitted")
        if self.world.clocks == "ignore":
            return
        (await self._reach(at)).clock_skew = 0.0

    async def write_claim(self, at: Place, claim: Mapping[str, str]) -> None:
        m = await self._reach(at, make=True)
        self._claimed(m, int(claim["epoch"]))
        m.claim = dict(claim)

    async def remove_claim(self, at: Place) -> None:
        (await self._reach(at)).claim = None

    async def install(self, at: Place) -> None:
        (await self._reach(at, make=True)).installed = True

    async def install_boundary(self, at: Place) -> None:
        await self._reach(at, make=True)

    async def start_keeper(self, at: ports.Machine) -> None:
        m = await self._reach(at.place, make=True)
        self._claimed(m, at.epoch)
        m.keeper_alive, m.keeper_epoch = True, max(m.keeper_epoch, at.epoch)

    async def observe(self, at: ports.Machine, session_file: str, offset: int) -> AgentObservation:
        m = await self._keeper(at)
        session = m.sessions.get(session_file, b"")
        if m.pi is not None:
            process: Up | Exited | NotStarted = Up(
                pid=m.pi.pid,
                started_at=m.pi.started_at,
                launch_hash=m.pi.launch.launch_hash,
                responsive=not m.pi.deaf,
                busy=m.pi.busy,
                pending=len(m.pi.steers),
                model=m.pi.model,
                thinking=m.pi.thinking,
                session_id=None if m.pi.never_spoke else "s",
                activity=m.pi.activity,
                inside=m.pi.inside,
                session_file=m.pi.launch.session_file,
                tool=m.pi.tool,
                work=m.pi.work,
                sandbox="" if self.world.boundless else boundary_hash(m.pi.launch.sandbox),
                refused=m.pi.refused,
                guard=Guarded(hash_of(m.pi.launch.guard or {}), hash_of(m.pi.rules), tuple(m.pi.asks)) if m.pi.rules else None,
                retry_after=self.world.retry_after,
                memory=taken(m.pi.told_memory, self.world.missing_model) if self.world.tells_memory else None,
                compacting=m.pi.compacting,
            )
        else:
            process = m.exited or NotStarted()
        agent = Agent(KEEPER, m.keeper_epoch, process, session_file, len(session), 0, m.output_blocked, m.memory.there())
        return AgentObservation(agent, session[offset:])

    async def write_files(
        self, at: ports.Machine, files: Sequence[GuestFile], work_dir: str, marks: Mapping[str, str] | None = None
    ) -> None:
        m = await self._keeper(at)
        for f in files:
            if m.pi is not None and f.path == m.session_file:
                raise Conflict("pi runs on this session file", at.id)
            m.files[f.path], m.modes[f.path] = f.content, f.mode
            if f.path.endswith(".jsonl"):
                m.sessions[f.path], m.session_file = f.content, f.path
        m.marks |= marks or {}

    async def mark(self, at: ports.Machine, name: str, value: str) -> None:
        (await self._keeper(at)).marks[name] = value

    async def run(self, at: ports.Machine, command: GuestCommand) -> CommandResult:
        await self._keeper(at)
        ended = self.world.commands(command)
        return ended if isinstance(ended, CommandResult) else CommandResult(ended, "out", "", 0.1)

    async def file_size(self, at: ports.Machine, path: str) -> int | None:
        m = await self._keeper(at)
        return len(m.files[path]) if path in m.files else None

    async def digest(self, at: ports.Machine, path: str) -> str:
        m = await self._keeper(at)
        return str(hash(tuple(sorted((name, content) for name, content in m.files.items() if name.startswith(path)))))

    async def read_file(self, at: ports.Machine, path: str, limit: int) -> bytes:
        return (await self._keeper(at)).files[path][:limit]

    async def prefixes(self, at: ports.Machine, path: str, ends: Sequence[int], blanks: Sequence[tuple[int, int]]) -> tuple[str, ...]:
        m = await self._keeper(at)
        return digests_of(blanked(m.sessions.get(path, m.files.get(path, b"")), blanks), ends)

    async def pack(self, at: ports.Machine, directory: str, limit: int) -> Archive:
        m = await self._keeper(at)
        inside = {path.removeprefix(f"{directory}/"): data for path, data in m.files.items() if path.startswith(f"{directory}/")}
        size = sum(len(data) for data in inside.values())
        if size > limit:
            return Archive(size)
        packed = {path: base64.b64encode(data).decode() for path, data in inside.items()}
        return Archive(size, json.dumps(packed).encode() if packed else b"")

    async def unpack(self, at: ports.Machine, directory: str, content: bytes) -> None:
        m = await self._keeper(at)
        for path, data in json.loads(content).items():
            m.files[f"{directory}/{path}"] = base64.b64decode(data)

    async def dissolve(self, at: ports.Machine, keep: bool) -> None:
        m = await self._reach(at.place)
        if at.epoch < m.keeper_epoch:
            raise StaleEpoch("stale epoch", at.id)
        if m.pi is not None and m.pi.busy:
            self.world.violations.append(f"ended {at.id} in the middle of a turn")
        m.pi, m.keeper_alive, m.deleted = None, False, not keep
        if not keep:
            self.world.homes.pop(at.id, None)

    async def start_agent(self, at: ports.Machine, launch: Launch) -> None:
        m = await self._keeper(at)
        if m.pi is not None:
            if m.pi.launch.launch_hash != launch.launch_hash:
                raise GuestFailed("pi already runs with another launch", at.id)
            return
        others = [o for o in (*self.world.machines.values(), *self.world.homes.values()) if o is not m and o.pi is not None]
        alive = [o for o in others if not o.deleted and o.state is not VmState.DEAD]
        if any(other.session_file.rpartition("/")[2] == launch.session_file.rpartition("/")[2] for other in alive):
            self.world.violations.append(f"a second pi on the session of {at.id}")
        self.world.pids += 1
        m.session_file = launch.session_file
        if m.session and not m.session.startswith(b'{"type":"session"'):
            m.exited = Exited(
                self.world.now(), 1, None, f"Error: Session file is not a valid pi session: {m.session_file}", launch.launch_hash
            )
            raise GuestFailed("pi ended before its first answer", at.id)
        if self.world.no_pi(m):
            m.exited = Exited(self.world.now(), 127, None, "no such library", launch.launch_hash)
            raise GuestFailed("pi ended before its first answer", at.id)
        m.exited = None
        m.pi = Pi(self.world.pids, self.world.now(), launch, model=m.last_model, inside=self.told(m, launch), rules=launch.guard)
        m.pi.compacting = self.world.own_compaction or launch.compacting
        m.pi.told_memory = m.memory.told(launch.memory) if launch.memory is not None else None

    def told(self, m: Machine, launch: Launch) -> Inside:
        """What pi reads as it starts: the file behind its argument, and the project file of its work dir."""
        role = m.files[launch.argv[launch.argv.index("--append-system-prompt") + 1]]
        project = {path: content for path, content in m.files.items() if path.endswith("AGENTS.md")}
        if self.world.deaf_to_instructions:
            return Inside(hashlib.sha256(b"").hexdigest())
        return Inside(hashlib.sha256(role).hexdigest(), {path: hashlib.sha256(c).hexdigest() for path, c in project.items()})

    async def digests(self, at: ports.Machine, paths: Sequence[str], work_dir: str) -> Mapping[str, str]:
        m = await self._keeper(at)
        return {path: hashlib.sha256(m.files[path]).hexdigest() if path in m.files else "missing" for path in paths}

    async def reread(self, at: ports.Machine) -> None:
        m = await self._keeper(at)
        if m.pi is None:
            raise GuestFailed("pi is not up", at.id)

    async def stop_agent(self, at: ports.Machine, grace: float) -> None:
        m = await self._keeper(at)
        if m.pi is not None:
            if m.pi.task is not None:
                m.pi.task.cancel()
            m.pi = None
        m.exited = None

    async def memory(self, at: ports.Machine) -> MachineMemory:
        return (await self._keeper(at)).memory.read()

    async def put_memory(self, at: ports.Machine, memory: MachineMemory) -> None:
        (await self._keeper(at)).memory.put(memory)

    async def answer(self, at: ports.Machine, question: str, allow: bool, reason: str) -> bool:
        m = await self._keeper(at)
        waits = m.pi is not None and any(ask.id == question for ask in m.pi.asks)
        if m.pi is not None and waits:
            m.pi.answers.append((question, allow, reason))
            m.pi.asks = [ask for ask in m.pi.asks if ask.id != question]
        return waits

    async def send(self, at: ports.Machine, key: str, command: Json, rules: Json | None = None) -> Verdict:
        m = await self._keeper(at)
        if rules is not None and (m.pi is None or m.pi.rules is None):
            raise GuestFailed("no pi runs that has permissions", at.id)
        if key in m.verdicts:
            return m.verdicts[key]
        if m.pi is None:
            m.verdicts[key] = Lost("pi is not up")
            return m.verdicts[key]
        text = str(command["message"])
        if rules is not None and not self.world.keeps_rules and not (m.pi.busy and command["streamingBehavior"] != "steer"):
            m.pi.rules = rules
        self.world.ruled.append((text, rules, m.pi.rules))
        if self.world.declines:
            m.verdicts[key] = Declined(self.world.declines)
        elif m.pi.busy:
            if command["streamingBehavior"] != "steer":
                self.world.violations.append(f"prompt to a busy session: {text[:60]}")
                m.verdicts[key] = Declined("busy")
                return m.verdicts[key]
            if not self.world.loses_steers:
                m.pi.steers.append(text)
            m.verdicts[key] = Accepted("queued")
        else:
            m.pi.task = asyncio.ensure_future(self.world.turn(m, m.pi, text))
            m.verdicts[key] = Accepted("started")
        await asyncio.sleep(self.latency)
        return m.verdicts[key]

    async def verdict(self, at: ports.Machine, key: str) -> Verdict:
        return (await self._keeper(at)).verdicts.get(key, Unheard())

    async def call(self, at: ports.Machine, command: Json) -> Json:
        m = await self._keeper(at)
        if m.pi is None:
            raise GuestUnreachable("pi is not up", at.id)
        if command["type"] == "set_model":
            model = f"{command['provider']}/{command['modelId']}"
            if model in self.world.unknown_models:
                return {"success": False, "error": f"Model not found: {model}"}
            m.pi.model = m.last_model = model
            return {"success": True}
        if command["type"] == "set_thinking_level":
            m.pi.thinking = str(command["level"])
            return {"success": True}
        if command["type"] == "clear_queue":
            taken, m.pi.steers = list(m.pi.steers), []
            return {"steering": list(taken), "followUp": []}
        if command["type"] == "get_commands":
            return {"type": "response", "command": "get_commands", "success": True, "data": {"commands": self.skills(m, m.pi)}}
        if command["type"] == "abort" and m.pi.busy and m.pi.stubborn:
            await asyncio.sleep(10)
            raise GuestUnreachable("pi did not answer abort within 10000 ms", at.id)
        if command["type"] == "abort" and m.pi.busy:
            m.pi.aborted = True
            if m.pi.task is not None:
                await asyncio.wait([m.pi.task])
        return {}

    def skills(self, m: Machine, pi: Pi) -> list[JsonValue]:
        """As pi does: those under its own directory, and those named at its start as far as they exist (pi-rpc §2.1)."""
        argv = pi.launch.argv
        named = [argv[i + 1] for i, word in enumerate(argv) if word == "--skill"]
        roots = [f"{pi.launch.agent_dir}/skills", *(posixpath.normpath(posixpath.join(pi.launch.work_dir, path)) for path in named)]
        written = {posixpath.normpath(posixpath.join(pi.launch.work_dir, path)) for path in m.files}
        found = sorted({file for file in written for root in roots if file == root or file.startswith(f"{root}/")})
        return [{"name": "skill", "source": "skill", "sourceInfo": {"path": file}} for file in found if file.endswith("SKILL.md")]

    def watch(self, at: Place, wake: Callable[[], None]) -> None:
        self.world.watchers[at.id] = [wake]

    async def release(self, at: Place) -> None:
        return None
