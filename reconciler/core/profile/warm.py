"""Machines that a baked profile keeps ready: made of its commit ahead of need, prepared, verified and suspended; the next lieutenants of
the profile take them. Pure.

Each is one of our own, kept in the store under the profile's name and a number that is used once. A lieutenant takes only one that rests:
nothing is done to it then but what the lieutenant does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Decision, DropWarm, FindWarm, Refuse, RestWarm, StartWarm, Steady
from reconciler.core.keys import Json, Key, machine
from reconciler.core.profile.bake import WARM

HASH = "fleet.vers.sh/profile-hash"
"""Label of such a machine: what the profile was when it was made."""

LOOK_AGAIN = 30.0
"""Seconds until it is seen whether there is room again, or whether the commit is there."""


def key_of(profile: Key, serial: int) -> Key:
    """The machine of that number."""
    return machine(profile.namespace, f"{WARM}{profile.name}:{serial}")


def uid_of(profile_uid: str, serial: int) -> str:
    """Whoever makes it: a lost store is made again."""
    return f"{profile_uid}-warm-{serial}"


def serial_of(key: Key) -> int:
    """Its number; 0 for anything else."""
    number = key.name.rpartition(":")[2]
    return int(number) if key.name.startswith(WARM) and number.isdecimal() and len(number) < 16 else 0


def spec_of(profile: Key, asleep: bool) -> Json:
    """What is declared of one: it runs until it is verified."""
    return {"role": f"Kept ready for {profile.name}", "profileRef": {"name": profile.name}, "mode": "Suspended" if asleep else "Running"}


@dataclass(frozen=True, slots=True)
class Kept:
    """A machine that is kept ready, or that is to be. `hash`: of the profile that it is made for, '' where nobody knows any more;
    `ready`: it is prepared, verified, and in the state that is declared of it; `asleep`: declared to be suspended; `failed`: why it
    can't be made, in words; `going`: it is being let go of; `asked`: a machine for it was asked for."""

    key: Key
    hash: str = ""
    vm_id: str = ""
    ready: bool = False
    asleep: bool = False
    failed: str = ""
    going: bool = False
    asked: bool = False

    @property
    def rests(self) -> bool:
        """A lieutenant may take it."""
        return self.ready and self.asleep and bool(self.vm_id) and not self.going


@dataclass(frozen=True, slots=True)
class WarmView:
    """`count`: how many are declared, 0 when nothing is baked any more; `wanted`: hash of the profile as it is now, '' where that can't be
    said; `baked`: there is a commit of that; `machines`: the oldest first; `lost`: machines that claim to be such, and that the store does
    not know; `serial`: the highest number used; `cold`: why none could be made with the profile as it is, '' when that was not so;
    `full`: the limit of the fleet is reached; `awaited`: somebody else waits for room there."""

    count: int = 0
    wanted: str = ""
    baked: bool = False
    machines: Sequence[Kept] = ()
    lost: tuple[Key, ...] = ()
    serial: int = 0
    cold: str = ""
    full: bool = False
    awaited: bool = False
    now: float = 0.0

    @property
    def here(self) -> list[Kept]:
        return [one for one in self.machines if not one.going]


def find_the_lost(v: WarmView) -> Decision | None:
    """G-02: what a lost store does not know is taken up by its claim, also where it is one too many: nothing is an orphan."""
    return FindWarm(v.lost) if v.lost else None


def let_go(v: WarmView) -> Decision | None:
    """Those of an earlier profile, those that could not be made or lost their machine, those that are more than is declared; and one
    after the other while somebody waits for room that the fleet does not have."""
    for one in v.here:
        if one.failed:
            return DropWarm(one.key, one.failed, one.hash or v.wanted)
        if (v.wanted and one.hash and one.hash != v.wanted) or (one.ready and not one.vm_id):
            return DropWarm(one.key)
        if v.full and not one.vm_id and not one.asked:
            return DropWarm(one.key)  # it would stand in line before those that are declared
    too_many = len(v.here) > v.count or (v.full and v.awaited and len(v.here) == len(v.machines))
    return DropWarm(most_dispensable(v.here).key) if too_many and v.here else None


def most_dispensable(here: Sequence[Kept]) -> Kept:
    """The one that is furthest from being of use, of several the newest."""
    return min(here, key=lambda one: (one.rests, one.ready, -serial_of(one.key)))


def put_to_rest(v: WarmView) -> Decision | None:
    """A machine that runs costs money: it is suspended as soon as it is verified."""
    awake = next((one for one in v.here if one.ready and not one.asleep), None)
    return RestWarm(awake.key) if awake is not None else None


def make_another(v: WarmView) -> Decision | None:
    """G-09: one at a time, of the commit of the profile as it is now, and not with the last room of the fleet that somebody waits for."""
    if len(v.here) >= v.count:
        return None
    if v.cold:
        return Refuse(Reason.BOOT_FAILED, f"no machine is kept ready: {v.cold}")
    if any(not one.rests for one in v.here):
        return None
    if not v.baked or not v.wanted or v.full:
        return Steady(until=v.now + LOOK_AGAIN)
    return StartWarm(v.serial + 1, v.wanted)
