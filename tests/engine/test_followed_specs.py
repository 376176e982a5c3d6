"""What a cluster declares is followed in memory: it is written with what is written anyway, costs nothing where it means nothing,
and is not lost when the store fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.keys import Json
from reconciler.engine.state.declarations import Outcome
from reconciler.engine.state.declared import Intake
from reconciler.errors import Unreachable
from tests.engine.stage import LT, SETTINGS, Stage, pass_time, tell

RESTING = replace(SETTINGS, health_probes=False)
ROLE, OTHER = "Keep it", "Keep it well"


def seen(generation: int = 1, role: str = ROLE, **labels: str) -> Intake:
    """The lieutenant, as a cluster tells of it."""
    spec: Json = {"role": role, "profileRef": {"name": "lightweight"}}
    return Intake(LT, "uid-1", generation, 0.0, spec, labels, {}, "kube")


async def roles(run: Stage) -> list[str]:
    """To what the cluster changed the role, as the audit tells it."""
    entries = [entry for _, entry in await run.engine.store.audit() if entry.verb == "changed"]
    assert {entry.actor.door for entry in entries} <= {"cluster"}
    return [str(change.after) for entry in entries for change in entry.changes if change.path.endswith("role")]


@pytest.mark.guarantee("G-45")
def test_a_label_costs_no_write_and_no_look(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        declarations, told = run.engine.declarations, run.engine.effects.telemetry
        assert await declarations.intake(seen()) is Outcome.CREATED
        await run.ready()
        await run.until(run.engine.converged, "everything rests")
        await pass_time(60)
        writes, looks = run.weather.count("store.write"), sum(one.count for one in told.reconciles.values())
        assert await declarations.intake(seen(team="blue")) is Outcome.CONFIGURED
        assert run.engine.converged(), "there is nothing to look at"
        await pass_time(1)
        assert run.weather.count("store.write") == writes
        assert sum(one.count for one in told.reconciles.values()) == looks
        item = run.engine.table.get(LT)
        assert item is not None
        assert item.obj.labels == {"team": "blue"}

    tell(tmp_path, story, settings=RESTING)


def test_a_spec_is_in_the_store_with_the_status_that_tells_of_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.engine.declarations.intake(seen())
        await run.ready()
        await run.engine.declarations.intake(seen(2, OTHER))
        await run.until(lambda: run.status().get("observedGeneration") == 2, "the change was observed")
        (stored,) = await run.engine.store.objects(LT.kind, LT.namespace, LT.name)
        assert (stored.spec["role"], stored.generation, stored.status["observedGeneration"]) == (OTHER, 2, 2)
        assert await roles(run) == [OTHER], "who changed what is written with it"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-40")
def test_a_spec_told_while_the_store_fails_is_not_lost(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.engine.declarations.intake(seen())
        await run.ready()
        await run.until(run.engine.converged, "everything rests")

        async def rule(act: Callable[[], Awaitable[Any]]) -> Any:
            """Fails once, and in the middle of it the cluster tells something."""
            del run.weather.rules["store.write"]
            await run.engine.declarations.intake(seen(3, OTHER, team="blue"))
            raise Unreachable("the disk is full", "state.db", "make room")

        run.weather.rules["store.write"] = rule
        await run.engine.declarations.intake(seen(2, "Keep it somehow"))
        await run.until(lambda: run.status().get("observedGeneration") == 3, "the last change was observed")
        item = run.engine.table.get(LT)
        assert item is not None
        assert (item.obj.spec["role"], item.obj.generation, item.obj.labels) == (OTHER, 3, {"team": "blue"})
        assert await roles(run) == ["Keep it somehow", OTHER], "each change once, in order"

    tell(tmp_path, story)
