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
    SANDBOX_NOT_APPLIED = (
        "SandboxNotApplied",
        "pi does not run in the boundary that its profile declares; nothing is sent to it.",
        "`reconciler retry` restarts pi on its session.",
    )
    SANDBOX_MISSING = (
        "SandboxMissing",
        "The profile declares a sandbox, and the machine lacks bubblewrap, which could not be installed; no agent starts there.",
        "Add a step that installs the package bubblewrap, or begin from an image that has it; it is tried again.",
    )
    SANDBOX_INVALID = "SandboxInvalid", "The work dir can't be in a sandbox.", "Declare a directory of its own as `agent.workDir`."
    REFUSED = (
        "Refused",
        "The agent tried what its permissions or its sandbox do not allow; none of it was done.",
        "Nothing; or allow it where it is declared.",
    )
    DRAWING_CREDENTIAL = (
        "DrawingCredential",
        "The program that gives a credential is running for the first time.",
        NOTHING,
        Waiting(poll=1.0),
    )
    CREDENTIAL_FAILED = (
        "CredentialFailed",
        "A program or file that gives a credential gives none that can be used; one that was given before is used until it expires.",
        "Do what the message says; run the program yourself, as the user of the controller, to see why. It is tried again by itself.",
        Waiting(poll=30.0, rests=True, undeclared=True),
    )
    CREDENTIAL_REFUSED = (
        "CredentialRefused",
        "What is declared would have a program run, or a file read, on the controller's host, and that is not allowed there.",
        "Name a key of a Secret in `secretKeyRef`; for what is in git, `from-git = true` under `[credentials]` in the configuration.",
    )
    BUDGET_WARNED = "BudgetWarned", "`warnAtPercent` of a budget is spent.", "Raise the budget, or let it slow down."
    SAVING_MEMORY = "SavingMemory", "What the agent wrote down to remember is being saved.", NOTHING
    BRINGING_MEMORY = "BringingMemory", "What the agent remembers is being brought to its machine.", NOTHING
    MEMORY_UNREAD = (
        "MemoryUnread",
        "pi has not said yet which memory it was given.",
        "Nothing; when it stays so, see the output of pi for what keeps our extension from being loaded.",
        Waiting(poll=2.0),
    )
    MEMORY_NOT_APPLIED = (
        "MemoryNotApplied",
        "pi does not have the memory that it was given; nothing is delivered to it.",
        "`reconciler retry` starts it anew; when it comes again, see the output of pi.",
    )
    MEMORY_CHANGED = "MemoryChanged", "A person changed what agents remember.", "Nothing."
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
