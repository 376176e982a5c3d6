"""Baking: the machine of a profile is made once, prepared, verified, committed and let go of; later machines begin with the commit. Pure.

The machine is one of our own, kept in the store under the profile's name. What comes from secrets is taken off it before it is
committed, and put on every machine that begins with the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.api.reasons import Reason
from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import (
    CommitBake,
    Decision,
    DropBake,
    DropBaked,
    FindBaked,
    NoteBaked,
    NoteBakeFailed,
    Refuse,
    StartBake,
    Wait,
)
from reconciler.core.keys import Json, Key, boot_profile, machine
from reconciler.core.treerecords import BakedRecord, BootProfileRecord

PREFIX = "profile:"
"""How the names of machines begin that profiles are baked on; what people declare has no such name."""

SOURCE = "bootprofile/"
"""How the source of a machine begins that a profile declares; the profile's name follows."""

WARM = "warm:"
"""The same of machines that profiles keep ready; the profile's name and a number follow."""


def machine_of(profile: Key) -> Key:
    """The machine that a profile is baked on."""
    return machine(profile.namespace, f"{PREFIX}{profile.name}")


def oven_uid(profile_uid: str, hashed: str) -> str:
    """Which one: what is left of it, once it is gone, is found by this."""
    return f"{profile_uid}-{hashed}"


def is_oven(key: Key) -> bool:
    """Whether a profile is baked on this machine: it is made without what was baked before."""
    return key.name.startswith(PREFIX)


def profile_of(key: Key) -> Key | None:
    """The profile that has this machine; None: it is something else."""
    if ":" not in key.name or not key.name.startswith((PREFIX, WARM)) or key.kind != machine("", "").kind:
        return None
    return boot_profile(key.namespace, key.name.split(":")[1])


def spec_of(profile: Key) -> Json:
    """What is declared of that machine. It is committed when it goes."""
    return {"role": f"Bake {profile.name}", "profileRef": {"name": profile.name}, "deletionPolicy": "Snapshot"}


LOOK = 15.0
"""Seconds until the platform is asked again what was baked, when it did not say."""


@dataclass(frozen=True, slots=True)
class Oven:
    """The machine that a profile is baked on. `hash`: of the profile that it was prepared with, '' until it is; `ready`: it is prepared
    and verified; `failed`: why it can't be, in words; `going`: it is being let go of; `seal`: what its done-marks bear; `commit`: of
    it, once the platform lists it."""

    hash: str = ""
    ready: bool = False
    failed: str = ""
    going: bool = False
    seal: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class BakeView:
    """`wanted`: hash of the profile as it is now, '' where it can't be rendered; `used`: something refers to it; `oven`: None when there
    is none; `committed`: the commit that the last one left, '' for none; `keep`: how many commits stay; `listed`: what the platform lists
    and whether it still has the name that we gave it, None: not read; `needed`: commits that a machine is just being made of. `lost`: what
    the platform lists of the profile that the store does not know, `strays`: that of which nothing tells what was baked; `unread`: why
    neither can be read."""

    record: BootProfileRecord
    wanted: str = ""
    enabled: bool = False
    used: bool = False
    oven: Oven | None = None
    committed: str = ""
    keep: int = 1
    listed: Mapping[str, bool] | None = None
    needed: frozenset[str] = frozenset()
    now: float = 0.0
    lost: tuple[BakedRecord, ...] = ()
    strays: tuple[str, ...] = ()
    unread: str = ""


def in_force(record: BootProfileRecord, wanted: str) -> BakedRecord | None:
    """What machines of the profile as it is now begin with."""
    return next((one for one in reversed(record.baked) if one.hash == wanted), None)


def superseded(record: BootProfileRecord, wanted: str, keep: int) -> tuple[BakedRecord, ...]:
    """The commits beyond `keep`, the oldest first. The newest and the one in force are none of them."""
    used = in_force(record, wanted)
    free = tuple(one for one in record.baked[:-1] if one is not used)
    return free[: max(0, len(record.baked) - keep)] if wanted else ()


def to_be_removed(v: BakeView) -> tuple[BakedRecord, ...]:
    """Those that no machine is just being made of."""
    return tuple(one for one in superseded(v.record, v.wanted, v.keep) if one.commit not in v.needed)


def remove_the_superseded(v: BakeView) -> Decision | None:
    """G-11: the oldest ones beyond `keep` go, those that still have the name that we gave them; the platform refuses what a machine was
    made from, and it is tried again later."""
    if v.listed is None:
        return None
    oldest = next((one.commit for one in to_be_removed(v) if v.now >= one.not_before), None)
    return DropBaked(oldest, renamed=not v.listed.get(oldest, True)) if oldest is not None else None


def look_again(v: BakeView | None) -> float | None:
    """When a commit that could not be removed is tried again; None when none is to be."""
    return min((max(one.not_before, v.now + 1.0) for one in to_be_removed(v)), default=None) if v is not None else None


def note_what_came_of_it(v: BakeView) -> Decision | None:
    """The commit of its machine is written down as soon as the platform lists it; or, once the machine is gone, that there is none."""
    commit = v.committed if v.oven is None else v.oven.commit
    if not v.record.baking or (v.oven is not None and not commit):
        return None
    return NoteBaked(commit) if commit else NoteBakeFailed()


def see_to_its_machine(v: BakeView) -> Decision | None:
    """Verified: it is committed and goes. Failed, changed meanwhile or not wanted any more: it goes without a commit. One at a time."""
    oven = v.oven
    if oven is None:
        return None
    if oven.going:
        return Wait(TreeReason.BAKING, "its machine is committed and goes")
    if oven.failed:
        return DropBake(oven.failed, v.wanted)
    if not v.enabled or not v.used or (v.wanted and oven.hash and oven.hash != v.wanted):
        return DropBake("", "")
    if oven.ready and oven.hash and oven.hash == v.wanted:
        return CommitBake(oven.hash, oven.seal)
    return Wait(TreeReason.BAKING, "its machine is made, prepared and verified")


def is_due(v: BakeView) -> bool:
    """A machine of it is about to be made, to be baked on."""
    there = v.oven is not None or bool(v.record.baking) or in_force(v.record, v.wanted) is not None
    return v.enabled and v.used and bool(v.wanted) and not there and v.record.failed_hash != v.wanted


def take_up_what_was_lost(v: BakeView) -> Decision | None:
    """What was baked before the store was lost is found by its name, and is not baked a second time."""
    if not is_due(v):
        return None
    if v.unread:
        return Wait(TreeReason.BAKING, f"whether it was baked already can't be read: {v.unread}", until=v.now + LOOK)
    if v.lost or v.strays:
        return FindBaked(tuple(one.commit for one in v.lost), v.strays)
    return None


def bake(v: BakeView) -> Decision | None:
    """Nothing is baked before something refers to it; what failed is baked again when the profile changes."""
    if not v.enabled or not v.used or not v.wanted or in_force(v.record, v.wanted) is not None:
        return None
    if v.record.failed_hash == v.wanted:
        return Refuse(Reason.BOOT_FAILED, f"it can't be baked, and machines are made without: {v.record.failed}")
    return StartBake(v.wanted)
