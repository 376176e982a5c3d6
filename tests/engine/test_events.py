"""What is told again with nothing but other numbers is one event that counts, in the store of file mode as in a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.engine.clock import LoopClock
from reconciler.engine.ports import Event
from reconciler.engine.recorder import SERIES_SECONDS, Recorder
from tests.engine.stage import LT, Stage, pass_time, tell

TASK = Key("Task", "web", "one")


class Hands(LoopClock):
    """A clock that is set."""

    def __init__(self, time: float) -> None:
        self.time = time

    def now(self) -> float:
        return self.time


def told(*news: tuple[float, Key, str]) -> list[Event]:
    """What a recorder makes of this news, each at its second."""
    clock, made = Hands(0.0), list[Event]()
    recorder = Recorder(clock)
    recorder.listen(made.append)
    for at, key, message in news:
        clock.time = 1000.0 + at
        recorder.event(key, "u", "Delivering", message)
    return made


def test_other_numbers_count_and_the_same_again_is_no_event() -> None:
    made = told((0, TASK, "attempt 1"), (1, TASK, "attempt 2"), (2, TASK, "attempt 2"), (3, TASK, "it failed"), (4, TASK, "attempt 3"))
    assert [(one.message, one.count) for one in made] == [("attempt 1", 1), ("attempt 2", 2), ("it failed", 1), ("attempt 3", 3)]
    assert [one.since for one in made] == [1000.0, 1000.0, 1003.0, 1000.0]
    first, second, other, third = (one.series for one in made)
    assert first == second == third != other


@pytest.mark.parametrize(("later", "key"), [(SERIES_SECONDS + 1, TASK), (1.0, Key("Task", "web", "two"))])
def test_after_a_while_and_of_another_object_it_is_news(later: float, key: Key) -> None:
    made = told((0, TASK, "attempt 1"), (later, key, "attempt 2"))
    assert [one.count for one in made] == [1, 1]
    assert made[0].series != made[1].series


@pytest.mark.guarantee("G-66")
def test_the_store_has_one_row_that_counts(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        for number in range(1, 6):
            await run.engine.table.update([], *run.engine.recorder.event(LT, "u", "Delivering", f"attempt {number}"))
            await pass_time(1)
        for number in (6, 7):
            run.engine.recorder.note(LT, "u", "Delivering", f"attempt {number}")
        await run.engine.table.update([], *run.engine.recorder.take(LT))
        found = [one for one in await run.engine.store.events(LT) if one.reason == "Delivering"]
        assert [(one.message, one.count) for one in found] == [("attempt 7", 7)]
        assert found[0].at - found[0].since == pytest.approx(5.0)

    tell(tmp_path, story)
