"""The loop: gather a snapshot, plan with pure functions, execute, report; per object, level-triggered, whatever the source."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from secrets import token_hex
from typing import Self, TypeVar

from reconciler.api.reasons import Reason
from reconciler.api.registry import KINDS
from reconciler.core.backoff import delay
from reconciler.core.fleet.breaker import BREAKER, Breaker
from reconciler.core.keys import Key
from reconciler.core.lasterror import LastError
from reconciler.core.plan import Plan, Step
from reconciler.core.provider.breaker import PROVIDERS, read_kept
from reconciler.core.spending.books import Books
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.sightings import Sightings
from reconciler.engine.credentials import META as CREDENTIALS
from reconciler.engine.credentials import Credentials
from reconciler.engine.effects import NumberedAgents, NumberedDraws, NumberedReader, NumberedStore, NumberedVers
from reconciler.engine.meanwhile import Meanwhile
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.observe.workset import Gatherer
from reconciler.engine.orphans import Orphans
from reconciler.engine.outbox import Figures, NotedStore
from reconciler.engine.parts import EngineParts
from reconciler.engine.ports import AgentReader, Agents, Image, PutMeta, Store, StoredObject, VersApi
from reconciler.engine.queue import Priority, WorkQueue
from reconciler.engine.recorder import Recorder
from reconciler.engine.redaction import redact
from reconciler.engine.registry import Kind, Registry
from reconciler.engine.reporter import Reporter
from reconciler.engine.restoring import Restorer
from reconciler.engine.state.declarations import Declarations
from reconciler.engine.state.journal import Journal
from reconciler.engine.state.ledgers import FLEET
from reconciler.engine.state.memories import Memories, MemoryDesk
from reconciler.engine.state.objects import ObjectTable
from reconciler.engine.state.transcripts import Transcripts
from reconciler.engine.subscriptions import Unsubscribe, subscribed
from reconciler.engine.supervision import Ended
from reconciler.engine.telemetry import Telemetry
from reconciler.engine.triggers import Triggers
from reconciler.engine.view import FleetState, OnChange, OnEvent, OnPlatform, QueueState
from reconciler.engine.watches import Watches
from reconciler.errors import ReconcilerError

log = logging.getLogger("reconciler.engine")

S = TypeVar("S")

FINGERPRINTS = "fingerprint-key"
"""Name of the store's own key under which it is noted which values secrets had."""

MAX_PASSES = 200
"""Acts in a row on one object before others get their turn."""

MAX_REPEATS = 5
REPEAT_PAUSE = 5.0
"""The same act so often in a row without an effect that shows: pause, so that nothing loops hot."""

REPORT_EVERY = 1.0
"""Seconds: status is written when an object comes to rest, and not more often than this while it moves."""


class Engine:
    """Owns the queue and the workers. `image`: what the store holds; `open` reads it, and takes its objects into the table."""

    def __init__(self, parts: EngineParts, image: Image) -> None:
        effects, clock = parts.effects, parts.clock
        self.settings, self.clock, self.effects, self.jitter = parts.settings, clock, effects, parts.jitter
        self.vers: VersApi = NumberedVers(parts.vers, effects)
        self.agents: Agents = NumberedAgents(parts.agents, effects)
        self.reader: AgentReader = NumberedReader(parts.agents, effects)
        self.store: Store = NumberedStore(parts.store, effects)
        self.outbox = parts.outbox
        if parts.outbox is not None:
            parts.outbox.begin(image, clock.now, lambda text: redact(text, self.secrets))
            self.store = NotedStore(self.store, parts.outbox)
        self.keeper_version, self.registry = parts.keeper_version, Registry(parts.kinds)
        self.table = ObjectTable(self.store, self.registry)
        self.recorder = Recorder(clock)
        self.secrets = Credentials(
            parts.secrets, NumberedDraws(parts.draws, effects) if parts.draws is not None else None, clock, parts.supervisor, parts.jitter,
            self.wake, lambda put: self.table.update([], put),
        )  # fmt: skip
        self.secrets.recall(image.meta.get(CREDENTIALS, ""))
        self.secrets.key = image.meta.get(FINGERPRINTS, "")
        self.declarations = Declarations(self.table, self.recorder, clock, audit_keep=self.settings.audit_keep)
        self.queue = WorkQueue()
        self.reconcile_errors: Counter[str] = Counter()
        self.platform_message = ""
        self.on_platform: list[Callable[[str], None]] = []
        self._failures: Counter[Key] = Counter()
        self._reported: dict[Key, float] = {}
        self.supervisor = parts.supervisor
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe: Unsubscribe = lambda: None
        first_seen = dict(image.first_seen)
        self.fleet = Fleet(self.vers, clock, self.settings.settle_seconds, first_seen, Sightings(self.store).keep)
        journal = Journal(image.intents, self.clock.now())
        transcripts = Transcripts(self.store, dict(image.sessions))
        self.gatherer = Gatherer.over(
            self.settings, self.table, self.fleet, journal, transcripts, self.reader, self.secrets, self.clock,
            parts.keeper_version, Memories(self.store),
        )  # fmt: skip
        self.watches = Watches(self.queue, self.table, self.reader)
        self.tools = ActContext(
            self.settings, self.table, self.fleet, journal, self.gatherer, self.recorder, self.vers, self.agents,
            self.secrets, self.clock, self.jitter, parts.token, parts.backend, self.watches,
            self.declarations, self.store,
        )  # fmt: skip
        self.gatherer.slots.origins.read(image.meta)
        self.gatherer.budgets.ledgers.fill(image.meta, clock.now())
        self.gatherer.providers.breakers = read_kept(image.meta.get(PROVIDERS, ""))
        self.gatherer.slots.hold.breaker = Breaker.load(image.meta.get(BREAKER, ""))
        self.memory_desk = MemoryDesk(self.gatherer.memories, self.table, self.recorder, clock, self.settings.audit_keep)
        self.orphans = Orphans(self.table, self.fleet, self.recorder, self.clock, self.gatherer.owner, journal, image.meta)
        self.restore = Restorer(
            self.table, self.declarations, self.fleet, journal, self.gatherer.owner, self.clock, self.settings.resync_seconds
        )
        self.kinds = self.registry.build(self.tools)
        self.triggers = Triggers(
            self.queue, self.table, self.kinds, self.fleet, self.gatherer.slots.hold, self.settings, self.clock,
            fresh=not first_seen and not image.objects,
        )  # fmt: skip
        self.reporter = Reporter(self.table, self.recorder, self.tools.redact)

    @classmethod
    async def open(cls, parts: EngineParts) -> Self:
        """Read the store and make an engine of what it holds; nothing outside is touched."""
        image = await NumberedStore(parts.store, parts.effects).load()
        engine = cls(parts, image)
        await engine.table.fill_in_portions(image.objects, image.meta)
        return engine

    # --- life -------------------------------------------------------------------------------------------------------------

    async def start(
        self,
        catch_up: Callable[[], Awaitable[None]] | None = None,
        patience: float = 0.0,
        loaded: Callable[[], None] = lambda: None,
    ) -> None:
        """Look at everything once, then follow changes. Starting changes nothing outside (G-01). `catch_up`: awaited
        before anything acts, to take what was declared while nobody listened. `patience`: seconds for which the look at everything waits
        for sources that are read beside it (`caught_up`); `loaded`: called when it waits no more."""
        for kind in KINDS:
            kind.status.build()
        if not self.secrets.key:
            self.secrets.key = token_hex(32)
            await self.table.update([], PutMeta(FINGERPRINTS, self.secrets.key))
        self.secrets.begin()
        self.table.on_change += [self.triggers.changed, self._forget]
        self.gatherer.providers.on_change.append(self.queue.add)
        self.gatherer.budgets.on_change.append(self.queue.add)
        self.gatherer.memories.on_change.append(self.triggers.remembered)
        self.table.on_flawed.append(self.triggers.flawed)
        self.declarations.on_halt.append(self.triggers.halted)
        self.table.prunes.on_held.append(self.wake)
        self.fleet.on_list.append(self.triggers.listed)
        if catch_up is not None:
            await catch_up()
        if patience:
            self.queue.hold(patience, loaded)
        await self.triggers.begin()
        self._unsubscribe = self.supervisor.subscribe(self._background_ended)
        start = self.supervisor.start
        self._tasks = [start("worker", lambda: self.queue.serve(self._process), name=f"worker-{n}") for n in range(self.settings.workers)]
        self._tasks.append(start("resync", self._resync))

    async def stop(self) -> None:
        """Stop looking. Sends nothing to any machine (G-01)."""
        self._unsubscribe()
        self.queue.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.secrets.stop()
        if self._tasks:
            await self.fleet.stop()
        self._tasks = []

    def converged(self) -> bool:
        """Everything declared has been looked at since its last change, and rests."""
        return not self.triggers.reconciling and self.queue.idle()

    def caught_up(self) -> None:
        """What is declared is in force: the look at everything need not wait for it."""
        self.queue.go_on()

    def wake(self, key: Key) -> None:
        """Look at this object soon."""
        self.queue.add(self.table.reconcile_key(key), Priority.CHANGE)

    # --- what other rooms may know and do (engine/view.py) -------------------------------------------------------------------

    @property
    def revision(self) -> int:
        return self.table.revision

    @property
    def telemetry(self) -> Telemetry:
        return self.effects.telemetry

    def subscribe(
        self, *, events: OnEvent | None = None, changes: OnChange | None = None, platform: OnPlatform | None = None
    ) -> Unsubscribe:
        ends = [self.recorder.listen(events)] if events is not None else []
        ends += [subscribed(self.table.on_change, changes)] if changes is not None else []
        ends += [subscribed(self.on_platform, platform)] if platform is not None else []

        def end() -> None:
            for one in ends:
                one()

        return end

    def queue_state(self) -> QueueState:
        return QueueState(self.queue.depth(), self.queue.oldest())

    def fleet_state(self) -> FleetState:
        latest, owned, hold = self.fleet.latest, self.table.owned(), self.gatherer.slots.hold
        vms = Counter(vm.state.value for vm in latest.vms.values() if vm.vm_id in owned) if latest is not None else {}
        return FleetState(
            vms,
            self.orphans.found,
            hold.breaker.reason,
            len(hold.failing_deletes),
            self.platform_message,
            self.table.halted,
            self.gatherer.providers.open_by_name(),
            self.gatherer.budgets.ledgers.spent(FLEET, 0.0),
        )

    def books(self) -> Books:
        return self.gatherer.budgets.ledgers.books(self.clock.now())

    def notices(self) -> Mapping[str, Figures]:
        return self.outbox.figures() if self.outbox is not None else {}

    async def record_event(self, key: Key, uid: str, reason: str, message: str, *, warning: bool = False) -> None:
        await self.table.update([], *self.recorder.event(key, uid, reason, message, "Warning" if warning else "Normal"))

    # --- the platform ---------------------------------------------------------------------------------------------------------

    async def _resync(self) -> None:
        """One list call an interval feeds everything; a failing platform is told once and waited for."""
        while True:
            try:
                await self.orphans.look(await self.fleet.list_since(self.clock.now()))
                self._platform("")
            except ReconcilerError as error:
                self._platform(str(error))
            await self.clock.sleep(self.settings.resync_seconds)

    def _platform(self, message: str) -> None:
        if message == self.platform_message:
            return
        self.platform_message = message
        for listener in tuple(self.on_platform):
            listener(message)
        self.triggers.platform_changed()

    # --- the one procedure ------------------------------------------------------------------------------------------------

    async def _process(self, key: Key) -> None:
        """One key, until it is steady."""
        tracing = self.effects.tracing
        if tracing is None:
            await self._look(key)
            return
        with tracing.look(key) as ended:
            ended(await self._look(key))

    async def _look(self, key: Key) -> str:
        """Errors are tried again after growing delays. Returns `ok`, or the error's class."""
        clock = asyncio.get_running_loop().time
        begun, outcome = clock(), "ok"
        try:
            wait = await self.reconcile(key)
        except ReconcilerError as error:
            outcome = type(error).__name__
            self._failures[key] += 1
            self.reconcile_errors[outcome] += 1
            self.reporter.failed(key, error)
            self.queue.add_at(key, delay(self._failures[key], self.jitter(), base=1.0, most=60.0))
        except Exception as bug:
            outcome = type(bug).__name__
            self._failures[key] += 1
            self.reconcile_errors[outcome] += 1
            self.reporter.note(key, LastError(f"internal error: {type(bug).__name__}"))
            log.error("%s: internal error", key, exc_info=bug)
            self.queue.add_at(key, delay(self._failures[key], self.jitter(), base=2.0, most=300.0))
        else:
            self._failures.pop(key, None)
            if wait is not None:
                self.queue.add_at(key, wait)
        finally:
            self.effects.telemetry.reconciled(key.kind, outcome, clock() - begun)
        return outcome

    def _forget(self, key: Key, _: StoredObject | None, after: StoredObject | None) -> None:
        """Nothing is kept about what is gone: tasks come and go for as long as we run."""
        if after is None:
            for kind in self.kinds.values():
                kind.forget(key)
            self.reporter.clear(key)
            self._reported.pop(key, None)

    def healthy(self) -> bool:
        """Every worker is kept running, and so is the resync: False is a defect of ours that only a restart mends."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def _background_ended(self, ended: Ended) -> None:
        """What runs beside the work ended: an event, also for who looks later."""
        message = f"{ended.task} ended: {ended.why}" + ("; it begins anew" if ended.comes_back else "")
        key = Key("Controller", "", ended.task.replace(" ", "-"))
        await self.record_event(key, "", Reason.BACKGROUND_TASK_ENDED, message, warning=True)

    async def reconcile(self, key: Key) -> float | None:
        """Observe, plan, act, report, until nothing is to be done. Returns seconds until it should be looked at again
        (None: when something changes)."""
        kind = self.kinds.get(key.kind)
        return await self._run(kind, key) if kind is not None else None

    async def _run(self, kind: Kind[S], key: Key) -> float | None:
        last: Sequence[Step] = ()
        repeated = 0
        snapshot: S | None = None
        for _ in range(MAX_PASSES):
            if snapshot is None:
                kind.follow(key)
                snapshot = await kind.observe(key)
            plan = kind.plan(snapshot)
            if plan.first is not None:
                snapshot = await kind.act(snapshot, plan.first)
                continue
            steps = plan.next_steps()
            await self._report(kind, snapshot, plan, steps)
            if not steps:
                self._note_steady(key, plan)
                return plan.next_look(self.clock.now(), self.settings.fallback_seconds, kind.probing(snapshot))
            self.triggers.reconciling.add(key)
            repeated = repeated + 1 if steps == last else 0
            last = steps
            if repeated >= MAX_REPEATS:
                doing = steps[0].action.doing
                self.reporter.note(key, LastError(f"{doing}: done {repeated} times without an effect that shows"))
                self.reconcile_errors["NoEffect"] += 1
                return REPEAT_PAUSE
            snapshot = await self._carry_out(kind, snapshot, plan, steps)
            self.reporter.clear(key)
        return 0.0

    async def _carry_out(self, kind: Kind[S], snapshot: S, plan: Plan, steps: Sequence[Step]) -> S | None:
        """The steps, one after the other (what may take long comes alone). Returns the snapshot after a single one, where it is known."""
        known: S | None = None
        if steps[0].action.reported_if_long:
            async with Meanwhile(lambda: self._tell(kind, snapshot, plan, steps, begun=True), REPORT_EVERY):
                for step in steps:
                    known = await kind.act(snapshot, step)
        else:
            for step in steps:
                known = await kind.act(snapshot, step)
        return known if len(steps) == 1 else None

    async def _report(self, kind: Kind[S], snapshot: S, plan: Plan, steps: Sequence[Step]) -> None:
        """Write status when nothing is left to do, before what is told of first, and now and then in between."""
        first = bool(steps) and steps[0].action.reported_first
        if not steps or first or self.clock.now() >= self._reported.get(plan.key, 0.0) + REPORT_EVERY:
            about_to_write = steps[0].key if steps and steps[0].action.writes_first else None
            await self._tell(kind, snapshot, plan, steps, begun=first, about_to_write=about_to_write)

    async def _tell(
        self, kind: Kind[S], snapshot: S, plan: Plan, steps: Sequence[Step], *, begun: bool, about_to_write: Key | None = None
    ) -> None:
        """Write status. `begun`: with what is to be known durably of these steps; `about_to_write`: the object that they write first."""
        told = kind.begun(snapshot, steps) if begun else ()
        declared = self.table.get(plan.key) is not None
        await self.reporter.write(kind.status(snapshot, plan, self.reporter.last_error(plan.key)), told, about_to_write)
        if declared:  # else others are planned for what they wait for, and nothing of it has been told when it comes
            self._reported[plan.key] = self.clock.now()

    def _note_steady(self, key: Key, plan: Plan) -> None:
        if plan.steady():
            self.triggers.reconciling.discard(key)
        else:
            self.triggers.reconciling.add(key)
