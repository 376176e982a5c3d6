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
    Decision,
    GuestAction,
    LocalAction,
    RunStep,
    RunVerify,
    SessionAction,
    SlotAction,
    Steady,
    TaskAction,
    Wait,
)
from reconciler.core.backoff import delay
from reconciler.core.breaker import BREAKER, Breaker
from reconciler.core.conditions import reason_of, simple_status
from reconciler.core.keys import Json, Key
from reconciler.core.lane import LanePlan, LaneView, plan
from reconciler.core.lieutenantstatus import lieutenant_status
from reconciler.core.observations import VmList
from reconciler.core.records import ACTIVE
from reconciler.core.rendering import Unresolved, profile_chain
from reconciler.core.taskactions import AbortTurn
from reconciler.core.taskstatus import task_status
from reconciler.core.trouble import NONE, Trouble, trouble_of
from reconciler.engine.act_guest import GuestActs
from reconciler.engine.act_local import LocalActs
from reconciler.engine.act_session import SessionActs
from reconciler.engine.act_slot import SlotActs
from reconciler.engine.act_task import TaskActs
from reconciler.engine.acts import Tools
from reconciler.engine.declare import PREFIX, Declarations
from reconciler.engine.effects import Effects
from reconciler.engine.events import Recorder
from reconciler.engine.fleet import Fleet
from reconciler.engine.gather import Gatherer
from reconciler.engine.heed import Heed
from reconciler.engine.journal import Journal
from reconciler.engine.objects import LieutenantItem, ObjectTable
from reconciler.engine.orphans import Orphans
from reconciler.engine.places import place_of
from reconciler.engine.ports import Agents, Clock, PutMeta, Secrets, Store, StoredObject, VersApi, Write
from reconciler.engine.queue import Priority, WorkQueue
from reconciler.engine.settings import EngineSettings
from reconciler.engine.transcripts import Transcripts
from reconciler.engine.upstream import Nowhere, Upstream
from reconciler.errors import Conflict, GuestUnreachable, ReconcilerError

log = logging.getLogger("reconciler.engine")

FINGERPRINTS = "fingerprint-key"
"""Name of the store's own key under which it is noted which values secrets had."""

MAX_PASSES = 200
"""Acts in a row on one object before others get their turn."""

MAX_REPEATS = 5
REPEAT_PAUSE = 5.0
"""The same act so often in a row without an effect that shows: pause, so that nothing loops hot."""

HEARD_EVERY = 0.05
"""Seconds in which everything a keeper says counts as one reason to look: a streaming answer is no storm."""

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
        upstream: Upstream | None = None,
    ) -> None:
        self.settings, self.vers, self.agents, self.store, self.secrets = settings, vers, agents, store, secrets
        self.clock, self.effects, self.jitter, self.token, self.keeper_version = clock, effects, jitter, token, keeper_version
        self.upstream: Upstream = upstream if upstream is not None else Nowhere()
        self.table = ObjectTable(store, effects)
        self.recorder = Recorder(clock)
        self.declarations = Declarations(self.table, self.recorder, clock)
        self.queue = WorkQueue()
        self.swallowed: Counter[str] = Counter()
        self.platform_message = ""
        self.on_platform: list[Callable[[str], None]] = []
        self._failures: Counter[Key] = Counter()
        self._trouble: dict[Key, Trouble] = {}
        self._moving: set[Key] = set()
        self._reported: dict[Key, float] = {}
        self._watched: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    # --- life -------------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the store and set up; nothing outside is touched."""
        image = await self.effects.call("store.load", self.store.load)
        first_seen = dict(image.first_seen)
        self.fleet = Fleet(self.vers, self.store, self.clock, self.effects, self.settings.settle_seconds, first_seen)
        self.table.fill(image.objects, image.meta)
        journal = Journal(image.intents)
        transcripts = Transcripts(self.store, self.effects, dict(image.sessions))
        self.gatherer = Gatherer(
            self.settings, self.table, self.fleet, journal, transcripts, self.agents, self.secrets, self.effects, self.clock,
            self.vers.account(), self.keeper_version,
        )  # fmt: skip
        self.tools = Tools(
            self.settings, self.table, self.fleet, journal, self.gatherer, self.recorder, self.vers, self.agents,
            self.secrets, self.effects, self.clock, self.jitter, self.token, self.upstream,
        )  # fmt: skip
        self.gatherer.profiles.fingerprint_key = image.meta.get(FINGERPRINTS, "")
        self.gatherer.slots.hold.breaker = Breaker.load(image.meta.get(BREAKER, ""))
        self.orphans = Orphans(self.table, self.fleet, self.recorder, self.clock, self.effects, self.gatherer.owner, image.meta)
        self._heeding = Heed(self.table, self.fleet, self.clock)
        self._slot_acts, self._guest_acts, self._task_acts = SlotActs(self.tools), GuestActs(self.tools), TaskActs(self.tools)
        self._local_acts = LocalActs(self.tools)
        self._fresh = not first_seen and not image.objects
        self._hold_checked = not self._fresh

    async def start(self, catch_up: Callable[[], Awaitable[None]] | None = None) -> None:
        """Load, look at everything once, then follow changes. Starting changes nothing outside (G-01). `catch_up`: awaited after
        loading and before anything acts, to take what was declared while nobody listened."""
        await self.load()
        if not self.gatherer.profiles.fingerprint_key:
            self.gatherer.profiles.fingerprint_key = token_hex(32)
            await self.table.update([], PutMeta(FINGERPRINTS, self.gatherer.profiles.fingerprint_key))
        self.table.on_change.append(self._changed)
        self.fleet.on_list.append(self._listed)
        if catch_up is not None:
            await catch_up()
        for key in self.table.all_keys():
            self._moving.add(self.declarations.lane_of(key))
            self.queue.add(self.declarations.lane_of(key), Priority.RESYNC)
        self._tasks = [asyncio.create_task(self._work(), name=f"worker-{n}") for n in range(self.settings.workers)]
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
        return not self._moving and self.queue.idle()

    def wake(self, key: Key) -> None:
        """Look at this object soon."""
        self.queue.add(self.declarations.lane_of(key), Priority.CHANGE)

    # --- what makes us look -----------------------------------------------------------------------------------------------

    def _changed(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        """An object was written: look at its lane, at the tasks that wait for it and at what refers to it. What only a lane's
        own worker writes (status, record) is no reason to look at that lane again: the worker goes on until it rests."""
        if before is None or after is None or declaration_of(before) != declaration_of(after):
            lane = self.declarations.lane_of(key) if after is not None or before is None else lane_of_gone(before)
            if after is None and lane == key:
                self._moving.discard(key)
            else:
                self._moving.add(lane)
            self.queue.add(lane, Priority.DELETE if after is not None and after.deleted_at is not None else Priority.CHANGE)
        elif before.record is after.record or before.record == after.record:
            return
        if key.kind == "Task":
            for dependent in self.table.dependents_of(key):
                task = self.table.task(dependent)
                if task is not None and not task.record.finished:
                    self.queue.add(self.declarations.lane_of(dependent))
        elif key.kind == "Lieutenant":
            for adopter in self._adopters_freed(before):
                self.queue.add(adopter)
            for waiting in self.table.tasks_of(key):
                if not waiting.record.finished:
                    self.queue.add(key)
        elif key.kind == "BootProfile":
            for kind in ("Lieutenant", "BootProfile"):
                for other in self.table.of_kind(kind):
                    if other.key.namespace == key.namespace and other.key != key:
                        self.queue.add(other.key)

    def _adopters_freed(self, before: StoredObject | None) -> list[Key]:
        """Lieutenants that wait for a VM which this object had and has no more."""
        slot = before.record.get("slot") if before is not None else None
        vm_id = str(slot.get("vm_id", "")) if isinstance(slot, dict) else ""
        return [key for key in self.table.adopters_of(vm_id) if vm_id and self.table.owner_of(vm_id) is None]

    def _listed(self, before: VmList | None, fresh: VmList) -> None:
        """A new list: look at the owners of what changed in it; everything else rests (G-45)."""
        owned = self.table.owned()
        condemned = (
            frozenset(
                item.record.slot.vm_id for key in set(owned.values()) if (item := self.table.lieutenant(key)) and item.record.slot.condemned
            )
            if self.gatherer.slots.hold.failing_deletes or self._deleting()
            else frozenset()
        )
        self.fleet.note_owned(owned, condemned)
        if not self._hold_checked:
            self._hold_checked = True
            fleet_label = f"{self.gatherer.owner.fleet}"
            if any(vm.labels.get("fleet.vers.sh/fleet") == fleet_label for vm in fresh.vms.values()):
                self.gatherer.slots.hold.until = self.clock.now() + self.settings.empty_store_seconds
        if before is None:
            for lane in set(owned.values()):
                self.queue.add(lane, Priority.RESYNC)
            return
        old, new = before.vms, fresh.vms
        for vm_id, key in owned.items():
            if new.get(vm_id) != old.get(vm_id):
                self.queue.add(key, Priority.RESYNC)
        for vm_id in self.table.adopting():
            if new.get(vm_id) != old.get(vm_id):
                for key in self.table.adopters_of(vm_id):
                    self.queue.add(key, Priority.RESYNC)

    def _deleting(self) -> bool:
        return any(item.deleting for item in self.table.of_kind("Lieutenant"))

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
        for key in self.table.all_keys():
            if key.kind == "Lieutenant":
                self.queue.add(key, Priority.RESYNC)

    def _watch(self, item: LieutenantItem) -> None:
        place = place_of(item)
        if place.id and place.id not in self._watched:
            self._watched.add(place.id)
            self.agents.watch(place, lambda: self._said(item.key if place.local else self.table.owner_of(place.vm_id)))

    def _said(self, key: Key | None) -> None:
        """A keeper said something, or its connection broke. `key`: whose it is; None: nobody's any more."""
        if key is not None:
            self.queue.add_at(key, HEARD_EVERY, Priority.CHANGE)

    # --- the one procedure ------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._look_at(key)
            finally:
                self.queue.done(key)

    async def _look_at(self, key: Key) -> None:
        """One object, until it rests; the error ladder."""
        clock = asyncio.get_running_loop().time
        begun, outcome = clock(), "ok"
        try:
            wait = await self.reconcile(key)
        except ReconcilerError as error:
            outcome = type(error).__name__
            self._failures[key] += 1
            self.swallowed[outcome] += 1
            self._met(key, error)
            self.queue.add_at(key, delay(self._failures[key], self.jitter(), base=1.0, most=60.0))
        except Exception as bug:
            outcome = type(bug).__name__
            self._failures[key] += 1
            self.swallowed[outcome] += 1
            self._trouble[key] = Trouble(f"internal error: {type(bug).__name__}")
            log.error("%s: internal error", key, exc_info=bug)
            self.queue.add_at(key, delay(self._failures[key], self.jitter(), base=2.0, most=300.0))
        else:
            self._failures.pop(key, None)
            if wait is not None:
                self.queue.add_at(key, wait)
        finally:
            self.effects.telemetry.look(key.kind, outcome, clock() - begun)

    def _met(self, key: Key, error: ReconcilerError) -> None:
        """Trouble is told once, and counted always (G-66); what a machine says may have a secret in it (G-60)."""
        trouble = trouble_of(error)
        trouble = replace(trouble, message=self.tools.redact(trouble.message))
        before, item = self._trouble.get(key, NONE), self.table.get(key)
        if before != trouble:
            level = logging.INFO if isinstance(error, Conflict | GuestUnreachable) else logging.WARNING
            log.log(level, "%s: %s", key, trouble.message)
        if trouble.reason not in ("", before.reason) and item is not None:
            self.recorder.note(key, item.uid, trouble.reason, trouble.message, "Warning")
        self._trouble[key] = trouble

    def healthy(self) -> bool:
        """Every worker runs, and so does the resync: False is a defect of ours that only a restart mends."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def reconcile(self, key: Key) -> float | None:
        """Gather, plan, execute, report, until nothing is to be done. Returns seconds until it should be looked at again
        (None: when something changes)."""
        if key.kind != "Lieutenant":
            await self._reconcile_simple(key)
            self._moving.discard(key)
            return None
        last: object = None
        repeated = 0
        for _ in range(MAX_PASSES):
            await self._heed(key)
            view = await self.gatherer.lane(key)
            decided = plan(view)
            acts = decided.next_acts()
            slow = bool(acts) and isinstance(acts[0][1], RunStep | RunVerify)
            if not acts or slow or self.clock.now() >= self._reported.get(key, 0.0) + REPORT_EVERY:
                await self._report(key, view, decided)
                self._reported[key] = self.clock.now()
            if not acts:
                if rests(decided):
                    self._moving.discard(key)
                else:
                    self._moving.add(key)
                return self._next_look(view, decided)
            self._moving.add(key)
            repeated = repeated + 1 if acts == last else 0
            last = acts
            if repeated >= MAX_REPEATS:
                self._trouble[key] = Trouble(f"{type(acts[0][1]).__name__} was carried out {repeated} times and shows no effect")
                self.swallowed["NoEffect"] += 1
                return REPEAT_PAUSE
            for target, action in acts:
                await self._execute(key, view, target, action)
            self._trouble.pop(key, None)
        return 0.0

    def _next_look(self, view: LaneView, decided: LanePlan) -> float | None:
        waits = [d for d in (*decided.tasks.values(), decided.lieutenant) if isinstance(d, Wait)]
        polls = [POLL.get(w.reason, self.settings.fallback_seconds) for w in waits if w.reason in POLL or w.reason not in RESTING]
        until = decided.wake_at(probing=self.settings.health_probes or bool(waits))
        times = [*polls, *([max(0.05, until - self.clock.now())] if until is not None else [])]
        return min(times, default=None)

    async def _execute(self, key: Key, view: LaneView, target: Key | None, action: Action) -> None:
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
            slot = lieutenant.record.slot
            for command in ({"type": "clear_queue"}, {"type": "abort"}):
                await self.effects.call("keeper.call", lambda c=command: self.agents.call(place_of(lieutenant), slot.epoch, c))  # type: ignore[misc]
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
                self._watch(current)

    async def _heed(self, key: Key) -> None:
        """What people ask for, before it is decided what follows."""
        item = self.table.lieutenant(key)
        if item is None:
            return
        self._watch(item)
        for vm_id in await self._heeding.look(item):
            self._said(self.table.owner_of(vm_id))

    # --- reporting --------------------------------------------------------------------------------------------------------

    async def _report(self, key: Key, view: LaneView, decided: LanePlan) -> None:
        """Status of everything in the lane, in one write, only when something changed (G-45)."""
        changes: list[tuple[Key, Callable[[StoredObject], StoredObject]]] = []
        more: list[Write] = []
        item = self.table.lieutenant(key)
        if item is not None and view.lieutenant is not None and decided.lieutenant is not None:
            active = next((f.key.name for f in view.tasks if f.record.phase in ACTIVE and f.spec.delivery.value == "Queue"), "")
            pending = sum(1 for f in view.tasks if f.record.phase == "Pending")
            convenience = self.gatherer.profiles.unsupported(key, item.obj.generation, item.obj.spec)[1]
            convenience += self.gatherer.profiles.profile_unsupported(key.namespace, item.spec.profile_ref.name)[1]
            status = lieutenant_status(
                view.lieutenant,
                decided.lieutenant,
                item.obj.status,
                item.obj.generation,
                pending,
                active,
                convenience,
                self._trouble.get(key, NONE),
            )
            self._note_status(item.obj, status, decided.lieutenant, changes, more)
        for task_key, decision in decided.tasks.items():
            task = self.table.task(task_key)
            if task is not None:
                convenience = self.gatherer.profiles.unsupported(task_key, task.obj.generation, task.obj.spec)[1]
                status = task_status(task.record, decision, task.obj.status, task.obj.generation, view.now, convenience)
                self._note_status(task.obj, status, decision, changes, more)
        if changes or more:
            await self.table.update(changes, *more)

    def _note_status(
        self,
        obj: StoredObject,
        status: Json,
        decision: Decision,
        changes: list[tuple[Key, Callable[[StoredObject], StoredObject]]],
        more: list[Write],
    ) -> None:
        more.extend(self.recorder.take(obj.key))
        if status == obj.status:
            return
        changes.append((obj.key, lambda o: replace(o, status=status)))
        reason, message = reason_of(decision)
        ended = isinstance(decision, Steady) and obj.key.kind == "Task"  # told when it ended
        if not ended and "Stalled" in str(status.get("conditions")) and reason not in str(obj.status.get("conditions")):
            more.extend(self.recorder.event(obj.key, obj.uid, reason, message, "Warning"))
        elif status.get("phase") != obj.status.get("phase") and obj.key.kind == "Lieutenant":
            more.extend(self.recorder.event(obj.key, obj.uid, str(status.get("phase")), message))

    async def _reconcile_simple(self, key: Key) -> None:
        """Kinds without a machine of their own."""
        item = self.table.get(key)
        if item is None:
            return
        problem: Unresolved | None
        if key.kind == "BootProfile":
            found = profile_chain(key.name, lambda name: self.gatherer.profiles.profile(key.namespace, name))
            problem = found if isinstance(found, Unresolved) else None
            protects = self.gatherer.profiles.unsupported(key, item.obj.generation, item.obj.spec)[0]
            if protects and problem is None:
                problem = Unresolved("Unsupported", f"not acted on in this release: {', '.join(protects)}", final=True)
        else:
            problem = Unresolved("Unsupported", f"kind {key.kind} is not acted on in this release", final=True)
        status = simple_status(problem, item.obj.status, item.obj.generation, self.clock.now())
        changes: list[tuple[Key, Callable[[StoredObject], StoredObject]]] = []
        more: list[Write] = []
        if status != item.obj.status:
            changes.append((key, lambda o: replace(o, status=status)))
        if changes:
            await self.table.update(changes, *more)


def declaration_of(obj: StoredObject) -> tuple[object, ...]:
    """What a lane is looked at for, of what others than its worker write: labels and others' annotations mean nothing to us."""
    verbs = {name: value for name, value in obj.annotations.items() if name.startswith(PREFIX)}
    return obj.spec, verbs, obj.deleted_at, obj.generation


def lane_of_gone(obj: StoredObject) -> Key:
    """Where an object that is gone was looked at."""
    ref = obj.spec.get("lieutenantRef")
    if obj.key.kind == "Task" and isinstance(ref, dict):
        return Key("Lieutenant", obj.key.namespace, str(ref.get("name", "")))
    return obj.key


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


def rests(decided: LanePlan) -> bool:
    """Nothing is on its way: every decision is steady, refused, or waits for a person or for another object."""
    waits = [d for d in (*decided.tasks.values(), decided.lieutenant) if isinstance(d, Wait)]
    return all(w.reason in RESTING for w in waits)
