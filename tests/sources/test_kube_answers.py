"""Answers of the API server that come late: what was heard of an object meanwhile is not forgotten for them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.api.reasons import Reason
from reconciler.core.keys import Json, Key, as_map
from reconciler.engine.effects import Effects
from reconciler.sources.kube import raw
from reconciler.sources.kube.client import collection, path_of
from reconciler.sources.kube.controller import KubeController
from reconciler.sources.kube.seen import Seen
from reconciler.sources.kube.sink import KubeSink
from reconciler.sources.kube.source import KubeSource
from tests.kube.double import ApiServer, Double

ADA = Key("Lieutenant", "team", "ada")
HEAD: Json = {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": ADA.kind}


class Overtaken(Double):
    """An API server of which something is heard before its next answer: what `meanwhile` does."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def on_its_way(self) -> None:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            await act()


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


@pytest.mark.guarantee("G-05")
async def test_a_new_object_of_a_name_is_not_forgotten_when_the_old_one_is_answered_to_be_free() -> None:
    """It is declared as soon as the old one is gone, and heard of before our own removal of the finalizer is answered."""
    api = Overtaken(ApiServer(time.time), 0.0)
    seen = Seen({ADA: (obj := await made(api))})
    source = source_of(api, seen)
    await api.delete(path_of(ADA), raw.uid(obj))

    async def declared_anew() -> None:
        if api.server.objects:  # this answer is to the read before the write
            api.meanwhile = declared_anew
            return
        source.on_event("DELETED", obj)
        source.on_event("ADDED", await made(api))

    api.meanwhile = declared_anew
    released = SimpleNamespace(key=ADA, uid=raw.uid(obj), source=raw.SOURCE, finalizers=raw.ours(obj))
    await sink_of(api, seen, source.read).release(cast(Any, released))
    there = await api.get(path_of(ADA))
    assert seen.get(ADA) == there
    assert raw.uid(there) != raw.uid(obj)


async def test_an_object_that_is_declared_before_an_answer_that_there_is_none_is_not_forgotten() -> None:
    api = Overtaken(ApiServer(time.time), 0.0)
    source = source_of(api, Seen())

    async def declared() -> None:
        source.on_event("ADDED", await made(api))

    api.meanwhile = declared
    assert await source.read(ADA) == await api.get(path_of(ADA))
