"""Values that programs and files of this host give (`valueFrom.exec`, `valueFrom.file`): asked for while something uses them, again before
they expire, and in memory alone. Whoever looks is handed the last one; whoever uses it is woken when it changed.

A program that gives another value each time makes each a changed secret, which reaches an agent by a restart of pi, when it is settled."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from reconciler.api.governreasons import GovernReason
from reconciler.core.credentials import LOOK, Drawn, Unusable, again_after, answer_of, retry_after
from reconciler.core.keys import Key
from reconciler.core.profile.digests import digest
from reconciler.core.snapshot.rendered import SecretRef
from reconciler.engine.ports import Clock, Draws, PutMeta, Secrets
from reconciler.engine.redaction import fingerprint
from reconciler.engine.supervision import Supervisor
from reconciler.errors import ReconcilerError, Refused

log = logging.getLogger("reconciler.credentials")

META = "credentials"
PAST, GONE, PRINTS = 8, 64, 512
"""Values of one credential, and of those that nobody uses any more, that stay redacted; fingerprints that are kept."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Why there is no value."""

    reason: GovernReason
    why: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """Nothing is asked for (a plan runs no program): `print`, the fingerprint of what was given last, is taken to hold."""

    print: str


@dataclass(slots=True, eq=False)
class _At:
    """One credential. `drawn`: what was given last; `why`: why it can't be renewed, '' while it can; `told`: what its users know."""

    namespace: str
    ref: SecretRef
    users: set[Key] = field(default_factory=set)
    drawn: Drawn | None = None
    why: str = ""
    looked: bool = False
    failures: int = 0
    told: tuple[str | None, str] = (None, "")
    past: deque[str] = field(default_factory=lambda: deque(maxlen=PAST))
    task: asyncio.Task[None] | None = None

    def value(self, now: float) -> str | None:
        """None when there is none, or when it has expired."""
        drawn = self.drawn
        return drawn.value if drawn is not None and (drawn.expires is None or drawn.expires > now) else None


class Credentials:
    """`engine.ports.Secrets` with what this host gives. `draws`: None where no program runs and no file is read; `wake`: looks at an object
    soon; `keep`: writes fingerprints down; `key`: of the installation, for those."""

    def __init__(
        self,
        secrets: Secrets,
        draws: Draws | None,
        clock: Clock,
        supervisor: Supervisor,
        jitter: Callable[[], float],
        wake: Callable[[Key], None],
        keep: Callable[[PutMeta], Awaitable[None]],
    ) -> None:
        self._secrets, self._draws, self._clock, self._supervisor, self._jitter = secrets, draws, clock, supervisor, jitter
        self._wake, self._keep_print, self.key = wake, keep, ""
        self._at: dict[tuple[str, SecretRef], _At] = {}
        self._used: dict[Key, frozenset[SecretRef]] = {}
        self._gone: deque[str] = deque(maxlen=GONE)
        self._prints: dict[str, str] = {}
        self._running = False

    # --- the secrets that it is put before ---------------------------------------------------------------------------------------

    def get(self, namespace: str, name: str, key: str) -> str | None:
        return self._secrets.get(namespace, name, key)

    def config(self, namespace: str, name: str, key: str) -> str | None:
        return self._secrets.config(namespace, name, key)

    def holds(self, kind: Literal["Secret", "ConfigMap"], namespace: str, name: str) -> bool:
        return self._secrets.holds(kind, namespace, name)

    def unread(self, kind: Literal["Secret", "ConfigMap"], namespace: str, name: str) -> str:
        return self._secrets.unread(kind, namespace, name)

    def known(self) -> Iterable[str]:
        """Those too that were in force before: agents have them still."""
        own = {value for at in self._at.values() for value in at.past} | set(self._gone)
        return sorted({*self._secrets.known(), *own}, key=len, reverse=True) if own else self._secrets.known()

    # --- life ---------------------------------------------------------------------------------------------------------------------

    def recall(self, told: str) -> None:
        """What the store knows: fingerprints, no values."""
        found = json.loads(told) if told else {}
        self._prints = {str(name): str(value) for name, value in found.items()}

    def begin(self) -> None:
        """From now on programs run, as they are used."""
        self._running = True

    async def stop(self) -> None:
        """No program runs any more; one that does is ended."""
        self._running = False
        tasks = [at.task for at in self._at.values() if at.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- use ----------------------------------------------------------------------------------------------------------------------

    def uses(self, key: Key, refs: frozenset[SecretRef]) -> None:
        """What of this host this object needs from now on; what nobody needs any more is not asked for again."""
        before = self._used.get(key, frozenset())
        if refs == before:
            return
        self._used[key] = refs
        if not refs:
            del self._used[key]
        for ref in before - refs:
            at = self._at.get((key.namespace, ref))
            if at is not None:
                at.users.discard(key)
                self._leave(at)
        for ref in refs - before:
            self._at.setdefault((key.namespace, ref), _At(key.namespace, ref)).users.add(key)

    def look(self, namespace: str, ref: SecretRef) -> str | Recalled | Absent:
        """The value that is in force. The first look has it asked for."""
        if self._draws is None:
            why = f"{ref.words}: in a cluster no program of the operator is run and no file of it is read; name a key of a Secret instead"
            return Absent(GovernReason.CREDENTIAL_REFUSED, why)
        if not self._running:
            return Recalled(self._prints.get(_name(namespace, ref), ""))
        at = self._at.setdefault((namespace, ref), _At(namespace, ref))
        if at.task is None or at.task.done():
            run, kind = self._keeping(at), ref.kind.lower()
            at.task = self._supervisor.start("credential", run, _ended, name=f"credential of {kind} {namespace}/{ref.name}", may_end=True)
        value = at.value(self._clock.now())
        if value is not None:
            return value
        if not at.looked:
            return Absent(GovernReason.DRAWING_CREDENTIAL, f"{ref.words} is asked for a value")
        return Absent(GovernReason.CREDENTIAL_FAILED, at.why or f"the value of {ref.words} has expired")

    def value(self, namespace: str, ref: SecretRef) -> str | None:
        """The value that is in force, None for none."""
        at = self._at.get((namespace, ref))
        return at.value(self._clock.now()) if at is not None else None

    def failing(self, namespace: str, ref: SecretRef) -> str:
        """Why a value that is in force can't be renewed; '' while it can."""
        at = self._at.get((namespace, ref))
        return f"{at.why}; the last value is used until it expires" if at is not None and at.why else ""

    # --- asking -------------------------------------------------------------------------------------------------------------------

    def _keeping(self, at: _At) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            while at.users:
                await self._clock.sleep(await self._once(at))

        return run

    async def _once(self, at: _At) -> float:
        """Ask once, tell whoever uses it; seconds until it is asked again."""
        assert self._draws is not None
        try:
            found = answer_of(await self._draws.draw(at.namespace, at.ref), self._clock.now())
            if isinstance(found, Unusable):
                raise Refused(f"it gave {found.why}", at.ref.words, "correct what it gives")
        except ReconcilerError as error:
            at.why, at.failures = str(error), at.failures + 1
        else:
            at.drawn, at.why, at.failures = found, "", 0
            if found.value not in at.past:
                at.past.append(found.value)
        at.looked = True
        now = self._clock.now()
        value = at.value(now)
        if at.told != (value, at.why):
            at.told = value, at.why
            for key in sorted(at.users):
                self._wake(key)
            await self._note(at, value)
        if at.why or at.drawn is None:
            return retry_after(max(1, at.failures), self._jitter(), at.drawn.expires - now if at.drawn and at.drawn.expires else None)
        return again_after(at.drawn, now, float(at.ref.refresh)) if at.ref.kind == "Program" else LOOK

    async def _note(self, at: _At, value: str | None) -> None:
        """The fingerprint, by which a plan knows that nothing changed."""
        if value is None:
            return
        name = _name(at.namespace, at.ref)
        self._prints.pop(name, None)
        self._prints[name] = self.print(value)
        while len(self._prints) > PRINTS:
            del self._prints[next(iter(self._prints))]
        try:
            await self._keep_print(PutMeta(META, json.dumps(self._prints)))
        except ReconcilerError as error:
            log.info("the fingerprint of a credential was not written down: %s", error)

    def print(self, value: str) -> str:
        return fingerprint(self.key, value)

    def _leave(self, at: _At) -> None:
        if at.users:
            return
        if at.task is not None:
            at.task.cancel()
        self._gone.extend(at.past)
        self._at.pop((at.namespace, at.ref), None)


def _name(namespace: str, ref: SecretRef) -> str:
    return digest([namespace, ref])


def _ended(error: Exception) -> None:
    """A defect of ours; it begins anew. Not the error's text: it may hold a value."""
    log.error("asking for a credential ended: internal error: %s", type(error).__name__)
