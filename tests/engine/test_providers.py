"""The provider of a model says no: what time mends is waited for, what it does not mend is told; no attempt is spent on either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Json, Key
from reconciler.core.provider.breaker import FIRST_PROBE, REFUSED_PAUSE
from tests.engine.stage import LT, SETTINGS, Stage, pass_time, tell, tell_hours
from tests.engine.test_profiles import Vault, profile

LIMIT = '429: {"message":"Rate limit reached"}'
WRONG_KEY = '401: {"message":"Incorrect API key provided"}'
PROVIDER: Json = {
    "name": "acme",
    "baseUrl": "https://models.example.com/v1",
    "api": "openai-completions",
    "apiKeyFrom": {"secretKeyRef": {"name": "s", "key": "k"}},
}


def failing_with(run: Stage, error: str) -> None:
    run.world.answer = lambda prompt: ("", f"error: {error}")


def answering(run: Stage) -> None:
    run.world.answer = lambda prompt: ("done", "stop")


async def with_a_provider(run: Stage, *names: str) -> list[Key]:
    """Lieutenants on one provider with one key."""
    spec = {"source": {"image": "default"}, "agent": {"model": {"provider": "acme", "id": "m"}, "providers": [PROVIDER]}}
    await profile(run, **spec)
    return [await run.lieutenant(name, profileRef={"name": "own"}) for name in names]


def six(run: Stage) -> list[Key]:
    return [Key("Task", "default", f"t{n}") for n in range(6)]


def failed_answers(run: Stage) -> int:
    return sum(m.session.count(b'"stopReason": "error"') for m in run.world.machines.values())


@pytest.mark.guarantee("G-21")
@pytest.mark.guarantee("G-37")
def test_a_provider_at_its_limit_is_waited_for_and_costs_no_attempt(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        failing_with(run, LIMIT)
        await run.lieutenant()
        await run.ready()
        for task in six(run):
            await run.task(task.name, retries=1)
        last = await run.task("last", after=[{"name": "t5"}])
        await run.says(LT, "Ready", "ProviderLimited")
        assert run.reason(LT, "Available") == "ProviderLimited"
        assert "Rate limit reached" in run.message(LT, "Ready")
        told = run.status()["provider"]
        assert told["reason"] == "ProviderLimited"
        assert told["nextTry"] > told["since"]
        await run.says(six(run)[0], "Ready", "ProviderLimited")
        await pass_time(3600)
        assert failed_answers(run) <= 9, "probes grow rarer, one at a time"
        assert all(not run.task_record(task).finished and run.task_record(task).attempts == () for task in (*six(run), last))
        answering(run)
        for task in (*six(run), last):
            assert await run.ends(task) == "Succeeded"
        await run.says(LT, "Available", "Usable")
        assert "provider" not in run.status()
        assert run.happened("ProviderLimited") == run.happened("ProviderAnswers") == 1

    tell_hours(tmp_path, story)


def test_what_the_provider_asks_for_is_waited(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        failing_with(run, "429: Server requested 3300s retry delay (max: 60s)")
        await run.lieutenant()
        task = await run.task("one")
        await run.says(task, "Ready", "ProviderLimited")
        answering(run)
        await pass_time(3200)
        assert len(run.prompts("one")) == 1
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 2

    tell_hours(tmp_path, story)


def test_the_limit_that_the_agent_has_seen_is_waited_too(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        failing_with(run, LIMIT)
        run.world.retry_after = 3300.0
        await run.lieutenant()
        task = await run.task("one")
        await run.says(task, "Ready", "ProviderLimited")
        answering(run)
        await pass_time(3200)
        assert len(run.prompts("one")) == 1

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-37")
@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (WRONG_KEY, "declare its key"),
        ('404: {"message":"The model `m` does not exist"}', "declare a `model` that it has"),
    ],
)
def test_a_refusal_that_time_can_not_mend_stalls_the_lieutenant_and_ends_deliveries(error: str, remedy: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        failing_with(run, error)
        await run.lieutenant()
        task = await run.task("one")
        await run.says(LT, "Stalled", "ModelRefused")
        assert run.reason(LT, "Ready") == run.reason(LT, "Available") == "ModelRefused"
        for kind in ("Ready", "Stalled", "Available"):
            assert error in run.message(LT, kind)
            assert f"; {remedy}" in run.message(LT, kind)
        await pass_time(REFUSED_PAUSE - 60)
        assert len(run.prompts("one")) == 1
        assert run.reason(task, "Ready") == "ModelRefused"
        await pass_time(REFUSED_PAUSE)
        assert len(run.prompts("one")) == 2, "one probe after a long time"
        answering(run)
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "now"})
        assert await run.ends(task) == "Succeeded"
        assert run.task_record(task).attempts == ()
        await run.says(LT, "Ready", "Running")

    tell_hours(tmp_path, story)


def test_a_prompt_that_pi_declines_for_want_of_a_key_is_not_sent_again_and_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.declines = "No API key found for the selected model."
        await run.lieutenant()
        task = await run.task("one")
        await run.says(LT, "Stalled", "ModelRefused")
        await pass_time(300)
        assert run.task_record(task).attempt == 1
        assert run.world.prompts == []
        run.world.declines = ""
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "now"})
        assert await run.ends(task) == "Succeeded"

    tell(tmp_path, story)


def test_one_lieutenant_asks_for_all_that_share_provider_and_key(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        failing_with(run, LIMIT)
        keys = await with_a_provider(run, "a", "b", "c")
        for key in keys:
            await run.ready(key)
        for key in keys:
            await run.task(f"of-{key.name}", to=key.name)
        for key in keys:
            await run.says(key, "Available", "ProviderLimited")
        before = failed_answers(run)
        await pass_time(2 * FIRST_PROBE)
        assert failed_answers(run) - before <= 2
        answering(run)
        for key in keys:
            assert await run.ends(Key("Task", "default", f"of-{key.name}")) == "Succeeded"

    tell(tmp_path, story, secrets=Vault(s_k="key-1"))


def test_who_shares_provider_and_key_hears_at_once_that_it_takes_no_prompts_and_that_it_does_again(tmp_path: Path) -> None:
    """Not at its next look, which is far off here."""

    async def story(run: Stage) -> None:
        failing_with(run, LIMIT)
        asks, shares = await with_a_provider(run, "asks", "shares")
        for key in (asks, shares):
            await run.ready(key)
        await run.until(run.engine.converged, "everything rests")
        mine = await run.task("mine", to="asks")
        await run.says(mine, "Ready", "ProviderLimited")
        await pass_time(1)
        assert "provider" in run.status(shares)
        other = await run.task("other", to="shares")
        await run.says(other, "Ready", "ProviderLimited")
        answering(run)
        assert await run.ends(mine) == "Succeeded"
        await pass_time(FIRST_PROBE / 3)
        assert run.task_record(other).phase == "Succeeded", "the answer of the probe is news to both"

    tell(tmp_path, story, settings=replace(SETTINGS, health_probes=False, fallback_seconds=36_000.0), secrets=Vault(s_k="key-1"))


def test_another_key_is_tried_at_once(tmp_path: Path) -> None:
    vault = Vault(s_k="wrong-key")

    async def story(run: Stage) -> None:
        failing_with(run, WRONG_KEY)
        (key,) = await with_a_provider(run, "a")
        task = await run.task("one", to="a")
        await run.says(key, "Stalled", "ModelRefused")
        assert run.status(key)["provider"]["key"] == "Secret s key k"
        assert run.message(key, "Ready").startswith(f"acme (Secret s key k) refuses: {WRONG_KEY}; correct Secret s key k")
        answering(run)
        vault.values["s_k"] = "right-key"
        await pass_time(120)
        assert run.task_record(task).phase == "Succeeded"
        assert run.reason(key, "Ready") == "Running"

    tell(tmp_path, story, secrets=vault)


def test_an_error_that_one_request_causes_itself_holds_up_the_others_for_a_while_only(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.answer = lambda prompt: ("", 'error: 500: {"message":"Internal server error"}') if "/bad " in prompt else ("done", "stop")
        await run.lieutenant()
        bad, good = await run.task("bad"), await run.task("good")
        assert await run.ends(bad) == "Failed"
        assert run.task_record(bad).reason == "ModelError"
        assert await run.ends(good) == "Succeeded"

    tell_hours(tmp_path, story)


def test_what_is_more_than_the_model_takes_is_told_with_what_helps(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        long = 'error: 400: {"message":"prompt is too long: 213462 tokens > 200000 maximum"}'
        run.world.answer = lambda prompt: ("", long) if "/bad " in prompt else ("done", "stop")
        await run.lieutenant()
        bad, good = await run.task("bad"), await run.task("good")
        assert await run.ends(bad) == "Failed"
        assert run.reason(bad, "Ready") == "ContextTooLong"
        assert await run.ends(good) == "Succeeded", "its provider is not blamed for it"

    tell(tmp_path, story)


def test_a_restart_of_the_controller_does_not_ask_anew(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        failing_with(run, "429: try again in 2 hours")
        await run.lieutenant()
        task = await run.task("one")
        await run.says(task, "Ready", "ProviderLimited")
        await run.controller.down()
        await run.alive()
        await pass_time(600)
        assert len(run.prompts("one")) == 1
        assert run.reason(LT, "Available") == "ProviderLimited"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-21")
def test_an_empty_answer_is_no_evidence_it_is_continued_once_and_then_has_failed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.answer = lambda prompt: ("", "nothing")
        await run.lieutenant()
        task = await run.task("one")
        assert await run.ends(task) == "Failed"
        assert run.task_record(task).reason == "EmptyAnswer"
        assert run.task_record(task).continues == 1
        assert any("Your last answer was empty" in text for _, text in run.world.prompts)
        answers = iter([("", "nothing"), ("done", "stop")])
        run.world.answer = lambda prompt: next(answers)
        assert await run.ends(await run.task("two")) == "Succeeded"

    tell(tmp_path, story)
