"""A halted fleet: nothing is said to an agent and no turn is cut off for the escalation; declared ends hold as ever. A table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import AbortTurn, Decision, Finish, TellOfBudget, Wait, Withdraw
from reconciler.core.records import EscalationStep, ReminderRecord, TaskRecord
from reconciler.core.snapshot.agent import Accepted, Lost, Unheard
from reconciler.core.snapshot.provider import Provider
from reconciler.core.snapshot.slot import Held
from reconciler.core.snapshot.task import TaskView
from reconciler.core.task.policies import plan
from tests.core import test_task as tables
from tests.core.test_task import ARRIVED, CANCELLED, DELIVERING, EXPIRED, OVER, PENDING, RUNS, SETTLED, STEERED, STEERS, answer, said
from tests.core.views import NOW

HELD = Held(TreeReason.HALTED, "the fleet is halted")
WAITS = Wait(TreeReason.HALTED, "the fleet is halted")
RUNNING = Wait("Running", "")
STALLED = replace(RUNS, no_progress_seconds=4, escalation=("Steer", "Abort"))
STEERED_ONCE = ARRIVED.but(escalation_steps=(EscalationStep(action="Steer", at=NOW - 60, why="nothing new"),))
CUT_SHORT = replace(RUNS, talk=said())
FOR_A_STEER = tables.INTERRUPTED  # its target's turn was interrupted for it
ABORTED_FOR = replace(FOR_A_STEER, talk=SETTLED, verdict=Accepted())

HELD_BACK: dict[str, tuple[TaskView, Decision]] = {
    "a prompt": (PENDING, WAITS),
    "the next attempt": (replace(PENDING, record=TaskRecord(attempt=1)), WAITS),
    "a prompt that the keeper never saw": (replace(DELIVERING, verdict=Unheard()), WAITS),
    "a prompt that came to nothing": (replace(DELIVERING, verdict=Lost("died")), WAITS),
    "the request to go on with a turn that was cut short": (CUT_SHORT, WAITS),
    "the request to say something after an empty answer": (replace(RUNS, talk=said(answer("stop"))), WAITS),
    "the probe of a provider": (replace(PENDING, provider=Provider(name="acme", breaker=tables.DUE_PROVIDER)), WAITS),
    "the probe of a provider by a turn that was cut short": (
        replace(CUT_SHORT, provider=Provider(name="acme", breaker=tables.DUE_PROVIDER)),
        WAITS,
    ),
    "the reminder of what was told at the beginning": (replace(RUNS, untold="c1"), RUNNING),
    "its repetition": (replace(RUNS, untold="c1", reminder=ReminderRecord(compaction="c1", at=NOW - 60, tries=1)), RUNNING),
    "the steer of the escalation": (STALLED, RUNNING),
    "the interruption of the escalation": (replace(STALLED, record=STEERED_ONCE), RUNNING),
    "a steer": (STEERS, WAITS),
    "a steer whose time to land has passed": (replace(STEERS, now=NOW + 3600), WAITS),
    "a steer for a task that waits": (replace(STEERS, target_phase="Pending"), WAITS),
    "the interruption for a steer that did not land": (replace(EXPIRED, escalation=("Abort",), target_phase="Running"), WAITS),
    "the harder interruption for it": (
        replace(FOR_A_STEER, talk=tables.BUSY, now=NOW + 60),
        WAITS,
    ),
    "what is said after the interruption": (ABORTED_FOR, WAITS),
    "what is said after it once more": (replace(ABORTED_FOR, record=ABORTED_FOR.record.but(reprompted=True), verdict=Unheard()), WAITS),
}

GOES_ON: dict[str, tuple[TaskView, Decision]] = {
    "a turn": (RUNS, RUNNING),
    "a turn that has ended well is a result": (tables.ENDED, Finish("Succeeded", "Completed")),
    "a cancel": (replace(PENDING, cancel=True), CANCELLED),
    "a limit of time": (tables.LIMITED, AbortTurn("TaskTimeout", "not done within 3 s of its delivery")),
    "a limit without an escalation": (
        replace(RUNS, no_progress_seconds=4),
        AbortTurn("NoProgress", "nothing new in the conversation for 4 s"),
    ),
    "a budget": (replace(RUNS, over_budget=OVER), TellOfBudget("the budget is used up")),
    "a steer whose target has ended expires": (
        replace(STEERS, target_phase="Succeeded"),
        Finish("Expired", "TargetFinished", "two is Succeeded already"),
    ),
    "a steer that is on its way is taken back in time": (EXPIRED, Withdraw()),
    "a steer that pi has is waited for": (replace(STEERED, verdict=Accepted()), Wait("Landing", tables.ON_ITS_WAY, until=tables.LANDING)),
}


@pytest.mark.parametrize("name", HELD_BACK)
def test_while_the_fleet_is_halted_waits(name: str) -> None:
    view, expected = HELD_BACK[name]
    assert plan(view) != expected, "it would be done in a fleet that is not halted"
    assert plan(replace(view, no_work=HELD)) == expected


@pytest.mark.parametrize("name", GOES_ON)
def test_while_the_fleet_is_halted_holds_as_ever(name: str) -> None:
    view, expected = GOES_ON[name]
    assert plan(view) == expected
    assert plan(replace(view, no_work=HELD)) == expected


def test_another_reason_to_give_no_work_holds_back_no_steer() -> None:
    full = Held(TreeReason.CAPACITY, "limits.maxWorking is reached")
    assert plan(replace(STEERS, no_work=full)) == plan(STEERS)
    assert plan(replace(STALLED, no_work=full)) == plan(STALLED)


def test_the_time_to_land_begins_anew_when_the_fleet_goes_on() -> None:
    late = replace(STEERS, now=NOW + 3600)
    went_on = replace(late, went_on_at=NOW + 3599)
    assert plan(replace(late, target_phase="Pending")) == Finish("Expired", "NotLanded", "two did not run within 60 s")
    assert plan(went_on) == plan(STEERS)
    waits = plan(replace(went_on, target_phase="Pending"))
    assert waits == Wait("TargetNotRunning", "waiting for two to run", until=NOW + 3599 + 60)
