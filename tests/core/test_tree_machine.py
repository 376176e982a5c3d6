"""Decisions about a machine without an agent: the stages of a lieutenant that it has, and what is its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.api.reasons import Reason
from reconciler.core.decisions import AtNext, ConfirmReplacement, Decision, InstallTools, ReturnToOld, StandStill, Steady, Wait
from reconciler.core.lieutenant.replacement import PATIENCE
from reconciler.core.snapshot.agent import NotStarted
from reconciler.core.snapshot.branch import Copies
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.vm import Unknown
from reconciler.core.tree.machine import plan
from tests.core.test_replacement import NEW, OLD, THERE, making, taken
from tests.core.views import NOW, OTHER, VM, agent, guest, lieutenant

KEPT = agent(NotStarted())
"""Its keeper answers; no pi was ever started."""

ASKED = Copies(asked=("lieutenant/clerk",))
MUTE = Unknown("no answer")

SCENARIOS: dict[str, tuple[LieutenantView, Decision | None]] = {
    "at rest": (lieutenant(agent=KEPT), Steady(until=NOW + 10)),
    "the new one is confirmed when its keeper answers": (taken(agent=KEPT), ConfirmReplacement(VM)),
    "not before it is prepared": (taken(agent=KEPT, guest=guest(claim=THERE, marks={})), None),
    "not while it is silent": (taken(agent=None, guest=MUTE), None),
    "silent for long it gives its place back": (
        taken(agent=None, guest=MUTE, at=NOW - PATIENCE),
        ReturnToOld(OTHER, f"the keeper has not answered on VM {OTHER} within {PATIENCE:.0f} s"),
    ),
    "when the old one can't be told of it does not": (
        taken(replace(OLD, vm=MUTE), agent=None, guest=MUTE, at=NOW - PATIENCE),
        None,
    ),
    "to sleep it goes back": (
        taken(agent=KEPT, slot=replace(NEW, desired=DesiredState.SUSPENDED)),
        ReturnToOld(OTHER, "it is to be suspended before its keeper has answered on the new machine", failed=False),
    ),
    "it stands still for who is to be a copy of it": (lieutenant(agent=KEPT, copies=ASKED), StandStill(VM, "", 0)),
    "it gets node, pi and the keeper, and no agent": (lieutenant(guest=guest(node=None), agent=None), InstallTools(VM)),
    "so does the other machine": (
        making(next_guest=guest(claim=THERE, pi=None)).but(agent=KEPT),
        AtNext(
            InstallTools(OTHER),
            Wait(Reason.REPLACING, f"VM {OTHER}: Node, pi and the keeper are being installed on a machine without an agent"),
        ),
    ),
    "it is its keeper that does not answer": (lieutenant(agent=MUTE), Wait(Reason.KEEPER_UNREACHABLE, "no answer")),
    "not before it is prepared either": (lieutenant(agent=KEPT, copies=ASKED, guest=guest(marks={})), None),
}


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-33")
@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_decided(name: str) -> None:
    view, expected = SCENARIOS[name]
    decided = plan(view)
    if expected is not None:
        assert decided == expected
    else:
        assert not isinstance(decided, ConfirmReplacement | ReturnToOld | StandStill | Steady)
