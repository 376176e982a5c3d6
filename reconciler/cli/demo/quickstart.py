"""One agent, three pieces of work that build on each other, a change of mind half-way, a night's sleep, and an intact memory."""

from __future__ import annotations

from reconciler.cli.demo.stage import Stage
from reconciler.cli.demo.story import PROFILE, Story, answer, declare, holds, leave, must_succeed, phase, pid, succeeds
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.core.records import FINISHED
from reconciler.errors import GuestFailed

API = Key("Lieutenant", "default", "api")
FIRST, SECOND, THIRD = (Key("Task", "default", name) for name in ("api-1-skeleton", "api-2-users", "api-3-tests"))
STEER, QUESTION = Key("Task", "default", "api-2-steer"), Key("Task", "default", "api-4-memory")

FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api, labels: {team: web}}
spec:
  role: Build and maintain the Node.js API server
  profileRef: {name: scripted}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: api-1-skeleton}
spec:
  lieutenantRef: {name: api}
  prompt: Create server.js, an HTTP server with GET /health on port 8080.
  acceptance:
  - file: {path: server.js, minBytes: 100}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: api-2-users}
spec:
  lieutenantRef: {name: api}
  after: [{name: api-1-skeleton}]
  prompt: Add GET /users that returns a list from users.json.
  acceptance:
  - file: {path: users.json, minBytes: 2}
  - command: {run: [grep, -q, "8081", server.js]}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: api-3-tests}
spec:
  lieutenantRef: {name: api}
  after: [{name: api-2-users}]
  prompt: Write tests for both routes and run them.
  acceptance:
  - command: {run: [node, --test, server.test.js], timeoutSeconds: 60}
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


async def play(stage: Stage, keep: bool, story: Story) -> None:
    """The whole story; fills `story` as it goes. Raises `TimedOut` or `GuestFailed` when it does not go as it should."""
    await story.chapter(stage, "declared", "A lieutenant is declared, with three tasks that build on each other", _work(stage))
    await story.chapter(stage, "suspended", "It sleeps: the machine is suspended, everything in it kept", _sleep(stage))
    await story.chapter(stage, "resumed", "It wakes: same process, same conversation", _wake(stage))
    await story.show(stage, API, (FIRST, SECOND, STEER, THIRD, QUESTION))
    if not keep:
        await story.chapter(stage, "deleted", "Everything is deleted", leave(stage, QUESTION, THIRD, STEER, SECOND, FIRST, API, PROFILE))


async def _work(stage: Stage) -> None:
    await declare(stage, FLEET)
    await stage.until("the first task", lambda: phase(stage, FIRST) in FINISHED, 90.0)
    await stage.until("the second task", lambda: phase(stage, SECOND) == "Running" or phase(stage, SECOND) in FINISHED)
    stage.telling.line("   half-way we change our mind: use port 8081 instead")
    await stage.apply(CHANGE_OF_MIND)
    for key in (STEER, SECOND, THIRD):
        await stage.until(key.name, lambda key=key: phase(stage, key) in FINISHED)  # type: ignore[misc]
    await stage.until("the lieutenant's rest", lambda: holds(stage, API, "Ready"))
    for key in (FIRST, STEER, SECOND, THIRD):
        must_succeed(stage, key)


async def _sleep(stage: Stage) -> None:
    await stage.set(API, "mode", "Suspended")
    await stage.until("suspension", lambda: holds(stage, API, "Suspended") and holds(stage, API, "Ready"))
    if not all(vm.suspended for vm in stage.simulator.world.present.values()):
        raise GuestFailed("the platform still runs the machine", str(API))


async def _wake(stage: Stage) -> None:
    before = pid(stage, API)
    await stage.set(API, "mode", "Running")
    await stage.until("resumption", lambda: holds(stage, API, "Available"))
    if pid(stage, API) != before:
        raise GuestFailed(f"pi was started anew: pid {before} became {pid(stage, API)}", str(API))
    await stage.apply(MEMORY)
    await succeeds(stage, QUESTION)
    told = answer(stage, QUESTION)
    if not (told.startswith("4.") and "Create server.js" in told and "Write tests" in told):
        raise GuestFailed(f"its memory is not whole: {told}", str(API))
