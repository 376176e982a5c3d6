"""The catalogue of reasons: what each means, what to do about it and, for waits, how they are treated.

A new reason is one line here; `docs/api.md` and the table in `docs/operations.md` are made from it.
"""

from __future__ import annotations

from reconciler.api.waits import JUDGED, NOTHING, PROVIDED, REFUSED, RESTS, RETRIES, SOUGHT, UNDECLARED, Explained, Waiting

_UNREADABLE = Waiting(poll=1.0, unreadable=True)


class Reason(Explained):
    """Why a condition is what it is, or what an event reports."""

    # Reached
    STEADY = "Steady", "Everything is as declared.", "Nothing."
    RUNNING = "Running", "It runs as declared.", "Nothing."
    SUSPENDED = "Suspended", "It is suspended as declared.", "Nothing; set `mode: Running` to resume it."
    USABLE = "Usable", "It takes work.", "Nothing."
    ANSWERING = "Answering", "pi answers.", "Nothing."
    APPLIED = "Applied", "pi has what was declared.", "Nothing."
    PROFILE_APPLIED = "ProfileApplied", "The machine was made from the profile as it is now.", "Nothing."
    RESOLVED = "Resolved", "Source and `extends` resolve.", "Nothing."
    VM_SUSPENDED = "VMSuspended", "The platform says that the machine is suspended.", "Nothing."
    VM_NOT_SUSPENDED = "VMNotSuspended", "The machine is not suspended.", "Nothing."
    NO_VM = "NoVM", "There is no machine.", "Nothing."
    NOT_LOOKED_AT = "NotLookedAt", "Not observed yet.", NOTHING

    ACKNOWLEDGING = "Acknowledging", "What was asked for, by annotation or by a field, is being written down.", NOTHING

    # The machine: what is being done
    CREATING_VM = "CreatingVM", "A machine is being made.", NOTHING
    ADOPTING_VM = "AdoptingVM", "A machine whose creation had an unknown outcome was found and is taken over.", NOTHING
    CLAIMING_VM = "ClaimingVM", "The machine is marked as ours.", NOTHING
    BOOTING = "Booting", "The machine boots.", NOTHING, Waiting(poll=0.5)
    DEAD = "Dead", "The platform says that the machine is dead.", NOTHING
    UNKNOWN = "Unknown", "The platform says a word about the machine that we do not know.", NOTHING
    SUSPENDING_VM = "SuspendingVM", "The machine is being suspended.", NOTHING
    RESUMING_VM = "ResumingVM", "The machine is being resumed.", NOTHING
    SUSPENDED_VM = "SuspendedVM", "The machine was suspended.", "Nothing."
    RESUMED_VM = "ResumedVM", "The machine was resumed.", "Nothing."
    DELETING_VM = "DeletingVM", "The machine was marked for deletion; this can't be taken back.", "Nothing."
    STEERING = "Steering", "A steer was handed to the agent.", NOTHING
    SUSPEND_PENDING = "SuspendPending", "The agent is in a turn; its machine is suspended by `suspend.onBusy`.", NOTHING
    DELETING = "Deleting", "It is being deleted; this goes on until its absence is proven.", NOTHING, Waiting(poll=1.0)
    DELETE_PENDING = "DeletePending", "The deletion was asked for and is not proven yet.", NOTHING, Waiting(poll=0.5)
    DELETE_FAILED = "DeleteFailed", "The platform refused a deletion; it is tried again.", "See the message; nothing when it is an outage."
    VM_GONE = "VMGone", "The machine is proven to be gone.", NOTHING
    CORRECTING_CLOCK = "CorrectingClock", "The machine's clock is being set.", NOTHING
    CORRECTED_CLOCK = "CorrectedClock", "The machine's clock was wrong and has been set.", "Nothing."
    CLOCK_NOT_CORRECTED = (
        "ClockNotCorrected",
        "The machine's clock is wrong and can't be set; the machine is used all the same, since nothing is decided by its clock.",
        "Programs in it (TLS, git) may fail: set its clock, or let `date -s` work there; it is tried again.",
    )
    PREPARING_MACHINE = "PreparingMachine", "Files and steps of the profile are being applied.", NOTHING
    PREPARED_MACHINE = "PreparedMachine", "Files, steps and verification of the profile are done.", "Nothing."
    STEP_DONE = "StepDone", "One step of the profile is done.", "Nothing."
    BOOT_RETRYING = (
        "BootRetrying",
        "A step of the profile failed and is tried again.",
        "See the tail of its output in the message; `reconciler retry` or a corrected profile does not wait.",
        RETRIES,
    )
    READING_BACK = "ReadingBack", "pi is asked what it has loaded.", NOTHING
    SKILL_NOT_LOADED = (
        "SkillNotLoaded",
        "pi does not have a declared skill.",
        "Correct its path or its SKILL.md; `reconciler retry` starts pi again and looks again.",
    )
    REPLACEMENT_HELD_BACK = (
        "ReplacementHeldBack",
        "The machine is outdated and would be replaced, but is protected, or no other one can be had.",
        "For a protected one: confirm with the annotation `fleet.vers.sh/delete-confirmed`; else nothing.",
    )
    REPLACING = "Replacing", "Another machine is made ready to take this one's place, or one of the two goes.", NOTHING, Waiting(poll=1.0)
    REPLACEMENT_FAILED = "ReplacementFailed", "What was to replace the machine did not work; it stays.", "Correct the profile, or retry."
    CARRIED_OVER = "CarriedOver", "Conversation and workspace were copied to the machine that takes this one's place.", "Nothing."
    REPLACED = "Replaced", "pi answers on the new machine, with conversation and workspace; the old one goes.", "Nothing."
    BOOT_FAILED = "BootFailed", "A step or check of the profile failed for good.", "Correct the profile; `reconciler retry` tries again."

    # The machine: what is in the way
    DISK_FULL = (
        "DiskFull",
        "The machine's disk is full, so what is to be done there fails; it is tried again, and nothing is lost.",
        "Make room (`reconciler exec`), or declare a larger `resources.diskMiB`.",
    )
    NO_NAME_SERVICE = (
        "NoNameService",
        "The machine can't resolve names, so what has to be fetched can't be; it is tried again.",
        "See to its name service, or start from an image that has what is fetched (`source`).",
    )
    GUEST_FAILED = (
        "GuestFailed",
        "What was to be done in the machine failed there; it is tried again.",
        "See its own words in the message; `reconciler exec` looks at the machine.",
    )
    VM_UNKNOWN = (
        "VMUnknown",
        "The platform could not be read; nothing is concluded from that.",
        "Check `reconciler doctor` if it lasts.",
        Waiting(poll=5.0, unreadable=True),
    )
    PLATFORM_KEY_REFUSED = (
        "PlatformKeyRefused",
        "The platform does not accept the API key, or there is none; nothing is concluded from that, and agents go on.",
        "Put a good key where `reconciler doctor` says that it comes from; it is read at every call.",
        Waiting(poll=5.0, rests=True, unreadable=True, undeclared=True),
    )
    VM_MISSING = "VMMissing", "The machine is missing from a list; one list proves nothing.", NOTHING, Waiting(poll=1.0, unreadable=True)
    CREATE_INDETERMINATE = (
        "CreateIndeterminate",
        "The outcome of a creation is unknown; only looking can tell.",
        NOTHING,
        Waiting(poll=2.0, unreadable=True),
    )
    CREATE_LOST = "CreateLost", "A creation with unknown outcome left nothing; it is made again.", "Nothing."
    CREATE_FAILED = "CreateFailed", "The platform refused to make a machine.", "Correct the source, the sizes or the key.", REFUSED
    CREATE_AMBIGUOUS = (
        "CreateAmbiguous",
        "More machines than creations of ours fit, or one that somebody else may have made, so none is taken for certain.",
        "Say which one with `reconciler resolve lieutenant NAME --vm ID`, or `--none`.",
    )
    CLAIM_CONFLICT = (
        "ClaimConflict",
        "The machine carries the valid claim of another installation.",
        "Let the other installation forget it, or take it with `reconciler resolve lieutenant NAME --vm ID`.",
    )
    SNAPSHOTTING_VM = "SnapshottingVM", "A commit of the machine is being taken.", NOTHING
    SNAPSHOT_PENDING = "SnapshotPending", "The commit of the machine is not proven yet; what waits for it goes on when it is.", NOTHING
    TOOK_SNAPSHOT = "TookSnapshot", "The machine was committed; the message names the commit.", "Nothing."
    SNAPSHOT_FAILED = (
        "SnapshotFailed",
        "The machine could not be committed; the older snapshots are kept, and what must not go without one stays.",
        "It is tried again; a deletion waits for `reconciler retry`, or goes without by `deletionPolicy: Delete` and no `beforeMutate`.",
    )
    COUNTING_SNAPSHOTS = "CountingSnapshots", "Kept snapshots are compared with the platform's list; surplus ones of ours go.", NOTHING
    DROPPED_COMMIT = "DroppedCommit", "A snapshot beyond `snapshots.keep` was removed.", "Nothing."
    COMMIT_IN_USE = "CommitInUse", "A machine was made from that commit, so it is kept beyond `snapshots.keep`.", "Nothing; tried later."
    COMMIT_VANISHED = "CommitVanished", "Somebody else removed a snapshot of ours.", "Nothing; the next one comes as scheduled."
    RESTORING_SNAPSHOT = "RestoringSnapshot", "Another machine is made from a snapshot, beside the one that works.", NOTHING
    RESTORED_SNAPSHOT = "RestoredSnapshot", "A machine was made from a snapshot, and is what was committed.", "Nothing."
    NOT_RESTORABLE = "NotRestorable", "A snapshot could not be restored; older ones are kept.", "See the message; take another one."
    ROLLING_BACK = "RollingBack", "The agent goes on from a snapshot when it is settled; until then it works on.", NOTHING
    ROLLED_BACK = "RolledBack", "The agent went back to a snapshot; what was cut is in `reconciler output --history 0`.", "Nothing."
    ROLLBACK_REFUSED = "RollbackRefused", "The agent does not go back to that snapshot.", "See the message; nothing was changed."
    NEVER_DUE = "NeverDue", "The schedule names a time that never comes.", "Correct `snapshots.schedule`."
    SECRETS_IN_SNAPSHOT = "SecretsInSnapshot", "Files made from secrets are in the commit.", "Keep it as secret as those: docs/tenancy.md."
    DETACHING = "Detaching", "The object goes and the machine stays.", NOTHING
    DETACHED_VM = "DetachedVM", "The object is gone and its machine stays; it goes on costing money.", "See `reconciler orphans`."
    ADOPTED_VM = "AdoptedVM", "A machine that existed already was taken over.", "Nothing."
    ADOPT_NOT_FOUND = "AdoptNotFound", "The machine that `adopt` names is not there.", "Check the id (`reconciler get vm`) and the key."
    ALREADY_OWNED = "AlreadyOwned", "The machine belongs to another object here.", "`reconciler forget` that one first, or name another VM."
    FORK_SOURCE_NOT_FOUND = "ForkSourceNotFound", "Its namespace has no lieutenant of that name.", "Declare it.", UNDECLARED
    FORK_SOURCE_UNAVAILABLE = "ForkSourceUnavailable", "The lieutenant to copy has no machine that runs.", "Resume it.", Waiting(poll=1.0)
    FORK_PENDING = "ForkPending", "The lieutenant that `fork` names is copied as soon as it is settled.", NOTHING, Waiting(poll=1.0)
    FORKED = "Forked", "It was made as a live copy of another lieutenant.", "Nothing."
    STANDING_STILL = "StandingStill", "It gets no work while live copies of it are made.", NOTHING, Waiting(poll=0.5)
    HELD_FOR_FORK = "HeldForFork", "Its lieutenant is being copied; the task is delivered right after.", NOTHING, Waiting(poll=1.0)
    COMMIT_OF_ANOTHER_NAMESPACE = "CommitOfAnotherNamespace", "Another namespace took it.", "`--share` shares it: docs/tenancy.md.", JUDGED
    VM_OF_ANOTHER_NAMESPACE = "VMOfAnotherNamespace", "Another namespace made it.", "`--share` shares it: docs/tenancy.md.", JUDGED
    REFERENCE_NOT_FOUND = "ReferenceNotFound", "There is no such tag with a commit.", "Correct `source.ref`, or make the tag.", SOUGHT
    UNOWNED_NOT_ALLOWED = "UnownedNotAllowed", "It is not known whose that id is.", "`--adopt-unowned` allows it: docs/tenancy.md.", JUDGED
    NO_DELETE = "NoDelete", "`managementPolicy: NoDelete` keeps the machine.", "Set `managementPolicy: Full` to have it replaced."
    OBSERVE_ONLY = "ObserveOnly", "It is only looked at, as declared.", "Set `managementPolicy: Full` to have it acted on.", RESTS
    ORPHAN_VM = "OrphanVM", "A VM says that it is ours, and nothing owns it.", "`reconciler orphans --delete --confirm` deletes it."
    DELETED_ORPHAN = "DeletedOrphan", "A machine without an owner was deleted as asked for.", "Nothing."
    NO_ORPHAN = "NoOrphan", "A machine that was to be deleted for having no owner is none.", "Nothing; it stays."
    ACCOUNT_CHANGED = "AccountChanged", "The key is of another account than the machine.", "Put its key back, or use another `--state`."
    FLEET_VANISHED = (
        "FleetVanished",
        "Too many machines vanished at once; nothing is forgotten or created.",
        "Check the account; if they are really gone, `reconciler retry`.",
    )
    PLATFORM_BLOCKED = "PlatformBlocked", "The platform has no room for more machines; existing ones are fine.", NOTHING
    BACKING_OFF = (
        "BackingOff",
        "The last attempt failed; the next one comes after a delay.",
        "`reconciler retry` or a corrected declaration does not wait.",
        RETRIES,
    )
    PROTECTED = (
        "Protected",
        "It is protected and is not deleted, nor replaced when it is dead.",
        "`reconciler delete KIND NAME --confirm` (for a dead machine `reconciler retry KIND NAME --confirm`).",
    )
    PROFILE_CHANGED = (
        "ProfileChanged",
        "The profile changed after the machine was made.",
        "Nothing with `update.onProfileChange: Recreate`, which replaces it; else leave it, or delete the lieutenant.",
    )

    # The agent
    INSTALLING_AGENT = "InstallingAgent", "Node, pi and the keeper are being installed.", NOTHING
    INSTALLED_AGENT = "InstalledAgent", "Node, pi and the keeper are installed.", "Nothing."
    INSTALLING_TOOLS = "InstallingTools", "Node, pi and the keeper are being installed on a machine without an agent.", NOTHING
    INSTALLED_TOOLS = "InstalledTools", "Node, pi and the keeper are installed on a machine without an agent.", "Nothing."
    STARTING_KEEPER = "StartingKeeper", "The keeper is being started.", NOTHING
    STARTING_AGENT = "StartingAgent", "pi is being started on its session.", NOTHING
    STARTED_AGENT = "StartedAgent", "pi was started on its session.", "Nothing."
    STOPPED_AGENT = "StoppedAgent", "pi was stopped in good order.", "Nothing."
    RESTARTING_AGENT = "RestartingAgent", "pi is restarted on the same session.", NOTHING
    RESTORING_SESSION = "RestoringSession", "The session is copied from the mirror to the machine.", NOTHING
    BEGINNING_SESSION = "BeginningSession", "Another conversation is begun.", NOTHING
    BEGAN_SESSION = "BeganSession", "Another conversation was begun; the one before is kept.", "Nothing."
    CONTINUING_SESSION = "ContinuingSession", "The conversation of an adopted machine is looked for.", NOTHING
    CONTINUED_SESSION = "ContinuedSession", "An adopted agent goes on with the conversation found on its machine.", "Nothing."
    SAVING_SESSION = "SavingSession", "What is known of the session on its machine is written down.", NOTHING
    RESOLVING_SESSION = "ResolvingSession", "The chosen one of two ends of a session is put in force.", NOTHING
    RESOLVED_SESSION = "ResolvedSession", "One of two ends of a session goes on; the other is kept.", "Nothing."
    RESTORED_SESSION = "RestoredSession", "The session was copied from the mirror to the machine.", "Nothing."
    GUEST_UNREACHABLE = "GuestUnreachable", "The machine does not answer over SSH.", "Check `reconciler doctor` if it lasts.", _UNREADABLE
    AGENT_UNREACHABLE = "AgentUnreachable", "The keeper does not answer.", NOTHING, _UNREADABLE
    KEEPER_UNREACHABLE = "KeeperUnreachable", "The keeper of a machine without an agent does not answer.", NOTHING, _UNREADABLE
    AGENT_UNRESPONSIVE = "AgentUnresponsive", "pi runs and does not answer.", NOTHING, Waiting(unreadable=True)
    AGENT_NOT_STARTED = "AgentNotStarted", "pi does not run yet.", NOTHING
    AGENT_EXITED = "AgentExited", "pi ended without being asked to.", "See exit code and last error output in the message."
    AGENT_BACKING_OFF = (
        "AgentBackingOff",
        "pi ended; it is started again after a delay.",
        "`reconciler retry` or a corrected declaration does not wait.",
        RETRIES,
    )
    AGENT_BUSY = "AgentBusy", "The agent is in a turn; what is to be done needs it settled.", NOTHING
    CRASH_LOOP = (
        "CrashLoop",
        "pi ended too often in too short a time.",
        "Mend the cause; a changed spec, profile or secret starts it, and so does `reconciler retry`.",
    )
    LAUNCH_CHANGED = "LaunchChanged", "The declaration changed; pi is restarted on the same session when settled.", NOTHING
    SETTING_MODEL = "SettingModel", "Model and thinking are being set in the running pi.", NOTHING
    MODEL_SET = "ModelSet", "Model and thinking were set in the running pi.", "Nothing."
    MODEL_MISMATCH = "ModelMismatch", "pi runs another model than declared; it is set before the next prompt.", NOTHING
    THINKING_MISMATCH = "ThinkingMismatch", "pi thinks at another level than declared; it is set before the next prompt.", NOTHING
    MODEL_REJECTED = (
        "ModelRejected",
        "pi refused the declared model; a turn that runs goes on with the one it has, new work waits.",
        "Correct `model`, its provider in the profile or the provider's key; `reconciler retry` asks again.",
    )
    MODEL_REFUSED = (
        "ModelRefused",
        "The model's provider refuses: there is no key, a wrong one, one without the right, or the provider has no such model.",
        "Correct `model`, the provider in the profile or its key: a change is tried at once, as is `reconciler retry`; tasks wait.",
    )
    PROVIDER_LIMITED = (
        "ProviderLimited",
        "The model's provider is at a limit, overloaded, out of quota or can't be reached; tasks wait, and no attempt is spent.",
        "Nothing, or raise the limit with the provider; `reconciler retry` asks it now.",
        RETRIES,
    )
    PROVIDER_ANSWERS = "ProviderAnswers", "The model's provider answers again.", "Nothing."
    THINKING_REJECTED = "ThinkingRejected", "The model has no such level of thinking.", "Declare a level that it has, or another model."
    INSTRUCTIONS_UNREAD = "InstructionsUnread", "pi has not said yet what it was told.", NOTHING
    INSTRUCTIONS_NOT_APPLIED = (
        "InstructionsNotApplied",
        "What pi says it was told is not what is declared.",
        "Look at `agent.command` of the profile and at settings on the machine; `reconciler retry` restarts pi on its session.",
    )
    AWAITING_APPROVAL = "AwaitingApproval", "A tool call waits for a person.", "`reconciler get approvals`; then `approve` or `deny` it."
    APPROVED = "Approved", "A person allowed a tool call, and that very call goes on.", NOTHING
    DENIED = "Denied", "A person denied a tool call; the agent was told why.", NOTHING
    PERMISSIONS_NOT_APPLIED = "PermissionsNotApplied", "pi runs under other rules.", "`reconciler retry` restarts pi on its session."
    PERMISSIONS_INVALID = "PermissionsInvalid", "An example in the permissions is answered otherwise.", "Correct the rules or the example."
    INSTRUCTIONS_EDITED = "InstructionsEdited", "Somebody changed files of the agent; they are put right when it is settled.", NOTHING
    OUTPUT_BLOCKED = (
        "OutputBlocked",
        "Its disk or its session file is full; pi's output is not read until there is room, and none of it is lost.",
        "Make room on the machine (`reconciler exec`); a session at its cap: raise `session.generation` to begin another.",
    )
    OUTPUT_TRUNCATED = "OutputTruncated", "Output was longer than what is kept.", "Nothing; the session file has all of it."
    KEEPER_OUTDATED = "KeeperOutdated", "The keeper is older than this release; it is replaced while pi is down.", NOTHING
    SESSION_LOST = (
        "SessionLost",
        "The machine is gone, and its conversation can't go on elsewhere as `session.onLost` says.",
        "`reconciler resolve lieutenant NAME --session local` goes on from the mirror as it is; `session.onLost: New` begins anew.",
    )
    SESSION_DIVERGED = (
        "SessionDiverged",
        "The file on the machine and the mirror of the session differ, and neither continues the other.",
        "`reconciler resolve lieutenant NAME --session vm|local`: the file or the mirror goes on, the other is kept beside it.",
    )
    WORKSPACE_LOST = (
        "WorkspaceLost",
        "The machine was lost and replaced: the conversation goes on, and the files of the one before are gone.",
        "Bring back what is needed; `reconciler resolve lieutenant NAME --workspace` says that it is known.",
    )
    # An agent on the controller's host
    LOCAL_UNAVAILABLE = "LocalUnavailable", "Agents can't run where this controller runs.", "Declare `placement.type: VM`."
    LOCAL_NOT_ALLOWED = "LocalNotAllowed", "Agents may not run on the controller's host.", "Start the controller with `--allow-local`."
    LOCAL_ELSEWHERE = (
        "LocalElsewhere",
        "The agent's directory is in the state directory of another controller.",
        "Start the controller on that host with that `--state`.",
    )
    LOCAL_FALLBACK = "LocalFallback", "It works on the controller's host while VMs cannot be had.", NOTHING
    MOVE_PENDING = (
        "MovePending",
        "A VM is ready; the agent moves there from the controller's host once settled.",
        NOTHING,
        Waiting(poll=1.0),
    )
    OPENING_LOCAL = "OpeningLocal", "The agent gets a directory on the controller's host.", NOTHING
    OPENED_LOCAL = "OpenedLocal", "The agent lives in a directory on the controller's host, as declared.", "Nothing."
    FELL_BACK = "FellBack", "VMs cannot be had; the agent works on the controller's host.", NOTHING
    MOVING_TO_VM = "MovingToVM", "Conversation and workspace are copied from the controller's host to the VM.", NOTHING
    MOVED_TO_VM = "MovedToVM", "The agent moved from the controller's host to its VM.", "Nothing."
    WORKSPACE_TOO_LARGE = (
        "WorkspaceTooLarge",
        "The workspace on the controller's host is too large to be copied to the VM; the agent goes on here.",
        "Let it remove what can be made again, then `reconciler retry`.",
    )
    CLOSING_LOCAL = "ClosingLocal", "pi and keeper on the controller's host are ended and their directory is removed.", NOTHING
    CLOSED_LOCAL = "ClosedLocal", "Nothing of the agent runs on the controller's host any more.", "Nothing."
    LEFT_LOCAL = (
        "LeftLocal",
        "The object is gone; its agent on the controller's host was not touched and may still run.",
        "End it by hand, or leave it.",
    )
    KEPT_LOCAL = "KeptLocal", "The agent is gone; its directory on the controller's host was kept as declared.", "Nothing."
    PROFILE_PARTLY_APPLIED = "ProfilePartlyApplied", "Parts of the profile are for machines only.", "Nothing, or `placement.type: VM`."
    STOPPING_AGENT = "StoppingAgent", "pi is being stopped, settled.", NOTHING
    AGENT_STOPPED = "AgentStopped", "pi does not run; its conversation and files are kept.", NOTHING

    # Declarations
    UNSUPPORTED = "Unsupported", "Fields are set that this release does not act on.", "Remove them, or use a later release."
    INVALID_SPEC = "InvalidSpec", "It can't be carried out as declared; the last good version stays in force.", "Correct the fields named."
    RIGHT_MISSING = "RightMissing", "The operator lacks a right in the cluster.", "Grant the right named; see docs/kubernetes.md."
    DECLARED_ELSEWHERE = (
        "DeclaredElsewhere",
        "Another source declares an object of that name; its declaration stays in force.",
        "Delete it there first, or give this one another name.",
    )
    DECLARATION_GONE = (
        "DeclarationGone",
        "An object is not in the cluster any more and nobody was seen to delete it; its machine is kept.",
        "Declare it again, or delete it with `reconciler delete`.",
    )
    BACKGROUND_TASK_ENDED = "BackgroundTaskEnded", "A part of the controller ended and begins anew.", "Nothing once; else see the log."
    INVALID_PROFILE = "InvalidProfile", "The profile, with what it extends, makes no machine.", "Correct the profile."
    PROFILE_NOT_FOUND = "ProfileNotFound", "No profile of that name is declared or built in.", "Declare it, or name another.", UNDECLARED
    SECRET_UNFIT = "SecretUnfit", "A secret has a form that no environment variable can carry.", "Declare it as a file, or change it."
    SECRET_REFUSED = (
        "SecretRefused",
        "A secret is there and can't be used: its file can't be read, others may read it, or it is no text.",
        "Do what the message says of its file; it is looked at again.",
        PROVIDED,
    )
    SECRET_FORBIDDEN = (
        "SecretForbidden",
        "The operator may not read what is referred to.",
        "Grant the right named; it is looked for again.",
        PROVIDED,
    )
    SECRET_NOT_FOUND = "SecretNotFound", "A secret that is referred to is not there.", "Provide it; it is looked for again.", PROVIDED

    # Tasks: waiting
    QUEUED = "Queued", "Another task has the session, or stands before this one.", NOTHING, RESTS
    QUEUE_FULL = "QueueFull", "More tasks wait than `queue.maxPending` allows.", "Nothing, or cancel some.", RESTS
    NOT_BEFORE = "NotBefore", "Its time has not come.", NOTHING, RESTS
    DEPENDENCY_PENDING = "DependencyPending", "A task that it comes after is not done.", NOTHING, RESTS
    DEPENDENCY_CYCLE = "DependencyCycle", "Tasks wait for each other in a circle.", "Delete one of them."
    LIEUTENANT_NOT_FOUND = "LieutenantNotFound", "No lieutenant of that name is declared.", "Declare it, or delete the task.", UNDECLARED
    LIEUTENANT_NOT_READY = "LieutenantNotReady", "Its lieutenant takes no work yet.", "See the lieutenant's conditions.", RESTS
    LIEUTENANT_SUSPENDED = "LieutenantSuspended", "Its lieutenant is suspended as declared.", "Set the lieutenant's `mode: Running`.", RESTS
    TARGET_NOT_RUNNING = "TargetNotRunning", "The task that a steer is meant for does not run yet.", NOTHING
    DELIVERING = "Delivering", "The prompt is on its way; it counts once it is seen in the conversation.", NOTHING
    LANDING = "Landing", "The steer was accepted and is not seen in the conversation yet.", NOTHING
    ESCALATING = "Escalating", "The next step of the declared escalation is being taken: steer, abort, restart.", NOTHING
    CONTENT_NOT_FOUND = "ContentNotFound", "What the prompt is to be read from is not there.", "Provide it; it is looked for again."
    CONTINUING = "Continuing", "A turn that was interrupted is continued.", NOTHING
    INTERRUPTED = "Interrupted", "The turn was cut off by the loss of pi.", NOTHING
    VERIFYING = "Verifying", "Acceptance is being checked.", NOTHING
    RETRYING = "Retrying", "The last attempt failed; another one follows.", NOTHING
    ENDING = "Ending", "The turn is being stopped.", NOTHING, Waiting(poll=0.5)
    FINISHING = "Finishing", "The result is being written down.", NOTHING

    # Tasks: over
    COMPLETED = "Completed", "The session settled with a good stop reason, and acceptance passed.", "Nothing."
    LANDED = "Landed", "The steer was seen in the conversation.", "Nothing."
    ALREADY_DONE = "AlreadyDone", "The same task was done before.", "Nothing."
    CANCELLED_BY_USER = "CancelledByUser", "It was cancelled as declared.", "Nothing."
    REMOVED = "Removed", "Its data were removed when its time to live was over; what it came to stays known.", "Nothing."
    ARTIFACT_UNKNOWN = "ArtifactUnknown", "Too many files to tell whether one was written; the limit is not enforced.", "Nothing."
    DELETED = "Deleted", "The task was deleted.", "Nothing."
    LIEUTENANT_DELETED = "LieutenantDeleted", "Its lieutenant was deleted.", "Declare it again under a new name, for another lieutenant."
    DEPENDENCY_FAILED = "DependencyFailed", "A task that it comes after did not succeed.", "Mend that one and declare both anew."
    DEADLINE_EXCEEDED = "DeadlineExceeded", "It was not done before its deadline.", "Raise `deadlineSeconds` or make the task smaller."
    TASK_TIMEOUT = "TaskTimeout", "It ran longer than allowed.", "Raise `taskTimeoutSeconds` or make the task smaller."
    NO_PROGRESS = "NoProgress", "Its turn showed no sign of progress for too long.", "See the output; raise `noProgressSeconds` if fine."
    NO_ARTIFACT = "NoArtifact", "No file was written within `limits.firstArtifactSeconds`.", "See the output; raise that if it was fine."
    TURN_LIMIT = "TurnLimit", "It took more rounds than `limits.maxTurns`.", "Raise the limit or make the task smaller."
    DECLINED = "Declined", "pi refused the prompt.", "See pi's words in the message."
    EMPTY_ANSWER = "EmptyAnswer", "The model answered with nothing, twice.", "See provider and model; raise `retries`."
    MODEL_ERROR = "ModelError", "The model failed to answer.", "Check provider, key and quota."
    CONTEXT_TOO_LONG = "ContextTooLong", "It is more than the model takes.", "Set `compaction.auto`, shorten it, or `reconciler rewind`."
    ACCEPTANCE_FAILED = "AcceptanceFailed", "The work was done and did not pass acceptance.", "See which check failed; raise `retries`."
    NOTHING_TO_STEER = "NothingToSteer", "No task was running when the steer was accepted.", "Declare it with `delivery: Queue`."
    TARGET_FINISHED = "TargetFinished", "The task that the steer was meant for is over.", "Declare it with `delivery: Queue`."
    NOT_LANDED = "NotLanded", "The steer was not seen in the conversation in time.", "Declare it with `delivery: Queue`."
