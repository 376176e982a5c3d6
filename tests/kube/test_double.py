"""The API server in memory (`double.py`) has the manners of a real one: the same questions to both, the same answers from both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from reconciler.api.meta import GROUP, VERSION
from reconciler.core.keys import Json, Key
from reconciler.errors import Conflict, NotFound, Rejected
from reconciler.sources.kube.access import load
from reconciler.sources.kube.client import Cluster, collection, path_of
from tests.faults.harness import virtual
from tests.kube.controlplane import Namespace
from tests.kube.double import ApiServer, Double, Where, late

Api = tuple[Cluster, str]
FINALIZER = "fleet.vers.sh/vm"


@pytest.fixture(params=["double", pytest.param("real", marks=pytest.mark.real("kube"))])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """A client and a namespace of this test's own."""
    if request.param == "double":
        yield cast(Cluster, Double(ApiServer(time.time))), "team"
        return
    cluster: Namespace = request.getfixturevalue("cluster")
    client = Cluster(load(environ={"KUBECONFIG": str(cluster.plane.admin.kubeconfig)}))
    yield client, cluster.name
    await client.aclose()


def lieutenant(name: str = "ada") -> Json:
    spec: Json = {"role": "Keep it", "profileRef": {"name": "lightweight"}}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Lieutenant", "metadata": {"name": name}, "spec": spec}


async def made(api: Api, name: str = "ada") -> tuple[str, dict[str, Any]]:
    client, namespace = api
    return path_of(Key("Lieutenant", namespace, name)), dict(await client.create(collection("Lieutenant", namespace), lieutenant(name)))


def held(obj: dict[str, Any], *finalizers: str) -> Json:
    return {
        "metadata": {"uid": obj["metadata"]["uid"], "resourceVersion": obj["metadata"]["resourceVersion"], "finalizers": list(finalizers)}
    }


def meta(obj: Json) -> dict[str, Any]:
    return cast(dict[str, Any], obj["metadata"])


async def test_what_is_made_has_a_uid_a_version_a_generation_and_no_status(api: Api) -> None:
    client, namespace = api
    body = {**lieutenant(), "status": {"phase": "Ready"}}
    obj = await client.create(collection("Lieutenant", namespace), body)
    assert meta(obj)["generation"] == 1
    assert meta(obj)["uid"]
    assert meta(obj)["resourceVersion"]
    assert meta(obj)["namespace"] == namespace
    assert meta(obj)["creationTimestamp"].endswith("Z")
    assert "status" not in obj
    with pytest.raises(Conflict):
        await client.create(collection("Lieutenant", namespace), body)
    assert await client.get(path_of(Key("Lieutenant", namespace, "ada"))) == obj
    with pytest.raises(NotFound):
        await client.get(path_of(Key("Lieutenant", namespace, "bob")))


async def test_a_status_is_replaced_by_itself(api: Api) -> None:
    """Spec, labels and generation stay; the version that was read must be the one there is; the same again is no change."""
    client, _ = api
    path, obj = await made(api)
    body = {**obj, "spec": {"role": "another"}, "metadata": {**obj["metadata"], "labels": {"a": "b"}}, "status": {"phase": "Pending"}}
    told = await client.replace(f"{path}/status", cast(Json, body))
    assert told["status"] == {"phase": "Pending"}
    assert told["spec"] == obj["spec"]
    assert "labels" not in meta(told)
    assert meta(told)["generation"] == 1
    assert meta(told)["resourceVersion"] != obj["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await client.replace(f"{path}/status", cast(Json, {**obj, "status": {"phase": "Running"}}))
    same = await client.replace(f"{path}/status", {**told, "status": {"phase": "Pending"}})
    assert meta(same)["resourceVersion"] == meta(told)["resourceVersion"]
    with pytest.raises(NotFound):
        await client.replace(f"{path[:-3]}bob/status", cast(Json, {**obj, "metadata": {**obj["metadata"], "name": "bob"}}))


async def test_a_change_of_spec_raises_the_generation_and_keeps_the_status(api: Api) -> None:
    client, _ = api
    path, obj = await made(api)
    told = await client.replace(f"{path}/status", cast(Json, {**obj, "status": {"phase": "Pending"}}))
    changed = await client.merge(path, {"spec": {"role": "Mend it"}, "status": {"phase": "nonsense"}})
    assert meta(changed)["generation"] == 2
    assert changed["status"] == {"phase": "Pending"}
    assert cast(dict[str, Any], changed["spec"])["profileRef"] == {"name": "lightweight"}
    labelled = await client.merge(path, {"metadata": {"labels": {"a": "b"}}})
    assert meta(labelled)["generation"] == 2
    with pytest.raises(Conflict):
        await client.merge(path, {"metadata": {"resourceVersion": meta(told)["resourceVersion"], "labels": {"a": "c"}}})


async def test_a_finalizer_holds_an_object_until_it_is_taken_away(api: Api) -> None:
    client, _ = api
    path, obj = await made(api)
    mine = dict(await client.merge(path, held(obj, FINALIZER)))
    assert mine["metadata"]["finalizers"] == [FINALIZER]
    assert mine["metadata"]["generation"] == 1
    with pytest.raises(Conflict):
        await client.merge(path, held(obj))  # the version is an older one
    with pytest.raises(Conflict):
        await client.delete(path, "00000000-0000-4000-8000-000000000000")
    await client.delete(path, mine["metadata"]["uid"])
    going = dict(await client.get(path))
    assert meta(going)["deletionTimestamp"].endswith("Z")
    assert meta(going)["generation"] == 2
    await client.delete(path, mine["metadata"]["uid"])
    assert await client.get(path) == going, "asked again, nothing changes"
    with pytest.raises(Rejected):
        await client.merge(path, held(going, FINALIZER, "example.com/another"))
    told = await client.replace(f"{path}/status", cast(Json, {**going, "status": {"phase": "Deleting"}}))
    await client.merge(path, held(dict(told)))
    with pytest.raises(NotFound):
        await client.get(path)
    with pytest.raises(NotFound):
        await client.delete(path, mine["metadata"]["uid"])


async def test_an_object_of_another_uid_is_another_object(api: Api) -> None:
    client, _ = api
    path, old = await made(api)
    await client.delete(path, old["metadata"]["uid"])
    _, new = await made(api)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    for act in (
        client.replace(f"{path}/status", cast(Json, {**old, "status": {"phase": "Ready"}})),
        client.merge(path, held(old, FINALIZER)),
        client.delete(path, old["metadata"]["uid"]),
    ):
        with pytest.raises(Conflict):
            await act


async def test_a_collection_is_listed_and_watched_from_there(api: Api) -> None:
    """Every change after the list, in order, and nothing before it."""
    client, namespace = api
    path, ada = await made(api)
    listed = await client.get(collection("Lieutenant", namespace))
    assert [meta(one)["name"] for one in await client.items(collection("Lieutenant", namespace))] == ["ada"]
    await client.replace(f"{path}/status", cast(Json, {**ada, "status": {"phase": "Pending"}}))
    await made(api, "bob")
    await client.delete(path, ada["metadata"]["uid"])
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(30):
        async for kind, obj in client.watch(collection("Lieutenant", namespace), meta(listed)["resourceVersion"]):
            seen.append((kind, meta(obj)["name"]))
            if len(seen) == 3:
                break
    assert seen == [("MODIFIED", "ada"), ("ADDED", "bob"), ("DELETED", "ada")]
    assert await client.items(collection("Task", namespace)) == []


async def test_one_object_of_a_collection_can_be_asked_for_by_name(api: Api) -> None:
    client, namespace = api
    path = f"/api/v1/namespaces/{namespace}/secrets"
    for name in ("one", "two"):
        await client.create(path, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"a": "Yg=="}})
    listed = await client.get(path, fieldSelector="metadata.name=two")
    items = cast(list[Json], listed["items"])
    assert [meta(one)["name"] for one in items] == ["two"]
    assert "generation" not in meta(items[0])


async def test_a_lease_is_replaced_with_the_version_that_was_read(api: Api) -> None:
    client, namespace = api
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec: Json = {"holderIdentity": "one", "leaseDurationSeconds": 15}
    first = await client.create(path, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": spec})
    second = await client.replace(f"{path}/l", {**first, "spec": {**spec, "holderIdentity": "two"}})
    assert second["spec"] == {**spec, "holderIdentity": "two"}
    with pytest.raises(Conflict):
        await client.replace(f"{path}/l", {**first, "spec": spec})


async def test_a_change_in_the_moment_in_which_a_watch_has_told_of_everything_is_told_of() -> None:
    client, namespace = Double(ApiServer(time.time)), "team"
    changed = asyncio.Event()

    async def change() -> None:
        path, obj = await made((cast(Cluster, client), namespace))
        await changed.wait()
        client.server.put(Where.of(path), obj, "MODIFIED")

    changing = asyncio.create_task(change())
    seen: list[str] = []
    async with asyncio.timeout(30):
        async for kind, _ in client.watch(collection("Lieutenant", namespace), "0"):
            seen.append(kind)
            changed.set()
            if len(seen) == 2:
                break
    await changing
    assert seen == ["ADDED", "MODIFIED"]


def test_what_was_carried_out_or_refused_may_be_answered_later() -> None:
    """Everybody else sees it at once."""

    async def asked() -> None:
        told, server = asyncio.get_running_loop().time, ApiServer(time.time)
        client, person = Double(server, lateness=lambda: 1.0), Double(server)
        creating = asyncio.create_task(made((cast(Cluster, client), "team")))
        await asyncio.sleep(0.5)
        assert len(await person.items(collection("Lieutenant", "team"))) == 1
        assert not creating.done()
        await creating
        begun = told()
        with pytest.raises(NotFound):
            await client.get(path_of(Key("Lieutenant", "team", "bob")))
        assert told() - begun == pytest.approx(1.0, abs=0.01)

    virtual(asked)
    draws = late("a seed", 2.0)
    seconds = [draws() for _ in range(1000)]
    assert 400 < seconds.count(0.0) < 600
    assert 1.9 < max(seconds) <= 2.0
