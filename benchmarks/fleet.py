"""A fleet to measure with: the simulated platform in a process of its own (machines without inside), and the real controller over it.

Real are the engine, the client (HTTP over loopback) and the SQLite store. Only what is inside a machine is a double, because these
machines have no inside: its agents are ready as soon as they are asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform as platform_of
import random
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.app import begin_loading, end_loading
from reconciler.core.profile.instructions import sha256
from reconciler.core.profile.rendering import ROLE_FILE
from reconciler.core.snapshot.agent import Agent, Guest, Inside, NotStarted, Unheard, Up, Verdict
from reconciler.core.snapshot.machine import CommandResult, GuestCommand, GuestFile
from reconciler.core.snapshot.memory import OnMachine
from reconciler.engine.clock import LoopClock
from reconciler.engine.loop import Engine
from reconciler.engine.parts import EngineParts
from reconciler.engine.ports import AgentObservation, Archive, Json, JsonValue, Key, Launch, Machine, MachineMemory, Place
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.declared import Declared
from reconciler.errors import GuestFailed
from reconciler.store.sqlstore import open_store
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings

CONCURRENCY = 50
"""Calls to the platform that may be under way at once; the client's own default."""

KEEPER = "bench"


@dataclass(frozen=True, slots=True)
class Platform:
    """A simulated platform that runs. `admin`: its administrator's side, with credentials."""

    url: str
    api_key: str = field(repr=False)
    admin: str = field(repr=False)

    @property
    def environment(self) -> Mapping[str, str]:
        return {"VERS_BASE_URL": self.url, "VERS_API_KEY": self.api_key}

    def state(self) -> Json:
        """The truth: every VM there is, and the number of calls by operation."""
        parts = urlsplit(self.admin)
        credential = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        url = f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}/state"
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {credential}"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            state = json.load(answer)
        assert isinstance(state, dict)
        return state


@contextmanager
def platform(latency: float, faults: Sequence[str] = ()) -> Iterator[Platform]:
    """A platform whose every call takes `latency` seconds, with these faults (docs/simulator.md); ended by its pid in the end."""
    command = [sys.executable, "-m", "reconciler", "simulate", "--guests", "stub", "--latency", f"*={latency}"]
    command += [word for fault in faults for word in ("--fault", fault)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the simulated platform did not start: exit code {process.wait()}")
        told = json.loads(line)
        yield Platform(told["url"], told["apiKey"], told["admin"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


digest_of = cache(sha256)
"""The files of a profile are the same on every machine: what a machine computes is no cost of the controller."""


@dataclass(slots=True)
class Within:
    """What our acts left in one machine."""

    claim: dict[str, str] | None = None
    installed: bool = False
    keeper: bool = False
    marks: dict[str, str] = field(default_factory=dict)
    skills: set[str] = field(default_factory=set)
    launch: Launch | None = None
    told: Inside | None = None
    digests: dict[str, str] = field(default_factory=dict)


class ReadyAgents:
    """`ports.Agents` of machines without inside: whatever is done there is done at once, and stays."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self._machines: dict[str, Within] = {}

    def _at(self, at: Place | Machine) -> Within:
        return self._machines.setdefault(at.id, Within())

    async def inspect(self, at: Place) -> Guest:
        m = self._at(at)
        tool = KEEPER if m.installed else None
        return Guest(claim=m.claim, node=tool, pi=tool, keeper=tool, keeper_alive=m.keeper, marks=dict(m.marks))

    async def correct_clock(self, at: Place) -> None:
        return None

    async def write_claim(self, at: Place, claim: Mapping[str, str]) -> None:
        self._at(at).claim = dict(claim)

    async def remove_claim(self, at: Place) -> None:
        self._at(at).claim = None

    async def install(self, at: Place) -> None:
        self._at(at).installed = True

    async def install_boundary(self, at: Place) -> None:
        self._at(at)

    async def start_keeper(self, at: Machine) -> None:
        self._at(at).keeper = True

    async def observe(self, at: Machine, session_file: str, offset: int) -> AgentObservation:
        m = self._at(at)
        process = NotStarted() if m.launch is None else Up(1, self._clock.now(), m.launch.launch_hash, inside=m.told)
        return AgentObservation(Agent(KEEPER, at.epoch, process, session_file), b"")

    async def prefixes(self, at: Machine, path: str, ends: Sequence[int], blanks: Sequence[tuple[int, int]]) -> tuple[str, ...]:
        return ()

    async def write_files(self, at: Machine, files: Sequence[GuestFile], work_dir: str, marks: Mapping[str, str] | None = None) -> None:
        self._at(at).marks |= marks or {}
        self._at(at).digests |= {file.path: digest_of(file.content) for file in files}
        self._at(at).skills |= {file.path for file in files if file.path.endswith("/SKILL.md")}

    async def digests(self, at: Machine, paths: Sequence[str], work_dir: str) -> Mapping[str, str]:
        return self._at(at).digests

    async def digest(self, at: Machine, path: str) -> str:
        return ""

    async def pack(self, at: Machine, directory: str, limit: int) -> Archive:
        raise GuestFailed("nothing moves here", at.id)

    async def unpack(self, at: Machine, directory: str, content: bytes) -> None:
        raise GuestFailed("nothing moves here", at.id)

    async def dissolve(self, at: Machine, keep: bool) -> None:
        raise GuestFailed("nothing lives on this host", at.id)

    async def reread(self, at: Machine) -> None:
        return None

    async def mark(self, at: Machine, name: str, value: str) -> None:
        self._at(at).marks[name] = value

    async def run(self, at: Machine, command: GuestCommand) -> CommandResult:
        return CommandResult(0, "", "", 0.0)

    async def file_size(self, at: Machine, path: str) -> int | None:
        return None

    async def read_file(self, at: Machine, path: str, limit: int) -> bytes:
        return b""

    async def start_agent(self, at: Machine, launch: Launch) -> None:
        m = self._at(at)
        m.launch, m.told = launch, Inside(m.digests[ROLE_FILE])

    async def stop_agent(self, at: Machine, grace: float) -> None:
        self._at(at).launch = None

    async def send(self, at: Machine, key: str, command: Json, rules: Json | None = None) -> Verdict:
        return Unheard()

    async def answer(self, at: Machine, question: str, allow: bool, reason: str) -> bool:
        return False

    async def memory(self, at: Machine) -> MachineMemory:
        return MachineMemory(OnMachine())

    async def put_memory(self, at: Machine, memory: MachineMemory) -> None:
        return None

    async def verdict(self, at: Machine, key: str) -> Verdict:
        return Unheard()

    async def call(self, at: Machine, command: Json) -> Json:
        skills: list[JsonValue] = [{"source": "skill", "sourceInfo": {"path": path}} for path in sorted(self._at(at).skills)]
        return {"data": {"commands": skills}}

    def watch(self, at: Place, wake: Callable[[], None]) -> None:
        return None

    async def release(self, at: Place) -> None:
        return None


class NoSecrets:
    """`ports.Secrets` without any."""

    def get(self, namespace: str, name: str, key: str) -> str | None:
        return None

    def config(self, namespace: str, name: str, key: str) -> str | None:
        return None

    def holds(self, kind: str, namespace: str, name: str) -> bool:
        return False

    def unread(self, kind: str, namespace: str, name: str) -> str:
        return ""

    def known(self) -> tuple[str, ...]:
        return ()


SETTINGS = EngineSettings(fleet="bench", installation="bench", health_probes=False)
SPEC: Json = {"role": "measure", "profileRef": {"name": "lightweight"}}


@asynccontextmanager
async def controller(
    at: Platform,
    directory: Path,
    resync_seconds: float = SETTINGS.resync_seconds,
    settle_seconds: float = SETTINGS.settle_seconds,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    patience: float = 0.0,
) -> AsyncIterator[Engine]:
    """The real controller over that platform, started; its store in `directory`. `sleep`: how its client waits between attempts;
    `patience`: see `Engine.start`."""
    clock = LoopClock()
    if patience:
        begin_loading()
    vers = VersClient(Settings(at.environment), concurrency=CONCURRENCY, sleep=sleep)
    store = open_store(directory / "state.db")
    settings = replace(SETTINGS, resync_seconds=resync_seconds, settle_seconds=settle_seconds)
    parts = EngineParts(settings, vers, ReadyAgents(clock), KEEPER, store, NoSecrets(), clock, jitter=random.Random(1).random)
    engine = await Engine.open(parts)
    try:
        await engine.start(patience=patience, loaded=end_loading)
        yield engine
    finally:
        await engine.stop()
        await vers.aclose()
        await store.aclose()


async def declare(engine: Engine, count: int) -> None:
    """Declare that many lieutenants, all at once."""
    names = [Key("Lieutenant", "default", f"lt-{n:05}") for n in range(count)]
    await asyncio.gather(*(engine.declarations.apply(Declared(name, dict(SPEC), {}, {}, "api")) for name in names))


async def converge(engine: Engine) -> None:
    """Until everything declared is reached, or nothing more will come."""
    while not engine.converged():  # noqa: ASYNC110  # nothing tells of it; looking is cheap
        await asyncio.sleep(0.01)


def ready(engine: Engine) -> int:
    """How many lieutenants say that their declared state is reached."""
    found = 0
    for item in engine.table.of_kind("Lieutenant"):
        conditions = item.obj.status.get("conditions")
        if isinstance(conditions, list):
            found += any(isinstance(c, dict) and c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return found


def machine() -> str:
    """What it is measured on, and what else that is doing: one line."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    model = models[0] if models else platform_of.machine()
    return f"{os.cpu_count()} cores ({model}), Python {platform_of.python_version()}, load before: {load}"


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
