"""A create that was answered while the store can't be written: the controller knows which machine it made, and asks nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import Absent
from reconciler.engine.state.slots import LieutenantSlot
from reconciler.errors import Indeterminate, Unreachable
from tests.engine.stage import LT, SETTLE, Stage, failing, pass_time, tell
from tests.engine.test_fork_in_a_shared_account import OTHER, RESOLVE, SHARED
from tests.engine.test_outages import from_commit


def store_goes_away_with_the_answers(run: Stage, *lost: int) -> list[str]:
    """From the first answer to a create on nothing can be written; the answers of these creates are lost (0: the first one's).
    Returns the machines in the order in which they were made."""
    made: list[str] = []

    async def create(act: Callable[[], Awaitable[Any]]) -> Any:
        vm_id = await act()
        run.weather.rules["store.write"] = failing(lambda: Unreachable("the store is away"))
        made.append(vm_id)
        if len(made) - 1 in lost:
            raise Indeterminate("connection reset")
        return vm_id

    run.weather.rules["vers.create_vm"] = create
    return made


async def fitting(run: Stage, key: Key) -> tuple[str, ...] | None:
    """The machines that this one's create may have made, as a look finds them."""
    item = run.engine.table.lieutenant(key)
    assert item is not None
    found = await run.engine.gatherer.slots.open_intent(LieutenantSlot(item), Absent(proven=False), run.world.now())
    assert found is not None
    return found.candidates


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize("away", [0.5, 5 * SETTLE], ids=["for a moment", "for long"])
def test_a_machine_whose_create_was_answered_is_taken_as_soon_as_it_can_be_written_down(away: float, tmp_path: Path) -> None:
    """Others make machines in this account too, so what only looks like ours would be a person's to name."""

    async def story(run: Stage) -> None:
        made = store_goes_away_with_the_answers(run)
        await from_commit(run, LT.name)
        await run.until(lambda: bool(made), "a machine is made")
        await pass_time(away)
        del run.weather.rules["store.write"]
        assert (await run.ready()).vm_id == made[0]
        assert run.happened("CreateAmbiguous") == 0, "a person was asked"
        assert run.world.created == 1

    tell(tmp_path, story, settings=SHARED)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
def test_what_is_known_to_be_anothers_is_no_candidate_for_an_answer_that_was_lost(tmp_path: Path) -> None:
    """Of two machines of one commit one was answered: the other is the only one about which a person is asked."""

    async def story(run: Stage) -> None:
        made = store_goes_away_with_the_answers(run, 1)
        await from_commit(run, LT.name, OTHER.name)
        await run.until(lambda: len(made) == 2, "both machines are made")
        await pass_time(2 * SETTLE)
        known, asked = (LT, OTHER) if await fitting(run, LT) == (made[0],) else (OTHER, LT)
        assert await fitting(run, known) == (made[0],)
        del run.weather.rules["store.write"]
        assert await fitting(run, asked) == (made[1],)
        assert not run.record(known).slot.vm_id, "nobody has looked since"
        assert (await run.ready(known)).vm_id == made[0]
        await run.says(asked, "Stalled", "CreateAmbiguous")
        assert run.happened("CreateAmbiguous") == 1
        assert made[1] in run.message(asked, "Stalled")
        assert made[0] not in run.message(asked, "Stalled")
        await run.engine.declarations.annotate(asked, {RESOLVE: f"vm={made[1]}:a"})
        assert (await run.ready(asked)).vm_id == made[1]
        assert run.world.created == 2

    tell(tmp_path, story, settings=SHARED)
