"""The controller of a cluster's objects: takes in what is declared there, writes out status. One object at a time, in one queue; it
neither plans nor acts.

Order of a life: the kinds are served → everything there is was listed and taken → the engine starts → the watch starts. A sweep
compares everything again now and then, and after every gap in the watch."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from reconciler.api.reasons import Reason
from reconciler.api.registry import BY_NAME, KINDS
from reconciler.core.backoff import delay
from reconciler.core.keys import Json, Key
from reconciler.core.tree.places import place_of_machine, tree_of_machine
from reconciler.engine.ports import Event, StoredObject
from reconciler.engine.queue import Priority, WorkQueue
from reconciler.engine.subscriptions import Unsubscribe
from reconciler.engine.supervision import Supervisor
from reconciler.engine.view import SourceEngine
from reconciler.errors import Conflict, Forbidden, NotFound, RateLimited, ReconcilerError
from reconciler.sources.kube import raw
from reconciler.sources.kube.arrivals import order
from reconciler.sources.kube.client import Cluster, collection
from reconciler.sources.kube.creates import told_by
from reconciler.sources.kube.events import KubeEvents
from reconciler.sources.kube.secrets import KubeSecrets
from reconciler.sources.kube.seen import Seen
from reconciler.sources.kube.sink import KubeSink
from reconciler.sources.kube.source import KubeSource
from reconciler.sources.kube.watching import Watch, Watcher, Watching

log = logging.getLogger("reconciler.kube")

WORKERS = 16
SWEEP_SECONDS = 300.0
"""Between two comparisons of everything; a watch that broke asks for one sooner."""
STALE_SECONDS = 60.0
"""So long after a sweep found a change the watch must have reported it too, or it is stale and begins anew."""
SERVED_SECONDS = 2.0
"""Between two looks whether the kinds are served yet."""
LASTING = 5
"""So often a right must be missing in a row, over some seconds, until the object says so: a server that just started grants nothing."""


class KubeController:
    """`namespaces` None: all of them. `tell` takes one line for people. Hand `sink` to the engine as its backend, then `open` it."""

    def __init__(
        self,
        cluster: Cluster,
        secrets: KubeSecrets,
        namespaces: Sequence[str] | None,
        instance: str,
        tell: Callable[[str], None],
        gate: Callable[[], None] = lambda: None,
        sweep_seconds: float = SWEEP_SECONDS,
        watcher: Watcher = Watch,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._cluster, self._secrets, self._namespaces, self._tell = cluster, secrets, namespaces, tell
        self._sweep_seconds, self._watcher = sweep_seconds, watcher
        self._supervisor = supervisor if supervisor is not None else Supervisor()
        self.seen = Seen()
        self.sink = KubeSink(cluster, secrets, self.seen)
        self.events = KubeEvents(cluster, instance, secrets.known, gate, self._supervisor)
        self.queue = WorkQueue()
        self.failures: Counter[Key] = Counter()
        self.reconcile_errors: Counter[str] = Counter()
        self._last_error: dict[Key, str] = {}
        self._due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: Watching | None = None
        self._unsubscribe: list[Unsubscribe] = []
        self._unreported: dict[str, tuple[float, Key]] = {}
        self.swept = 0

    async def open(self, engine: SourceEngine, cluster_uid: str) -> None:
        """Take everything that is declared, start the engine, then follow. Waits as long as the kinds are not served. `engine`:
        made with our `sink` as its backend, not started. `cluster_uid`: written into what is taken. Raises what store and platform
        say while the engine starts."""
        self._engine = engine
        self.source = KubeSource(self._cluster, engine, self._secrets, self.seen, cluster_uid)
        self.sink.refused, self.source.taken_back = self.source.refused, self.sink.taken_back
        self.sink.attach(
            engine.table, engine.effects, engine.clock.now, lambda slot: engine.restore.open_create(slot), self.source.reconcile, self._read
        )
        self._secrets.changed = self._secret_changed
        self._unsubscribe = [engine.subscribe(events=self._event)]
        await self.served()
        self.events.start()
        await engine.start(self._catch_up)
        self.source.opening = False
        self._unsubscribe.append(engine.subscribe(changes=self._changed))
        for key in {*self.seen, *engine.table.all_keys()}:
            self.queue.add(key)
        start = self._supervisor.start
        self._tasks = [start("cluster worker", lambda: self.queue.serve(self._reconcile), name=f"kube-worker-{n}") for n in range(WORKERS)]
        self._tasks.append(start("sweep", self._sweeps, self._sweep_failed))
        self._watch = self._watcher(self._cluster.access, self._namespaces, self._on_watch_event, self._due.set)
        self._watch.start()

    async def close(self) -> None:
        """Stop listening. Changes nothing in the cluster. Call it before the engine is stopped."""
        if self._watch is not None:
            await self._watch.stop()
        self.queue.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for end in self._unsubscribe:
            end()
        self._unsubscribe = []
        await self.events.stop()

    def rests(self) -> bool:
        """Every event was taken in, and every status is written."""
        return self.queue.idle() and not self.failures

    @property
    def watch_restarts(self) -> int:
        """How often the watch had to begin anew."""
        return self._watch.restarts if self._watch is not None else 0

    def watching(self) -> bool:
        """False when the watch is lost for this process."""
        return self._watch is None or self._watch.alive()

    # --- being served ---------------------------------------------------------------------------------------------------------

    async def served(self) -> bool:
        """Wait until the API server knows our kinds and lets us list them. False when it did all the time."""
        told = ""
        while True:
            reason = await self._unserved()
            if not reason:
                return bool(told)
            if reason != told:
                told = reason
                self._tell(reason)
            await asyncio.sleep(SERVED_SECONDS)

    async def _unserved(self) -> str:
        for kind in KINDS:
            for namespace in self._scopes():
                try:
                    await self._cluster.get(collection(kind.name, namespace), limit="1")
                except NotFound:
                    return f"waiting: the cluster does not serve {kind.plural}; `kubectl apply -f crds/` installs them"
                except ReconcilerError as error:
                    return f"waiting: {error}"
        return ""

    def _scopes(self) -> list[str | None]:
        return [None] if self._namespaces is None else list(self._namespaces)

    def _within(self, key: Key) -> bool:
        return self._namespaces is None or key.namespace in self._namespaces

    # --- events ---------------------------------------------------------------------------------------------------------------

    def _on_watch_event(self, kind: str, obj: Json) -> None:
        """The watch reports an object."""
        self._unreported.pop(raw.uid(obj), None)
        self._on_event(kind, obj)

    def _on_event(self, kind: str, obj: Json) -> Key | None:
        """Nothing that is said of one object may keep the next one from being heard of."""
        try:
            return self._heard(kind, obj)
        except Exception as bug:
            self.reconcile_errors[type(bug).__name__] += 1
            log.error("an object of the cluster could not be taken in: internal error", exc_info=bug)
            return None

    def _heard(self, kind: str, obj: Json) -> Key | None:
        key = self.source.on_event(kind, obj)
        if kind == "DELETED":
            self.sink.left(raw.uid(obj))
        if key is not None:
            self._take_in(key, going=kind == "DELETED" or raw.deleting(obj))
        return key

    async def _read(self, key: Key) -> None:
        """Ask the API server itself, and take in what is news: the watch tells none of it then. That it is gone the watch tells all the
        same, with how."""
        known, found = self.seen.get(key), await self.source.read(key)
        if found is not None and found is not known:
            self._take_in(key, going=raw.deleting(found))

    def _take_in(self, key: Key, *, going: bool) -> None:
        self.queue.add(key, Priority.DELETE if going else Priority.CHANGE)

    def _changed(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        """Something of ours was written: its status may have to go out, its name may be free again."""
        if after is None or before is None:
            self.source.forget(key)
        if after is None:
            self.sink.forget(key)
        if after is None or before is None or before.status is not after.status:
            self.queue.add(key)
        if (at := told_by(key)) in self.sink.telling:
            self.queue.add(at)  # what became of a create is known

    def _event(self, event: Event) -> None:
        item = self._engine.table.get(event.key)
        tree = tree_of_machine(event.key)
        if tree is not None:
            owner = self._engine.table.get(tree)
            node = place_of_machine(event.key)
            if owner is not None and owner.obj.source == raw.SOURCE:
                self.events.post(replace(event, key=tree, uid=owner.uid, message=f"node {node}: {event.message}"))
        elif item is None or item.obj.source == raw.SOURCE:
            self.events.post(event)

    def _secret_changed(self, namespace: str) -> None:
        for key in self._engine.table.all_keys():
            item = self._engine.table.lieutenant(key) if key.namespace == namespace else None
            if item is not None:
                self._engine.wake(key)

    # --- sweeping -------------------------------------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        """Before the engine acts: everything that is declared, profiles first; what can't be taken now is taken later."""
        await self.sweep()
        order = {kind.name: number for number, kind in enumerate(KINDS)}
        known = {*self.seen, *(key for key in self._engine.table.all_keys() if self._within(key) and key.kind in order)}
        keys = sorted(known, key=lambda key: (order[key.kind], key))
        for start in range(0, len(keys), WORKERS):
            await asyncio.gather(*(self._reconcile_once(key) for key in keys[start : start + WORKERS]))
        self.source.report_restored()

    async def _reconcile_once(self, key: Key) -> None:
        try:
            await self.source.reconcile(key)
        except ReconcilerError as error:
            self._failed(key, error)

    async def sweep(self) -> None:
        """List everything and compare: finds what a gap in the watch has hidden. Raises what the API server says."""
        found: set[Key] = set()
        for kind in KINDS:
            for namespace in self._scopes():
                for obj in sorted(await self._cluster.items(collection(kind.name, namespace)), key=order):
                    key = raw.key_of(obj)
                    if key is not None:
                        found.add(key)
                        if self._on_event("", obj) is not None and self._watch is not None:
                            self._unreported.setdefault(raw.uid(obj), (asyncio.get_running_loop().time(), key))
        for key in [key for key in {*self.seen, *self._engine.table.all_keys()} - found if self._within(key) and key.kind in BY_NAME]:
            item = self._engine.table.get(key)
            if key in self.seen or (item is not None and item.obj.source == raw.SOURCE):
                await self.source.read(key)  # a list begun before it was made does not have it
                self.queue.add(key)
        self.swept += 1
        if self._unreported:
            asyncio.get_running_loop().call_later(STALE_SECONDS, self._check_stale_watch)

    def _check_stale_watch(self) -> None:
        """Of the watch, when it kept silent about what a sweep has found."""
        before = asyncio.get_running_loop().time() - STALE_SECONDS
        late = [key for found, key in self._unreported.values() if found <= before]
        if self._watch is None or not self._tasks or not late:
            return
        self._unreported.clear()
        log.warning("the watch did not tell of %d changes that a sweep found, of %s among them; it begins anew", len(late), late[0])
        self._watch.again()

    def _sweep_failed(self, error: Exception) -> None:
        """A defect of ours: sweeping begins anew."""
        self.reconcile_errors[type(error).__name__] += 1
        log.error("the sweep ended: internal error", exc_info=error)
        self._due.set()

    async def _sweeps(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._sweep_seconds):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            try:
                await self.sweep()
            except NotFound as error:
                self.reconcile_errors[type(error).__name__] += 1
                log.info("the sweep was cut short: %s", error)
                if await self.served() and self._watch is not None:
                    self._tell("the cluster serves every kind again")
                    self._watch.again()  # it may have given up for a while
                asyncio.get_running_loop().call_later(SERVED_SECONDS, self._due.set)
            except ReconcilerError as error:
                self.reconcile_errors[type(error).__name__] += 1
                log.info("the sweep was cut short: %s", error)
                asyncio.get_running_loop().call_later(SERVED_SECONDS, self._due.set)

    # --- one object -----------------------------------------------------------------------------------------------------------

    async def _reconcile(self, key: Key) -> None:
        """In, then out; the error escalation."""
        try:
            obj = self.seen.get(key)
            if obj is not None and raw.uid(obj) in self.sink.leaving:
                await self.sink.settle(raw.uid(obj))
            else:
                await self.source.reconcile(key)
                await self.sink.write(key)
        except ReconcilerError as error:
            self._failed(key, error)
            if isinstance(error, Forbidden) and self.failures[key] >= LASTING:
                await self._report_missing_right(key, error)
        except Exception as bug:
            self._count(key, type(bug).__name__)
            log.error("%s: internal error", key, exc_info=bug)
            self.queue.add_at(key, delay(self.failures[key], 0.5, base=2.0, most=300.0))
        else:
            self.failures.pop(key, None)
            self._last_error.pop(key, None)

    def _failed(self, key: Key, error: ReconcilerError) -> None:
        self._count(key, type(error).__name__)
        if self._last_error.get(key) != str(error):  # told once, counted always (G-66)
            log.log(logging.INFO if isinstance(error, Conflict) else logging.WARNING, "%s: %s", key, error)
        self._last_error[key] = str(error)
        most = 10.0 if not isinstance(error, Forbidden) else 60.0
        again = error.retry_after if isinstance(error, RateLimited) and error.retry_after else None
        self.queue.add_at(key, again or delay(self.failures[key], 0.5, base=0.2, most=most))

    async def _report_missing_right(self, key: Key, error: Forbidden) -> None:
        """The object says which right is missing, unless that is the right to say so, or its time is over and its status is what it
        came to: then the log alone does."""
        if raw.uid(self.seen.get(key, {})) in self.sink.leaving:
            return
        self.source.refused[key] = (Reason.RIGHT_MISSING, str(error))
        try:
            await self.sink.write(key)
        except ReconcilerError as silent:
            self._count(key, type(silent).__name__)

    def _count(self, key: Key, what: str) -> None:
        self.failures[key] += 1
        self.reconcile_errors[what] += 1
