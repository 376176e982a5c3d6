"""`orphans --kube`, and what else looks at machines: an operator of its own process, a platform, a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.vers.simulator.knobs import Knobs
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import Platform, eventually, platform
from tests.cli.test_cli_vms import make_vm
from tests.kube.controlplane import Namespace
from tests.kube.people import ASKS_FOR_ORPHANS, LOOKS, SEES_LEASES, somebody
from tests.kube.test_cli_kube import command
from tests.kube.test_operator import LIEUTENANT
from tests.kube.test_operator_probes import installation_of
from tests.program import Controller, Program

pytestmark = pytest.mark.real("kube")

FAST = {"RECONCILER_SETTLE_SECONDS": "1", "RECONCILER_RESYNC_SECONDS": "0.2"}


@dataclass
class Yard:
    """A fleet in one namespace, and a person who has its platform's key and their own kubeconfig."""

    cluster: Namespace
    stub: Platform
    operator: Controller
    made: int = 0

    def __call__(self, *words: str, code: int = 0) -> str:
        done = command(words)
        assert done.code == code, f"{words}: exit {done.code}\n{done.stdout}\n{done.stderr}\nThe operator says:\n{self.operator.said}"
        return done.stdout + done.stderr

    def orphans(self) -> dict[str, str]:
        """VM id → what it is said to be; machines of other accounts left out."""
        done = command(["orphans", "--kube", "-o", "json"])
        assert done.code == 0, done.stderr
        told = {row["metadata"]["name"]: row["status"]["standing"] for row in json.loads(done.stdout)["items"]}
        return {vm_id: standing for vm_id, standing in told.items() if vm_id in self.stub.ever()}

    def notes(self) -> dict[str, str]:
        """The annotations of the operator's Lease."""
        return dict(self.cluster.get("lease", "reconciler-default")["metadata"]["annotations"])

    def make(self, labels: dict[str, str] | None = None) -> str:
        self.made += 1
        return make_vm(self.stub, f"by-hand-{self.made}", labels)

    def labels(self, vm_id: str) -> dict[str, str]:
        return {name: value for name, value in dict(self.stub.simulator.world.present[vm_id].labels).items() if value}

    def vm(self, name: str) -> str:
        """The machine of a lieutenant, once it is claimed and told of."""

        def told() -> str | None:
            vm_id = self.cluster.get("lt", name).get("status", {}).get("vm", {}).get("id", "")
            return vm_id if vm_id in self.stub.present() and self.labels(vm_id).get("fleet.vers.sh/vm-id") == vm_id else None

        return eventually(told, f"{name} has a claimed machine")


@pytest.fixture
def yard(cluster: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    with platform(SimulatorConfig(guests="stub", knobs=Knobs(foreign_vms=1))) as stub:
        endpoints = stub.endpoints.environment()
        program = Program(
            tmp_path / "pod",
            {
                **FAST,
                **endpoints,
                "KUBECONFIG": str(cluster.inside(cluster.plane.operator).kubeconfig),
                "RECONCILER_ADOPT_UNOWNED": cluster.name,
            },
            warm=True,
        )
        for name, value in {**FAST, **endpoints, "HOME": tmp_path, "RECONCILER_STATE": tmp_path / "none"}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("KUBECONFIG", str(cluster.inside().kubeconfig))
        with program.operator("--namespace", cluster.name) as operator:
            operator.says("in charge of")
            eventually(lambda: installation_of(cluster), "its Lease says which VMs are its own")
            yield Yard(cluster, stub, operator)
            assert operator.stop() == 0
        assert not (tmp_path / "none").exists()


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
def test_only_orphans_are_deleted_and_only_when_that_is_confirmed(yard: Yard) -> None:
    yard.cluster.apply(LIEUTENANT)
    owned = yard.vm("ada")
    claim = yard.labels(owned)
    lost = yard.make({**claim, "fleet.vers.sh/uid": "of-one-that-is-gone"})
    surplus = yard.make({**claim, "fleet.vers.sh/epoch": "0"})
    theirs = yard.make({**claim, "fleet.vers.sh/installation": "another"})
    nobodys = yard.make()
    eventually(lambda: yard.orphans().get(lost) == "Orphan", "it is told", pause=0.3)
    assert yard.orphans() == {lost: "Orphan", surplus: "Unknown", theirs: "Foreign", nobodys: "Unclaimed"}
    assert "only its controller knows" in yard("orphans", "--kube")
    assert lost in yard("orphans", "--kube", "--delete", code=4)
    assert lost in yard.stub.present()
    assert yard("orphans", "--kube", "--delete", "--confirm").splitlines()[-1] == f"vm/{lost} is gone"
    assert lost not in yard.stub.present()
    assert not [name for name in yard.notes() if lost in name], "request and answer are taken away"
    assert "there is no orphan" in yard("orphans", "--kube", "--delete", "--confirm")
    assert set(yard.stub.present()) == {owned, surplus, theirs, nobodys}


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
def test_the_operator_deletes_nothing_that_is_no_orphan_to_it_whatever_the_lease_asks_for(yard: Yard) -> None:
    """Whoever may write the Lease decides nothing: the operator looks at the machine and into its own store."""
    yard.cluster.apply(LIEUTENANT)
    owned = yard.vm("ada")
    theirs = yard.make({**yard.labels(owned), "fleet.vers.sh/installation": "another"})
    nobodys = yard.make()
    every = (owned, theirs, nobodys)
    asked = [f"fleet.vers.sh/delete-orphan.{vm_id}=now" for vm_id in every]
    yard.cluster.kubectl("annotate", "lease", "reconciler-default", *asked, "fleet.vers.sh/delete-orphan.no-vm=now")

    def answers() -> dict[str, str] | None:
        found = {vm_id: yard.notes().get(f"fleet.vers.sh/orphan-outcome.{vm_id}", "") for vm_id in every}
        return found if all(found.values()) else None

    told = {vm_id: json.loads(answer) for vm_id, answer in eventually(answers, "each is answered", pause=0.5).items()}
    assert {one["reason"] for one in told.values()} == {"NoOrphan"}
    assert all(one["message"].endswith("it is not deleted") for one in told.values())
    assert "belongs to Lieutenant" in told[owned]["message"]
    assert set(every) <= set(yard.stub.present())
    assert [name for name in yard.notes() if "delete-orphan." in name] == ["fleet.vers.sh/delete-orphan.no-vm"]


@pytest.mark.guarantee("G-07")
def test_a_lease_can_not_make_orphans_of_another_clusters_machines(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may edit a namespace may write Leases there; a person's key must not delete by their word."""
    yard.cluster.apply(LIEUTENANT)
    claim = yard.labels(yard.vm("ada"))
    theirs = yard.make({**claim, "fleet.vers.sh/installation": "another/reconciler", "fleet.vers.sh/uid": "of-another-cluster"})
    mine = yard.make({**claim, "fleet.vers.sh/uid": "gone"})
    eventually(lambda: yard.orphans().get(mine) == "Orphan", "they are old enough", pause=0.3)
    evil = yard.cluster.plane.namespace()
    evil.plane.apply(lease(evil.name, "another/reconciler"))
    assert yard.orphans() == {mine: "Orphan", theirs: "Foreign"}
    assert "nothing proves that installation another/reconciler is this cluster's" in yard("orphans", "--kube")
    monkeypatch.setenv("KUBECONFIG", str(somebody(evil, LOOKS, SEES_LEASES).kubeconfig))
    assert "can't be proven" in yard("orphans", "--kube", code=1)
    monkeypatch.setenv("KUBECONFIG", str(yard.cluster.inside().kubeconfig))
    yard("orphans", "--kube", "--delete", "--confirm")
    assert mine not in yard.stub.present()
    assert theirs in yard.stub.present()
    evil.kubectl("delete", "lease", "reconciler-default")


def lease(namespace: str, installation: str) -> dict[str, Any]:
    notes = {"fleet.vers.sh/installation": installation}
    metadata = {"name": "reconciler-default", "namespace": namespace, "annotations": notes}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {"holderIdentity": "somebody"}}


@pytest.mark.guarantee("G-05")
def test_what_was_adopted_forgotten_or_retained_is_told_apart(yard: Yard) -> None:
    """The same acts by the command line, each of which wants an answer from the machine's labels."""
    vm_id = yard.make()
    assert yard.orphans() == {vm_id: "Unclaimed"}
    assert f"takes over VM {vm_id}" in yard("adopt", "--kube", vm_id, "--as", "old")
    assert yard.vm("old") == vm_id
    assert yard.orphans() == {}
    assert "belongs to lieutenant/old" in yard("adopt", "--kube", vm_id, "--as", "other", code=4)
    assert "exists already" in yard("adopt", "--kube", yard.make(), "--as", "old", code=4)
    yard("forget", "--kube", "lt", "old")
    yard("wait", "--kube", "lt/old", "--for", "delete", "--timeout", "60")
    assert yard.orphans()[vm_id] == "Unclaimed"
    assert vm_id in yard.stub.present()

    yard.cluster.apply(LIEUTENANT.replace("{role: Keep it,", "{role: Keep it, deletionPolicy: Retain,"))
    kept = yard.vm("ada")
    yard("delete", "--kube", "lt", "ada", "--wait", "--timeout", "60")
    assert yard.orphans()[kept] == "Retained"
    assert "nothing to delete" in yard("orphans", "--kube", "--delete", "--confirm")


@pytest.mark.guarantee("G-07")
def test_the_machine_of_another_namespace_is_not_adopted_by_its_id(yard: Yard) -> None:
    yard.cluster.apply(LIEUTENANT)
    theirs = yard.make({**yard.labels(yard.vm("ada")), "fleet.vers.sh/namespace": "team-a", "fleet.vers.sh/uid": "of-one-that-is-gone"})
    before = yard.labels(theirs)
    yard("adopt", "--kube", theirs, "--as", "thief")
    yard("resolve", "--kube", "lt", "thief", "--vm", theirs, code=4)
    yard("wait", "--kube", "lt/thief", "--for", "Stalled", "--timeout", "60")
    assert "VMOfAnotherNamespace" in yard("describe", "--kube", "lt", "thief")
    yard("delete", "--kube", "lt", "thief", "--wait", "--timeout", "60")
    assert yard.labels(theirs) == before
    assert theirs in yard.stub.present()


@pytest.mark.guarantee("G-07")
def test_a_claim_of_another_installation_is_resolved_by_an_answer(yard: Yard) -> None:
    claim = {"fleet.vers.sh/fleet": "default", "fleet.vers.sh/installation": "another", "fleet.vers.sh/epoch": "7"}
    vm_id = yard.make(claim)
    yard("adopt", "--kube", vm_id, "--as", "ours")
    yard("wait", "--kube", "lt/ours", "--for", "Stalled", "--timeout", "60")
    assert "ClaimConflict" in yard("describe", "--kube", "lt", "ours")
    assert yard.labels(vm_id)["fleet.vers.sh/installation"] == "another"
    yard("resolve", "--kube", "lt", "ours", code=64)
    yard("resolve", "--kube", "lt", "ours", "--none", code=4)
    yard("resolve", "--kube", "lt", "ours", "--session", "vm", code=4)
    assert "takes VM" in yard("resolve", "--kube", "lt", "ours", "--vm", vm_id)
    eventually(lambda: yard.labels(vm_id)["fleet.vers.sh/installation"] != "another", "it is claimed")
    assert yard.vm("ours") == vm_id


TREE = """apiVersion: fleet.vers.sh/v1alpha1
kind: VMTree
metadata: {name: prod}
spec: {nodes: [{name: db, category: Resource, profileRef: {name: lightweight}, protected: true}]}
"""


@pytest.mark.guarantee("G-07")
def test_a_machine_of_a_tree_is_no_orphan_and_its_tree_goes_only_when_that_is_confirmed(yard: Yard) -> None:
    yard.cluster.apply(TREE)

    def claimed() -> str | None:
        return next((vm_id for vm_id in yard.stub.present() if yard.labels(vm_id).get("fleet.vers.sh/name") == "prod/db"
                     and yard.labels(vm_id).get("fleet.vers.sh/vm-id") == vm_id), None)  # fmt: skip

    owned = eventually(claimed, "it is claimed")
    surplus = yard.make({**yard.labels(owned), "fleet.vers.sh/epoch": "0"})
    lost = yard.make({**yard.labels(owned), "fleet.vers.sh/uid": "of-one-that-is-gone"})
    eventually(lambda: yard.orphans().get(lost) == "Orphan", "it is told", pause=0.3)
    assert yard.orphans() == {lost: "Orphan", surplus: "Unknown"}
    assert owned in yard("get", "--kube", "vms", "-o", "name")
    assert "db" in yard("describe", "--kube", "vmt", "prod")
    assert "operator's store only" in yard("retry", "--kube", "vmt", "prod", "--node", "db", code=64)
    assert "confirm" in yard("suspend", "--kube", "vmt", "prod", code=4)
    assert "confirm" in yard("delete", "--kube", "vmt", "prod", code=4)
    yard("delete", "--kube", "vmt", "prod", "--confirm", "--wait", "--timeout", "60")
    assert owned not in yard.stub.present()


@pytest.mark.guarantee("G-04")
def test_what_somebody_may_not_see_is_unknown_to_them(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who may look at one namespace only: a machine of another one is no orphan, and is not deleted."""
    yard.cluster.apply(LIEUTENANT)
    claim = yard.labels(yard.vm("ada"))
    lost = yard.make({**claim, "fleet.vers.sh/uid": "gone"})
    other = yard.make({**claim, "fleet.vers.sh/uid": "gone", "fleet.vers.sh/namespace": "elsewhere"})
    odd = yard.make({**claim, "fleet.vers.sh/uid": "gone", "fleet.vers.sh/namespace": "../../../api/v1/secrets"})
    eventually(lambda: yard.orphans().get(odd) == "Orphan", "they are old enough", pause=0.3)
    assert yard.orphans() == dict.fromkeys((lost, other, odd), "Orphan")
    monkeypatch.setenv("KUBECONFIG", str(somebody(yard.cluster, LOOKS, SEES_LEASES).kubeconfig))
    assert yard.orphans() == {lost: "Orphan", other: "Unknown", odd: "Unknown"}
    assert "could not be read" in yard("orphans", "--kube")
    refused = yard("orphans", "--kube", "--delete", "--confirm", code=1)
    assert 'cannot patch resource "leases"' in refused
    assert "reconciler-orphans" in refused
    assert lost in yard.stub.present()
    monkeypatch.setenv("KUBECONFIG", str(somebody(yard.cluster, LOOKS, SEES_LEASES, ASKS_FOR_ORPHANS).kubeconfig))
    yard("orphans", "--kube", "--delete", "--confirm")
    assert lost not in yard.stub.present()
    assert {other, odd} <= set(yard.stub.present())
    monkeypatch.setenv("KUBECONFIG", str(somebody(yard.cluster, LOOKS).kubeconfig))
    assert 'cannot get resource "leases"' in yard("orphans", "--kube", code=1)


def test_doctor_knows_the_operator_and_the_way_to_the_platform(yard: Yard) -> None:
    told = {line.split()[1]: line for line in yard("doctor", "--kube").splitlines()}
    assert set(told) == {"server", "kinds", "rights", "operator", "key"}
    assert all(line.startswith("ok ") for line in told.values()), told
    assert "Kubernetes v1." in told["server"]
    assert f"is in charge of {yard.cluster.name} by the Lease {yard.cluster.name}/reconciler-default" in told["operator"]
    assert "no operator serves namespace default" in yard("doctor", "--kube", "-n", "default", code=1)


def test_a_vm_is_shown_with_its_owner(yard: Yard) -> None:
    yard.cluster.apply(LIEUTENANT)
    vm_id = yard.vm("ada")
    shown: dict[str, Any] = json.loads(yard("get", "--kube", "vm", vm_id, "-o", "json"))
    assert shown["status"]["owner"] == "lieutenant/ada"
