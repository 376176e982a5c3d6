"""Whatever happens to a branch: what is in force is always all of one commit that was good, nothing is deleted that a good head did declare
within the last ten seconds, and in the end the head is in force (G-40, G-43)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.core.keys import Key
from reconciler.core.prune import APART
from reconciler.engine.ports import StoredObject
from reconciler.sources.git.address import Address, GitSettings
from tests.sources.fleetdir import marker, profile
from tests.sources.gitserver import Origin, git, needs_git
from tests.sources.test_git import Following

pytestmark = [needs_git, pytest.mark.slow, pytest.mark.timeout(600)]
NAMES = ("p", "q", "r", "s")
Fleet = Mapping[str, str]
"""What a commit declares: name → work directory."""


@dataclass
class History:
    """A branch, and what the test knows of it. `heads`: what each commit declares, None for one that is broken; `absent`: since when a name
    stands in no good head."""

    origin: Origin
    one: Following
    heads: dict[str, Fleet | None] = field(default_factory=dict)
    absent: dict[str, float] = field(default_factory=dict)
    there: bool = True
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.one.bare.deleted = self.judge
        self.one.bare.table.on_change.append(self.is_whole)
        (self.origin.work / ".reconciler.yaml").write_text(marker(maxDelete=100))

    @property
    def now(self) -> float:
        return self.one.bare.now

    def judge(self, obj: StoredObject) -> None:
        since = self.absent.get(obj.key.name)
        if since is None or self.now - since < APART:
            self.wrong.append(f"{obj.key.name} deleted at {self.now}, absent since {since}")

    def is_whole(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        """Whenever an object comes in force, all of its commit is."""
        if after is None or after.deleted_at is not None:
            return
        fleet, known = self.heads[after.source_commit], self.one.bare.known()
        there = {name: (known[name].source_commit, known[name].spec["agent"]) for name in fleet or {} if name in known}
        if there != {name: (after.source_commit, {"workDir": work}) for name, work in (fleet or {}).items()}:
            self.wrong.append(f"{key.name} of {after.source_commit} at {self.now}, beside {there} where {fleet} is declared")

    def commit(self, fleet: Fleet, broken: bool = False) -> None:
        files: dict[str, str | None] = {f"{name}.yaml": profile(name, fleet[name]) if name in fleet else None for name in NAMES}
        self.heads[self.origin.commit({**files, "bad.yaml": "kind: [" if broken else None}, push=False)] = None if broken else dict(fleet)

    def read(self) -> None:
        """What the commit that a merge or a revert made declares."""
        texts = {name: self.origin.work / f"{name}.yaml" for name in NAMES}
        fleet = {name: next(work for work in WORKS if work in path.read_text()) for name, path in texts.items() if path.exists()}
        self.heads[self.origin.head()] = None if (self.origin.work / "bad.yaml").exists() else fleet

    def push(self) -> None:
        self.origin.push()
        self.there = True
        fleet = self.heads[self.origin.head()]
        for name in NAMES if fleet is not None else ():
            if name in (fleet or {}):
                self.absent.pop(name, None)
            else:
                self.absent.setdefault(name, self.now)

    async def look(self) -> None:
        await self.one.step()
        assert self.wrong == []
        good = self.one.one.good
        if good is not None:
            fleet = self.heads[good.id]
            assert fleet is not None, "a broken commit is in force"
            known = self.one.bare.known()
            assert {name: known[name].spec["agent"] for name in fleet} == {name: {"workDir": work} for name, work in fleet.items()}


WORKS = ("/root/one", "/root/two", "/root/six")
FLEETS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(WORKS), min_size=1)
OPERATIONS = st.one_of(
    st.tuples(st.just("commit"), FLEETS, st.booleans()),
    st.tuples(st.just("merge"), FLEETS),
    st.tuples(st.just("revert")),
    st.tuples(st.just("rewind"), st.integers(1, 3)),
    st.tuples(st.just("amend"), FLEETS),
    st.tuples(st.just("delete")),
    st.tuples(st.just("look"), st.floats(0.0, 12.0)),
    st.tuples(st.just("look"), st.floats(0.0, 12.0)),
)


async def act(history: History, operation: tuple[Any, ...]) -> None:
    work = history.origin.work
    match operation:
        case ("commit", fleet, broken):
            history.commit(fleet, broken)
            history.push()
        case ("merge", fleet):
            git(work, "branch", "-f", "side")
            history.commit(fleet)
            git(work, "checkout", "-q", "-B", "other", "side")
            git(work, "commit", "-q", "--allow-empty", "-m", "beside")
            history.read()
            git(work, "merge", "-q", "--no-edit", "-X", "theirs", "main")
            git(work, "checkout", "-q", "-B", "main", "other")
            history.read()
            history.push()
        case ("revert",):
            if (
                int(git(work, "rev-list", "--count", "--first-parent", "HEAD")) > 1
                and len(git(work, "show", "-s", "--format=%P").split()) == 1
            ):
                git(work, "revert", "--no-edit", "HEAD") if git(work, "diff", "--stat", "HEAD~1") else None
                history.read()
                history.push()
        case ("rewind", many):
            have = int(git(work, "rev-list", "--count", "--first-parent", "HEAD"))
            git(work, "reset", "-q", "--hard", f"HEAD~{min(many, have - 1)}")
            history.push()
        case ("amend", fleet):
            history.commit(fleet)
            git(work, "reset", "-q", "--soft", "HEAD~1")
            git(work, "commit", "-q", "--allow-empty", "--amend", "-m", "amended")
            history.read()
            history.push()
        case ("delete",):
            if history.there:
                history.origin.push(":refs/heads/main")
                history.there = False
        case ("look", seconds):
            history.one.bare.now += seconds
            await history.look()


async def play(root: Path, first: Fleet, operations: list[tuple[Any, ...]], last: Fleet) -> None:
    origin = Origin(root)
    git(origin.work, "checkout", "-q", "-b", "main")
    settings_ = GitSettings(Address(f"file://{origin.served}/fleet.git", "main"))
    history = History(origin, Following(settings_, root / "cache"))
    history.commit(first)
    history.push()
    await history.look()
    assert history.one.known() == set(first)
    for operation in operations:
        await act(history, operation)
    history.commit(last)
    history.push()
    for _ in range(3):
        await history.look()
        history.one.bare.now += APART
    assert {name: obj.spec["agent"] for name, obj in history.one.bare.known().items()} == {n: {"workDir": w} for n, w in last.items()}
    assert history.one.one.good is not None
    assert history.one.one.good.id == origin.head()
    shallow = git(next((root / "cache").iterdir()) / "repository", "rev-list", "--count", "refs/reconciler/head")
    assert shallow == "1", "no more of a history is fetched than its head"


ALL: Fleet = dict.fromkeys(NAMES, WORKS[0])


@pytest.mark.guarantee("G-40", "G-43")
@example(ALL, [("commit", {"p": WORKS[1]}, False), ("look", 0.0), ("look", 9.0), ("rewind", 1), ("look", 9.0)], ALL)
@example(ALL, [("commit", {"p": WORKS[1]}, True), ("look", 0.0), ("look", 12.0), ("revert",), ("look", 9.0)], ALL)
@example(ALL, [("delete",), ("look", 0.0), ("look", 12.0), ("merge", {"q": WORKS[1]}), ("look", 0.0), ("look", 12.0)], ALL)
@given(FLEETS, st.lists(OPERATIONS, max_size=6), FLEETS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_history_deletes_what_a_head_declares_and_the_head_is_in_force_in_the_end(
    first: Fleet, operations: list[tuple[Any, ...]], last: Fleet
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder), first, operations, last))
