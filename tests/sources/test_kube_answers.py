"""Answers of the API server that come late: what was heard of an object meanwhile is not forgotten for them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.api.reasons import Reason
from reconciler.core.keys import Json, Key, SlotOwner, as_map
from reconciler.engine.effects import Effects
from reconciler.engine.ports import Intent, StoredObject
from reconciler.errors import NotFound, ReconcilerError
from reconciler.sources.kube import raw
from reconciler.sources.kube.client import collection, path_of
from reconciler.sources.kube.controller import KubeController
from reconciler.sources.kube.seen import Seen
from reconciler.sources.kube.sink import KubeSink
from reconciler.sources.kube.source import KubeSource
from tests.faults.harness import virtual
from tests.kube.double import ApiServer, Double, Follow, Where

SEEDS, ROUNDS = 40, 10
ADA = Key("Lieutenant", "team", "ada")
HEAD: Json = {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": ADA.kind}


class Overtaken(Double):
    """An API server of whose next answer something is heard before: what `meanwhile` does."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def _then(self, told: Json) -> Json:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            await act()
        return told

    async def replace(self, path: str, body: Json) -> Json:
        return await self._then(await super().replace(path, body))

    async def merge(self, path: str, body: Json) -> Json:
        return await self._then(await super().merge(path, body))

    async def get(self, path: str, **params: str) -> Json:
        try:
            return await self._then(await super().get(path, **params))
        except NotFound:
            await self._then({})
            raise


async def made(api: Double, finalizers: bool = True) -> Json:
    metadata: Json = {"name": ADA.name, "namespace": ADA.namespace}
    if finalizers:
        metadata["finalizers"] = list(raw.ours({**HEAD, "metadata": metadata}))
    spec: Json = {"role": "Keep it", "profileRef": {"name": "lightweight"}}
    return await api.create(collection(ADA.kind, ADA.namespace), {**HEAD, "metadata": metadata, "spec": spec})


def source_of(api: Double, seen: Seen) -> KubeSource:
    engine = SimpleNamespace(effects=Effects(), table=SimpleNamespace(get=lambda _: None))
    return KubeSource(cast(Any, api), cast(Any, engine), cast(Any, None), seen, "u")


def sink_of(api: Double, seen: Seen, read: Callable[[Key], Awaitable[object]]) -> KubeSink:
    """One that says of the object that it is not valid."""
    sink = KubeSink(cast(Any, api), cast(Any, SimpleNamespace(known=list, handed=0)), seen)
    table = SimpleNamespace(get=lambda _: None, lieutenant=lambda _: None)
    sink.attach(cast(Any, table), Effects(), time.time, lambda slot: None, cast(Any, None), cast(Any, read))
    sink.refused[ADA] = (Reason.INVALID_SPEC, "it says nothing")
    return sink


def released(obj: Json) -> StoredObject:
    """What is known of an object whose finalizer is to go."""
    return StoredObject(ADA, raw.uid(obj), 1, 1, 0.0, {}, finalizers=tuple(raw.ours(obj)), source=raw.SOURCE)


@pytest.mark.guarantee("G-05")
async def test_a_deletion_that_is_heard_of_before_the_answer_to_a_status_is_not_forgotten() -> None:
    api = Overtaken(ApiServer(time.time), 0.0)
    seen = Seen({ADA: (obj := await made(api))})
    source = source_of(api, seen)

    async def deleted() -> None:
        await api.delete(path_of(ADA), raw.uid(obj))
        assert source.on_event("MODIFIED", await api.get(path_of(ADA))) == ADA

    api.meanwhile = deleted
    await sink_of(api, seen, source.read).write(ADA)
    assert raw.deleting(seen[ADA])
    assert raw.status(seen[ADA]), "and what was written is known"


@pytest.mark.guarantee("G-05")
async def test_a_deletion_that_is_heard_of_before_the_answer_to_our_finalizer_is_not_forgotten() -> None:
    api = Overtaken(ApiServer(time.time), 0.0)
    seen = Seen({ADA: (obj := await made(api, finalizers=False))})
    source = source_of(api, seen)

    async def deleted() -> None:
        await api.delete(path_of(ADA), raw.uid(obj))
        assert source.on_event("MODIFIED", await api.get(path_of(ADA))) == ADA

    api.meanwhile = deleted
    held = await source._add_finalizer(ADA, obj)
    assert set(raw.ours(held)) <= set(raw.finalizers(held))
    assert raw.deleting(seen[ADA])


async def test_an_edit_that_a_status_conflicts_with_is_taken_in() -> None:
    """The watch tells of it later, when what is seen is newer: it is queued by what was read."""
    api = Double(ApiServer(time.time), 0.0)
    controller = KubeController(cast(Any, api), cast(Any, SimpleNamespace(known=list, handed=0)), None, "one", print)
    controller.seen[ADA] = await made(api)
    controller.source = source_of(api, controller.seen)
    edited = await api.merge(path_of(ADA), {"spec": {"role": "Keep that"}})
    await sink_of(api, controller.seen, controller._read).write(ADA)
    assert controller.queue.depth() == 1
    assert as_map(controller.seen[ADA]["spec"])["role"] == "Keep that"
    assert raw.status(controller.seen[ADA])
    assert controller.source.on_event("MODIFIED", edited) is None


async def test_an_object_that_went_before_the_answer_does_not_come_back() -> None:
    api = Overtaken(ApiServer(time.time), 0.0)
    seen = Seen({ADA: (obj := await made(api))})
    source = source_of(api, seen)

    async def gone() -> None:
        source.on_event("DELETED", obj)

    api.meanwhile = gone
    await sink_of(api, seen, source.read).write(ADA)
    assert ADA not in seen


async def test_an_object_that_took_a_name_before_the_answer_that_the_name_is_free_is_not_forgotten() -> None:
    """A write met a conflict, so the object is read; it is not there, and when that is heard the next one of its name is."""
    api = Overtaken(ApiServer(time.time), 0.0)
    seen = Seen({ADA: (obj := await made(api, finalizers=False))})
    source = source_of(api, seen)
    await api.delete(path_of(ADA), raw.uid(obj))

    async def another() -> None:
        source.on_event("DELETED", obj)
        source.on_event("ADDED", await made(api, finalizers=False))

    api.meanwhile = another
    found = await source.read(ADA)
    assert found is not None
    assert raw.uid(found) != raw.uid(obj)
    assert seen[ADA] is found


@pytest.mark.guarantee("G-05")
async def test_an_object_that_took_a_name_before_the_answer_to_a_release_is_not_forgotten() -> None:
    """The finalizer of the one before it is gone, and so is that one, before the operator hears that it took it away."""
    api = Overtaken(ApiServer(time.time), 0.0)
    seen = Seen({ADA: await made(api)})
    source = source_of(api, seen)
    await api.delete(path_of(ADA), raw.uid(seen[ADA]))
    deleted = seen[ADA] = await api.get(path_of(ADA))

    async def another() -> None:
        source.on_event("DELETED", deleted)
        source.on_event("ADDED", await made(api))

    async def read(key: Key) -> None:
        api.meanwhile, kept = None, api.meanwhile
        await source.read(key)
        api.meanwhile = kept

    api.meanwhile = another
    await sink_of(api, seen, read).release(released(deleted))
    assert raw.uid(seen[ADA]) != raw.uid(deleted)


@pytest.mark.guarantee("G-02")
async def test_a_create_is_told_of_before_it_is_sent_also_where_nothing_else_is_told_yet() -> None:
    api = Double(ApiServer(time.time), 0.0)
    seen = Seen({ADA: (obj := await made(api))})
    sink = sink_of(api, seen, source_of(api, seen).read)
    del sink.refused[ADA]
    known = SimpleNamespace(key=ADA, uid=raw.uid(obj), obj=released(obj))
    sink._table = cast(Any, SimpleNamespace(get=lambda _: known, lieutenant=lambda _: None))
    await sink.persist_intent(Intent("token-1", SlotOwner.of(ADA, raw.uid(obj)), "create", 1, {}, 1_800_000_000.0))
    status = raw.status(await api.get(path_of(ADA)))
    assert as_map(as_map(status["vm"])["create"])["token"] == "token-1"


LONGEST = 0.2
"""Seconds for which an answer may be on its way; a watch tells after less than a third of it."""


async def lived_through(chance: random.Random) -> None:
    """People make, edit and delete an object while we write its finalizers and status, and each of our answers takes its own time. As soon
    as all are here, what is seen is what there is, although nothing was listed anew."""
    server = ApiServer(asyncio.get_running_loop().time)
    people = Double(server)
    ours = Double(server, on_its_way=lambda: chance.choice((0.0, chance.uniform(0, LONGEST))))
    seen = Seen()
    source = source_of(ours, seen)
    follow = Follow(server, None, source.on_event)
    follow.start()
    sink = sink_of(ours, seen, source.read)

    async def by_people(key: Key) -> None:
        there = server.objects.get(Where.of(path_of(key)))
        if there is None:
            await made(people, finalizers=chance.random() < 0.5)
        elif chance.random() < 0.4:
            await people.delete(path_of(key), there["metadata"]["uid"])
        else:
            await people.merge(path_of(key), {"spec": {"role": f"Keep {chance.random()}"}})

    async def by_us(key: Key) -> None:
        obj = seen.get(key)
        if obj is None:
            await source.read(key)
        elif raw.deleting(obj):
            await sink.release(released(obj))
        elif not set(raw.ours(obj)) <= set(raw.finalizers(obj)):
            await source._add_finalizer(key, obj)
        else:
            sink.refused[key] = (Reason.INVALID_SPEC, f"it says {chance.random()}")
            await sink.write(key)

    async def soon(act: Callable[[Key], Awaitable[None]]) -> None:
        await asyncio.sleep(chance.uniform(0, LONGEST))
        with suppress(ReconcilerError):
            await act(ADA)

    for _ in range(ROUNDS):
        await asyncio.gather(soon(by_people), soon(by_people), soon(by_us), soon(by_us))
        await asyncio.sleep(1.0)
        assert seen.get(ADA) == server.objects.get(Where.of(path_of(ADA)))
    await follow.stop()


@pytest.mark.guarantee("G-05")
def test_what_is_seen_in_the_end_is_what_there_is_however_late_answers_come(tmp_path: Path) -> None:
    for seed in range(SEEDS):
        try:
            virtual(lambda: lived_through(random.Random(seed)))  # noqa: B023  # it is run at once
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
