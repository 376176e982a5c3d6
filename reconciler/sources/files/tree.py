"""What stands below a path at one moment, by name and identity, unread."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from reconciler import paths
from reconciler.paths import Present, Seen, Unreadable
from reconciler.sources.files.stack import MARKER

SUFFIXES = (".yaml", ".yml", ".json")
Row = tuple[str, int, int, int]
"""A path and the state it is in: inode, time and size; those are -1 of what can't be looked at."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to be read: `real` once links are resolved, `shown` as the user knows it, `place`: that, from the top of the file system.
    `stack`: root of the stack that it stands in, '' for none."""

    real: str
    shown: str
    place: str
    stack: str


@dataclass(frozen=True, slots=True)
class _Folder:
    """A directory: its names as in `Entry`."""

    real: str
    shown: str
    place: str

    def inside(self, name: str, real: str = "") -> _Folder:
        shown = name if self.shown == "." else os.path.join(self.shown, name)
        return _Folder(real or os.path.join(self.real, name), shown, os.path.join(self.place, name))

    def entry(self, stack: str) -> Entry:
        return Entry(self.real, self.shown, self.place, stack)


class Tree:
    """`files` to read and `markers` of stacks; `flaws`: what can't be looked at, with the root of its stack; `signature`: equal ones mean
    that nothing was changed; `stacks`: of each of its rows the root of its stack."""

    def __init__(self, path: Path) -> None:
        self.files: list[Entry] = []
        self.markers: list[Entry] = []
        self.flaws: list[tuple[str, str, str]] = []
        self.signature: list[Row] = []
        self.stacks: list[str] = []
        self._seen: set[str] = set()
        shown = str(path)
        root = paths.real(path)
        seen = paths.look(root) if isinstance(root, Path) else root
        if not isinstance(root, Path) or not isinstance(seen, Present):
            self.flaws.append((shown, "", f"can't be read ({_of(seen)}); correct the path or its permissions"))
            return
        self._root = root
        at = _Folder(str(root), shown, os.path.abspath(shown))
        if seen.is_folder:
            self._walk(at, "")
        else:
            self._file(at, "", _row(at.real))

    def _walk(self, at: _Folder, stack: str) -> None:
        if at.real in self._seen:
            return
        self._seen.add(at.real)
        try:
            with os.scandir(at.real) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.flaws.append((at.shown, stack, f"can't be listed ({paths.why(error)}); correct its permissions"))
            return
        if any(entry.name == MARKER for entry in entries):
            stack = at.shown
            marker = at.inside(MARKER).entry(stack)
            self.markers.append(marker)
            self._sign(_row(marker.real), stack)
        self._sign(_row(at.real), stack)
        for entry in entries:
            name = entry.name
            if name.startswith((".", "#")) or name.endswith("~"):
                continue
            row = _row_of(entry) if name.endswith(SUFFIXES) else None
            if row is not None:
                self._file(at.inside(name, entry.path), stack, row)
            else:
                self._entry(at.inside(name), stack)

    def _entry(self, at: _Folder, stack: str) -> None:
        """Anything but a file that was looked at."""
        declares = at.shown.endswith(SUFFIXES)
        name = paths.look_at_name(Path(at.real))
        real = paths.real(Path(at.real)) if isinstance(name, Present) and name.is_link else Path(at.real)
        seen = paths.look(real) if isinstance(real, Path) else real
        if not isinstance(real, Path) or not isinstance(seen, Present):
            # What can't be looked at may be a directory of declarations, whatever its name; a link to nowhere is none.
            if declares or isinstance(seen, Unreadable):
                self.flaws.append((at.shown, stack, f"can't be read ({_of(seen)}); correct the link or its permissions"))
        elif not real.is_relative_to(self._root):
            if declares:
                self.flaws.append((at.shown, stack, "is a link that leads out of the directory; copy the file here"))
        elif seen.is_folder:
            self._walk(_Folder(str(real), at.shown, at.place), stack)
        elif declares:
            self._file(_Folder(str(real), at.shown, at.place), stack, _row(str(real)))

    def _file(self, at: _Folder, stack: str, row: Row) -> None:
        if at.real not in self._seen:
            self._seen.add(at.real)
            self._sign(row, stack)
            self.files.append(at.entry(stack))

    def _sign(self, row: Row, stack: str) -> None:
        self.stacks.append(stack)
        self.signature.append(row)


def _row_of(entry: os.DirEntry[str]) -> Row | None:
    """Of a regular file; None of anything else, and where it can't be told."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return entry.path, found.st_ino, found.st_mtime_ns, found.st_size


def _row(path: str) -> Row:
    found = paths.look(Path(path))
    if isinstance(found, Present):
        return path, found.identity[1], found.modified_ns, found.size
    return path, -1, -1, -1  # whoever reads it says why


def _of(answer: Seen | Path) -> str:
    return answer.why if isinstance(answer, Unreadable) else "no such file or directory"
