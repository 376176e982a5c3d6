"""The session file is damaged while its mirror is whole: that is told as what it is, and a person's word heals it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.stage import LT, Stage, pass_time, tell


def damage(run: Stage) -> None:
    """The first line of the file, in place: not a byte shorter."""
    machine = run.machine()
    machine.session = b"x" * 20 + machine.session[20:]


@pytest.mark.guarantee("G-25")
@pytest.mark.guarantee("G-32")
def test_what_pi_refuses_to_read_is_told_at_once_and_healed_from_the_mirror(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        assert await run.ends(await run.task("one")) == "Succeeded"
        whole, machine = run.machine().session, run.machine()
        damage(run)
        run.world.kill_pi(machine)
        await run.says(LT, "Stalled", "SessionDiverged")
        assert len(run.record().restart.times) <= 2
        await pass_time(120)
        assert run.reason(LT, "Ready") == "SessionDiverged"
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": "session=local:t1"})
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert run.machine().session.startswith(whole)
        assert run.record().restart.times == ()
        assert run.reason(LT, "Ready") == "Running"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-25")
def test_resolving_ends_a_crash_loop_that_the_file_caused(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        assert await run.ends(await run.task("one")) == "Succeeded"
        for _ in range(6):
            await run.until(lambda: run.machine().pi is not None, "pi runs")
            run.world.kill_pi(run.machine())
            await pass_time(1)
        await run.says(LT, "Stalled", "CrashLoop")
        damage(run)
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "1"})
        await run.says(LT, "Stalled", "SessionDiverged")
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": "session=local:t1"})
        assert await run.ends(await run.task("two")) == "Succeeded"

    tell(tmp_path, story)
