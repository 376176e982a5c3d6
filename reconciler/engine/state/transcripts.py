"""Conversations in memory: session files as far as they were read, parsed as they grow, and their mirrors in the store, which are
byte-exact. What was read and is not in the mirror yet is kept here until it is saved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from reconciler.core.conversation import compactions, parse, usages
from reconciler.core.messages import Compaction, Message, in_order
from reconciler.core.snapshot.session import Divergence
from reconciler.engine.ports import AppendSession, Store, Write
from reconciler.errors import ReconcilerError

PIECE = 1 << 20
"""Bytes of a mirror that are written as one row."""


class Transcript:
    """One session's messages and its length in bytes, as far as it was read. An unfinished last line waits for the rest of it.
    `pending`: its last bytes, which are not in the mirror yet, in the pieces in which they were read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.seen = 0  # how far the file was read last; beyond `size` by an unfinished last line
        self.reported = 0  # bytes of whole lines there are, as far as its keeper told,
        self.reported_by = ""  # at the place with this id
        self.divergence: Divergence | None = None  # the file and this mirror contradict each other: nothing is appended
        self.header = b""  # the first line, which names the directory that pi works in
        self.messages: tuple[Message, ...] = ()
        self.usages: tuple[Message, ...] = ()  # what was spent beside them
        self.compactions = 0  # how often it was shortened,
        self.compaction: Compaction | None = None  # and when last
        self.pending: list[bytes] = []
        self._rest = b""

    def report(self, place: str, size: int) -> None:
        """What the keeper at this place says of the file, before anything of it is read."""
        self.reported = max(self.reported, size) if self.reported_by == place else size
        self.reported_by = place

    def told(self, place: str) -> int:
        """The most that is known of the file at this place, 0 for nothing."""
        return self.reported if place and self.reported_by == place else 0

    @property
    def unsaved(self) -> int:
        """Bytes that were read and are not in the mirror yet."""
        return sum(map(len, self.pending))

    def take(self, data: bytes) -> None:
        """Take bytes that were read just now; they are to be saved."""
        self.grow(data)
        self.pending.append(data)

    def grow(self, data: bytes) -> None:
        """Take the bytes that follow."""
        pending = self._rest + data
        if not self.header and b"\n" in pending:
            self.header = pending[: pending.index(b"\n") + 1]
        base = self.size - len(self._rest)
        found, consumed = parse(pending, base)
        if shortened := compactions(pending[:consumed], base):
            self.compactions, self.compaction = self.compactions + len(shortened), shortened[-1]
        self._rest = pending[consumed:]
        self.size += len(data)
        if found:
            self.messages = (*self.messages, *found)
        if spent := usages(pending[:consumed], base):
            self.usages = (*self.usages, *(one if one.model else replace(one, model=self.model_before(one.offset)) for one in spent))

    def model_before(self, offset: int) -> str:
        """The model that last answered before this place: pi has summaries made by the one that is in use."""
        return next((said.model for said in reversed(self.messages) if said.offset < offset and said.model), "")

    @property
    def costs(self) -> tuple[Message, ...]:
        """All that was paid for, in the order of the file."""
        return in_order(self.messages, self.usages)


class Transcripts:
    """Transcripts by session name; read from the store once, then kept up with what the keepers report."""

    def __init__(self, store: Store, lengths: dict[str, int]) -> None:
        self._store, self._lengths = store, lengths
        self._open: dict[str, Transcript] = {}

    async def get(self, name: str) -> Transcript:
        transcript = self._open.get(name)
        if transcript is None:
            transcript = Transcript(name)
            if name in self._lengths:
                await self._follow(transcript)
            self._open[name] = transcript
        return transcript

    async def _follow(self, transcript: Transcript) -> None:
        """Take what the store has beyond it."""
        while data := await self._store.session(transcript.name, transcript.size):
            transcript.grow(data)
        self._lengths[transcript.name] = transcript.size

    async def save(self, name: str, write: Callable[[Sequence[Write]], Awaitable[None]] | None = None) -> None:
        """Mirror durably what was read of a session, in one transaction. `write`: adds to it, and writes it."""
        transcript = await self.get(name)
        if not transcript.pending:
            return
        offset, writes = transcript.size - transcript.unsaved, list[Write]()
        for data in transcript.pending:
            writes.append(AppendSession(name, offset, data))
            offset += len(data)
        try:
            await (write or self._store.write)(writes)
        except ReconcilerError:
            self._open.pop(name, None)  # the store is right: read it again next time
            self._lengths.setdefault(name, 0)
            raise
        transcript.pending.clear()
        self._lengths[name] = offset

    def length(self, name: str) -> int:
        """Bytes mirrored so far."""
        return self._lengths.get(name, 0)

    def drop(self, name: str) -> None:
        self._open.pop(name, None)

    async def read(self, name: str, size: int | None = None) -> bytes:
        """The mirror of a session, as it is stored (`redaction.unseal` gives what stood in the file): the whole of it, or its first
        `size` bytes."""
        whole = bytearray()
        while (size is None or len(whole) < size) and (data := await self._store.session(name, len(whole))):
            whole += data
        return bytes(whole[:size])

    def beginning(self, name: str, data: bytes) -> list[AppendSession]:
        """The rows of a mirror that is not there yet and begins with this. From here on the store is asked for it: also when the answer to
        their write is lost it is known what is in it."""
        self.drop(name)
        self._lengths.setdefault(name, 0)
        return [AppendSession(name, at, data[at : at + PIECE]) for at in range(0, len(data), PIECE)]

    def began(self, name: str, size: int) -> None:
        """Those rows are in the store."""
        self.drop(name)
        self._lengths[name] = size
