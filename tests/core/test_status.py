"""Status, made from what was observed and decided: readable for every waiter, at every moment of every scenario."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from reconciler.core.conditions import simple_status
from reconciler.core.keys import Json
from reconciler.core.lieutenant import policies as lieutenant
from reconciler.core.lieutenant.status import lieutenant_status
from reconciler.core.records import EscalationStep, LieutenantRecord, RestartRecord, TaskRecord
from reconciler.core.snapshot.agent import FORESEEN
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.task import TaskView
from reconciler.core.snapshot.vm import Seen, Unknown, VmState
from reconciler.core.task import policies as task
from reconciler.core.task.status import task_status
from tests.conformance.kstatus import conditions_of, problems, summary
from tests.core import test_lieutenant, test_task
from tests.core import test_slot as test_vmslot
from tests.core.views import DIED, EMPTY, FILLED, NOW, RUNNING, UP, VM, agent, guest, lieutenants, tasks
from tests.core.views import lieutenant as a_lieutenant

SLOTS = {f"slot: {name}": a_lieutenant(slot) for name, (slot, _) in test_vmslot.SCENARIOS.items()}
LIEUTENANTS = SLOTS | {name: view for name, (view, _) in test_lieutenant.SCENARIOS.items()}
TASKS = {name: view for name, (view, _) in (test_task.SCENARIOS | test_task.STEER_SCENARIOS).items()}

ALWAYS = ("Ready", "Available", "VMReady", "AgentReachable", "AgentConfigured", "UpToDate", "Suspended")


def of_lieutenant(view: LieutenantView, previous: Json | None = None, generation: int = 3) -> Json:
    return lieutenant_status(view, lieutenant.plan(view), previous or {}, generation, pending=0, active="").dump()


def of_task(view: TaskView, previous: Json | None = None, generation: int = 3) -> Json:
    return task_status(view.record, task.plan(view), previous or {}, generation, view.now, (), view.created_at).dump()


def truth(status: Json, kind: str) -> object:
    return conditions_of(status)[kind]["status"]


@pytest.mark.guarantee("G-46")
@pytest.mark.parametrize("name", LIEUTENANTS)
def test_a_lieutenants_status_obeys_kstatus(name: str) -> None:
    view = LIEUTENANTS[name]
    first = of_lieutenant(view)
    assert problems(first, 3) == []
    assert {kind for kind in ALWAYS if kind not in conditions_of(first)} == set()
    later = of_lieutenant(view.but(now=NOW + 3600), first, generation=4)
    assert problems(later, 4, first) == []


@pytest.mark.guarantee("G-46")
@pytest.mark.parametrize("name", TASKS)
def test_a_tasks_status_obeys_kstatus(name: str) -> None:
    view = TASKS[name]
    first = of_task(view)
    assert problems(first, 3) == []
    assert problems(of_task(view, first, generation=4), 4, first) == []


@pytest.mark.guarantee("G-46")
@given(lieutenants(), lieutenants())
def test_from_any_situation_to_any_other_a_lieutenants_status_is_readable(one: LieutenantView, other: LieutenantView) -> None:
    first = of_lieutenant(one)
    assert problems(first, 3) == []
    assert problems(of_lieutenant(other, first, generation=4), 4, first) == []


@pytest.mark.guarantee("G-46")
@given(tasks())
def test_any_tasks_status_is_readable(view: TaskView) -> None:
    assert problems(of_task(view), 3) == []


@pytest.mark.guarantee("G-45")
@pytest.mark.parametrize("name", LIEUTENANTS)
def test_looking_again_writes_nothing_new(name: str) -> None:
    view = LIEUTENANTS[name]
    first = of_lieutenant(view)
    again = view.but(slot=replace(view.slot, now=NOW + 0.5), now=NOW + 0.5)
    if lieutenant.plan(again) == lieutenant.plan(view):
        assert of_lieutenant(again, first) == first


# --- what a reader concludes --------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-08")
def test_deliberately_suspended_is_ready_and_not_available() -> None:
    view = a_lieutenant(replace(FILLED, desired=DesiredState.SUSPENDED, vm=Seen(VmState.SUSPENDED)), guest=None, agent=None)
    status = of_lieutenant(view)
    assert (truth(status, "Ready"), truth(status, "Available"), truth(status, "Suspended")) == ("True", "False", "True")
    assert summary(status, 3) == "Current"
    assert status["phase"] == "Suspended"


def test_a_healthy_one_is_ready_available_and_idle() -> None:
    status = of_lieutenant(RUNNING)
    assert (truth(status, "Ready"), truth(status, "Available"), status["phase"]) == ("True", "True", "Idle")
    assert of_lieutenant(a_lieutenant(agent=agent(replace(UP, busy=True))))["phase"] == "Working"


@pytest.mark.guarantee("G-04")
def test_what_can_not_be_read_is_unknown_and_keeps_its_vm_id() -> None:
    status = of_lieutenant(a_lieutenant(replace(FILLED, vm=Unknown("503")), guest=None, agent=None))
    assert (truth(status, "Ready"), truth(status, "VMReady"), truth(status, "Suspended")) == ("Unknown", "Unknown", "Unknown")
    assert status["vm"] == {"id": VM, "epoch": 1, "state": "unknown"}
    assert summary(status, 3) == "InProgress"


def test_a_person_is_asked_by_stalled_alone() -> None:
    status = of_lieutenant(a_lieutenant(replace(FILLED, vm=Seen(VmState.DEAD), protected=True), guest=None, agent=None))
    assert summary(status, 3) == "Failed"
    assert status["phase"] == "Stalled"


@pytest.mark.guarantee("G-24")
def test_the_end_of_pi_is_told_with_exit_code_and_stderr() -> None:
    restart = RestartRecord(times=(NOW - 1,), exit_code=1, stderr_tail="out of memory", crash_at=DIED.at)
    view = a_lieutenant(agent=agent(DIED), record=LieutenantRecord(slot=FILLED.record, restart=restart))
    status = of_lieutenant(view)
    assert status["restarts"] == {
        "recent": 1,
        "lastAt": "2027-01-15T07:59:59Z",
        "exitCode": 1,
        "stderrTail": "out of memory",
    }
    reachable = conditions_of(status)["AgentReachable"]
    assert reachable["status"] == "False"
    assert reachable["message"] == "pi ended with exit code 1: out of memory"


@pytest.mark.guarantee("G-67")
@pytest.mark.parametrize("state", [state for state in VmState if state is not VmState.RUNNING])
def test_a_vm_is_named_by_its_whole_id(state: VmState) -> None:
    status = of_lieutenant(a_lieutenant(replace(FILLED, vm=Seen(state)), guest=None, agent=None))
    assert VM in str(conditions_of(status)["VMReady"]["message"])
    assert isinstance(status["vm"], dict)
    assert status["vm"]["id"] == VM


def test_fields_not_acted_on_are_named() -> None:
    view = a_lieutenant(EMPTY, unsupported=("spec.budget",), guest=None, agent=None)
    status = lieutenant_status(view, lieutenant.plan(view), {}, 1, 0, "", ("spec.idle",)).dump()
    assert conditions_of(status)["Unsupported"]["message"] == "not acted on in this release: spec.budget, spec.idle"


def test_every_condition_says_something_to_a_person() -> None:
    told = [of_lieutenant(view) for view in LIEUTENANTS.values()] + [of_task(view) for view in TASKS.values()]
    silent = {(kind, c["reason"]) for status in told for kind, c in conditions_of(status).items() if not c.get("message")}
    assert silent == set()


@pytest.mark.parametrize(
    ("desired", "mode"), [(DesiredState.RUNNING, "Running"), (DesiredState.SUSPENDED, "Suspended"), (DesiredState.GONE, None)]
)
def test_status_tells_the_mode_that_is_wanted(desired: DesiredState, mode: str | None) -> None:
    assert of_lieutenant(a_lieutenant(replace(FILLED, desired=desired))).get("mode") == mode


@pytest.mark.parametrize(("installed", "told"), [("1.6.0", "pi 1.6.0"), ("1.5.2", "pi 1.5.2"), (FORESEEN, "pi 1.6.0")])
def test_what_is_applied_says_which_pi_runs(installed: str, told: str) -> None:
    """Of a release that a plan foresees it is the one that will be installed."""
    configured = conditions_of(of_lieutenant(RUNNING.but(guest=guest(pi=installed), pi_version="1.6.0")))["AgentConfigured"]
    assert (configured["status"], configured["message"]) == ("True", f"{told} has what was declared")


@pytest.mark.parametrize(
    ("phase", "reason", "ready", "kstatus"),
    [
        ("Succeeded", "Completed", "True", "Current"),
        ("Cancelled", "CancelledByUser", "True", "Current"),
        ("Cancelled", "DependencyFailed", "False", "Failed"),
        ("Failed", "ModelError", "False", "Failed"),
        ("TimedOut", "TaskTimeout", "False", "Failed"),
        ("Expired", "NotLanded", "False", "Failed"),
    ],
)
def test_a_finished_task_is_ready_when_it_ended_as_declared(phase: str, reason: str, ready: str, kstatus: str) -> None:
    record = TaskRecord(phase=phase, reason=reason, message="m", finished_at=NOW)
    view = replace(test_task.PENDING, record=record)
    status = of_task(view)
    assert truth(status, "Ready") == ready
    assert summary(status, 3) == kstatus
    assert status["phase"] == phase


def test_a_result_says_how_it_ended_and_what_it_cost() -> None:
    record = TaskRecord(
        phase="Succeeded", reason="Completed", attempt=1, landed=0, stop_reason="stop", answer="done", answer_bytes=4, cost=0.5, turns=3,
        files=("a.txt",), files_more=7, escalation_steps=(EscalationStep(action="Steer", at=NOW, why="no sign of progress for 5 s"),),
    )  # fmt: skip
    status = of_task(replace(test_task.PENDING, record=record))
    usage = {"inputTokens": 0, "outputTokens": 0, "cost": "0.500000"}
    assert status["result"] == {
        "stopReason": "stop", "answer": "done", "answerBytes": 4, "usage": usage, "checks": [],
        "turns": 3, "files": ["a.txt"], "filesMore": 7,
    }  # fmt: skip
    assert status["escalation"] == [{"action": "Steer", "at": "2027-01-15T08:00:00Z", "reason": "no sign of progress for 5 s"}]


@pytest.mark.guarantee("G-46")
@pytest.mark.parametrize("problem", [None, Unresolved("ProfileNotFound", "m"), Unresolved("InvalidProfile", "m", final=True)])
def test_kinds_without_a_machine_obey_too(problem: Unresolved | None) -> None:
    assert problems(simple_status(problem, {}, 1, NOW).dump(), 1) == []
