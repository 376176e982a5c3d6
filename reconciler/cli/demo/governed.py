"""An agent that is held to what is declared: it remembers what it wrote down though its machine and its conversation are gone, tries what
it may not, waits for a person's yes, and runs out of budget in the middle of a turn. Nothing of it depends on what its model was told."""

from __future__ import annotations

from reconciler.cli.demo.stage import Stage
from reconciler.cli.demo.story import PROFILE, Story, answer, declare, holds, leave, phase, pid, succeeds, vm_of
from reconciler.core.attention import attention_of
from reconciler.core.keys import Json, JsonValue, Key, as_maps, short
from reconciler.core.spending.ledger import NOTHING
from reconciler.engine.ports import Event
from reconciler.errors import GuestFailed
from reconciler.views.documents import condition, text_at
from reconciler.views.spent import of_agent
from reconciler.visible import one_line

API = Key("Lieutenant", "default", "api")
NOTE, RECALL, FORBIDDEN, PUBLISH, LONG = (Key("Task", "default", name) for name in ("note", "recall", "tidy", "publish", "count"))
FACT = "releases go out on Tuesdays"
DENIED = "Denied by the permissions of this agent"
"""How the keeper tells an agent that a rule denies its call."""

FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec:
  role: Keep the API
  profileRef: {name: scripted}
  limits: {steerLandSeconds: 2}
  memory: {scopes: [Agent]}
  permissions:
    default: Allow
    ask: ["bash(git push*)"]
    deny: ["bash(rm *)", "write(**/.env)"]
    examples:
    - {call: "bash(ls && rm -rf kept)", expect: Deny}
    - {call: "bash(git push origin main)", expect: Ask}
"""

TASK = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: {name}}}
spec:
  lieutenantRef: {{name: api}}
  prompt: {prompt}
"""

COMMIT = "git -c user.name=api -c user.email=api@localhost commit -q --allow-empty -m one"
ORIGIN = f"git init -q --separate-git-dir ../git . && git init -q --bare ../origin.git && {COMMIT}"
PUSH = "git push -q ../origin.git HEAD:main"
BUDGET: Json = {"windowSeconds": 86_400, "onExceeded": "Suspend"}
MORE = 1_000_000
"""Tokens: enough."""
ROUNDS = 3
"""So many rounds of a turn are paid for when its budget is declared."""


def rules() -> list[tuple[str, list[Json]]]:
    """What the model does when it is told what. It tries three ways to do what it may not, and never stops of its own accord."""

    def bash(command: str) -> Json:
        return {"tool": "bash", "args": {"command": command}}

    on: Json = bash("sleep 0.3; date >> counted.txt")
    return [
        ("interrupted because a budget was used up", [bash("wc -l < counted.txt"), {"say": "I went on where I was: it is counted."}]),
        ("Count for ever", [on]),
        ("its own budget is used up", [on]),
        (
            "Tidy up",
            [
                bash("echo keep > kept.txt"),
                bash("rm -rf kept.txt"),
                bash("echo cm0gLXJmIGtlcHQudHh0 | base64 -d | xargs -I{} env r''m -rf kept.txt"),
                {"tool": "write", "args": {"path": "docs/../.env", "content": "KEY=1\n"}},
                {"say": "I may not remove anything here, so I left it."},
            ],
        ),
        ("Write down", [{"tool": "memory_write", "args": {"text": FACT}}, {"say": "It is written down."}]),
        ("What do you remember", [{"tool": "memory_read", "args": {}}, {"say": "I read what I had written down."}]),
        ("Publish it", [bash(ORIGIN), bash(PUSH), {"say": "It is published."}]),
    ]


async def play(stage: Stage, keep: bool, story: Story) -> None:
    """The whole story; fills `story` as it goes. Raises `TimedOut` or `GuestFailed` when it does not go as it should."""
    seen: list[Event] = []
    stop = stage.controller.engine.subscribe(events=seen.append)
    try:
        await story.chapter(stage, "remembered", "It writes something down, and loses its machine and its conversation", _remembered(stage))
        await story.chapter(stage, "denied", "It tries what it may not, and is told so", _denied(stage))
        await story.chapter(stage, "approved", "It wants to publish: the call waits for a person, and goes on", _approved(stage))
        await story.chapter(stage, "budget", "Its budget ends in the middle of a turn, and is raised", _budget(stage, seen))
        await story.show(stage, API, (NOTE, RECALL, FORBIDDEN, PUBLISH, LONG))
        if not keep:
            everything = (LONG, PUBLISH, FORBIDDEN, RECALL, NOTE, API, PROFILE)
            await story.chapter(stage, "deleted", "Everything is deleted", leave(stage, *everything))
    finally:
        stop()


async def _remembered(stage: Stage) -> None:
    await declare(stage, FLEET)
    await _told(stage, NOTE, f"Write down that {FACT}.")
    await succeeds(stage, NOTE, patience=90.0)
    await stage.until("its memory", lambda: _entries(stage) == 1)
    before = vm_of(stage, API)
    await stage.simulator.do(lambda world: world.kill(before))
    await stage.set(API, "session.generation", 2)
    stage.telling.line(f"   VM {before} is dead, and a new conversation is declared")
    await stage.until("another machine", lambda: vm_of(stage, API) not in ("", before), 90.0)
    await _told(stage, RECALL, "What do you remember?")
    await succeeds(stage, RECALL, patience=90.0)
    asked = stage.model.requests[-1]
    if FACT not in asked.system or any("Write down" in str(message) for message in asked.messages):
        raise GuestFailed("its new conversation does not begin with what it had written down", str(RECALL))
    stage.telling.line(f"   the new one begins with what it had written down: {FACT}")


def _entries(stage: Stage) -> int:
    """How many entries its memory has in the store."""
    obj = stage.object(API)
    return int(text_at(obj.status, ".memory.agent.entries") or 0) if obj is not None else 0


async def _denied(stage: Stage) -> None:
    await _told(stage, FORBIDDEN, "Tidy up.")
    await succeeds(stage, FORBIDDEN, patience=90.0)
    refused = [text for text in _results(stage) if text.startswith(DENIED)]
    left = await stage.run(API, "ls", "-A")
    if len(refused) != 3 or "kept.txt" not in left or ".env" in left:
        raise GuestFailed(f"{len(refused)} of 3 calls were denied, and these files are there: {one_line(left)}", str(FORBIDDEN))
    for text in refused:
        stage.telling.line(f"   {one_line(text)[:160]}")


async def _approved(stage: Stage) -> None:
    await _told(stage, PUBLISH, "Publish it.")
    await stage.until("a question", lambda: phase(stage, PUBLISH) == "AwaitingApproval", 60.0)
    obj, before = stage.object(PUBLISH), pid(stage, API)
    needed = attention_of(obj.status) if obj is not None else None
    asks = as_maps(obj.status.get("asks")) if obj is not None else []
    if needed is None or needed.sort != "Question" or [ask.get("call") for ask in asks] != [f"bash({PUSH})"]:
        raise GuestFailed(f"nobody is asked about the push: {asks}", str(PUBLISH))
    stage.telling.line(f"   {short(PUBLISH)} waits for a person: {needed.message}")
    answers: list[JsonValue] = [{"id": ask["id"], "decision": "Approve"} for ask in asks]
    await stage.set(PUBLISH, "approvals", answers)
    await succeeds(stage, PUBLISH)
    pushed = await stage.run(API, "git", "--git-dir", "../origin.git", "rev-list", "--count", "main")
    if pushed.strip() != "1" or pid(stage, API) != before or _sends(stage, PUBLISH) != 1:
        raise GuestFailed(f"the very call did not go on: {one_line(pushed)} commits", str(PUBLISH))
    stage.telling.line("   approved: the very call went on, nothing was prompted again")


async def _budget(stage: Stage, seen: list[Event]) -> None:
    cap = _spent(stage) + ROUNDS * 110
    await stage.set(API, "budget", {**BUDGET, "maxTokens": cap})
    await _told(stage, LONG, "Count for ever.")
    await stage.until("the end of its budget", lambda: _held(stage, LONG) == "BudgetExceeded", 90.0)
    await stage.until("its rest", lambda: holds(stage, API, "Suspended"), 60.0)
    used = _spent(stage)
    stage.telling.line(f"   {used} of {cap} tokens: its turn was ended, its machine rests, and its work waits")
    await stage.set(API, "budget", {**BUDGET, "maxTokens": MORE})
    await succeeds(stage, LONG, patience=90.0)
    if not any(event.key == API and event.reason == "BudgetExceeded" for event in seen):
        raise GuestFailed("nobody was told that its budget was used up", str(API))
    if "went on" not in answer(stage, LONG):
        raise GuestFailed(f"it began anew: {answer(stage, LONG)}", str(LONG))
    stage.telling.line("   raised: it went on by itself")


async def _told(stage: Stage, task: Key, prompt: str) -> None:
    await stage.apply(TASK.format(name=task.name, prompt=prompt))


def _results(stage: Stage) -> list[str]:
    """What the model was told that its calls came to, each once: as the last request of it has them."""
    messages = max((request.messages for request in stage.model.requests), key=len, default=())
    found = (message.get("content") for message in messages if message.get("role") == "tool")
    return [text if isinstance(text, str) else "".join(str(part.get("text", "")) for part in as_maps(text)) for text in found]


def _held(stage: Stage, task: Key) -> str:
    """Why this task waits, once its turn was ended."""
    obj = stage.object(task)
    pending = obj is not None and text_at(obj.status, ".phase") == "Pending"
    return str(condition(obj.status, "Ready").get("reason", "")) if obj is not None and pending else ""


def _sends(stage: Stage, task: Key) -> int:
    """How often the prompt of a task was sent."""
    item = stage.controller.engine.table.task(task)
    return item.record.sends if item is not None else 0


def _spent(stage: Stage) -> int:
    """Tokens, as the books tell."""
    line = of_agent(stage.controller.engine.books(), API.namespace, API.name)
    return line.spent.tokens if line.spent != NOTHING else 0
