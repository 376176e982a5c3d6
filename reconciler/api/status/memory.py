"""What the status of a lieutenant says of its memory."""

from __future__ import annotations

from reconciler.api.status.base import Count, Digest, Section, section


@section
class MemorySize(Section):
    """One memory, as it is in the store."""

    hash: Digest = ""
    """Names the entries that it has."""
    entries: Count = 0
    """How many."""
    lines: Count = 0
    """The lines of all of them."""
    characters: Count = 0
    """The characters of all of them."""


@section
class MemoryStatus(Section):
    """What it remembers. `reconciler memory get` shows the text, which is in the store only."""

    agent: MemorySize | None = None
    """Its own; left out where that is not declared."""
    shared: MemorySize | None = None
    """The one that it shares with all lieutenants of the namespace; left out where that is not declared."""
    told: Digest | None = None
    """Digest of what pi says that it was told of it when it started, or after its last compaction; left out until it has said."""
