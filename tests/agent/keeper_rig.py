"""A keeper on this host with the real pi and a scripted model, and the ways to break them."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from reconciler.agent.agents import KeeperAgents
from reconciler.agent.bootstrap import GuestLayout, KeeperLimits, local_layout
from reconciler.agent.scripted_model import ScriptedModel, provider
from reconciler.agent.toolchain import Toolchain, find_toolchain
from reconciler.agent.transport import LocalTransport, Transport
from reconciler.core.conversation import parse
from reconciler.core.keys import Json
from reconciler.core.messages import Message
from reconciler.core.snapshot.agent import Compacting, Up
from reconciler.engine.ports import AgentObservation, Launch, Machine, Place
from reconciler.errors import Terminal

VM = Place("11111111-2222-4333-8444-555555555555")
AT = Machine(VM, 1)
SECRET = "sk-do-not-tell-5f1c"


@functools.cache
def _tools() -> Toolchain:
    """Looked for once: each look asks two Nodes for their versions."""
    return find_toolchain(os.environ)


def real_tools() -> Toolchain:
    """Node and pi, or a skip that says how to get them; never a skip in CI."""
    try:
        return _tools()
    except Terminal as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - files and processes have no event to wait for
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def proc(pid: int, name: str) -> bytes:
    """What /proc tells of a process."""
    return Path(f"/proc/{pid}/{name}").read_bytes()


def below(directory: Path) -> list[int]:
    """Processes that work in this directory: keeper, pi and their tools."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(directory) and int(entry.name) != os.getpid() and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


@dataclass
class Rig:
    agents: KeeperAgents
    layout: GuestLayout
    model: ScriptedModel
    tools: Toolchain
    root: Path
    transports: list[LocalTransport]
    epoch: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    since: int = 0
    """Where in the session begins what is looked at here."""
    events_before: int = 0

    @property
    def base(self) -> Path:
        return Path(self.layout.base)

    @property
    def session(self) -> Path:
        return self.root / "agent" / "sessions" / "s.jsonl"

    def launch(
        self,
        name: str = "launch-1",
        argv: tuple[str, ...] = (),
        command: tuple[str, ...] = ("pi",),
        guard: Json | None = None,
        memory: Json | None = None,
        compacting: Compacting | None = None,
        sandbox: Json | None = None,
    ) -> Launch:
        directory = self.root / "agent"
        directory.mkdir(exist_ok=True)
        (directory / "models.json").write_text(json.dumps(provider(self.model.url)))
        settings = {"retry": {"baseDelayMs": 10}}
        (directory / "settings.json").write_text(json.dumps(settings))
        env = {"PI_CODING_AGENT_DIR": str(directory), "PI_OFFLINE": "1", "PI_SKIP_VERSION_CHECK": "1", "SCRIPTED_KEY": SECRET, **self.env}
        return Launch(
            command=command,
            argv=("--provider", "scripted", "--model", "scripted", "--no-approve", *argv),
            env=env,
            work_dir=str(self.root / "work"),
            agent_dir=str(directory),
            session_file=str(self.session),
            launch_hash=name,
            guard=guard,
            memory=memory,
            compacting=compacting,
            sandbox=sandbox,
        )

    async def up(self, **launch: object) -> None:
        await self.agents.install(VM)
        await self.agents.start_keeper(Machine(VM, self.epoch))
        await self.agents.start_agent(Machine(VM, self.epoch), self.launch(**launch))  # type: ignore[arg-type]

    async def begin(self, **launch: object) -> None:
        """For the next of several tests that share a pi: it is up and has nothing to do, and the conversation, the journal and the requests
        to the model begin here. What is sent needs a key that no other one of them has."""
        await self.up(**launch)
        await self.settled()
        self.since = (await self.look()).agent.session_size
        self.events_before = len(self._journal())
        self.model.requests.clear()

    async def look(self) -> AgentObservation:
        return await self.agents.observe(Machine(VM, self.epoch), str(self.session), self.since)

    async def process(self) -> Up:
        process = (await self.look()).agent.process
        assert isinstance(process, Up)
        return process

    async def messages(self) -> tuple[Message, ...]:
        return parse((await self.look()).chunk, 0)[0]

    async def settled(self) -> tuple[Message, ...]:
        """The conversation, once pi has nothing left to do."""
        async with asyncio.timeout(60):
            while True:
                look = await self.look()
                if isinstance(look.agent.process, Up) and not look.agent.process.busy:
                    return parse(look.chunk, 0)[0]
                await asyncio.sleep(0.02)

    async def seen(self, condition: Callable[[AgentObservation], bool]) -> AgentObservation:
        async with asyncio.timeout(60):
            while not condition(look := await self.look()):  # noqa: ASYNC110 - asking is the only way to know
                await asyncio.sleep(0.02)
            return look

    def events(self) -> list[Json]:
        """The event journal."""
        return self._journal()[self.events_before :]

    def _journal(self) -> list[Json]:
        found: list[Json] = []
        for file in sorted(self.base.glob("events-*.jsonl")):
            found += [json.loads(line) for line in file.read_bytes().split(b"\n") if line]
        return found

    def count(self, event: str) -> int:
        return sum(1 for record in self.events() if record["event"] == event)

    def keeper_pid(self) -> int:
        return int(str([record["pid"] for record in self._journal() if record["event"] == "keeper"][-1]))

    async def kill_keeper(self) -> None:
        os.kill(self.keeper_pid(), signal.SIGKILL)
        await until(self.unlocked)

    def unlocked(self) -> bool:
        """No keeper runs: a dying one of many threads is a zombie before its last thread has let go of its files."""
        with (self.base / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    async def end(self) -> None:
        """Stop what was started here, the hard way."""
        await self.agents.aclose()
        while left := below(self.root):  # until none: one that was just being started is seen a moment later
            for pid in left:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0)
        if self.layout.socket_path.startswith(f"{tempfile.gettempdir()}/reconciler-"):
            shutil.rmtree(Path(self.layout.socket_path).parent, ignore_errors=True)


@asynccontextmanager
async def rigged(root: Path, limits: KeeperLimits | None = None) -> AsyncIterator[Rig]:
    tools = real_tools()
    layout = local_layout(root / "r", "place", limits)
    transports: list[LocalTransport] = []

    async def connect(_: Place) -> Transport:
        if not transports or transports[-1].closed:
            transports.append(LocalTransport())
        return transports[-1]

    async def release(_: Place) -> None:
        if transports:
            await transports[-1].close()

    async def here(_: Place) -> Toolchain:
        return tools

    async with ScriptedModel() as model:
        rig = Rig(KeeperAgents(connect, release, lambda _: layout, here), layout, model, tools, root, transports)
        try:
            yield rig
        finally:
            await rig.end()


def script(*steps: Json) -> str:
    """A prompt that tells the model what to do."""
    return f"please <<<{json.dumps(list(steps))}>>>"


def prompt(text: str, steer: bool = False) -> Json:
    return {"type": "prompt", "message": text, "streamingBehavior": "steer" if steer else "followUp"}


# Several tests of a file have one pi, which costs half a second of a processor to start: those that leave it as it was, with nothing to do.

sharing = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with rigged(tmp_path_factory.mktemp("one")) as it:
        await it.up()
        await it.agents.send(AT, "first", prompt(script({"say": "hello"})))  # what the system says to the model comes before it
        yield it


@pytest_asyncio.fixture(loop_scope="module")
async def shared(one_rig: Rig) -> Rig:
    """A pi that was started as `Rig.launch` has it, and that the other tests which ask for it talk to as well."""
    await one_rig.begin()
    return one_rig
