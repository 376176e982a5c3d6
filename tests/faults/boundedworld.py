"""A world that counts at every instant: how many machines there are, how many of them boot, how many agents are in a turn. It believes
what happens in it, nothing that the controller says of itself."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.snapshot.vm import VmState
from tests.world import ACCOUNT, Machine, Pi, World


class BoundedWorld(World):
    """`most`, `most_booting`, `most_working`: what the limits are now; None: there is none."""

    def __init__(self, most: int, most_booting: int | None = None, most_working: int | None = None) -> None:
        super().__init__()
        self.most, self.most_booting, self.most_working = most, most_booting, most_working

    def make(self, labels: Mapping[str, str], parent: str | None = None, owner: str = ACCOUNT) -> Machine:
        made = super().make(labels, parent, owner)
        if owner != ACCOUNT:
            return made
        there = self.alive()
        booting = sum(1 for m in there if m.state is VmState.BOOTING and self.now() < m.running_at)
        if len(there) > self.most:
            self.violations.append(f"{made.vm_id} is VM number {len(there)} of at most {self.most}")
        if self.most_booting is not None and booting > self.most_booting:
            self.violations.append(f"{made.vm_id} is made while {booting - 1} boot; at most {self.most_booting} may")
        return made

    async def turn(self, m: Machine, pi: Pi, text: str) -> None:
        working = sum(1 for one in self.alive() if one is m or (one.pi is not None and one.pi.busy))
        if self.most_working is not None and working > self.most_working:
            self.violations.append(f"{m.vm_id} works while {working - 1} others do; at most {self.most_working} may: {text[:60]}")
        await super().turn(m, pi, text)
