"""The health script for Argo CD, run by a Lua 5.1 as Argo CD does (no more than the base library), on every status of a story."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from lupa import lua51

from reconciler.core.keys import Key
from tests.conformance.kstatus import summary
from tests.engine.stage import LT, Stage, pass_time, tell

SCRIPT = Path(__file__).parents[2] / "examples" / "gitops" / "argocd-health.lua"
LIBRARIES = ("io", "os", "debug", "package", "require", "string", "coroutine", "dofile", "loadfile", "python")
Health = Callable[[Mapping[str, Any]], tuple[str, str]]


@pytest.fixture(scope="module")
def health() -> Health:
    """(status, message) of one object."""
    script = SCRIPT.read_text("utf-8")

    def judge(obj: Mapping[str, Any]) -> tuple[str, str]:
        lua = lua51.LuaRuntime(register_eval=False, unpack_returned_tuples=True)
        for name in LIBRARIES:
            lua.globals()[name] = None
        lua.globals().obj = lua.table_from(json.loads(json.dumps(obj)), recursive=True)
        told = lua.execute(script)
        return str(told["status"]), str(told["message"])

    return judge


def seen(status: Mapping[str, Any], generation: int | None = None) -> dict[str, Any]:
    at = status.get("observedGeneration", 1) if generation is None else generation
    return {"metadata": {"name": "one", "generation": at}, "status": dict(status)}


def test_every_status_of_a_story_has_the_health_that_kstatus_has(tmp_path: Path, health: Health) -> None:
    """Waiting, made, working, failed, suspended, resumed, deleted: the script and the rules of kstatus agree each time."""

    async def story(run: Stage) -> None:
        await run.lieutenant(profileRef={"name": "later"})
        await pass_time(5)
        await run.lieutenant("ada")
        ada = Key("Lieutenant", "default", "ada")
        await run.ready(ada)
        assert await run.ends(await run.task("good", to="ada")) == "Succeeded"
        failing = await run.task("bad", to="ada", acceptance=[{"file": {"path": "never.txt"}}])
        assert await run.ends(failing) == "Failed"
        await run.engine.declarations.patch_spec(ada, lambda obj: {**obj.spec, "mode": "Suspended"}, "api")
        await run.until(lambda: run.status(ada).get("phase") == "Suspended", "it sleeps")
        await pass_time(5)
        await run.engine.declarations.delete(LT)
        await run.gone(LT)

    statuses = tell(tmp_path, story).controller.statuses
    agreed = {"Current": ("Healthy", "Suspended"), "InProgress": ("Progressing",), "Failed": ("Degraded",)}
    found: Counter[str] = Counter()
    for status in statuses:
        generation = int(str(status["observedGeneration"]))
        told, message = health(seen(status))
        assert told in agreed[summary(status, generation)], status
        assert message, status
        found[told] += 1
        assert health(seen(status, generation + 1)) == ("Progressing", "waiting for the operator to see the last change")
    assert set(found) == {"Healthy", "Suspended", "Progressing", "Degraded"}, found


@pytest.mark.parametrize(
    "obj", [{"metadata": {"generation": 1}}, {"metadata": {}, "status": {}}, {"metadata": {}, "status": {"phase": "Idle"}}]
)
def test_what_nobody_looked_at_yet_is_progressing(health: Health, obj: dict[str, Any]) -> None:
    assert health(obj) == ("Progressing", "waiting for the operator to look at it")


def test_the_reason_is_told(health: Health) -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "CrashLoop", "message": "pi ended 6 times"}
    ready = {"type": "Ready", "status": "False", "reason": "CrashLoop", "message": "…"}
    status = {"observedGeneration": 1, "conditions": [ready, stalled]}
    assert health(seen(status)) == ("Degraded", "CrashLoop: pi ended 6 times")
