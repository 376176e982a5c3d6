"""Files and directories as a source: an event means *dirty*, a scan reads everything there is (design §8, field-anchors §5.2).

A scan never says that something is gone. It says what is declared, what is broken, and whether everything could be read; what may
be deleted for being absent is decided elsewhere, from two clean scans.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import paths
from reconciler.core.keys import Key, as_strings, short
from reconciler.engine.state.declared import Declared
from reconciler.sources.documents.located import Flaw, Mark
from reconciler.sources.documents.located import Path as FieldPath
from reconciler.sources.documents.reader import MAX_BYTES, Doc, Finding, Reader, decode
from reconciler.sources.files.stack import Stack, read_marker
from reconciler.sources.files.tree import Entry, Tree

if TYPE_CHECKING:
    from reconciler.sources.documents.kept import Kept

SOURCE, COMMITTED = "file", "git"
"""Name the sources in stored objects: of what is a file here, and of what is one of a commit."""
_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDeclared(Declared):
    """One valid object of a file. `spec`: as written, nulls left out, nothing defaulted. `origin` has the whole path. `file`, `line`:
    where its document begins, as the user named it. `source_id`: uuid of the marked directory it stands in, '' when there is none."""

    file: str
    line: int
    doc: Doc = field(repr=False)

    @property
    def place(self) -> str:
        """`FILE:LINE`, as the user named the file."""
        return f"{self.file}:{self.line}"

    def at(self, path: FieldPath) -> Mark:
        """Where in the file a field stands (paths as documents have them, from the top: `('spec', 'mode')`)."""
        return self.doc.at(path)


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look at all paths told.

    `objects`: valid ones, in the order in which they were read: paths as given, files by name, documents as they stand. `findings`:
    everything wrong, by file and line. `broken`: files with findings; the last good version of what they declared
    stays in force. `flawed`: objects known to be declared there, though badly, each with the first finding about it. `stacks`: the
    marked directories that were read. `clean`: everything was there and could be read, and held still meanwhile.
    `unclear`: by stack ('' for all that stands in none) why what it does not declare may still be declared there. `stamps`: by stack,
    from which files it was read, as they are now: another one says that they were written meanwhile. `read`: every file that was read;
    `files`: of those that are files here, by real path, the name that people know and the stack.
    `inputs_hash`: grows from names and bytes of all files; equal hashes mean equal inputs."""

    objects: tuple[FileDeclared, ...]
    findings: tuple[Finding, ...]
    broken: frozenset[Path]
    flawed: Mapping[Key, Finding]
    stacks: tuple[Stack, ...]
    clean: bool
    inputs_hash: str
    unclear: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, str] = field(default_factory=dict)
    read: frozenset[str] = frozenset()
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def of_file(self, shown: str) -> list[FileDeclared]:
        """What one file declared."""
        return [one for one in self.objects if one.file == shown]


def scan(places: Sequence[Path], namespace: str = "default") -> Scan:
    """One look, nothing remembered (see `Scanner.scan`)."""
    return Scanner(namespace).scan(places)


class Scanner:
    """Scans again and again, parsing only documents whose text changed. Blocking: call it in a thread.

    `namespace`: for documents that name none. `kept`: what an earlier life of the process read."""

    def __init__(self, namespace: str = "default", kept: Kept | None = None) -> None:
        self._namespace = namespace
        self._reader = Reader(kept)

    def scan(self, places: Sequence[Path], more: Callable[[Look], None] = lambda _: None) -> Scan:
        """Everything below these files and directories. Never raises for what is wrong with them: that is in `findings`. `more`: adds what
        is declared elsewhere."""
        for _ in range(_ROUNDS):
            before = [Tree(path) for path in places]
            look = Look(self._reader, self._namespace)
            for tree in before:
                look.tree(tree)
            more(look)
            still = [Tree(path).signature for path in places] == [tree.signature for tree in before]
            if still:
                break
        self._reader.sweep()
        return look.result(still)

    def again(self, file: str, before: Scan) -> tuple[FileDeclared, ...]:
        """What one file declares now, where it declares the very objects that it did `before`, all of them well; else nothing: only a scan
        of everything can tell what that means."""
        at = paths.real(Path(file))
        shown, stack = before.files.get(str(at), ("", ""))
        if not shown or not isinstance(at, Path):
            return ()
        look = Look(self._reader, self._namespace)
        try:
            text = decode(_read(at))
        except OSError:
            return ()
        if isinstance(text, Flaw):
            return ()
        look.text(text, shown, stack)
        found = look.result(True)
        known = before.of_file(shown)
        return found.objects if not found.findings and {one.key for one in found.objects} == {one.key for one in known} else ()

    def text(self, text: str, name: str) -> Scan:
        """The documents of one text (standard input), as if `name` were its file."""
        look = Look(self._reader, self._namespace)
        look.text(text, name, "")
        return look.result(True)


class Look:
    """Collects one scan, of directories and of texts from elsewhere."""

    def __init__(self, reader: Reader, namespace: str) -> None:
        self._reader, self._namespace = reader, namespace
        self._objects: dict[Key, list[FileDeclared]] = {}
        self._findings: list[Finding] = []
        self._flawed: dict[Key, Finding] = {}
        self._stacks: dict[str, Stack] = {}
        self._unclear: dict[str, str] = {}
        self._stamps: dict[str, blake2b] = {}
        self._hash = blake2b(digest_size=16)
        self._read: dict[str, str] = {}
        self._files: dict[str, tuple[str, str]] = {}

    def tree(self, tree: Tree) -> None:
        """Everything below one path."""
        for marker in tree.markers:
            text = self._text_of(marker, "")
            if text is not None:
                self.marker(text, marker.shown, marker.stack)
        for row, where in zip(tree.signature, tree.stacks, strict=True):
            self.stamp(self.stack(where), repr(row).encode("utf-8", "surrogatepass"))
        for shown, root, message in tree.flaws:
            self.wrong(shown, Flaw(Mark(1, 1), (), message), self.stack(root))
        for entry in tree.files:
            if entry.real in self._read:  # named twice on the command line
                continue
            self._read[entry.real] = entry.place
            stack = self.stack(entry.stack)
            self._files[entry.real] = entry.shown, stack
            text = self._text_of(entry, stack)
            if text is not None:
                self.text(text, entry.shown, stack)

    def stack(self, root: str) -> str:
        """The uuid of the stack with this root, '' where none is marked well."""
        found = self._stacks.get(root)
        return found.policy.uuid if found is not None else ""

    def marker(self, text: str, file: str, root: str) -> None:
        """The text of a marker."""
        stack = read_marker(text, file, root)
        if not isinstance(stack, Stack):
            for finding in stack:
                self._found(finding, "")
            return
        twin = next((one for one in self._stacks.values() if one.policy.uuid == stack.policy.uuid and one.root != root), None)
        if twin is not None:
            message = f"is the uuid of {twin.root} too; give each directory its own (`uuidgen`)"
            self._found(Finding(file, 1, 1, "uuid", message), stack.policy.uuid)
        self._stacks[root] = stack

    def text(self, text: str, file: str, stack: str, commit: str = "") -> None:
        """The documents of one text. `stack`: uuid of the one it stands in; `commit`: that it is of, where it is of one."""
        place = file if commit else os.path.abspath(file)
        for doc in self._reader.read(text, file):
            key = self._key(doc)
            if doc.flaws or key is None:
                for finding in doc.findings:
                    self._found(finding, stack)
                if key is not None:
                    self._flawed.setdefault(key, doc.findings[0])
                continue
            self._objects.setdefault(key, []).append(_declared(key, doc, place, stack, commit))

    def wrong(self, file: str, flaw: Flaw, stack: str) -> None:
        """Something about a file as a whole."""
        self._found(Finding(file, flaw.mark.line, flaw.mark.column, "", flaw.message), stack)

    def update(self, name: bytes, data: bytes) -> None:
        """A file is part of the inputs."""
        self._hash.update(b"%d:%s%d:" % (len(name), name, len(data)))
        self._hash.update(data)

    def read(self, file: str) -> None:
        """A file from elsewhere was read, by the name that origins have."""
        self._read[file] = file

    def refused(self, finding: Finding) -> None:
        """Something about what is not in force: nothing that was collected so far is known to be gone."""
        for stack in ("", *map(self.stack, self._stacks)):
            self._found(finding, stack)

    def stamp(self, stack: str, mark: bytes) -> None:
        """Something of a stack, in the state in which it was read."""
        self._stamps.setdefault(stack, blake2b(digest_size=16)).update(mark)

    def result(self, still: bool) -> Scan:
        """All that was collected. `still`: nothing changed meanwhile."""
        good: list[FileDeclared] = []
        for key, declared in self._objects.items():
            if len(declared) == 1:
                good += declared
                continue
            for one in declared:
                others = ", ".join(other.place for other in declared if other is not one)
                mark = one.at(("metadata", "name"))
                twice = Finding(one.file, mark.line, mark.column, "metadata.name", f"{short(key)} is declared again in {others}; keep one")
                self._found(twice, one.source_id)
                self._flawed.setdefault(key, twice)
        unclear = self._unclear if still else dict.fromkeys(("", *map(self.stack, self._stacks)), "it changed while it was read")
        return Scan(
            objects=tuple(good),
            findings=tuple(sorted(set(self._findings))),
            broken=frozenset(Path(finding.file) for finding in self._findings),
            flawed=self._flawed,
            stacks=tuple(self._stacks[root] for root in sorted(self._stacks)),
            clean=still and not self._findings,
            inputs_hash=self._hash.hexdigest(),
            unclear=unclear,
            stamps={stack: made.hexdigest() for stack, made in self._stamps.items()},
            read=frozenset(self._read.values()),
            files=self._files,
        )

    def _found(self, finding: Finding, stack: str) -> None:
        self._findings.append(finding)
        self._unclear.setdefault(stack, f"{finding.file}:{finding.line} has to be mended first")

    def _key(self, doc: Doc) -> Key | None:
        if doc.identity is None:
            return None
        kind, namespace, name = doc.identity
        return Key(kind, namespace or self._namespace, name)

    def _text_of(self, entry: Entry, stack: str) -> str | None:
        try:
            data = _read(entry.real)
        except OSError as error:
            self.wrong(entry.shown, Flaw(Mark(1, 1), (), f"can't be read ({paths.why(error)}); correct its permissions"), stack)
            return None
        self.update(os.fsencode(entry.shown), data)
        text = decode(data)
        if isinstance(text, Flaw):
            self.wrong(entry.shown, text, stack)
            return None
        return text


def _read(path: str | Path) -> bytes:
    """At most one byte more than a file may have. Anything but a regular file (a pipe would block) raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "not a regular file")
        data = os.read(descriptor, min(found.st_size, MAX_BYTES) + 1)
        while len(data) <= MAX_BYTES and (more := os.read(descriptor, MAX_BYTES + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def _declared(key: Key, doc: Doc, place: str, stack: str, commit: str) -> FileDeclared:
    metadata, spec = doc.raw["metadata"], doc.raw["spec"]
    assert isinstance(metadata, dict)  # parsed and found good, both
    assert isinstance(spec, dict)
    labels, annotations = as_strings(metadata.get("labels")), as_strings(metadata.get("annotations"))
    source, line = COMMITTED if commit else SOURCE, doc.line
    return FileDeclared(key, spec, labels, annotations, source, f"{place}:{line}", stack, commit, file=doc.file, line=line, doc=doc)
