"""After an act on a machine only that is looked at again, and the slot is not asked in between: what is decided is what a whole look and
the whole chain would say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.decisions import Decision
from reconciler.core.lieutenant import policies, workset
from reconciler.core.plan import Plan
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.workset import WorkSet
from reconciler.engine.observe.workset import Gatherer
from tests.engine import test_configuration, test_fork, test_local, test_profiles, test_replacement, test_sessions, test_trees

WHOLE = (
    test_local.test_work_goes_on_here_in_an_outage_and_comes_back_with_all_that_was_said_and_made,
    test_replacement.test_the_old_machine_works_on_until_the_other_one_is_verified_and_everything_moves_when_it_is_settled,
)
"""More than one machine takes part, or may at any time: nothing is folded in."""

STORIES: tuple[Callable[[Path], None], ...] = (
    test_configuration.test_a_model_is_set_while_pi_runs_and_read_back,
    test_configuration.test_a_new_model_waits_for_the_turn_and_comes_before_the_next_prompt,
    test_profiles.test_a_step_that_fails_is_tried_again_and_every_run_is_on_record,
    test_profiles.test_organs_and_capabilities_are_put_there_verified_and_read_back,
    test_profiles.test_a_changed_secret_reaches_files_and_environment_by_a_restart_when_settled,
    test_sessions.test_a_dead_vm_is_replaced_and_the_conversation_goes_on_with_its_memory,
    test_sessions.test_a_vm_suspended_behind_our_back_is_resumed_its_turn_intact,
    test_sessions.test_a_clock_that_stood_still_is_corrected_before_anything_runs,
    test_sessions.test_a_keeper_that_died_is_started_again_and_its_pi_is_found,
    *WHOLE,
    test_fork.test_a_copy_has_disk_and_conversation_of_its_source_and_both_go_on_apart,
    test_trees.test_machines_come_roots_first_and_go_leaves_first,
)

ONLY_FOR_ANOTHER = {"source", "warm"}
"""What a slot's next machine would be made from: looked up when one may be needed."""


def without_time(decided: Plan) -> Plan:
    """A plan that is made a moment later waits until a moment later."""
    decisions = {key: replace(one, until=None) if hasattr(one, "until") else one for key, one in decided.decisions.items()}  # type: ignore[type-var]
    return replace(decided, decisions=decisions)


def differing(one: Any, other: Any) -> set[str]:
    return {fact.name for fact in fields(one) if getattr(one, fact.name) != getattr(other, fact.name)} - {"now", "observed_at", "goes_on"}


class Judge:
    """Looks at the whole, too, whenever something is folded in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folded, self.followed, self.wrong = 0, 0, list[str]()
        fold, decide = Gatherer.inside_again, policies.plan

        async def folded(gatherer: Gatherer, before: WorkSet, *more: Any) -> WorkSet | None:
            then = await fold(gatherer, before, *more)
            if then is not None:
                self.compare(then, await gatherer.work_set(before.key))
            return then

        def decided(view: LieutenantView, goes_on: bool = False) -> Decision:
            found = decide(view, goes_on)
            if goes_on:
                self.followed += 1
                self.wrong += [f"{found} and not {whole}"] if (whole := decide(view)) != found else []
            return found

        monkeypatch.setattr(Gatherer, "inside_again", folded)
        monkeypatch.setattr(policies, "plan", decided)

    def compare(self, then: WorkSet, whole: WorkSet) -> None:
        self.folded += 1
        assert then.lieutenant is not None
        assert whole.lieutenant is not None
        differ = differing(then, whole) - {"lieutenant"}
        differ |= differing(then.lieutenant, whole.lieutenant) - {"lt", "slot", "requests"}
        differ |= differing(then.lieutenant.requests, whole.lieutenant.requests) | differing(then.lieutenant.lt, whole.lieutenant.lt)
        differ |= differing(then.lieutenant.slot, whole.lieutenant.slot) - ONLY_FOR_ANOTHER
        same = without_time(workset.plan(then)) == without_time(workset.plan(whole))
        self.wrong += [f"{workset.plan(then)}: {sorted(differ)}"] if differ or not same else []


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__.removeprefix("test_"))
def test_what_is_folded_in_is_what_a_whole_look_shows(
    story: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(monkeypatch)
    story(tmp_path)
    assert judge.wrong == []
    assert (judge.folded > 0) is (story not in WHOLE)
    assert judge.followed > 0 or story in WHOLE
