"""Everything a demonstration needs, started together and gone together."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler import children
from reconciler.agent.scripted_model import ScriptedModel
from reconciler.agent.toolchain import PI_VERSION, Toolchain, cache_dir, find_toolchain, has_pi
from reconciler.app import Controller, controller
from reconciler.cli.demo.telling import Telling
from reconciler.config import Config
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.core.snapshot.machine import GuestCommand
from reconciler.engine.places import machine_of, path_at
from reconciler.engine.ports import StoredObject
from reconciler.engine.view import EngineView
from reconciler.errors import InvalidSpec, Terminal, TimedOut
from reconciler.serve.commands import naming, raise_error
from reconciler.serve.control import ask
from reconciler.sources.files.scan import Scanner
from reconciler.vers.simulator.image import GuestImage
from reconciler.vers.simulator.isolated import missing_for_isolation
from reconciler.vers.simulator.service import Endpoints, Simulator, SimulatorConfig
from reconciler.visible import one_line

SETTLE_SECONDS = 3.0
RESYNC_SECONDS = 1.0
_INHERITED = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "XDG_CACHE_HOME")


@dataclass(slots=True)
class Stage:
    """`endpoints`: of the simulated platform; `config`: of the controller; `directory`: of everything."""

    simulator: Simulator
    endpoints: Endpoints
    model: ScriptedModel
    controller: Controller
    config: Config
    directory: Path
    telling: Telling

    @property
    def guests(self) -> str:
        """What a machine is."""
        return self.simulator.guests.kind if self.simulator.guests else ""

    # --- declaring, as commands do it ----------------------------------------------------------------------------------------

    async def apply(self, text: str) -> list[Key]:
        """Declare every document of a text."""
        found = Scanner(self.config.namespace).text(text, "demo.yaml")
        if found.findings:
            raise InvalidSpec(str(found.findings[0]), "demo")
        order = ("BootProfile", "VMTree", "Lieutenant", "Task")
        for one in sorted(found.objects, key=lambda o: order.index(o.key.kind)):
            labels: Json = dict(one.labels)
            await self.request({**naming(one.key, "apply"), "spec": one.spec, "labels": labels, "annotations": {}})
        return [one.key for one in found.objects]

    async def set(self, key: Key, path: str, value: JsonValue) -> None:
        """Change one field of a declaration."""
        steps: list[JsonValue] = list(path.split("."))
        await self.request({**naming(key, "patch"), "set": [{"path": steps, "value": value}]})

    async def delete(self, key: Key) -> None:
        await self.request(naming(key, "delete"))

    async def request(self, request: Json) -> None:
        """One write through the control socket."""
        raise_error(await ask(self.config.state, request))

    # --- looking ----------------------------------------------------------------------------------------------------------------

    def object(self, key: Key) -> StoredObject | None:
        item = self.controller.engine.table.get(key)
        return item.obj if item is not None else None

    async def run(self, key: Key, *argv: str) -> str:
        """What a command says that runs where this agent lives, in its work directory."""
        item = self.controller.engine.table.lieutenant(key)
        assert item is not None
        engine, machine = self.controller.engine, machine_of(item)
        command = GuestCommand(argv, cwd=path_at(engine.settings, machine.place, "/root/workspace"), timeout=20.0)
        return (await engine.agents.run(machine, command)).stdout

    async def until(self, what: str, met: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for a condition. Raises `TimedOut` naming it."""
        try:
            async with asyncio.timeout(seconds):
                while not met():
                    self.telling.refresh(self.controller.engine.table.of_kind)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise TimedOut(f"{what} did not come true within {seconds:g} s", "demo", "run it again with -v") from None
        self.telling.refresh(self.controller.engine.table.of_kind)

    def machines(self) -> list[str]:
        """The VMs that exist, by the simulator's own books."""
        return [vm.id for vm in self.simulator.world.present.values()]

    async def files(self, key: Key) -> list[tuple[str, int]]:
        """Names and sizes of the files in an agent's work directory."""
        told = await self.run(key, "find", ".", "-type", "f", "-printf", "%s %P\n")
        rows = [line.partition(" ") for line in told.splitlines()]
        return sorted((one_line(name), int(size)) for size, _, name in rows if size.isdigit())

    def exports(self) -> str:
        """Lines for a shell that wants to talk to this stage."""
        told = {**self.endpoints.environment(), "RECONCILER_STATE": str(self.config.state)}
        return "\n".join(f"export {name}={value}" for name, value in told.items())


async def require_isolation() -> None:
    """Raises `Terminal` where machines can't be kept apart from this host: an agent's absolute paths would then be the host's,
    and a demonstration must leave no trace. Whether bwrap is there says little, so it is tried."""
    missing = missing_for_isolation()
    if missing:
        raise Terminal("machines can't be kept apart from this host", missing, "install it, then run the demo again")
    trial = await children.start(
        ("bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid", "--ro-bind", "/", "/", "true"),
        {"PATH": os.environ.get("PATH", os.defpath)},
        stderr=children.PIPE,
    )
    _, told = await trial.communicate()
    if trial.returncode != 0:
        why = one_line(told.decode(errors="replace")) or f"bwrap ended with exit code {trial.returncode}"
        raise Terminal("machines can't be kept apart from this host", why, "allow user namespaces here, or run the demo where they are")


@asynccontextmanager
async def stage(environ: Mapping[str, str], rules: Callable[[], list[tuple[str, list[Json]]]], telling: Telling) -> AsyncIterator[Stage]:
    """Start everything; at the end all of it is gone. Raises `Terminal` when Node, pi or isolated machines can't be had."""
    async with AsyncExitStack() as stack:
        await require_isolation()
        if not has_pi(environ):
            telling.line(f"fetching pi {PI_VERSION} into {cache_dir(environ)} (once)")
        tools: Toolchain = await asyncio.to_thread(find_toolchain, environ)
        telling.line(f"pi {tools.versions.get('pi', '')} ({tools.origin.get('pi', '')}), Node {tools.versions.get('node', '')}")
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-demo-")))
        os.chmod(directory, 0o700)
        simulator = Simulator()
        stack.push_async_callback(simulator.stop)
        endpoints = await simulator.start(SimulatorConfig(guests="isolated", image=GuestImage(tools.node_dir, tools.pi_dir)))
        model = await stack.enter_async_context(ScriptedModel(rules()))
        inherited = {name: environ[name] for name in _INHERITED if name in environ}
        config = Config(
            state=directory / "state",
            allow_local=True,
            settle_seconds=SETTLE_SECONDS,
            resync_seconds=RESYNC_SECONDS,
            environ={**inherited, **endpoints.environment()},
        )

        def prepare(engine: EngineView) -> None:
            engine.subscribe(events=telling.event, platform=telling.platform)

        running = await stack.enter_async_context(controller(config, prepare))
        yield Stage(simulator, endpoints, model, running, replace(config), directory, telling)
