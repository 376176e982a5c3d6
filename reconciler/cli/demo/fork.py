"""One agent is copied live three ways while work waits for it: each copy knows what it was told and has its files, and none of them knows
what another is told afterwards."""

from __future__ import annotations

from reconciler.cli.demo.stage import Stage
from reconciler.cli.demo.story import PROFILE, RECALLS, TOLD, Story, declare_told, holds, leave, remembers, succeeds, vm_of
from reconciler.core.keys import Json, Key
from reconciler.errors import GuestFailed
from reconciler.views.documents import text_at

API = Key("Lieutenant", "default", "api")
WAYS = ("careful", "quick", "bold")
COPIES = {way: Key("Lieutenant", "default", way) for way in WAYS}
DRAFT, NEXT = Key("Task", "default", "draft"), Key("Task", "default", "next")
TRIES = {way: Key("Task", "default", f"try-{way}") for way in WAYS}
ASKS = {way: Key("Task", "default", f"ask-{way}") for way in WAYS}

FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec:
  role: Keep the API
  profileRef: {name: scripted}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: draft}
spec:
  lieutenantRef: {name: api}
  after: [{name: told}]
  prompt: Write a draft.
"""

NEXT_ONE = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: next}
spec:
  lieutenantRef: {name: api}
  prompt: Look at your draft.
"""

COPY = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {{name: {way}}}
spec:
  role: Try a {way} way
  profileRef: {{name: scripted}}
  fork: {{from: {{name: api}}}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: try-{way}}}
spec:
  lieutenantRef: {{name: {way}}}
  prompt: Try the {way} way.
  acceptance:
  - command: {{run: [grep, -q, "{way}", draft.txt]}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: ask-{way}}}
spec:
  lieutenantRef: {{name: {way}}}
  after: [{{name: try-{way}}}]
  prompt: What was the first thing you were told?
"""


def rules() -> list[tuple[str, list[Json]]]:
    """What the model does when it is told what."""
    draft: Json = {"tool": "write", "args": {"path": "draft.txt", "content": "a draft\n"}}
    look: Json = {"tool": "bash", "args": {"command": "cat draft.txt"}}
    told: list[tuple[str, list[Json]]] = [*RECALLS]
    told += [("Write a draft", [draft, {"say": "It is in draft.txt."}]), ("at your draft", [look, {"say": "It is as I left it."}])]
    for way in WAYS:
        told.append((f"the {way} way", [{"tool": "bash", "args": {"command": f"echo {way} >> draft.txt"}}, {"say": "Tried."}]))
    return told


async def play(stage: Stage, keep: bool, story: Story) -> None:
    """The whole story; fills `story` as it goes. Raises `TimedOut` or `GuestFailed` when it does not go as it should."""
    await story.chapter(stage, "source", "An agent is told something and writes a draft", _source(stage))
    await story.chapter(stage, "copies", "Three live copies of it are declared at once; its own queue waits only for that", _copies(stage))
    await story.chapter(stage, "apart", "Each tries another way on the same draft, and knows what the agent was told", _apart(stage))
    await story.show(stage, COPIES["bold"], (TOLD, DRAFT, NEXT, *TRIES.values(), *ASKS.values()))
    if not keep:
        everything = (*ASKS.values(), *TRIES.values(), NEXT, DRAFT, TOLD, *COPIES.values(), API, PROFILE)
        await story.chapter(stage, "deleted", "Everything is deleted", leave(stage, *everything))


async def _source(stage: Stage) -> None:
    await declare_told(stage, FLEET, API)
    await succeeds(stage, TOLD, DRAFT)


async def _copies(stage: Stage) -> None:
    await stage.apply("\n---".join(COPY.format(way=way) for way in WAYS) + "\n---" + NEXT_ONE)
    await stage.until("all three", lambda: all(holds(stage, key, "Forked") and vm_of(stage, key) for key in COPIES.values()), 90.0)
    source = vm_of(stage, API)
    for way, key in COPIES.items():
        obj = stage.object(key)
        told = text_at(obj.status, ".forkedFrom.vm") if obj is not None else ""
        if told != source:
            raise GuestFailed(f"{way} is no copy of {source}: {told or 'it does not say of what'}", str(key))
        stage.telling.line(f"   {way}  {vm_of(stage, key)}  a live copy of {source}")
    await succeeds(stage, NEXT)


async def _apart(stage: Stage) -> None:
    await succeeds(stage, *TRIES.values(), patience=90.0)
    for question in ASKS.values():
        await remembers(stage, question)
    drafts = {name: await stage.run(key, "cat", "draft.txt") for name, key in {"api": API, **COPIES}.items()}
    expected = {"api": "a draft\n", **{way: f"a draft\n{way}\n" for way in WAYS}}
    if drafts != expected:
        raise GuestFailed(f"the drafts are not apart: {drafts}", "demo")
