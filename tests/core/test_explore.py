"""Every state that the slot planner can get into, within small budgets of trouble: nothing bad ever, and from each of them,
left in peace, the declared state is reached."""

from __future__ import annotations

from collections import deque

import pytest

from tests.core.model import Bad, Budget, State, candidates, decide, quiet, reached, successors
from tests.effort import SOAKING

BUDGETS: dict[str, tuple[Budget, int]] = {
    "everything once": (Budget(crash=1, fault=1, stale=1, edit=1, world=1), 30_000),
    "faults and crashes": (Budget(crash=2, fault=3, stale=1, edit=1), 15_000),
    "old lists": (Budget(fault=1, stale=2, edit=1, world=1), 15_000),
    "a fickle person": (Budget(crash=1, fault=1, edit=4), 5_000),
    "a wild world": (Budget(crash=1, stale=1, edit=1, world=2), 50_000),
}
"""Budget, and the least number of states that it must come to: fewer means that the model stopped looking."""

WIDE: dict[str, tuple[Budget, int]] = {
    "crashes and faults, and more": (Budget(crash=2, fault=2, stale=1, edit=1, world=1), 100_000),
    "edits in a wild world": (Budget(crash=1, fault=1, stale=1, edit=2, world=2), 300_000),
}
"""Those that take longer; explored by `make soak`."""
if SOAKING:
    BUDGETS |= WIDE

LONGEST = 60


class Explored:
    """Breadth first, so that the first trace to something bad is a shortest one."""

    def __init__(self, start: State) -> None:
        decide.cache_clear()
        candidates.cache_clear()
        self.parents: dict[State, tuple[State, str] | None] = {start: None}
        self.peaceful: set[State] = set()
        todo = deque([start])
        while todo:
            state = todo.popleft()
            try:
                self.settles(state)
                following = list(successors(state))
            except Bad as bad:
                raise AssertionError(f"{bad}: {self.trace(state)}") from bad
            for name, after in following:
                if after not in self.parents:
                    self.parents[after] = (state, name)
                    self.judge(after)
                    todo.append(after)

    def judge(self, state: State) -> None:
        if len(state.ours()) > 1:
            raise AssertionError(f"two VMs of one slot: {self.trace(state)}")

    def settles(self, state: State) -> None:
        """Left in peace it reaches the declared state and stays there."""
        path = [state]
        while path[-1] not in self.peaceful:
            after = quiet(path[-1])
            if after == path[-1]:
                if not reached(after):
                    raise AssertionError(f"it rests short of {after.desired}, in {after}: {self.trace(state)}")
                break
            path.append(after)
            if len(path) > LONGEST:
                raise AssertionError(f"it never rests: {self.trace(state)}")
        self.peaceful.update(path)

    def trace(self, state: State) -> str:
        names: list[str] = []
        at: State = state
        while (known := self.parents.get(at)) is not None:
            at, name = known
            names.append(name)
        return " → ".join(reversed(names))


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-03")
@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-08")
@pytest.mark.parametrize("name", BUDGETS)
def test_nothing_bad_can_happen_and_everything_comes_right(name: str, record_property: pytest.RecordProperty) -> None:
    budget, least = BUDGETS[name]
    explored = Explored(State(budget))
    record_property("states", len(explored.parents))
    assert len(explored.parents) >= least
