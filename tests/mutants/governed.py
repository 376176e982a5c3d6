"""Mutants of permissions, of the answers of people, and of what waits for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core import attention, notices
from reconciler.core.governance.permissions import decide
from reconciler.core.task import limits
from reconciler.engine.act.governance import GovernActs
from tests.core import test_notices
from tests.core.permissions import table
from tests.core.permissions.test_decisions import test_the_strictest_match_over_all_levels_wins as strictest
from tests.engine import test_idle, test_permissions
from tests.mutants.mutant import Mutant
from tests.views import test_waiting


def every_case(_: Path) -> None:
    for case in table.TABLE["cases"]:
        strictest(*case)


def list_and_page(_: Path) -> None:
    test_waiting.test_list_and_page_say_the_same()


def the_next_question(_: Path) -> None:
    before, after = (notices.standing(told, {}) for told in (test_notices.ASKS, test_notices.asks("2026-11-30T11:00:00Z")))
    assert [one.type for one in notices.news(test_notices.TASK, "uid", before, after, 7, 5.0)] == ["attention.needed"]


def a_worker_that_is_overtaken(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        test_idle.test_a_worker_that_was_to_be_deleted_does_what_came_meanwhile_first(path, patch)


GOVERNED_MUTANTS: tuple[Mutant, ...] = (
    Mutant("loosest-wins", "G-28: the strictest match over all levels wins", decide, "_judge",
           "return max(strict, key", "return min(strict, key", every_case),
    Mutant("unknown-allowed", "G-28: what can't be parsed never runs by an allow", decide, "_judge",
           "if subject.opaque:", "if False:", every_case),
    Mutant("yes-to-all", "G-28: what a person denied does not run", limits, "answer_a_question",
           "given[ask.id].allow", "True", test_permissions.test_a_persons_answer_reaches_the_very_call_that_waits),
    Mutant("question-unlisted", "G-37: every open question is in the list", attention, "question_of",
           'if status.get("finishedAt") or not (asks or status.get("phase") == AWAITING):', "if True:", list_and_page),
    Mutant("next-question-untold", "G-37: the next call that waits is told too", notices, "news",
           "(new.reason == AWAITING and was.since != new.since)", "False", the_next_question),
    Mutant("gone-with-work", "what comes before a worker goes is done first", GovernActs, "act",
           "if not all(task.record.finished for task in self.t.table.tasks_of(item.key)):", "if False:", a_worker_that_is_overtaken),
)  # fmt: skip
