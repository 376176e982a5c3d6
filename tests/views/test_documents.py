"""Documents as rows of tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.keys import Json
from reconciler.views.documents import VM, age, document, ready_message, ready_reason, tables
from tests.views.doubles import stored

ADA = document(replace(stored("Task", "ada", {"lieutenantRef": {"name": "x"}}), created_at=40.0))
MACHINE: Json = {
    "kind": VM,
    "metadata": {"name": "v", "creationTimestamp": "1970-01-01T00:00:00Z", "labels": {"fleet.vers.sh/fleet": "f"}},
    "status": {"state": "Running\x1b", "owner": "", "conditions": [{"type": "Ready", "status": "True", "reason": "Running"}]},
}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (-5, "0s"),
        (119, "119s"),
        (120, "2m"),
        (185, "3m5s"),
        (600, "10m"),
        (3600, "1h"),
        (3 * 3600 + 300, "3h5m"),
        (23 * 3600, "23h"),
        (86400, "1d"),
        (2 * 86400 + 4 * 3600, "2d4h"),
        (9 * 86400 + 4 * 3600, "9d"),
    ],
)
def test_an_age_is_written_as_kubectl_does(seconds: int, shown: str) -> None:
    assert age("1970-01-01T01:00:00Z", 3600.0 + seconds) == shown


def test_a_time_that_is_none_has_no_age() -> None:
    assert age("", 1.0) == "<unknown>"


def test_a_kind_alone_has_bare_names_and_several_have_prefixed_ones() -> None:
    (alone,) = tables([MACHINE], wide=False, namespaces=True, now=60.0)
    assert alone.header == ("NAME", "READY", "REASON", "STATE", "OWNER", "AGE")
    assert alone.rows == (("v", "True", "Running", "Running\\x1b", "<none>", "60s"),)
    task, machine = tables([ADA, MACHINE], wide=True, namespaces=True, now=60.0)
    assert task.header[:2] == ("NAMESPACE", "NAME")
    assert task.rows[0][:2] == ("team", "task/ada")
    assert task.rows[0][task.header.index("AGE")] == "20s"
    assert machine.header == ("NAME", "READY", "REASON", "STATE", "OWNER", "FLEET", "AGE")
    assert machine.rows == (("vm/v", "True", "Running", "Running\\x1b", "<none>", "f", "60s"),)
    assert tables([], wide=False, namespaces=False, now=0.0) == []


def test_why_an_object_is_ready_or_not() -> None:
    status: Json = {"conditions": [{"type": "Stalled", "reason": "A"}, {"type": "Ready", "reason": "B", "message": "m"}]}
    assert (ready_reason(status), ready_message(status)) == ("B", "m")
    assert (ready_reason({}), ready_message({"conditions": []})) == ("", "")
