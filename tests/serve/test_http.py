"""Probes and metrics over a real socket, of a real engine over a small world."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2 as httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler.app import answers_of
from reconciler.config import Config
from reconciler.core.keys import Key
from reconciler.engine.loop import Engine
from reconciler.engine.settings import EngineSettings
from reconciler.errors import Terminal, UsageError
from reconciler.serve.credentials import TOKEN_VARIABLE, token_of
from reconciler.serve.http import Listening, served
from reconciler.serve.metrics import Front as FrontNumbers
from reconciler.serve.metrics import Sources
from reconciler.serve.server import Address, is_loopback, read_address
from tests.faults.harness import Controller, Life
from tests.faults.play import declared
from tests.world import World

TOKEN = "a-token-of-some-length"
KEY = "a-key-of-a-provider"
LT = Key("Lieutenant", "default", "secretive-name")


@dataclass
class Front:
    engine: Engine
    http: httpx.AsyncClient
    world: World

    async def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Sample name → label values → value, as Prometheus itself reads them."""
        answer = await self.http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
        return found


def sources_of(engine: Engine | None, leading: bool = True) -> Sources:
    return Sources(lambda: engine, lambda: answers_of(engine), lambda: leading)


def client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # the engine has no event for every question
            await asyncio.sleep(0.02)


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    world = World(work_seconds=0.1)
    world.boot_seconds = 0.0
    settings = EngineSettings(installation="installation-1", settle_seconds=1.0, resync_seconds=0.5, workers=2)
    controller = Controller(world, tmp_path / "state.db", Life(), settings)
    engine = await controller.up()
    config = Config(state=tmp_path, environ={TOKEN_VARIABLE: TOKEN})
    try:
        async with served(sources_of(engine), config, Listening(Address("127.0.0.1", 0))) as server, client(server.port) as http:
            yield Front(engine, http, world)
    finally:
        await controller.down()


async def test_probes_answer_a_word_without_a_credential(front: Front) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await front.http.get(path)
        assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_a_dead_worker_is_not_healthy(front: Front) -> None:
    front.engine._tasks[0].cancel()
    await asyncio.wait([front.engine._tasks[0]])
    assert (await front.http.get("/healthz")).status_code == 503


@pytest.mark.parametrize(("watching", "code"), [(True, 200), (False, 503)])
async def test_an_operator_whose_watch_is_lost_is_not_healthy(tmp_path: Path, watching: bool, code: int) -> None:
    sources = replace(sources_of(None), front=lambda: FrontNumbers(0, 0, 9, {}, {}, watching))
    config = Config(state=tmp_path, environ={TOKEN_VARIABLE: TOKEN})
    async with served(sources, config, Listening(Address("127.0.0.1", 0))) as server, client(server.port) as http:
        assert [(await http.get(path)).status_code for path in ("/healthz", "/readyz")] == [code, code]


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize("header", [None, "", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer é"])
async def test_metrics_need_the_token(front: Front, header: str | None) -> None:
    answer = await front.http.get("/metrics", headers=[(b"authorization", header.encode())] if header is not None else {})
    assert answer.status_code == 401
    assert "reconciler_" not in answer.text
    assert TOKEN not in answer.text


@pytest.mark.guarantee("G-60")
async def test_metrics_tell_what_is_there_and_name_nobody(front: Front) -> None:
    await front.engine.declarations.apply(declared(LT, role="Keep the API", profileRef={"name": "lightweight"}))
    await until(front.engine.converged)
    told = await front.metrics()
    assert told["reconciler_objects"] == {("Lieutenant", "Idle"): 1.0}
    assert told["reconciler_vms"] == {("running",): 1.0}
    assert told["reconciler_leading"] == {(): 1.0}
    assert told["reconciler_platform_up"] == {(): 1.0}
    assert told["reconciler_breaker_open"] == {(): 0.0}
    assert told["reconciler_effect_seconds_count"][("vers.create_vm", "ok")] == 1.0
    assert told["reconciler_reconcile_seconds_count"][("Lieutenant", "ok")] >= 1.0
    text = str(told)
    assert LT.name not in text
    assert next(iter(front.world.machines)) not in text


@pytest.mark.guarantee("G-60")
async def test_metrics_tell_which_provider_takes_no_prompts_and_no_more(front: Front) -> None:
    provider = {"name": "acme", "baseUrl": "https://models.example.com/v1", "api": "openai-completions"}
    agent = {"model": {"provider": "acme", "id": "m"}, "providers": [provider]}
    own = Key("BootProfile", "default", "own")
    await front.engine.declarations.apply(declared(own, source={"image": "default"}, agent=agent, env=[{"name": "ACME_KEY", "value": KEY}]))
    await front.engine.declarations.apply(declared(LT, role="Keep the API", profileRef={"name": "own"}))
    await until(front.engine.converged)
    assert (await front.metrics())["reconciler_provider_breakers_open"] == {("acme",): 0.0}
    front.world.answer = lambda prompt: ("", f"error: 429: the key {KEY} is at its limit")
    await front.engine.declarations.apply(declared(Key("Task", "default", "one"), lieutenantRef={"name": LT.name}, prompt="do it"))
    await until(lambda: bool(front.engine.gatherer.providers.breakers))
    told = await front.metrics()
    assert told["reconciler_provider_breakers_open"] == {("acme",): 1.0}
    assert KEY not in str(told)


@pytest.mark.guarantee("G-37")
async def test_metrics_tell_what_waits_for_a_person_and_how_long(front: Front) -> None:
    await front.engine.declarations.apply(declared(LT, role="Keep the API", profileRef={"name": "nowhere"}))
    await until(lambda: front.engine.converged())
    told = await front.metrics()
    assert told["reconciler_attention"] == {("ProfileNotFound", "Block"): 1.0}
    assert told["reconciler_attention_oldest_seconds"][("ProfileNotFound", "Block")] >= 0.0
    trouble = {"reason": "RepositoryUnreachable", "message": "no route", "since": ""}
    front.engine.table.prunes.note("git/1", json.dumps({"url": "https://forge/fleet.git", "trouble": trouble}))
    assert (await front.metrics())["reconciler_attention"] == {("ProfileNotFound", "Block"): 1.0, ("RepositoryUnreachable", "Block"): 1.0}
    front.engine.table.prunes.note("git/1", json.dumps({"url": "https://forge/fleet.git"}))
    await front.engine.declarations.delete(LT)
    await until(lambda: front.engine.table.get(LT) is None)
    assert "reconciler_attention" not in await front.metrics()


async def test_metrics_tell_of_trouble(front: Front) -> None:
    front.world.fail_lists = Terminal("no list today")
    await until(lambda: bool(front.engine.platform_message))
    told = await front.metrics()
    assert told["reconciler_platform_up"] == {(): 0.0}
    assert told["reconciler_effect_seconds_count"][("vers.list_vms", "Terminal")] >= 1.0


async def test_an_address_that_is_taken(front: Front, tmp_path: Path) -> None:
    port = front.http.base_url.port
    with pytest.raises(Terminal, match="can't listen"):
        async with served(sources_of(front.engine), Config(state=tmp_path, environ={}), Listening(Address("127.0.0.1", port or 0))):
            pass


@pytest.mark.guarantee("G-64")
def test_loopback_unless_said_otherwise() -> None:
    assert read_address(":9090") == Address("127.0.0.1", 9090) == read_address("9090")
    assert is_loopback(read_address("[::1]:9090"))
    assert not is_loopback(read_address("0.0.0.0:9090"))
    assert not is_loopback(Address("example.org", 1))
    for wrong in ("", "host:", "host:port", "127.0.0.1:70000"):
        with pytest.raises(UsageError, match="--listen"):
            read_address(wrong)


@pytest.mark.guarantee("G-64")
def test_the_token_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    made = token_of(tmp_path / "state", {})
    path = tmp_path / "state" / "http-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(made) >= 32
    assert token_of(tmp_path / "state", {}) == made
    assert token_of(tmp_path / "state", {TOKEN_VARIABLE: TOKEN}) == TOKEN
    with pytest.raises(UsageError, match="shorter"):
        token_of(tmp_path, {TOKEN_VARIABLE: "short"})
