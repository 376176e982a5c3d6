"""What every act has at hand, and the helpers they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from reconciler.core.records import LieutenantRecord, Record
from reconciler.engine.backend import DeclarationBackend
from reconciler.engine.credentials import Credentials
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.observe.workset import Gatherer
from reconciler.engine.ports import Agents, Clock, Store, VersApi, Write
from reconciler.engine.recorder import Recorder
from reconciler.engine.redaction import redact
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.declarations import Declarations
from reconciler.engine.state.journal import Journal
from reconciler.engine.state.objects import LieutenantItem, ObjectTable, with_record
from reconciler.engine.watches import Watches


@dataclass(frozen=True, slots=True)
class ActContext:
    """`jitter`: numbers from 0 to 1. `token`: fresh intent tokens."""

    settings: EngineSettings
    table: ObjectTable
    fleet: Fleet
    journal: Journal
    gatherer: Gatherer
    recorder: Recorder
    vers: VersApi
    agents: Agents
    secrets: Credentials
    clock: Clock
    jitter: Callable[[], float]
    token: Callable[[], str]
    backend: DeclarationBackend
    watches: Watches
    declarations: Declarations
    store: Store

    async def save(self, item: LieutenantItem, record: Record, *more: Write) -> None:
        """Write a record, durably, with other rows."""
        await self.table.update([(item.key, with_record(record))], *more)

    def note(self, item: LieutenantItem, record: Record) -> None:
        """Keep a record of what can be looked up again: it is written with the next write of the object, with its status at the latest."""
        self.table.note(item.key, record)

    def current(self, item: LieutenantItem) -> LieutenantRecord:
        """The record as it is now (an act may have written meanwhile)."""
        now = self.table.lieutenant(item.key)
        return now.record if now is not None else item.record

    def redact(self, text: str) -> str:
        """Known secret values never leave the agent by way of answers, events or status (G-60)."""
        return redact(text, self.secrets)


class NextContext(ActContext):
    """The same for acts on the other machine of a lieutenant whose machine is replaced: its record is read and written as if that one
    were in its slot."""

    @classmethod
    def of(cls, context: ActContext) -> NextContext:
        """As in this context."""
        return cls(*(getattr(context, field.name) for field in fields(ActContext)))

    async def save(self, item: LieutenantItem, record: Record, *more: Write) -> None:
        known = self.table.lieutenant(item.key)
        if known is not None:
            assert isinstance(record, LieutenantRecord)
            await self.table.update([(item.key, with_record(known.record.with_next(record)))], *more)

    def note(self, item: LieutenantItem, record: Record) -> None:
        known = self.table.lieutenant(item.key)
        if known is not None:
            assert isinstance(record, LieutenantRecord)
            super().note(item, known.record.with_next(record))

    def current(self, item: LieutenantItem) -> LieutenantRecord:
        return super().current(item).as_next()
