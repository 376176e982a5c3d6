"""Facts are found before a conversation is shortened, by the model that is declared; they are in the store, and paid for."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.engine.state.ledgers import agent_of
from tests.engine.stage import LT, Stage, pass_time, tell
from tests.engine.test_budget import budget, counted
from tests.engine.test_memory import again, kept, told

FACTS = {"scopes": ["Agent"], "extractFacts": True}
NAMED = {**FACTS, "factsModel": {"provider": "cheap", "id": "small"}}


async def shortened(s: Stage) -> None:
    s.world.compact(s.machine())
    await pass_time(30)


@pytest.mark.guarantee("G-32")
def test_facts_that_were_found_before_a_compaction_are_kept_beyond_the_machine(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=FACTS)
        await s.ready()
        assert await s.ends(await s.task("one", "FACT(the port is 8081) it is")) == "Succeeded"
        await shortened(s)
        await kept(s, "the port is 8081")
        assert s.world.found_facts == ["acme/large"], "by the model that it uses itself"
        await shortened(s)
        await kept(s, "the port is 8081")
        await again(s)
        assert told(s) == "the port is 8081"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
def test_what_it_costs_to_find_facts_counts_against_the_budget(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=FACTS, budget=budget(maxTokens=55, onExceeded="DenyNew"))
        await s.ready()
        one = await s.task("one", "FACT(a)")
        assert await s.ends(one) == "Succeeded"
        assert counted(s) == 15
        await shortened(s)
        await s.says(LT, "Ready", "BudgetExceeded")
        assert counted(s) == s.world.billed == 15 + 15 + 25, "the answer, the facts and the summary"
        ledgers = s.engine.gatherer.budgets.ledgers
        assert ledgers.of_task(agent_of(LT), one.name).tokens == 55, "it belongs to the task before it"

    tell(tmp_path, story)


def test_the_model_that_is_declared_finds_them_and_a_change_of_it_restarts_pi(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=NAMED)
        await s.ready()
        assert await s.ends(await s.task("one")) == "Succeeded"
        await shortened(s)
        pi = s.machine().pi
        await s.lieutenant(memory={**NAMED, "factsModel": {"provider": "acme", "id": "medium"}})
        await s.until(lambda: s.machine().pi not in (pi, None), "pi is started again")
        await s.ready()
        await shortened(s)
        assert s.world.found_facts == ["cheap/small", "acme/medium"]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_nothing_is_delivered_where_pi_does_not_know_the_model_that_is_to_find_facts(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.missing_model = "cheap/small"
        await s.lieutenant(memory=NAMED)
        await s.says(LT, "Ready", "MemoryNotApplied")
        one = await s.task("one")
        await pass_time(60)
        assert s.prompts(one.name) == []
        await s.lieutenant(memory=FACTS)
        s.world.missing_model = ""
        assert await s.ends(one) == "Succeeded"

    tell(tmp_path, story)
