"""A plan for people: an entry for each object, which says what, why and what is lost, and nothing is left out of the count."""

from __future__ import annotations

import pytest

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Refuse, Wait
from reconciler.core.decisions.machine import Install, WriteFiles
from reconciler.core.decisions.replacement import BeginReplacement
from reconciler.core.decisions.slot import Create, Delete, MarkForDeletion, Release, Suspend
from reconciler.core.keys import Key
from reconciler.core.plan import Step
from reconciler.views.folded import folded, summary
from reconciler.views.forecast import Forecast, pending, planned

ADA, BOB = Key("Lieutenant", "default", "ada"), Key("Lieutenant", "default", "bob")
VM = "01aa32f0-c77d-4cab-99ff-e3bc216353a7"


def entry(*acts: object) -> dict[str, list[str]]:
    (found,) = folded(planned([Step(ADA, act) for act in acts]))  # type: ignore[arg-type]
    told: dict[str, list[str]] = {}
    for title, text in found.lines():
        told.setdefault(title, []).append(text)
    return told


@pytest.mark.guarantee("G-41")
def test_the_steps_of_one_machine_are_one_entry() -> None:
    told = entry(Create(1), Install(VM), WriteFiles(VM, "a"), WriteFiles(VM, "b"))
    assert told["+"] == ["lieutenant/ada   (4 steps)"]
    assert told["what"] == ["Create, Install, WriteFiles (2)"]
    assert told["why"] == ["it is declared, and there is no machine for it (CreatingVM)"]
    assert "lost" not in told


def test_a_deletion_says_why_and_what_is_lost() -> None:
    told = entry(MarkForDeletion(VM, "its declaration is gone", "Deleted"), Delete(VM), Release())
    assert told["-"] == ["lieutenant/ada   (3 steps)"]
    assert told["why"] == ["its declaration is gone"]
    assert told["lost"] == [f"VM {VM}, with what is on it and in no snapshot"]
    assert told["on"][0].startswith(VM)


def test_a_replacement_is_told_as_one() -> None:
    told = entry(BeginReplacement(VM, "h2", "its profile changed"), Create(1))
    assert told["-/+"] == ["lieutenant/ada   (2 steps)"]
    assert told["why"] == ["its profile changed"]
    assert VM in told["lost"][0]
    assert "-/+" in entry(MarkForDeletion(VM, "it is dead", "Dead"), Delete(VM), Create(2))


def test_a_change_is_no_creation() -> None:
    told = entry(Suspend(VM))
    assert told == {"~": ["lieutenant/ada"], "what": ["Suspend"], "on": [VM], "why": ["its machine runs and is to sleep (SuspendingVM)"]}


@pytest.mark.guarantee("G-49")
def test_everything_is_counted() -> None:
    steps = planned([Step(ADA, Create(1)), Step(BOB, Suspend(VM))])
    left = pending({ADA: Wait(Reason.CREATING_VM), BOB: Refuse(Reason.UNSUPPORTED, "x")})
    found = Forecast(steps, "", (), left, cut=True)
    assert summary(found, folded(steps)) == "Plan: 1 to create, 1 to change, 1 waiting, 1 refused (more than 2 steps)."
    assert len(folded(steps)) == 2


@pytest.mark.guarantee("G-41")
def test_every_act_has_a_why() -> None:
    from typing import get_args

    from reconciler.core.decisions import Action

    assert [act.__name__ for act in get_args(Action) if not (act.occasion or act.doing.meaning)] == []
