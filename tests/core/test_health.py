"""Crash loops are bounded by our clock alone, and a guest's clock decides nothing (G-12, G-25)."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reconciler
from reconciler.api.lieutenant import Restart
from reconciler.core.decisions import CorrectClock, CountCrash
from reconciler.core.lieutenant.health import CLOCK_PAUSE, CLOCK_TRIES, after_an_end, clock_given_up, clock_tried
from reconciler.core.lieutenant.policies import plan
from reconciler.core.records import ClockRecord, RestartRecord
from reconciler.core.snapshot.agent import Agent, Exited, Guest
from reconciler.core.snapshot.lieutenant import LieutenantView
from tests.core.views import VM, lieutenants

POLICY = Restart()
END = Exited(5.0, 1, None, "boom")


def ends(*at: float, policy: Restart = POLICY, jitter: float = 0.0) -> list[RestartRecord]:
    """What is remembered after each end at these times."""
    record, told = RestartRecord(), []
    for time in at:
        record = after_an_end(record, policy, END, time, jitter, 1)
        told.append(record)
    return told


@pytest.mark.guarantee("G-25")
def test_delays_double_up_to_the_longest_and_jitter_only_shortens_them() -> None:
    many = Restart.model_validate({"crashLoop": {"maxRestarts": 1000, "windowSeconds": 1_000_000, "stableSeconds": 1_000_000}})
    times = [float(n) for n in range(12)]
    waits = [record.not_before - at for record, at in zip(ends(*times, policy=many), times, strict=True)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    shortest = [record.not_before - at for record, at in zip(ends(*times, policy=many, jitter=1.0), times, strict=True)]
    assert shortest == [wait / 2 for wait in waits]


@pytest.mark.guarantee("G-25")
def test_the_sixth_end_within_half_an_hour_is_a_crash_loop_and_not_the_fifth() -> None:
    records = ends(0, 100, 200, 300, 400, 500)
    assert [record.degraded for record in records] == [False, False, False, False, False, True]
    spread = ends(0, 299, 598, 897, 1196, 1801)
    assert not spread[-1].degraded, "the first one is over half an hour old"


@pytest.mark.guarantee("G-25")
def test_five_stable_minutes_reset_and_waiting_is_not_being_stable() -> None:
    assert len(ends(1000, 1000 + 2 + 300)[-1].times) == 1
    assert len(ends(1000, 1000 + 2 + 299)[-1].times) == 2
    slow = Restart.model_validate({"backoff": {"baseSeconds": 300}})
    records = ends(0, 301, 602, 903, 1204, 1505, policy=slow)
    assert records[-1].degraded, "it never ran for a second; it only waited"


@pytest.mark.guarantee("G-24")
def test_how_it_ended_is_kept() -> None:
    record = ends(7.0)[0]
    assert (record.exit_code, record.signal, record.stderr_tail, record.crash_at) == (1, None, "boom", 5.0)


@pytest.mark.guarantee("G-12")
def test_a_clock_is_given_up_only_when_setting_it_shows_no_effect_in_a_row() -> None:
    record = ClockRecord()
    for n in range(CLOCK_TRIES):
        assert not clock_given_up(record, VM, n)
        record = clock_tried(record, VM, float(n), "no")
    assert clock_given_up(record, VM, CLOCK_TRIES)
    assert not clock_given_up(record, "another", CLOCK_TRIES)
    assert not clock_given_up(record, VM, record.at + CLOCK_PAUSE), "then it is tried again"
    drifting = ClockRecord()
    for n in range(20):
        drifting = clock_tried(drifting, VM, 60.0 * n, "")
    assert not clock_given_up(drifting, VM, 60.0 * 20), "one that only drifts is corrected for ever"


def shifted(view: LieutenantView, by: float) -> LieutenantView:
    """The same situation, told by guests whose clocks are off by this."""
    record = view.record.but(restart=view.record.restart.but(crash_at=view.record.restart.crash_at + by))
    agent = view.agent
    if isinstance(agent, Agent) and isinstance(agent.process, Exited):
        agent = replace(agent, process=replace(agent.process, at=agent.process.at + by))
    return view.but(record=record, agent=agent)


@pytest.mark.guarantee("G-12")
@given(lieutenants(), st.sampled_from([-18 * 3600.0, 3600.0, 1e6]))
def test_no_decision_moves_with_a_guests_clock(view: LieutenantView, by: float) -> None:
    before, after = plan(view), plan(shifted(view, by))
    if isinstance(before, CountCrash):
        assert isinstance(after, CountCrash)
    else:
        assert after == before
    skewed = replace(view.guest, clock_skew=by) if isinstance(view.guest, Guest) else view.guest
    decision = plan(view.but(guest=skewed))
    if decision != before and view.slot.observe_only:  # where nothing is changed, correcting it is what waits
        decision = plan(view.but(guest=skewed, slot=replace(view.slot, observe_only=False)))
    assert decision == before or isinstance(decision, CorrectClock)


@pytest.mark.guarantee("G-12")
def test_the_guests_clock_is_read_where_it_is_corrected_and_nowhere_else() -> None:
    root = Path(reconciler.__file__).parents[1]
    used: dict[str, set[str]] = {}
    for file in sorted((root / "reconciler").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("clock_skew", "clock_uncertainty"):
                used.setdefault(node.attr, set()).add(str(file.relative_to(root)))
    only = {"reconciler/core/lieutenant/health.py"}
    assert used == {"clock_skew": only, "clock_uncertainty": only}


@pytest.mark.guarantee("G-12")
def test_the_time_of_a_message_and_of_an_end_are_compared_for_equality_only() -> None:
    """`Message.at` and `Exited.at` are a guest's times; in the core they stand in no order and in no sum with ours."""
    root = Path(reconciler.__file__).parent / "core"
    wrong: list[str] = []
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            parts: list[ast.expr] = []
            if isinstance(node, ast.Compare) and not all(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                parts = [node.left, *node.comparators]
            elif isinstance(node, ast.BinOp):
                parts = [node.left, node.right]
            for part in parts:
                if (
                    isinstance(part, ast.Attribute)
                    and part.attr in ("at", "crash_at")
                    and names(part.value) & {"process", "ended", "m", "message", "restart"}
                ):
                    wrong.append(f"{file.name}:{node.lineno}")
    assert wrong == []


def names(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} | {
        part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)
    }
