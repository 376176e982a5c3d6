"""What the platform shows: one list call feeds every decision of every object (G-45), and absence is proven, never
assumed (G-03)."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from reconciler.api.reasons import Reason
from reconciler.core.backoff import pause_after
from reconciler.core.snapshot.vm import Absent, Unknown, Vm, VmList, VmMetadata, VmState
from reconciler.core.values import replaced
from reconciler.engine.ports import Clock, VersApi
from reconciler.errors import Forbidden, NotFound, ReconcilerError, Unauthorized, Unreachable

KeepSightings = Callable[[Sequence[str], float], Awaitable[None]]
"""Make it durable that these VMs were first in a list begun then."""

DATES = 3
"""Lists whose Date headers are remembered."""

BETWEEN_PROOFS = 1.0
"""Seconds from the begin of the first list that proves an absence to that of the second."""

BOOTING_AGE = 1.0
"""Seconds that a list may be old, at least, for a machine that boots: half of the time since it was made, so that whoever waits for it
waits half as long again at most, and few lists are asked for."""


@dataclass(slots=True)
class Sighting:
    """When a VM was last in a list (that list's begin), and since which list (begin) it is not."""

    seen: float
    missing: float | None = None


def unread(error: ReconcilerError) -> Unknown:
    """What can't be known because the platform did not answer, or does not accept our key."""
    return Unknown(str(error), Reason.PLATFORM_KEY_REFUSED if isinstance(error, Unauthorized) else Reason.VM_UNKNOWN)


class Fleet:
    """The newest list, as which account it was read, when each VM was last seen, and what our own calls told since. All times:
    controller clock."""

    def __init__(self, vers: VersApi, clock: Clock, settle: float, first_seen: dict[str, float], keep: KeepSightings) -> None:
        self.vers, self._clock, self._keep = vers, clock, keep
        self.settle = settle
        self.first_seen = first_seen
        self.latest: VmList | None = None
        self.account = ""
        self.failure: ReconcilerError | None = None
        self.lineage: dict[str, VmMetadata] = {}
        self._dates: deque[tuple[float, float]] = deque(maxlen=DATES)
        self.vanished: frozenset[str] = frozenset()
        self._confirmed: set[str] = set()
        self._started = clock.now()
        self._told: dict[str, tuple[float, Vm]] = {}
        self._changed: dict[str, float] = {}
        self._sightings: dict[str, Sighting] = {}
        self._shown: dict[str, Vm | None] = {}
        self._with_labels: dict[str, tuple[Vm, Vm, Vm]] = {}
        self._flight: asyncio.Task[VmList] | None = None
        self._flight_begun = 0.0
        self._next_list = 0.0
        self.on_list: list[Callable[[VmList | None, VmList], None]] = []

    # --- lists -----------------------------------------------------------------------------------------------------------------

    async def list_since(self, since: float) -> VmList:
        """A list begun at `since` or later; everybody who asks meanwhile shares one call. Raises what the platform says.

        A list begins only some time after the last one, so that lists, which are as long as the fleet, take a small share of
        the controller's time even when something changes all the time."""
        if self.latest is not None and self.latest.begun >= since:
            return self.latest
        while self._flight is not None:
            flight, begun = self._flight, self._flight_begun
            if begun >= since:
                return await asyncio.shield(flight)
            await asyncio.wait([flight])
            if self.latest is not None and self.latest.begun >= since:
                return self.latest
        self._flight_begun = math.inf  # it begins later than anybody asked so far
        self._flight = asyncio.ensure_future(self._list())
        return await asyncio.shield(self._flight)

    async def stop(self) -> None:
        """End the list that is on its way: whoever waited for it is gone, and so will be store and client."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    async def _list(self) -> VmList:
        try:
            if (pause := self._next_list - self._clock.now()) > 0:
                await self._clock.sleep(pause)
            begun = self._flight_begun = self._clock.now()
            account = self.vers.account()
            told = await self.vers.list_vms()
            if self.vers.account() != account:
                raise Unreachable("the API key was changed while the list of VMs was read")
            fresh = replaced(told, begun=begun, ended=self._clock.now())  # on our clock, whatever the client's
            await self._sighted(fresh)
        except ReconcilerError as error:
            self.failure = error
            raise
        finally:
            self._flight = None
        self.failure = None
        before, self.latest, self.account = self.latest, fresh, account
        self._next_list = fresh.ended + pause_after(fresh.work)
        if fresh.server_time is not None:
            self._dates.append((fresh.server_time - fresh.ended, fresh.server_time + 1.0 - fresh.begun))
        for vm_id in [vm_id for vm_id, (at, _) in self._told.items() if at <= fresh.begun and vm_id in fresh.vms]:
            del self._told[vm_id]
            self._with_labels.pop(vm_id, None)
        at_work = self._clock.now()
        for listener in self.on_list:
            listener(before, fresh)
        ended = self._clock.now()
        self._next_list = ended + pause_after(fresh.work + ended - at_work)
        return fresh

    async def _sighted(self, fresh: VmList) -> None:
        """Nobody gets a list before it is durable which VMs were first seen in it: a create that is sent later did not make them."""
        new = tuple(vm_id for vm_id in fresh.vms if vm_id not in self.first_seen)
        if new:
            await self._keep(new, fresh.begun)
        for vm_id in new:
            self.first_seen[vm_id] = fresh.begun

    def note_owned(self, owned: Iterable[str], marked_for_deletion: frozenset[str]) -> None:
        """Update sightings of the VMs that have an owner, and see whether too many are gone at once (G-03)."""
        if self.latest is None:
            return
        begun, vms = self.latest.begun, self.latest.vms
        missing: list[str] = []
        known = 0
        for vm_id in owned:
            sighting = self._sightings.get(vm_id)
            if sighting is None:
                sighting = self._sightings[vm_id] = Sighting(self._started)
            if vm_id in vms:
                sighting.seen, sighting.missing = max(sighting.seen, begun), None
                self._confirmed.discard(vm_id)
            elif begun >= sighting.seen + self.settle and sighting.missing is None:
                sighting.missing = begun
            if vm_id not in marked_for_deletion and vm_id not in self._confirmed:
                known += 1
                if vm_id not in vms and begun > sighting.seen:
                    missing.append(vm_id)
        many = len(missing) > max(2, known * 0.2)
        self.vanished = frozenset(missing) if many else self.vanished & frozenset(missing)

    def confirm_vanished(self) -> frozenset[str]:
        """A person confirmed that these (returned) are really gone; they stay so until they are seen again."""
        confirmed, self.vanished = self.vanished, frozenset()
        self._confirmed |= confirmed
        return confirmed

    def platform_clock(self, at: float) -> tuple[float | None, float | None]:
        """The platform's clock at a moment of ours: not before and not after, as the last lists say. One wrong Date header among them
        makes it less certain, and not wrong."""
        if not self._dates:
            return None, None
        return at + min(low for low, _ in self._dates), at + max(high for _, high in self._dates)

    # --- one VM --------------------------------------------------------------------------------------------------------------------

    def created(self, vm: Vm) -> None:
        """The platform told us of a new VM; a list may lag behind."""
        now = self._clock.now()
        self._told[vm.vm_id] = (now, vm)
        self._changed[vm.vm_id] = now
        self._sightings[vm.vm_id] = Sighting(now)
        self.first_seen.setdefault(vm.vm_id, now)

    def labelled(self, vm_id: str, labels: dict[str, str]) -> None:
        """The platform took these labels."""
        vm = self.current(vm_id)
        if vm is not None:
            self._told[vm_id] = (self._clock.now(), replaced(vm, labels={**vm.labels, **labels}))

    def changed(self, vm_id: str) -> None:
        """We changed it just now: only a list begun later counts."""
        self._changed[vm_id] = self._clock.now()

    def current(self, vm_id: str) -> Vm | None:
        """What is known of it now, from the newest list or from our own calls since."""
        told = self._told.get(vm_id)
        if told is not None:
            return told[1]
        return self.latest.vms.get(vm_id) if self.latest else None

    async def look(self, vm_id: str, claimed: Callable[[Vm], bool], max_age: float) -> Vm | Absent | Unknown:
        """What is known of this VM. A VM that we just made and that still lacks our claim needs no list, for as long as one may lag."""
        told = self._told.get(vm_id)
        if told is not None and not claimed(told[1]) and self._clock.now() < told[0] + self.settle:
            return told[1]
        try:
            fresh = await self.list_since(self._needed(vm_id, max_age))
        except ReconcilerError as error:
            return unread(error)
        vm = self._listed(vm_id, fresh)
        if vm is not None:
            return vm
        told = self._told.get(vm_id)
        if told is not None and self._clock.now() < told[0] + self.settle:
            return replaced(told[1], state=VmState.BOOTING)  # the list may lag behind its creation
        return await self._absence(vm_id, fresh)

    def _needed(self, vm_id: str, max_age: float) -> float:
        """When a list must have begun that tells what is awaited of this VM: that it runs, or that it is gone. Nobody waits for the next
        one that is due anyway."""
        now, changed = self._clock.now(), self._changed.get(vm_id, 0.0)
        since, known = max(changed, now - max_age), self.current(vm_id)
        if known is None:
            proving = self._proving(vm_id)
            return max(since, proving) if proving <= now else since
        return max(since, now - max(BOOTING_AGE, (now - changed) / 2)) if known.state is VmState.BOOTING else since

    def _proving(self, vm_id: str) -> float:
        """When the next list may begin that counts as proof of absence (`_absence`)."""
        sighting = self._sightings.get(vm_id)
        if sighting is None:
            return math.inf
        return sighting.seen + self.settle if sighting.missing is None else sighting.missing + BETWEEN_PROOFS

    def showed(self, vm_id: str, observed: Vm | Absent | Unknown) -> None:
        """Who decides about this VM has seen it so."""
        if isinstance(observed, Unknown):
            self._shown.pop(vm_id, None)
        else:
            self._shown[vm_id] = observed if isinstance(observed, Vm) else None

    def news(self, vm_id: str) -> bool:
        """Whether the newest list shows this VM otherwise than it was seen last by whoever decides about it."""
        if self.latest is None or vm_id not in self._shown:
            return True
        seen, listed = self._shown[vm_id], self._listed(vm_id, self.latest)
        if seen is None or listed is None:
            return seen is not listed
        return seen is not listed and (seen.state is not listed.state or seen.labels != listed.labels)

    def _listed(self, vm_id: str, fresh: VmList) -> Vm | None:
        """The row of this list, with the labels that the platform took since."""
        vm, told = fresh.vms.get(vm_id), self._told.get(vm_id)
        if vm is None or told is None or told[0] <= fresh.begun or vm.labels == told[1].labels:
            return vm
        known = self._with_labels.get(vm_id)
        if known is None or known[0] is not vm or known[1] is not told[1]:
            known = self._with_labels[vm_id] = vm, told[1], replaced(vm, labels=told[1].labels)
        return known[2]

    async def _absence(self, vm_id: str, fresh: VmList) -> Absent | Unknown:
        """Proof: two lists without it, the first begun a settle window after it was last seen, and its own status."""
        sighting = self._sightings.get(vm_id)
        if sighting is None or sighting.missing is None or fresh.begun <= sighting.missing:
            return Absent(proven=False)
        try:
            vm = await self.vers.get_vm(vm_id)
        except NotFound:
            return Absent(proven=True)
        except Forbidden:
            return Absent(proven=True)  # the list worked with this key, so this 403 says: no such VM (vers-api §2.0)
        except ReconcilerError as error:
            return unread(error)
        return Absent(proven=vm.state is VmState.DEAD)

    async def read_lineage(self, vm_ids: Iterable[str]) -> None:
        """Metadata of VMs nobody owns, once each; what can't be read stays unknown."""
        for vm_id in vm_ids:
            if vm_id in self.lineage:
                continue
            try:
                self.lineage[vm_id] = await self.vers.get_metadata(vm_id)
            except ReconcilerError as error:
                self.failure = self.failure or error

    def read_again(self, vm_ids: Iterable[str]) -> None:
        """What was read of their lineage is not believed for good."""
        for vm_id in list(vm_ids):
            self.lineage.pop(vm_id, None)

    def forget(self, vm_id: str) -> None:
        self._confirmed.discard(vm_id)
        for known in (self._told, self._changed, self._sightings, self._shown, self._with_labels):
            known.pop(vm_id, None)
