"""A commit comes in force whole or not at all: for a controller that ends at any effect meanwhile, and for whoever reads at any time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from reconciler.core.keys import Key
from reconciler.engine.ports import StoredObject
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.declared import Declared
from reconciler.errors import ReconcilerError
from reconciler.sources.files.source import FileSource
from reconciler.sources.files.sync import FileSync
from reconciler.sources.git.address import Address, GitSettings
from reconciler.sources.git.repository import Repository
from reconciler.sources.git.source import Followed
from reconciler.store.sqlstore import open_store
from tests.faults.harness import Controller, Crash, Fault, Life
from tests.sources.fleetdir import HEAD, fleet_dir, marker, profile, tree
from tests.sources.gitserver import Origin, needs_git
from tests.world import World

pytestmark = needs_git
T = TypeVar("T")


def lieutenant(role: str) -> str:
    return f"{HEAD}kind: Lieutenant\nmetadata: {{name: api}}\nspec: {{role: {role}, profileRef: {{name: a}}, mode: Suspended}}\n"


def task(prompt: str) -> str:
    return f"{HEAD}kind: Task\nmetadata: {{name: one}}\nspec: {{lieutenantRef: {{name: api}}, prompt: {prompt}}}\n"


OLD = {"a.yaml": profile("a"), "b.yaml": profile("b"), "t.yaml": tree("db"), "l.yaml": lieutenant("Build"), ".reconciler.yaml": marker()}
NEW = {"a.yaml": profile("a", "/root/other"), "c.yaml": profile("c"), "t.yaml": tree("db", "web"), "l.yaml": lieutenant("Test"),
       "k.yaml": task("Begin")}  # fmt: skip
GOES = "BootProfile/b"
"""Is not declared any more by the new commit, and stays until it was absent for long enough."""
STANDS = {"BootProfile/a", GOES, "VMTree/prod", "Lieutenant/api"}
COMES = {"BootProfile/c", "Task/one"}


@dataclass
class Repo:
    """One repository that a controller follows through its lives. `ids`: of its two commits; `seen`: those that a reader found in force,
    one after the other."""

    origin: Origin
    path: Path
    life: Life = field(default_factory=Life)
    ids: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.controller = Controller(World(), self.path / "state.db", self.life, EngineSettings(installation="i", workers=1))

    async def begin(self) -> int:
        """The old commit is in force, the new one is pushed, and the controller is steady; how many effects came before."""
        self.ids["old"] = self.origin.commit(dict(OLD))
        await self.up()
        await self.look()
        self.ids["new"] = self.origin.commit({**NEW, "b.yaml": None})
        assert await self.read() == "old"
        return len(self.life.names)

    async def up(self) -> None:
        engine = await self.controller.up()
        settings = GitSettings(Address(f"file://{self.origin.served}/fleet.git", "main"))
        repository = Repository(settings, self.path / "cache", {"PATH": os.environ["PATH"]}, lambda one: None)
        self.one = Followed(repository, engine.declarations, "default", engine.store.meta)
        self.sync = FileSync(engine.table, engine.declarations, lambda line: None)
        self.source = FileSource((), "default", self.sync, engine, [self.one])

    async def look(self) -> None:
        await self.one.fetch()
        await self.source.apply(await self.source.scan())

    async def read(self) -> str:
        """The commit that a reader of the store finds in force. Fails when objects, row and event disagree, or it is not whole."""
        store = open_store(self.path / "state.db", inline=True, read_only=True)
        try:
            image, events = await store.load(), await store.events(self.one.key)
        finally:
            await store.aclose()
        declared = {f"{obj.key.kind}/{obj.key.name}": obj for obj in image.objects if obj.source == "git"}
        name = next(name for name, known in self.ids.items() if known == declared["BootProfile/a"].source_commit)
        self.is_whole(name, declared)
        (row,) = (value for key, value in image.meta.items() if key.startswith("git/"))
        assert self.ids[name] in row
        assert self.ids[name] in [event.message for event in events if event.reason == "CommitApplied"][-1]
        if self.seen[-1:] != [name]:
            self.seen.append(name)
        return name

    def is_whole(self, name: str, declared: Mapping[str, StoredObject]) -> None:
        assert set(declared) == (STANDS if name == "old" else STANDS | COMES)
        assert {one: obj.source_commit for one, obj in declared.items() if one != GOES} == dict.fromkeys(
            set(declared) - {GOES}, self.ids[name]
        )
        for one, word in (("BootProfile/a", "/root/other"), ("VMTree/prod", "web"), ("Lieutenant/api", "Test")):
            assert (word in str(declared[one].spec)) == (name == "new"), one

    def in_memory(self) -> dict[str, StoredObject]:
        """What the loop finds."""
        assert self.controller.engine is not None
        table = self.controller.engine.table
        items = [item for key in table.all_keys() if (item := table.get(key)) is not None and item.obj.source == "git"]
        return {f"{item.key.kind}/{item.key.name}": item.obj for item in items}


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path)


@pytest.mark.guarantee("G-40", "G-63")
async def test_whoever_reads_while_a_commit_comes_in_force_finds_all_of_the_old_one_or_all_of_the_new_one(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after every effect, in the store and in memory, and whenever a listener is told of a change."""
    repo = Repo(origin, tmp_path)
    await repo.begin()
    engine = repo.controller.engine
    assert engine is not None
    hook = repo.life.hook
    memory: list[str] = []

    def remember(*_: object) -> None:
        found = repo.in_memory()
        name = "new" if "Task/one" in found else "old"
        repo.is_whole(name, found)
        memory.append(name)

    async def watched(number: int, name: str, act: Callable[[], Awaitable[T]]) -> T:
        await repo.read()
        remember()
        try:
            return await hook(number, name, act)
        finally:
            remember()
            await repo.read()

    engine.effects.hook = watched
    engine.table.on_change.append(remember)
    await repo.look()
    assert repo.seen == ["old", "new"]
    assert memory == sorted(memory, reverse=True), "the old one, then the new one"
    assert memory[-1] == "new"
    await repo.controller.down()


@pytest.mark.slow
@pytest.mark.guarantee("G-40", "G-63")
@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "error", "lost"])
async def test_a_controller_that_is_struck_at_any_effect_of_applying_a_commit_leaves_the_old_or_the_new_one(
    kind: str, tmp_path: Path
) -> None:
    left: list[str] = []
    for number in itertools.count(1):
        path = tmp_path / str(number)
        path.mkdir()
        repo = Repo(Origin(path), path)
        before = await repo.begin()
        fault = repo.life.fault = Fault(before + number, kind)
        with suppress(Crash, ReconcilerError):
            await repo.look()
        left.append(await repo.read())
        if not fault.used:
            break
        if kind.startswith("crash"):
            await repo.controller.down()
            await repo.up()
            assert await repo.read() == left[-1], "nothing becomes of half a commit, as there is none"
        await repo.look()
        assert await repo.read() == "new"
        repo.is_whole("new", repo.in_memory())
        await repo.controller.down()
    assert left[-1] == "new", "where nothing failed"
    assert len(left) > 1
    assert "old" in left or kind in ("crash-after", "lost")


async def test_a_commit_of_which_something_is_refused_by_now_is_not_put_in_force_at_all(origin: Origin, tmp_path: Path) -> None:
    """Between the judgement on a commit and its turn a person declares one of its names."""
    repo = Repo(origin, tmp_path)
    await repo.begin()
    engine = repo.controller.engine
    assert engine is not None
    await repo.one.fetch()
    found = await repo.source.scan()
    await engine.declarations.apply(Declared(Key("BootProfile", "default", "c"), {"extends": {"name": "lightweight"}}, {}, {}, "api"))
    await repo.source.apply(found)
    assert await repo.read() == "old"
    await repo.look()
    assert await repo.read() == "old"
    events = await engine.store.events(repo.one.key)
    assert events[-1].reason == "CommitRefused"
    assert repo.ids["new"] in events[-1].message
    assert "is declared elsewhere" in events[-1].message
    await engine.declarations.delete(Key("BootProfile", "default", "c"))
    await repo.look()
    assert await repo.read() == "new"
    await repo.controller.down()


async def test_what_changes_together_in_files_comes_in_force_in_one_step(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path) as one:
        for name, text in OLD.items():
            one.write(name, text)
        await one.look()
        stages: list[tuple[bool, ...]] = []

        def changed(*_: object) -> None:
            words = (("BootProfile", "a", "other"), ("VMTree", "prod", "web"), ("Lieutenant", "api", "Test"))
            stages.append(tuple(word in str(one.spec(kind, name)) for kind, name, word in words))

        for name, text in NEW.items():
            one.write(name, text)
        one.engine.table.on_change.append(changed)
        await one.look()
        assert set(stages) <= {(False, False, False), (True, True, True)}
        assert stages[-1] == (True, True, True)
