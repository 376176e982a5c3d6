"""What is left of a slot when its machine is gone. Pure."""

from __future__ import annotations

from reconciler.core.records import SlotRecord, SnapshotRecord


def emptied(old: SlotRecord) -> SlotRecord:
    """Nothing that was said of the machine, but all of what outlives it: the snapshots that were taken, and the one on its way."""
    taken = old.snapshot
    on_its_way = bool(taken.commit_id) and not taken.verified
    return SlotRecord(
        epoch=old.epoch,
        account=old.account,
        adopted=old.adopted,
        confirmed=old.confirmed,
        snapshot=taken if on_its_way else SnapshotRecord(),
        commits=old.commits,
        asked=old.asked,
    )
