"""Mutants of what an operator knows of its cluster, and tells it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from reconciler.engine.loop import Engine
from reconciler.engine.state.declarations import Declarations
from reconciler.sources.kube.seen import Seen
from reconciler.sources.kube.sink import KubeSink
from reconciler.sources.kube.source import KubeSource
from tests.engine import test_status_with_intent
from tests.mutants.mutant import Mutant
from tests.sources import test_kube_answers, test_kube_creates, test_kube_held, test_kube_late_answers

TRIED = 12
"""Searches; each of them finds it four times out of five."""


def late_answers(path: Path) -> None:
    for number in range(TRIED):
        folder = path / str(number)
        folder.mkdir()
        test_kube_late_answers.test_what_the_cluster_has_is_known_however_late_answers_are(number, folder)


def declared_anew(_: Path) -> None:
    asyncio.run(test_kube_answers.test_a_new_object_of_a_name_is_not_forgotten_when_the_old_one_is_answered_to_be_free())


def an_answer_that_there_is_none(_: Path) -> None:
    asyncio.run(test_kube_answers.test_an_object_that_is_declared_before_an_answer_that_there_is_none_is_not_forgotten())


def a_first_status(_: Path) -> None:
    asyncio.run(test_kube_creates.test_of_a_lieutenant())


def held_by_others(path: Path) -> None:
    test_kube_held.test_a_profile_that_was_held_while_it_was_deleted_is_gone_with_its_object(False, path)


CLUSTER_MUTANTS: tuple[Mutant, ...] = (
    Mutant("late-answer-taken", "G-05: what was heard of an object is not forgotten for a late answer", Seen, "answered",
           "if self.get(key) is not before:", "if told is None and self.get(key) is not before:", late_answers),
    Mutant("late-farewell-taken", "G-05: another object of its name is not forgotten with one that went", Seen, "answered",
           "if self.get(key) is not before:", "if told is not None and self.get(key) is not before:", declared_anew),
    Mutant("late-absence-taken", "what was heard of is not forgotten for a late answer that it is not there", KubeSource, "read",
           "self.seen.answered(key, known, None)", "self.seen.pop(key, None)", an_answer_that_there_is_none),
    Mutant("held-for-ever", "what others held is out of force when it is gone", Declarations, "withdraw",
           "if item.deleting and item.obj.finalizers:", "if item.deleting:", held_by_others),
    Mutant("told-of-nothing", "G-02: what tasks waited for has a status before its machine", Engine, "_tell",
           "if declared:", "if True:",
           test_status_with_intent.test_what_tasks_waited_for_has_a_status_before_a_machine_is_made_for_it),
    Mutant("first-create-untold", "G-02: a create is in the cluster before it is sent", KubeSink, "_wanted",
           "if not told:", "if not status:", a_first_status),
)  # fmt: skip
