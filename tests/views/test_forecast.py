"""A plan as rows and as a document."""

from __future__ import annotations

import pytest

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Refuse, Wait
from reconciler.core.decisions.slot import BindCreated
from reconciler.core.keys import Key
from reconciler.core.plan import Step
from reconciler.sources.documents.reader import Finding
from reconciler.views.documents import Table
from reconciler.views.forecast import Forecast, Planned, pending, planned

ADA, BOB = Key("Lieutenant", "team", "ada"), Key("Lieutenant", "team", "bob")
ACTS = [Planned(ADA, "Create", "declaration", "x"), Planned(ADA, "Boot", "vm", "y"), Planned(BOB, "Create", "vm", "z")]


def test_a_plan_for_programs() -> None:
    found = Forecast(ACTS, "hash", [Finding("a.yaml", 3, 7, "spec.rolle", "is not known")]).document()
    assert found["summary"] == {"Boot": 1, "Create": 2}
    assert found["inputsHash"] == "hash"
    assert found["refused"] == [{"file": "a.yaml", "line": 3, "column": 7, "field": "spec.rolle", "message": "is not known"}]
    actions = found["actions"]
    assert isinstance(actions, list)
    assert actions[1] == {"kind": "Lieutenant", "name": "ada", "namespace": "team", "verb": "Boot", "target": "vm", "reason": "y"}
    assert len(actions) == 3


def test_a_plan_for_people() -> None:
    assert Forecast(ACTS[1:], "").table() == Table(
        ("VERB", "OBJECT", "TARGET", "REASON"), (("Boot", "lieutenant/ada", "vm", "y"), ("Create", "lieutenant/bob", "vm", "z"))
    )


def test_a_step_is_told_in_the_words_of_its_act() -> None:
    (found,) = planned([Step(ADA, BindCreated("v-1", "token"))])
    assert (found.key, found.verb, found.target, found.reason) == (ADA, "BindCreated", "v-1", "AdoptingVM")
    assert found.why == Reason.ADOPTING_VM.meaning.rstrip(".")


@pytest.mark.guarantee("G-49")
def test_what_is_left_has_a_sentence_also_where_the_decision_has_none() -> None:
    left = {BOB: Wait(Reason.RUNNING), ADA: Refuse(Reason.UNSUPPORTED, "kind X is not acted on")}
    found = pending(left)
    assert [(one.key, one.state, one.reason) for one in found] == [(ADA, "Refused", "Unsupported"), (BOB, "Waiting", "Running")]
    assert found[1].message == Reason.RUNNING.meaning
    shown = Forecast((), "", (), found)
    assert not shown.true
    assert shown.document()["pending"] == [one.document for one in found]
    assert shown.pending_table().rows[0] == ("Refused", "lieutenant/ada", "Unsupported", "kind X is not acted on")
    assert Forecast((), "").true
