"""The one word for a machine that does not answer: it starts, or it was ready and can't be reached; of agents and of nodes without one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reconciler.core.keys import Json
from reconciler.core.lasterror import NONE
from reconciler.core.lieutenant import policies as lieutenant
from reconciler.core.lieutenant.status import lieutenant_status
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.vm import Unknown
from reconciler.core.tree import machine
from tests.core.views import RUNNING, VM

MUTE = Unknown("no answer")
SILENT = RUNNING.but(guest=MUTE, agent=MUTE)


def of_an_agent(view: LieutenantView, previous: Json) -> Json:
    return lieutenant_status(view, lieutenant.plan(view), previous, 3, pending=0, active="").dump()


def of_a_node(view: LieutenantView, previous: Json) -> Json:
    return machine.status(view, machine.plan(view), previous, 3, NONE).dump()


def before(phase: str, reason: str = "Running", vm: str = VM, prepared: bool = True) -> Json:
    """As its status was written last."""
    return {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": "False", "reason": reason}],
        "boot": {"vm": vm, "prepared": prepared},
    }


CASES: dict[str, tuple[Json, str]] = {
    "nothing was ever seen of it": ({}, "Starting"),
    "it was made and is not prepared": (before("Starting", "PreparingMachine", prepared=False), "Starting"),
    "another machine was ready": (before("Provisioning", "CreatingVM", vm="other"), "Starting"),
    "it was ready": (before("Idle"), "Unreachable"),
    "it is told so already": (before("Unreachable", "GuestUnreachable"), "Unreachable"),
    "the platform could not be read meanwhile": (before("Unknown", "VMUnknown"), "Unreachable"),
    "its agent was being started": (before("Starting", "RestartingAgent"), "Unreachable"),
    "it was suspended": (before("Suspended", "Suspended"), "Starting"),
    "it was resumed": (before("Starting", "ResumingVM"), "Starting"),
    "it was resumed, and did not answer at the last look either": (before("Starting", "GuestUnreachable"), "Starting"),
}


@pytest.mark.guarantee("G-04")
@pytest.mark.parametrize("of", [of_an_agent, of_a_node])
@pytest.mark.parametrize("case", CASES)
def test_what_a_machine_that_does_not_answer_is_called(case: str, of: Callable[[LieutenantView, Json], Json]) -> None:
    previous, phase = CASES[case]
    first = of(SILENT, previous)
    assert first["phase"] == phase
    assert of(SILENT, first)["phase"] == phase, "looking again changes nothing"
