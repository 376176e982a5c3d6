"""Turns a key into one snapshot: all reading happens here, all deciding in the core."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.annotations import RETRY
from reconciler.api.lieutenant import OnNoRoom, OnProfileChange, OutageFallback, PlacementType
from reconciler.core.conditions import stalled_for
from reconciler.core.keys import Key
from reconciler.core.keys import task as task_key
from reconciler.core.lieutenant.goeson import slot_is_as_before
from reconciler.core.lieutenant.preparation import outdated
from reconciler.core.lieutenant.reminder import compacted_of
from reconciler.core.lieutenant.session import turns_of
from reconciler.core.lieutenant.workspace import untold
from reconciler.core.profile.localize import not_applied, shift_of
from reconciler.core.profile.rendering import profile_chain
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.item import SlotUse
from reconciler.core.snapshot.agent import Agent, Verdict
from reconciler.core.snapshot.lieutenant import LieutenantView, whereabouts
from reconciler.core.snapshot.local import LocalPlacement
from reconciler.core.snapshot.machine import CommitSource, VmSource
from reconciler.core.snapshot.memory import Memory
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.replacement import NextMachine
from reconciler.core.snapshot.requests import AnnotationRequests
from reconciler.core.snapshot.slot import DesiredState, Held, Slot
from reconciler.core.snapshot.stages import Basics
from reconciler.core.snapshot.task import Dependency
from reconciler.core.snapshot.vm import Absent, Unknown, Vm, VmState
from reconciler.core.snapshot.workset import GoesOn, TaskFacts, WorkSet
from reconciler.core.task.queue import cycle_through
from reconciler.core.values import replaced
from reconciler.engine.credentials import Credentials
from reconciler.engine.observe.branches import Branches
from reconciler.engine.observe.budgets import Budgets
from reconciler.engine.observe.comparison import SessionComparison
from reconciler.engine.observe.content import content_of, name_of, unread
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.observe.machines import Inside, Machines
from reconciler.engine.observe.profiles import Profiles
from reconciler.engine.observe.providers import Providers
from reconciler.engine.observe.remembering import remembered
from reconciler.engine.observe.resting import idle_of
from reconciler.engine.observe.slots import Slots
from reconciler.engine.observe.spare import Spares
from reconciler.engine.observe.use import use_of
from reconciler.engine.observe.warm import Warm
from reconciler.engine.places import here, place_of, tree_at
from reconciler.engine.ports import AgentReader, Clock, Place
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.journal import Journal
from reconciler.engine.state.memories import Memories
from reconciler.engine.state.objects import LieutenantItem, ObjectTable, TaskItem
from reconciler.engine.state.slots import LieutenantSlot, NextSlot, at_next
from reconciler.engine.state.transcripts import Transcripts
from reconciler.errors import ReconcilerError


@dataclass(frozen=True, slots=True)
class Gatherer:
    """Reads the world for one object at a time: its `profiles`, its VM (`slots`), and what is inside (`machines`)."""

    settings: EngineSettings
    table: ObjectTable
    transcripts: Transcripts
    secrets: Credentials
    clock: Clock
    owner: Owner
    keeper_version: str
    profiles: Profiles
    providers: Providers
    slots: Slots
    branches: Branches
    machines: Machines
    spares: Spares
    warm: Warm
    budgets: Budgets
    memories: Memories

    @classmethod
    def over(
        cls,
        settings: EngineSettings,
        table: ObjectTable,
        fleet: Fleet,
        journal: Journal,
        transcripts: Transcripts,
        agents: AgentReader,
        secrets: Credentials,
        clock: Clock,
        keeper_version: str,
        memories: Memories,
    ) -> Gatherer:
        """Of the platform as `fleet` has it and of the machines behind `agents`."""
        owner = Owner(settings.fleet, settings.installation)
        comparison = SessionComparison(agents, transcripts)
        slots = Slots(settings, table, fleet, journal, clock, owner)
        return cls(
            settings=settings,
            table=table,
            transcripts=transcripts,
            secrets=secrets,
            clock=clock,
            owner=owner,
            keeper_version=keeper_version,
            profiles=Profiles(settings, table, secrets),
            providers=Providers(table),
            slots=slots,
            spares=Spares(slots, journal, agents, clock, owner),
            warm=Warm(table, fleet, slots, owner),
            branches=Branches(table, journal, slots, settings.settle_seconds),
            budgets=Budgets(settings, table, slots.trees),
            memories=memories,
            machines=Machines(settings, transcripts, agents, comparison, secrets, clock, owner, keeper_version),
        )

    async def work_set(self, key: Key) -> WorkSet:
        """The lieutenant and all its tasks, as they are now."""
        item = self.table.lieutenant(key)
        tasks = self.table.tasks_of(key)
        if item is None:
            return WorkSet(key, self.clock.now(), tuple(self.facts(t, None) for t in tasks))
        rendered = self.profiles.rendered(key, item.spec)
        slot = LieutenantSlot(item)
        observed = await self.slots.observe_vm(slot)
        place, local = place_of(item), self.local(item, rendered)
        here = (
            rendered if isinstance(rendered, Unresolved) or not (local.declared or place.local) else self.profiles.localized(item, rendered)
        )
        inside = await self.machines.read(item, tasks, here, observed)
        standby = await self.machines.observe_standby(item, observed, inside.transcript)
        other = await self.next_machine(item, rendered)
        original, copies = await self.branches.original(item, self.clock.now()), self.branches.copies(item, self.clock.now())
        anew = isinstance(rendered, Rendered) and original is None and may_be_made_anew(item, observed)
        source = made_from(item, rendered) if isinstance(rendered, Rendered) and anew else None
        now = self.clock.now()
        use = use_of(item, inside.agent, inside.transcript, tasks, now)
        seen = await self.slots.slot(slot, observed, use, source, now, original, copies.calling)
        if source is not None and isinstance(here, Rendered) and not place.local and not local.declared:
            seen = replaced(seen, warm=self.warm.offer(item, here, now))
        spare, health = await self.spares.observe(item, now), item.spec.health
        basics = Basics(
            name=key.name,
            record=item.record,
            rendered=here,
            keeper_version=self.keeper_version,
            pi_version=self.settings.pi_version,
            vm_id=whereabouts(item.record, seen, local),
            health_period=float(health.period_seconds) if self.settings.health_probes else 0.0,
        )
        view = LieutenantView(
            lt=basics,
            slot=seen,
            local=local,
            standby=standby,
            next=other,
            claim={},
            requests=self.requests(item, here, place, now),
            unsupported=self.profiles.unsupported(key, item.obj.spec)[0],
            unread=self.profiles.unread(key, here),
            spare=spare,
            copies=copies,
            recreate=item.spec.update.on_profile_change is OnProfileChange.RECREATE,
            in_place=item.spec.update.on_no_room is OnNoRoom.IN_PLACE,
            replace_blocked=self.slots.replace_blocked(now),
            no_room=self.slots.no_room(now),
            session_generation=item.spec.session.generation,
            on_lost=item.spec.session.on_lost,
            on_workspace_lost=item.spec.session.on_workspace_lost,
            mute_limit=float(health.period_seconds * health.failure_threshold),
            startup_limit=float(health.startup_timeout_seconds),
            memory=await remembered(self.memories, item),
        )
        observed_at = WorkSet(key, now, (), view, item.spec, None, item.obj.deleted_at, now, prices=self.settings.prices)
        return self.with_inside(observed_at, view, item, tasks, inside, now, seen, view.memory)

    async def inside_again(self, before: WorkSet, item: LieutenantItem, observed: Vm, goes_on: bool = False) -> WorkSet | None:
        """The same once an act has changed its machine and nothing else: that is looked into afresh, the rest stays what it was. None where
        more than one machine takes part, or where another one may be needed. `goes_on`: it was an act inside the machine, before which the
        slot had no opinion."""
        lt, record, slot = before.lieutenant, item.record, LieutenantSlot(item)
        if lt is None or may_be_made_anew(item, observed) or lt.local.declared or not alone(lt) or record.rest is not lt.record.rest:
            return None
        tasks = self.table.tasks_of(item.key)
        inside, now = await self.machines.read(item, tasks, lt.rendered, observed), self.clock.now()
        use = use_of(item, inside.agent, inside.transcript, tasks, now)
        seen = replaced(
            lt.slot,
            record=record.slot,
            vm=self.slots.seen(observed, slot),
            now=now,
            busy=use.busy,
            mirrored=use.mirrored,
            loss=use.loss,
            lost=use.lost,
            quiet=use.quiet,
            suspend_overdue=use.suspend_overdue,
            vanished=self.slots.vanished(record.slot),
        )
        memory = await remembered(self.memories, item)
        then = self.with_inside(before, lt, item, tasks, inside, now, seen, memory)
        if goes_on and then.lieutenant is not None and slot_is_as_before(lt, then.lieutenant):
            return replaced(then, goes_on=GoesOn.INSIDE)
        return then

    def with_inside(
        self,
        work: WorkSet,
        view: LieutenantView,
        item: LieutenantItem,
        tasks: list[TaskItem],
        inside: Inside,
        now: float,
        slot: Slot,
        memory: Memory | None,
    ) -> WorkSet:
        """The snapshot with what was read on its machine, of the slot that it is in and of its memory, and all that follows from that."""
        agent, transcript, place = inside.agent, inside.transcript, place_of(item)
        facts = tuple(self.facts(task, inside.verdicts.get(task.key)) for task in tasks)
        engaged = bool(view.copies.wanted or item.record.stand.vm_id or item.record.replacement.state or item.record.restoring)
        idle = idle_of(item, agent, facts, engaged, now, self.slots.trees.awaited_by(item.key))
        made, fallback, due = self.providers.in_use(item, view.rendered, agent, idle, now)
        sent = any(task.record.sent for task in tasks)
        basics = replaced(
            view.lt,
            record=item.record,
            rendered=made,
            vm_id=whereabouts(item.record, slot, view.local),
            guest=inside.guest,
            agent=agent,
            active_task=sent,
            now=now,
        )
        view = replaced(
            view,
            lt=basics,
            slot=slot,
            memory=memory,
            claim=claims.claim_file(self.owner, item.slot_owner, item.record.slot.epoch, place.id),
            pools=self.budgets.pools(item, now),
            idle=idle,
            provider=self.providers.of(item, made, agent, tasks, due),
            fallback=fallback,
            rollout=self.slots.trees.rollout(item.key) if view.recreate and outdated(basics) else "",
            mirror_size=transcript.size,
            session_seen=transcript.told(place.id),
            pending=transcript.unsaved,
            divergence=transcript.divergence if isinstance(agent, Agent) else None,
            turns=turns_of(transcript.messages) if item.record.session.rewind else (),
            edited=inside.edited,
            workspace_untold=bool(untold(item.record.workspace, transcript.messages)),
            compacted=compacted_of(transcript.compactions, transcript.compaction, transcript.messages),
            mute_since=self.machines.mute_since(place.id, agent, now),
        )
        no_work = self.no_work(item, now) if tasks else None
        went_on_at = self.slots.trees.went_on_at
        return replaced(
            work,
            now=now,
            tasks=facts,
            lieutenant=view,
            talk=inside.talk,
            no_work=no_work,
            went_on_at=went_on_at,
            goes_on=GoesOn.NO,
        )

    def no_work(self, item: LieutenantItem, now: float) -> Held | None:
        """Why no task may be sent to this agent now, when it has none: a limit, a budget, or the fleet is halted."""
        return self.slots.trees.no_work(item.key) or self.budgets.no_work(item, now)

    async def next_machine(self, item: LieutenantItem, rendered: Rendered | Unresolved) -> NextMachine | None:
        """The other machine, while the one in the slot is replaced. It is looked into while it is prepared."""
        if not item.record.replacement.state:
            return None
        slot, there = NextSlot(item), at_next(item)
        observed = await self.slots.observe_vm(slot)
        guest, agent = None, None
        if item.record.replacement.state == "Making" and item.record.next.vm_id:
            guest, agent = await self.machines.observe_agent(there, observed, None, Place(item.record.next.vm_id))
        source = rendered.source if isinstance(rendered, Rendered) and not item.record.next.vm_id else None
        seen = await self.slots.slot(slot, observed, SlotUse(), source, self.clock.now())
        claim = claims.claim_file(self.owner, there.slot_owner, item.record.next.epoch, item.record.next.vm_id)
        return NextMachine(seen, claim, guest, agent)

    def requests(self, item: LieutenantItem, rendered: Rendered | Unresolved, place: Place, now: float) -> AnnotationRequests:
        """What people ask of it by annotations, and what the answer depends on."""
        return AnnotationRequests(
            annotations=item.obj.annotations,
            generation=item.obj.generation,
            suspended=bool(place.id) and LieutenantSlot(item).declared.desired is DesiredState.SUSPENDED,
            deleting=item.deleting,
            question=stalled_for(item.obj.status),
            now=now,
            basis=rendered.basis if isinstance(rendered, Rendered) else "",
            machine=rendered.machine_hash if isinstance(rendered, Rendered) else "",
        )

    def local(self, item: LieutenantItem, machine: Rendered | Unresolved) -> LocalPlacement:
        """What concerns an agent on this host."""
        declared = item.spec.placement.type is PlacementType.LOCAL
        fallback = item.spec.placement.outage_fallback is OutageFallback.LOCAL
        parts: tuple[str, ...] = ()
        if item.record.local.state == "Home" and isinstance(machine, Rendered):
            chain = profile_chain(item.spec.profile_ref.name, lambda name: self.profiles.profile(item.key.namespace, name))
            parts = () if isinstance(chain, Unresolved) else not_applied(machine, chain)
        return LocalPlacement(
            declared=declared,
            fallback=fallback,
            hosting=self.settings.hosting,
            here=here(self.settings, item),
            place=Place(local=item.uid).id,
            outage=self.slots.hold.breaker.reason,
            not_applied=parts,
            machine=None if declared else machine,
        )

    async def file_length(self, name: str, place: Place) -> int:
        """Bytes of a session file at a place that has all that is mirrored."""
        transcript = await self.transcripts.get(name)
        return transcript.size + shift_of(transcript.header, tree_at(self.settings, place))

    def facts(self, task: TaskItem, verdict: Verdict | None) -> TaskFacts:
        after = tuple(ref.name for ref in task.spec.after)
        known = {name: self.table.task(task_key(task.key.namespace, name)) for name in after}
        phases = tuple(
            Dependency(name, found.record.phase if found else self.remembered(task_key(task.key.namespace, name)))
            for name, found in known.items()
        )
        cycle: tuple[str, ...] = ()
        if after and not task.record.finished:
            cycle = cycle_through(task.key.name, self._after(task.key.namespace, task.key.name))
        protects = () if task.record.finished else self.profiles.unsupported(task.key, task.obj.spec)[0]
        return TaskFacts(
            key=task.key,
            spec=task.spec,
            record=task.record,
            created_at=task.obj.created_at,
            deleting=task.deleting,
            dependencies=phases,
            cycle=cycle,
            unsupported=protects,
            verdict=verdict,
            content_missing=self.missing(task),
            retry=task.obj.annotations.get(RETRY, ""),
        )

    def remembered(self, key: Key) -> str:
        """How a task that was removed had ended; '' when there was none."""
        stone = self.table.tombstones.get(key)
        return stone.phase if stone is not None else ""

    def missing(self, task: TaskItem) -> str:
        """What a task that waits is to be told and is not there, or may not be read any more, in words; '' when all is there."""
        source = task.spec.content_from
        if source is None or task.record.phase != "Pending":
            return ""
        try:
            if (lost := unread(source, task.key.namespace, self.secrets)) != "":
                return lost
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
            found = self.table.task(task_key(namespace, at))
            if at in graph or found is None:
                continue
            graph[at] = tuple(ref.name for ref in found.spec.after)
            todo += graph[at]
        return graph


def may_be_made_anew(item: LieutenantItem, observed: Vm | Absent | Unknown) -> bool:
    """Whether its slot may come to need another machine soon: it has none, a dead one, or one that a changed profile replaces."""
    dead = not isinstance(observed, Vm) or observed.state is VmState.DEAD
    return not item.record.slot.vm_id or dead or item.spec.update.on_profile_change is OnProfileChange.RECREATE


def alone(lt: LieutenantView) -> bool:
    """Its agent is on the machine in its slot, and no other machine takes part."""
    record = lt.record
    return not (record.local.state or record.replacement.state or record.slot.branch.vm_id) and lt.slot.original is None


def made_from(item: LieutenantItem, rendered: Rendered) -> VmSource:
    """What its next machine is made from: the newest snapshot of one that was lost, else what its profile says."""
    return CommitSource(item.record.slot.restore) if item.record.slot.restore else rendered.source
