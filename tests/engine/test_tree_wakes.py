"""Who waits for another machine of its tree, or for room, is woken by what ends the wait: the look that comes anyway is never needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.api.treereasons import TreeReason
from tests.engine import test_tree_adoption, test_tree_bad_days, test_trees
from tests.faults.play import play
from tests.faults.scenarios import all_scenarios

STORIES: tuple[Callable[[Path], None], ...] = (
    test_trees.test_machines_come_roots_first_and_go_leaves_first,
    test_trees.test_never_more_creates_at_once_nor_more_machines_than_the_limits_say,
    test_trees.test_a_removed_node_with_others_below_is_refused_until_the_tree_says_what_becomes_of_them,
    test_trees.test_a_tree_with_a_protected_node_goes_only_when_that_is_confirmed,
    test_tree_adoption.test_what_is_taken_over_counts_against_the_limits_and_the_rest_is_not_touched,
    test_tree_bad_days.test_a_working_agent_ends_with_its_branch_when_a_person_takes_that_down,
)

AWAITED = (TreeReason.PARENT_NOT_READY, TreeReason.CHILDREN_FIRST, TreeReason.CAPACITY)


@pytest.fixture(autouse=True)
def nobody_looks_by_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    for reason in AWAITED:
        assert reason.waiting.held
        monkeypatch.setattr(reason, "waiting", replace(reason.waiting, poll=1e6))


@pytest.mark.guarantee("G-13")
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__.removeprefix("test_"))
def test_whoever_waits_is_woken(story: Callable[[Path], None], tmp_path: Path) -> None:
    story(tmp_path)


@pytest.mark.guarantee("G-13")
@pytest.mark.parametrize("name", ["tree-grows", "tree-sleeps"])
def test_whoever_waits_is_woken_while_a_tree_grows_and_sleeps(name: str, tmp_path: Path) -> None:
    play(all_scenarios()[name], tmp_path / "state.db", None)
