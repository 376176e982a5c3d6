"""One piece of work for one lieutenant: when it is its turn, its delivery, its steers, its end. Ordered policies; the first
that has an opinion decides.

In: a `TaskView`, gathered beforehand. Out: one decision. No I/O, no clock.

The conversation is the only witness (G-21): a prompt has arrived when its marker is in the session file, a turn is over
when pi is settled, and it went well when the last message says so. Events only make us look sooner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.actions import (
    AbortTurn,
    Continue,
    Decision,
    Deliver,
    Finish,
    Landed,
    Progress,
    Refuse,
    Release,
    SendSteer,
    Steady,
    TryAgain,
    Verify,
    Wait,
    Withdraw,
)
from reconciler.core.observations import Accepted, Declined, Lost, Message, Unanswered, Unheard, Verdict
from reconciler.core.records import FINISHED, TaskRecord, run_of

MAX_CONTINUES = 3
"""How often a turn cut short by the end of pi is asked to go on before the attempt counts as lost."""

ABORT_PATIENCE = 15.0
"""Seconds after which an abort that did not settle the session is repeated, harder."""


class Host(StrEnum):
    """What the lieutenant is to this task right now."""

    READY = "Ready"
    NOT_READY = "NotReady"
    SUSPENDED = "Suspended"
    SUSPENDING = "Suspending"
    GOING = "Going"  # being deleted
    MISSING = "Missing"


@dataclass(frozen=True, slots=True)
class Talk:
    """The whole conversation, read now: `messages` in file order, `size` bytes. `settled`: pi has nothing to do; `up`: it
    runs. `started_at`: when this pi process was started."""

    messages: tuple[Message, ...]
    size: int
    settled: bool
    up: bool
    started_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """A task named in `after`. `phase`: '' when it does not exist."""

    name: str
    phase: str


@dataclass(frozen=True, slots=True)
class TaskView:
    """Everything a decision about one task may depend on. Limits are seconds, 0 means none. `talk` None: not known.
    `verdict`: of the key last sent, asked for only while Delivering. `ahead`: the task whose turn comes before, '' for
    none. `active`: another task that holds the session. `next_landed`: where the following task's prompt landed."""

    name: str
    record: TaskRecord
    now: float
    created_at: float
    steer: bool = False
    cancel: bool = False
    deleting: bool = False
    not_before: float = 0.0
    deadline_seconds: int = 0
    timeout_seconds: int = 0
    no_progress_seconds: int = 0
    land_seconds: int = 60
    retries: int = 0
    has_acceptance: bool = False
    host: Host = Host.READY
    host_reason: str = ""
    talk: Talk | None = None
    verdict: Verdict | None = None
    dependencies: tuple[Dependency, ...] = ()
    cycle: tuple[str, ...] = ()
    ahead: str = ""
    active: str = ""
    queue_full: bool = False
    next_landed: int | None = None
    target: str = ""  # a steer's declared target, or the task that holds the session now
    target_phase: str = ""  # '' when it does not exist (any more)
    other_steer: str = ""  # another steer on its way: pi's queue holds one at a time
    unsupported: tuple[str, ...] = ()
    abandoned: bool = False  # its lieutenant is being deleted and can't be asked any more


Policy = Callable[[TaskView], Decision | None]


def marker_of(namespace: str, name: str, attempt: int, token: str) -> str:
    """The first line of a prompt: makes it findable, and keeps it from beginning with `/`, which pi would expand."""
    return f"[task {namespace}/{name} attempt {attempt} {token}]"


def landed_at(talk: Talk, marker: str, baseline: int) -> Message | None:
    """The user message that carries this marker, not before `baseline`."""
    return next((m for m in talk.messages if m.offset >= baseline and m.role == "user" and m.text.startswith(marker)), None)


def run(v: TaskView) -> tuple[Message, ...]:
    """The messages of this task's turn so far."""
    return run_of(v.talk.messages, v.record.landed, v.next_landed) if v.talk and v.record.landed >= 0 else ()


# --- why a task must end before it is done ----------------------------------------------------------------------------------


def must_end(v: TaskView) -> Finish | None:
    """Cancelled, orphaned, blocked for good or out of time; nothing of it says how far it is."""
    if v.cancel:
        return Finish("Cancelled", "CancelledByUser", "cancelled as declared")
    if v.deleting:
        return Finish("Cancelled", "Deleted", "the task was deleted")
    if v.host is Host.GOING:
        return Finish("Cancelled", "LieutenantDeleted", "its lieutenant was deleted")
    failed = [d.name for d in v.dependencies if d.phase in FINISHED and d.phase != "Succeeded"]
    if failed and not v.record.sent:
        return Finish("Cancelled", "DependencyFailed", f"{failed[0]} did not succeed")
    since = max(v.created_at, v.not_before)
    if v.deadline_seconds and v.now >= since + v.deadline_seconds:
        return Finish("TimedOut", "DeadlineExceeded", f"not done within {v.deadline_seconds} s")
    begun = v.record.landed_at or v.record.delivering_at
    if v.record.sent and v.timeout_seconds and v.now >= begun + v.timeout_seconds:
        return Finish("TimedOut", "TaskTimeout", f"not done within {v.timeout_seconds} s of its delivery")
    if v.record.phase == "Running" and v.no_progress_seconds and v.now >= max(v.record.progress_at, begun) + v.no_progress_seconds:
        return Finish("TimedOut", "NoProgress", f"nothing new in the conversation for {v.no_progress_seconds} s")
    return None


def next_limit(v: TaskView) -> float | None:
    """When the nearest of its limits will pass."""
    limits = []
    if v.deadline_seconds:
        limits.append(max(v.created_at, v.not_before) + v.deadline_seconds)
    begun = v.record.landed_at or v.record.delivering_at
    if v.record.sent and v.timeout_seconds:
        limits.append(begun + v.timeout_seconds)
    if v.record.phase == "Running" and v.no_progress_seconds:
        limits.append(max(v.record.progress_at, begun) + v.no_progress_seconds)
    return min(limits, default=None)


# --- policies for every task ---------------------------------------------------------------------------------------------------


def leave_the_finished(v: TaskView) -> Decision | None:
    """G-20: a task has exactly one result; deleting it then removes it."""
    if not v.record.finished:
        return None
    return Release() if v.deleting else Steady()


def refuse_the_unsupported(v: TaskView) -> Decision | None:
    """A field that protects and is not acted on in this release: nothing is sent."""
    if v.unsupported and not v.record.sent and not v.deleting:
        return Refuse("Unsupported", f"not acted on in this release: {', '.join(v.unsupported)}; remove it or use a later release")
    return None


def wait_for_a_lieutenant(v: TaskView) -> Decision | None:
    """A task for nobody waits; deleting it needs nobody."""
    if v.host is not Host.MISSING:
        return None
    if v.record.sent:
        return Finish("Cancelled", "LieutenantDeleted", "its lieutenant was deleted")
    ending = must_end(v)
    return ending or Wait("LieutenantNotFound", "its lieutenant does not exist", until=next_limit(v))


def refuse_a_cycle(v: TaskView) -> Decision | None:
    """Tasks that wait for each other never start; a person must break the circle."""
    return (
        Refuse("DependencyCycle", f"`after` goes in a circle: {' → '.join(v.cycle)}") if v.cycle and not (v.cancel or v.deleting) else None
    )


def note_the_landing(v: TaskView) -> Decision | None:
    """G-20, G-23: delivered means that the marked message is in the conversation."""
    if v.record.phase != "Delivering" or v.talk is None:
        return None
    message = landed_at(v.talk, v.record.marker, v.record.baseline)
    return Landed(message.offset) if message else None


def end_what_must_end(v: TaskView) -> Decision | None:
    """G-29: what may not go on is ended; what is with pi already is aborted first, and judged when settled."""
    ending = must_end(v)
    if ending is None:
        return None
    if not v.record.sent:
        return ending
    if v.talk is None or not v.talk.up:
        if v.abandoned or (v.talk is not None and v.record.abort):
            return ending
        return Wait("Ending", f"{ending.message}; waiting until its agent can be reached")
    if not v.talk.settled:
        if v.record.abort and v.now < v.record.aborted_at + ABORT_PATIENCE:
            return Wait("Ending", ending.message, until=v.record.aborted_at + ABORT_PATIENCE)
        return AbortTurn(ending.reason)
    if v.record.phase != "Delivering" and not v.record.abort and ending.phase != "Cancelled" and ended_well(v):
        return None  # it was done before it could be ended
    return ending


# --- queue tasks ------------------------------------------------------------------------------------------------------------------


def wait_for_its_turn(v: TaskView) -> Decision | None:
    """Order: dependencies, then creation time, then name; one at a time."""
    if v.record.phase != "Pending":
        return None
    if v.now < v.not_before:
        return Wait("NotBefore", "its time has not come", until=v.not_before)
    waiting = [d.name for d in v.dependencies if d.phase != "Succeeded"]
    if waiting:
        return Wait("DependencyPending", f"waiting for {', '.join(waiting)}", until=next_limit(v))
    if v.queue_full:
        return Wait("QueueFull", "more tasks are pending than queue.maxPending", until=next_limit(v))
    if v.host in (Host.SUSPENDED, Host.SUSPENDING):
        return Wait("LieutenantSuspended", "its lieutenant is declared Suspended", until=next_limit(v))
    if v.host is not Host.READY:
        return Wait("LieutenantNotReady", v.host_reason, until=next_limit(v))
    if v.now < v.record.not_before:
        return Wait("BackingOff", v.record.message, until=v.record.not_before)
    if v.active or v.ahead:
        return Wait("Queued", f"after {v.active or v.ahead}", until=next_limit(v))
    return None


def deliver(v: TaskView) -> Decision | None:
    """G-22: a prompt goes only to a settled session."""
    if v.record.phase != "Pending":
        return None
    if v.talk is None or not v.talk.settled:
        return Wait("AgentBusy", "waiting until the session is settled", until=next_limit(v))
    return Deliver(v.record.attempt + 1)


def resolve_the_delivery(v: TaskView) -> Decision | None:
    """G-20: sent and not seen. Only a settled session without the marker proves that it did not arrive."""
    if v.record.phase != "Delivering":
        return None
    if v.talk is None or not v.talk.settled:
        return Wait("Delivering", "sent; not yet seen in the conversation", until=next_limit(v))
    match v.verdict:
        case None | Unanswered():
            return Wait("Delivering", "waiting for pi's answer", until=next_limit(v))
        case Declined(error):
            return TryAgain("Declined", error)
        case Unheard():
            return Deliver(v.record.attempt, resend=True, fresh_key=False)
        case Accepted() | Lost():
            return Deliver(v.record.attempt, resend=True)


def note_progress(v: TaskView) -> Decision | None:
    """A conversation that grows is progress (only written down where a limit needs it)."""
    if v.record.phase == "Running" and v.no_progress_seconds and v.talk and v.talk.size > v.record.progress_size:
        return Progress(v.talk.size)
    return None


def ended_well(v: TaskView) -> bool:
    """The last thing said in this turn is a complete answer."""
    answers = [m for m in run(v) if m.role == "assistant"]
    return bool(answers) and run(v)[-1].role == "assistant" and answers[-1].stop_reason == "stop"


def judge_the_turn(v: TaskView) -> Decision | None:
    """G-21: only a settled session is judged, and only by how its last message ended."""
    if v.record.phase != "Running":
        return None
    if v.talk is None or not v.talk.settled:
        return Wait("Running", "", until=next_limit(v))
    if ended_well(v):
        return Verify() if v.has_acceptance else Finish("Succeeded", "Completed")
    turn = run(v)
    last = turn[-1] if turn else None
    if last is not None and last.role == "assistant" and last.stop_reason in ("error", "length"):
        reason = "ModelError" if last.stop_reason == "error" else "OutputTruncated"
        return fail(v, reason, last.error or f"the last answer ended with {last.stop_reason}")
    if v.host is not Host.READY:
        return Wait("Interrupted", "its turn was cut short; it goes on when its lieutenant is ready", until=next_limit(v))
    if v.record.continues < MAX_CONTINUES:
        return Continue(v.record.continues + 1)
    return fail(v, "SessionLost", f"its turn was cut short {v.record.continues + 1} times")


def judge_the_checks(v: TaskView) -> Decision | None:
    """G-21: acceptance decides; what failed is told to the next attempt."""
    if v.record.phase != "Verifying":
        return None
    if not v.record.checks:
        return Verify()
    failed = [check for check in v.record.checks if check != "ok"]
    return fail(v, "AcceptanceFailed", "; ".join(failed)) if failed else Finish("Succeeded", "Completed")


def fail(v: TaskView, reason: str, message: str) -> Decision:
    """Another attempt where one is allowed, else the end."""
    return TryAgain(reason, message) if len(v.record.attempts) < v.retries else Finish("Failed", reason, message)


QUEUE: tuple[Policy, ...] = (
    leave_the_finished,
    refuse_the_unsupported,
    wait_for_a_lieutenant,
    refuse_a_cycle,
    note_the_landing,
    note_progress,
    end_what_must_end,
    wait_for_its_turn,
    deliver,
    resolve_the_delivery,
    judge_the_turn,
    judge_the_checks,
)


# --- steers -------------------------------------------------------------------------------------------------------------------------


def steer_only_the_target(v: TaskView) -> Decision | None:
    """G-23: a steer belongs to its target's turn; without it, it expires."""
    if v.record.phase != "Pending":
        return None
    expired = v.now >= max(v.created_at, v.not_before) + v.land_seconds
    if not v.target:
        return Finish("Expired", "NothingToSteer", "no task was running when it was accepted")
    if v.target_phase in FINISHED:
        return Finish("Expired", "TargetFinished", f"{v.target} is {v.target_phase} already")
    if expired:
        return Finish("Expired", "NotLanded", f"{v.target} did not run within {v.land_seconds} s")
    if v.target_phase != "Running" or v.talk is None or v.talk.settled or v.other_steer:
        return Wait("TargetNotRunning", f"waiting for {v.target} to run", until=max(v.created_at, v.not_before) + v.land_seconds)
    return SendSteer(v.target)


def resolve_the_steer(v: TaskView) -> Decision | None:
    """G-23: landed is decided by the conversation alone; after landSeconds it is taken back, then it has expired."""
    if v.record.phase != "Delivering":
        return None
    until = v.record.delivering_at + v.land_seconds
    if isinstance(v.verdict, Declined) and v.talk is not None:
        return Finish("Expired", "Declined", v.verdict.error)
    if v.talk is not None and v.talk.up and v.talk.settled and not isinstance(v.verdict, Unanswered | None):
        if isinstance(v.verdict, Accepted) and not v.record.abort:
            return Withdraw()
        return Finish("Expired", "NotLanded", "the session settled without it")
    if v.now < until:
        return Wait("Landing", "sent; not yet seen in the conversation", until=until)
    if v.talk is None or not v.talk.up:
        return Wait("Landing", "waiting until its agent can be reached")
    return Finish("Expired", "NotLanded", f"not seen within {v.land_seconds} s") if v.record.abort else Withdraw()


def note_the_steer(v: TaskView) -> Decision | None:
    """A landed steer has done all it can."""
    return Finish("Succeeded", "Landed") if v.record.phase == "Running" else None


def end_a_steer(v: TaskView) -> Decision | None:
    """A steer that must end and was sent is taken back first."""
    ending = must_end(v)
    if ending is None:
        return None
    if not v.record.sent or v.record.abort:
        return ending
    return Withdraw() if v.talk is not None and v.talk.up else ending


STEER: tuple[Policy, ...] = (
    leave_the_finished,
    refuse_the_unsupported,
    wait_for_a_lieutenant,
    note_the_landing,
    note_the_steer,
    end_a_steer,
    steer_only_the_target,
    resolve_the_steer,
)


def plan(view: TaskView) -> Decision:
    """The first policy that has an opinion decides."""
    for policy in STEER if view.steer else QUEUE:
        decision = policy(view)
        if decision is not None:
            return decision
    return Wait("Unknown", "no policy has an opinion")


# --- order -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A task's claim to a place in its lieutenant's queue."""

    name: str
    created_at: float
    phase: str
    steer: bool
    runnable: bool  # dependencies done, its time has come, not to be ended


def ahead_of(name: str, places: tuple[Place, ...]) -> str:
    """The runnable pending task whose turn comes before `name`'s; '' when it is first."""
    mine = next(p for p in places if p.name == name)
    waiting = [p for p in places if p.phase == "Pending" and p.runnable and not p.steer and p.name != name]
    before = [p for p in waiting if (p.created_at, p.name) < (mine.created_at, mine.name)]
    return max(before, key=lambda p: (p.created_at, p.name)).name if before else ""


def cycle_through(name: str, after: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The circle of `after` that `name` is part of, beginning and ending with it; () when there is none."""
    stack: list[tuple[str, tuple[str, ...]]] = [(name, (name,))]
    seen: set[str] = set()
    while stack:
        at, path = stack.pop()
        for following in after.get(at, ()):
            if following == name:
                return (*path, name)
            if following not in seen:
                seen.add(following)
                stack.append((following, (*path, following)))
    return ()
