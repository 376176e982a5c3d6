"""When an object is looked at again by itself."""

from __future__ import annotations

import pytest

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Refuse, Wait
from reconciler.core.keys import Key
from reconciler.core.plan import SOONEST, Plan

KEY = Key("Lieutenant", "default", "api")
FALLBACK = 5.0


def looked_at(until: float, now: float, reason: Reason = Reason.RUNNING) -> float | None:
    return Plan(KEY, {KEY: Wait(reason, until=until)}).next_look(now, FALLBACK, probing=True)


@pytest.mark.parametrize(
    ("left", "after"),
    [(3.0, 3.0), (0.01, SOONEST), (0.0, SOONEST), (-0.01, SOONEST), (-2.0, 2.0), (-600.0, FALLBACK)],
)
def test_a_time_that_changed_nothing_is_looked_at_again_more_and_more_seldom(left: float, after: float) -> None:
    assert looked_at(100.0 + left, 100.0) == pytest.approx(after)


def test_ten_minutes_in_which_nothing_comes_of_it_take_few_looks() -> None:
    now, looks = 0.0, 0
    while now < 600.0:
        wait = looked_at(0.0, now)
        assert wait is not None
        now, looks = now + wait, looks + 1
    assert looks < 130


def test_what_has_an_interval_of_its_own_keeps_it() -> None:
    assert looked_at(0.0, 600.0, Reason.BOOTING) == 0.5


@pytest.mark.parametrize("reason", [Reason.UNOWNED_NOT_ALLOWED, Reason.COMMIT_OF_ANOTHER_NAMESPACE, Reason.VM_OF_ANOTHER_NAMESPACE])
def test_what_is_refused_by_what_was_read_is_looked_at_again(reason: Reason) -> None:
    """A list may have been wrong once, and what another object grants shows only when it is read."""
    assert Plan(KEY, {KEY: Refuse(reason, "not yours")}).next_look(0.0, FALLBACK, probing=False) == 60.0


def test_what_only_a_person_can_change_is_not_looked_at_by_itself() -> None:
    assert Plan(KEY, {KEY: Refuse(Reason.UNSUPPORTED, "not here")}).next_look(0.0, FALLBACK, probing=True) is None
