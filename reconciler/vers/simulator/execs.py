"""The exec, log and file operations, done in guests (vers-api §2.2)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import orjson

from reconciler.vers.simulator import wire
from reconciler.vers.simulator.guests import Guests
from reconciler.vers.simulator.operations import Attach, Exec, Logs, ReadFile, WriteFile
from reconciler.vers.simulator.wire import ApiError, Json, JsonValue, Reply

_CHUNK = 64 * 1024
_RETAINED = 8 * 1024 * 1024  # of a VM's log
_MOST_OUTPUT = 64 * 1024 * 1024  # of one command; what comes after is read and dropped
_MOST_RUNS = 200  # of a VM: the oldest that have ended are forgotten
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


class Run:
    """One command under way or done. `finished` is its exit code."""

    def __init__(self, exec_id: str) -> None:
        self.exec_id = exec_id
        self.chunks: list[Chunk] = []
        self.finished: int | None = None
        self.capped = False
        self.size = 0
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
        self._log: dict[str, list[Chunk]] = {}
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
        process = await self._guests.spawn(work.vm_id, work.command, work.env, work.working_dir or "/root")
        for old in [name for name, known in runs.items() if known.finished is not None][: max(0, len(runs) + 1 - _MOST_RUNS)]:
            del runs[old]
        run = runs[exec_id] = Run(exec_id)
        task = asyncio.create_task(self._attend(work, run, process, cap))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    async def _attend(self, work: Exec, run: Run, process: asyncio.subprocess.Process, cap: float) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            asyncio.create_task(self._collect(work.vm_id, run, "stdout", process.stdout)),
            asyncio.create_task(self._collect(work.vm_id, run, "stderr", process.stderr)),
            asyncio.create_task(_feed(process, (work.stdin or "").encode())),
        ]
        limits = [limit for limit in (work.timeout, cap) if limit]
        try:
            code = await asyncio.wait_for(process.wait(), min(limits) if limits else None)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            code = _TIMED_OUT
            run.capped = bool(cap) and cap == min(limits)
        # a daemon it left behind may hold the pipes for ever
        _, pending = await asyncio.wait(readers, timeout=_STRAGGLERS_S)
        for task in pending:
            task.cancel()
        run.finished = code if code >= 0 else 128 - code
        await run.tell()

    async def _collect(self, vm_id: str, run: Run, stream: str, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            run.size += len(data)
            if run.size > _MOST_OUTPUT:
                continue
            offset = self._ends.get(vm_id, 0)
            self._ends[vm_id] = offset + len(data)
            chunk = Chunk(len(run.chunks) + 1, run.exec_id, stream, data, self._clock(), offset)
            run.chunks.append(chunk)
            log = self._log.setdefault(vm_id, [])
            log.append(chunk)
            while log and self._ends[vm_id] - log[0].offset > _RETAINED:
                log.pop(0)
            await run.tell()

    async def result(self, run: Run, told_id: bool) -> Reply:
        """Wait for the end: exit code and output, utf-8 lossy. 500 when the platform's own limit ended it (F20)."""
        async with run.changed:
            await run.changed.wait_for(lambda: run.finished is not None)
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
            if run.finished is not None and at == len(run.chunks):
                yield _line({"type": "exit", "exit_code": run.finished, "cursor": at + 1, "exec_id": run.exec_id})
                return

    def logs(self, work: Logs) -> Reply:
        """Whole chunks from a byte offset on."""
        entries: list[JsonValue] = []
        next_offset = work.offset
        log = self._log.get(work.vm_id, [])
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
        for kept in (self._runs, self._log, self._ends):
            kept.pop(vm_id, None)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- files -------------------------------------------------------------------------------------------------------------

    def read_file(self, work: ReadFile) -> Reply:
        path = self._guests.path(work.vm_id, work.path)
        try:
            if path.is_dir():
                raise wire.refused(500, "Is a directory")
            data = path.read_bytes()
        except OSError as exc:
            raise _refused_file(exc) from exc
        return wire.reply(200, {"content_b64": base64.b64encode(data).decode()})

    def write_file(self, work: WriteFile) -> Reply:
        try:
            data = base64.b64decode(work.content_b64, validate=True)
        except binascii.Error:
            raise wire.refused(400, "content_b64 is not base64") from None
        path = self._guests.path(work.vm_id, work.path)
        try:
            if work.create_dirs:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(work.mode & 0o7777)
        except OSError as exc:
            raise _refused_file(exc) from exc
        return wire.empty()


def _refused_file(exc: OSError) -> ApiError:
    missing = isinstance(exc, FileNotFoundError | NotADirectoryError)
    return wire.not_found() if missing else wire.refused(500, exc.strerror or "I/O error")


def _line(value: Json) -> bytes:
    return orjson.dumps(value) + b"\n"


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
