"""The two ends of a conversation compared: the file on the machine and the mirror in the store, by digests of their beginnings.

The mirror has a stand-in where the file says a secret (`redaction.seal`), and after a restore the file may have it too. What looks
like one is therefore left out of the comparison on both sides, in place: nothing about a secret's value goes anywhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from reconciler.core.profile.localize import header_to, shift_of
from reconciler.core.snapshot.session import Divergence, SessionName
from reconciler.engine.ports import AgentReader, Machine, Place
from reconciler.engine.state.transcripts import Transcript, Transcripts

STAND_IN = re.compile(rb"~[a-z2-7]{7}~*")
BLANK = b"~"
AT_ONCE = 32
"""Digests asked for in one request."""

Ask = Callable[[Sequence[int]], Awaitable[tuple[str, ...]]]


def blanks_of(mirror: bytes) -> list[tuple[int, int]]:
    """(offset, length) of everything in a mirror that may stand in for a secret."""
    return [(found.start(), found.end() - found.start()) for found in STAND_IN.finditer(mirror)]


def blanked(data: bytes, blanks: Sequence[tuple[int, int]]) -> bytes:
    """The data with these ranges, as far as they are in it, filled."""
    filled = bytearray(data)
    for at, length in blanks:
        end = min(at + length, len(filled))
        if at < end:
            filled[at:end] = BLANK * (end - at)
    return bytes(filled)


def digests_of(data: bytes, ends: Sequence[int]) -> tuple[str, ...]:
    """SHA-256 of the beginnings of these lengths, which rise; none for what the data does not have."""
    digest, at, found = hashlib.sha256(), 0, []
    for end in ends:
        if end > len(data):
            break
        digest.update(data[at:end])
        at = end
        found.append(digest.hexdigest())
    return tuple(found)


async def where_they_part(mirror: bytes, size: int, ask: Ask) -> int | None:
    """How far file and mirror agree, in bytes of whole lines, when neither is the beginning of the other; None when one is.
    `mirror`: filled in where it has stand-ins; `size`: of the file; `ask`: digests of beginnings of the file, filled in likewise."""
    common = min(len(mirror), size)
    if await ask([common]) == digests_of(mirror, [common]):
        return None
    lines = [end for end in line_ends(mirror, common) if end < common]
    agreed = 0
    while lines:
        step = -(-len(lines) // AT_ONCE)
        probes = lines[step - 1 :: step]
        theirs, ours = await ask(probes), digests_of(mirror, probes)
        same = next((n for n, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours)))
        agreed = probes[same - 1] if same else agreed
        following = probes[same] if same < len(probes) else common
        lines = [end for end in lines if agreed < end < following]
    return agreed


def line_ends(data: bytes, until: int) -> list[int]:
    """Offsets just after each line's end, up to `until`."""
    return [found.end() for found in re.finditer(rb"\n", data[:until])]


class Comparison(Protocol):
    """Says whether a conversation's two ends contradict each other. `forget`: the machine was away meanwhile."""

    async def compare(self, at: Machine, session: SessionName, size: int, transcript: Transcript, tree: str = "") -> Divergence | None: ...

    def forget(self, place: Place) -> None: ...


class SessionComparison:
    """Compares each conversation once for each machine it is met on, and again when its file has become shorter than the mirror or
    the machine was away meanwhile. From then on the file is only followed: pi appends to it."""

    def __init__(self, agents: AgentReader, transcripts: Transcripts) -> None:
        self._agents, self._transcripts = agents, transcripts
        self._agreed: dict[str, SessionName] = {}
        self._parted: dict[str, tuple[SessionName, int, Divergence]] = {}

    async def compare(self, at: Machine, session: SessionName, size: int, transcript: Transcript, tree: str = "") -> Divergence | None:
        """None when the file goes on where the mirror ends, or the other way round. `size`: of the file, as long as if its first line
        were the mirror's; `tree`: what stands in for `/` there. Raises `GuestUnreachable`,
        `StaleEpoch`, `GuestFailed`."""
        if size == 0 or transcript.size == 0:
            return None
        if self._agreed.get(at.id) == session and size >= transcript.size:
            return None
        known = self._parted.get(at.id)
        if known is not None and known[:2] == (session, size) and known[2].mirror == transcript.size:
            return known[2]
        stored = header_to(await self._transcripts.read(session.name) + b"".join(transcript.pending), tree)
        shift = shift_of(transcript.header, tree)
        blanks = blanks_of(stored)

        async def ask(ends: Sequence[int]) -> tuple[str, ...]:
            return await self._agents.prefixes(at, session.file, tuple(ends), tuple(blanks))

        agreed = await where_they_part(blanked(stored, blanks), size + shift, ask)
        self.forget(at.place)
        if agreed is None:
            self._agreed[at.id] = session
            return None
        divergence = Divergence(max(0, agreed - shift), size, transcript.size)
        self._parted[at.id] = (session, size, divergence)
        return divergence

    def forget(self, place: Place) -> None:
        """The machine was away: what was known of its file may not hold any more."""
        self._agreed.pop(place.id, None)
        self._parted.pop(place.id, None)
