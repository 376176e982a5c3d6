"""Process death, error, lost answer, late effect, each before and after every numbered effect of every scenario, and at every call to
the platform one wrong list after a lost answer, an odd header or field, a made-up value, and a refusal after the
effect (G-01, G-02, G-03, G-05, G-07, G-08, G-20, G-22): it converges, nothing leaks, every task is delivered once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pytest

from reconciler.core.decisions import (
    Act,
    Action,
    BindCreated,
    FindBaked,
    FindWarm,
    ForgetSnapshot,
    LeaveLocal,
    NoteBakeFailed,
    NoteCommits,
    NoteSession,
    RefuseRollback,
    RejectSpare,
    SnapshotLost,
    SnapshotTaken,
    TakeNext,
)
from reconciler.core.plan import Step
from reconciler.engine.kinds.bootprofile import BootProfileKind
from reconciler.engine.kinds.lieutenant import LieutenantKind
from reconciler.engine.kinds.vmtree import VMTreeKind
from reconciler.engine.ports import VersApi
from tests.effort import sample, share
from tests.faults.harness import FAULTS, LIES, Fault, faults_of
from tests.faults.lies import WRONG_COMMITS, WRONG_LISTS, lies_of
from tests.faults.play import FEW, PARTS, dealt, play
from tests.faults.scenarios import all_scenarios

SCENARIOS = all_scenarios()


UNDISTURBED = frozenset(
    {
        ForgetSnapshot,
        NoteCommits,
        RefuseRollback,
        RejectSpare,
        BindCreated,
        FindBaked,
        FindWarm,
        LeaveLocal,
        NoteBakeFailed,
        NoteSession,
        SnapshotLost,
        SnapshotTaken,
        TakeNext,
    }
)
"""Acts that no story comes to as long as nothing goes wrong."""


@cache
def reference(name: str) -> tuple[tuple[str, ...], frozenset[type[Act]]]:
    """The effects of the run without a fault, in order, and the acts that they belong to."""
    acts: set[type[Act]] = set()

    def noting(carry_out: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def noted(self: object, snapshot: object, step: Step) -> object:
            acts.add(type(step.action))
            return await carry_out(self, snapshot, step)

        return noted

    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        for kind in (LieutenantKind, VMTreeKind, BootProfileKind):
            patch.setattr(kind, "act", noting(kind.act))
        run = play(SCENARIOS[name], Path(directory) / "reference.db", None)
    assert run.controller.lives == 1
    return tuple(run.life.names), frozenset(acts)


def effects_of(name: str) -> tuple[str, ...]:
    return reference(name)[0]


def points_of(name: str) -> list[tuple[int, str]]:
    """Every number of the seam with every fault that makes a difference there."""
    every = SCENARIOS[name].every
    return [(number, kind) for number, effect in enumerate(effects_of(name), 1) for kind in faults_of(effect, number, every)]


each_story = pytest.mark.parametrize("name", SCENARIOS, scope="module")
"""Tests of one story follow each other, so that mostly one worker runs them and plays the run without a fault once."""


@each_story
def test_without_a_fault(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    effects = effects_of(name)
    points = len(points_of(name))
    with capsys.disabled():
        struck = "all struck" if share() == 1 else f"one in {share()} struck"
        kinds = f"{', '.join(FAULTS)}, wrong lists, odd and hostile answers, where they differ"
        print(f"\n{name}: {points} fault points at {len(effects)} numbered effects ({kinds}), {struck}")
    assert points >= SCENARIOS[name].points


def test_all_stories_together_have_many_points() -> None:
    """A lieutenant that needs fewer effects has fewer points: then another story is missing, not a smaller number here."""
    assert sum(scenario.points for scenario in SCENARIOS.values()) >= 8_400


def test_every_act_on_a_lieutenant_a_task_or_a_tree_is_in_some_story() -> None:
    """So each of its effects is struck."""
    come_to = frozenset[type[Act]]().union(*(reference(name)[1] for name in SCENARIOS))
    assert frozenset(get_args(Action)) - come_to == UNDISTURBED


def test_one_lieutenant_needs_one_create() -> None:
    assert effects_of("one-lieutenant").count("vers.create_vm") == 1


@pytest.mark.guarantee("G-62")
def test_a_dead_controllers_suspend_freezes_a_turn_and_is_undone(tmp_path: Path) -> None:
    number = effects_of("three-homes").index("vers.suspend_vm") + 1
    run = play(SCENARIOS["three-homes"], tmp_path / "state.db", Fault(number, "late"))
    assert len(run.world.frozen_by_the_dead) == 1  # that it was undone is the scenario's to judge


def lies_at(name: str) -> list[tuple[int, str]]:
    """Of the points those where the platform tells what is not so."""
    return [(number, kind) for number, kind in points_of(name) if kind.startswith((*LIES, *WRONG_LISTS, *WRONG_COMMITS))]


def strike(name: str, points: list[tuple[int, str]]) -> None:
    met = 0
    for number, kind in points:
        with TemporaryDirectory() as directory:
            run = play(SCENARIOS[name], Path(directory) / "state.db", Fault(number, kind))
        met += run.life.fault is not None and run.life.fault.used
    assert met == len(points), "a fault was never met: the run is not the reference run up to it"


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-08")
@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-22")
@each_story
def test_a_few_faults_at_random(name: str) -> None:
    strike(name, sample(f"few of {name}", points_of(name), FEW))


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-03")
@pytest.mark.guarantee("G-07")
@each_story
def test_a_lie_at_random(name: str) -> None:
    """One wrong list after a lost answer, an odd header or field, or a made-up value of the right type does no harm."""
    strike(name, sample(f"lies of {name}", lies_at(name), 1))


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("name", ["one-lieutenant", "restored"])
def test_a_refusal_after_the_effect_makes_no_second_vm(name: str) -> None:
    """Every create of these scenarios took effect and was answered with a 403 or 404 in the platform's shape; the scenario counts VMs."""
    points = [(number, kind) for number, kind in lies_at(name) if kind.startswith("refused-")]
    assert {kind for _, kind in points} == {"refused-403", "refused-404", "refused-quota", "refused-key"}
    strike(name, points)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-13")
@pytest.mark.parametrize("name", ["tree-sleeps", "live-copies"])
def test_the_answer_to_the_booking_of_a_machine_may_be_lost(name: str) -> None:
    """The store holds that the slot is filled, its create closed and a copy's conversation begun; the run goes on from that, and what
    stands above the machine in a tree goes down after it all the same."""
    effects = effects_of(name)
    creates = [at for at, effect in enumerate(effects) if effect == "vers.create_vm"]
    writes = [[at for at, effect in enumerate(effects) if at > create and effect == "store.write"][:2] for create in creates]
    strike(name, [(at + 1, "lost") for after in writes for at in after])


@pytest.mark.guarantee("G-20")
@pytest.mark.parametrize("name", ["asks-open", "stubborn-work"])
def test_what_is_said_for_a_task_and_arrives_late_is_said_once(name: str) -> None:
    """Also what asks for the rest of a turn: nothing else is asked before it is known that it did not arrive."""
    strike(name, [(number, "late") for number, effect in enumerate(effects_of(name), 1) if effect == "keeper.send"])


@each_story
def test_every_kind_of_lie_is_among_the_points(name: str) -> None:
    """Of every call to the platform that a scenario makes, each kind is struck somewhere."""
    struck = {kind for _, kind in lies_at(name)}
    assert struck >= {kind for effect in set(effects_of(name)) if effect != "vers.list_vms" for kind in lies_of(effect, 0)}
    families = {kind.partition("-")[0] for kind in struck}
    assert families >= {"odd", "hostile"}
    assert "list" in families or "vers.create_vm" not in effects_of(name)


ASKS_NOBODY = {"account", "answered"}
"""What of the platform's port is no call to it."""


def test_every_call_to_the_platform_is_struck_by_lies_in_some_story() -> None:
    """A new method of the port needs lies that fit it, and a story that comes to it."""
    calls = {f"vers.{name}" for name, member in vars(VersApi).items() if callable(member) and not name.startswith("_")}
    calls -= {f"vers.{name}" for name in ASKS_NOBODY}
    assert {"vers.resolve_ref", "vers.delete_commit", "vers.list_vms"} <= calls
    assert {call for call in calls if not lies_of(call, 0)} == set(), "the platform never lies about these"
    assert calls - {effect for name in SCENARIOS for effect in effects_of(name)} == set(), "no story comes to these"
    lists = {call for call in calls if any(kind in (*WRONG_LISTS, *WRONG_COMMITS) for kind in lies_of(call, 0))}
    assert calls - lists == {"vers.list_vms", "vers.get_vm", "vers.get_metadata"}, "after these a list is wrong, but for plain reads of VMs"


@pytest.mark.guarantee("G-03")
@pytest.mark.guarantee("G-11")
@pytest.mark.parametrize("name", ["tagged", "snapshots", "kept_ready"])
def test_a_wrong_list_of_commits_is_survived_wherever_one_is_read_or_changed(name: str) -> None:
    points = [(number, kind) for number, kind in lies_at(name) if kind in WRONG_COMMITS]
    assert {kind for _, kind in points} == set(WRONG_COMMITS)
    strike(name, sample(f"lists of commits of {name}", points, 6))


@pytest.mark.guarantee("G-11")
def test_a_removal_of_a_snapshot_that_was_not_answered_is_finished_before_another_one_goes() -> None:
    """Whatever the list shows: what is kept on the books is there."""
    effects = effects_of("snapshots")
    strike("snapshots", [(number, kind) for number, kind in lies_at("snapshots") if effects[number - 1] == "vers.delete_commit"])


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-08")
@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-22")
@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@each_story
@pytest.mark.timeout(600)
def test_every_fault_at_every_effect(name: str, part: int) -> None:
    """Of a run's share of them: see FAULT_SHARE."""
    strike(name, dealt(name, points_of(name), part))
