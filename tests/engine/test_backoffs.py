"""A back-off does not outlive its cause, and people see when the next try is."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import CommandResult, GuestCommand
from reconciler.core.times import seconds
from reconciler.errors import InvalidSpec
from tests.engine.stage import LT, Stage, declared, failing, pass_time, tell
from tests.engine.test_profiles import Vault

PROFILE = Key("BootProfile", "default", "own")
SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}


def refuse() -> InvalidSpec:
    return InvalidSpec("there is no image of that name", "image wrong", "name another")


def now(run: Stage) -> float:
    return run.engine.clock.now()


async def waits_long(run: Stage) -> None:
    """It fails until the next try is a good while away, and status says when that is."""
    for _ in range(400):
        await pass_time(1)
        at = seconds(run.status().get("nextTryAt"))
        if at is not None and at - now(run) > 10:
            return
    raise AssertionError(f"it never waited: {run.status()}")


def test_a_corrected_profile_ends_the_back_off_of_a_refused_create(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.weather.rules["vers.create_vm"] = failing(refuse)
        await run.declare(declared(PROFILE, source={"image": "wrong"}))
        await run.lieutenant(profileRef={"name": "own"})
        await waits_long(run)
        assert run.reason(LT, "Ready") == "BackingOff"
        del run.weather.rules["vers.create_vm"]
        before = now(run)
        await run.declare(declared(PROFILE, source={"image": "default"}))
        await run.until(lambda: bool(run.world.alive()), "a machine is made")
        assert now(run) - before < 1
        await run.ready()
        assert "nextTryAt" not in run.status()

    tell(tmp_path, story)


@pytest.mark.parametrize("mended", ["the step", "the secret"])
def test_what_a_step_needed_is_corrected_and_it_runs_at_once(tmp_path: Path, mended: str) -> None:
    vault = Vault(s_k="wrong-key")

    async def story(run: Stage) -> None:
        def commands(command: GuestCommand) -> CommandResult:
            good = vault.values["s_k"] == "right-key"
            return CommandResult(0 if good or fixed else 1, "", "401", 0.1)

        fixed: list[bool] = []
        run.world.commands = commands
        step = {"name": "login", "run": "login", "retries": 10}
        await run.declare(declared(PROFILE, source={"image": "default"}, steps=[step], env=[{"name": "KEY", "valueFrom": SECRET}]))
        await run.lieutenant(profileRef={"name": "own"})
        await waits_long(run)
        assert run.reason(LT, "Ready") == "BootRetrying"
        before = now(run)
        if mended == "the step":
            fixed.append(True)
            await run.declare(
                declared(
                    PROFILE,
                    source={"image": "default"},
                    steps=[{**step, "run": "login --better"}],
                    env=[{"name": "KEY", "valueFrom": SECRET}],
                )
            )
        else:
            vault.values["s_k"] = "right-key"
            run.engine.wake(LT)
        await run.ready()
        assert now(run) - before < 5

    tell(tmp_path, story, secrets=vault)
