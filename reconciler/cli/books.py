"""The books as `get` shows them: what was spent, and who changed what."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.cli import names
from reconciler.config import Config
from reconciler.core.keys import Json
from reconciler.engine.ports import Store
from reconciler.errors import UsageError
from reconciler.views.documents import USAGE

if TYPE_CHECKING:  # loaded when they are asked for
    from reconciler.core.spending.books import Books as Stored

MOST = 10_000
"""Entries of the audit that are shown, the newest."""


@dataclass(frozen=True, slots=True)
class Books:
    """`by`: what usage is told apart by, '' for agents; `days`: how many of them."""

    by: str = ""
    days: int = 30

    def check(self, selection: names.Selection) -> None:
        """Raises `UsageError` for what makes no sense together."""
        if not self.by:
            return
        from reconciler.views.spent import BY

        if self.by not in BY:
            raise UsageError(f"usage is not told apart by {self.by!r}", "--by", f"use one of {', '.join(BY)}")
        if USAGE not in (*selection.kinds, *(kind for kind, _ in selection.names)):
            raise UsageError("--by goes with usage", f"--by {self.by}", "write `reconciler get usage --by ...`")

    async def usage(self, config: Config, store: Store, namespace: str | None) -> list[Json]:
        """What was spent, as the store knows it."""
        from reconciler.views.spent import usage

        if config.kube:
            raise UsageError("what was spent is in the store of the operator", "--kube", "ask there, or see its metrics")
        return usage(await books_of(config, store), self.by, self.days, namespace)

    async def audit(self, store: Store, namespace: str | None) -> list[Json]:
        """Who changed what, oldest first."""
        from reconciler.views.audit import audit_document

        return [audit_document(seq, entry) for seq, entry in await store.audit(MOST, namespace)]


async def books_of(config: Config, store: Store) -> Stored:
    """What all agents spent, as the store knows it."""
    from reconciler.core.spending.books import Books as Stored
    from reconciler.core.spending.prices import DEFAULT_PRICES

    prices = config.governing.prices if config.governing else DEFAULT_PRICES
    return Stored.stored((await store.load()).meta, prices, time.time())


PLAIN = Books()
