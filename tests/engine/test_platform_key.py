"""The platform's key is refused, is missing, or belongs to another account: it is told as what it is, and nothing is concluded from it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reconciler.core.attention import attention_of
from reconciler.core.conditions import reasons_of
from reconciler.errors import ReconcilerError, Unauthorized, Unreachable
from tests.engine.stage import LT, MUTATIONS, Stage, failing, pass_time, tell
from tests.world import ACCOUNT

OTHER = "0b0b0b0b-0000-4000-8000-000000000000"


def refused() -> ReconcilerError:
    return Unauthorized("the platform refused the API key", "GET /vms", "check VERS_API_KEY: wrong, missing or expired")


def take_away_the_key(run: Stage, key: str) -> None:
    """From now on there is this key, and the platform refuses it."""
    run.world.key = key
    run.weather.rules["vers."] = failing(refused)


def give_it_back(run: Stage) -> None:
    run.world.key = ACCOUNT
    del run.weather.rules["vers."]


@pytest.mark.guarantee("G-03")
@pytest.mark.guarantee("G-37")
@pytest.mark.parametrize("key", [OTHER, "key-0123", ACCOUNT, ""])
def test_a_refused_key_is_told_as_that_and_as_no_other_account_and_a_good_one_heals_it(key: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        take_away_the_key(run, key)
        before, told = len(run.weather.names), len(run.controller.statuses)
        await run.says(LT, "Ready", "PlatformKeyRefused")
        assert run.condition(LT, "Ready") == "Unknown"
        assert run.reason(LT, "VMReady") == "PlatformKeyRefused"
        assert "check VERS_API_KEY" in run.message(LT, "Ready")
        waits = attention_of(run.status(LT))
        assert waits is not None
        assert (waits.sort, waits.reason) == ("Block", "PlatformKeyRefused")
        await pass_time(3600)
        assert run.record().slot.vm_id == machine.vm_id
        assert [name for name in run.weather.names[before:] if name in MUTATIONS] == []
        assert not any("AccountChanged" in reasons_of(status) for status in run.controller.statuses[told:])  # type: ignore[arg-type]
        give_it_back(run)
        await run.ready()
        assert run.record().slot.vm_id == machine.vm_id

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-03")
def test_a_controller_that_starts_with_a_refused_key_says_so_of_what_it_has_and_of_what_is_new(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        await run.controller.down()
        take_away_the_key(run, "key-0123")
        await run.alive()
        new = await run.lieutenant("web")
        for key in (LT, new):
            await run.says(key, "Ready", "PlatformKeyRefused")
        give_it_back(run)
        await run.ready(LT)
        await run.ready(new)

    assert tell(tmp_path, story).world.created == 2


@pytest.mark.guarantee("G-03")
def test_a_key_of_another_account_that_is_accepted_stays_told_as_that(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        run.world.key = OTHER
        run.world.hide_from_lists.add(machine.vm_id)
        await run.says(LT, "Ready", "AccountChanged")
        assert run.condition(LT, "Stalled") == "True"
        await pass_time(3600)
        assert run.record().slot.vm_id == machine.vm_id
        take_away_the_key(run, "key-0123")
        await run.says(LT, "Ready", "PlatformKeyRefused")
        run.world.hide_from_lists.clear()
        give_it_back(run)
        await run.ready()

    run = tell(tmp_path, story)
    assert run.world.created == 1
    assert run.world.deletes == []


@pytest.mark.guarantee("G-03")
def test_a_list_during_which_the_key_was_changed_says_nothing_of_either_account(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        fleet = run.engine.fleet
        before = fleet.latest
        run.world.key = OTHER

        asyncio.get_running_loop().call_later(0.01, setattr, run.world, "key", ACCOUNT)
        with pytest.raises(Unreachable, match="key was changed"):
            await fleet.list_since(run.world.now())
        assert (fleet.account, fleet.latest) == (ACCOUNT, before)
        await pass_time(60)
        await run.ready()

    tell(tmp_path, story)
