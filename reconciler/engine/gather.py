"""Turns a key into one snapshot: all reading happens here, all deciding in the core."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import LieutenantSpec, ManagementPolicy, OnBusy, OnProfileChange, OutageFallback, PlacementType
from reconciler.api.meta import Mode
from reconciler.api.stock import organ_programs, stock_profiles
from reconciler.api.support import unsupported
from reconciler.core import claims
from reconciler.core.breaker import Breaker
from reconciler.core.claims import Owner
from reconciler.core.deletion import Goodbye, goodbye_of
from reconciler.core.home import (
    Beyond,
    Home,
    Hosting,
    first_line,
    header_from,
    in_tree,
    local_dir,
    localized,
    not_applied,
    shift_of,
    tree_of,
)
from reconciler.core.inside import sha256
from reconciler.core.keys import Json, Key
from reconciler.core.lane import LaneView, TaskFacts
from reconciler.core.lieutenant import LieutenantView
from reconciler.core.observations import Agent, Guest, Up, Verdict, Vm, VmState
from reconciler.core.organs import unknown
from reconciler.core.rendering import Rendered, SecretRef, Unresolved, chain_names, profile_chain, render, with_secrets
from reconciler.core.session import SessionName, current, loss_of
from reconciler.core.task import cycle_through
from reconciler.core.taskview import Dependency, Talk, landed_at
from reconciler.core.vmslot import Absent, OpenIntent, Seen, Slot, Unknown, VmObservation, Want
from reconciler.engine.content import bytes_of, content_of, name_of, value_of
from reconciler.engine.declare import PROTECTION
from reconciler.engine.effects import Effects
from reconciler.engine.ends import Ends
from reconciler.engine.fleet import Fleet
from reconciler.engine.journal import Journal
from reconciler.engine.objects import LieutenantItem, ObjectTable, TaskItem
from reconciler.engine.outlook import adoption, snapshot
from reconciler.engine.ports import Agents, Clock, Place, Secrets
from reconciler.engine.redaction import fingerprint, redact_agent, seal
from reconciler.engine.settings import EngineSettings
from reconciler.engine.transcripts import Transcript, Transcripts
from reconciler.errors import Forbidden, GuestFailed, GuestUnreachable, ReconcilerError, StaleEpoch

CHUNK = 1 << 22


NOTHING_OF_IT = 1 << 52
"""Offset beyond the end of every session."""

ENV_BYTES = 1 << 16
"""Longest secret in a variable: the kernel takes less than 128 KiB for one string."""


LOOK_EVERY = 60.0
"""Seconds after which a machine whose keeper answers is looked into afresh all the same: it may have been suspended and resumed
between two lists, and its clock be wrong (G-12)."""


@dataclass(slots=True)
class Hold:
    """Why nothing may be created for now: the breaker, and the hold after an empty store (design §5.9)."""

    breaker: Breaker = field(default_factory=Breaker)
    until: float = 0.0
    failing_deletes: set[str] = field(default_factory=set)


def session_of(item: LieutenantItem) -> SessionName:
    """The conversation in force: the name of its mirror and the path of its file."""
    return current(item.record.session, item.uid, item.spec.session.generation)


Fields = tuple[tuple[str, ...], tuple[str, ...]]
"""Fields set and not acted on: those that protect, and the others."""


class Gatherer:
    """Reads the world for one object at a time. Looks into a machine are kept until something suggests another."""

    def __init__(
        self,
        settings: EngineSettings,
        table: ObjectTable,
        fleet: Fleet,
        journal: Journal,
        transcripts: Transcripts,
        agents: Agents,
        secrets: Secrets,
        effects: Effects,
        clock: Clock,
        account: str,
        keeper_version: str,
    ) -> None:
        self.settings, self.table, self.fleet, self.journal = settings, table, fleet, journal
        self.transcripts, self.agents, self.secrets, self.effects, self.clock = transcripts, agents, secrets, effects, clock
        self.account, self.keeper_version = account, keeper_version
        self.owner = Owner(settings.fleet, settings.installation)
        self.hold = Hold()
        self.ends = Ends(agents, transcripts, effects)
        self.fingerprint_key = ""
        self._guests: dict[str, Guest] = {}
        self._edited: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._looked: dict[str, float] = {}
        self._mute: dict[str, float] = {}
        self._rendered: dict[Key, tuple[LieutenantSpec, int, Rendered | Unresolved]] = {}
        self._localized: dict[Key, tuple[Rendered, Rendered]] = {}
        self.organ_programs = organ_programs()
        self._stock = {name: profile.spec for name, profile in stock_profiles().items()}
        self._by_profile: dict[tuple[str, str], tuple[int, Fields]] = {}
        self._unsupported: dict[tuple[Key, int], tuple[tuple[str, ...], tuple[str, ...]]] = {}

    # --- lookups -------------------------------------------------------------------------------------------------------------------

    def profile(self, namespace: str, name: str) -> BootProfileSpec | None:
        """A declared BootProfile, or the stock one of that name."""
        return self.table.profile(namespace, name) or self._stock.get(name)

    def rendered(self, key: Key, spec: LieutenantSpec) -> Rendered | Unresolved:
        cached = self._rendered.get(key)
        if cached is not None and cached[0] is spec and cached[1] == self.table.profile_changes:
            made = cached[2]
        else:
            made = render(key.name, spec, lambda name: self.profile(key.namespace, name), self.settings.default_model)
            self._rendered[key] = (spec, self.table.profile_changes, made)
        if isinstance(made, Unresolved):
            return made
        protects = self.profile_unsupported(key.namespace, spec.profile_ref.name)[0]
        if protects:
            return Unresolved("Unsupported", f"not acted on in this release: {', '.join(protects)}; remove it or use a later release", True)
        return self.with_secrets(key, made)

    def with_secrets(self, key: Key, made: Rendered) -> Rendered | Unresolved:
        """The same with a digest of its secrets, once all of them are there and can be carried where they are declared."""
        values: dict[SecretRef, str] = {}
        for ref in sorted(made.secrets()):
            try:
                value = value_of(ref, key.namespace, self.secrets)
            except Forbidden as error:
                return Unresolved("SecretForbidden", str(error))
            if value is None:
                what = "secret" if ref.kind == "Secret" else "ConfigMap"
                return Unresolved("SecretNotFound", f"{what} {ref.name} has no key {ref.key} in namespace {key.namespace}; provide it")
            values[ref] = value
        for name, ref in made.secret_env.items():
            if "\0" in values[ref] or len(values[ref].encode()) > ENV_BYTES:
                why = f"no environment can carry secret {ref.name} key {ref.key} (a NUL, or more than {ENV_BYTES} bytes) in {name}"
                return Unresolved("SecretUnfit", f"{why}; declare it as a file")
        return with_secrets(made, {ref: fingerprint(self.fingerprint_key, value) for ref, value in values.items()})

    def profile_unsupported(self, namespace: str, name: str) -> Fields:
        """As `unsupported`, for a profile and what it extends; organs and capabilities that this release does not bring count as
        fields that are not acted on."""
        cached = self._by_profile.get((namespace, name))
        if cached is None or cached[0] != self.table.profile_changes:
            cached = self.table.profile_changes, self._profile_unsupported(namespace, name)
            self._by_profile[(namespace, name)] = cached
        return cached[1]

    def _profile_unsupported(self, namespace: str, name: str) -> Fields:
        chain = profile_chain(name, lambda at: self.profile(namespace, at))
        if isinstance(chain, Unresolved):
            return (), ()
        protects: list[str] = []
        others: list[str] = []
        for at, spec in zip(chain_names(name, lambda at: self.profile(namespace, at)), reversed(chain), strict=True):
            item = self.table.get(Key("BootProfile", namespace, at))
            if item is not None and not item.deleting:
                found = self.unsupported(item.key, item.obj.generation, item.obj.spec)
                protects += [f"{field} of BootProfile {at}" for field in found[0]]
                others += [f"{field} of BootProfile {at}" for field in found[1]]
            others += [f"{told} of BootProfile {at}" for told in unknown(spec.organs, spec.capabilities)]
        return tuple(protects), tuple(others)

    def unsupported(self, key: Key, generation: int, spec: Json) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Fields set and not acted on in this release: those that protect, and the others."""
        known = self._unsupported.get((key, generation))
        if known is None:
            found = unsupported(key.kind, spec)
            known = tuple(f.path for f in found if f.protects), tuple(f.path for f in found if not f.protects)
            self._unsupported[(key, generation)] = known
        return known

    def look_again(self, place: str) -> None:
        """The next pass looks into this machine afresh. `place`: a place's id."""
        self._guests.pop(place, None)
        self._edited.pop(place, None)

    # --- this host -----------------------------------------------------------------------------------------------------------------

    def here(self, item: LieutenantItem) -> bool:
        """Its directory, if it has one, is in our state directory."""
        return not item.record.local.state or item.record.local.host == self.settings.host

    def tree_at(self, place: Place) -> str:
        """What stands in for `/` at this place; '' where `/` does."""
        return tree_of(local_dir(self.settings.local_root, place.local)) if place.local else ""

    def path_at(self, place: Place, path: str) -> str:
        """A machine's path, as it is at this place."""
        return in_tree(self.tree_at(place), path)

    async def file_length(self, name: str, place: Place) -> int:
        """Bytes of a session file at a place that has all that is mirrored."""
        transcript = await self.transcripts.get(name)
        return transcript.size + shift_of(transcript.header, self.tree_at(place))

    def home(self, item: LieutenantItem, machine: Rendered | Unresolved) -> Home:
        """What concerns an agent on this host."""
        declared = item.spec.placement.type is PlacementType.LOCAL
        fallback = item.spec.placement.outage_fallback is OutageFallback.LOCAL
        parts: tuple[str, ...] = ()
        if item.record.local.state == "Home" and isinstance(machine, Rendered):
            chain = profile_chain(item.spec.profile_ref.name, lambda name: self.profile(item.key.namespace, name))
            parts = () if isinstance(chain, Unresolved) else not_applied(machine, chain)
        return Home(
            declared=declared,
            fallback=fallback,
            hosting=self.settings.hosting,
            here=self.here(item),
            place=Place(local=item.uid).id,
            outage=self.hold.breaker.reason,
            not_applied=parts,
            machine=None if declared else machine,
        )

    def localized(self, item: LieutenantItem, machine: Rendered) -> Rendered:
        """The part of a rendering that applies on this host; made once from each."""
        known = self._localized.get(item.key)
        if known is None or known[0] is not machine:
            known = self._localized[item.key] = (machine, localized(machine, self.tree_at(Place(local=item.uid))))
        return known[1]

    # --- one lane ------------------------------------------------------------------------------------------------------------------

    async def lane(self, key: Key) -> LaneView:
        """The lieutenant and all its tasks, as they are now."""
        item = self.table.lieutenant(key)
        tasks = self.table.tasks_of(key)
        if item is None:
            return LaneView(self.clock.now(), tuple(self.facts(t, None) for t in tasks))
        rendered = self.rendered(key, item.spec)
        observed = await self.observe_vm(item)
        transcript = await self.transcripts.get(session_of(item).name)
        place = place_of(item)
        guest, agent = await self.look_inside(item, observed, transcript, place)
        beyond = await self.look_beyond(item, observed, transcript)
        home = self.home(item, rendered)
        if (home.declared or place.local) and isinstance(rendered, Rendered):
            rendered = self.localized(item, rendered)
        talk = talk_of(agent, transcript)
        verdicts = await self.verdicts(item, tasks, agent, talk)
        now = self.clock.now()
        view = LieutenantView(
            name=key.name,
            slot=await self.slot(item, observed, agent, transcript, tasks, now),
            record=item.record,
            rendered=rendered,
            claim=claims.claim_file(self.owner, key, item.uid, item.record.slot.epoch, place.id),
            keeper_version=self.keeper_version,
            guest=guest,
            agent=agent,
            mirror_size=transcript.size,
            session_seen=transcript.told(place_of(item).id),
            session_generation=item.spec.session.generation,
            on_lost=item.spec.session.on_lost,
            parted=transcript.parted if isinstance(agent, Agent) else None,
            active_task=any(t.record.sent for t in tasks),
            unsupported=self.unsupported(key, item.obj.generation, item.obj.spec)[0],
            now=now,
            recreate=item.spec.update.on_profile_change is OnProfileChange.RECREATE,
            replace_blocked=self.replace_blocked(now),
            health_period=float(item.spec.health.period_seconds) if self.settings.health_probes else 0.0,
            mute_since=self.mute_since(place.id, agent, now),
            mute_limit=float(item.spec.health.period_seconds * item.spec.health.failure_threshold),
            startup_limit=float(item.spec.health.startup_timeout_seconds),
            edited=await self.edited(item, rendered, guest, agent),
            home=home,
            beyond=beyond,
        )
        facts = tuple(self.facts(t, verdicts.get(t.key)) for t in tasks)
        return LaneView(now, facts, view, item.spec, talk, item.obj.deleted_at)

    def mute_since(self, place: str, agent: Agent | Unknown | None, now: float) -> float:
        """Since when pi on this machine has not answered; 0 when it does, or when nobody could ask."""
        if isinstance(agent, Agent) and isinstance(agent.process, Up) and not agent.process.responsive:
            return self._mute.setdefault(place, now)
        self._mute.pop(place, None)
        return 0.0

    def facts(self, task: TaskItem, verdict: Verdict | None) -> TaskFacts:
        after = tuple(ref.name for ref in task.spec.after)
        known = {name: self.table.task(Key("Task", task.key.namespace, name)) for name in after}
        phases = tuple(
            Dependency(name, found.record.phase if found else self.remembered(Key("Task", task.key.namespace, name)))
            for name, found in known.items()
        )
        cycle: tuple[str, ...] = ()
        if after and not task.record.finished:
            cycle = cycle_through(task.key.name, self._after(task.key.namespace, task.key.name))
        protects = () if task.record.finished else self.unsupported(task.key, task.obj.generation, task.obj.spec)[0]
        return TaskFacts(
            task.key, task.spec, task.record, task.obj.created_at, task.deleting, phases, cycle, protects, verdict, self.missing(task)
        )

    def remembered(self, key: Key) -> str:
        """How a task that was removed had ended; '' when there was none."""
        stone = self.table.tombstones.get(key)
        return stone.phase if stone is not None else ""

    def missing(self, task: TaskItem) -> str:
        """What a task that waits is to be told and is not there, in words; '' when all is there."""
        source = task.spec.content_from
        if source is None or task.record.phase != "Pending":
            return ""
        try:
            found = content_of(source, task.key.namespace, self.secrets)
        except ReconcilerError as error:
            return str(error)
        return "" if found is not None else f"{name_of(source)} is not there in namespace {task.key.namespace}; provide it"

    def _after(self, namespace: str, name: str) -> dict[str, tuple[str, ...]]:
        """What `name` waits for, and what those wait for, and so on."""
        graph: dict[str, tuple[str, ...]] = {}
        todo = [name]
        while todo:
            at = todo.pop()
            found = self.table.task(Key("Task", namespace, at))
            if at in graph or found is None:
                continue
            graph[at] = tuple(ref.name for ref in found.spec.after)
            todo += graph[at]
        return graph

    # --- the VM ----------------------------------------------------------------------------------------------------------------------

    async def observe_vm(self, item: LieutenantItem) -> Vm | Absent | Unknown:
        slot = item.record.slot
        if slot.vm_id:
            return await self.fleet.look(slot.vm_id, lambda vm: self._claimed(vm, item), self.settings.resync_seconds * 1.5)
        try:
            await self.fleet.list_since(self.clock.now() - self.settings.resync_seconds * 3)
        except ReconcilerError as error:
            return Unknown(str(error))
        return Absent(proven=True)

    def _claimed(self, vm: Vm, item: LieutenantItem) -> bool:
        return claims.claimed_for(vm, self.owner, item.uid, item.record.slot.epoch)

    async def slot(
        self,
        item: LieutenantItem,
        observed: Vm | Absent | Unknown,
        agent: Agent | Unknown | None,
        transcript: Transcript,
        tasks: list[TaskItem],
        now: float,
    ) -> Slot:
        spec, record = item.spec, item.record.slot
        seen: VmObservation = observed if not isinstance(observed, Vm) else self.seen(observed, item)
        want = want_of(item)
        sent = any(t.record.phase in ("Delivering", "Verifying") for t in tasks)
        busy: bool | None = sent
        if isinstance(agent, Agent):
            busy = sent or (isinstance(agent.process, Up) and (agent.process.busy or not agent.process.responsive))
        elif isinstance(agent, Unknown):
            busy = None
        if want is Want.GONE:
            busy = any(t.record.sent for t in tasks)
        asked = item.record.suspend_asked_at
        overdue = (
            want is Want.SUSPENDED and spec.suspend.on_busy is OnBusy.ABORT and asked > 0 and now >= asked + spec.suspend.grace_seconds
        )
        blocked, until = self.blocked(item, now)
        known = max(transcript.told(place_of(item).id), item.record.session.seen)
        goodbye = goodbye_of(spec.deletion_policy, spec.management_policy, item.record.let_go)
        return Slot(
            want=want,
            record=record,
            vm=seen,
            intent=await self.open_intent(item, seen, now),
            account=self.account,
            protected=item.obj.annotations.get(PROTECTION) == "enabled",
            goodbye=goodbye,
            no_delete=spec.management_policy is ManagementPolicy.NO_DELETE,
            observe_only=spec.management_policy is ManagementPolicy.OBSERVE_ONLY,
            adopt=await adoption(self, item),
            snapshot=await snapshot(self, item, now) if want is Want.GONE and goodbye is Goodbye.SNAPSHOT else None,
            busy=busy,
            mirrored=not isinstance(agent, Agent) or (agent.session_size <= transcript.seen and transcript.parted is None),
            loss=loss_of(spec.session.on_lost, item.record.session, transcript.size, known),
            lost=item.record.session.lost,
            blocked=blocked,
            blocked_until=until,
            vanished=record.vm_id in self.fleet.vanished and not record.condemned,
            suspend_overdue=overdue and busy is None,
            now=now,
        )

    def seen(self, vm: Vm, item: LieutenantItem) -> Seen:
        """One row of the platform, as decisions about this object see it."""
        return Seen(vm.state, self._claimed(vm, item), claims.other_claim(vm, self.owner))

    def blocked(self, item: LieutenantItem, now: float) -> tuple[str, float]:
        """Why this slot may not create now, and until when."""
        if item.record.slot.vm_id:
            return "", 0.0
        if now < self.hold.until:
            return "the store is new and the platform has VMs of this fleet; waiting for late effects of an earlier life", self.hold.until
        why = self.hold.breaker.blocks(now, len(self.hold.failing_deletes))
        return why, self.hold.breaker.next_probe if why else 0.0

    def replace_blocked(self, now: float) -> str:
        """Why no machine may be given up for a new one now: the platform might have none."""
        why = self.hold.breaker.blocks(now, len(self.hold.failing_deletes))
        return f"no machine can be made for now: {why}" if why else ""

    async def open_intent(self, item: LieutenantItem, seen: VmObservation, now: float) -> OpenIntent | None:
        """What became of the create whose answer never came."""
        if item.record.slot.vm_id:
            self.journal.settled(item.uid)
        intent = self.journal.of(item.uid)
        if intent is None:
            return None
        settled_at = intent.sent_at + self.settings.settle_seconds
        since = settled_at if now >= settled_at else max(intent.sent_at, now - self.settings.moving_seconds)
        try:
            fresh = await self.fleet.list_since(since)
        except ReconcilerError:
            return OpenIntent(intent.token, settled=False, candidates=None)
        owned = frozenset(self.table.owned())
        pending = self.journal.pending()
        unknown = claims.strangers([p for p in pending if p.commit], fresh.vms, owned, self.fleet.first_seen, self.account)
        if any(p.commit for p in pending):
            await self.fleet.read_lineage([vm.vm_id for vm in unknown])
        pairs = claims.pair(pending, fresh.vms, owned, self.fleet.first_seen, self.fleet.lineage, self.account)
        return OpenIntent(intent.token, settled=fresh.begun >= settled_at, candidates=pairs.get(intent.token, ()))

    async def edited(
        self, item: LieutenantItem, rendered: Rendered | Unresolved, guest: Guest | Unknown | None, agent: Agent | Unknown | None
    ) -> tuple[str, ...]:
        """Files for pi that were written and are not on the disk as they were written; asked as seldom as a machine is looked into.
        A keeper of another version can't be asked."""
        if not isinstance(rendered, Rendered) or not isinstance(guest, Guest) or not isinstance(agent, Agent):
            return ()
        if agent.keeper_version != self.keeper_version or guest.marks.get("agent") != rendered.agent_hash:
            return ()
        place, epoch = place_of(item), item.record.slot.epoch
        known = self._edited.get(place.id)
        if known is not None and known[0] == rendered.agent_hash:
            return known[1]
        ask = partial(self.agents.digests, place, epoch, [file.path for file in rendered.agent_files], rendered.work_dir)
        try:
            found = await self.effects.call("keeper.digests", ask)
        except (GuestUnreachable, GuestFailed, StaleEpoch):
            return ()
        contents = {file.path: bytes_of(item.key, file, self.secrets) for file in rendered.agent_files}
        edited = tuple(path for path, content in contents.items() if content is not None and found.get(path) != sha256(content))
        self._edited[place.id] = rendered.agent_hash, edited
        return edited

    # --- inside ----------------------------------------------------------------------------------------------------------------------

    def usable(self, item: LieutenantItem, observed: Vm | Absent | Unknown, place: Place) -> bool:
        """There is something to look into, and we may."""
        if place.local:
            return self.here(item) and (self.settings.hosting is Hosting.ALLOWED or item.deleting)
        if not isinstance(observed, Vm) or observed.state is not VmState.RUNNING or item.record.slot.condemned:
            return False
        return self._claimed(observed, item)

    async def look_inside(
        self, item: LieutenantItem, observed: Vm | Absent | Unknown, transcript: Transcript | None, place: Place
    ) -> tuple[Guest | Unknown | None, Agent | Unknown | None]:
        """Guest and agent of a running, claimed machine, or of this host; what can't be read is Unknown. Without a transcript
        nothing is mirrored from there."""
        slot = item.record.slot
        if not self.usable(item, observed, place):
            self.look_again(place.id)
            self.ends.forget(place)
            return None, None
        cached = self._guests.get(place.id)
        fresh = self.clock.now() < self._looked.get(place.id, 0.0) + LOOK_EVERY
        if cached is not None and cached.keeper_alive and fresh:
            agent = await self.ask_keeper(item, place, transcript)
            if not isinstance(agent, Unknown):
                return cached, agent
        try:
            guest = await self.effects.call("guest.inspect", lambda: self.agents.inspect(place))
        except (GuestUnreachable, GuestFailed) as error:
            self.look_again(place.id)
            return Unknown(str(error)), Unknown(str(error))
        self._guests[place.id] = guest
        self._edited.pop(place.id, None)
        self._looked[place.id] = self.clock.now()
        expected = claims.claim_file(self.owner, item.key, item.uid, slot.epoch, place.id)
        if not guest.keeper_alive or dict(guest.claim or {}) != expected:
            return guest, None
        return guest, await self.ask_keeper(item, place, transcript)

    async def look_beyond(self, item: LieutenantItem, observed: Vm | Absent | Unknown, transcript: Transcript) -> Beyond | None:
        """The inside of the slot's VM, while the agent lives on this host."""
        slot = item.record.slot
        if item.record.local.state != "Home" or not slot.vm_id:
            return None
        guest, agent = await self.look_inside(item, observed, None, Place(slot.vm_id))
        return Beyond(claims.claim_file(self.owner, item.key, item.uid, slot.epoch, slot.vm_id), guest, agent)

    async def ask_keeper(self, item: LieutenantItem, place: Place, transcript: Transcript | None) -> Agent | Unknown:
        """pi's state and then the conversation to its end, mirrored as it is read (without a transcript: pi's state only)."""
        epoch, session, tree = item.record.slot.epoch, session_of(item), self.tree_at(place)
        session = SessionName(session.name, in_tree(tree, session.file))
        try:
            if transcript is None:
                look = await self.effects.call("keeper.observe", partial(self.agents.observe, place, epoch, session.file, NOTHING_OF_IT))
                return redact_agent(look.agent, self.secrets)
            tail = b""  # of a line that is not finished: only whole lines are mirrored
            while True:
                at = transcript.size + shift_of(transcript.header, tree) + len(tail)
                look = await self.effects.call("keeper.observe", partial(self.agents.observe, place, epoch, session.file, at))
                header = transcript.header or header_from(first_line(look.chunk), tree)
                size = max(0, look.agent.session_size - shift_of(header, tree))
                agent = redact_agent(replace(look.agent, session_size=size), self.secrets)
                transcript.report(place.id, size)
                transcript.parted = await self.ends.compare(place, epoch, session, size, transcript, tree)
                if transcript.parted is not None:
                    return agent
                whole, newline, tail = (tail + look.chunk).rpartition(b"\n")
                if newline:
                    begin = whole + newline if transcript.size else header_from(whole + newline, tree)
                    await self.transcripts.append(transcript, seal(begin, self.secrets))
                transcript.seen = transcript.size + len(tail)
                if size <= transcript.seen:
                    transcript.reported = transcript.size
                if size <= transcript.seen or not look.chunk:
                    return agent
        except (GuestUnreachable, GuestFailed, StaleEpoch) as error:
            return Unknown(str(error))

    async def verdicts(
        self, item: LieutenantItem, tasks: list[TaskItem], agent: Agent | Unknown | None, talk: Talk | None
    ) -> dict[Key, Verdict]:
        """What became of the command sent last, for tasks that are being delivered and not seen yet."""
        found: dict[Key, Verdict] = {}
        if talk is None or not isinstance(agent, Agent):
            return found
        place, epoch = place_of(item), item.record.slot.epoch
        for task in tasks:
            if task.record.phase != "Delivering" or landed_at(talk, task.record.marker, task.record.baseline):
                continue
            ask = partial(self.agents.verdict, place, epoch, command_key(task))
            try:
                found[task.key] = await self.effects.call("keeper.verdict", ask)
            except (GuestUnreachable, GuestFailed, StaleEpoch):
                return found
        return found


def place_of(item: LieutenantItem) -> Place:
    """Where its agent lives now: on its slot's VM, or in a directory of its own on this host."""
    return Place(local=item.uid) if item.record.local.state == "Home" else Place(item.record.slot.vm_id)


def place_at(item: LieutenantItem, view: LieutenantView) -> Place:
    """The machine that this view is of: where the agent lives, or the VM that it will move to."""
    return Place(local=item.uid) if view.record.local.state == "Home" else Place(item.record.slot.vm_id)


def want_of(item: LieutenantItem) -> Want:
    if item.deleting:
        return Want.GONE
    return Want.SUSPENDED if item.spec.mode is Mode.SUSPENDED else Want.RUNNING


def command_key(task: TaskItem) -> str:
    """The durable key of the last prompt sent for this attempt; forwarded to pi at most once, ever."""
    return f"{task.uid}:{task.record.attempt}:{task.record.sends}"


def talk_of(agent: Agent | Unknown | None, transcript: Transcript) -> Talk | None:
    """The conversation, when it was read to its end just now."""
    if not isinstance(agent, Agent) or agent.session_size != transcript.seen or transcript.parted is not None:
        return None
    if isinstance(agent.process, Up):
        settled = agent.process.responsive and not agent.process.busy
        return Talk(transcript.messages, transcript.size, settled, True, agent.process.started_at, agent.process.activity)
    return Talk(transcript.messages, transcript.size, False, False)
