"""A world that keeps a ledger of one tree's machines: how many there are, how many are being made, and whether what stands above and
below each of them was as it had to be when it came, woke, slept or went. It believes labels of birth and what happens in it, nothing
that the controller says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from reconciler.core.keys import Key
from reconciler.core.lieutenant.preparation import PREPARED
from reconciler.core.slot.claims import NAME
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.state.declared import Declared
from tests.faults.boundedworld import BoundedWorld
from tests.faults.harness import Run
from tests.faults.play import declared
from tests.world import ACCOUNT, Machine

TREE = Key("VMTree", "default", "prod")
LATENCY = 0.015
"""Seconds: a little less than what a call to the platform takes here."""
AWAKE = (VmState.BOOTING, VmState.RUNNING)


class Entered(Machine):
    """A machine whose changes are entered in the ledger before they show."""

    def __setattr__(self, name: str, value: object) -> None:
        world = self.__dict__.get("world")
        if isinstance(world, TreeWorld):
            world.enter(self, name, value)
        super().__setattr__(name, value)


class TreeWorld(BoundedWorld):
    """`above`: of each place those of the node above it, as the story declares them now; `most`, `most_booting`: what its limits are;
    `since`: when each machine woke, fell asleep or went. What a call does had to be right when it was sent."""

    def __init__(self, above: Mapping[str, tuple[str, ...]], most: int, most_booting: int, boot_seconds: float = 2.0) -> None:
        super().__init__(most, most_booting)
        self.above, self.boot_seconds = above, boot_seconds
        self.places: dict[str, str] = {}
        self.since: dict[str, float] = {}

    def make(self, labels: Mapping[str, str], parent: str | None = None, owner: str = ACCOUNT) -> Machine:
        made = super().make(labels, parent, owner)
        if owner != ACCOUNT:
            return made
        place = labels.get(NAME, "")[len(TREE.name) + 1 :]
        if not place:
            self.violations.append(f"VM {made.vm_id} carries no place of the tree: {dict(labels)}")
        self.places[made.vm_id] = place
        if sum(self.places[m.vm_id] == place for m in self.alive()) > 1:
            self.violations.append(f"{place} has two VMs")
        self._comes_up(place)
        made.__class__ = Entered
        made.__dict__["world"] = self
        return made

    def enter(self, machine: Machine, name: str, value: object) -> None:
        if name not in ("state", "deleted") or getattr(machine, name) == value:
            return
        if asyncio.current_task() not in self.posthumous:  # what a dead controller had sent is not the order of the one that lives
            self._judge(machine, name, value)
        self.since[machine.vm_id] = self.now()

    def _judge(self, machine: Machine, name: str, value: object) -> None:
        place = self.places[machine.vm_id]
        if name == "deleted":
            self._goes_down(place, "deleted", [m for m in self._there(place) if not m.deleted or self._just_now(m)])
        elif name == "state" and value is VmState.SUSPENDED:
            awake = [m for m in self._there(place) if not m.deleted and (m.state in AWAKE or self._just_now(m))]
            self._goes_down(place, "suspended", awake)
        elif name == "state" and value is VmState.RUNNING and machine.state is VmState.SUSPENDED:
            self._comes_up(place)

    def _there(self, place: str) -> list[Machine]:
        """All machines there ever were below a place."""
        below = set(self._under(place))
        return [m for vm_id, m in self.machines.items() if self.places.get(vm_id) in below]

    def _just_now(self, machine: Machine) -> bool:
        """It is so only since a call was sent that arrives now."""
        return self.since.get(machine.vm_id, 0.0) > self.now() - LATENCY

    def _comes_up(self, place: str) -> None:
        for name in self.above.get(place, ()):
            ready = [m for m in self.alive() if self.places[m.vm_id] == name and m.state is VmState.RUNNING and PREPARED in m.marks]
            ready = [m for m in ready if not self._just_now(m)]
            if not ready:
                self.violations.append(f"{place} came up before {name}, which stands above it, ran prepared")

    def _goes_down(self, place: str, how: str, left: list[Machine]) -> None:
        if left:
            names = sorted(self.places[m.vm_id] for m in left)
            self.violations.append(f"{place} was {how} before {names}, which stand below it")

    def _under(self, place: str) -> Iterator[str]:
        for name, above in self.above.items():
            if place in above:
                yield name
                yield from self._under(name)


def world_of(run: Run) -> TreeWorld:
    assert isinstance(run.world, TreeWorld)
    return run.world


def node(name: str, parent: str = "", category: str = "Resource", **more: object) -> dict[str, object]:
    made: dict[str, object] = {"name": name, "category": category, "profileRef": {"name": "lightweight"}, **more}
    return {**made, **({"parent": parent} if parent else {})}


def tree(*nodes: dict[str, object], **spec: object) -> Declared:
    return declared(TREE, nodes=list(nodes), **spec)


async def stands(run: Run, *places: str) -> None:
    """Until the tree says that it is as declared last, with these places."""

    def so() -> bool:
        status = run.status_of_now(TREE)
        nodes = status.get("nodes") if status is not None else None
        names = {one["name"] for one in nodes if isinstance(one, dict)} if isinstance(nodes, list) else set()
        return run.condition(TREE, "Ready") == "True" and names == set(places)

    await run.until(so, f"the tree stands, with {', '.join(places)}")


def states(run: Run) -> dict[str, str]:
    """By place, what its machine is doing."""
    world = world_of(run)
    return {world.places[m.vm_id]: m.state.value for m in world.alive()}
