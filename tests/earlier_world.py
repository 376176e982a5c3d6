"""A world as it was at one moment of an earlier run, from its dump: machines, what is in them, and turns that go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.core.snapshot.agent import Accepted, Declined, Exited, Inside, Lost, Verdict
from reconciler.core.snapshot.machine import CommitSource, RootSource, VmShape, VmSource
from reconciler.core.snapshot.vm import Commit, VmState
from reconciler.engine.ports import Launch
from tests.world import Machine, Pi, World

VERDICTS: Mapping[str, type[Accepted] | type[Declined] | type[Lost]] = {"Accepted": Accepted, "Declined": Declined, "Lost": Lost}
SOURCES: Mapping[str, type[RootSource] | type[CommitSource]] = {"RootSource": RootSource, "CommitSource": CommitSource}

Raw = dict[str, Any]


def dumped(path: Path) -> tuple[float, Raw]:
    """When the dump was made, in virtual time, and what it holds."""
    raw = json.loads(path.read_text())
    return float(raw["time"]), raw["world"]


def world_of(raw: Raw) -> World:
    """Call it in virtual time that has come to the moment of the dump: turns that were under way go on."""
    world = World()
    world.machines = {name: _machine(one) for name, one in raw["machines"].items()}
    world.homes = {name: _machine(one) for name, one in raw["homes"].items()}
    world.commits = {name: Commit(**one) for name, one in raw["commits"].items()}
    world.prompts = [(at, text) for at, text in raw["prompts"]]
    world.created, world.deletes, world.pids, world.entries = raw["created"], list(raw["deletes"]), raw["pids"], raw["entries"]
    for machine, one in ((world.machines[name], one) for name, one in raw["machines"].items()):
        if machine.pi is not None and one["pi"]["busy"]:
            machine.pi.task = asyncio.ensure_future(_rest_of_turn(world, machine, machine.pi))
    return world


async def _rest_of_turn(world: World, machine: Machine, pi: Pi) -> None:
    """What is left of a turn when its prompt is in the conversation already."""
    if await world.pause(machine, pi, world.work_seconds):
        world.assistant(machine, "done", "stop")
    pi.task = None
    world.wake(machine)


def _machine(raw: Raw) -> Machine:
    parts: Raw = dict(raw)
    parts["state"] = VmState(raw.get("state", VmState.BOOTING))
    parts["verdicts"] = {key: _verdict(one) for key, one in raw.get("verdicts", {}).items()}
    for name in ("files", "sessions"):
        parts[name] = {path: content["text"].encode() for path, content in raw.get(name, {}).items()}
    parts["source"] = _source(raw["source"]) if "source" in raw else None
    parts["shape"] = VmShape(**raw["shape"]) if "shape" in raw else None
    parts["pi"] = _pi(raw["pi"]) if "pi" in raw else None
    parts["exited"] = Exited(**raw["exited"]) if "exited" in raw else None
    return Machine(**parts)


def _pi(raw: Raw) -> Pi:
    launch = {name: tuple(value) if isinstance(value, list) else value for name, value in raw["launch"].items()}
    parts = {name: value for name, value in raw.items() if name != "busy"}
    return Pi(**{**parts, "launch": Launch(**launch), "inside": Inside(**raw["inside"])})


def _verdict(raw: Raw) -> Verdict:
    return VERDICTS[raw["verdict"]](**{name: value for name, value in raw.items() if name != "verdict"})


def _source(raw: Raw) -> VmSource:
    return SOURCES[raw["kind"]](**{name: value for name, value in raw.items() if name != "kind"})
