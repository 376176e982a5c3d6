"""An operator tells too: its sinks get their keys from the cluster, and a lost store costs no news."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from reconciler.notify.settings import read_sinks
from tests.kube.controlplane import Namespace
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_operator import LIEUTENANT, task
from tests.notify.receiver import web
from tests.notify.test_ways import KEY

pytestmark = [pytest.mark.real("kube"), pytest.mark.slow]


async def test_an_operator_tells_and_another_one_with_an_empty_store_tells_again_with_the_same_ids(
    cluster: Namespace, tmp_path: Path, world: RealTime
) -> None:
    person = Person(cluster)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hook"},
        "data": {"key": base64.b64encode(KEY.encode()).decode()},
    }
    with web() as receiver:
        table = {"name": "ops", "url": receiver.url, "key-from": {"secret": f"{cluster.name}/hook/key"}, "hold-seconds": 0}
        sinks = read_sinks([table], "c.toml")
        async with charge(cluster, tmp_path / "one", world, notify=sinks):
            await person.apply(LIEUTENANT)
            await person.wait("lt/ada", "Ready")  # a task that is seen before its lieutenant is news for a sink that holds nothing back
            await person.apply(task("good"))
            await person.wait("ltask/good", "Ready")
            assert receiver.got == [], "without its key nothing is sent"
            await person.apply(json.dumps(secret))
            await person.apply(task("lost", to="nobody"))
            await until(lambda: len(receiver.got) >= 2, "it tells")
            assert sorted(receiver.types()) == ["attention.needed", "task.finished"], [one.event for one in receiver.got]
        assert all("webhook-signature" in one.headers for one in receiver.got)
        first = {one.event["id"] for one in receiver.got}
        receiver.got.clear()
        async with charge(cluster, tmp_path / "two", world, "two", notify=sinks):
            await until(lambda: {one.event["id"] for one in receiver.got} == first, "what it may not have told")
