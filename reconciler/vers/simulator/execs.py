"""The exec, log and file operations, done in guests (vers-api §2.2)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import errno
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import orjson

from reconciler.children import Child
from reconciler.vers.simulator import limits, rooted, wire
from reconciler.vers.simulator.guests import Guests
from reconciler.vers.simulator.operations import Attach, Exec, Logs, ReadFile, WriteFile
from reconciler.vers.simulator.wire import ApiError, Json, JsonValue, Reply

_CHUNK = 64 * 1024
_OVERFLOWN = f"output exceeds {limits.OUTPUT} bytes; the command was ended"
_SMALL = 4096
_GATHER_S = 0.005
_STRAGGLERS_S = 0.5
_TIMED_OUT = 124


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of output. `offset`: bytes of this VM's log before it."""

    cursor: int
    exec_id: str
    stream: str
    data: bytes = field(repr=False)
    at: float
    offset: int

    @property
    def cost(self) -> int:
        """What it takes to keep it."""
        return len(self.data) + limits.CHUNK_COST


class Run:
    """One command under way or done. `finished` is its exit code, `cost` what its output takes to keep; `overflown`: it wrote more
    than is kept, and was ended."""

    def __init__(self, exec_id: str) -> None:
        self.exec_id = exec_id
        self.chunks: list[Chunk] = []
        self.finished: int | None = None
        self.capped = False
        self.cost = 0
        self.overflown = asyncio.Event()
        self.changed = asyncio.Condition()

    async def tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


class Execs:
    """Commands by VM, with their output as long as it fits. `new_id` names those that the caller did not; `stamp` prints a time."""

    def __init__(self, guests: Guests, clock: Callable[[], float], new_id: Callable[[], str], stamp: Callable[[float], str]) -> None:
        self._guests = guests
        self._clock = clock
        self._new_id = new_id
        self._stamp = stamp
        self._runs: dict[str, dict[str, Run]] = {}
        self._log: dict[str, deque[Chunk]] = {}
        self._logged: dict[str, int] = {}
        self._held = 0
        self._ends: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- commands ----------------------------------------------------------------------------------------------------------

    async def start(self, work: Exec, cap: float) -> Run:
        """Start the command; it goes on whether or not anybody listens. `cap`: the platform's own limit in seconds, 0 none.
        Raises `GuestError`, or 409 when the exec id was used before."""
        exec_id = work.exec_id or self._new_id()
        runs = self._runs.setdefault(work.vm_id, {})
        if exec_id in runs:
            raise wire.refused(409, "exec_id already used")
        run = runs[exec_id] = Run(exec_id)  # before the first await: a second one with this id is refused meanwhile
        try:
            process = await self._guests.spawn(work.vm_id, work.command, work.env, work.working_dir or "/root")
        except BaseException:
            runs.pop(exec_id, None)
            raise
        for old in [name for name, known in runs.items() if known.finished is not None][: max(0, len(runs) - limits.RUNS)]:
            self._held -= runs.pop(old).cost
        task = asyncio.create_task(self._attend(work, run, process, cap))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    async def _attend(self, work: Exec, run: Run, process: Child, cap: float) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            asyncio.create_task(self._collect(work.vm_id, run, "stdout", process.stdout)),
            asyncio.create_task(self._collect(work.vm_id, run, "stderr", process.stderr)),
            asyncio.create_task(_feed(process, (work.stdin or "").encode())),
        ]
        ends = [limit for limit in (work.timeout, cap) if limit]
        ended, overflown = asyncio.create_task(process.wait()), asyncio.create_task(run.overflown.wait())
        await asyncio.wait({ended, overflown}, timeout=min(ends) if ends else None, return_when=asyncio.FIRST_COMPLETED)
        overflown.cancel()
        if ended.done():
            code = ended.result()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await ended
            code = _TIMED_OUT
            run.capped = bool(cap) and cap == min(ends) and not run.overflown.is_set()
        # a daemon it left behind may hold the pipes for ever
        _, pending = await asyncio.wait(readers, timeout=_STRAGGLERS_S)
        for task in pending:
            task.cancel()
        process.let_go()
        run.finished = code if code >= 0 else 128 - code
        await run.tell()

    async def _collect(self, vm_id: str, run: Run, stream: str, reader: asyncio.StreamReader) -> None:
        """Keep what it writes; a command that writes more than there is room for is ended, and whoever asked for it is told."""
        while data := await reader.read(_CHUNK):
            if run.overflown.is_set():
                continue
            if len(data) < _SMALL:  # who writes byte by byte makes a few pieces, not a million
                await asyncio.sleep(_GATHER_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        data += await reader.read(_CHUNK)
            chunk = Chunk(len(run.chunks) + 1, run.exec_id, stream, data, self._clock(), self._ends.get(vm_id, 0))
            if run.cost + chunk.cost > limits.OUTPUT or not self._room(chunk.cost):
                run.overflown.set()
                continue
            self._ends[vm_id] = chunk.offset + len(data)
            run.chunks.append(chunk)
            run.cost += chunk.cost
            self._held += chunk.cost
            self._keep(vm_id, chunk)
            await run.tell()

    def _room(self, cost: int) -> bool:
        """Whether so much more output can be kept; commands that ended long ago are forgotten for it."""
        while self._held + cost > limits.HELD:
            ended = ((runs, name) for runs in self._runs.values() for name, run in runs.items() if run.finished is not None and run.cost)
            runs, name = next(ended, ({}, ""))
            if not name:
                return False
            self._held -= runs.pop(name).cost
        return True

    def _keep(self, vm_id: str, chunk: Chunk) -> None:
        """In the log of the VM, and of all VMs no more than there is room for."""
        log = self._log.setdefault(vm_id, deque())
        log.append(chunk)
        self._logged[vm_id] = self._logged.get(vm_id, 0) + chunk.cost
        while self._logged[vm_id] > limits.LOG:
            self._logged[vm_id] -= log.popleft().cost
        while sum(self._logged.values()) > limits.HELD:
            largest = max(self._logged, key=lambda known: self._logged[known])
            self._logged[largest] -= self._log[largest].popleft().cost

    async def result(self, run: Run, told_id: bool) -> Reply:
        """Wait for the end: exit code and output, utf-8 lossy. 500 when the platform's own limit ended it (F20)."""
        async with run.changed:
            await run.changed.wait_for(lambda: run.finished is not None)
        if run.overflown.is_set():
            raise wire.refused(413, _OVERFLOWN)
        if run.capped:
            raise wire.refused(500, "exec timed out")
        output = {s: b"".join(c.data for c in run.chunks if c.stream == s).decode(errors="replace") for s in ("stdout", "stderr")}
        row: Json = {"exit_code": run.finished, "stdout": output["stdout"], "stderr": output["stderr"]}
        if told_id:
            row["exec_id"] = run.exec_id
        return wire.reply(200, row)

    def find(self, work: Attach) -> Run:
        run = self._runs.get(work.vm_id, {}).get(work.exec_id)
        if run is None:
            raise wire.not_found()
        return run

    async def lines(self, run: Run, cursor: int | None, from_latest: bool) -> AsyncIterator[bytes]:
        """NDJSON lines after `cursor`, until the command's end."""
        at = len(run.chunks) if from_latest else min(cursor or 0, len(run.chunks))
        while True:
            async with run.changed:
                await run.changed.wait_for(lambda: run.finished is not None or len(run.chunks) > at)  # noqa: B023  # used at once
            for chunk in run.chunks[at:]:
                data = base64.b64encode(chunk.data).decode()
                yield _line({"type": "chunk", "stream": chunk.stream, "data_b64": data, "cursor": chunk.cursor, "exec_id": run.exec_id})
                at += 1
            if run.finished is not None and at >= len(run.chunks):
                if run.overflown.is_set():
                    yield _line({"type": "error", "code": "output_limit", "message": _OVERFLOWN})
                    return
                yield _line({"type": "exit", "exit_code": run.finished, "cursor": at + 1, "exec_id": run.exec_id})
                return

    def logs(self, work: Logs) -> Reply:
        """Whole chunks from a byte offset on."""
        entries: list[JsonValue] = []
        next_offset = work.offset
        log = self._log.get(work.vm_id, ())
        for chunk in log:
            if chunk.offset < work.offset:
                continue
            if len(entries) == work.max_entries:
                break
            next_offset = chunk.offset + len(chunk.data)
            if work.stream in (None, chunk.stream):
                data = base64.b64encode(chunk.data).decode()
                entries.append({"exec_id": chunk.exec_id, "timestamp": self._stamp(chunk.at), "stream": chunk.stream, "data_b64": data})
        eof = next_offset >= self._ends.get(work.vm_id, 0)
        return wire.reply(200, {"entries": entries, "next_offset": next_offset, "eof": eof})

    def forget(self, vm_id: str) -> None:
        self._held -= sum(run.cost for run in self._runs.pop(vm_id, {}).values())
        for kept in (self._log, self._ends, self._logged):
            kept.pop(vm_id, None)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- files -------------------------------------------------------------------------------------------------------------

    async def read_file(self, work: ReadFile) -> Reply:
        root, path = self._guests.root(work.vm_id), self._guests.below(work.vm_id, work.path)
        try:
            data = await asyncio.to_thread(rooted.read, root, path)
        except (OSError, UnicodeError) as exc:
            raise _refused_file(exc) from exc
        return wire.reply(200, {"content_b64": base64.b64encode(data).decode()})

    async def write_file(self, work: WriteFile) -> Reply:
        try:
            data = base64.b64decode(work.content_b64, validate=True)
        except binascii.Error:
            raise wire.refused(400, "content_b64 is not base64") from None
        if len(data) > limits.FILE:
            raise wire.refused(413, f"file is larger than {limits.FILE} bytes")
        root, path = self._guests.root(work.vm_id), self._guests.below(work.vm_id, work.path)
        try:
            await asyncio.to_thread(rooted.write, root, path, data, work.mode & 0o7777, make=work.create_dirs)
        except (OSError, UnicodeError) as exc:
            raise _refused_file(exc) from exc
        return wire.empty()


_STATUS = {errno.ENOENT: 404, errno.ENOTDIR: 404, errno.EFBIG: 413, errno.EACCES: 403, errno.EPERM: 403, errno.EROFS: 403}
_FAILED = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE})


def _refused_file(exc: OSError | UnicodeError) -> ApiError:
    """What can't succeed with this path is the caller's to mend; what the disk could not do is ours."""
    if isinstance(exc, UnicodeError):
        return wire.refused(400, "path can't be written in this system's encoding")
    status = _STATUS.get(exc.errno or 0, 500 if exc.errno in _FAILED else 400)
    return wire.not_found() if status == 404 else wire.refused(status, exc.strerror or "I/O error")


def _line(value: Json) -> bytes:
    return orjson.dumps(value) + b"\n"


async def _feed(process: Child, data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
