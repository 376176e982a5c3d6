"""Budgets of agents, tasks and the fleet, in virtual time: what is counted, what is held back, what becomes of turns that are on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from reconciler.api.budget import Budget
from reconciler.core.keys import Key
from reconciler.core.spending.prices import DEFAULT_PRICES, Price
from reconciler.engine.state.ledgers import FLEET, agent_place
from tests.engine.stage import LT, SETTINGS, Stage, pass_time, tell, tell_hours
from tests.world import World

ALWAYS = 3_024_000
"""Seconds of a window that no story outlasts."""
SELDOM = {"periodSeconds": 3600}
"""Probes of an agent with which hours go by."""
OTHER = Key("Lieutenant", "default", "web")


def budget(**fields: object) -> dict[str, object]:
    return {"windowSeconds": ALWAYS, **fields}


def counted(s: Stage, place: str = FLEET) -> int:
    return s.engine.gatherer.budgets.ledgers.spent(place, 0.0).tokens


async def worked(s: Stage, **fields: object) -> None:
    """A lieutenant with this budget that has done a task of 15 tokens."""
    await s.lieutenant(budget=budget(**fields))
    await s.ready()
    assert await s.ends(await s.task("one")) == "Succeeded"


@pytest.mark.guarantee("G-29")
@pytest.mark.guarantee("G-30")
@pytest.mark.parametrize("limit", [("maxTokens", 15, 1_000_000), ("maxCost", "0.001", "10.00")])
def test_nothing_is_sent_when_it_is_spent_and_raising_it_goes_on_by_itself(limit: tuple[str, object, object], tmp_path: Path) -> None:
    name, little, much = limit

    async def story(s: Stage) -> None:
        await worked(s, onExceeded="DenyNew", **{name: little})
        pi = s.machine().pi
        await s.says(LT, "Ready", "BudgetExceeded")
        two = await s.task("two")
        await s.says(two, "Ready", "BudgetExceeded")
        assert s.happened("BudgetExceeded") == 1
        assert s.status()["budget"]["state"] == "Exceeded"
        await pass_time(1000)
        assert s.prompts("two") == []
        await s.lieutenant(budget=budget(onExceeded="DenyNew", **{name: much}))
        assert await s.ends(two) == "Succeeded"
        assert s.machine().pi is pi, "it was not restarted for it"
        assert s.happened("BudgetWithin") == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_what_only_warns_holds_nothing_and_is_told_once(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await worked(s, maxTokens=20, warnAtPercent=50, onExceeded="Warn")
        await s.until(lambda: s.happened("BudgetWarned") == 1, "it is warned of")
        assert await s.ends(await s.task("two")) == "Succeeded"
        assert await s.ends(await s.task("three")) == "Succeeded"
        assert s.happened("BudgetExceeded") == 1
        await s.says(LT, "Ready", "Running")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_its_machine_is_suspended_and_comes_back_with_more_money(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await worked(s, maxTokens=1)
        await s.says(LT, "Suspended", "VMSuspended")
        await s.says(LT, "Ready", "BudgetExceeded")
        two = await s.task("two")
        await s.says(two, "Ready", "BudgetExceeded")
        await s.controller.down()
        await s.controller.up()
        await pass_time(100)
        assert s.status()["rest"]["reason"] == "Budget"
        await s.lieutenant(budget=budget(maxTokens=1000))
        assert await s.ends(two) == "Succeeded"
        assert "reason" not in s.status()["rest"]

    tell(tmp_path, story)


def long_turn() -> World:
    """A turn of a hundred rounds, each of 15 tokens and ten seconds."""
    world = World()
    world.calls, world.call_seconds = [("bash", {"command": "make"})] * 100, 10.0
    return world


@pytest.mark.guarantee("G-29")
def test_a_turn_that_overspends_is_told_then_ended_and_goes_on_later(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(budget=budget(maxTokens=60, onExceeded="Abort"), limits={"steerLandSeconds": 30})
        await s.ready()
        one = await s.task("one")
        await s.until(lambda: bool(s.status(one).get("escalation")), "the agent is told")
        assert any("Note that its own budget is used up" in text for _, text in s.world.prompts + steers(s))
        await s.until(lambda: s.task_record(one).interrupted, "the turn is ended")
        assert 60 <= counted(s) <= 60 + 15 * 7, "overdrawn by no more than the turn that was on"
        await s.says(one, "Ready", "BudgetExceeded")
        await pass_time(500)
        assert len(s.prompts("one")) == 1
        s.world.calls = []
        await s.lieutenant(budget=budget(maxTokens=1000, onExceeded="Abort"), limits={"steerLandSeconds": 30})
        assert await s.ends(one) == "Succeeded"
        assert s.task_record(one).attempts == (), "it cost no attempt"
        assert "a budget was used up" in s.prompts("one")[-1]
        assert counted(s) == s.world.billed

    tell(tmp_path, story, long_turn())


def steers(s: Stage) -> list[tuple[str, str]]:
    """What was handed to the agent in the middle of a turn and is not in the conversation yet."""
    pi = s.machine().pi
    return [("", text) for text in (pi.steers if pi is not None else [])]


@pytest.mark.guarantee("G-29")
@pytest.mark.parametrize("kind", ["DenyNew", "Warn"])
def test_a_turn_goes_on_to_its_end_where_that_is_declared(kind: str, tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(budget=budget(maxTokens=60, onExceeded=kind), limits={"taskTimeoutSeconds": 0})
        await s.ready()
        one = await s.task("one")
        s.deadline = 1_200
        assert await s.ends(one) == "Succeeded"
        told = [step["action"] for step in s.status(one).get("escalation", [])]
        assert told == (["TellOfBudget"] if kind == "DenyNew" else [])

    tell_hours(tmp_path, story, long_turn())


@pytest.mark.guarantee("G-29")
def test_a_cost_that_nobody_knows_holds_what_is_bounded_by_money_alone(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.cost = 0.0
        await worked(s, maxCost="1.00", onExceeded="DenyNew")
        await s.says(LT, "Ready", "CostUnknown")
        two = await s.task("two")
        await s.says(two, "Ready", "CostUnknown")
        await s.lieutenant(budget=budget(maxCost="1.00", maxTokens=100_000, onExceeded="DenyNew"))
        assert await s.ends(two) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_a_price_of_the_configuration_makes_it_known_also_of_what_was_spent_before(tmp_path: Path) -> None:
    prices = DEFAULT_PRICES.with_({"acme/large": Price(Decimal(1000), Decimal(1000))})

    async def story(s: Stage) -> None:
        s.world.cost = 0.0
        await worked(s, maxCost="0.02", onExceeded="DenyNew")
        await s.says(LT, "Ready", "CostUnknown")
        await s.controller.down()
        s.controller.settings = replace(SETTINGS, prices=prices)
        await s.controller.up()
        assert await s.ends(await s.task("two")) == "Succeeded"
        await s.says(LT, "Ready", "BudgetExceeded")
        assert s.engine.gatherer.budgets.ledgers.spent(FLEET, 0.0).cost == Decimal("0.03")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_a_sliding_window_moves_on(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(budget={"maxTokens": 1, "onExceeded": "DenyNew", "windowSeconds": 900})
        await s.ready()
        assert await s.ends(await s.task("one")) == "Succeeded"
        two, at = await s.task("two"), s.world.now()
        s.deadline = 2_000
        assert await s.ends(two) == "Succeeded"
        assert 600 < s.world.now() - at < 1500

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Auckland"])  # in two hours, and in three
def test_a_window_of_the_calendar_begins_anew_at_midnight_of_its_zone(zone: str, tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(budget={"maxTokens": 1, "onExceeded": "DenyNew", "calendar": "Day", "timeZone": zone}, health=SELDOM)
        await s.ready()
        assert await s.ends(await s.task("one")) == "Succeeded"
        before = datetime.fromtimestamp(s.world.now(), ZoneInfo(zone)).date()
        s.deadline = 15_000
        assert await s.ends(await s.task("two")) == "Succeeded"
        after = datetime.fromtimestamp(s.world.now(), ZoneInfo(zone))
        assert (after.date() - before).days == 1
        assert after.hour == 0
        assert after.minute < 5

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_a_task_with_a_budget_of_its_own_fails_and_the_next_one_is_done(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(limits={"steerLandSeconds": 30})
        await s.ready()
        one = await s.task("one", budget={"maxTokens": 60, "warnAtPercent": 50})
        assert await s.ends(one) == "Failed"
        assert s.task_record(one).reason == "BudgetExceeded"
        assert s.happened("BudgetWarned") == 1
        s.world.calls = []
        assert await s.ends(await s.task("two", budget={"maxTokens": 60})) == "Succeeded"

    tell(tmp_path, story, long_turn())


@pytest.mark.guarantee("G-29")
def test_all_attempts_of_a_task_count_against_its_budget(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.answer = lambda prompt: ("x", "length")
        await s.lieutenant()
        await s.ready()
        one = await s.task("one", retries=10, budget={"maxCost": "0.003"})
        assert await s.ends(one) == "Failed"
        assert s.task_record(one).reason == "BudgetExceeded"
        assert len(s.prompts("one")) == 3

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_the_budget_of_the_fleet_holds_every_agent(tmp_path: Path) -> None:
    fleet = Budget.model_validate({"maxTokens": 15, "onExceeded": "Suspend", "windowSeconds": ALWAYS})

    async def story(s: Stage) -> None:
        await s.lieutenant()
        await s.lieutenant("web")
        await s.ready()
        await s.ready(OTHER)
        assert await s.ends(await s.task("one")) == "Succeeded"
        await s.says(OTHER, "Suspended", "VMSuspended")
        await s.says(LT, "Suspended", "VMSuspended")
        two = await s.task("two", to="web")
        await s.says(two, "Ready", "BudgetExceeded")

    tell(tmp_path, story, settings=replace(SETTINGS, budget=fleet))


@pytest.mark.guarantee("G-29")
def test_what_turns_that_are_on_will_spend_is_set_aside(tmp_path: Path) -> None:
    fleet = Budget.model_validate({"maxTokens": 50, "onExceeded": "DenyNew", "windowSeconds": ALWAYS})

    async def story(s: Stage) -> None:
        await s.lieutenant()
        await s.lieutenant("web")
        await s.ready()
        await s.ready(OTHER)
        for name, to in (("one", "api"), ("two", "web")):
            assert await s.ends(await s.task(name, to=to)) == "Succeeded"
        assert counted(s) == 30
        s.world.work_seconds = 100.0
        three = await s.task("three", to="api")
        await s.runs(three)
        s.world.work_seconds = 4.0
        four = await s.task("four", to="web")
        assert await s.ends(four) == "Succeeded", "15 of the 20 that are left are set aside, so another one may begin"
        five = await s.task("five", to="web")
        await s.says(five, "Ready", "BudgetReserved")
        assert await s.ends(three) == "Succeeded"
        await s.says(five, "Ready", "BudgetExceeded")
        assert counted(s) == 60

    tell(tmp_path, story, settings=replace(SETTINGS, budget=fleet))


@pytest.mark.guarantee("G-29")
def test_hours_of_a_machine_count_while_it_runs_and_only_then(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.deadline = 50_000
        await s.lieutenant(budget=budget(maxMachineHours=2, onExceeded="DenyNew"))
        await s.ready()
        await pass_time(3600)
        await s.lieutenant(mode="Suspended", budget=budget(maxMachineHours=2, onExceeded="DenyNew"))
        await s.says(LT, "Suspended", "VMSuspended")
        await s.controller.down()
        await s.controller.up()
        await pass_time(20_000)
        await s.lieutenant(budget=budget(maxMachineHours=2, onExceeded="DenyNew"))
        assert await s.ends(await s.task("one")) == "Succeeded"
        at = s.world.now()
        await s.says(LT, "Ready", "BudgetExceeded")
        assert s.world.now() - at == pytest.approx(3600, abs=120)

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-29")
@pytest.mark.guarantee("G-33")
def test_a_fork_does_not_count_what_its_original_spent(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await worked(s, maxTokens=1000)
        copy = await s.lieutenant("copy", fork={"from": {"name": "api"}}, budget=budget(maxTokens=1000))
        await s.ready(copy)
        assert await s.ends(await s.task("two", to="copy")) == "Succeeded"
        assert counted(s, agent_place(("default", "api"))) == 15
        assert counted(s, agent_place(("default", "copy"))) == 15
        assert counted(s) == s.world.billed == 30

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_nothing_is_lost_or_counted_twice_over_restarts_sessions_and_rewinds(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await worked(s, maxTokens=1_000_000)
        await s.controller.down()
        await s.controller.up()
        assert await s.ends(await s.task("two")) == "Succeeded"
        await s.engine.declarations.annotate(LT, {"fleet.vers.sh/rewind": "1:now"})
        await s.until(lambda: len(s.record().session.earlier) == 1, "the last turn is taken back")
        assert await s.ends(await s.task("three")) == "Succeeded"
        s.world.compact(s.machine())
        await s.until(lambda: counted(s) == 45 + 25, "what the summary cost is counted too")
        await s.lieutenant(budget=budget(maxTokens=1_000_000), session={"generation": 2})
        await s.until(lambda: s.record().session.generation == 2, "another conversation begins")
        await s.ready()
        assert await s.ends(await s.task("four")) == "Succeeded"
        await s.controller.down()
        await s.controller.up()
        assert counted(s) == s.world.billed == 85
        of_task = s.engine.gatherer.budgets.ledgers.of_task(("default", "api"), "two")
        assert of_task.tokens == 15

    tell(tmp_path, story)


def test_deleting_an_agent_does_not_give_back_what_it_spent(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await worked(s, maxTokens=15, onExceeded="DenyNew")
        await s.engine.declarations.delete(LT)
        await s.gone(LT)
        await s.lieutenant(budget=budget(maxTokens=15, onExceeded="DenyNew"))
        await s.says(LT, "Ready", "BudgetExceeded")

    tell(tmp_path, story)
