"""In what two objects or machines differ, and by which labels they are selected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.core.snapshot.vm import Vm, VmState
from reconciler.engine.ports import StoredObject
from reconciler.views.diff import Difference, as_json, configuration, configuration_of_vm, differences
from reconciler.views.documents import vm_document
from reconciler.views.selecting import labels_of_vm, selectable
from tests.views.doubles import stored

VM = "00000000-0000-4000-8000-000000000001"


def lieutenant(name: str, organ: str, pi: str, **spec: Any) -> StoredObject:
    status = {
        "boot": {"vm": VM, "organs": [{"name": "store", "state": organ}], "capabilities": [{"name": "browse", "state": "Verified"}]},
        "machine": {"marks": {"prepared": "abc"}, "node": "22.1", "pi": pi, "keeper": "1"},
        "agent": {"process": "Up", "model": "anthropic/claude", "keeperVersion": "1", "launchHash": "x"},
    }
    made = stored("Lieutenant", name, {"role": "x", "profileRef": {"name": "full"}, **spec}, status)  # type: ignore[arg-type]
    return replace(made, labels={"team": name})


A = lieutenant("a", "Verified", "0.80", env=[{"name": "X", "value": "1"}], limits={"maxTurns": 3})
B = lieutenant("b", "NotVerified", "0.81", env=[{"name": "X", "value": "2"}, {"name": "Y"}])


def test_what_was_verified_comes_first_and_then_what_was_declared() -> None:
    assert differences(configuration(A), configuration(B)) == [
        Difference("organ store", "Verified", "NotVerified"),
        Difference("pi", "0.80", "0.81"),
        Difference("label team", "a", "b"),
        Difference("spec.env[X].value", "1", "2"),
        Difference("spec.limits.maxTurns", "3", ""),
        Difference("spec.env[Y]", "", "true"),
    ]
    assert differences(configuration(A), configuration(A)) == []
    assert as_json("lt/a", "lt/b", [Difference("pi", "1", "2")])["differences"] == [{"field": "pi", "a": "1", "b": "2"}]


def test_a_machine_is_what_its_owner_knows_of_it() -> None:
    vm = Vm(VM, "account", 0.0, VmState.RUNNING, {"made-by": "hand"})
    owned = configuration_of_vm(vm_document(vm, "lieutenant/a", labels_of_vm(vm, A)), A)
    stray = configuration_of_vm(vm_document(vm, ""), None)
    assert owned["node"] == "22.1"
    assert owned["machine prepared"] == "abc"
    assert stray["label made-by"] == "hand"
    assert {row.field for row in differences(owned, stray)} >= {"owner", "profile", "organ store", "model", "label team"}


def test_a_machine_is_selected_by_what_its_owner_says_of_it_and_by_nothing_that_somebody_wrote_on_it() -> None:
    forged = {"organ.fleet.vers.sh/vault": "Verified", "fleet.vers.sh/state": "dead", "fleet.vers.sh/node": "claimed"}
    tree = replace(A, labels={"fleet.vers.sh/node": "back"})
    told = labels_of_vm(Vm(VM, "account", 0.0, VmState.RUNNING, forged), tree)
    assert told == {
        "fleet.vers.sh/node": "back",
        "organ.fleet.vers.sh/store": "Verified",
        "capability.fleet.vers.sh/browse": "Verified",
        "fleet.vers.sh/state": "running",
    }
    assert labels_of_vm(Vm(VM, "account", 0.0, VmState.DEAD, {"a": "b"}), None) == {"a": "b", "fleet.vers.sh/state": "dead"}
    assert selectable(stored("Task", "t")) == {}
