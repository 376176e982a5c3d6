"""One task: its turn, its delivery, its end; and steers. Tables of promises, and what holds in every situation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.budget import TaskBudget
from reconciler.core.decisions import (
    AbortTurn,
    AnswerQuestion,
    AwaitApproval,
    Continue,
    Decision,
    Deliver,
    Escalate,
    Finish,
    HoldForBudget,
    HoldForProvider,
    Landed,
    LookForArtifact,
    NoteAnswer,
    NoteTaskSpending,
    Progress,
    Refuse,
    Release,
    Remind,
    SendSteer,
    Steady,
    TellOfBudget,
    TryAgain,
    Verify,
    Wait,
    Withdraw,
)
from reconciler.core.messages import Message, ToolCall
from reconciler.core.plan import is_action
from reconciler.core.provider.breaker import ProviderBreaker
from reconciler.core.provider.trouble import Remedy, Trouble
from reconciler.core.records import Attempt, EscalationStep, ReminderRecord, TaskRecord
from reconciler.core.snapshot.agent import Accepted, Declined, Lost, Question, RunningTool, Unanswered, Unheard
from reconciler.core.snapshot.provider import Provider
from reconciler.core.snapshot.task import Approval, Availability, Dependency, OverBudget, TaskView
from reconciler.core.spending.ledger import Spent
from reconciler.core.task.policies import QUEUE, plan
from reconciler.core.task.queue import QueueEntry, TaskQueue, cycle_through
from reconciler.core.task.steer import STEER
from reconciler.core.task.view import ON_ITS_WAY
from tests.core.views import (
    ARRIVED,
    BUSY,
    DELIVERING,
    DOWN,
    MARK,
    NOW,
    PENDING,
    PROMPT,
    RUNS,
    SENT,
    SETTLED,
    WELL,
    answer,
    decider,
    said,
    tasks,
)
from tests.core.views import STEER as STEERS
from tests.core.views import STEERING as STEERED

CANCELLED = Finish("Cancelled", "CancelledByUser", "cancelled as declared")
QUESTION = Question("q", "bash(x)", "x", "", "", NOW - 3)
OTHER = Question("p", "bash(y)", "y", "", "", NOW - 5)
ASKING = replace(said(settled=False), asks=(QUESTION,))
DONE = TaskRecord(phase="Succeeded", reason="Completed")
ONE_TRY = ARRIVED.but(attempts=(Attempt(number=1, reason="ModelError"),))
ENDED = replace(RUNS, talk=said(WELL))
INTERRUPTED = replace(RUNS, talk=said())
ABORTED = replace(RUNS, record=ARRIVED.but(abort="TaskTimeout", aborted_at=NOW - 1))
CHECKING = replace(RUNS, record=ARRIVED.but(phase="Verifying"), talk=said(WELL))
LIMITED = replace(RUNS, timeout_seconds=3)
CALLS = Message("e2", 200, "assistant", "", "toolUse", calls=(ToolCall("c1", "bash", "sleep 25"),))
ASKED_AGAIN = "nothing has to be done: it is asked again by itself; `reconciler retry` asks now"
LIMITED_PROVIDER = ProviderBreaker("ProviderLimited", "429", NOW - 60, next_probe=NOW + 30)
DUE_PROVIDER = replace(LIMITED_PROVIDER, next_probe=NOW)

OF_60 = TaskBudget.model_validate({"maxTokens": 60})
OVER = OverBudget("the budget is used up", ends_turns=True)

SCENARIOS: dict[str, tuple[TaskView, Decision]] = {
    "a finished task stays as it is": (replace(PENDING, record=DONE), Steady()),
    "even when it is cancelled afterwards": (replace(PENDING, record=DONE, cancel=True), Steady()),
    "deleting it removes it": (replace(PENDING, record=DONE, deleting=True), Release()),
    "nothing is sent with a field that protects and is not acted on": (
        replace(PENDING, unsupported=("spec.contentFrom",)),
        Refuse("Unsupported", "not acted on in this release: spec.contentFrom; remove it or use a later release"),
    ),
    "nothing is sent whose rules nobody would check": (
        replace(PENDING, unguarded=True),
        Refuse(
            "PermissionsNotApplied",
            "its lieutenant and the profile declare no permissions, so nobody would check those of the task; declare some there",
        ),
    ),
    "nor one whose rules say something else than its examples": (replace(PENDING, wrong_rules="x"), Refuse("PermissionsInvalid", "x")),
    "a call that waits for a person is told": (
        replace(RUNS, talk=ASKING),
        AwaitApproval("AwaitingApproval", "bash(x) waits for a person (1 in all): reconciler approve one, or deny one", None, (QUESTION,)),
    ),
    "what the person said is told the keeper": (
        replace(RUNS, talk=ASKING, approvals=(Approval("q", False, "no"),)),
        AnswerQuestion("q", False, "no", "bash(x)"),
    ),
    "and that nobody answered the other one": (
        replace(RUNS, talk=replace(ASKING, asks=(OTHER, QUESTION)), approvals=(Approval("q", True, ""),)),
        AnswerQuestion("q", True, "", "bash(x)", (OTHER,)),
    ),
    "a task for nobody waits": (
        replace(PENDING, availability=Availability.MISSING, talk=None),
        Wait("LieutenantNotFound", "its lieutenant does not exist"),
    ),
    "it can be cancelled without one": (replace(PENDING, availability=Availability.MISSING, talk=None, cancel=True), CANCELLED),
    "what a lieutenant took with it ends": (
        replace(RUNS, availability=Availability.MISSING, talk=None),
        Finish("Cancelled", "LieutenantDeleted", "its lieutenant was deleted"),
    ),
    "tasks that wait for each other are a person's to sort out": (
        replace(PENDING, cycle=("one", "two", "one")),
        Refuse("DependencyCycle", "`after` goes in a circle: one → two → one"),
    ),
    "a prompt seen in the conversation has landed": (replace(DELIVERING, talk=said(settled=False)), Landed(100)),
    "an older message with the same marker is not it": (
        replace(DELIVERING, talk=said(settled=False), record=SENT.but(baseline=150)),
        Wait("Delivering", ON_ITS_WAY),
    ),
    "an answer that quotes the marker is not it": (
        replace(DELIVERING, talk=replace(BUSY, messages=(replace(PROMPT, role="assistant"),))),
        Wait("Delivering", ON_ITS_WAY),
    ),
    "growth is noted where a limit needs it": (
        replace(RUNS, no_progress_seconds=60, talk=said(settled=False)),
        Wait("Running", "", until=NOW - 4 + 60),
    ),
    "more of it is progress": (
        replace(RUNS, no_progress_seconds=60, talk=replace(said(settled=False), size=900)),
        Progress(900),
    ),
    "what its own budget comes to is told when it changes": (
        replace(RUNS, budget=OF_60, spent=Spent(tokens=50)),
        NoteTaskSpending("Warned", "50 of 60 tokens"),
    ),
    "what was shortened out of sight is said again in its turn": (replace(RUNS, untold="c1"), Remind("c1")),
    "once": (
        replace(RUNS, untold="c1", reminder=ReminderRecord(compaction="c1", at=NOW - 5, tries=1)),
        Wait("Running", "", until=NOW - 5 + 60),
    ),
    "it is offered again where it was not seen": (
        replace(RUNS, untold="c1", reminder=ReminderRecord(compaction="c1", at=NOW - 60, tries=1)),
        Remind("c1"),
    ),
    "but not for ever": (
        replace(RUNS, untold="c1", reminder=ReminderRecord(compaction="c1", at=NOW - 60, tries=3)),
        Wait("Running", ""),
    ),
    "another shortening is another matter": (
        replace(RUNS, untold="c2", reminder=ReminderRecord(compaction="c1", at=NOW - 5, tries=3)),
        Remind("c2"),
    ),
    "a turn that is about to end is left alone": (
        replace(RUNS, untold="c1", talk=said(WELL, settled=False)),
        Wait("Running", ""),
    ),
    "an agent is told in its turn when a budget is used up": (replace(RUNS, over_budget=OVER), TellOfBudget("the budget is used up")),
    "and has time to end it": (
        replace(RUNS, over_budget=OVER, record=ARRIVED.but(budget_told=NOW - 5)),
        Wait("Running", "", until=NOW - 5 + 60),
    ),
    "then it is ended": (
        replace(RUNS, over_budget=OVER, record=ARRIVED.but(budget_told=NOW - 61)),
        AbortTurn("Budget", "the budget is used up"),
    ),
    "where that is declared": (
        replace(RUNS, over_budget=OverBudget("x", ends_turns=False), record=ARRIVED.but(budget_told=NOW - 61)),
        Wait("Running", ""),
    ),
    "what was cut short waits for the budget and spends no attempt": (
        replace(INTERRUPTED, over_budget=OVER, record=ARRIVED.but(abort="Budget", aborted_at=NOW - 1)),
        HoldForBudget("the budget is used up"),
    ),
    "one whose own budget is used up has failed": (
        replace(INTERRUPTED, budget=OF_60, spent=Spent(tokens=60), record=ARRIVED.but(budget="Exceeded")),
        Finish("Failed", "BudgetExceeded", "it has used up its own budget: 60 of 60 tokens"),
    ),
    "and is not tried again": (
        replace(PENDING, budget=OF_60, spent=Spent(tokens=60), record=TaskRecord(budget="Exceeded")),
        Finish("Failed", "BudgetExceeded", "it has used up its own budget: 60 of 60 tokens"),
    ),
    "a pending one is cancelled at once": (replace(PENDING, cancel=True), CANCELLED),
    "a running one is aborted first": (replace(RUNS, cancel=True), AbortTurn("CancelledByUser", "cancelled as declared")),
    "then waited for": (
        replace(ABORTED, cancel=True),
        Wait("Ending", "cancelled as declared", until=NOW - 1 + 15),
    ),
    "an abort without effect is repeated": (
        replace(RUNS, cancel=True, record=ARRIVED.but(abort="CancelledByUser", aborted_at=NOW - 16)),
        AbortTurn("CancelledByUser", "cancelled as declared"),
    ),
    "then it ends": (replace(ABORTED, cancel=True, talk=said(answer("aborted"))), CANCELLED),
    "a delivered one ends only where its agent can be asked": (
        replace(RUNS, cancel=True, talk=None),
        Wait("Ending", "cancelled as declared; waiting until its agent can be reached"),
    ),
    "unless that will never be": (replace(RUNS, cancel=True, talk=None, abandoned=True), CANCELLED),
    "a deleted task is cancelled": (replace(PENDING, deleting=True), Finish("Cancelled", "Deleted", "the task was deleted")),
    "with its lieutenant it ends": (
        replace(PENDING, availability=Availability.GOING),
        Finish("Cancelled", "LieutenantDeleted", "its lieutenant was deleted"),
    ),
    "a failed dependency ends it": (
        replace(PENDING, dependencies=(Dependency("a", "Failed"),)),
        Finish("Cancelled", "DependencyFailed", "a did not succeed"),
    ),
    "a cancelled one too": (
        replace(PENDING, dependencies=(Dependency("a", "Cancelled"),)),
        Finish("Cancelled", "DependencyFailed", "a did not succeed"),
    ),
    "a deadline counts from its creation": (
        replace(PENDING, deadline_seconds=10),
        Finish("TimedOut", "DeadlineExceeded", "not done within 10 s"),
    ),
    "or from when it may begin": (
        replace(PENDING, deadline_seconds=10, not_before=NOW + 5),
        Wait("NotBefore", "its time has not come", until=NOW + 5),
    ),
    "a turn that takes too long is aborted": (LIMITED, AbortTurn("TaskTimeout", "not done within 3 s of its delivery")),
    "and has timed out": (
        replace(LIMITED, record=ABORTED.record, talk=said(answer("aborted"))),
        Finish("TimedOut", "TaskTimeout", "not done within 3 s of its delivery"),
    ),
    "interrupted for a steer it waits until that is said": (
        replace(INTERRUPTED, held_by="s"),
        Wait("Interrupted", "s interrupted it, to be said before it goes on"),
    ),
    "done just in time is done": (replace(LIMITED, talk=said(WELL)), Finish("Succeeded", "Completed")),
    "a turn without progress is aborted": (
        replace(RUNS, no_progress_seconds=4),
        AbortTurn("NoProgress", "nothing new in the conversation for 4 s"),
    ),
    "and it is said which tool runs, about what, since when": (
        replace(
            RUNS,
            no_progress_seconds=4,
            talk=replace(said(CALLS, settled=False), size=200, tool=RunningTool("bash", NOW - 25)),
        ),
        AbortTurn("NoProgress", "nothing new in the conversation for 4 s; bash (sleep 25) runs without output since 2027-01-15T07:59:35Z"),
    ),
    "which is still said when the turn has ended": (
        replace(RUNS, record=ARRIVED.but(abort="NoProgress", because="bash runs"), talk=said(answer("aborted"))),
        Finish("TimedOut", "NoProgress", "bash runs"),
    ),
    "a tool whose processes work is no progress of the conversation": (
        replace(RUNS, no_progress_seconds=4, talk=replace(RUNS.talk, work=3)),
        AbortTurn("NoProgress", "nothing new in the conversation for 4 s"),
    ),
    "unless that is declared": (
        replace(RUNS, no_progress_seconds=4, work_is_progress=True, talk=replace(RUNS.talk, work=3)),
        Progress(200, 3),
    ),
    "with a escalation it is steered before": (
        replace(RUNS, no_progress_seconds=4, escalation=("Steer", "Abort")),
        Escalate("Steer", "no sign of progress for 4 s"),
    ),
    "the steps of the escalation are taken in order": (
        replace(
            RUNS,
            no_progress_seconds=4,
            escalation=("Steer", "Abort"),
            record=ARRIVED.but(escalation_steps=(EscalationStep(action="Steer", at=NOW - 60, why="no sign of progress for 4 s"),)),
        ),
        Escalate("Abort", "no sign of progress for 4 s"),
    ),
    "before a task ends for want of a first file, its work dir is looked at": (
        replace(RUNS, first_artifact_seconds=3),
        LookForArtifact(),
    ),
    "one that wrote a file goes on": (
        replace(RUNS, first_artifact_seconds=3, record=ARRIVED.but(artifact="made")),
        Wait("Running", ""),
    ),
    "it waits for its dependencies": (
        replace(PENDING, dependencies=(Dependency("a", "Running"), Dependency("b", ""))),
        Wait("DependencyPending", "waiting for a, b"),
    ),
    "beyond the queue's length it waits": (
        replace(PENDING, queue_full=True),
        Wait("QueueFull", "more tasks are pending than queue.maxPending"),
    ),
    "it never wakes a declared Suspended": (
        replace(PENDING, availability=Availability.SUSPENDED, talk=None),
        Wait("LieutenantSuspended", "its lieutenant is declared Suspended"),
    ),
    "it waits for a lieutenant that is not ready, and says why": (
        replace(PENDING, availability=Availability.NOT_READY, unavailable_because="Booting: VM x is booting"),
        Wait("LieutenantNotReady", "Booting: VM x is booting"),
    ),
    "the next attempt waits a little": (
        replace(PENDING, record=TaskRecord(not_before=NOW + 2, message="ModelError: overloaded")),
        Wait("BackingOff", "ModelError: overloaded", until=NOW + 2),
    ),
    "one at a time": (replace(PENDING, active="zero"), Wait("Queued", "after zero")),
    "in order": (replace(PENDING, ahead="zero"), Wait("Queued", "after zero")),
    "a busy session gets no prompt": (replace(PENDING, talk=BUSY), Wait("AgentBusy", "waiting until the session is settled")),
    "nor does an unknown one": (replace(PENDING, talk=None), Wait("AgentBusy", "waiting until the session is settled")),
    "a settled one does": (PENDING, Deliver(1)),
    "the second attempt is the second": (replace(PENDING, record=TaskRecord(attempt=1)), Deliver(2)),
    "what was sent is waited for while the session is not settled": (
        replace(DELIVERING, talk=BUSY, verdict=Unheard()),
        Wait("Delivering", ON_ITS_WAY),
    ),
    "while the outcome is unknown nothing is sent again": (
        replace(DELIVERING, verdict=Unanswered()),
        Wait("Delivering", "waiting for pi's answer"),
    ),
    "without a verdict neither": (DELIVERING, Wait("Delivering", "waiting for pi's answer")),
    "a declined prompt was no attempt": (replace(DELIVERING, verdict=Declined("busy")), TryAgain("Declined", "busy")),
    "one the keeper never saw goes again under the same key": (
        replace(DELIVERING, verdict=Unheard()),
        Deliver(1, resend=True, fresh_key=False),
    ),
    "one that came to nothing goes again under a new key": (replace(DELIVERING, verdict=Lost("died")), Deliver(1, resend=True)),
    "also when pi had accepted it": (replace(DELIVERING, verdict=Accepted()), Deliver(1, resend=True)),
    "but not to a pi that is down": (
        replace(DELIVERING, talk=DOWN, verdict=Lost("died")),
        Wait("Delivering", ON_ITS_WAY),
    ),
    "a turn whose conversation does not go on is lost": (
        replace(RUNS, record=ARRIVED.but(session="s-g1"), session="s-g2", talk=SETTLED),
        Finish("Failed", "SessionLost", "the conversation it was part of, s-g1, does not go on"),
    ),
    "and tried again where that is allowed": (
        replace(RUNS, record=ARRIVED.but(session="s-g1"), session="s-g2", talk=SETTLED, retries=1),
        TryAgain("SessionLost", "the conversation it was part of, s-g1, does not go on"),
    ),
    "unless it was cancelled meanwhile": (
        replace(RUNS, record=ARRIVED.but(session="s-g1"), session="s-g2", talk=SETTLED, retries=1, cancel=True),
        CANCELLED,
    ),
    "where the other conversation has its prompt too, it goes on in that": (
        replace(RUNS, record=ARRIVED.but(session="s-g1", baseline=500), session="s-g2", talk=said(settled=False)),
        Landed(100),
    ),
    "until that is known, nothing": (replace(RUNS, record=ARRIVED.but(session="s-g1"), session="s-g2", talk=None), Wait("Running", "")),
    "a turn in progress is waited for": (RUNS, Wait("Running", "")),
    "good last words in a session that is not settled decide nothing": (replace(RUNS, talk=said(WELL, settled=False)), Wait("Running", "")),
    "settled with a good end it has succeeded": (ENDED, Finish("Succeeded", "Completed")),
    "with acceptance it is checked first": (replace(ENDED, has_acceptance=True), Verify()),
    "words decide nothing": (
        replace(RUNS, talk=said(answer("error", "I have succeeded", "flagged"))),
        Finish("Failed", "ModelError", "flagged"),
    ),
    "a cut-off answer is no success": (
        replace(RUNS, talk=said(answer("length"))),
        Finish("Failed", "OutputTruncated", "the last answer ended with length"),
    ),
    "a model's error is tried again where that is allowed": (
        replace(RUNS, retries=1, talk=said(answer("error", "", "flagged"))),
        TryAgain("ModelError", "flagged"),
    ),
    "as often as allowed": (
        replace(RUNS, retries=1, record=ONE_TRY, talk=said(answer("error", "", "flagged"))),
        Finish("Failed", "ModelError", "flagged"),
    ),
    "a provider at its limit costs no attempt": (
        replace(RUNS, retries=1, talk=said(answer("error", "", "429: slow down"))),
        HoldForProvider(Trouble(Remedy.TIME), "429: slow down"),
    ),
    "as long as it asks for": (
        replace(RUNS, talk=replace(said(answer("error", "", "429: slow down")), retry_after=3300.0)),
        HoldForProvider(Trouble(Remedy.TIME, retry_after=3300.0), "429: slow down"),
    ),
    "nor does one that refuses": (
        replace(RUNS, talk=said(answer("error", "", "401: no"))),
        HoldForProvider(Trouble(Remedy.CHANGE), "401: no"),
    ),
    "nor a prompt that pi declines for want of a key": (
        replace(DELIVERING, verdict=Declined("No API key found for the selected model.")),
        HoldForProvider(Trouble(Remedy.CHANGE), "No API key found for the selected model."),
    ),
    "an error that the request may cause itself is waited for a few times only": (
        replace(RUNS, record=ARRIVED.but(held=5), talk=said(answer("error", "", "500: internal"))),
        Finish("Failed", "ModelError", "500: internal"),
    ),
    "no prompt goes to a provider at its limit": (
        replace(PENDING, provider=Provider(name="acme", breaker=LIMITED_PROVIDER)),
        Wait("ProviderLimited", "acme takes no requests now: 429; " + ASKED_AGAIN, until=NOW + 30),
    ),
    "nor while another task probes it": (
        replace(PENDING, provider=Provider(name="acme", breaker=DUE_PROVIDER, probing=True)),
        Wait("ProviderLimited", "acme takes no requests now: 429; " + ASKED_AGAIN, until=DUE_PROVIDER.next_probe),
    ),
    "when its time has come one goes": (replace(PENDING, provider=Provider(name="acme", breaker=DUE_PROVIDER)), Deliver(1)),
    "a turn that was cut short waits for it too": (
        replace(INTERRUPTED, provider=Provider(name="acme", breaker=LIMITED_PROVIDER)),
        Wait("ProviderLimited", "acme takes no requests now: 429; " + ASKED_AGAIN, until=NOW + 30),
    ),
    "the first good answer of the probe opens it to all": (
        replace(RUNS, talk=said(answer("toolUse"), settled=False), provider=Provider(breaker=DUE_PROVIDER, probing=True), probes=True),
        NoteAnswer(),
    ),
    "an empty answer is no success": (replace(RUNS, talk=said(answer("stop"))), Continue(1, empty=True)),
    "nor with blanks only, nor where checks would pass": (
        replace(RUNS, has_acceptance=True, talk=said(answer("stop", " \n"))),
        Continue(1, empty=True),
    ),
    "two of them are a failed attempt": (
        replace(RUNS, retries=1, talk=said(answer("stop"), Message("e3", 300, "user", "go on"), answer("stop", offset=400))),
        TryAgain("EmptyAnswer", "the model ended twice without text, tool call and tokens"),
    ),
    "silence is no success: an interrupted turn goes on": (INTERRUPTED, Continue(1)),
    "also one that ended in a tool's result": (replace(RUNS, talk=said(WELL, Message("e3", 300, "toolResult", "ok"))), Continue(1)),
    "when its lieutenant is ready": (
        replace(INTERRUPTED, availability=Availability.NOT_READY),
        Wait("Interrupted", "its turn was cut short; it goes on when its lieutenant is ready"),
    ),
    "not for ever": (
        replace(INTERRUPTED, record=ARRIVED.but(continues=3), verdict=Lost("pi died")),
        Finish("Failed", "SessionLost", "its turn was cut short 4 times"),
    ),
    "what asks for the rest and may still arrive is awaited": (
        replace(INTERRUPTED, record=ARRIVED.but(continues=1), verdict=Unanswered()),
        Wait("Running", "waiting for pi's answer"),
    ),
    "what was never heard is asked again, under its key": (
        replace(INTERRUPTED, record=ARRIVED.but(continues=1), verdict=Unheard()),
        Continue(1),
    ),
    "what pi had accepted and is not there is asked anew": (
        replace(INTERRUPTED, record=ARRIVED.but(continues=1), verdict=Accepted()),
        Continue(2),
    ),
    "nor under rules that are not its own": (
        replace(INTERRUPTED, record=ARRIVED.but(continues=3, abort="Rules", because="declared are others"), verdict=Lost("pi died")),
        Finish("Failed", "PermissionsNotApplied", "declared are others"),
    ),
    "a turn under other rules than its own is ended": (
        replace(RUNS, talk=ASKING, misruled="declared are others", approvals=(Approval("q", True, ""),)),
        AbortTurn("Rules", "declared are others"),
    ),
    "and given its time": (
        replace(RUNS, talk=BUSY, misruled="declared are others", record=ARRIVED.but(abort="Rules", aborted_at=NOW - 1)),
        Wait("PermissionsNotApplied", "declared are others", until=NOW + 14),
    ),
    "and ended harder after it": (
        replace(RUNS, talk=BUSY, misruled="declared are others", record=ARRIVED.but(abort="Rules", aborted_at=NOW - 15)),
        AbortTurn("Rules", "declared are others"),
    ),
    "what is ended for another reason stays so": (
        replace(LIMITED, talk=BUSY, misruled="x", record=ARRIVED.but(abort="TaskTimeout", aborted_at=NOW - 1)),
        Wait("Ending", "not done within 3 s of its delivery", until=NOW + 14),
    ),
    "the next task's answer is not this one's": (replace(RUNS, talk=said(answer("stop", offset=400)), next_landed=300), Continue(1)),
    "checks run again when their outcome is not known": (CHECKING, Verify()),
    "all good is success": (
        replace(CHECKING, record=CHECKING.record.but(checks=("ok", "ok"))),
        Finish("Succeeded", "Completed"),
    ),
    "one bad is none": (
        replace(CHECKING, record=CHECKING.record.but(checks=("ok", "file a does not exist"))),
        Finish("Failed", "AcceptanceFailed", "file a does not exist"),
    ),
    "it is told to the next attempt": (
        replace(CHECKING, retries=1, record=CHECKING.record.but(checks=("file a does not exist",))),
        TryAgain("AcceptanceFailed", "file a does not exist"),
    ),
}

LANDING = STEERED.record.delivering_at + 60
EXPIRED = replace(STEERED, now=LANDING)

INTERRUPTED = replace(
    STEERS,
    record=SENT.but(escalation_steps=(EscalationStep(action="Abort", at=NOW - 5, why="not landed"),)),
    escalation=("Abort",),
    verdict=Unanswered(),
)

STEER_SCENARIOS: dict[str, tuple[TaskView, Decision]] = {
    "a steer has no rules of its own": (replace(STEERS, wrong_rules="x"), Refuse("PermissionsInvalid", "x")),
    "a steer that interrupts its target's turn waits until that settles": (
        replace(INTERRUPTED, talk=BUSY),
        Wait("Escalating", "interrupting the turn", until=NOW - 5 + 15),
    ),
    "and is not said while nobody can be asked": (
        replace(INTERRUPTED, talk=None),
        Wait("Escalating", "waiting until its agent can be reached"),
    ),
    "a finished steer stays": (replace(STEERS, record=DONE), Steady()),
    "one for nobody waits": (
        replace(STEERS, availability=Availability.MISSING, talk=None),
        Wait("LieutenantNotFound", "its lieutenant does not exist"),
    ),
    "one with a field not acted on is refused": (
        replace(STEERS, unsupported=("spec.contentFrom",)),
        Refuse("Unsupported", "not acted on in this release: spec.contentFrom; remove it or use a later release"),
    ),
    "it goes into the running turn": (STEERS, SendSteer("two")),
    "it never wakes anybody": (
        replace(STEERS, target_phase="Pending"),
        Wait("TargetNotRunning", "waiting for two to run", until=NOW - 10 + 60),
    ),
    "it is not sent to a settled session": (
        replace(STEERS, talk=SETTLED),
        Wait("TargetNotRunning", "waiting for two to run", until=NOW - 10 + 60),
    ),
    "one at a time": (replace(STEERS, other_steer="s"), Wait("TargetNotRunning", "waiting for two to run", until=NOW - 10 + 60)),
    "without anything to steer it expires": (
        replace(STEERS, target=""),
        Finish("Expired", "NothingToSteer", "no task was running when it was accepted"),
    ),
    "with its target's end it expires": (
        replace(STEERS, target_phase="Succeeded"),
        Finish("Expired", "TargetFinished", "two is Succeeded already"),
    ),
    "it does not wait for ever": (
        replace(STEERS, target_phase="Pending", now=NOW + 50),
        Finish("Expired", "NotLanded", "two did not run within 60 s"),
    ),
    "sent is not landed": (
        replace(STEERED, verdict=Accepted()),
        Wait("Landing", ON_ITS_WAY, until=LANDING),
    ),
    "seen is landed": (replace(STEERED, talk=said(settled=False)), Landed(100)),
    "landed it has done all it can": (replace(STEERS, record=ARRIVED), Finish("Succeeded", "Landed")),
    "declined it expires": (replace(STEERED, verdict=Declined("no")), Finish("Expired", "Declined", "no")),
    "not seen in time it is taken back": (EXPIRED, Withdraw()),
    "then it has expired": (
        replace(EXPIRED, record=STEERED.record.but(abort="Withdrawn")),
        Finish("Expired", "NotLanded", "not seen within 60 s"),
    ),
    "when the turn ends without it, it is taken back": (replace(STEERED, talk=SETTLED, verdict=Accepted()), Withdraw()),
    "so that it can't land later": (
        replace(STEERED, record=STEERED.record.but(abort="Withdrawn"), talk=SETTLED, verdict=Accepted()),
        Finish("Expired", "NotLanded", "the session settled without it"),
    ),
    "while its agent can't be reached nothing is concluded": (
        replace(EXPIRED, talk=None),
        Wait("Landing", "waiting until its agent can be reached"),
    ),
    "cancelled before it was sent it ends": (replace(STEERS, cancel=True), CANCELLED),
    "cancelled on its way it is taken back": (replace(STEERED, cancel=True), Withdraw()),
    "and ends": (replace(STEERED, cancel=True, record=STEERED.record.but(abort="Withdrawn")), CANCELLED),
}


@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-21")
@pytest.mark.guarantee("G-22")
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    view, expected = SCENARIOS[name]
    assert plan(view) == expected


@pytest.mark.guarantee("G-23")
@pytest.mark.parametrize("name", STEER_SCENARIOS)
def test_steer(name: str) -> None:
    view, expected = STEER_SCENARIOS[name]
    assert plan(view) == expected


def test_every_policy_decides_in_some_scenario() -> None:
    queue = {decider(QUEUE, view) for view, _ in SCENARIOS.values()}
    steer = {decider(STEER, view) for view, _ in STEER_SCENARIOS.values()}
    assert {policy.__name__ for policy in QUEUE.leaves()} - queue == set()
    assert {policy.__name__ for policy in STEER.leaves()} - steer == set()


@pytest.mark.guarantee("G-04")
@given(tasks())
def test_an_unknown_session_is_neither_written_to_nor_judged(view: TaskView) -> None:
    decision = plan(replace(view, talk=None))
    judged = isinstance(decision, TryAgain) and decision.reason == "AcceptanceFailed"  # by its checks, which are known
    assert judged or not isinstance(decision, Deliver | SendSteer | Continue | AbortTurn | Withdraw | Landed | Progress | TryAgain)
    if isinstance(decision, Finish) and view.record.phase == "Running":
        assert decision.phase != "Succeeded" or view.steer


@pytest.mark.guarantee("G-22")
@given(tasks())
def test_a_prompt_goes_only_to_a_settled_session(view: TaskView) -> None:
    decision = plan(view)
    if isinstance(decision, Deliver | Continue):
        assert view.talk is not None
        assert view.talk.settled
        assert not view.steer
    if isinstance(decision, SendSteer):
        assert view.talk is not None
        assert not view.talk.settled


@pytest.mark.guarantee("G-21")
@given(tasks())
def test_success_has_evidence(view: TaskView) -> None:
    decision = plan(view)
    if not isinstance(decision, Finish) or decision.phase != "Succeeded" or view.steer:
        return
    if view.record.phase == "Verifying":
        assert set(view.record.checks) == {"ok"}
    else:
        assert view.record.phase == "Running"
        assert not view.has_acceptance
        assert view.talk is not None
        assert view.talk.settled
        assert view.talk.messages[-1].stop_reason == "stop"


@pytest.mark.guarantee("G-20")
@given(tasks())
def test_a_result_is_never_changed(view: TaskView) -> None:
    if view.record.finished:
        decision = plan(view)
        assert not is_action(decision) or decision == Release()


# --- order -----------------------------------------------------------------------------------------------------------------

places = st.lists(
    st.builds(
        QueueEntry,
        st.sampled_from([f"t{n}" for n in range(6)]),
        st.sampled_from([1.0, 2.0, 3.0]),
        st.sampled_from(["Pending", "Running", "Succeeded"]),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda place: place.name,
)


def ahead_of(place: QueueEntry, found: list[QueueEntry]) -> str:
    return TaskQueue(found).ahead_of(place.created_at, place.name)


@given(places, st.randoms(use_true_random=False))
def test_the_order_of_the_queue_is_not_the_order_of_looking(found: list[QueueEntry], random: st.DataObject) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for place in found:
        assert ahead_of(place, found) == ahead_of(place, shuffled)
        assert TaskQueue(found).rank(place.created_at, place.name) == TaskQueue(shuffled).rank(place.created_at, place.name)


@given(places)
def test_exactly_one_runnable_task_is_first(found: list[QueueEntry]) -> None:
    waiting = [p for p in found if p.phase == "Pending" and p.runnable and not p.steer]
    first = [p for p in waiting if not ahead_of(p, found)]
    assert len(first) == min(1, len(waiting))
    if first:
        assert (first[0].created_at, first[0].name) == min((p.created_at, p.name) for p in waiting)


def test_a_circle_is_found_from_each_of_its_members_and_from_nobody_else() -> None:
    after = {"a": ("b",), "b": ("c",), "c": ("a",), "d": ("a",), "e": ()}
    assert cycle_through("a", after) == ("a", "b", "c", "a")
    assert cycle_through("c", after) == ("c", "a", "b", "c")
    assert cycle_through("d", after) == ()
    assert cycle_through("e", after) == ()
    assert cycle_through("s", {"s": ("s",)}) == ("s", "s")


def test_the_marker_keeps_a_prompt_from_being_a_command() -> None:
    assert not MARK.startswith("/")
