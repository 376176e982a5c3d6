"""Models in order of preference: another one answers while the provider of the first says no, and the first is tried again (G-21)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.provider.breaker import FIRST_PROBE, REFUSED_PAUSE
from tests.engine.stage import LT, SETTINGS, Stage, pass_time, tell
from tests.engine.test_profiles import Vault, profile
from tests.world import Machine

LIMIT = '429: {"message":"Rate limit reached"}'
WRONG_KEY = '401: {"message":"Incorrect API key provided"}'
GONE = '404: {"message":"The model `large` does not exist"}'
KEYS = [{"name": name, "value": name} for name in ("A_API_KEY", "B_API_KEY", "C_API_KEY")]
SECOND, THIRD = {"provider": "b", "id": "two", "thinking": "low"}, {"provider": "c", "id": "three"}
MODEL: dict[str, Any] = {"provider": "a", "id": "large", "thinking": "high", "fallbacks": [SECOND, THIRD]}


def has(machine: Machine) -> tuple[str, str]:
    assert machine.pi is not None
    return machine.pi.model, machine.pi.thinking


async def agent(run: Stage, **model: object) -> Machine:
    await run.lieutenant(model={**MODEL, **model}, env=KEYS)
    return await run.ready()


async def another_model_answers(run: Stage) -> None:
    run.world.failing_models["a/large"] = LIMIT
    machine = await agent(run)
    assert has(machine) == ("a/large", "high")
    task = await run.task("one")
    assert await run.ends(task) == "Succeeded"
    assert has(machine) == ("b/two", "low")
    assert run.task_record(task).attempts == ()
    assert len(run.prompts("one")) == 2
    assert await run.ends(await run.task("two")) == "Succeeded"
    assert len(run.prompts("two")) == 1, "nobody asks the first one meanwhile"
    await run.says(LT, "AgentConfigured", "FallbackUsed")
    assert run.condition(LT, "Ready") == run.condition(LT, "Available") == "True"
    told = run.status()["fallback"]
    assert (told["model"], told["insteadOf"]) == ("b/two", "a/large")
    assert "Rate limit reached" in told["message"]
    assert run.happened("FallbackUsed") == 1


@pytest.mark.guarantee("G-21")
def test_another_model_answers_while_the_provider_of_the_first_says_no(tmp_path: Path) -> None:
    tell(tmp_path, another_model_answers)


@pytest.mark.guarantee("G-21")
def test_the_first_is_tried_again_by_one_prompt_and_is_back_when_it_answers(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.failing_models["a/large"] = LIMIT
        machine = await agent(run)
        assert await run.ends(await run.task("one")) == "Succeeded"
        await pass_time(2 * FIRST_PROBE)
        assert has(machine)[0] == "b/two", "without work nobody is asked"
        probe = await run.task("probe")
        assert await run.ends(probe) == "Succeeded"
        assert has(machine)[0] == "b/two"
        assert len(run.prompts("probe")) == 2, "it was the probe of the first, and then the second one's"
        assert run.task_record(probe).attempts == ()
        run.world.failing_models.clear()
        assert await run.ends(await run.task("soon")) == "Succeeded"
        assert has(machine)[0] == "b/two", "not before its time"
        await pass_time(300)
        back = await run.task("back")
        assert await run.ends(back) == "Succeeded"
        assert len(run.prompts("back")) == 1
        assert has(machine) == ("a/large", "high")
        await run.says(LT, "AgentConfigured", "Applied")
        assert "fallback" not in run.status()
        assert run.happened("ProviderAnswers") == 1
        assert run.happened("FallbackEnded") == run.happened("FallbackUsed") == 2

    tell(tmp_path, story)


def test_the_next_one_is_used_where_two_say_no(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.failing_models |= {"a/large": GONE, "b/two": WRONG_KEY}
        machine = await agent(run)
        task = await run.task("one")
        assert await run.ends(task) == "Succeeded"
        assert has(machine)[0] == "c/three"
        assert run.task_record(task).attempts == ()

    tell(tmp_path, story)


def test_where_none_answers_work_waits_for_the_first_that_may_be_tried(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.failing_models |= {"a/large": WRONG_KEY, "b/two": LIMIT, "c/three": WRONG_KEY}
        machine = await agent(run)
        task = await run.task("one")
        await run.until(lambda: run.task_record(task).held == 3, "all three have said no")
        await run.says(task, "Ready", run.reason(LT, "Available"))
        assert run.condition(LT, "Available") == "False"
        before = len(run.prompts("one"))
        del run.world.failing_models["b/two"]
        assert await run.ends(task) == "Succeeded"
        assert has(machine)[0] == "b/two"
        assert len(run.prompts("one")) == before + 1
        assert run.task_record(task).attempts == ()

    tell(tmp_path, story)
    assert FIRST_PROBE < REFUSED_PAUSE


def test_a_fallback_that_pi_does_not_take_is_told_and_passed_over(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.failing_models["a/large"] = LIMIT
        run.world.unknown_models.add("b/two")
        machine = await agent(run)
        assert await run.ends(await run.task("one")) == "Succeeded"
        assert has(machine)[0] == "c/three"
        asked = run.weather.count("keeper.call")
        await pass_time(300)
        assert run.weather.count("keeper.call") == asked
        assert run.happened("ModelRejected") == 1

    tell(tmp_path, story)


def test_a_restart_of_the_controller_changes_nothing(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.failing_models["a/large"] = LIMIT
        machine = await agent(run)
        assert await run.ends(await run.task("one")) == "Succeeded"
        await run.controller.down()
        await run.alive()
        await run.says(LT, "AgentConfigured", "FallbackUsed")
        await pass_time(20)
        assert has(machine)[0] == "b/two"

    tell(tmp_path, story)


def test_who_shares_the_first_hears_that_it_answers_again(tmp_path: Path) -> None:
    """Not at its next look, which is far off here: a key that another one has tried is good for both."""
    made = {"name": "acme", "baseUrl": "https://models.example.com/v1", "api": "openai-completions"}
    provider = {**made, "apiKeyFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    chosen = {"provider": "acme", "id": "m", "fallbacks": [{"provider": "b", "id": "two"}]}

    async def story(run: Stage) -> None:
        run.world.failing_models["acme/m"] = LIMIT
        await profile(run, source={"image": "default"}, agent={"model": chosen, "providers": [provider]})
        asks, shares = [await run.lieutenant(name, profileRef={"name": "own"}, env=KEYS) for name in ("asks", "shares")]
        other = await run.ready(shares)
        await run.ready(asks)
        assert await run.ends(await run.task("mine", to="asks")) == "Succeeded"
        await run.until(lambda: has(other)[0] == "b/two", "it hears that the first says no")
        run.world.failing_models.clear()
        await pass_time(2 * FIRST_PROBE)
        assert await run.ends(await run.task("again", to="asks")) == "Succeeded"
        await run.until(lambda: has(other)[0] == "acme/m", "and that it answers")

    tell(tmp_path, story, settings=replace(SETTINGS, health_probes=False, fallback_seconds=36_000.0), secrets=Vault(s_k="key-1"))


def test_a_turn_keeps_its_model(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        machine = await agent(run)
        run.world.calls, run.world.call_seconds = [("bash", {"command": "make"})] * 10, 5.0
        task = await run.task("one")
        await run.runs(task)
        other = await run.lieutenant("web", model=MODEL, env=KEYS)
        await run.ready(other)
        run.world.failing_models["a/large"] = LIMIT
        run.world.calls = []
        assert await run.ends(await run.task("two", to="web")) == "Succeeded"
        assert run.task_record(task).phase == "Running"
        assert has(machine)[0] == "a/large"
        assert run.condition(LT, "AgentConfigured") == "True"
        del run.world.failing_models["a/large"]
        assert await run.ends(task) == "Succeeded"

    tell(tmp_path, story)


async def fallback_of_the_profile(run: Stage) -> None:
    run.world.failing_models["a/large"] = LIMIT
    await profile(run, source={"image": "default"}, agent={"model": MODEL})
    await run.lieutenant(profileRef={"name": "own"}, env=KEYS)
    machine = await run.ready()
    assert await run.ends(await run.task("one")) == "Succeeded"
    assert has(machine) == ("b/two", "low")
