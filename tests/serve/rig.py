"""A fleet that was stored, served over HTTP: nothing moves in it but what a test moves. Also for benchmarks and pictures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import httpx2 as httpx

from reconciler.config import Config
from reconciler.core.forecast import Foreseen
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.core.spending.ledger import BUCKET, Entry, Page, day_of, dump, name_of
from reconciler.core.spending.prices import Tokens
from reconciler.core.times import timestamp
from reconciler.engine.clock import LoopClock
from reconciler.engine.loop import Engine
from reconciler.engine.parts import EngineParts
from reconciler.engine.ports import AddEvent, AppendSession, Event, PutMeta, PutObject, StoredObject, Write
from reconciler.engine.settings import EngineSettings
from reconciler.serve.commands import Commands
from reconciler.serve.credentials import TOKEN_VARIABLE
from reconciler.serve.hiding import Hiding
from reconciler.serve.http import Listening, served
from reconciler.serve.metrics import Sources
from reconciler.serve.refused import RefusedCommands
from reconciler.serve.server import Address
from reconciler.serve.surface import Surface, surface_of
from reconciler.store.sqlstore import open_store
from reconciler.views.forecast import Forecast, forecast_of
from tests.faults.harness import NoSecrets
from tests.world import KEEPER, FakeAgents, FakeVers, World

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NOW = 1_795_249_000.0
VM = "5f0c2c0e-6a0e-4d7b-9a53-{:012d}"


def conditions(ready: str, reason: str, message: str = "", stalled: bool = False, at: float = NOW) -> list[JsonValue]:
    ready_: Json = {"type": "Ready", "status": ready, "reason": reason, "message": message, "lastTransitionTime": timestamp(at)}
    return [ready_, {**ready_, "type": "Stalled", "status": "True"}] if stalled else [ready_]


def lieutenant(number: int, phase: str, reason: str = "Steady", message: str = "", name: str = "", **status: object) -> StoredObject:
    """One lieutenant in a phase, with what else its status says."""
    ready = "True" if phase in ("Idle", "Suspended", "Working") else "False"
    told: Json = {
        "phase": phase,
        "mode": "Suspended" if phase == "Suspended" else "Running",
        "conditions": conditions(ready, reason, message, phase == "Stalled", NOW - number),
        "observedGeneration": 1,
        "queue": {"pending": number % 3, "active": f"{name or f'lt-{number:04d}'}-now" if phase == "Working" else ""},
        "vm": {"id": VM.format(number), "state": "suspended" if phase == "Suspended" else "running", "epoch": 1},
        "agent": {"keeperVersion": KEEPER, "process": "Up", "pid": 4000 + number, "model": "anthropic/claude-sonnet-5"},
    }
    spec: Json = {"role": "Keep the API", "profileRef": {"name": "lightweight"}}
    record: Json = {"session": {"name": f"s-{number}"}}
    key = Key("Lieutenant", "default", name or f"lt-{number:04d}")
    labels = {"team": "api" if number % 2 else "web"}
    return StoredObject(key, f"uid-{number}", 1, 1, NOW - 9000 - number, spec, labels, status={**told, **status}, record=record)  # type: ignore[dict-item]


def task(number: int, of: str, phase: str, name: str = "", prompt: str = "Build it", **result: object) -> StoredObject:
    done = phase in ("Succeeded", "Failed")
    status: Json = {"phase": phase, "conditions": conditions("True" if phase == "Succeeded" else "False", phase), "observedGeneration": 1}
    if done:
        usage: Json = {"inputTokens": 1200 + number, "outputTokens": 340, "cost": "0.0125"}
        told: Json = {"stopReason": "stop", "answer": "It is built.", "usage": usage, "files": ["server.js", "test/api.js"], "turns": 3}
        status |= {"finishedAt": timestamp(NOW - 60 + number % 60), "result": {**told, **result}}  # type: ignore[dict-item]
    spec: Json = {"lieutenantRef": {"name": of}, "prompt": prompt}
    return StoredObject(Key("Task", "default", name or f"{of}-{number}"), f"task-{number}", 1, 1, NOW - 900 + number, spec, status=status)


def said(role: str, text: str, **more: object) -> bytes:
    """One line of a session file."""
    content: list[object] = [{"type": "text", "text": text}] if text else []
    content += [{"type": "toolCall", **call} for call in more.pop("calls", [])]  # type: ignore[attr-defined]
    message = {"role": role, "content": content, **more}
    return (
        json.dumps({"type": "message", "id": f"e-{len(text)}", "timestamp": "2026-11-21T08:17:38.500Z", "message": message}).encode()
        + b"\n"
    )


TALK = (
    said("user", "Create server.js with GET /health.")
    + said("assistant", "I write it.", calls=[{"id": "c1", "name": "write", "arguments": {"path": "server.js"}}])
    + said("toolResult", "Wrote 214 bytes to server.js", toolCallId="c1")
    + said("assistant", "", calls=[{"id": "c2", "name": "bash", "arguments": {"command": "node --test"}}])
    + said("toolResult", "1 failing: expected 200, got 404", toolCallId="c2", isError=True)
    + said("assistant", "server.js answers GET /health with 200 now, and the tests pass.", stopReason="stop")
)


def small_fleet() -> list[StoredObject]:
    """One of each standing, a tree, and tasks."""
    tree_status: Json = {
        "phase": "Running",
        "conditions": conditions("True", "Steady"),
        "observedGeneration": 1,
        "counts": {"nodes": 2, "ready": 2, "reconciling": 0, "stalled": 0},
        "nodes": [
            {"name": "lead", "category": "Lieutenant", "phase": "Idle", "reason": "Steady", "ready": True, "lieutenant": "prod-lead"},
            {"name": "db", "category": "Infra", "phase": "Running", "reason": "Steady", "ready": True, "vmId": VM.format(77)},
        ],
    }
    nodes: Json = {"name": "lead", "category": "Lieutenant", "profileRef": {"name": "infra"}, "lieutenant": {"role": "Lead"}}
    below: Json = {"name": "db", "category": "Infra", "parent": "lead", "profileRef": {"name": "infra"}}
    tree = StoredObject(Key("VMTree", "default", "prod"), "uid-tree", 1, 1, NOW - 9000, {"nodes": [nodes, below]}, status=tree_status)
    lead = replace(
        lieutenant(9, "Idle", name="prod-lead"), labels={"fleet.vers.sh/tree": "prod", "fleet.vers.sh/node": "lead"}, source="tree/prod"
    )
    return [
        tree,
        lead,
        lieutenant(1, "Stalled", "SessionDiverged", "the two ends of the conversation differ: choose one", name="api"),
        lieutenant(2, "Working", "Steady", "it works on web-now", name="web"),
        lieutenant(3, "Idle", name="docs"),
        lieutenant(4, "Suspended", "Suspended", name="sleeper"),
        lieutenant(5, "Idle", name="unlucky"),
        task(1, "web", "Running", name="web-now", prompt="Draw the page"),
        task(2, "docs", "Succeeded", name="docs-1"),
        task(3, "unlucky", "Failed", name="unlucky-1"),
    ]


def spent(number: int, agent: str, tree: str = "") -> tuple[Key, Page]:
    """What an agent spent today, in two answers."""
    model, tokens = "anthropic/claude-sonnet-5", Tokens(input=1200 + number, output=340)
    entry = Entry(NOW // BUCKET * BUCKET, model, f"{agent}-1", Decimal("0.0125"), tokens, answers=2)
    return Key("Lieutenant", "default", agent), Page(day_of(NOW), tree, (entry,))


BOOKS = (spent(2, "docs"), spent(3, "unlucky"), spent(4, "prod-lead", "default/prod"))


def large_fleet(count: int) -> list[StoredObject]:
    """So many lieutenants, in every standing."""
    phases = ("Idle", "Working", "Suspended", "Stalled", "Idle")
    return [lieutenant(number, phases[number % 5], message="m" * 120) for number in range(count)]


class Values(NoSecrets):
    """Secrets that were handed out."""

    def __init__(self, *values: str) -> None:
        self._values = values

    def known(self) -> tuple[str, ...]:
        return self._values


@dataclass
class Served:
    """`http` has no credential of its own; `own`: whether the kernel says that it is this user."""

    engine: Engine
    surface: Surface
    http: httpx.AsyncClient
    port: int
    foreseen: int = 0

    async def status(self, key: Key, **told: object) -> None:
        """An object's status changes, as when the loop reports it."""
        await self.engine.table.update([(key, lambda obj: replace(obj, status={**obj.status, **told}))])  # type: ignore[dict-item]

    async def say(self, session: str, data: bytes) -> None:
        """A conversation goes on."""
        size = len(await self.engine.store.session(session, 0, 1 << 40))
        await self.engine.store.write([AppendSession(session, size, data)])


@asynccontextmanager
async def fleet_served(
    path: Path,
    objects: Iterable[StoredObject],
    events: Sequence[Event] = (),
    talks: Iterable[tuple[str, bytes]] = (),
    secrets: Sequence[str] = (),
    cluster: bool = False,
    stands_by: bool = False,
    listening: Listening | None = None,
    own: Callable[..., bool] = lambda client, server: True,
    foresees: Forecast | None = None,
) -> AsyncIterator[Served]:
    """`cluster`: declarations live elsewhere; `stands_by`: an operator that is not in charge; `own`: whose the connections
    are; `foresees`: the plan, nothing to do where it is None."""
    async with AsyncExitStack() as stack:
        store = open_store(path / "state.db")
        stack.push_async_callback(store.aclose)
        writes: list[Write] = [PutObject(obj, 0) for obj in objects]
        writes += [AddEvent(event) for event in events]
        writes += [PutMeta(name_of(key, page.day), dump(page)) for key, page in BOOKS]
        for name, data in talks:
            writes += [AppendSession(name, at, data[at : at + (1 << 22)]) for at in range(0, len(data), 1 << 22)]
        await store.write(writes)
        settings = EngineSettings(installation="installation-1")
        values = Values(*secrets)
        engine = await Engine.open(EngineParts(settings, FakeVers(World()), FakeAgents(World()), KEEPER, store, values, LoopClock(NOW)))
        stack.push_async_callback(engine.stop)
        refused = RefusedCommands(engine.table, engine.clock, engine.settings.audit_keep)
        commands = Commands(engine.declarations, lambda obj: False, engine.orphans.ask, engine.memory_desk.edit, refused.note)
        served_: Served

        async def foresee() -> Forecast:
            served_.foreseen += 1
            return foresees or forecast_of(Foreseen((), {}), "hash", ())

        handle = None if cluster else commands.handle
        surface = stack.enter_context(surface_of(engine, store, Hiding(values.known), handle, foresee, 20, commands.handle))
        config = Config(state=path, environ={TOKEN_VARIABLE: TOKEN})
        sources = Sources(lambda: engine, dict, lambda: True)
        where = listening or Listening(Address("127.0.0.1", 0))
        server = await stack.enter_async_context(served(sources, config, where, surface=lambda: None if stands_by else surface, own=own))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=30))
        served_ = Served(engine, surface, http, server.port)
        yield served_
