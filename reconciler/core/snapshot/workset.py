"""A lieutenant and its tasks in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.task import TaskSpec
from reconciler.core.keys import Key
from reconciler.core.records import TaskRecord
from reconciler.core.snapshot.agent import Verdict
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import Held
from reconciler.core.snapshot.task import Dependency, Talk
from reconciler.core.spending.prices import DEFAULT_PRICES, Prices


@dataclass(frozen=True)
class TaskFacts:
    """What was gathered about one task by itself. `retry`: what a person last asked for by that annotation."""

    key: Key
    spec: TaskSpec
    record: TaskRecord
    created_at: float
    deleting: bool = False
    dependencies: tuple[Dependency, ...] = ()
    cycle: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    verdict: Verdict | None = None
    content_missing: str = ""
    retry: str = ""


class GoesOn(IntEnum):
    """What need not be asked of a lieutenant, since it had no opinion right before, and nothing that it goes by has changed since."""

    NO = 0  # nothing
    INSIDE = 1  # the slot
    PREPARED = 2  # the slot, and the way into its machine


@dataclass(frozen=True)
class WorkSet:
    """`key`: of the lieutenant; `lieutenant` and `spec` are None when it does not exist. `deleted_at`: when its deletion was asked for;
    `observed_at`: when the outside was looked at, `now` when it is decided; `no_work`: why no task may be sent
    to it now, for the sake of others or of a budget; `went_on_at`: when the fleet was last halted no longer, 0 for never; `prices`: of
    models for which pi tells none; `goes_on`: it is the one before, with what an act inside the machine has just made of that."""

    key: Key
    now: float
    tasks: tuple[TaskFacts, ...]
    lieutenant: LieutenantView | None = None
    spec: LieutenantSpec | None = None
    talk: Talk | None = None
    deleted_at: float | None = None
    observed_at: float = 0.0
    no_work: Held | None = None
    went_on_at: float = 0.0
    prices: Prices = DEFAULT_PRICES
    goes_on: GoesOn = GoesOn.NO
