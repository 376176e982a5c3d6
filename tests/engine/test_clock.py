"""A clock that went wrong between two lists is found and corrected, though nothing else showed it (G-12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.harness import Run, virtual
from tests.faults.play import SETTINGS
from tests.faults.scenarios.one_lieutenant import LT, lieutenant
from tests.world import World


@pytest.mark.guarantee("G-12")
def test_skew_that_no_list_showed_is_corrected_within_two_minutes(tmp_path: Path) -> None:
    async def main() -> None:
        run = Run(World(), tmp_path / "state.db", None, SETTINGS)
        await run.alive()
        await run.declare(lieutenant())
        await run.until(lambda: run.condition(LT, "Available") == "True", "it works")
        machine = run.world.alive()[0]
        machine.clock_skew = 18 * 3600.0
        run.deadline = 120.0
        await run.until(lambda: machine.clock_skew == 0.0, "its clock is right again")
        await run.controller.down()

    virtual(main)
