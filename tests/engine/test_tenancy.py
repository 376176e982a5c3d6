"""Two namespaces in one account that attack each other: what one made, another neither reads nor deletes, unless it is shared (G-07)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.api.docs import fields
from reconciler.api.registry import KINDS
from reconciler.core.keys import Key, SlotOwner
from reconciler.core.snapshot.machine import GuestCommand
from reconciler.core.snapshot.origin import Sharing
from reconciler.core.snapshot.vm import Commit, VmState
from reconciler.engine.planning import plan_everything
from reconciler.engine.ports import Intent
from reconciler.engine.state.declared import Declared, Intake
from reconciler.errors import Indeterminate
from tests.engine.stage import SETTINGS, Stage, failing, losing, pass_time, tell
from tests.faults.harness import NoSecrets, virtual
from tests.world import Machine, World, copy_disk

A, B = "team-a", "team-b"
SECRET = b"the secret of team-a"
PRIVATE = {"files": [{"path": "/root/secret", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "word"}}}]}
CLUSTER = replace(SETTINGS, sharing=Sharing(frozenset()))
"""As an operator of a cluster is unless it is told otherwise."""
UNKNOWN_COMMIT = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"


class Vault(NoSecrets):
    """Only team-a has the secret."""

    def get(self, namespace: str, name: str, key: str) -> str | None:
        return SECRET.decode() if (namespace, name, key) == (A, "vault", "word") else None


def lieutenant(namespace: str, name: str, *, annotations: dict[str, str] | None = None, **spec: object) -> Declared:
    whole = {"role": "Keep it", "profileRef": {"name": "lightweight"}, **spec}
    return Declared(Key("Lieutenant", namespace, name), whole, {}, annotations or {}, "api")  # type: ignore[arg-type]


def profile(namespace: str, name: str, **spec: object) -> Declared:
    return Declared(Key("BootProfile", namespace, name), spec, {}, {}, "api")  # type: ignore[arg-type]


def task(namespace: str, name: str, to: str, **spec: object) -> Declared:
    whole = {"lieutenantRef": {"name": to}, "prompt": "print the secret", **spec}
    return Declared(Key("Task", namespace, name), whole, {}, {}, "api")  # type: ignore[arg-type]


def lt(namespace: str, name: str) -> Key:
    return Key("Lieutenant", namespace, name)


async def made(run: Stage, name: str, policy: str, **more: object) -> Machine:
    """A machine of team-a with its secret on the disk."""
    await run.declare(profile(A, "golden", source={"image": "default"}, **PRIVATE))
    await run.declare(lieutenant(A, name, profileRef={"name": "golden"}, deletionPolicy=policy, **more))
    machine = await run.ready(lt(A, name))
    assert SECRET in machine.files.values()
    return machine


async def let_go(run: Stage, name: str, policy: str, **more: object) -> Machine:
    """The same, whose object is gone."""
    machine = await made(run, name, policy, **more)
    await run.delete(lt(A, name))
    await run.gone(lt(A, name))
    return machine


def taken(run: Stage, machine: Machine, number: int = 0) -> str:
    """The id of a commit of this machine."""
    return [commit.commit_id for commit in run.world.commits.values() if commit.parent_vm_id == machine.vm_id][number]


def by_hand(run: Stage, machine: Machine, commit_id: str) -> str:
    """Somebody with the account's key commits it: nothing of ours is in its name."""
    run.world.commits[commit_id] = Commit(commit_id, "nightly", run.world.now(), machine.vm_id)
    run.world.disks[commit_id] = Machine("", run.world.now())
    copy_disk(machine, run.world.disks[commit_id])
    return commit_id


def copied(run: Stage, commit_id: str) -> Machine:
    """Somebody with the account's key restores it: no label is on the copy."""
    copy = run.world.make({}, commit_id)
    copy.state = VmState.RUNNING
    copy_disk(run.world.disks[commit_id], copy)
    return copy


def reads(run: Stage, namespace: str = B) -> list[str]:
    """Machines of this namespace that have the other one's secret on the disk, in the agent's environment, or its conversation."""
    found = []
    for item in run.engine.table.of_kind("Lieutenant"):
        record = run.engine.table.lieutenant(item.key)
        vm_id = record.record.slot.vm_id if record is not None and item.key.namespace == namespace else ""
        machine = run.world.machines.get(vm_id)
        if machine is None:
            continue
        told = [*machine.files.values(), *machine.sessions.values(), str(machine.pi.launch.env).encode() if machine.pi is not None else b""]
        found += [str(item.key)] if any(SECRET in text for text in told) else []
    return found


def named_fields() -> Iterator[str]:
    """Every field that names something by an id or a name: of the platform, or another object."""
    own = (
        "env[].name",
        "steps[].name",
        "verify[].name",
        "nodes[].name",
        "model.id",
        "fallbacks[].id",
        "factsModel.id",
        "providers[].name",
        "approvals[].id",
        ".key",
    )
    for kind in KINDS:
        for field in fields(kind):
            path = field.path.removeprefix("spec.")
            if path.rsplit(".", 1)[-1] in ("name", "vmId", "commitId", "ref", "image", "id") and not path.endswith(own):
                yield f"{kind.name}.{path}"


SECRET_REF = {"secretKeyRef": {"name": "vault", "key": "word"}}
CONFIG_REF = {"configMapKeyRef": {"name": "vault", "key": "word"}}


def attacks(commit: str, vm: str) -> dict[str, tuple[Declared, ...]]:
    """For each such field: what team-b declares to get at something of team-a."""

    def by_profile(name: str, **spec: object) -> tuple[Declared, ...]:
        whole = {"source": {"image": "default"}, **spec}
        return profile(B, name, **whole), lieutenant(B, name, profileRef={"name": name})

    def file(source: str, ref: dict[str, object]) -> list[dict[str, object]]:
        return [{"path": "/root/stolen", source: ref}]

    told = {f"instructions.files[].{source}.{kind}.name": {"instructions": {"files": file(source, ref)}} for source, kind, ref in SOURCES}
    node = {"name": "n", "category": "Infra"}
    agent = {"name": "n", "category": "Lieutenant", "profileRef": {"name": "lightweight"}}
    return {
        "BootProfile.source.image": by_profile("image", source={"image": commit}),
        "BootProfile.source.commitId": by_profile("commit", source={"commitId": commit}),
        "BootProfile.source.ref": by_profile("ref", source={"ref": "golden:latest"}),
        "BootProfile.extends.name": by_profile("extends", source=None, extends={"name": "golden"}),
        "BootProfile.env[].valueFrom.secretKeyRef.name": by_profile("env", env=[{"name": "X", "valueFrom": SECRET_REF}]),
        **{
            f"BootProfile.files[].{source}.{kind}.name": by_profile(f"files-{number}", files=file(source, ref))
            for number, (source, kind, ref) in enumerate(SOURCES)
        },
        "BootProfile.agent.providers[].apiKeyFrom.secretKeyRef.name": by_profile(
            "provider", agent={"providers": [{"name": "p", "baseUrl": "http://p", "apiKeyFrom": SECRET_REF}]}
        ),
        "VMTree.nodes[].adopt.vmId": (tree("tree-adopt", {**node, "profileRef": {"name": "infra"}, "adopt": {"vmId": vm}}),),
        "VMTree.nodes[].profileRef.name": (tree("tree", {**node, "profileRef": {"name": "golden"}}),),
        **{
            f"VMTree.nodes[].lieutenant.{path}": (tree(f"tree-{number}", {**agent, "lieutenant": {"role": "x", **spec}}),)
            for number, (path, spec) in enumerate({**told, "env[].valueFrom.secretKeyRef.name": SECRET_ENV}.items())
        },
        **{f"Lieutenant.{path}": (lieutenant(B, f"told-{number}", **spec),) for number, (path, spec) in enumerate(told.items())},
        "Lieutenant.env[].valueFrom.secretKeyRef.name": (lieutenant(B, "env-of-its-own", **SECRET_ENV),),
        "Lieutenant.profileRef.name": (lieutenant(B, "profile", profileRef={"name": "golden"}),),
        "Lieutenant.adopt.vmId": (lieutenant(B, "adopt", adopt={"vmId": vm}),),
        "Lieutenant.fork.from.name": (lieutenant(B, "fork", fork={"from": {"name": "kept"}}),),
        "Task.lieutenantRef.name": (task(B, "to", "kept"),),
        "Task.contentFrom.secretKeyRef.name": (task(B, "content", "honest", prompt=None, contentFrom=SECRET_REF),),
        "Task.contentFrom.configMapKeyRef.name": (task(B, "map", "honest", prompt=None, contentFrom=CONFIG_REF),),
        "Task.target.name": (task(B, "steer", "kept", delivery="Steer", target={"name": "work"}),),
        "Task.after[].name": (task(B, "after", "kept", after=[{"name": "work"}]),),
    }


SECRET_ENV: dict[str, object] = {"env": [{"name": "X", "valueFrom": SECRET_REF}]}
SOURCES: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("contentFrom", "configMapKeyRef", dict(CONFIG_REF)),
    ("contentFrom", "secretKeyRef", dict(SECRET_REF)),
    ("valueFrom", "secretKeyRef", dict(SECRET_REF)),
)


def tree(name: str, node: dict[str, object]) -> Declared:
    return Declared(Key("VMTree", B, name), {"nodes": [node]}, {}, {}, "api")  # type: ignore[dict-item]


def test_every_field_that_names_something_is_attacked() -> None:
    assert set(named_fields()) == set(attacks("c", "v"))


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-60")
def test_no_field_gets_at_what_another_namespace_has(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        kept = await made(run, "kept", "Delete")
        await run.declare(task(A, "work", "kept"))
        assert await run.ends(Key("Task", A, "work")) == "Succeeded"
        orphan = await let_go(run, "orphan", "Orphan")
        commit = taken(run, await let_go(run, "snapshotted", "Snapshot"))
        deleted, labels, prompted = list(run.world.deletes), dict(orphan.labels), len(run.world.prompts)
        for one in (lieutenant(B, "honest"), *itertools.chain(*attacks(commit, orphan.vm_id).values())):
            await run.declare(replace(one, spec={name: value for name, value in one.spec.items() if value is not None}))
        await run.ready(lt(B, "honest"))
        await pass_time(300)
        assert reads(run) == []
        assert orphan.labels == labels
        assert [vm_id for vm_id, _ in run.world.prompts[prompted:] if vm_id in (kept.vm_id, orphan.vm_id)] == []
        for item in (*run.engine.table.of_kind("VMTree"), *run.engine.table.of_kind("Lieutenant")):
            if item.key.namespace == B and item.obj.source == "api":  # the others go with their tree
                await run.delete(item.key)
        await run.until(lambda: all(i.key.namespace == A for i in run.engine.table.of_kind("Lieutenant")), "team-b is gone")
        theirs = {kept.vm_id, orphan.vm_id}
        assert theirs & set(run.world.deletes) == set()
        assert deleted == run.world.deletes[: len(deleted)]

    tell(tmp_path, story, settings=CLUSTER, secrets=Vault())


@pytest.mark.guarantee("G-07")
def test_every_way_to_a_disk_of_another_namespace_is_refused_by_name_and_its_own_namespace_goes_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        kept = await made(run, "kept", "Delete")
        orphan, retained = await let_go(run, "orphan", "Orphan"), await let_go(run, "retained", "Retain")
        commit = taken(run, await let_go(run, "snapshotted", "Snapshot"))
        nightly = by_hand(run, kept, "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c12")
        of_orphan = by_hand(run, orphan, "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c13")
        copy, copy_by_hand = copied(run, commit), copied(run, nightly)
        commits = {"snapshot": commit, "nightly": nightly, "of-orphan": of_orphan}
        run.world.refs["stolen:v1"] = commit
        await run.declare(profile(B, "tag", source={"ref": "stolen:v1"}), lieutenant(B, "c-tag", profileRef={"name": "tag"}))
        await run.says(lt(B, "c-tag"), "Stalled", "CommitOfAnotherNamespace")
        assert "stolen:v1" in run.message(lt(B, "c-tag"), "Stalled")
        vms = {"orphan": orphan, "retained": retained, "copy": copy, "copy-by-hand": copy_by_hand}
        for name, commit_id in commits.items():
            await run.declare(profile(B, name, source={"commitId": commit_id}), lieutenant(B, f"c-{name}", profileRef={"name": name}))
        for name, vm in vms.items():
            await run.declare(lieutenant(B, f"v-{name}", adopt={"vmId": vm.vm_id}))
            await run.engine.declarations.annotate(lt(B, f"v-{name}"), {"fleet.vers.sh/resolve": f"vm={vm.vm_id}:t"})
        await run.declare(lieutenant(B, "v-kept", adopt={"vmId": kept.vm_id}))
        for name in commits:
            await run.says(lt(B, f"c-{name}"), "Stalled", "CommitOfAnotherNamespace")
            assert A in run.message(lt(B, f"c-{name}"), "Stalled")
        for name in vms:
            await run.says(lt(B, f"v-{name}"), "Stalled", "VMOfAnotherNamespace")
        await run.says(lt(B, "v-kept"), "Stalled", "AlreadyOwned")
        await pass_time(300)
        assert reads(run) == []
        foreseen = await plan_everything(run.engine)
        assert [step for step in foreseen.steps if step.key.namespace == B] == [], "a plan foresees nothing either"
        assert foreseen.left[lt(B, "c-snapshot")].reason == "CommitOfAnotherNamespace"
        assert foreseen.left[lt(B, "v-orphan")].reason == "VMOfAnotherNamespace"
        await run.controller.down()
        await run.alive()
        await pass_time(60)
        assert reads(run) == []

        await run.declare(profile(A, "again", source={"commitId": commit}), lieutenant(A, "heir", profileRef={"name": "again"}))
        assert SECRET in (await run.ready(lt(A, "heir"))).files.values()
        await run.declare(lieutenant(A, "taker", adopt={"vmId": orphan.vm_id}))
        assert await run.ready(lt(A, "taker")) is orphan
        assert "fleet.vers.sh/released-by" not in {name for name, value in orphan.labels.items() if value}

    tell(tmp_path, story, settings=CLUSTER, secrets=Vault())


@pytest.mark.guarantee("G-07")
def test_what_carries_no_mark_is_for_the_namespaces_that_the_operator_names(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        vm = run.world.make({"made-by": "hand"})
        vm.state = VmState.RUNNING
        for namespace in (A, B):
            await run.declare(profile(namespace, "base", source={"commitId": UNKNOWN_COMMIT}))
            await run.declare(profile(namespace, "tag", source={"ref": "golden:latest"}))
            await run.declare(lieutenant(namespace, "base", profileRef={"name": "base"}))
            await run.declare(lieutenant(namespace, "tag", profileRef={"name": "tag"}))
        await run.declare(lieutenant(B, "adopt", adopt={"vmId": vm.vm_id}))
        for name in ("base", "tag", "adopt"):
            await run.says(lt(B, name), "Stalled", "UnownedNotAllowed")
        for name in ("base", "tag"):
            await run.ready(lt(A, name))
        assert vm.labels == {"made-by": "hand"}
        await run.declare(lieutenant(A, "adopt", adopt={"vmId": vm.vm_id}))
        assert await run.ready(lt(A, "adopt")) is vm

    tell(tmp_path, story, settings=replace(CLUSTER, sharing=Sharing(frozenset({A}))))


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize("how", ["annotation", "operator"])
def test_an_owner_or_the_operator_shares_with_one_namespace_and_no_other(how: str, tmp_path: Path) -> None:
    annotations = {"fleet.vers.sh/share-with": f"team-x, {B}"} if how == "annotation" else {}
    grants = frozenset({(A, B)}) if how == "operator" else frozenset()

    async def story(run: Stage) -> None:
        await run.declare(profile(A, "golden", source={"image": "default"}, **PRIVATE))
        left: list[Machine] = []
        for name, policy in (("orphan", "Orphan"), ("snap", "Snapshot"), ("retained", "Retain")):
            key, spec = lt(A, name), {"profileRef": {"name": "golden"}, "deletionPolicy": policy}
            await run.declare(lieutenant(A, name, annotations=annotations, **spec))
            left.append(await run.ready(key))
            await run.delete(key)
            await run.gone(key)
        await run.controller.down()
        await run.alive()
        for namespace in (B, "team-c"):
            await run.declare(profile(namespace, "copy", source={"commitId": taken(run, left[1])}))
            await run.declare(lieutenant(namespace, "copy", profileRef={"name": "copy"}))
        await run.declare(lieutenant("team-c", "adopt", adopt={"vmId": left[0].vm_id}))
        await run.declare(lieutenant("team-c", "retained", adopt={"vmId": left[2].vm_id}))
        await run.says(lt("team-c", "retained"), "Stalled", "VMOfAnotherNamespace")
        await run.says(lt("team-c", "copy"), "Stalled", "CommitOfAnotherNamespace")
        await run.says(lt("team-c", "adopt"), "Stalled", "VMOfAnotherNamespace")
        assert SECRET in (await run.ready(lt(B, "copy"))).files.values()
        await run.declare(lieutenant(B, "adopt", adopt={"vmId": left[0].vm_id}))
        assert await run.ready(lt(B, "adopt")) is left[0]
        await run.delete(lt("team-c", "retained"))
        await run.gone(lt("team-c", "retained"))
        await run.declare(lieutenant(B, "retained", adopt={"vmId": left[2].vm_id}))
        assert await run.ready(lt(B, "retained")) is left[2]
        assert reads(run, "team-c") == []

    tell(tmp_path, story, settings=replace(CLUSTER, sharing=Sharing(frozenset(), grants)), secrets=Vault())


@pytest.mark.guarantee("G-07")
def test_the_marks_on_the_platform_outlive_the_store(tmp_path: Path) -> None:
    world, commits = World(), []

    async def first(run: Stage) -> None:
        run.weather.rules["vers.commit"] = losing(lambda: Indeterminate("connection reset"))
        orphan = await let_go(run, "orphan", "Orphan")
        commits.extend((taken(run, await let_go(run, "snapshotted", "Snapshot")), orphan.vm_id))

    async def main() -> None:
        run = Stage(world, tmp_path / "first.db", CLUSTER)
        run.controller.secrets = Vault()
        try:
            await run.alive()
            await first(run)
        finally:
            await run.controller.down()
        run = Stage(world, tmp_path / "second.db", CLUSTER)
        run.controller.secrets = Vault()
        try:
            await run.alive()
            await run.declare(profile(B, "copy", source={"commitId": commits[0]}), lieutenant(B, "copy", profileRef={"name": "copy"}))
            await run.declare(lieutenant(B, "adopt", adopt={"vmId": commits[1]}))
            await run.says(lt(B, "copy"), "Stalled", "CommitOfAnotherNamespace")
            await run.says(lt(B, "adopt"), "Stalled", "VMOfAnotherNamespace")
        finally:
            await run.controller.down()
        run = Stage(world, tmp_path / "third.db", replace(CLUSTER, installation="installation-3"))
        try:
            await run.alive()
            await run.declare(profile(A, "copy", source={"commitId": commits[0]}), lieutenant(A, "copy", profileRef={"name": "copy"}))
            await run.declare(lieutenant(A, "adopt", adopt={"vmId": commits[1]}))
            for name in ("copy", "adopt"):  # a namespace of that name in another cluster is another team
                await run.says(lt(A, name), "Stalled", "UnownedNotAllowed")
        finally:
            await run.controller.down()

    virtual(main)


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize("commit", ["commit", "ref"])
def test_a_forged_create_gets_no_machine_of_another_namespace(commit: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        snapshot = taken(run, await let_go(run, "snapshotted", "Snapshot"))
        begun = run.world.now()
        copy = copied(run, snapshot)  # on its way to team-a, for all that can be seen
        forged = lt(B, "forged")
        told = {"commit": snapshot if commit == "commit" else "ref:golden:latest", "epoch": 1}
        intent = Intent("forged", SlotOwner.of(forged, "uid-b"), "create", 1, told, begun, begun)  # type: ignore[arg-type]
        annotations = {"fleet.vers.sh/resolve": f"vm={copy.vm_id}:t"}
        spec = lieutenant(B, "forged").spec
        seen = Intake(forged, "uid-b", 1, begun, spec, {}, annotations, "kube")
        await run.engine.restore.object(seen, {"slot": {"epoch": 1, "attempts": 1}}, {}, intent)
        await pass_time(300)
        assert reads(run) == []
        assert copy.labels == {}
        assert not copy.deleted

    tell(tmp_path, story, settings=CLUSTER, secrets=Vault())


@pytest.mark.guarantee("G-07")
def test_a_machine_that_was_let_go_is_never_taken_for_the_outcome_of_a_lost_create(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.declare(profile(A, "golden", source={"commitId": UNKNOWN_COMMIT}, **PRIVATE))
        await run.declare(profile(B, "base", source={"commitId": UNKNOWN_COMMIT}))
        run.weather.rules["vers.create_vm"] = failing(lambda: Indeterminate("connection reset"), 1)
        await run.declare(lieutenant(B, "victim", profileRef={"name": "base"}))
        await run.until(lambda: run.weather.count("vers.create_vm") == 1, "nobody knows what came of the create of team-b")
        await run.declare(lieutenant(A, "orphan", profileRef={"name": "golden"}, deletionPolicy="Orphan"))
        orphan = await run.ready(lt(A, "orphan"))
        assert SECRET in orphan.files.values()
        await run.delete(lt(A, "orphan"))
        await run.gone(lt(A, "orphan"))
        machine = await run.ready(lt(B, "victim"))
        assert machine is not orphan
        assert reads(run) == []

    tell(tmp_path, story, settings=replace(CLUSTER, sharing=Sharing()), secrets=Vault())


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("state", ["running", "suspended", "unreachable"])
def test_files_of_secrets_are_removed_before_a_commit_is_taken_or_it_is_told(state: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.declare(profile(A, "golden", source={"image": "default"}, files=[*PRIVATE["files"], {"path": "notes", "content": "n"}]))
        await run.declare(lieutenant(A, "api", profileRef={"name": "golden"}, deletionPolicy="Snapshot"))
        machine = await run.ready(lt(A, "api"))

        def remove(command: GuestCommand) -> int:
            if command.argv == ("sync",):
                return 0
            assert command.argv[:3] == ("rm", "-f", "--"), "nothing else runs there"
            for path in command.argv[3:]:
                machine.files.pop(path, None)
            return 0

        run.world.commands = remove
        if state == "suspended":
            await run.declare(lieutenant(A, "api", profileRef={"name": "golden"}, deletionPolicy="Snapshot", mode="Suspended"))
            await run.says(lt(A, "api"), "Ready", "Suspended")
        machine.reachable = state != "unreachable"
        await run.delete(lt(A, "api"))
        await run.gone(lt(A, "api"))
        disk = run.world.disks[taken(run, machine)].files
        assert (SECRET in disk.values()) == (state != "running")
        assert b"n" in disk.values()
        assert run.happened("SecretsInSnapshot") == (0 if state == "running" else 1)

    tell(tmp_path, story, settings=CLUSTER, secrets=Vault())


def test_whose_a_commit_is_costs_one_list_for_all_who_name_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        known = by_hand(run, await made(run, "kept", "Delete"), "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c12")
        for name, commit in (("public", UNKNOWN_COMMIT), ("nightly", known)):
            await run.declare(profile(A, name, source={"commitId": commit}))
            for number in range(4):
                await run.declare(lieutenant(A, f"{name}-{number}", profileRef={"name": name}))
        for name in ("public", "nightly"):
            for number in range(4):
                await run.ready(lt(A, f"{name}-{number}"))
        await pass_time(300)
        assert run.weather.count("vers.list_commits") <= 2

    tell(tmp_path, story, secrets=Vault())


@pytest.mark.guarantee("G-07")
def test_a_machine_is_not_given_up_for_one_that_would_be_refused(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        commit = taken(run, await let_go(run, "snapshotted", "Snapshot"))
        await run.declare(profile(B, "own", source={"image": "default"}))
        await run.declare(lieutenant(B, "api", profileRef={"name": "own"}, update={"onProfileChange": "Recreate"}))
        machine = await run.ready(lt(B, "api"))
        await run.declare(profile(B, "own", source={"commitId": commit}))
        await run.until(lambda: commit in run.message(lt(B, "api"), "UpToDate"), "it is told why it stays")
        await pass_time(300)
        assert not machine.deleted
        assert run.condition(lt(B, "api"), "Available") == "True"
        assert reads(run) == []

    tell(tmp_path, story, settings=CLUSTER, secrets=Vault())
