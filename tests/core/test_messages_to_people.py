"""What people read of a decision is made of reasons and plain words: the names of acts are the vocabulary of a plan alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

import pytest

from reconciler.api.status.base import Status
from reconciler.core.conditions import reason_of, told
from reconciler.core.decisions import Action, Decision
from reconciler.core.lasterror import LastError
from reconciler.core.lieutenant import policies as lieutenant
from reconciler.core.lieutenant import workset
from reconciler.core.lieutenant.status import lieutenant_status
from reconciler.core.slot.management import only_observe
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.states import states_markdown
from reconciler.core.task import policies as task
from reconciler.core.task.status import task_status
from tests.core import test_workset
from tests.core.test_status import LIEUTENANTS, TASKS
from tests.core.views import NOW

ACTS = frozenset(act.__name__ for act in get_args(Action))
NAMES = re.compile(rf"\b({'|'.join(sorted(ACTS))})\b")
WENT_WRONG = LastError("the connection was lost")


def names_in(*texts: str) -> list[str]:
    return [f"{found.group()} in {text!r}" for text in texts for found in NAMES.finditer(text)]


def messages(status: Status) -> list[str]:
    return [condition.message for condition in status.conditions]


def in_words(decision: Decision) -> Iterator[str]:
    """Everything that conditions and events say of it, also when only observing, also after an error."""
    yield reason_of(decision)[1]
    yield told(decision, WENT_WRONG)[1]
    yield reason_of(only_observe(decision))[1]


def work_set_of(view: LieutenantView) -> list[Decision]:
    """What is decided for a lieutenant and for a task that waits for it."""
    return list(workset.plan(test_workset.work_set(test_workset.facts("waits"), lt=view, talk=None)).decisions.values())


@pytest.mark.parametrize("name", LIEUTENANTS)
def test_no_act_is_named_where_people_read_of_a_lieutenant(name: str) -> None:
    view = LIEUTENANTS[name]
    decision = lieutenant.plan(view)
    status = lieutenant_status(view, decision, {}, 1, pending=0, active="", last_error=WENT_WRONG)
    assert names_in(*messages(status), *in_words(decision)) == []
    _, why = workset.availability_of(test_workset.work_set(lt=view), decision)
    assert names_in(why) == []
    assert names_in(*(text for one in work_set_of(view) for text in in_words(one))) == []


@pytest.mark.parametrize("name", TASKS)
def test_no_act_is_named_where_people_read_of_a_task(name: str) -> None:
    view = TASKS[name]
    decision = task.plan(view)
    assert names_in(*messages(task_status(view.record, decision, {}, 1, NOW)), *in_words(decision)) == []


def test_a_task_that_waits_says_what_its_lieutenant_is_doing_by_its_reason() -> None:
    starting = next(view for view in LIEUTENANTS.values() if isinstance(lieutenant.plan(view), Action))
    doing = reason_of(lieutenant.plan(starting))[0]
    assert workset.availability_of(test_workset.work_set(lt=starting.but(now=NOW)), lieutenant.plan(starting))[1] == str(doing)


def test_every_verb_of_a_plan_is_documented() -> None:
    section = states_markdown().partition("## Verbs of a plan")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == ACTS
    assert "(says nothing)" not in section
