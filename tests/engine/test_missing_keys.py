"""A declared key that is empty is told before anything is asked of the model, and work waits for it; what can't be known is not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Json
from tests.engine.stage import LT, Stage, pass_time, tell, tell_hours
from tests.engine.test_profiles import Vault, profile
from tests.engine.test_providers import PROVIDER

KEY: Json = {"secretKeyRef": {"name": "s", "key": "k"}}
OWN: Json = {"name": "ACME_API_KEY", "valueFrom": KEY}
LOGGED_IN: dict[str, object] = {"env": [OWN], "files": [{"path": "/root/.pi/agent/auth.json", "content": "{}"}]}


async def with_a_model(run: Stage, agent: Json | None = None, **spec: object) -> None:
    model = {"provider": "acme", "id": "m"}
    await profile(run, source={"image": "default"}, agent={"model": model, **(agent or {})}, **spec)
    await run.lieutenant(profileRef={"name": "own"})


@pytest.mark.guarantee("G-27", "G-37")
@pytest.mark.parametrize("empty", ["", " \n"])
@pytest.mark.parametrize("declared", ["apiKeyFrom", "env"])
def test_a_key_that_is_empty_is_told_before_any_delivery_and_holds_the_tasks(declared: str, empty: str, tmp_path: Path) -> None:
    vault = Vault(s_k=empty)

    async def story(run: Stage) -> None:
        if declared == "env":
            await with_a_model(run, env=[OWN])
        else:
            await with_a_model(run, {"providers": [PROVIDER]})
        words = "acme has no key: Secret s key k is empty; put the key there, a changed value is tried at once"
        await run.says(LT, "Stalled", "ModelRefused")
        for kind in ("Ready", "Available"):
            assert (run.reason(LT, kind), run.message(LT, kind)) == ("ModelRefused", words)
        told = {"name": "acme", "key": "Secret s key k", "reason": "ModelRefused", "message": "Secret s key k is empty"}
        assert run.status()["provider"] == told
        task = await run.task("one")
        await run.says(task, "Ready", "ModelRefused")
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "now"})
        await pass_time(7200)
        assert run.world.prompts == [], "nothing was asked"
        assert run.task_record(task).attempt == 0
        vault.values["s_k"] = "the-key"
        assert await run.ends(task) == "Succeeded"
        await run.says(LT, "Ready", "Running")
        assert "provider" not in run.status()

    tell_hours(tmp_path, story, secrets=vault)


@pytest.mark.guarantee("G-27")
@pytest.mark.parametrize(
    "spec",
    [
        {"agent": {"providers": [{**PROVIDER, "apiKeyFrom": None}]}, "env": [{"name": "OTHER", "valueFrom": KEY}]},
        {"env": [{"name": "OTHER_API_KEY", "valueFrom": KEY}]},
        {"env": [OWN, {"name": "ACME_TOKEN", "value": "given"}]},
        LOGGED_IN,
        {"env": [{"name": "ACME_API_KEY", "value": ""}]},
    ],
    ids=["a provider that needs none", "another one's", "one of two", "pi's own login", "a variable that is taken away"],
)
def test_what_may_have_a_key_is_not_refused(spec: dict[str, object], tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await with_a_model(run, **spec)  # type: ignore[arg-type]
        await run.ready()
        assert await run.ends(await run.task("one")) == "Succeeded"

    tell(tmp_path, story, secrets=Vault(s_k=""))


def test_a_model_that_stands_in_answers_while_the_key_of_the_first_is_empty(tmp_path: Path) -> None:
    vault = Vault(s_k="")

    async def story(run: Stage) -> None:
        model = {"provider": "acme", "id": "m", "fallbacks": [{"provider": "other", "id": "n"}]}
        await profile(run, source={"image": "default"}, env=[OWN], agent={"model": model})
        await run.lieutenant(profileRef={"name": "own"})
        await run.ready()
        assert await run.ends(await run.task("one")) == "Succeeded"
        assert run.status()["fallback"]["model"] == "other/n"
        assert "acme has no key" in run.status()["fallback"]["message"]

    tell(tmp_path, story, secrets=vault)
