"""Done-marks in a guest: which part of a profile was applied to it. Like a claim, a mark is valid only on the machine that it names, and
only for the time that this machine is in its slot: one that was copied with a disk says nothing about the copy. A live copy is the
exception: it was made of a machine that stood still, so what had been put and run there is there, and is not done again; checks are.
Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.records import SlotRecord

KEPT = ("files", "organs", "step:")
"""Beginnings of the marks that hold on a live copy: of what was put and run. What was checked, and what is its agent's own, is not among
them."""


MOST_SEALS = 8
"""Machines that a disk came through, one made of the other, whose marks are known."""


def sealed(value: str, place: str, slot: SlotRecord) -> str:
    """A mark's value as the guest keeps it: the digest of what was applied, the machine, and the epoch in which it came into its slot.
    `place`: the id of the VM, or of a directory on this host."""
    return f"{value} {place}/{_epoch(place, slot)}"


def valid(marks: Mapping[str, str], place: str, slot: SlotRecord) -> dict[str, str]:
    """The digests of those that hold here. Where the epoch is not known, every one that names this machine does, and so does one
    without a name: earlier releases wrote it. On a machine that was restored from a snapshot, those of the machine that was committed hold
    too: they tell of the same disk."""
    epoch = _epoch(place, slot)
    seals = slot.seals if place == slot.vm_id else ()
    found: dict[str, str] = {}
    for name, text in marks.items():
        value, _, where = text.partition(" ")
        machine, _, since = where.rpartition("/")
        kept = where in seals and (bool(slot.restored_from) or name.startswith(KEPT))
        if (machine == place and (not epoch or since == str(epoch))) or (not where and not epoch) or kept:
            found[name] = value
    return found


def seals_of(slot: SlotRecord) -> tuple[str, ...]:
    """What the done-marks on this machine's disk bear that hold there, for what is made of it."""
    return (f"{slot.vm_id}/{slot.filled}", *slot.seals)[:MOST_SEALS]


def _epoch(place: str, slot: SlotRecord) -> int:
    return slot.filled if place == slot.vm_id else 0
