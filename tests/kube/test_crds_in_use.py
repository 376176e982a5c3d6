"""Our kinds as people and other controllers meet them on a real API server: merging, status, columns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.api.meta import API_VERSION, GROUP, VERSION, Json
from reconciler.api.registry import BY_NAME
from tests.conformance.test_status_models import ENDED, FULL
from tests.core.test_status import of_lieutenant, of_task
from tests.kube.controlplane import Failed, Namespace

pytestmark = [pytest.mark.real("kube")]

VM = "0b8f2f8e-3f43-4c1e-9a57-6d1f3a0f7c11"
LIEUTENANT: Json = {"role": "Builds the API", "profileRef": {"name": "full"}}


def applied(cluster: Namespace, manager: str, spec: Json, kind: str = "Lieutenant", *more: str) -> None:
    """Server-side apply of part of the object `ada` by one field manager."""
    doc = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "ada"}, "spec": spec}
    cluster.kubectl("apply", "--server-side", "--field-manager", manager, *more, "-f", "-", stdin=json.dumps(doc))


# --- several owners of one object -------------------------------------------------------------------------------------------------


def test_what_two_managers_say_of_named_things_is_merged_by_name(cluster: Namespace) -> None:
    applied(cluster, "ada-s-team", {**LIEUTENANT, "env": [{"name": "A", "value": "1"}], "permissions": {"allow": ["read"]}})
    applied(cluster, "platform", {"env": [{"name": "B", "value": "2"}], "permissions": {"allow": ["grep"]}, "limits": {"maxTurns": 5}})
    spec = cluster.get("lt", "ada")["spec"]
    assert spec == {
        **LIEUTENANT,
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "permissions": {"allow": ["read", "grep"]},
        "limits": {"maxTurns": 5},
    }
    applied(cluster, "platform", {"limits": {"maxTurns": 6}})
    spec = cluster.get("lt", "ada")["spec"]
    assert (spec["env"], spec["limits"]) == ([{"name": "A", "value": "1"}], {"maxTurns": 6}), "each takes back what it said, and no more"


def test_nodes_of_a_tree_are_merged_by_name(cluster: Namespace) -> None:
    root: Json = {"name": "root", "category": "Infra", "profileRef": {"name": "infra"}}
    web: Json = {"name": "web", "category": "Agent", "parent": "root", "profileRef": {"name": "swarm"}}
    applied(cluster, "platform", {"nodes": [root]}, "VMTree")
    applied(cluster, "ada-s-team", {"nodes": [web]}, "VMTree")
    assert cluster.get("vmt", "ada")["spec"]["nodes"] == [root, web]
    applied(cluster, "ada-s-team", {"nodes": [{**web, "mode": "Suspended"}]}, "VMTree")
    assert cluster.get("vmt", "ada")["spec"]["nodes"] == [root, {**web, "mode": "Suspended"}]


def test_two_who_want_different_things_are_told(cluster: Namespace) -> None:
    applied(cluster, "ada-s-team", LIEUTENANT)
    with pytest.raises(Failed, match=r'conflict with "ada-s-team".*\n?.*\.spec\.role'):
        applied(cluster, "platform", {"role": "Something else"})
    applied(cluster, "platform", {"role": "Something else"}, "Lieutenant", "--force-conflicts")
    assert cluster.get("lt", "ada")["spec"]["role"] == "Something else"


def test_a_list_in_which_order_matters_has_one_owner(cluster: Namespace) -> None:
    task: Json = {"lieutenantRef": {"name": "ada"}, "prompt": "x", "acceptance": [{"command": {"run": ["make", "test"]}}]}
    applied(cluster, "ada-s-team", task, "Task")
    with pytest.raises(Failed, match=r"\.spec\.acceptance|immutable"):
        applied(cluster, "platform", {"acceptance": [{"command": {"run": ["true"]}}]}, "Task")


# --- status -------------------------------------------------------------------------------------------------------------------------


def url(cluster: Namespace, kind: str, name: str, part: str = "") -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{cluster.name}/{BY_NAME[kind].plural}/{name}{part}"


def condition(kind: str, truth: str, reason: str = "Steady") -> Json:
    return {"type": kind, "status": truth, "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}


@pytest.mark.guarantee("G-46")
def test_spec_and_status_are_written_through_doors_of_their_own(cluster: Namespace) -> None:
    applied(cluster, "ada", LIEUTENANT)
    plane, kept = cluster.plane, cluster.get("lt", "ada")
    assert "status" not in kept
    code, told = plane.request("PUT", url(cluster, "Lieutenant", "ada"), {**kept, "status": {"phase": "Idle"}})
    assert (code, "status" in told) == (200, False)
    mixed = {**told, "spec": {**told["spec"], "role": "smuggled"}, "status": {"phase": "Idle", "observedGeneration": 1}}
    code, told = plane.request("PUT", url(cluster, "Lieutenant", "ada", "/status"), mixed, identity=plane.operator)
    assert (code, told["spec"]["role"], told["status"]["phase"]) == (200, LIEUTENANT["role"], "Idle")
    assert told["metadata"]["generation"] == kept["metadata"]["generation"], "a status is no new generation"
    code, again = plane.request("PUT", url(cluster, "Lieutenant", "ada", "/status"), mixed, identity=plane.operator)
    assert (code, again["reason"]) == (409, "Conflict"), "a status made from an old reading is refused"


def test_a_status_is_kept_whole_and_what_no_model_has_is_not(cluster: Namespace) -> None:
    applied(cluster, "ada", LIEUTENANT)
    full = of_lieutenant(FULL["all that can be said"])
    cluster.set_status("lt", "ada", full)
    assert cluster.get("lt", "ada")["status"] == full
    cluster.set_status("lt", "ada", {"brandNew": {"x": [1, {"y": "z"}]}})
    assert cluster.get("lt", "ada")["status"] == full


def test_a_result_is_kept_whole(cluster: Namespace) -> None:
    applied(cluster, "ada", {"lieutenantRef": {"name": "ada"}, "prompt": "Work."}, "Task")
    cluster.set_status("ltask", "ada", of_task(ENDED))
    assert cluster.get("ltask", "ada")["status"] == of_task(ENDED)


def test_conditions_are_merged_by_type(cluster: Namespace) -> None:
    applied(cluster, "ada", LIEUTENANT)
    doc = {"apiVersion": API_VERSION, "kind": "Lieutenant", "metadata": {"name": "ada"}}
    for manager, one in (("reconciler", condition("Ready", "True")), ("somebody", condition("Audited", "True"))):
        part = json.dumps({**doc, "status": {"conditions": [one]}})
        cluster.kubectl("apply", "--server-side", "--subresource=status", "--field-manager", manager, "-f", "-", stdin=part)
    assert [one["type"] for one in cluster.get("lt", "ada")["status"]["conditions"]] == ["Ready", "Audited"]


@pytest.mark.parametrize(
    "status", [{"conditions": [condition("Ready", "Yes")]}, {"observedGeneration": -1}, {"conditions": [{"type": "Ready"}]}]
)
def test_a_status_that_is_none_is_refused(cluster: Namespace, status: Json) -> None:
    applied(cluster, "ada", LIEUTENANT)
    with pytest.raises(Failed, match=r"status\.(conditions\[0\]|observedGeneration)"):
        cluster.set_status("lt", "ada", status)


def test_kubectl_waits_for_our_conditions(cluster: Namespace) -> None:
    applied(cluster, "ada", LIEUTENANT)
    cluster.set_status("lt", "ada", {"observedGeneration": 1, "conditions": [condition("Ready", "True")]})
    assert "condition met" in cluster.kubectl("wait", "lt/ada", "--for=condition=Ready", "--timeout=10s")
    cluster.kubectl("patch", "lt", "ada", "--type=merge", "--patch", '{"spec": {"mode": "Suspended"}}')
    done = cluster.try_kubectl("wait", "lt/ada", "--for=condition=Ready", "--timeout=0.2s")
    assert done.returncode != 0, "a status of the generation before does not count"


# --- columns ------------------------------------------------------------------------------------------------------------------------


def table(text: str) -> list[dict[str, str]]:
    """kubectl's tables, one after the other, as rows by column."""
    rows: list[dict[str, str]] = []
    header: list[tuple[str, int]] = []
    for line in text.splitlines():
        if line.startswith("NAME"):
            names = line.split()
            header = [(name, line.index(name)) for name in names]
        elif line:
            ends = [start for _, start in header[1:]] + [len(line) + 1]
            rows.append({name: line[start:end].strip() for (name, start), end in zip(header, ends, strict=True)})
    return rows


def fleet(cluster: Namespace) -> None:
    """One object of each kind in the state that has the longest words people commonly see."""
    things: list[tuple[str, str, Json, Json]] = [
        (
            "BootProfile",
            "node-web",
            {"extends": {"name": "lightweight"}},
            {"phase": "Ready", "conditions": [condition("Ready", "True", "Resolved")]},
        ),
        (
            "VMTree",
            "payments",
            {"nodes": [{"name": "root", "category": "Infra", "profileRef": {"name": "infra"}}]},
            {"phase": "Provisioning", "conditions": [condition("Ready", "False", "CreatingVM")]},
        ),
        (
            "Lieutenant",
            "api-builder",
            {**LIEUTENANT, "profileRef": {"name": "lightweight"}},
            {"phase": "Starting", "vm": {"id": VM}, "conditions": [condition("Ready", "False", "AgentUnreachable")]},
        ),
        (
            "Task",
            "write-tests",
            {"lieutenantRef": {"name": "api-builder"}, "prompt": "x"},
            {"phase": "Succeeded", "conditions": [condition("Ready", "True", "Completed")]},
        ),
    ]
    for kind, name, spec, status in things:
        cluster.apply(json.dumps({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}))
        cluster.set_status(kind, name, status)


def test_the_fleet_reads_well_at_80_columns(cluster: Namespace) -> None:
    fleet(cluster)
    text = cluster.kubectl("get", "fleet")
    assert max(map(len, text.splitlines())) <= 80, text
    rows = {row["NAME"].partition(".")[0]: row for row in table(text)}
    assert set(rows) == {"bootprofile", "vmtree", "lieutenant", "task"}
    assert {(row["READY"], row["REASON"]) for row in rows.values()} == {
        ("True", "Resolved"),
        ("False", "CreatingVM"),
        ("False", "AgentUnreachable"),
        ("True", "Completed"),
    }


def test_wide_shows_machine_and_profile(cluster: Namespace) -> None:
    fleet(cluster)
    [row] = table(cluster.kubectl("get", "lt", "-o", "wide"))
    assert (row["VM"], row["PROFILE"], row["MODE"], row["PHASE"], row["MESSAGE"]) == (VM, "lightweight", "", "Starting", "m")


def test_an_object_nobody_has_looked_at_yet_has_empty_columns(cluster: Namespace) -> None:
    applied(cluster, "ada", LIEUTENANT)
    [row] = table(cluster.kubectl("get", "lt"))
    assert (row["NAME"], row["READY"]) == ("ada", "")


@pytest.mark.parametrize("word", ["lt", "lieutenant", "lieutenants", f"lieutenants.{GROUP}"])
def test_every_name_of_a_kind_is_known(cluster: Namespace, word: str) -> None:
    applied(cluster, "ada", LIEUTENANT)
    found: dict[str, Any] = cluster.get(word, "ada")
    assert found["kind"] == "Lieutenant"
