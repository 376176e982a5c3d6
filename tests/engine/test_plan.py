"""`plan` prints what the loop then does (G-41)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.engine.kinds.lieutenant import LieutenantKind
from reconciler.engine.planning import plan_everything
from reconciler.views.folded import folded
from reconciler.views.forecast import planned as shown
from tests.faults.harness import Run, virtual
from tests.faults.play import SETTINGS, declared
from tests.faults.scenarios.one_lieutenant import LT, ONE, TWO, lieutenant
from tests.world import World


@pytest.mark.guarantee("G-41")
def test_a_plan_is_what_the_loop_then_does_and_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        run = Run(World(), tmp_path / "state.db", None, SETTINGS)
        await run.alive()
        await run.engine.stop()
        engine = run.engine
        await engine.declarations.apply(lieutenant())
        await engine.declarations.apply(declared(ONE, lieutenantRef={"name": "api"}, prompt="first"))
        await engine.declarations.apply(declared(TWO, lieutenantRef={"name": "api"}, prompt="second", after=[{"name": "one"}]))
        planned = [step.action.verb for step in (await plan_everything(engine)).steps]
        assert run.world.created == 0
        assert "Create" in planned
        assert planned.count("Deliver") == 2
        done: list[str] = []
        act = LieutenantKind.act

        async def watched(self, snapshot, step):  # type: ignore[no-untyped-def]
            done.append(step.action.verb)
            return await act(self, snapshot, step)

        LieutenantKind.act = watched  # type: ignore[method-assign]
        try:
            await run.controller.down()
            await run.controller.up()
            await run.until(lambda: run.phase(TWO) == "Succeeded", "both are done")
        finally:
            LieutenantKind.act = act  # type: ignore[method-assign]
            await run.controller.down()
        observed = {"MirrorSession", "Landed", "Progress", "Finish"}
        assert [verb for verb in done if verb not in observed] == planned

    virtual(main)


@pytest.mark.guarantee("G-41")
@pytest.mark.parametrize(("mode", "because"), [("Suspended", "spec.mode is Suspended"), ("Running", "it is to run: spec.mode is Running")])
def test_a_plan_after_a_change_of_the_mode_names_that_field(tmp_path: Path, mode: str, because: str) -> None:
    async def main() -> None:
        run = Run(World(), tmp_path / "state.db", None, SETTINGS)
        await run.alive()
        await run.declare(lieutenant())
        await run.until(lambda: run.condition(LT, "Available") == "True", "it is awake")
        if mode == "Running":
            await run.declare(lieutenant("Suspended"))
            await run.until(lambda: run.condition(LT, "Suspended") == "True" and run.condition(LT, "Ready") == "True", "it sleeps")
        engine = run.engine
        await engine.stop()
        await engine.declarations.apply(lieutenant(mode))
        (entry,) = folded(shown((await plan_everything(engine)).steps))
        assert entry.steps[0].verb == "Acknowledge"
        assert entry.why == because
        await run.controller.down()

    virtual(main)
