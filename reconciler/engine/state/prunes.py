"""What is remembered of deletions that wait for a person: which are blocked, and which of them a person approved. One row of `meta`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from reconciler.core.keys import Key, as_map, as_maps, as_strings
from reconciler.core.notices import PRUNES, REPOSITORY
from reconciler.core.prune import Blocked, some
from reconciler.core.signing import signers
from reconciler.engine.ports import PutMeta
from reconciler.engine.subscriptions import Unsubscribe, subscribed

MOST = 100
"""Stacks, and approvals that were not carried out yet, that are remembered; of a message so many characters, times ten."""


@dataclass(frozen=True, slots=True)
class BlockedPrune:
    """Blocked removals of one stack, as people are told of them. `removals`: the first few, in words; `hash`: '' while it can't be
    approved."""

    stack: str
    root: str
    hash: str
    count: int
    why: str
    removals: str

    @classmethod
    def of(cls, blocked: Blocked) -> BlockedPrune:
        many = sum(one.machines for one in blocked.removals)
        cut = MOST * 10
        return cls(blocked.stack, blocked.root[:cut], blocked.hash, many, blocked.why[:cut], some(blocked.removals)[: cut * 2])


Approved = Callable[[], None]


class PruneBook:
    """`blocked`: by stack, at the last look; `approved`: hashes that are to be carried out once a look finds just that, with
    their stacks. `commits`: that are in force, by the row that says so: what is declared bears one of them. `repositories`: those rows.
    `signers`: by whom commits are signed.
    `held`: objects that are in force because their deletion is blocked, with why, by the last look. `on_held`: told of
    those of which that changed."""

    def __init__(self) -> None:
        self.held: Mapping[Key, str] = {}
        self.on_held: list[Callable[[Key], None]] = []
        self.blocked: Mapping[str, BlockedPrune] = {}
        self.approved: Mapping[str, str] = {}
        self.commits: dict[str, str] = {}
        self.repositories: dict[str, str] = {}
        self.signers: Mapping[str, str] = {}
        self._listeners: list[Approved] = []

    def subscribe(self, listener: Approved) -> Unsubscribe:
        """Be called when a person approved something."""
        return subscribed(self._listeners, listener)

    def fill(self, meta: Mapping[str, str]) -> None:
        """Take what the store holds; what can't be read (a newer release wrote it) is passed over."""
        for name, value in meta.items():
            if name.startswith(REPOSITORY):
                self.note(name, value)
        try:
            told = as_map(json.loads(meta.get(PRUNES) or "{}"))
            rows = [as_strings(one) for one in as_maps(told.get("blocked"))]
            blocked = [BlockedPrune(row["stack"], row["root"], row["hash"], int(row["count"]), row["why"], row["removals"]) for row in rows]
            approved = as_strings(told.get("approved"))
        except (ValueError, KeyError):
            return
        self.blocked, self.approved = {one.stack: one for one in blocked}, approved

    def note(self, name: str, value: str) -> None:
        """A row that says which commit of a repository is in force, and what is wrong with it."""
        self.repositories[name] = value
        self.signers = signers(self.repositories.values())
        try:
            self.commits[name] = str(as_map(json.loads(value or "{}")).get("commit") or "")
        except ValueError:
            return

    def row(self, blocked: Iterable[BlockedPrune], approved: Mapping[str, str]) -> PutMeta:
        """The write that remembers this; `take` it when it is durable."""
        told = {"blocked": [asdict(one) for one in list(blocked)[:MOST]], "approved": dict(list(approved.items())[-MOST:])}
        return PutMeta(PRUNES, json.dumps(told))

    def hold(self, blocked: Iterable[Blocked]) -> None:
        """What a look found blocked."""
        before, self.held = self.held, {one.key: told.held(one) for told in blocked for one in told.removals}
        for key in [key for key in {**before, **self.held} if before.get(key) != self.held.get(key)]:
            for listener in tuple(self.on_held):
                listener(key)

    def take(self, blocked: Iterable[BlockedPrune], approved: Mapping[str, str]) -> None:
        before = self.approved
        self.blocked, self.approved = {one.stack: one for one in list(blocked)[:MOST]}, dict(list(approved.items())[-MOST:])
        if set(self.approved) - set(before):
            for listener in tuple(self._listeners):
                listener()
