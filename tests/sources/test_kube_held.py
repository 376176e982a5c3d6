"""What somebody else holds in the cluster while it is being deleted, and we have nothing outside for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.errors import NotFound
from reconciler.sources.kube.client import path_of
from tests.faults.cluster import NAMESPACE, ClusterRun
from tests.faults.harness import virtual
from tests.faults.play import SETTINGS, declared
from tests.world import World

PROFILE = declared(Key("BootProfile", NAMESPACE, "built"), source={"image": "default"})
HELD = "foregroundDeletion"
"""A finalizer that `kubectl delete --cascade=foreground` adds."""


@pytest.mark.guarantee("G-05")
@pytest.mark.parametrize("restarted", [False, True], ids=["seen", "while we were away"])
def test_a_profile_that_was_held_while_it_was_deleted_is_gone_with_its_object(restarted: bool, tmp_path: Path) -> None:
    """And so another one of its name is taken."""

    async def story() -> None:
        run = ClusterRun(World(), tmp_path / "state.db", None, replace(SETTINGS, settle_seconds=1.0), keep=True, latency=0.005)
        key = PROFILE.key
        assert isinstance(key, Key)
        try:
            await run.alive()
            await run.declare(PROFILE)
            await run.until(lambda: run.phase(key) == "Ready", "it is in force")
            await run.person.merge(path_of(key), {"metadata": {"finalizers": [HELD]}})
            await run.delete(key)
            await asyncio.sleep(5.0)
            item = run.engine.table.get(key)
            assert item is not None
            assert item.deleting
            if restarted:
                await run.controller.down()
            await run.person.merge(path_of(key), {"metadata": {"finalizers": []}})
            with pytest.raises(NotFound):
                await run.person.get(path_of(key))
            await run.alive()
            await asyncio.sleep(5.0)
            assert run.engine.table.get(key) is None
            assert [entry.verb for _, entry in await run.engine.store.audit()].count("deleted") == 1
            await run.declare(PROFILE)
            await run.until(lambda: run.phase(key) == "Ready", "the new one is in force")
        finally:
            await run.controller.down()

    virtual(story)
