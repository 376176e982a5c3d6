"""Whatever editors, shells, copies and file systems do between two looks: nothing is deleted that was not gone, readably, for ten seconds;
and when they are done, what is in force is what is declared (G-43)."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.core.prune import APART
from reconciler.engine.ports import StoredObject
from reconciler.sources.files.scan import Scanner
from tests.sources.bare import Bare
from tests.sources.fleetdir import marker, profile

NAMES = ("p", "q", "r", "s", "t")
FILES = ("one.yaml", "two.yaml", "deep/three.yaml")
Contents = dict[str, tuple[str, ...]]
"""File → names of what it declares."""


@contextmanager
def unreadable(victims: set[Path]) -> Iterator[None]:
    """As for an ordinary user without permission, also where the suite runs as root."""

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def asked(path: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(path, str | os.PathLike) and any(Path(path).is_relative_to(victim) for victim in victims):
                raise OSError(errno.EACCES, "Permission denied", str(path))
            return real(path, *args, **kwargs)

        return asked

    with patch.multiple(os, **{name: refusing(getattr(os, name)) for name in ("stat", "scandir", "open")}):
        yield


@dataclass
class Place:
    """The directory, and what the test knows of it: `texts` are its files, `absent` since when each name stands in none of them."""

    root: Path
    bare: Bare = field(default_factory=Bare)
    scanner: Scanner = field(default_factory=Scanner)
    texts: dict[str, str] = field(default_factory=dict)
    absent: dict[str, float] = field(default_factory=dict)
    locked: set[Path] = field(default_factory=set)
    mounted: bool = True
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root.mkdir()
        (self.root / ".reconciler.yaml").write_text(marker(maxDelete=100))
        self.bare.deleted = self.judge

    @property
    def now(self) -> float:
        return self.bare.now

    @property
    def away(self) -> Path:
        return self.root.with_name("away")

    def judge(self, obj: StoredObject) -> None:
        """Something was deleted: was it gone for long enough, and could everything be read?"""
        since = self.absent.get(obj.key.name)
        if since is None or self.now - since < APART or not self.mounted or self.locked:
            self.wrong.append(f"{obj.key.name} deleted at {self.now}, absent since {since}")

    def note(self) -> None:
        """What is declared now, by whole documents."""
        present = {name for text in self.texts.values() for name in NAMES if profile(name) in text}
        for name in NAMES:
            if name in present:
                self.absent.pop(name, None)
            else:
                self.absent.setdefault(name, self.now)

    def put(self, file: str, text: str | None, *, beside: bool = False) -> None:
        """Write a file, in place or by a rename; None removes it."""
        self.mount()
        path = self.root / file
        path.parent.mkdir(exist_ok=True)
        if text is None:
            path.unlink(missing_ok=True)
            self.texts.pop(file, None)
        else:
            target = path.with_name(f".{path.name}.new") if beside else path
            target.write_text(text)
            if beside:
                target.rename(path)
            self.texts[file] = text
        self.note()

    def rename(self, old: str, new: str) -> None:
        if old in self.texts and old != new:
            self.mount()
            (self.root / new).parent.mkdir(exist_ok=True)
            (self.root / old).rename(self.root / new)
            self.texts[new] = self.texts.pop(old)
            self.note()

    def unmount(self, empty: bool) -> None:
        if self.mounted:
            self.root.rename(self.away)
            if empty:
                self.root.mkdir()
            self.mounted = False

    def mount(self) -> None:
        if not self.mounted:
            shutil.rmtree(self.root, ignore_errors=True)
            self.away.rename(self.root)
            self.mounted = True

    async def look(self) -> None:
        with unreadable(self.locked):
            found = self.scanner.scan([self.root])
            await self.bare.sync.round(found)


def text_of(names: tuple[str, ...]) -> str:
    return "---\n".join(profile(name) for name in names)


def contents() -> st.SearchStrategy[Contents]:
    """Each name in one file or none, and something in any."""
    places = st.fixed_dictionaries({name: st.sampled_from([*FILES, ""]) for name in NAMES})
    return places.filter(lambda found: any(found.values())).map(
        lambda found: {file: tuple(name for name in NAMES if found[name] == file) for file in FILES}
    )


OPERATIONS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(FILES), st.lists(st.sampled_from(NAMES), max_size=3, unique=True), st.booleans()),
    st.tuples(st.just("truncate"), st.sampled_from(FILES)),
    st.tuples(st.just("partial"), st.sampled_from(FILES), st.floats(0.0, 1.0)),
    st.tuples(st.just("remove"), st.sampled_from(FILES)),
    st.tuples(st.just("rename"), st.sampled_from(FILES), st.sampled_from(FILES)),
    st.tuples(st.just("lock"), st.sampled_from([*FILES, ""])),
    st.tuples(st.just("unlock")),
    st.tuples(st.just("unmount"), st.booleans()),
    st.tuples(st.just("mount")),
    st.tuples(st.just("look")),
    st.tuples(st.just("look")),
    st.tuples(st.just("wait"), st.floats(0.1, 12.0)),
)


def act(place: Place, operation: tuple[Any, ...]) -> None:
    match operation:
        case ("write", file, names, beside):
            place.put(file, text_of(tuple(names)), beside=beside)
        case ("truncate", file):
            place.put(file, "")
        case ("partial", file, share):
            text = place.texts.get(file, "")
            place.put(file, text[: int(len(text) * share)])
        case ("remove", file):
            place.put(file, None)
        case ("rename", old, new):
            place.rename(old, new)
        case ("lock", file):
            place.locked.add(place.root / file)
        case ("unlock",):
            place.locked.clear()
        case ("unmount", empty):
            place.unmount(empty)
        case ("mount",):
            place.mount()
        case ("wait", seconds):
            place.bare.now += seconds


async def play(root: Path, first: Contents, operations: list[tuple[Any, ...]], last: Contents) -> None:
    place = Place(root / "fleet")
    for file, names in first.items():
        place.put(file, text_of(names))
    for _ in range(3):
        await place.look()
        place.bare.now += APART
    declared = {name for names in first.values() for name in names}
    assert set(place.bare.known()) == declared
    uids = {name: obj.uid for name, obj in place.bare.known().items()}
    for operation in operations:
        act(place, operation)
        if operation == ("look",):
            await place.look()
            assert place.wrong == []
    place.locked.clear()
    place.mount()
    for file in FILES:
        place.put(file, text_of(last.get(file, ())) or None)
    for _ in range(3):
        await place.look()
        assert place.wrong == []
        place.bare.now += APART
    await place.look()
    wanted = {name for names in last.values() for name in names}
    known = place.bare.known()
    assert set(known) == wanted
    assert place.bare.sync.look_again is None
    kept = {name for name in wanted & set(uids) if known[name].uid == uids[name]}
    lost = {name for name in wanted & set(uids)} - kept
    assert not lost or any(operation[0] == "wait" for operation in operations), "what was always wanted is the same object"


ALL_IN_ONE: Contents = {"one.yaml": NAMES}


@pytest.mark.guarantee("G-43")
@example(ALL_IN_ONE, [("truncate", "one.yaml"), ("look",), ("wait", 9.0), ("look",)], ALL_IN_ONE)
@example(
    ALL_IN_ONE, [("partial", "one.yaml", 0.5), ("look",), ("wait", 9.0), ("write", "one.yaml", [*NAMES[:3]], True), ("look",)], ALL_IN_ONE
)
@example(ALL_IN_ONE, [("unmount", True), ("look",), ("wait", 12.0), ("look",), ("mount",)], ALL_IN_ONE)
@example(ALL_IN_ONE, [("remove", "one.yaml"), ("look",), ("wait", 9.0), ("lock", ""), ("look",), ("wait", 9.0), ("unlock",)], ALL_IN_ONE)
@example(
    ALL_IN_ONE,
    [
        *(("truncate", "one.yaml"), ("look",), ("wait", 5.0), ("write", "one.yaml", [*NAMES], False), ("wait", 4.0)),
        *(("truncate", "one.yaml"), ("wait", 2.0), ("write", "two.yaml", ["p"], False), ("look",)),
    ],
    ALL_IN_ONE,
)
@given(contents(), st.lists(OPERATIONS, max_size=12), contents())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_sequence_of_file_operations_deletes_what_was_not_gone_and_all_end_as_declared(
    first: Contents, operations: list[tuple[Any, ...]], last: Contents
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder), first, operations, last))
