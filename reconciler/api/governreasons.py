"""The reasons of budgets, rests, memory and what else governs an agent, in the catalogue beside those of `reasons.py`."""

from __future__ import annotations

from reconciler.api.waits import NOTHING, Explained, Waiting


class GovernReason(Explained):
    """Why something is held back, or what is told of it."""

    GOVERNING = "Governing", "How far a budget is used up, or that a machine rests, is being written down.", NOTHING
    RESTING = (
        "Resting",
        "It has had no work for `idle.suspendAfterSeconds`, so its machine is suspended.",
        "Nothing: a task wakes it, where `idle.wakeOnTask` says so; `reconciler resume` does too.",
    )
    WOKEN = "Woken", "Its machine, which was suspended for lack of work or for a budget, is wanted again.", "Nothing."
    BUDGET_EXCEEDED = (
        "BudgetExceeded",
        "What a budget allows in its window is spent; nothing is sent, and turns that are on end as `onExceeded` says.",
        "Nothing: it goes on as the window moves; or raise the budget.",
        Waiting(poll=30.0, rests=True),
    )
    BUDGET_RESERVED = (
        "BudgetReserved",
        "What is left of a budget is set aside for turns that are on; it goes on when they have ended and something is left.",
        "Nothing, or raise the budget.",
        Waiting(poll=10.0, rests=True),
    )
    COST_UNKNOWN = (
        "CostUnknown",
        "A budget is in US dollars, and neither pi nor the table of prices knows what a model costs; nothing is sent.",
        "Give its price under `[prices]` in the configuration of the controller, or add `maxTokens` to the budget.",
        Waiting(poll=30.0, rests=True),
    )
    BUDGET_WARNED = "BudgetWarned", "`warnAtPercent` of a budget is spent.", "Raise the budget, or let it slow down."
    BUDGET_WITHIN = "BudgetWithin", "What is spent is within the budget again.", "Nothing."
    COMPACTION_NOT_APPLIED = (
        "CompactionNotApplied",
        "pi shortens its conversation otherwise than declared.",
        "Look at settings.json in pi's directory on the machine; `reconciler retry` restarts pi on its session.",
    )
    REASSERTING = "Reasserting", "Its conversation was shortened; role and directive are said again.", NOTHING
    OUTPUT_DRIFT = (
        "OutputDrift",
        "Its conversation was shortened, and its agent answers without having been told role and directive again.",
        "Look at what it did since; its next prompt tells it, and `reconciler send --steer` tells it now.",
    )
    FALLBACK_USED = (
        "FallbackUsed",
        "The provider of the declared model says no, and one of `model.fallbacks` answers instead.",
        "Nothing: the declared model is tried again by itself; `status.fallback` says what is wrong with it.",
    )
    FALLBACK_ENDED = "FallbackEnded", "The declared model, or one before the one in use, is asked again.", "Nothing."
