"""The loop: gather a snapshot, plan with pure functions, execute, report; per object, level-triggered, whatever the source."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from secrets import token_hex

from reconciler.core.actions import (
    Action,
    GuestAction,
    LocalAction,
    RunStep,
    RunVerify,
    SessionAction,
    SlotAction,
    TaskAction,
    Wait,
)
from reconciler.core.backoff import delay
from reconciler.core.fleet.breaker import BREAKER, Breaker
from reconciler.core.keys import Json, Key
from reconciler.core.lasterror import LastError
from reconciler.core.lieutenant.workset import WorkSetPlan, plan
from reconciler.core.snapshot.workset import WorkSet
from reconciler.core.taskactions import AbortTurn
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.guest import GuestActs
from reconciler.engine.act.local import LocalActs
from reconciler.engine.act.session import SessionActs
from reconciler.engine.act.slot import SlotActs
from reconciler.engine.act.task import TaskActs
from reconciler.engine.backend import DeclarationBackend, NullBackend
from reconciler.engine.effects import Effects, NumberedAgents, NumberedReader, NumberedStore, NumberedVers
from reconciler.engine.heed import AnnotationVerbs
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.observe.workset import Gatherer
from reconciler.engine.orphans import Orphans
from reconciler.engine.places import machine_of
from reconciler.engine.ports import AgentReader, Agents, Clock, PutMeta, Secrets, Store, StoredObject, VersApi
from reconciler.engine.queue import Priority, WorkQueue
from reconciler.engine.recorder import Recorder
from reconciler.engine.reporter import Reporter
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.declarations import Declarations
from reconciler.engine.state.journal import Journal
from reconciler.engine.state.objects import ObjectTable
from reconciler.engine.state.transcripts import Transcripts
from reconciler.engine.triggers import Triggers
from reconciler.errors import ReconcilerError

log = logging.getLogger("reconciler.engine")

FINGERPRINTS = "fingerprint-key"
"""Name of the store's own key under which it is noted which values secrets had."""

MAX_PASSES = 200
"""Acts in a row on one object before others get their turn."""

MAX_REPEATS = 5
REPEAT_PAUSE = 5.0
"""The same act so often in a row without an effect that shows: pause, so that nothing loops hot."""

REPORT_EVERY = 0.5
"""Seconds: status is written when an object comes to rest, and not more often than this while it moves."""

POLL = {
    "Booting": 0.5,
    "VMMissing": 1.0,
    "CreateIndeterminate": 2.0,
    "GuestUnreachable": 1.0,
    "AgentUnreachable": 1.0,
    "VMUnknown": 5.0,
    "DeletePending": 0.5,
    "Deleting": 1.0,
    "Ending": 0.5,
    "MovePending": 1.0,
    "SecretNotFound": 5.0,
    "SecretForbidden": 5.0,
}
"""Seconds after which a wait is looked at again when nothing wakes it sooner."""


class Engine:
    """Owns the queue and the workers. Everything it needs comes in; nothing global."""

    def __init__(
        self,
        settings: EngineSettings,
        vers: VersApi,
        agents: Agents,
        store: Store,
        secrets: Secrets,
        clock: Clock,
        effects: Effects,
        jitter: Callable[[], float],
        token: Callable[[], str],
        keeper_version: str,
        backend: DeclarationBackend | None = None,
    ) -> None:
        self.settings, self.secrets = settings, secrets
        self.vers: VersApi = NumberedVers(vers, effects)
        self.agents: Agents = NumberedAgents(agents, effects)
        self.reader: AgentReader = NumberedReader(agents, effects)
        self.store: Store = NumberedStore(store, effects)
        self.clock, self.effects, self.jitter, self.token, self.keeper_version = clock, effects, jitter, token, keeper_version
        self.backend: DeclarationBackend = backend if backend is not None else NullBackend()
        self.table = ObjectTable(self.store)
        self.recorder = Recorder(clock)
        self.declarations = Declarations(self.table, self.recorder, clock)
        self.queue = WorkQueue()
        self.reconcile_errors: Counter[str] = Counter()
        self.platform_message = ""
        self.on_platform: list[Callable[[str], None]] = []
        self._failures: Counter[Key] = Counter()
        self._reported: dict[Key, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    # --- life -------------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the store and set up; nothing outside is touched."""
        image = await self.store.load()
        first_seen = dict(image.first_seen)
        self.fleet = Fleet(self.vers, self.store, self.clock, self.settings.settle_seconds, first_seen)
        self.table.fill(image.objects, image.meta)
        journal = Journal(image.intents)
        transcripts = Transcripts(self.store, dict(image.sessions))
        self.gatherer = Gatherer.over(
            self.settings, self.table, self.fleet, journal, transcripts, self.reader, self.secrets, self.clock,
            self.vers.account(), self.keeper_version,
        )  # fmt: skip
        self.tools = ActContext(
            self.settings, self.table, self.fleet, journal, self.gatherer, self.recorder, self.vers, self.agents,
            self.secrets, self.clock, self.jitter, self.token, self.backend,
        )  # fmt: skip
        self.gatherer.profiles.fingerprint_key = image.meta.get(FINGERPRINTS, "")
        self.gatherer.slots.hold.breaker = Breaker.load(image.meta.get(BREAKER, ""))
        self.orphans = Orphans(self.table, self.fleet, self.recorder, self.clock, self.gatherer.owner, image.meta)
        self._heeding = AnnotationVerbs(self.table, self.fleet, self.clock)
        self._slot_acts, self._guest_acts, self._task_acts = SlotActs(self.tools), GuestActs(self.tools), TaskActs(self.tools)
        self._local_acts = LocalActs(self.tools)
        self.triggers = Triggers(
            self.queue, self.table, self.declarations, self.fleet, self.reader, self.gatherer.slots.hold, self.settings, self.clock,
            fresh=not first_seen and not image.objects,
        )  # fmt: skip
        self.reporter = Reporter(self.table, self.recorder, self.gatherer.profiles, self.clock, self.tools.redact)

    async def start(self, catch_up: Callable[[], Awaitable[None]] | None = None) -> None:
        """Load, look at everything once, then follow changes. Starting changes nothing outside (G-01). `catch_up`: awaited after
        loading and before anything acts, to take what was declared while nobody listened."""
        await self.load()
        if not self.gatherer.profiles.fingerprint_key:
            self.gatherer.profiles.fingerprint_key = token_hex(32)
            await self.table.update([], PutMeta(FINGERPRINTS, self.gatherer.profiles.fingerprint_key))
        self.table.on_change += [self.triggers.changed, self._forget]
        self.fleet.on_list.append(self.triggers.listed)
        if catch_up is not None:
            await catch_up()
        self.triggers.begin()
        self._tasks = [asyncio.create_task(self.queue.serve(self._look_at), name=f"worker-{n}") for n in range(self.settings.workers)]
        self._tasks.append(asyncio.create_task(self._resync(), name="resync"))

    async def stop(self) -> None:
        """Stop looking. Sends nothing to any machine (G-01)."""
        self.queue.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self.fleet.stop()
        self._tasks = []

    def converged(self) -> bool:
        """Everything declared has been looked at since its last change, and rests."""
        return not self.triggers.reconciling and self.queue.idle()

    def wake(self, key: Key) -> None:
        """Look at this object soon."""
        self.queue.add(self.declarations.work_set_of(key), Priority.CHANGE)

    async def _resync(self) -> None:
        """One list call an interval feeds everything; a failing platform is told once and waited for."""
        while True:
            try:
                await self.orphans.look(await self.fleet.list_since(self.clock.now()))
                self._platform("")
            except ReconcilerError as error:
                self._platform(str(error))
            self.gatherer.slots.account = self.vers.account()
            await self.clock.sleep(self.settings.resync_seconds)

    def _platform(self, message: str) -> None:
        if message == self.platform_message:
            return
        self.platform_message = message
        for listener in self.on_platform:
            listener(message)
        self.triggers.lieutenants()

    # --- the one procedure ------------------------------------------------------------------------------------------------

    async def _look_at(self, key: Key) -> None:
        """One object, until it rests; the error escalation."""
        clock = asyncio.get_running_loop().time
        begun, outcome = clock(), "ok"
        try:
            wait = await self.reconcile(key)
        except ReconcilerError as error:
            outcome = type(error).__name__
            self._failures[key] += 1
            self.reconcile_errors[outcome] += 1
            self.reporter.met(key, error)
            self.queue.add_at(key, delay(self._failures[key], self.jitter(), base=1.0, most=60.0))
        except Exception as bug:
            outcome = type(bug).__name__
            self._failures[key] += 1
            self.reconcile_errors[outcome] += 1
            self.reporter.last_error[key] = LastError(f"internal error: {type(bug).__name__}")
            log.error("%s: internal error", key, exc_info=bug)
            self.queue.add_at(key, delay(self._failures[key], self.jitter(), base=2.0, most=300.0))
        else:
            self._failures.pop(key, None)
            if wait is not None:
                self.queue.add_at(key, wait)
        finally:
            self.effects.telemetry.look(key.kind, outcome, clock() - begun)

    def _forget(self, key: Key, _: StoredObject | None, after: StoredObject | None) -> None:
        """Nothing is kept about what is gone: tasks come and go for as long as we run."""
        if after is None:
            self.gatherer.profiles.forget(key)
            self.reporter.last_error.pop(key, None)
            self._reported.pop(key, None)

    def healthy(self) -> bool:
        """Every worker runs, and so does the resync: False is a defect of ours that only a restart mends."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def reconcile(self, key: Key) -> float | None:
        """Gather, plan, execute, report, until nothing is to be done. Returns seconds until it should be looked at again
        (None: when something changes)."""
        if key.kind != "Lieutenant":
            await self.reporter.simple(key)
            self.triggers.reconciling.discard(key)
            return None
        last: object = None
        repeated = 0
        for _ in range(MAX_PASSES):
            await self._heed(key)
            view = await self.gatherer.work_set(key)
            decided = plan(view)
            acts = decided.next_acts()
            slow = bool(acts) and isinstance(acts[0][1], RunStep | RunVerify)
            if not acts or slow or self.clock.now() >= self._reported.get(key, 0.0) + REPORT_EVERY:
                await self.reporter.work_set(key, view, decided)
                self._reported[key] = self.clock.now()
            if not acts:
                if rests(decided):
                    self.triggers.reconciling.discard(key)
                else:
                    self.triggers.reconciling.add(key)
                return self._next_look(view, decided)
            self.triggers.reconciling.add(key)
            repeated = repeated + 1 if acts == last else 0
            last = acts
            if repeated >= MAX_REPEATS:
                self.reporter.last_error[key] = LastError(
                    f"{type(acts[0][1]).__name__} was carried out {repeated} times and shows no effect"
                )
                self.reconcile_errors["NoEffect"] += 1
                return REPEAT_PAUSE
            for target, action in acts:
                await self._execute(key, view, target, action)
            self.reporter.last_error.pop(key, None)
        return 0.0

    def _next_look(self, view: WorkSet, decided: WorkSetPlan) -> float | None:
        waits = [d for d in (*decided.tasks.values(), decided.lieutenant) if isinstance(d, Wait)]
        polls = [POLL.get(w.reason, self.settings.fallback_seconds) for w in waits if w.reason in POLL or w.reason not in RESTING]
        until = decided.wake_at(probing=self.settings.health_probes or bool(waits))
        times = [*polls, *([max(0.05, until - self.clock.now())] if until is not None else [])]
        return min(times, default=None)

    async def _execute(self, key: Key, view: WorkSet, target: Key | None, action: Action) -> None:
        """One act, on the object as it is now."""
        lieutenant = self.table.lieutenant(key)
        if target is not None:
            task = self.table.task(target)
            if task is not None and isinstance(action, TaskAction):
                await self._task_acts.act(lieutenant, task, view, action)
            return
        if lieutenant is None or view.lieutenant is None:
            return
        if isinstance(action, AbortTurn):
            await self.table.update([(key, lambda o: replace(o, record=lieutenant.record.but(abort_at=self.clock.now()).dump()))])
            commands: tuple[Json, ...] = ({"type": "clear_queue"}, {"type": "abort"})
            for command in commands:
                await self.agents.call(machine_of(lieutenant), command)
        elif isinstance(action, SessionAction):
            await SessionActs(self.tools).act(lieutenant, view.lieutenant, action)
        elif isinstance(action, LocalAction):
            await self._local_acts.act(lieutenant, view.lieutenant, action)
        elif isinstance(action, SlotAction):
            await self._slot_acts.act(lieutenant, view.lieutenant, action)
        elif isinstance(action, GuestAction):
            await self._guest_acts.act(lieutenant, view.lieutenant, action)
            current = self.table.lieutenant(key)
            if current is not None:
                self.triggers.watch(current)

    async def _heed(self, key: Key) -> None:
        """What people ask for, before it is decided what follows."""
        item = self.table.lieutenant(key)
        if item is None:
            return
        self.triggers.watch(item)
        for vm_id in await self._heeding.look(item):
            self.triggers.said(self.table.owner_of(vm_id))


RESTING = frozenset(
    {
        "LieutenantNotFound",
        "LieutenantSuspended",
        "LieutenantNotReady",
        "ObserveOnly",
        "DependencyPending",
        "Queued",
        "QueueFull",
        "NotBefore",
        "ProfileNotFound",
        "SecretNotFound",
        "SecretForbidden",
    }
)
"""Waits that only a change of something else can end."""


def rests(decided: WorkSetPlan) -> bool:
    """Nothing is on its way: every decision is steady, refused, or waits for a person or for another object."""
    waits = [d for d in (*decided.tasks.values(), decided.lieutenant) if isinstance(d, Wait)]
    return all(w.reason in RESTING for w in waits)
