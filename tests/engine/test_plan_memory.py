"""`plan` foresees what becomes of the memory of an agent: brought before pi starts, and when somebody changed it (G-41)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reconciler.core.audit import Actor
from reconciler.core.governance.memory import Whose
from reconciler.core.keys import Key
from reconciler.engine.kinds.lieutenant import LieutenantKind
from reconciler.engine.planning import plan_everything
from reconciler.views.forecast import planned
from tests.faults.harness import Run, virtual
from tests.faults.play import SETTINGS, declared
from tests.world import World

LT = Key("Lieutenant", "default", "api")
PERSON = Actor("command", "ada")
OBSERVED = {"MirrorSession", "Landed", "Progress", "Finish"}


@asynccontextmanager
async def watched() -> AsyncIterator[list[str]]:
    """The acts that a loop carries out meanwhile."""
    done: list[str] = []
    act = LieutenantKind.act

    async def telling(self, snapshot, step):  # type: ignore[no-untyped-def]
        done.append(step.action.verb)
        return await act(self, snapshot, step)

    LieutenantKind.act = telling  # type: ignore[method-assign]
    try:
        yield done
    finally:
        LieutenantKind.act = act  # type: ignore[method-assign]


@pytest.mark.guarantee("G-41")
def test_what_will_be_brought_and_told_is_in_the_plan_and_then_done(tmp_path: Path) -> None:
    async def main() -> None:
        run = Run(World(), tmp_path / "state.db", None, SETTINGS)
        await run.alive()
        await run.engine.stop()
        engine = run.engine
        await engine.memory_desk.edit(Whose("default"), ["staging is blue", "ada wants\ntabs"], [], PERSON)
        await engine.declarations.apply(
            declared(LT, role="Keep it", profileRef={"name": "lightweight"}, memory={"scopes": ["Agent", "Global"]})
        )
        foreseen = (await plan_everything(engine)).steps
        verbs = [step.action.verb for step in foreseen]
        assert [verb for verb in verbs if verb in ("BringMemory", "StartAgent")] == ["BringMemory", "StartAgent"]
        assert [one.why for one in planned(foreseen) if one.verb == "BringMemory"] == [
            "2 entries (3 lines) that it shares; told to it when pi starts"
        ]
        async with watched() as done:
            await run.controller.down()
            await run.controller.up()
            await run.until(lambda: run.condition(LT, "Ready") == "True", "it is ready")
            await run.controller.down()
        assert [verb for verb in done if verb not in OBSERVED] == verbs

        await run.controller.up()
        await run.engine.stop()
        assert (await plan_everything(run.engine)).steps == (), "nothing is to be done for a memory that nobody changed"
        await run.engine.memory_desk.edit(Whose("default", "api"), ["the port is 8081"], [], PERSON)
        foreseen = (await plan_everything(run.engine)).steps
        brought = "1 entry (1 line) of its own, 2 entries (3 lines) that it shares"
        when = "told to it after a compaction, or when pi starts anew"
        assert [one.why for one in planned(foreseen) if one.verb == "BringMemory"] == [f"{brought}; {when}"]
        async with watched() as done:
            await run.controller.down()
            await run.controller.up()
            machine = next(iter(run.world.machines.values()))
            await run.until(lambda: [entry.text for entry in machine.memory.of("Agent")] == ["the port is 8081"], "it is there")
            await run.controller.down()
        assert [verb for verb in done if verb not in OBSERVED] == [step.action.verb for step in foreseen]

    virtual(main)
