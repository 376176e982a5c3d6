"""Everything that can be killed, and what a machine itself says afterwards, read from its disk and its processes on the host."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler import config
from reconciler.cli.access import reader
from reconciler.cli.submit import submit
from reconciler.core.keys import Json
from reconciler.core.lieutenant.session import SESSION_DIR
from reconciler.core.records import LieutenantRecord, TaskRecord
from reconciler.engine.ports import StoredObject
from reconciler.vers.simulator.isolated import IsolatedGuests
from reconciler.vers.simulator.records import DropConnections
from reconciler.vers.simulator.world import World
from reconciler.views.documents import is_true
from tests.background import Platform, eventually
from tests.program import Program

BASE = "/var/lib/reconciler"
KEEPER, AGENT = "keeper", "pi"
TITLES = {KEEPER: b"reconciler-keeper", AGENT: b"pi"}
ARGUMENTS = {KEEPER: b"\0serve\0--dir\0", AGENT: b"\0--mode\0rpc\0--session\0"}


@dataclass(frozen=True)
class Machine:
    """The inside of one VM."""

    real: Platform
    vm_id: str

    def path(self, path: str) -> Path:
        """The host's path of a file of the guest."""
        guests = self.real.simulator.guests
        assert guests is not None
        return guests.path(self.vm_id, path)

    # --- processes ------------------------------------------------------------------------------------------------------------

    def running(self, what: str) -> list[int]:
        """Keepers, or pi processes: their pids on the host. One that has not yet named itself is known by its arguments."""
        guests = self.real.simulator.guests
        assert isinstance(guests, IsolatedGuests)
        found = []
        for pid in sorted(guests.members(self.vm_id)):
            line = cmdline(pid)
            name = line.split(b"\0")[0]
            if name == TITLES[what] or (ARGUMENTS[what] in line and name.endswith((b"node", b"pi"))):
                found.append(pid)
        return found

    def named(self, what: str) -> int | None:
        """The one that has named itself, so that it is far enough to be worth killing."""
        return next((pid for pid in self.running(what) if cmdline(pid).split(b"\0")[0] == TITLES[what]), None)

    def kill(self, what: str, pid: int | None) -> bool:
        """kill -9, if this is still one of those; whether it was."""
        if pid is None or cmdline(pid).split(b"\0")[0] != TITLES[what]:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    def cut(self) -> None:
        """Close every SSH connection, the hard way."""

        def deed(world: World) -> None:
            world.effects.append(DropConnections(self.vm_id))

        self.real.run(self.real.simulator.do(deed))

    # --- what the keeper and pi wrote -------------------------------------------------------------------------------------------

    def session(self) -> bytes:
        """pi's session file."""
        (only,) = self.path(SESSION_DIR).glob("*.jsonl")
        return only.read_bytes()

    def events(self) -> list[Json]:
        """The keeper's whole event journal."""
        return [record for file in sorted(self.path(BASE).glob("events-*.jsonl")) for record in records(file.read_bytes())]

    def commands(self) -> list[Json]:
        """Every command that the keeper was handed, and its verdicts."""
        return records(self.path(f"{BASE}/commands.jsonl").read_bytes())


def cmdline(pid: int) -> bytes:
    with suppress(OSError):  # it ended
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def records(data: bytes) -> list[Json]:
    return [json.loads(line) for line in data.split(b"\n") if line]


# --- judging -------------------------------------------------------------------------------------------------------------------------


def sent_while_busy(events: Sequence[Json], commands: Sequence[Json]) -> list[str]:
    """Prompts that pi got before it was settled: by the keeper's journal, in which `run` and `settled` (or the end of pi) enclose
    every turn, and by pi's own word, which is `queued` instead of `started` then."""
    kinds = {str(command["key"]): str(command["type"]) for command in commands if "type" in command}
    wrong = [
        f"{command['key']} was {verdict['disposition']}"
        for command in commands
        if isinstance(verdict := command.get("verdict"), dict) and verdict.get("disposition") not in (None, "started")
    ]
    busy = ""
    for event in events:
        match event["event"]:
            case "run":
                busy = busy or "a run"
            case "verdict" if kinds[str(event["key"])] == "prompt" and event["state"] == "accepted":
                if busy:
                    wrong.append(f"{event['key']} (event {event['seq']}) during {busy}")
                busy = str(event["key"])
            case "settled" | "exited" | "stopped" | "started" | "keeper":
                busy = ""
    return wrong


def user_texts(session: bytes) -> list[str]:
    """The user messages of a session file, whole, in order."""
    found = []
    for entry in records(session):
        message = entry.get("message")
        if entry.get("type") == "message" and isinstance(message, dict) and message.get("role") == "user":
            content = message["content"]
            parts = content if isinstance(content, list) else [{"text": content}]
            found.append("".join(str(part.get("text", "")) for part in parts if isinstance(part, dict)))
    return found


# --- the store, as another process sees it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Books:
    """The store of a program's state directory, beside its controller or without one."""

    program: Program

    def _config(self) -> config.Config:
        return config.load({}, self.program.env)

    def send(self, name: str, lieutenant: str, prompt: str, **spec: object) -> None:
        """What `reconciler send` does, with a name of our choosing: to the controller, or into the store when none runs."""
        request: Json = {"op": "apply", "kind": "Task", "namespace": "default", "name": name, "labels": {}, "annotations": {}}
        request["spec"] = {"lieutenantRef": {"name": lieutenant}, "prompt": prompt, **spec}  # type: ignore[dict-item]
        asyncio.run(submit(self._config(), [request]))

    def objects(self, kind: str) -> dict[str, StoredObject]:
        async def read() -> dict[str, StoredObject]:
            async with reader(self._config()) as store:
                return {obj.key.name: obj for obj in await store.objects(kind)}

        return asyncio.run(read())

    def tasks(self) -> Mapping[str, TaskRecord]:
        return {name: TaskRecord.load(obj.record) for name, obj in self.objects("Task").items()}

    def mirror(self, session: str) -> bytes:
        """The whole mirror of a session."""

        async def read() -> bytes:
            whole = bytearray()
            async with reader(self._config()) as store:
                while data := await store.session(session, len(whole)):
                    whole += data
            return bytes(whole)

        return asyncio.run(read())

    def unfinished(self) -> int:
        """How many tasks have no end yet."""
        return sum(1 for record in self.tasks().values() if not record.finished)

    def done(self, name: str, seconds: float = 60.0) -> TaskRecord:
        """The record of a task, once it has succeeded."""
        found = eventually(lambda: record if (record := self.tasks()[name]).finished else None, f"{name} has an end", seconds)
        assert (found.phase, found.reason) == ("Succeeded", "Completed"), found.message
        return found

    def lieutenant(self, name: str) -> LieutenantRecord:
        return LieutenantRecord.load(self.objects("Lieutenant")[name].record)

    def ready(self, name: str, seconds: float = 60.0) -> str:
        """Wait until it is Ready and available; returns its VM's id."""

        def available() -> bool:
            found = self.objects("Lieutenant").get(name)
            return found is not None and is_true(found.status, "Available")

        eventually(available, f"{name} is available", seconds)
        return self.lieutenant(name).slot.vm_id

    def reasons(self) -> list[tuple[str, str, str]]:
        """Every event, oldest first, as often as it was told: object, reason, message."""

        async def read() -> list[tuple[str, str, str]]:
            async with reader(self._config()) as store:
                told = await store.events(limit=100_000)
                return [(event.key.name, event.reason, event.message) for event in told for _ in range(event.count)]

        return asyncio.run(read())
