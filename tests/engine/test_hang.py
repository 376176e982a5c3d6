"""A pi that stops answering is noticed and restarted on the same session, whatever its process and its VM say (G-24)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.harness import Run, virtual
from tests.faults.play import SETTINGS, declared
from tests.faults.scenarios.one_lieutenant import LT, ONE, lieutenant
from tests.world import World


@pytest.mark.guarantee("G-24")
def test_a_deaf_agent_is_noticed_and_restarted_on_its_session(tmp_path: Path) -> None:
    async def main() -> None:
        run = Run(World(), tmp_path / "state.db", None, SETTINGS)
        await run.alive()
        await run.declare(lieutenant(), declared(ONE, lieutenantRef={"name": "api"}, prompt="first"))
        await run.until(lambda: run.phase(ONE) == "Succeeded", "work is done")
        machine = run.world.alive()[0]
        assert machine.pi is not None
        before, conversation = machine.pi.pid, machine.session
        machine.pi.deaf = True
        deaf_at = asyncio.get_running_loop().time()
        await run.until(lambda: run.condition(LT, "AgentReachable") == "False", "it is noticed")
        assert asyncio.get_running_loop().time() - deaf_at <= 3 * 10.0 + 1.0
        assert run.condition(LT, "VMReady") == "True"
        assert run.condition(LT, "Ready") == "Unknown"
        await run.until(lambda: run.condition(LT, "Available") == "True", "it is back")
        assert machine.pi is not None
        assert machine.pi.pid != before
        assert machine.session == conversation
        status = run.engine.table.get(LT)
        assert status is not None
        assert status.obj.status["restarts"]["recent"] == 1  # type: ignore[index,call-overload]
        await run.controller.down()

    virtual(main)
