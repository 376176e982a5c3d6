"""Two lieutenants whose work waits for each other's, some of it for a text that is written later. While both sleep, the profile that theirs
extends changes: one gets another machine when it wakes, the other keeps its own."""

from __future__ import annotations

import asyncio

from reconciler.core.keys import Key
from tests.faults.harness import NoSecrets, Run
from tests.faults.play import Scenario, declared, delivered, leave, treated_well
from tests.world import FOREIGN, Machine

UPDATES = {"editor": "Recreate", "writer": "OnDelete"}
"""What a changed profile does to each of them."""
LIEUTENANTS = {name: Key("Lieutenant", "default", name) for name in UPDATES}
BASE, OWN = (Key("BootProfile", "default", name) for name in ("base", "own"))
DRAFT, REVIEW, FINAL = (Key("Task", "default", name) for name in ("draft", "review", "final"))
TEXT = "piece final, as the board decided"


class Board(NoSecrets):
    """Where the text of the last task is written in the middle of the story."""

    text: str | None = None

    def config(self, namespace: str, name: str, key: str) -> str | None:
        return self.text if (name, key) == ("board", "text") else None


async def profile(run: Run, script: str) -> None:
    await run.declare(
        declared(BASE, source={"image": "default"}, steps=[{"name": "tools", "run": script}]),
        declared(OWN, extends={"name": "base"}, verify=[{"name": "there", "command": ["true"]}]),
    )


async def everybody(run: Run, mode: str) -> None:
    for name, key in LIEUTENANTS.items():
        update = {"onProfileChange": UPDATES[name]}
        await run.declare(declared(key, role="Keep it", mode=mode, profileRef={"name": "own"}, update=update))


def housed(run: Run, name: str) -> Machine | None:
    item = run.engine.table.lieutenant(LIEUTENANTS[name])
    return run.world.machines.get(item.record.slot.vm_id) if item is not None else None


def outdated(run: Run, name: str) -> bool | None:
    """Whether its status says that its machine is not as its profile says now."""
    item = run.engine.table.lieutenant(LIEUTENANTS[name])
    boot = item.obj.status.get("boot") if item is not None else None
    return bool(boot.get("outdated")) if isinstance(boot, dict) else None


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    board = run.controller.secrets
    assert isinstance(board, Board)
    content = {"configMapKeyRef": {"name": "board", "key": "text"}}
    await profile(run, "one")
    await everybody(run, "Running")
    await run.declare(
        declared(FINAL, lieutenantRef={"name": "writer"}, contentFrom=content, after=[{"name": "review"}]),
        declared(REVIEW, lieutenantRef={"name": "editor"}, prompt="piece review", after=[{"name": "draft"}]),
        declared(DRAFT, lieutenantRef={"name": "writer"}, prompt="piece draft"),
    )
    await run.until(lambda: run.phase(REVIEW) == "Succeeded", "the draft is written and reviewed")
    await everybody(run, "Suspended")
    asleep = [(key, kind) for key in LIEUTENANTS.values() for kind in ("Suspended", "Ready")]
    await run.until(lambda: all(run.condition(key, kind) == "True" for key, kind in asleep), "both sleep")
    before = {name: housed(run, name) for name in UPDATES}

    await profile(run, "two")
    await asyncio.sleep(30)
    board.text = TEXT
    if run.phase(FINAL) != "Pending":
        world.violations.append("something was delivered to a lieutenant that sleeps")
    await everybody(run, "Running")
    await run.until(lambda: housed(run, "editor") not in (None, before["editor"]), "the editor has another machine")
    await run.until(lambda: run.phase(FINAL) == "Succeeded", "the final piece is written")
    available = [(key, "Available") for key in LIEUTENANTS.values()]
    await run.until(lambda: all(run.condition(key, kind) == "True" for key, kind in available), "both are available")
    await run.until(lambda: [outdated(run, name) for name in UPDATES] == [False, True], "both machines are said to be what they are")
    if housed(run, "writer") is not before["writer"]:
        world.violations.append("the writer was to keep its machine")
    editor = housed(run, "editor")
    if editor is None or editor.session.count(b"piece review") != 1:
        world.violations.append("the editor's conversation did not move with it")
    await leave(run, *LIEUTENANTS.values())


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    assert world.created == 3, f"{world.created} VMs were made; {where}"
    assert world.alive() == [], f"leaked {[m.vm_id for m in world.alive()]}; {where}"
    for key in (DRAFT, REVIEW, FINAL):
        assert delivered(run, key.name) == 1, f"{key.name} was delivered {delivered(run, key.name)} times; {where}"
    order = [next(key.name for key in (DRAFT, REVIEW, FINAL) if f"/{key.name} attempt" in text) for _, text in world.prompts]
    assert [name for number, name in enumerate(order) if name not in order[:number]] == ["draft", "review", "final"], f"{order}; {where}"
    assert any(TEXT in text for _, text in world.prompts), where


SCENARIO = Scenario("asleep-and-changed", story, judge, points=780, secrets=Board)
