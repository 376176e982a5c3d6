"""The status of a BootProfile. Pure."""

from __future__ import annotations

from reconciler.api.status.base import Status
from reconciler.api.status.bootprofile import BakeStatus, BootProfileStatus
from reconciler.core.profile.bake import BakeView, in_force
from reconciler.core.profile.warm import WarmView
from reconciler.core.times import timestamp


def profile_status(resting: Status, view: BakeView | None, warm: WarmView | None = None) -> BootProfileStatus:
    """What holds for every kind that rests, what came of baking it, and what is kept ready."""
    return BootProfileStatus(
        observed_generation=resting.observed_generation,
        phase=resting.phase,
        conditions=resting.conditions,
        bake=bake_status(view, warm) if view is not None else None,
    )


def bake_status(view: BakeView, warm: WarmView | None) -> BakeStatus:
    """What is baked, and whether it is of the profile as it is now."""
    known = in_force(view.record, view.wanted)
    newest = known or next(reversed(view.record.baked), None)
    here = warm.here if warm is not None else []
    resting = sum(one.rests for one in here)
    return BakeStatus(
        state="Baked" if known else "Baking" if view.oven is not None or view.record.baking else "None",
        commit=newest.commit if newest is not None else None,
        at=timestamp(newest.at) if newest is not None else None,
        kept=len(view.record.baked),
        warm=resting,
        warming=len(here) - resting,
    )
