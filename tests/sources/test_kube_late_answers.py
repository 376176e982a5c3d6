"""A search among late answers: people, and programs of others, change a few objects while the answers to our own writes are on their way.
When all have come to rest, we know what the cluster has, and have taken it in, without looking at everything again."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.core.keys import Json, JsonValue, Key, as_map
from reconciler.errors import Conflict, NotFound, Rejected
from reconciler.sources.kube import raw
from reconciler.sources.kube.client import path_of
from reconciler.sources.kube.controller import SWEEP_SECONDS
from tests.effort import LONGER, seed
from tests.faults.cluster import NAMESPACE, ClusterRun
from tests.faults.harness import virtual
from tests.faults.play import SETTINGS, declared
from tests.kube.double import late
from tests.world import World

SEARCHES = 24 * LONGER
ROUNDS, DEEDS = 4, 12
LATEST = 1.0
"""Seconds by which an answer is late at most."""
REST = 20.0
"""Seconds in which everything comes to rest."""
OTHERS = "example.com/other"
"""A finalizer that is not ours."""
KEYS = (*(Key("Task", NAMESPACE, f"task-{number}") for number in range(8)), Key("BootProfile", NAMESPACE, "profile"))
SPECS: dict[str, Json] = {
    "Task": {"lieutenantRef": {"name": "nobody"}, "prompt": "do it"},
    "BootProfile": {"source": {"image": "default"}},
}


@dataclass(frozen=True)
class Others:
    """Everybody else who writes to the cluster. `draws` says what they do, to which object, and how soon the next one does something."""

    run: ClusterRun
    draws: random.Random

    async def act(self) -> None:
        for _ in range(DEEDS):
            deed = self.draws.choice((self.declare, self.edit, self.delete, self.replace, self.regret, self.regret, self.hold, self.let_go))
            with suppress(Conflict, NotFound, Rejected):  # somebody was faster
                await deed(self.draws.choice(KEYS))
            await self.pause()
        for key in KEYS:
            while OTHERS in raw.finalizers(self.run.shown(key) or {}):
                with suppress(Conflict):
                    await self.let_go(key)

    async def pause(self) -> None:
        await asyncio.sleep(self.draws.choice((0.0, 0.02, 0.05, 0.1, 0.2)))

    async def declare(self, key: Key) -> None:
        await self.run.declare(declared(key, **SPECS[key.kind]))

    async def edit(self, key: Key) -> None:
        await self.change(key, "annotations", {"example.com/note": str(self.draws.random())})

    async def delete(self, key: Key) -> None:
        await self.run.delete(key)

    async def replace(self, key: Key) -> None:
        """Deleted, and declared anew as soon as it is gone."""
        await self.delete(key)
        for _ in range(100):
            if self.run.shown(key) is None:
                await self.declare(key)
                return
            await asyncio.sleep(0.02)

    async def regret(self, key: Key) -> None:
        """Declared, and deleted while it is being taken in."""
        await self.declare(key)
        await self.pause()
        await self.delete(key)

    async def hold(self, key: Key) -> None:
        await self.change(key, "finalizers", [*raw.finalizers(self.run.shown(key) or {}), OTHERS])

    async def let_go(self, key: Key) -> None:
        await self.change(key, "finalizers", [one for one in raw.finalizers(self.run.shown(key) or {}) if one != OTHERS])

    async def change(self, key: Key, name: str, value: JsonValue) -> None:
        obj = self.run.shown(key)
        if obj is not None:
            await self.run.person.merge(path_of(key), {"metadata": {"resourceVersion": raw.version(obj), name: value}})


def at_rest(run: ClusterRun) -> None:
    """What the cluster has is known, in force and answered, and nothing else is."""
    controller, table = run.controller.kube_controller, run.engine.table
    assert controller is not None
    there = {key: obj for obj in run.server.objects.values() if (key := raw.key_of(obj)) is not None}
    assert [key for key, obj in there.items() if raw.deleting(obj)] == [], "a deletion was not handed on"
    assert dict(controller.seen) == there
    items = {key: table.get(key) for key in table.all_keys() if key in KEYS}
    assert {key: item.uid for key, item in items.items() if item is not None} == {key: raw.uid(obj) for key, obj in there.items()}
    for key, obj in there.items():
        item = items[key]
        assert item is not None
        assert item.obj.annotations == as_map(raw.metadata(obj).get("annotations")), f"an edit of {key} was not handed on"
        assert raw.status(obj).get("observedGeneration") == raw.generation(obj), f"{key} has the status of another generation"


@pytest.mark.guarantee("G-05")
@pytest.mark.parametrize("number", range(SEARCHES))
def test_what_the_cluster_has_is_known_however_late_answers_are(number: int, tmp_path: Path) -> None:
    async def search() -> None:
        run = ClusterRun(World(), tmp_path / "state.db", None, SETTINGS, keep=True, latency=0.005)
        run.controller.lateness = late(f"{seed()}/{number}/answers", LATEST)
        others = Others(run, random.Random(f"{seed()}/{number}"))
        try:
            await run.alive()
            begun = asyncio.get_running_loop().time()
            for _ in range(ROUNDS):
                await others.act()
                await asyncio.sleep(REST)
                at_rest(run)
            assert asyncio.get_running_loop().time() - begun < SWEEP_SECONDS, "a sweep would have found what was missed"
        finally:
            await run.controller.down()

    virtual(search)
