"""Carries out in the guests what happened on the platform, in order for each VM and each commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from reconciler.vers.simulator.guests import GuestError, Guests
from reconciler.vers.simulator.records import (
    Caller,
    DropConnections,
    Effect,
    FreezeGuest,
    KillGuest,
    RemoveGuest,
    RemoveSnapshot,
    SnapshotGuest,
    StartGuest,
    ThawGuest,
)
from reconciler.vers.simulator.world import World

log = logging.getLogger(__name__)


class Connections(Protocol):
    """Those who hold connections into VMs."""

    def freeze(self, vm_id: str) -> None: ...

    def thaw(self, vm_id: str) -> None: ...

    def drop(self, vm_id: str) -> None:
        """'' drops all."""
        ...


class Machines:
    """`failures` counts what guests could not do: a VM whose guest does not start is dead, and the log says why."""

    def __init__(self, world: World, guests: Guests, connections: Connections, forget: Callable[[str], None]) -> None:
        self._world = world
        self._guests = guests
        self._connections = connections
        self._forget = forget
        self._locks: dict[str, asyncio.Lock] = {}
        self._later: set[asyncio.Task[None]] = set()
        self.failures = 0

    def take(self) -> list[Effect]:
        """The effects of what was just done, those that need no guest already carried out."""
        effects = self._world.take_effects()
        if self._guests.runs_processes or not effects:
            self._world.starting += sum(isinstance(effect, StartGuest) for effect in effects)
            return effects
        for effect in effects:
            if isinstance(effect, DropConnections):
                self._connections.drop(effect.vm_id)
        return []

    async def apply(self, effects: Iterable[Effect]) -> None:
        """Returns when all of them have happened; deletions to come are left to the background."""
        for effect in effects:
            if isinstance(effect, RemoveGuest) and effect.at > self._world.clock():
                task = asyncio.create_task(self._remove_later(effect))
                self._later.add(task)
                task.add_done_callback(self._later.discard)
            else:
                await self._one(effect)

    async def _remove_later(self, effect: RemoveGuest) -> None:
        await asyncio.sleep(max(0.0, effect.at - self._world.clock()))
        await self._one(effect)

    async def _one(self, effect: Effect) -> None:
        try:
            await self._carefully(effect)
        finally:
            if isinstance(effect, StartGuest):
                self._world.starting -= 1

    async def _carefully(self, effect: Effect) -> None:
        try:
            async with self._turn(effect):
                await self._carry_out(effect)
        except GuestError as exc:
            self.failures += 1
            log.warning("%s failed: %s", type(effect).__name__, exc)
            subject = effect.commit if isinstance(effect, RemoveSnapshot) else effect.vm_id
            self._world.changed(Caller("platform"), "guest_failed", subject, f"{type(effect).__name__}: {exc}")
            if isinstance(effect, StartGuest) and (vm := self._world.vms.get(effect.vm_id)) is not None:
                vm.phase = "dead"
                self._world.touch("vm", vm.id)

    @asynccontextmanager
    async def _turn(self, effect: Effect) -> AsyncIterator[None]:
        match effect:
            case StartGuest(vm_id=vm_id, commit=commit) | SnapshotGuest(vm_id=vm_id, commit=commit):
                names = {vm_id, commit} - {None}
            case RemoveSnapshot(commit=commit):
                names = {commit}
            case DropConnections():
                names = set()
            case _:
                names = {effect.vm_id}
        async with AsyncExitStack() as stack:
            for name in sorted(n for n in names if n is not None):
                await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
            yield

    async def _carry_out(self, effect: Effect) -> None:
        guests = self._guests
        match effect:
            case StartGuest():
                await guests.start(effect.vm_id, effect.commit, effect.kit, effect.clock_offset, effect.environment)
            case SnapshotGuest():
                await guests.snapshot(effect.vm_id, effect.commit, effect.frozen)
            case FreezeGuest(vm_id):
                self._connections.freeze(vm_id)
                await guests.freeze(vm_id)
            case ThawGuest(vm_id, restart):
                await guests.thaw(vm_id, restart)
                if restart:
                    self._connections.drop(vm_id)
                self._connections.thaw(vm_id)
            case KillGuest(vm_id):
                self._connections.drop(vm_id)
                await guests.kill(vm_id)
            case RemoveGuest(vm_id):
                self._connections.drop(vm_id)
                self._connections.thaw(vm_id)
                await guests.remove(vm_id)
                self._forget(vm_id)
                self._locks.pop(vm_id, None)
            case RemoveSnapshot(commit):
                await guests.forget(commit)
            case DropConnections(vm_id):
                self._connections.drop(vm_id)

    async def reboot(self) -> None:
        """After a restart of the simulator: everything that was there runs again; what was suspended stays so."""
        now = self._world.clock()
        if not self._guests.runs_processes:
            return
        for vm in list(self._world.present.values()):
            if vm.owner != self._world.account.key_id or vm.phase == "dead":
                continue
            if vm.deleted_at is not None:
                await self.apply([RemoveGuest(vm.id, max(now, vm.deleted_at))])
                continue
            try:
                await self._guests.again(vm.id)
                if vm.suspended:
                    await self._guests.freeze(vm.id)
                    self._connections.freeze(vm.id)
            except GuestError as exc:
                self.failures += 1
                log.warning("VM %s did not come back: %s", vm.id, exc)
                vm.phase = "dead"
                self._world.touch("vm", vm.id)

    async def stop(self) -> None:
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self._guests.stop()
