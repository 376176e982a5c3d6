"""The platform has no room for machines: the agent works on this host meanwhile, and moves to a machine with all it knows and made."""

from __future__ import annotations

from reconciler.cli.demo.stage import Stage
from reconciler.cli.demo.story import PROFILE, RECALLS, TOLD, Story, declare_told, holds, leave, remembers, succeeds, vm_of
from reconciler.core.keys import Json, Key
from reconciler.errors import GuestFailed
from reconciler.views.documents import condition, text_at

API = Key("Lieutenant", "default", "api")
WRITE, CHECK, ASK = (Key("Task", "default", name) for name in ("write", "check", "ask"))
PROBE_PATIENCE = 90.0
"""Seconds until a controller that was refused asks the platform again, and then some."""

FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec:
  role: Keep the notes of the team
  profileRef: {name: scripted}
  placement: {outageFallback: Local}
  health: {periodSeconds: 1}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: write}
spec:
  lieutenantRef: {name: api}
  after: [{name: told}]
  prompt: Write down what the release needs.
  acceptance:
  - file: {path: notes/release.md, minBytes: 10}
"""

BACK = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: check}
spec:
  lieutenantRef: {name: api}
  prompt: Look at your notes.
  acceptance:
  - command: {run: [grep, -q, "a name", notes/release.md]}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: ask}
spec:
  lieutenantRef: {name: api}
  after: [{name: check}]
  prompt: What was the first thing you were told?
"""


def rules() -> list[tuple[str, list[Json]]]:
    """What the model does when it is told what."""
    note: Json = {"tool": "write", "args": {"path": "notes/release.md", "content": "The release needs a name, tests and a tag.\n"}}
    return [
        *RECALLS,
        ("Write down", [note, {"say": "It is in notes/release.md."}]),
        ("your notes", [{"tool": "bash", "args": {"command": "pwd; cat notes/release.md"}}, {"say": "They are all there."}]),
    ]


async def play(stage: Stage, keep: bool, story: Story) -> None:
    """The whole story; fills `story` as it goes. Raises `TimedOut` or `GuestFailed` when it does not go as it should."""
    stage.simulator.add_fault("create:*:netlink")
    await story.chapter(stage, "outage", "The platform refuses every new machine: work is done on this host, and it says so", _here(stage))
    stage.simulator.clear_faults()
    await story.chapter(stage, "back", "The platform has room again: asked at the next probe, the agent moves, settled", _move(stage))
    await story.chapter(stage, "memory", "On its machine it has its notes, and still knows what it was told", _still_knows(stage))
    await story.show(stage, API, (TOLD, WRITE, CHECK, ASK))
    if not keep:
        everything = (ASK, CHECK, WRITE, TOLD, API, PROFILE)
        await story.chapter(stage, "deleted", "Everything is deleted", leave(stage, *everything))


async def _here(stage: Stage) -> None:
    await declare_told(stage, FLEET, API)
    await succeeds(stage, TOLD, WRITE, patience=90.0)
    obj = stage.object(API)
    available = condition(obj.status, "Available") if obj else {}
    if (available.get("status"), available.get("reason")) != ("True", "LocalFallback") or holds(stage, API, "VMReady"):
        raise GuestFailed(f"it does not say that it works here: {available}", str(API))
    if stage.machines():
        raise GuestFailed("there is a machine after all", str(API))
    told = condition(obj.status, "Ready") if obj else {}
    stage.telling.line(f"   Available=True LocalFallback, VMReady=False; {told.get('message')}")


async def _move(stage: Stage) -> None:
    def moved() -> bool:
        obj = stage.object(API)
        return bool(vm_of(stage, API)) and holds(stage, API, "Ready") and obj is not None and not text_at(obj.status, ".local.state")

    await stage.until("the move", moved, PROBE_PATIENCE)
    left = sorted(path.name for path in stage.config.agents_dir.iterdir() if path.is_dir())
    if left:
        raise GuestFailed(f"something was left on this host: {', '.join(left)}", str(API))


async def _still_knows(stage: Stage) -> None:
    await stage.apply(BACK)
    await succeeds(stage, CHECK)
    await remembers(stage, ASK)
