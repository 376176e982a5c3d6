"""The budget of a tree is one pool for all of its agents."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Key
from tests.engine.stage import Stage, pass_time, tell
from tests.engine.test_trees import TREE, agent, nodes, stands, tree

A, B = Key("Lieutenant", "default", "prod-a"), Key("Lieutenant", "default", "prod-b")


async def spent(s: Stage, budget: dict[str, object]) -> None:
    """A tree of two agents, of which one has worked: a turn costs more than the whole budget."""
    await tree(s, agent("a"), agent("b"), budget=budget)
    await stands(s)
    assert await s.ends(await s.task("one", "work", to="prod-a")) == "Succeeded"
    await s.until(lambda: s.happened("BudgetExceeded") > 0, "the budget is used up")


@pytest.mark.guarantee("G-29")
def test_what_one_agent_spends_holds_the_work_of_all(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await spent(s, {"maxTokens": 1, "onExceeded": "DenyNew", "windowSeconds": 300})
        two = await s.task("two", "more", to="prod-b")
        await s.says(two, "Ready", "BudgetExceeded")
        await s.says(TREE, "Ready", "BudgetExceeded")
        await s.controller.down()
        await s.controller.up()
        await pass_time(100)
        assert s.task_record(two).phase == "Pending"
        assert await s.ends(two) == "Succeeded", "the window has moved on"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_its_agents_are_suspended_where_that_is_declared_and_go_on_with_more_money(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await spent(s, {"maxTokens": 1, "onExceeded": "Suspend", "windowSeconds": 36000})
        await s.until(lambda: {str(node["phase"]) for node in nodes(s).values()} == {"Suspended"}, "they are suspended")
        await tree(s, agent("a"), agent("b"), budget={"maxTokens": 1_000_000_000, "windowSeconds": 36000})
        await stands(s)
        assert await s.ends(await s.task("two", "more", to="prod-b")) == "Succeeded"
        assert s.happened("BudgetWithin") == 1

    tell(tmp_path, story)


def test_one_that_only_warns_holds_nothing(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await spent(s, {"maxTokens": 1, "onExceeded": "Warn", "warnAtPercent": 50})
        assert await s.ends(await s.task("two", "more", to="prod-b")) == "Succeeded"
        await stands(s)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_money_is_counted_too_and_warned_of_before_it_is_spent(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, agent("a"), budget={"maxCost": "0.002", "warnAtPercent": 40, "onExceeded": "DenyNew"})
        await stands(s)
        assert await s.ends(await s.task("one", "work", to="prod-a")) == "Succeeded"
        await s.until(lambda: s.happened("BudgetWarned") == 1, "it is warned of")
        assert await s.ends(await s.task("two", "work", to="prod-a")) == "Succeeded"
        await s.says(await s.task("three", "work", to="prod-a"), "Ready", "BudgetExceeded")

    tell(tmp_path, story)


def reaches_the_pool(tmp_path: Path, field: str) -> object:
    """Of what a tree bounds beside money and tokens."""
    declared = {"maxMachineHours": 1, "calendar": "Day", "timeZone": "Asia/Kolkata", "onExceeded": "DenyNew", "windowSeconds": 300}

    async def story(s: Stage) -> None:
        await tree(s, agent("a"), budget=declared)
        await stands(s)
        item = s.engine.table.get(TREE)
        assert item is not None
        budget = item.spec.budget  # type: ignore[attr-defined]
        now = 1_800_000_000.0
        pool = s.engine.gatherer.budgets.of_tree(item, budget, now)
        assert pool.ends is not None, "it ends with the calendar"
        assert (pool.ends + 5.5 * 3600) % 86_400 == 0, "at midnight of its zone"
        later = s.engine.gatherer.budgets.of_tree(item, budget, s.world.now() + 3600)
        assert later.spent.seconds > 0

    return tell(tmp_path, story)


@pytest.mark.parametrize("field", ["all"])
def test_hours_and_the_calendar_are_of_the_pool_too(field: str, tmp_path: Path) -> None:
    reaches_the_pool(tmp_path, field)
