"""One agent, three pieces of work that build on each other, a change of mind half-way, a night's sleep, and an intact memory."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from dataclasses import dataclass, field

from reconciler.agent.scripted_model import MODEL
from reconciler.cli.demo.stage import Stage
from reconciler.cli.documents import condition, is_true, text_at
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.core.records import FINISHED
from reconciler.errors import GuestFailed
from reconciler.log import one_line

API = Key("Lieutenant", "default", "api")
PROFILE = Key("BootProfile", "default", "scripted")
FIRST, SECOND, THIRD = (Key("Task", "default", name) for name in ("api-1-skeleton", "api-2-users", "api-3-tests"))
STEER, QUESTION = Key("Task", "default", "api-2-steer"), Key("Task", "default", "api-4-memory")

FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {{name: scripted}}
spec:
  extends: {{name: lightweight}}
  agent:
    model: {{provider: scripted, id: {model}}}
    providers:
    - {{name: scripted, baseUrl: "{url}", api: openai-completions}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {{name: api, labels: {{team: web}}}}
spec:
  role: Build and maintain the Node.js API server
  profileRef: {{name: scripted}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: api-1-skeleton}}
spec:
  lieutenantRef: {{name: api}}
  prompt: Create server.js, an HTTP server with GET /health on port 8080.
  acceptance:
  - file: {{path: server.js, minBytes: 100}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: api-2-users}}
spec:
  lieutenantRef: {{name: api}}
  after: [{{name: api-1-skeleton}}]
  prompt: Add GET /users that returns a list from users.json.
  acceptance:
  - file: {{path: users.json, minBytes: 2}}
  - command: {{run: [grep, -q, "8081", server.js]}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: api-3-tests}}
spec:
  lieutenantRef: {{name: api}}
  after: [{{name: api-2-users}}]
  prompt: Write tests for both routes and run them.
  acceptance:
  - command: {{run: [node, --test, server.test.js], timeoutSeconds: 60}}
"""

CHANGE_OF_MIND = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: api-2-steer}
spec:
  lieutenantRef: {name: api}
  delivery: Steer
  target: {name: api-2-users}
  prompt: Use port 8081 instead.
"""

MEMORY = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: api-4-memory}
spec:
  lieutenantRef: {name: api}
  prompt: How many messages did you have from me before this one, and what did the first and the last of them say?
"""

SERVER = """const http = require("node:http");
const fs = require("node:fs");
const path = require("node:path");

const json = (res, body) => {
  res.writeHead(200, { "content-type": "application/json" });
  res.end(JSON.stringify(body));
};

const server = http.createServer((req, res) => {
  if (req.method === "GET" && req.url === "/health") return json(res, { status: "ok" });
  res.writeHead(404).end();
});

if (require.main === module) server.listen(Number(process.env.PORT || 8080));
module.exports = server;
"""

USERS = '[\n  {"id": 1, "name": "Ada"},\n  {"id": 2, "name": "Grace"}\n]\n'

TESTS = """const test = require("node:test");
const assert = require("node:assert");
const server = require("./server.js");

const get = async (route) => (await fetch(`http://127.0.0.1:${server.address().port}${route}`)).json();

test.before(() => new Promise((ready) => server.listen(0, "127.0.0.1", ready)));
test.after(() => server.close());

test("health", async () => assert.deepStrictEqual(await get("/health"), { status: "ok" }));
test("users", async () => assert.strictEqual((await get("/users")).length, 2));
"""

_HEALTH = '  if (req.method === "GET" && req.url === "/health") return json(res, { status: "ok" });\n'
_ROUTE = (
    '  if (req.method === "GET" && req.url === "/users") return json(res, JSON.parse(fs.readFileSync(path.join(__dirname,'
    ' "users.json"), "utf8")));\n'
)


def rules() -> list[tuple[str, list[Json]]]:
    """What the model does when it is told what: it works through pi's own tools."""
    edits: list[JsonValue] = [
        {"oldText": _HEALTH, "newText": _HEALTH + _ROUTE},
        {"oldText": "process.env.PORT || 8080", "newText": "process.env.PORT || 8081"},
    ]
    return [
        (
            "Create server.js",
            [
                {"tool": "write", "args": {"path": "server.js", "content": SERVER}},
                {"tool": "bash", "args": {"command": "node --check server.js && wc -c server.js"}},
                {"say": "server.js is there: GET /health answers, on port 8080."},
            ],
        ),
        (
            "Use port 8081",
            [
                {"tool": "edit", "args": {"path": "server.js", "edits": edits}},
                {"tool": "bash", "args": {"command": "node --check server.js && grep -n 8081 server.js"}},
                {"say": "GET /users answers from users.json, and the server listens on port 8081 now, as you asked half-way."},
            ],
        ),
        (
            # Goes on looking at its work until it is told what to change: the steer always finds it in the middle.
            "Add GET /users",
            [
                {"tool": "write", "args": {"path": "users.json", "content": USERS}},
                {"tool": "bash", "args": {"command": "sleep 0.3; grep -n PORT server.js"}},
            ],
        ),
        (
            "Write tests",
            [
                {"tool": "write", "args": {"path": "server.test.js", "content": TESTS}},
                {"tool": "bash", "args": {"command": "node --test server.test.js 2>&1 | tail -n 8"}},
                {"say": "server.test.js tests both routes; all of them pass."},
            ],
        ),
        ("How many messages", [{"recall": True, "say": "{count}. The first was: {first} The last was: {last}"}]),
    ]


@dataclass(slots=True)
class Story:
    """What came of it, for the summary."""

    chapters: list[Json] = field(default_factory=list)
    tasks: list[Json] = field(default_factory=list)
    files: list[tuple[str, int]] = field(default_factory=list)
    created: int = 0
    left: int = 0
    seconds: float = 0.0


async def play(stage: Stage, keep: bool, story: Story) -> None:
    """The whole story; fills `story` as it goes. Raises `TimedOut` or `GuestFailed` when it does not go as it should."""
    begun = time.monotonic()

    async def chapter(title: str, told: str, act: Coroutine[None, None, None]) -> None:
        stage.telling.chapter(told)
        started = time.monotonic()
        await act
        story.chapters.append({"title": title, "seconds": round(time.monotonic() - started, 2)})
        story.seconds = round(time.monotonic() - begun, 2)

    await chapter("declared", "A lieutenant is declared, with three tasks that build on each other", _work(stage))
    await chapter("suspended", "It sleeps: the machine is suspended, everything in it kept", _sleep(stage))
    await chapter("resumed", "It wakes: same process, same conversation", _wake(stage))
    story.files = await stage.files(API)
    story.tasks = [_told(stage, key) for key in (FIRST, SECOND, STEER, THIRD, QUESTION)]
    _show(stage, story)
    if not keep:
        await chapter("deleted", "Everything is deleted", _leave(stage))
    story.created = len(stage.simulator.world.vms)
    story.left = len(stage.machines())


async def _work(stage: Stage) -> None:
    await stage.apply(FLEET.format(url=stage.model.url, model=MODEL))
    await stage.until("the first task", lambda: _phase(stage, FIRST) in FINISHED, 90.0)
    await stage.until("the second task", lambda: _phase(stage, SECOND) == "Running" or _phase(stage, SECOND) in FINISHED)
    stage.telling.line("   half-way we change our mind: use port 8081 instead")
    await stage.apply(CHANGE_OF_MIND)
    for key in (STEER, SECOND, THIRD):
        await stage.until(key.name, lambda key=key: _phase(stage, key) in FINISHED)  # type: ignore[misc]
    await stage.until("the lieutenant's rest", lambda: _is(stage, "Ready"))
    for key in (FIRST, STEER, SECOND, THIRD):
        _must_succeed(stage, key)


async def _sleep(stage: Stage) -> None:
    await stage.set(API, "mode", "Suspended")
    await stage.until("suspension", lambda: _is(stage, "Suspended") and _is(stage, "Ready"))
    if not all(vm.suspended for vm in stage.simulator.world.present.values()):
        raise GuestFailed("the platform still runs the machine", str(API))


async def _wake(stage: Stage) -> None:
    before = _pid(stage)
    await stage.set(API, "mode", "Running")
    await stage.until("resumption", lambda: _is(stage, "Available"))
    if _pid(stage) != before:
        raise GuestFailed(f"pi was started anew: pid {before} became {_pid(stage)}", str(API))
    await stage.apply(MEMORY)
    await stage.until("the answer", lambda: _phase(stage, QUESTION) in FINISHED)
    _must_succeed(stage, QUESTION)
    answer = _answer(stage, QUESTION)
    if not (answer.startswith("4.") and "Create server.js" in answer and "Write tests" in answer):
        raise GuestFailed(f"its memory is not whole: {answer}", str(API))


async def _leave(stage: Stage) -> None:
    for key in (QUESTION, THIRD, STEER, SECOND, FIRST, API, PROFILE):
        await stage.delete(key)
    await stage.until("deletion", lambda: not stage.controller.engine.table.all_keys() and not stage.machines())
    stage.telling.line("   the platform's own books say: 0 VMs")


def _phase(stage: Stage, key: Key) -> str:
    obj = stage.object(key)
    return text_at(obj.status, ".phase") if obj else ""


def _is(stage: Stage, kind: str) -> bool:
    """A condition of the lieutenant, told of its newest declaration."""
    obj = stage.object(API)
    return obj is not None and obj.status.get("observedGeneration") == obj.generation and is_true(obj.status, kind)


def _pid(stage: Stage) -> str:
    obj = stage.object(API)
    return text_at(obj.status, ".agent.pid") if obj else ""


def _answer(stage: Stage, key: Key) -> str:
    obj = stage.object(key)
    return text_at(obj.status, ".result.answer") if obj else ""


def _must_succeed(stage: Stage, key: Key) -> None:
    obj = stage.object(key)
    ready = condition(obj.status, "Ready") if obj else {}
    if _phase(stage, key) != "Succeeded":
        raise GuestFailed(f"task {key.name} ended as {_phase(stage, key)}: {ready.get('reason')}: {ready.get('message')}", str(key))


def _told(stage: Stage, key: Key) -> Json:
    return {"name": key.name, "phase": _phase(stage, key), "answer": _answer(stage, key)}


def _show(stage: Stage, story: Story) -> None:
    stage.telling.chapter("What came of it")
    for task in story.tasks:
        stage.telling.line(f"   {task['name']}  {task['phase']}  {one_line(str(task['answer']))}".rstrip())
    for name, size in story.files:
        stage.telling.line(f"   {name}  {size} bytes")
