"""The writer thread: whatever was handed in while one commit ran goes into the next one (group commit)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import sleep

from reconciler.errors import ReconcilerError
from reconciler.store.commit import Outcome
from reconciler.store.rows import Batch, ChunkRow

BATCHES_AT_ONCE = 2_000
BYTES_AT_ONCE = 32 << 20
"""Bounds of one transaction; session bytes are all that can be large."""
LINGER = 0.003
"""Seconds that a transaction waits for more while several tasks write: each costs a millisecond whatever is in it."""
FULL = 32
"""As many batches in one transaction make that cost small; the next one does not wait."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Job:
    """`make`: the rows. `failed`: why they could not be made."""

    make: Callable[[], Batch] = field(repr=False)
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Outcome]
    batch: Batch = field(default=(), repr=False)
    failed: ReconcilerError | None = None

    def made(self) -> int:
        """Make the rows; how many bytes of sessions they have."""
        try:
            self.batch = self.make()
        except ReconcilerError as error:
            self.failed = error
        except Exception as error:
            log.exception("the store's writer failed to encode a batch")
            self.failed = _defect(error)
        return sum(len(write.data) for write in self.batch if isinstance(write, ChunkRow))


class WriterThread:
    """Runs `commit` in a thread of its own, which ends with the process or by `close`."""

    def __init__(self, commit: Callable[[Sequence[Batch]], list[Outcome]]) -> None:
        self._commit = commit
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._handing_in = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def write(self, make: Callable[[], Batch]) -> None:
        """Returns when the batch is durable, else raises its outcome. Cancelled, the batch is written all the same. `make`: gives the
        batch, called in the thread; what it raises is the outcome."""
        loop = asyncio.get_running_loop()
        job = _Job(make, loop, loop.create_future())
        with self._handing_in:
            if self._closed:
                raise closed()
            self._jobs.put(job)
        outcome = await job.done
        if outcome is not None:
            raise outcome

    def close(self) -> None:
        """Write what was handed in, then end the thread. Blocks; a second call waits too."""
        with self._handing_in:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        """A batch that is alone never waits for others, nor does the one after it: only where the last transaction was shared (as
        `commit_siblings` has it in PostgreSQL) is it likely that more will come."""
        going, shared_by = True, 1
        while going:
            first = self._jobs.get()
            if first is None:
                return
            if 1 < shared_by < FULL:
                sleep(LINGER)
            jobs = [first]
            going = self._gather(jobs)
            shared_by = len(jobs)
            good = [job for job in jobs if job.failed is None]
            told = zip(good, self._outcomes([job.batch for job in good]), strict=True) if good else ()
            _answer([*told, *((job, job.failed) for job in jobs if job.failed is not None)])

    def _gather(self, jobs: list[_Job]) -> bool:
        """Add what else waits; False when closing was asked for behind it."""
        size = jobs[0].made()
        while len(jobs) < BATCHES_AT_ONCE and size < BYTES_AT_ONCE:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return True
            if job is None:
                return False
            jobs.append(job)
            size += job.made()
        return True

    def _outcomes(self, batches: list[Batch]) -> list[Outcome]:
        try:
            outcomes = self._commit(batches)
            if len(outcomes) != len(batches):
                raise ValueError(f"{len(outcomes)} outcomes")
            return outcomes
        except Exception as exc:
            log.exception("the store's writer failed on %d batches", len(batches))
            return [_defect(exc) for _ in batches]


def _defect(error: Exception) -> ReconcilerError:
    """A defect of ours: nobody may wait for ever because of it, nor may the thread end."""
    return ReconcilerError(f"the store's writer failed ({type(error).__name__})", "", "report this as a defect, with the log")


def closed() -> ReconcilerError:
    """The error of every call after `aclose`."""
    return ReconcilerError("the store is closed", "", "open it again")


def _answer(told: list[tuple[_Job, Outcome]]) -> None:
    """One wake-up a loop, however many tasks of it wait."""
    answers: defaultdict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Outcome], Outcome]]] = defaultdict(list)
    for job, outcome in told:
        answers[job.loop].append((job.done, outcome))
    for loop, some in answers.items():
        try:
            loop.call_soon_threadsafe(_resolve, some)
        except RuntimeError:
            log.warning("%d writes were carried out for an event loop that is closed", len(some))


def _resolve(answers: list[tuple[asyncio.Future[Outcome], Outcome]]) -> None:
    for done, outcome in answers:
        if not done.cancelled():
            done.set_result(outcome)
