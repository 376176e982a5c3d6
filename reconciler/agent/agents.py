"""Agents behind their keepers: what the engine asks for, over one kept connection a place. Nothing here retries or resends."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from reconciler.agent import bootstrap, boundary, clock, intact, protocol
from reconciler.agent.batches import batches
from reconciler.agent.bootstrap import GuestLayout
from reconciler.agent.host import end_all
from reconciler.agent.keeper_client import KeeperClient
from reconciler.agent.memories import facts_of, memory_of
from reconciler.agent.protocol import KEEPER_VERSION, agent_of, binary, number, obj, signal_number, text, unwritten_of, verdict_of, whole
from reconciler.agent.toolchain import JITI_PACKAGE, PI_PACKAGE, Toolchain, node_package
from reconciler.agent.transport import FixedScript, RunResult, Transport
from reconciler.core.keys import Json
from reconciler.core.profile.localize import HOME_DIR, tree_of
from reconciler.core.snapshot.agent import Guest, Verdict
from reconciler.core.snapshot.machine import CommandResult, GuestCommand, GuestFile
from reconciler.engine.ports import AgentObservation, Archive, Launch, Machine, MachineMemory, Place
from reconciler.engine.supervision import Supervisor
from reconciler.errors import GuestFailed, GuestUnreachable, ReconcilerError

_log = logging.getLogger(__name__)

CHUNK = 1 << 22
_PING = 5.0
_QUICK = 15.0
_BULK = 120.0  # answers or requests of megabytes over a slow line
_START = 30.0  # the keeper gives pi 20 s
_VERDICT = 30.0
_INSTALL = 900.0
_MOVE = 300.0
_STOP = 10.0
_PACKED = "move.tgz"

Connect = Callable[[Place], Awaitable[Transport]]
Release = Callable[[Place], Awaitable[None]]


class _Connection:
    """What we hold for one place."""

    def __init__(self) -> None:
        self.opening = asyncio.Lock()
        self.client: KeeperClient | None = None
        self.wakes: list[Callable[[], None]] = []
        self.subscribed = False
        self.seq = 0

    def wake(self) -> None:
        for wake in tuple(self.wakes):
            wake()


class KeeperAgents:
    """`engine.ports.Agents`. `connect`: a transport to a place, kept by whoever gives it; `release`: let go of it; `layout`: where
    things lie there; `tools`: Node and pi of this host, for a place on it (None: they are installed there from the registry);
    `now`: the controller's clock."""

    def __init__(
        self,
        connect: Connect,
        release: Release,
        layout: Callable[[Place], GuestLayout] = lambda _: GuestLayout(),
        tools: Callable[[Place], Awaitable[Toolchain | None]] | None = None,
        now: Callable[[], float] = time.time,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._connect, self._release, self._layout, self._tools, self._now = connect, release, layout, tools, now
        self._supervisor = supervisor if supervisor is not None else Supervisor()
        self._connections: dict[Place, _Connection] = {}
        self._uploads = itertools.count(time.time_ns())

    def _upload(self) -> str:
        """A name that no other upload has."""
        return f"{next(self._uploads):x}"

    # --- the connection ------------------------------------------------------------------------------------------------------

    def _connection(self, at: Place) -> _Connection:
        return self._connections.setdefault(at, _Connection())

    async def _client(self, at: Machine, claim: bool = False) -> KeeperClient:
        """The connection, opened and introduced when there is none. `claim`: take over a keeper copied from another machine.
        Raises `GuestUnreachable`, `StaleEpoch`."""
        connection = self._connection(at.place)
        async with connection.opening:
            client = connection.client
            if client is not None and not client.closed and not claim:
                return client
            if client is None or client.closed:
                client = await self._open(at.place, connection, await self._connect(at.place))
            try:
                facts = await client.hello(at.id, at.epoch, _QUICK)
                if facts.get("foreign") is True and claim:
                    await client.request("claim", at.epoch, _QUICK)
            except ReconcilerError:
                if client is not connection.client:
                    await client.close()
                raise
            if client is not connection.client:
                connection.client, connection.subscribed, connection.seq = client, False, whole(facts, "seq") or 0
                if unwritten := unwritten_of(facts):
                    _log.warning("the keeper of %s could not write %d times: see whether its disk is full", at.id, unwritten)
                if survived := ", ".join(f"{name} {times}" for name, times in sorted(obj(facts.get("counters")).items())):
                    _log.info("the keeper of %s survived since its start: %s", at.id, survived)
            return client

    async def _open(self, at: Place, connection: _Connection, transport: Transport) -> KeeperClient:
        duplex = await transport.open_unix(self._layout(at).socket_path)

        def heard(message: Json) -> None:
            self._heard(connection, message)

        return KeeperClient(duplex, f"keeper of {at.id}", heard, connection.wake, self._supervisor)

    def _heard(self, connection: _Connection, message: Json) -> None:
        seq = whole(obj(message.get("event")), "seq")
        if seq is not None:
            connection.seq = seq
        connection.wake()

    async def _subscribe(self, connection: _Connection, client: KeeperClient, epoch: int) -> None:
        if not connection.subscribed:
            await client.request("subscribe", epoch, _QUICK, after=connection.seq)
            connection.subscribed = True

    async def _ask(self, at: Machine, op: str, timeout: float = _QUICK, **fields: object) -> Json:
        client = await self._client(at)
        connection = self._connection(at.place)
        if connection.wakes:
            await self._subscribe(connection, client, at.epoch)
        return await client.request(op, at.epoch, timeout, **fields)

    def watch(self, at: Place, wake: Callable[[], None]) -> None:
        """Heard from the next request on, or at once where a connection is open; stays through reconnects and `release`."""
        self._connection(at).wakes.append(wake)

    async def release(self, at: Place) -> None:
        connection = self._connections.get(at)
        if connection is not None and connection.client is not None:
            client, connection.client = connection.client, None
            await client.close()
        await self._release(at)

    async def aclose(self) -> None:
        for at in tuple(self._connections):
            await self.release(at)
        self._connections.clear()

    async def private(self, at: Machine, heard: Callable[[Json], None], lost: Callable[[], None]) -> KeeperClient:
        """A connection of its own to a keeper that is this place's already; must be closed. `heard`: every unasked line; `lost`: its
        end, when it is not ours. Raises `GuestUnreachable`, `StaleEpoch`."""
        duplex = await (await self._connect(at.place)).open_unix(self._layout(at.place).socket_path)
        client = KeeperClient(duplex, f"keeper of {at.id}", heard, lost, self._supervisor)
        try:
            facts = await client.hello(at.id, at.epoch, _QUICK)
            if facts.get("foreign") is True:
                raise GuestUnreachable("the keeper there waits to be claimed", at.id, "wait until the lieutenant is ready")
        except ReconcilerError:
            await client.close()
            raise
        return client

    # --- before the keeper ---------------------------------------------------------------------------------------------------

    async def _script(self, at: Place, script: FixedScript, stdin: bytes, what: str, timeout: float = _QUICK) -> RunResult:
        """Run one of our scripts. Raises `GuestFailed` with exit code and output when it ends badly."""
        transport = await self._connect(at)
        result = await transport.run(script, stdin, timeout)
        if result.exit_code != 0:
            tail = (result.stderr or result.stdout)[-2000:].decode(errors="replace").strip()
            raise GuestFailed(f"{what} failed with exit code {result.exit_code}", at.id, tail[-500:], result.exit_code, tail)
        return result

    async def _found(self, at: Place) -> bootstrap.Found:
        stdin = bootstrap.lines(self._layout(at).base)
        await self._connect(at)  # making a connection is no part of the way that the clock is measured over
        asked = self._now()
        result = await self._script(at, bootstrap.INSPECT, stdin, "looking at the machine", timeout=30.0)
        return bootstrap.parse_inspect(result.stdout, asked, self._now())

    async def inspect(self, at: Place) -> Guest:
        """See `Agents.inspect`. A Node that is too old and a pi of another version count as missing."""
        guest = (await self._found(at)).guest
        alive = guest.keeper is not None and await self._alive(at)
        return replace(guest, keeper_alive=alive)

    async def _alive(self, at: Place) -> bool:
        """Whether a keeper answers there. Raises `GuestUnreachable` when it is the machine that does not."""
        connection = self._connection(at)
        async with connection.opening:
            transport = await self._connect(at)
            client = connection.client
            try:
                if client is not None and not client.closed:
                    await client.request("ping", None, _PING)
                    return True
                client = await self._open(at, connection, transport)
                try:
                    await client.request("ping", None, _PING)
                finally:
                    await client.close()
            except GuestUnreachable:
                if transport.closed:
                    raise
                return False
            return True

    async def correct_clock(self, at: Place) -> None:
        if self._layout(at).own_clock:
            await self._connect(at)
            await clock.correct(partial(self._script, at), self._now)

    async def write_claim(self, at: Place, claim: Mapping[str, str]) -> None:
        """The claim file; before it, a keeper that came as a copy from another machine is claimed too, so that it never happens
        that the file says ours while the keeper thinks otherwise."""
        if await self._alive(at):
            await self._client(Machine(at, protocol.epoch_of(claim)), claim=True)
        stdin = bootstrap.lines(self._layout(at).base) + bootstrap.claim_line(dict(claim))
        await self._script(at, bootstrap.WRITE_CLAIM, stdin, "writing the claim")

    async def remove_claim(self, at: Place) -> None:
        await self._script(at, bootstrap.REMOVE_CLAIM, bootstrap.lines(self._layout(at).base), "removing the claim")

    async def install(self, at: Place) -> None:
        layout = self._layout(at)
        found = await self._found(at)
        missing = [what for what, there in (("node", found.guest.node), ("pi", found.guest.pi)) if there is None]
        tools = await self._tools(at) if missing and self._tools is not None else None
        if tools is not None:
            stdin = bootstrap.lines(layout.base, str(tools.node), str(tools.pi_cli))
            await self._script(at, bootstrap.LINK_TOOLS, stdin, "linking node and pi")
        elif missing:
            packages = [node_package(found.machine)] if "node" in missing else []
            packages += [JITI_PACKAGE, PI_PACKAGE] if "pi" in missing else []  # pi last: its presence means that all is there
            for package in packages:
                stdin = bootstrap.package_input(layout, package)
                await self._script(at, bootstrap.INSTALL_PACKAGE, stdin, f"installing {package.spec}", _INSTALL)
        if found.guest.keeper != KEEPER_VERSION:
            await self._script(at, bootstrap.INSTALL_KEEPER, bootstrap.keeper_input(layout), "installing the keeper", 60.0)

    async def install_boundary(self, at: Place) -> None:
        await boundary.ensure(partial(self._script, at), self._layout(at), host=bool(at.local))

    async def start_keeper(self, at: Machine) -> None:
        """Start it, or adopt the one that runs; one of another version is replaced when pi does not run (design §6)."""
        if not await self._alive(at.place):
            await intact.start(partial(self._script, at.place), self._layout(at.place))
        client = await self._client(at, claim=True)
        facts = await client.hello(at.id, at.epoch, _QUICK)
        if text(facts, "keeperVersion") == KEEPER_VERSION or text(obj(facts.get("process")), "state") == "up":
            return
        await client.request("quit", at.epoch, _QUICK)
        await client.ended(_QUICK)
        await intact.start(partial(self._script, at.place), self._layout(at.place))
        await self._client(at)

    # --- looking --------------------------------------------------------------------------------------------------------------

    async def observe(self, at: Machine, session_file: str, offset: int) -> AgentObservation:
        facts = await self._ask(at, "observe", _BULK, sessionFile=session_file, offset=offset, max=CHUNK)
        return AgentObservation(agent_of(facts, session_file, self._now()), binary(facts, "chunk"), text(facts, "live"))

    async def file_size(self, at: Machine, path: str) -> int | None:
        return whole(await self._ask(at, "file.size", path=path), "size")

    async def digest(self, at: Machine, path: str) -> str:
        return text(await self._ask(at, "dir.digest", _BULK, path=path), "digest")

    async def read_file(self, at: Machine, path: str, limit: int) -> bytes:
        content = bytearray()
        while len(content) < limit:
            asked = min(CHUNK, limit - len(content))
            part = binary(await self._ask(at, "file.read", _BULK, path=path, offset=len(content), limit=asked), "data")
            content += part
            if len(part) < asked:
                break
        return bytes(content)

    async def digests(self, at: Machine, paths: Sequence[str], work_dir: str) -> Mapping[str, str]:
        facts = await self._ask(at, "files.digest", paths=list(paths), workDir=work_dir)
        return {path: str(digest) for path, digest in obj(facts.get("digests")).items()}

    async def prefixes(self, at: Machine, path: str, ends: Sequence[int], blanks: Sequence[tuple[int, int]]) -> tuple[str, ...]:
        facts = await self._ask(at, "file.prefixes", _BULK, path=path, ends=list(ends), blanks=[list(blank) for blank in blanks])
        return tuple(map(str, found)) if isinstance(found := facts.get("digests"), list) else ()

    # --- changing -------------------------------------------------------------------------------------------------------------

    async def write_files(self, at: Machine, files: Sequence[GuestFile], work_dir: str, marks: Mapping[str, str] | None = None) -> None:
        waiting, uploads = marks or {}, list(batches(files, self._upload))
        for parts in uploads:
            final = {"marks": dict(marks)} if marks and parts is uploads[-1] else {}
            answer = await self._ask(at, "files.write", _BULK, parts=parts, workDir=work_dir, **final)
            waiting = {} if answer.get("marked") is True else waiting
        for name, value in waiting.items():  # no files, or a keeper of an earlier release
            await self.mark(at, name, value)

    async def mark(self, at: Machine, name: str, value: str) -> None:
        await self._ask(at, "mark", name=name, value=value)

    async def run(self, at: Machine, command: GuestCommand) -> CommandResult:
        facts = await self._ask(
            at, "run", command.timeout + _QUICK,
            argv=list(command.argv), cwd=command.cwd, env=dict(command.env), timeoutMs=round(command.timeout * 1000),
            sandbox=command.sandbox,
        )  # fmt: skip
        exit_code = whole(facts, "exitCode")
        if exit_code is None and facts.get("timedOut") is not True:
            exit_code = -(signal_number(facts) or 1)  # ended by a signal of its own
        return CommandResult(exit_code, text(facts, "stdout"), text(facts, "stderr"), number(facts, "durationMs") / 1000)

    # --- from one place to another --------------------------------------------------------------------------------------------

    async def _tool(self, at: Machine, *argv: str, fine: tuple[int, ...] = (0,)) -> CommandResult:
        """A program of the machine's own, without a shell. Raises `GuestFailed` when it ends otherwise than is `fine`."""
        result = await self.run(at, GuestCommand(argv, cwd="/", timeout=_MOVE))
        if result.exit_code not in fine:
            raise GuestFailed(f"{argv[0]} ended with exit code {result.exit_code}", at.id, result.stderr.strip()[-500:], result.exit_code)
        return result

    async def pack(self, at: Machine, directory: str, limit: int) -> Archive:
        """See `Agents.pack`: measured first, so that nothing too large is ever written to a disk."""
        if (await self._tool(at, "test", "-d", directory, fine=(0, 1))).exit_code == 1:
            return Archive(0, b"")
        measured = (await self._tool(at, "du", "-sb", "--one-file-system", directory, fine=(0, 1))).stdout.split()
        size = int(measured[0]) if measured and measured[0].isascii() and measured[0].isdigit() and len(measured[0]) < 20 else 0
        if size > limit:
            return Archive(size)
        archive = f"{self._layout(at.place).base}/{_PACKED}"
        # 1: something changed while it was read, which only what the agent left running can do.
        await self._tool(at, "tar", "--one-file-system", "-C", directory, "-czf", archive, ".", fine=(0, 1))
        content = await self.read_file(at, archive, limit + 1)
        await self._tool(at, "rm", "-f", archive)
        return Archive(size, content) if len(content) <= limit else Archive(len(content))

    async def unpack(self, at: Machine, directory: str, content: bytes) -> None:
        archive = f"{self._layout(at.place).base}/{_PACKED}"
        await self.write_files(at, [GuestFile(archive, content, 0o600)], directory)
        arrived = (await self._tool(at, "sha256sum", archive)).stdout.partition(" ")[0]
        if arrived != hashlib.sha256(content).hexdigest():
            raise GuestFailed("the files that arrived are not those that were sent", at.id, "they are sent again")
        await self._tool(at, "tar", "--no-same-owner", "-C", directory, "-xzf", archive)
        await self._tool(at, "rm", "-f", archive)

    async def dissolve(self, at: Machine, keep: bool) -> None:
        if not at.place.local:
            raise GuestFailed("only a place on this host can be dissolved", at.id, "delete the VM")
        layout = self._layout(at.place)
        if (await self._found(at.place)).guest.keeper is not None and await self._alive(at.place):
            client = await self._client(at)
            await client.request("stop", at.epoch, _STOP + _START, graceMs=round(_STOP * 1000))
            await client.request("quit", at.epoch, _QUICK)
            await client.ended(_QUICK)
        await self.release(at.place)
        await asyncio.to_thread(end_all, f"{tree_of(layout.base)}{HOME_DIR}")
        stdin = bootstrap.lines(layout.base, layout.socket_path, "keep" if keep else "remove")
        await self._script(at.place, bootstrap.DISSOLVE, stdin, "removing the agent's directory", 60.0)

    # --- pi ---------------------------------------------------------------------------------------------------------------------

    async def start_agent(self, at: Machine, launch: Launch) -> None:
        await self._ask(at, "start", _START, launch=protocol.launch_facts(launch))

    async def stop_agent(self, at: Machine, grace: float) -> None:
        await self._ask(at, "stop", grace + _START, graceMs=round(grace * 1000))

    async def reread(self, at: Machine) -> None:
        await self._ask(at, "inside")

    async def send(self, at: Machine, key: str, command: Json, rules: Json | None = None) -> Verdict:
        more: Json = {"rules": rules} if rules else {}
        facts = await self._ask(at, "send", _VERDICT + _BULK, key=key, command=command, waitMs=round(_VERDICT * 1000), **more)
        return verdict_of(facts.get("verdict"))

    async def answer(self, at: Machine, question: str, allow: bool, reason: str) -> bool:
        return (await self._ask(at, "answer", question=question, allow=allow, reason=reason)).get("answered") is True

    async def memory(self, at: Machine) -> MachineMemory:
        return memory_of(await self._ask(at, "memory.read", _BULK))

    async def put_memory(self, at: Machine, memory: MachineMemory) -> None:
        await self._ask(at, "memory.put", _BULK, **facts_of(memory))

    async def verdict(self, at: Machine, key: str) -> Verdict:
        return verdict_of((await self._ask(at, "verdict", key=key)).get("verdict"))

    async def call(self, at: Machine, command: Json) -> Json:
        facts = await self._ask(at, "call", _VERDICT + _QUICK, command=command, deadlineMs=round(_VERDICT * 1000))
        return obj(facts.get("response"))
