"""Where an object was declared: the stack, the cluster and the commit are remembered with it, and follow it when it moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconciler.core.keys import Key
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.declarations import Outcome
from reconciler.engine.state.declared import Declared, Intake
from tests.engine.stage import LT, Stage, tell

SPEC = {"role": "Keep it", "profileRef": {"name": "lightweight"}, "mode": "Suspended"}
STACK, OTHER, CLUSTER = (f"5b1f0d7e-6c0e-4f0b-9a53-00000000000{n}" for n in (1, 2, 3))
IN_STACK = Declared(LT, dict(SPEC), {}, {}, "file", "/fleet/a.yaml:1", STACK, "c0ffee")


def known(run: Stage, key: Key = LT) -> StoredObject:
    item = run.engine.table.get(key)
    assert item is not None
    return item.obj


def test_a_declaration_that_moves_to_another_stack_is_the_same_object(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        apply = run.engine.declarations.apply
        assert await apply(IN_STACK) is Outcome.CREATED
        first = known(run)
        assert (first.source_id, first.source_commit, first.owner) == (STACK, "c0ffee", "")
        assert await apply(IN_STACK) is Outcome.UNCHANGED
        moved = replace(IN_STACK, origin="/fleet/b.yaml:7", source_id=OTHER, source_commit="0ddba11")
        assert await apply(moved) is Outcome.UNCHANGED
        await run.controller.down()
        await run.alive()
        after = known(run)
        assert (after.origin, after.source_id, after.source_commit) == ("/fleet/b.yaml:7", OTHER, "0ddba11")
        assert (after.uid, after.generation) == (first.uid, first.generation)

    tell(tmp_path, story)


def test_a_field_that_a_command_changes_does_not_move_the_object(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.engine.declarations.apply(IN_STACK)
        changed = await run.engine.declarations.patch_spec(LT, lambda obj: {**obj.spec, "role": "Keep it well"}, "file")
        assert changed is Outcome.CONFIGURED
        assert (known(run).source_id, known(run).source_commit) == (STACK, "c0ffee")

    tell(tmp_path, story)


def test_an_object_of_a_cluster_has_the_clusters_uid_also_one_that_an_earlier_release_took(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        intake = run.engine.declarations.intake
        seen = Intake(LT, "uid-1", 1, 0.0, dict(SPEC), {}, {}, "kube")
        assert await intake(seen) is Outcome.CREATED
        assert known(run).source_id == ""
        assert await intake(replace(seen, source_id=CLUSTER)) is Outcome.CONFIGURED
        assert known(run).source_id == CLUSTER
        assert await intake(replace(seen, source_id=CLUSTER)) is Outcome.UNCHANGED
        other = replace(seen, key=Key("Lieutenant", "default", "b"), uid="uid-2", source_id=CLUSTER)
        await intake(other)
        assert known(run, other.key).source_id == CLUSTER

    tell(tmp_path, story)
