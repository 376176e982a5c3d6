"""Status and events: what was decided, written in one transaction, and the last error that keeps an object from being brought further."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from reconciler.api.sourcereasons import SourceReason
from reconciler.api.status.base import Condition, Status
from reconciler.core.attention import question_of
from reconciler.core.conditions import meaning, merge_conditions, reason_of, reasons_of
from reconciler.core.decisions import Refuse
from reconciler.core.keys import Json, Key
from reconciler.core.lasterror import NONE, LastError, last_error_of
from reconciler.core.values import replaced
from reconciler.engine.ports import AddEvent, StoredObject, Write
from reconciler.engine.recorder import Recorder
from reconciler.engine.registry import Announce, Change, StatusUpdate
from reconciler.engine.state.flaws import flaw_of
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import Conflict, GuestUnreachable, ReconcilerError

log = logging.getLogger("reconciler.engine")


class Reporter:
    """`redact` takes known secrets out of a text."""

    def __init__(self, table: ObjectTable, recorder: Recorder, redact: Callable[[str], str]) -> None:
        self._table, self._recorder, self._redact = table, recorder, redact
        self._last: dict[Key, LastError] = {}

    def last_error(self, key: Key) -> LastError:
        """What the last try came to; `NONE` when it went well."""
        return self._last.get(key, NONE)

    def note(self, key: Key, error: LastError) -> None:
        self._last[key] = error

    def clear(self, key: Key) -> None:
        self._last.pop(key, None)

    def failed(self, key: Key, error: ReconcilerError) -> None:
        """An error is reported once, and counted always (G-66); what a machine says may have a secret in it (G-60)."""
        last = last_error_of(error)
        last = replaced(last, message=self._redact(last.message))
        before, item = self.last_error(key), self._table.get(key)
        if before != last:
            level = logging.INFO if isinstance(error, Conflict | GuestUnreachable) else logging.WARNING
            log.log(level, "%s: %s", key, last.message)
        if last.reason not in ("", before.reason) and item is not None:
            self._recorder.note(key, item.uid, last.reason, last.message, "Warning")
        self._last[key] = last

    async def write(self, updates: Iterable[StatusUpdate], begun: Sequence[Change] = (), about_to_write: Key | None = None) -> None:
        """Status of everything that was reconciled together, in one transaction, only what changed (G-45). `begun`: what has to be
        durable with it; `about_to_write`: the object that is written next, and takes its status along."""
        changes: list[Change] = [*begun]
        more: list[Write] = []
        for update in updates:
            item = self._table.get(update.key)
            if item is None:
                continue
            told = [*self._table.held.drop(update.key), *self._recorder.take(update.key)]
            status = self._held(update.status, item.obj).dump()
            if status != item.obj.status and update.key == about_to_write:
                self._table.held.hold(update.key, status, [*told, *self._event(item.obj, update, status)])
                continue
            more.extend(told)
            if status != item.obj.status:
                changes.append((update.key, lambda obj, status=status: replaced(obj, status=status)))  # type: ignore[misc]
                more.extend(self._event(item.obj, update, status))
            elif self._table.unwritten(update.key):
                changes.append((update.key, lambda obj: obj))
        if changes or more:
            await self._table.update(changes, *more)

    def _held(self, status: Status, obj: StoredObject) -> Status:
        """Whatever its kind: it is told of an object that it is there only because its deletion is blocked, and that where it is declared
        something is wrong. Of an object in a cluster its own status tells the latter."""
        held, flawed = self._table.prunes.held.get(obj.key), flaw_of(obj, self._table.flawed)
        if held is None and flawed is None:
            return status
        told = [*status.conditions]
        if held is not None:
            told.append(Condition("PruneBlocked", "True", SourceReason.PRUNE_BLOCKED, held))
        if flawed is not None:
            told.append(Condition("DeclarationInvalid", "True", SourceReason.DECLARATION_INVALID, flawed))
        conditions = merge_conditions(obj.status.get("conditions"), told, status.observed_generation, self._recorder.now())
        return replace(status, conditions=conditions)

    def _event(self, obj: StoredObject, update: StatusUpdate, status: Json) -> Iterable[AddEvent]:
        """What people hear of a changed status: that it is stalled now, that a call waits for them, or its new phase."""
        if update.announce is Announce.NOTHING:
            return ()
        needed = question_of(status)
        if needed is not None and needed != question_of(obj.status):
            return self._recorder.event(obj.key, obj.uid, needed.reason, needed.message, "Warning")
        reason, message = reason_of(update.decision)
        if isinstance(update.decision, Refuse) and reason not in reasons_of(obj.status):
            return self._recorder.event(obj.key, obj.uid, reason, message, "Warning")
        phase = status.get("phase")
        if update.announce is Announce.PHASES and phase != obj.status.get("phase"):
            return self._recorder.event(obj.key, obj.uid, str(phase), message or meaning(reason))
        return ()
