"""A lieutenant and its tasks together: order of acts, and that every snapshot comes to rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.parsing import load_spec
from reconciler.api.task import TaskSpec
from reconciler.core.decisions import (
    AbortTurn,
    Action,
    CorrectClock,
    Deliver,
    Finish,
    Landed,
    MirrorSession,
    SendSteer,
    Suspend,
    Verify,
    Wait,
)
from reconciler.core.forecast import MOST_STEPS, forecast
from reconciler.core.keys import Key
from reconciler.core.lieutenant.afterwards import after
from reconciler.core.lieutenant.workset import Availability, plan, task_view
from reconciler.core.messages import Message
from reconciler.core.plan import Step, is_action
from reconciler.core.records import ACTIVE, EscalationStep, LieutenantRecord, TaskRecord
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.task import Dependency, Talk
from reconciler.core.snapshot.vm import Seen, VmState
from reconciler.core.snapshot.workset import TaskFacts, WorkSet
from reconciler.core.task.queue import QueueIndex
from reconciler.core.task.view import run
from tests.core.views import (
    ARRIVED,
    EMPTY,
    FILLED,
    NOW,
    PROMPT,
    RUNNING,
    SENT,
    SETTLED,
    UP,
    WELL,
    agent,
    answer,
    guest,
    lieutenant,
    lieutenant_spec,
    lieutenants,
    said,
)


def facts(
    name: str, record: TaskRecord | None = None, created_at: float = NOW - 10, after: tuple[Dependency, ...] = (), **spec: object
) -> TaskFacts:
    made = load_spec("Task", {"lieutenantRef": {"name": "api"}, "prompt": "work", **spec})  # type: ignore[dict-item]
    assert isinstance(made, TaskSpec)
    return TaskFacts(Key("Task", "default", name), made, record or TaskRecord(), created_at, dependencies=after)


LIEUTENANT = Key("Lieutenant", "default", "api")


def work_set(*tasks: TaskFacts, lt: LieutenantView = RUNNING, talk: Talk | None = SETTLED, **spec: object) -> WorkSet:
    return WorkSet(LIEUTENANT, NOW, tasks, lt, lieutenant_spec(**spec), talk)


def acts(view: WorkSet) -> list[tuple[str, type[Action]]]:
    return [(step.key.name, type(step.action)) for step in plan(view).next_steps()]


BUSY_LT = lieutenant(replace(FILLED, busy=True), agent=agent(replace(UP, busy=True)), active_task=True)
SLEEPY = lieutenant(replace(FILLED, desired=DesiredState.SUSPENDED, busy=True), agent=agent(replace(UP, busy=True)), active_task=True)
ASLEEP = lieutenant(replace(FILLED, desired=DesiredState.SUSPENDED, vm=Seen(VmState.SUSPENDED)), guest=None, agent=None)

ORDER: dict[str, tuple[WorkSet, list[tuple[str, type[Action]]]]] = {
    "nothing to do": (work_set(), []),
    "the oldest task is delivered": (work_set(facts("b", created_at=NOW - 5), facts("a", created_at=NOW - 1)), [("b", Deliver)]),
    "of equal age the first by name": (work_set(facts("b"), facts("a")), [("a", Deliver)]),
    "one that may not run yet lets others pass": (work_set(facts("a", notBefore="2099-01-01T00:00:00Z"), facts("b")), [("b", Deliver)]),
    "one at a time": (work_set(facts("a", ARRIVED), facts("b"), lt=BUSY_LT, talk=said(settled=False)), []),
    "the machine comes before the work": (work_set(facts("a"), lt=lieutenant(guest=guest(clock_skew=60.0))), [("api", CorrectClock)]),
    "facts come before acts": (
        work_set(facts("a", SENT), facts("b", cancel=True), talk=said(settled=False)),
        [("a", Landed), ("b", Finish)],
    ),
    "a check comes before the next prompt": (
        work_set(facts("a", ARRIVED, noProgressSeconds=0, acceptance=[{"command": {"run": ["true"]}}]), facts("b"), talk=said(WELL)),
        [("a", Verify)],
    ),
    "an abort comes before a steer": (
        work_set(facts("a", ARRIVED, cancel=True), facts("s", delivery="Steer"), lt=BUSY_LT, talk=said(settled=False)),
        [("a", AbortTurn)],
    ),
    "a steer jumps the queue": (
        work_set(facts("a", ARRIVED), facts("b"), facts("s", delivery="Steer"), lt=BUSY_LT, talk=said(settled=False)),
        [("s", SendSteer)],
    ),
    "one steer at a time": (
        work_set(
            facts("a", ARRIVED),
            facts("r", SENT, delivery="Steer"),
            facts("s", delivery="Steer"),
            lt=BUSY_LT,
            talk=said(settled=False, up=True),
        ),
        [("r", Landed)],
    ),
    "a task never wakes a declared Suspended": (work_set(facts("a"), lt=ASLEEP, talk=None), []),
    "a busy one that should sleep is waited for": (work_set(facts("a", ARRIVED), lt=SLEEPY, talk=said(settled=False)), []),
}


@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-22")
@pytest.mark.parametrize("name", ORDER)
def test_order(name: str) -> None:
    view, expected = ORDER[name]
    assert acts(view) == expected


@pytest.mark.guarantee("G-08")
def test_a_declared_grace_is_waited_for_then_the_turn_is_aborted_and_only_then_the_machine_suspended() -> None:
    policy = {"suspend": {"onBusy": "Abort", "graceSeconds": 60}}
    asked = SLEEPY.but(record=SLEEPY.record.but(suspend_asked_at=NOW - 30))
    view = work_set(facts("a", ARRIVED), lt=asked, talk=said(settled=False), **policy)
    decided = plan(view).own
    assert isinstance(decided, Wait)
    assert decided.until == NOW + 30
    late = replace(view, lieutenant=asked.but(record=asked.record.but(suspend_asked_at=NOW - 61)))
    assert acts(late) == [("api", AbortTurn)]
    settled = lieutenant(replace(FILLED, desired=DesiredState.SUSPENDED, busy=False))
    assert acts(work_set(lt=settled, **policy)) == [("api", Suspend)]


@pytest.mark.guarantee("G-08")
def test_without_that_policy_a_turn_is_never_cut_off_however_long_it_takes() -> None:
    asked = SLEEPY.but(record=SLEEPY.record.but(suspend_asked_at=NOW - 1_000_000))
    assert acts(work_set(facts("a", ARRIVED), lt=asked, talk=said(settled=False))) == []


def test_the_queue_has_its_length() -> None:
    view = work_set(facts("a", ARRIVED), facts("b"), facts("c"), talk=said(settled=False), lt=BUSY_LT, queue={"maxPending": 1})
    decided = {key.name: d for key, d in plan(view).decisions.items()}
    assert [d.reason for d in (decided["b"], decided["c"]) if isinstance(d, Wait)] == ["Queued", "QueueFull"]


def test_a_steer_without_a_target_goes_to_the_task_that_runs() -> None:
    decided = plan(work_set(facts("a", ARRIVED), facts("s", delivery="Steer"), lt=BUSY_LT, talk=said(settled=False))).decisions
    assert decided[Key("Task", "default", "s")] == SendSteer("a")


def test_it_is_looked_at_again_when_the_first_decision_could_change() -> None:
    view = work_set(facts("a", ARRIVED, taskTimeoutSeconds=20), lt=BUSY_LT, talk=Talk((PROMPT,), 200, settled=False, up=True))
    assert plan(view).wake_at() == NOW + 10  # the probe comes first
    slow = BUSY_LT.but(health_period=1000.0)
    assert plan(replace(view, lieutenant=slow)).wake_at() == NOW - 4 + 20


# --- coming to rest ------------------------------------------------------------------------------------------------------------


def names(view: WorkSet) -> list[str]:
    return [type(step.action).__name__ for step in forecast(view, plan, after).steps]


@pytest.mark.guarantee("G-41")
def test_from_nothing_to_work_done() -> None:
    view = work_set(
        facts("a"),
        facts("b", after=(Dependency("a", "Pending"),), created_at=NOW - 20),
        lt=lieutenant(EMPTY, guest=None, agent=None),
        talk=None,
    )
    assert names(view) == [
        "Create", "LabelClaim", "GuestClaim", "Install", "StartKeeper", "WriteFiles", "RunStep", "RunVerify", "WriteFiles",
        "StartAgent", "Deliver", "Deliver",
    ]  # fmt: skip


@pytest.mark.guarantee("G-05")
def test_to_the_end() -> None:
    gone = lieutenant(replace(FILLED, desired=DesiredState.GONE), guest=None, agent=None)
    assert names(work_set(facts("a"), lt=gone, talk=None)) == ["Finish", "MarkForDeletion", "Delete", "ClearSlot", "Release"]


def test_a_dead_machine_is_replaced_with_its_conversation() -> None:
    dead = lieutenant(replace(FILLED, vm=Seen(VmState.DEAD)), guest=None, agent=None, mirror_size=9)
    told = names(work_set(lt=dead, talk=None))
    assert told[:4] == ["MarkForDeletion", "Delete", "ClearSlot", "Create"]
    assert told.index("RestoreSession") < told.index("StartAgent")


@pytest.mark.guarantee("G-32")
def test_what_was_read_is_saved_before_anything_is_concluded_from_it() -> None:
    told = work_set(facts("one", SENT), lt=BUSY_LT, talk=Talk((PROMPT,), 200, settled=False, up=True))
    recorded = names(told)
    assert recorded[0] == "Landed"
    unsaved = replace(told, lieutenant=BUSY_LT.but(mirror_size=200, pending=100))
    step = Step(LIEUTENANT, MirrorSession(200))
    assert plan(unsaved).next_steps() == [step]
    assert plan(unsaved).decisions == plan(replace(told, lieutenant=BUSY_LT.but(mirror_size=200))).decisions, "decided as if it were saved"
    then = after(unsaved, step)
    assert then is not None
    assert [step.action.verb for step in forecast(then, plan, after).steps] == recorded


@pytest.mark.guarantee("G-41")
def test_saving_what_was_read_is_no_change_that_a_plan_shows() -> None:
    assert forecast(work_set(lt=RUNNING.but(pending=100)), plan, after).steps == ()


@given(lieutenants(), st.lists(st.sampled_from(["pending", "sent", "running", "steer", "cancelled"]), max_size=3))
def test_every_snapshot_comes_to_rest_when_every_act_succeeds(lt: LieutenantView, kinds: list[str]) -> None:
    made = {
        "pending": lambda n: facts(n),
        "sent": lambda n: facts(n, SENT),
        "running": lambda n: facts(n, ARRIVED),
        "steer": lambda n: facts(n, delivery="Steer"),
        "cancelled": lambda n: facts(n, cancel=True),
    }
    tasks = tuple(made[kind](f"t{n}") for n, kind in enumerate(kinds))
    found = forecast(work_set(*tasks, lt=lt), plan, after)
    assert len(found.steps) < MOST_STEPS
    assert not found.cut


@given(lieutenants())
def test_an_act_that_succeeded_is_not_planned_again(lt: LieutenantView) -> None:
    view = work_set(lt=lt)
    decided = plan(view).own
    assert decided is not None
    if is_action(decided):
        then = after(view, Step(LIEUTENANT, decided))
        assert then is None or plan(then).own != decided


PHASES = ("Pending", "Delivering", "Running", "Verifying", "Succeeded")


@st.composite
def crowds(draw: st.DrawFn) -> tuple[TaskFacts, ...]:
    """Tasks of all kinds, in all phases, in one conversation or two, some steers that interrupted others."""
    names = draw(st.lists(st.sampled_from([f"t{n}" for n in range(6)]), min_size=1, max_size=6, unique=True))
    made = []
    for name in names:
        record = TaskRecord(
            phase=draw(st.sampled_from(PHASES)),
            session=draw(st.sampled_from(["", "s"])),
            landed=draw(st.integers(-1, 3)),
            target=draw(st.sampled_from(["", *names])),
            escalation_steps=(EscalationStep(action="AbortAndReprompt", at=NOW),) if draw(st.booleans()) else (),
        )
        made.append(facts(name, record, NOW - draw(st.integers(1, 3)), delivery=draw(st.sampled_from(["Queue", "Steer"]))))
    return tuple(made)


@given(crowds())
def test_what_a_task_knows_of_the_others_is_what_a_look_at_each_of_them_says(tasks: tuple[TaskFacts, ...]) -> None:
    """Told from the definitions, one by one; the lane makes an index of it once."""
    view = work_set(*tasks, queue={"maxPending": 2})
    index = QueueIndex(view)

    def queued(one: TaskFacts) -> bool:
        return one.spec.delivery.value == "Queue"

    def turn(one: TaskFacts) -> tuple[float, str]:
        return one.created_at, one.key.name

    for mine in tasks:
        seen = task_view(view, mine, index, Availability.READY, "")
        others = [one for one in tasks if one is not mine]
        at_work = [one.key.name for one in others if queued(one) and one.record.phase in ACTIVE]
        assert seen.active == (at_work[0] if at_work else "")
        before = [one for one in tasks if one.record.phase == "Pending" and queued(one) and turn(one) < turn(mine)]
        assert seen.ahead == (max(before, key=turn).key.name if before else "")
        assert seen.queue_full is (len(before) >= 2)
        later = [one.record.landed for one in others if queued(one) and one.record.session == mine.record.session]
        later = [landed for landed in later if landed > mine.record.landed >= 0]
        assert seen.next_landed == min(later, default=None)
        steers = [one.key.name for one in others if not queued(one) and one.record.phase == "Delivering"]
        assert seen.other_steer == (steers[0] if steers else "")
        said = [
            one for one in others if one.record.escalation_steps and one.record.phase == "Delivering" and one.record.target == mine.key.name
        ]
        assert seen.held_by == (said[0].key.name if said else "")
        aimed = [one.record.phase for one in others if one.key.name == seen.target]
        assert seen.target_phase == (aimed[0] if aimed else "")


@pytest.mark.guarantee("G-21")
def test_a_turn_ends_where_the_next_prompt_was_just_found() -> None:
    """Of the next task no more is known than that it was sent; its answer is not the answer of the one before."""
    following = SENT.but(marker="[task default/b attempt 1 x]")
    talk = said(WELL, Message("e3", 300, "user", f"{following.marker}\n\nwork"), answer("stop", "another", offset=400))
    mine = facts("a", ARRIVED)
    view = work_set(mine, facts("b", following), talk=talk)
    seen = task_view(view, mine, QueueIndex(view), Availability.READY, "")
    assert seen.next_landed == 300
    assert [message.text for message in run(seen)] == ["done"]


def test_a_record_reads_back_as_it_was_written() -> None:
    record = LieutenantRecord(slot=FILLED.record, suspend_asked_at=NOW, handled={"retry": "1"})
    assert LieutenantRecord.load(record.dump()) == record
    assert TaskRecord.load(ARRIVED.dump()) == ARRIVED
    assert TaskRecord.load({"phase": "Running", "of_a_later_release": 1}) == TaskRecord(phase="Running")
