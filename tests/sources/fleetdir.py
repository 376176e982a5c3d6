"""A directory of declarations and a controller that has it in force, in a time of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.core.keys import Key
from reconciler.engine.loop import Engine
from reconciler.engine.settings import EngineSettings
from reconciler.sources.files.scan import Scan, Scanner
from reconciler.sources.files.sync import FileSync
from tests.faults.harness import Controller, Life
from tests.world import World

UUID = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"
OTHER = UUID.replace("5", "6")
HEAD = "apiVersion: fleet.vers.sh/v1alpha1\n"


def profile(name: str, place: str = "/root/work", **metadata: str) -> str:
    """A document that needs nothing outside."""
    more = "".join(f", {key}: {value}" for key, value in metadata.items())
    spec = f"{{extends: {{name: lightweight}}, agent: {{workDir: {place}}}}}"
    return f"{HEAD}kind: BootProfile\nmetadata: {{name: {name}{more}}}\nspec: {spec}\n"


def protected(name: str) -> str:
    return profile(name, annotations="{fleet.vers.sh/deletion-protection: enabled}")


def tree(*nodes: str) -> str:
    """`nodes`: `NAME` or `NAME:REPLICAS`, with a `!` for what is protected."""
    rows = []
    for one in nodes:
        name, _, replicas = one.rstrip("!").partition(":")
        more = (f", replicas: {replicas}" if replicas else "") + (", protected: true" if one.endswith("!") else "")
        rows.append(f"  - {{name: {name}, category: Agent, profileRef: {{name: lightweight}}{more}}}\n")
    return f"{HEAD}kind: VMTree\nmetadata: {{name: prod}}\nspec:\n  mode: Suspended\n  nodes:\n{''.join(rows)}"


def marker(uuid: str = UUID, **policy: object) -> str:
    words = {"uuid": uuid, "prune": True, **policy}
    return "".join(f"{name}: {str(value).lower() if isinstance(value, bool) else value}\n" for name, value in words.items())


@dataclass
class FleetDir:
    """`root`: the directory; `now`: seconds, by which absences are measured; `told`: lines for people."""

    root: Path
    engine: Engine
    sync: FileSync
    scanner: Scanner = field(default_factory=Scanner)
    told: list[str] = field(default_factory=list)
    now: float = 0.0

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    async def look(self, after: float = 0.0) -> Scan:
        """One round, so many seconds later."""
        self.now += after
        found = self.scanner.scan([self.root])
        await self.sync.round(found)
        return found

    async def settle(self) -> None:
        """Two rounds, far enough apart, and one more."""
        for seconds in (0.0, 10.0, 10.0):
            await self.look(seconds)

    def known(self, kind: str = "BootProfile") -> set[str]:
        """Names of what is in force and not being deleted."""
        return {
            item.key.name for item in self.engine.table.of_kind(kind) if not item.deleting and not item.obj.source.startswith("vmtree/")
        }

    def blocked(self) -> dict[str, str]:
        """Why anything is blocked, by stack."""
        return {one.stack: one.why for one in self.engine.declarations.prunes.blocked.values()}

    def hash(self) -> str:
        (found,) = self.engine.declarations.prunes.blocked.values()
        return found.hash

    async def approve(self) -> None:
        await self.engine.declarations.approve_prune(self.hash())

    def spec(self, kind: str, name: str) -> dict[str, object]:
        item = self.engine.table.get(Key(kind, "default", name))
        assert item is not None
        return dict(item.obj.spec)


@asynccontextmanager
async def fleet_dir(tmp_path: Path, **policy: object) -> AsyncIterator[FleetDir]:
    """A stack that prunes, unless `policy` says otherwise (`mark=False`: no marker), without anything in it."""
    controller = Controller(World(), tmp_path / "state.db", Life(), EngineSettings(installation="i", workers=1))
    engine = await controller.up()
    (tmp_path / "fleet").mkdir(exist_ok=True)
    told: list[str] = []
    made: FleetDir
    sync = FileSync(engine.table, engine.declarations, told.append, lambda: made.now)
    made = FleetDir(tmp_path / "fleet", engine, sync, told=told)
    try:
        if policy.pop("mark", True):
            made.write(".reconciler.yaml", marker(**policy))  # type: ignore[arg-type]
        yield made
    finally:
        await controller.down()
