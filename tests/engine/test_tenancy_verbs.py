"""Two namespaces in one account: no verb that is asked for by annotation reads, takes or deletes what another namespace has, whatever id
is written into it (G-07)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.api.annotations import VERBS
from reconciler.core.snapshot.origin import Sharing
from reconciler.errors import Indeterminate
from tests.engine.stage import SETTINGS, Stage, losing, pass_time, tell
from tests.engine.test_tenancy import (
    CLUSTER,
    SECRET,
    UNKNOWN_COMMIT,
    A,
    B,
    Vault,
    let_go,
    lieutenant,
    lt,
    made,
    profile,
    reads,
    taken,
    task,
)
from tests.world import Machine

FORMS = {
    "rollback": ("{id}:{n}",),
    "resolve": ("vm={id}:{n}", "session={id}:{n}", "workspace={id}:{n}", "{id}:{n}"),
    "rewind": ("{id}:{n}", "1:{id}"),
}
"""How a verb names an id; of the others the whole value is its token."""


def asked(*ids: str) -> Iterator[tuple[str, str]]:
    """Every verb with every id in every form, in pairs of verb and value."""
    for verb in sorted(VERBS):
        for number, one in enumerate(ids):
            yield from ((verb, form.format(id=one, n=number)) for form in FORMS.get(verb, ("{id}",)))


def test_every_verb_is_asked() -> None:
    assert {verb for verb, _ in asked("x")} == VERBS
    assert set(FORMS) <= VERBS


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-60")
def test_no_verb_gets_at_what_another_namespace_has(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        kept = await made(run, "kept", "Delete")
        await run.declare(task(A, "work", "kept"))
        session = run.record(lt(A, "kept")).session.name
        orphan = await let_go(run, "orphan", "Orphan")
        commit = taken(run, await let_go(run, "snapshotted", "Snapshot"))
        theirs = (kept, orphan)
        before = deepcopy([(machine.labels, machine.claim, machine.files) for machine in theirs])
        commits, deleted = set(run.world.commits), list(run.world.deletes)
        own = {verb: lt(B, f"asks-{verb}") for verb in VERBS}
        for verb, key in own.items():
            await run.declare(lieutenant(B, key.name), task(B, f"for-{verb}", key.name, prompt="say hello"))
            await run.ready(key)
        prompted = len(run.world.prompts)
        for verb, value in asked(commit, kept.vm_id, orphan.vm_id, session):
            await run.engine.declarations.annotate(own[verb], {f"fleet.vers.sh/{verb}": value})
            await pass_time(2)
        await pass_time(120)
        assert run.status(own["rollback"])["rollback"]["state"] == "Refused"
        assert reads(run) == []
        assert [(machine.labels, machine.claim, machine.files) for machine in theirs] == before
        assert [vm_id for vm_id, _ in run.world.prompts[prompted:] if vm_id in (kept.vm_id, orphan.vm_id)] == []
        assert commits <= set(run.world.commits)
        for verb, key in own.items():
            await run.engine.declarations.annotate(key, {"fleet.vers.sh/paused": ""})
            await run.delete(key)
            await run.until(lambda key=key: run.engine.table.get(key) is None, f"what asked for {verb} is gone")  # type: ignore[misc]
        gone = set(run.world.deletes) - set(deleted)
        assert {kept.vm_id, orphan.vm_id} & gone == set()
        assert SECRET in kept.files.values()

    tell(tmp_path, story, settings=CLUSTER, secrets=Vault())


@pytest.mark.guarantee("G-07")
def test_a_create_in_doubt_is_not_answered_with_a_machine_of_another_namespace(tmp_path: Path) -> None:
    """Of the same commit, made in the same minute: only what that create may have made can be named."""

    async def story(run: Stage) -> None:
        await run.declare(profile(A, "golden", source={"commitId": UNKNOWN_COMMIT}, files=[{"path": "/root/secret", "content": "a"}]))
        for name, policy in (("kept", "Delete"), ("orphan", "Orphan")):
            await run.declare(lieutenant(A, name, profileRef={"name": "golden"}, deletionPolicy=policy))
        kept, orphan = [await run.ready(lt(A, name)) for name in ("kept", "orphan")]
        run.weather.rules["vers.create_vm"] = losing(lambda: Indeterminate("connection reset"))
        await run.declare(profile(B, "base", source={"commitId": UNKNOWN_COMMIT}), lieutenant(B, "doubt", profileRef={"name": "base"}))
        await run.delete(lt(A, "orphan"))
        await run.gone(lt(A, "orphan"))
        asks = lt(B, "doubt")
        await run.says(asks, "Stalled", "CreateAmbiguous")
        (own,) = [machine for machine in run.world.alive() if machine not in (kept, orphan)]
        told = [dict(machine.labels) for machine in (kept, orphan)]
        for number, theirs in enumerate((kept, orphan)):
            await run.engine.declarations.annotate(asks, {"fleet.vers.sh/resolve": f"vm={theirs.vm_id}:{number}"})
            await pass_time(120)
            assert run.reason(asks, "Stalled") == "CreateAmbiguous"
            assert [machine.labels for machine in (kept, orphan)] == told
        await run.engine.declarations.annotate(asks, {"fleet.vers.sh/resolve": f"vm={own.vm_id}:own"})
        assert await run.ready(asks) is own

    tell(tmp_path, story, settings=replace(SETTINGS, dedicated_account=False, sharing=Sharing()))


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-33")
def test_a_copy_of_a_name_is_a_copy_of_ones_own_namespace(tmp_path: Path) -> None:
    """Both have a lieutenant of that name; a lost answer changes nothing of it."""

    async def story(run: Stage) -> None:
        theirs = await made(run, "api", "Delete")
        await run.declare(lieutenant(B, "api"))
        own = await run.ready(lt(B, "api"))
        run.weather.rules["vers.create_vm"] = losing(lambda: Indeterminate("connection reset"))
        await run.declare(lieutenant(B, "copy", fork={"from": {"name": "api"}}))
        copy: Machine = await run.ready(lt(B, "copy"))
        assert copy.branched_from == own.vm_id != theirs.vm_id
        assert reads(run) == []
        assert [machine.branched_from for machine in run.world.alive() if machine.branched_from] == [own.vm_id]

    tell(tmp_path, story, settings=CLUSTER, secrets=Vault())
