"""What must be remembered of an agent's spending, of its budgets and of its rests."""

from __future__ import annotations

from typing import Literal

from reconciler.core.recordbase import Stored


class SpendingRecord(Stored):
    """How far its spending is in the books. `session`, `upto`: the place up to which its conversation is counted; `task`: the one that the
    last of it is about; `at`: when something was counted last. `vm_id`, `since`: the machine that runs, and since when that is not in the
    books; kept while a budget bounds machine hours."""

    session: str = ""
    upto: int = -1
    task: str = ""
    at: float = 0.0
    vm_id: str = ""
    since: float = 0.0


class BudgetRecord(Stored):
    """How far its budgets were used up when that was last told."""

    state: Literal["Within", "Warned", "CostUnknown", "Exceeded"] = "Within"
    since: float = 0.0


class RestRecord(Stored):
    """Its machine is suspended though it is declared Running. `reason`: because it has no work, or its budget is used up; '' it is not.
    `since`: since when. `woken_at`: when it was last wanted again, `seconds`: how long it took until it could work, 0 while it can't."""

    reason: Literal["", "Idle", "Budget"] = ""
    since: float = 0.0
    woken_at: float = 0.0
    seconds: float = 0.0


class ReminderRecord(Stored):
    """What it was told at its beginning is said again. `compaction`: after which shortening of its conversation; `at`: when that was last
    begun, `tries`: how often. Whether it was heard stands in the conversation."""

    compaction: str = ""
    at: float = 0.0
    tries: int = 0
