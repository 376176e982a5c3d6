"""A hierarchy of machines over a day: it is declared, grows, shrinks, sleeps overnight, wakes with what it knew, and is taken down."""

from __future__ import annotations

from reconciler.cli.demo.stage import Stage
from reconciler.cli.demo.story import PROFILE, RECALLS, TOLD, Story, declare_told, holds, leave, phase, remembers, succeeds, vm_of
from reconciler.core.keys import Json, Key
from reconciler.core.tree.places import MACHINE
from reconciler.engine.ports import Event
from reconciler.errors import GuestFailed
from reconciler.views.documents import text_at

PROD = Key("VMTree", "default", "prod")
INFRA = Key(MACHINE, "default", "prod/infra")
LEAD = Key("Lieutenant", "default", "prod-lead")
WORKERS = tuple(Key("Lieutenant", "default", f"prod-worker-{ordinal}") for ordinal in range(3))
LONG, ASK = Key("Task", "default", "long"), Key("Task", "default", "ask")

TREE = """
apiVersion: fleet.vers.sh/v1alpha1
kind: VMTree
metadata: {{name: prod}}
spec:
  limits: {{maxVMs: 5}}
  nodes:
  - {{name: infra, category: Infra, profileRef: {{name: lightweight}}}}
  - {{name: lead, category: Lieutenant, parent: infra, profileRef: {{name: scripted}}, lieutenant: {{role: Lead the work}}}}
  - {{name: worker, category: Swarm, parent: lead, profileRef: {{name: scripted}}, replicas: {replicas}, lieutenant: {{role: Work}}}}
"""

TASK = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: {name}}}
spec:
  lieutenantRef: {{name: {to}}}
  prompt: {prompt}
"""


def rules() -> list[tuple[str, list[Json]]]:
    """What the model does when it is told what."""
    return [
        *RECALLS,
        ("Count slowly", [{"tool": "bash", "args": {"command": "sleep 4; seq 3"}}, {"say": "One, two, three."}]),
    ]


async def play(stage: Stage, keep: bool, story: Story) -> None:
    """The whole story; fills `story` as it goes. Raises `TimedOut` or `GuestFailed` when it does not go as it should."""
    seen: list[Event] = []
    stop = stage.controller.engine.subscribe(events=seen.append)
    try:
        await story.chapter(stage, "created", "A tree of three machines is declared: roots come first", _create(stage, seen))
        await story.chapter(stage, "grown", "Three workers instead of one", _grow(stage))
        await story.chapter(stage, "shrunk", "One worker again: the idle ones go, the one that works stays", _shrink(stage))
        await story.chapter(stage, "night", "The whole tree sleeps: leaves first", _sleep(stage, seen))
        await story.chapter(stage, "morning", "It wakes, roots first, and still knows what it was told", _wake(stage, seen))
        await story.show(stage, LEAD, (TOLD, LONG, ASK))
        if not keep:
            everything = (ASK, LONG, TOLD, PROD, PROFILE)
            await story.chapter(stage, "deleted", "The tree is taken down: leaves first", _leave(stage, seen, everything))
    finally:
        stop()


async def _create(stage: Stage, seen: list[Event]) -> None:
    await declare_told(stage, TREE.format(replicas=1), LEAD)
    await _stands(stage, 3)
    await succeeds(stage, TOLD)
    _in_order(seen, "CreatedVM", [INFRA, LEAD, WORKERS[0]])


async def _grow(stage: Stage) -> None:
    await stage.apply(TREE.format(replicas=3))
    await _stands(stage, 5)


async def _shrink(stage: Stage) -> None:
    busy = WORKERS[2]
    await stage.apply(TASK.format(name=LONG.name, to=busy.name, prompt="Count slowly."))
    await stage.until("its work", lambda: phase(stage, LONG) == "Running")
    await stage.apply(TREE.format(replicas=1))
    await _stands(stage, 3)
    await succeeds(stage, LONG)
    if stage.object(busy) is None:
        raise GuestFailed("the worker that worked was removed", str(busy))


async def _sleep(stage: Stage, seen: list[Event]) -> None:
    await stage.set(PROD, "mode", "Suspended")
    await stage.until("the night", lambda: holds(stage, PROD, "Ready") and _phase_of_tree(stage) == "Suspended", 90.0)
    if not all(vm.suspended for vm in stage.simulator.world.present.values()):
        raise GuestFailed("the platform still runs a machine", str(PROD))
    _in_order(seen, "SuspendedVM", [WORKERS[2], LEAD, INFRA])


async def _wake(stage: Stage, seen: list[Event]) -> None:
    before = vm_of(stage, LEAD)
    await stage.set(PROD, "mode", "Running")
    await _stands(stage, 3)
    _in_order(seen, "ResumedVM", [INFRA, LEAD, WORKERS[2]])
    await stage.apply(TASK.format(name=ASK.name, to=LEAD.name, prompt="What was the first thing you were told?"))
    await remembers(stage, ASK)
    if vm_of(stage, LEAD) != before:
        raise GuestFailed("it woke on another machine", str(LEAD))


async def _leave(stage: Stage, seen: list[Event], everything: tuple[Key, ...]) -> None:
    del seen[:]
    await leave(stage, *everything)
    _in_order(seen, "VMGone", [WORKERS[2], LEAD, INFRA])


async def _stands(stage: Stage, machines: int) -> None:
    """Every node is as declared, on so many machines. Raises `TimedOut`."""
    await stage.until(
        f"the tree with {machines} machines",
        lambda: holds(stage, PROD, "Ready") and _phase_of_tree(stage) == "Ready" and len(stage.machines()) == machines,
        120.0,
    )
    obj = stage.object(PROD)
    counts = text_at(obj.status, ".counts.ready") if obj else ""
    stage.telling.line(f"   {counts} nodes are ready, on {machines} machines")


def _phase_of_tree(stage: Stage) -> str:
    obj = stage.object(PROD)
    return text_at(obj.status, ".phase") if obj else ""


def _in_order(seen: list[Event], reason: str, keys: list[Key]) -> None:
    """That happened to these one after the other. Raises `GuestFailed`."""
    told = [event.key for event in seen if event.reason == reason and event.key in keys]
    if told != keys:
        raise GuestFailed(f"{reason} in another order: {', '.join(str(key) for key in told)}", str(PROD))
