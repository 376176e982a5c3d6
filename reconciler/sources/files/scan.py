"""Files and directories as a source: an event means *dirty*, a scan reads everything there is (design §8, field-anchors §5.2).

A scan never says that something is gone. It says what is declared, what is broken, and whether everything could be read; what may
be deleted for being absent is decided elsewhere, from two clean scans.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from reconciler import paths
from reconciler.core.keys import Key
from reconciler.engine.state.declared import Declared
from reconciler.paths import Present, Seen, Unreadable
from reconciler.sources.documents.located import Flaw, Mark
from reconciler.sources.documents.located import Path as FieldPath
from reconciler.sources.documents.reader import MAX_BYTES, Doc, Finding, Reader, decode
from reconciler.sources.files.stack import MARKER, Stack, read_marker

SOURCE, COMMITTED = "file", "git"
"""Name the sources in stored objects: of what is a file here, and of what is one of a commit."""
SUFFIXES = (".yaml", ".yml", ".json")
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

    `namespace`: for documents that name none."""

    def __init__(self, namespace: str = "default") -> None:
        self._namespace = namespace
        self._reader = Reader()

    def scan(self, places: Sequence[Path], more: Callable[[Look], None] = lambda _: None) -> Scan:
        """Everything below these files and directories. Never raises for what is wrong with them: that is in `findings`. `more`: adds what
        is declared elsewhere."""
        for _ in range(_ROUNDS):
            before = [_Tree(path) for path in places]
            look = Look(self._reader, self._namespace)
            for tree in before:
                look.tree(tree)
            more(look)
            still = [_Tree(path).signature for path in places] == [tree.signature for tree in before]
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


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file to be read: `real` once links are resolved, `shown` as the user knows it. `stack_root`: of the stack that it stands in."""

    real: Path
    shown: Path
    stack_root: Path | None


class _Tree:
    """What stands below one path at one moment, by name and identity, unread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[_Entry] = []
        self.markers: list[_Entry] = []
        self.flaws: list[tuple[Path, Path | None, str]] = []
        self.signature: list[tuple[str, int, int, int]] = []
        self.stacks: list[Path | None] = []  # of each row of the signature the root of its stack
        self._seen: set[Path] = set()
        root = paths.real(path)
        if not isinstance(root, Path):
            self.flaws.append((path, None, f"can't be read ({_of(root)}); correct the path or its permissions"))
            return
        self._root = root
        seen = paths.look(root)
        if not isinstance(seen, Present):
            self.flaws.append((path, None, f"can't be read ({_of(seen)}); correct the path or its permissions"))
        elif seen.is_folder:
            self._walk(root, path, None)
        else:
            self._file(root, path, None)

    def _walk(self, folder: Path, shown: Path, stack: Path | None) -> None:
        if folder in self._seen:
            return
        self._seen.add(folder)
        try:
            names = sorted(entry.name for entry in os.scandir(folder))
        except OSError as error:
            self.flaws.append((shown, stack, f"can't be listed ({paths.why(error)}); correct its permissions"))
            return
        if MARKER in names:
            stack = shown
            self.markers.append(_Entry(folder / MARKER, shown / MARKER, stack))
            self._sign(folder / MARKER, stack)
        self._sign(folder, stack)
        for name in names:
            if name.startswith((".", "#")) or name.endswith("~"):
                continue
            self._entry(folder / name, shown / name, stack)

    def _entry(self, path: Path, shown: Path, stack: Path | None) -> None:
        name = paths.look_at_name(path)
        real = paths.real(path) if isinstance(name, Present) and name.is_link else path
        seen = paths.look(real) if isinstance(real, Path) else real
        if not isinstance(real, Path) or not isinstance(seen, Present):
            # What can't be looked at may be a directory of declarations, whatever its name; a link to nowhere is none.
            if shown.suffix in SUFFIXES or isinstance(seen, Unreadable):
                self.flaws.append((shown, stack, f"can't be read ({_of(seen)}); correct the link or its permissions"))
        elif not real.is_relative_to(self._root):
            if shown.suffix in SUFFIXES:
                self.flaws.append((shown, stack, "is a link that leads out of the directory; copy the file here"))
        elif seen.is_folder:
            self._walk(real, shown, stack)
        elif shown.suffix in SUFFIXES:
            self._file(real, shown, stack)

    def _file(self, real: Path, shown: Path, stack: Path | None) -> None:
        if real in self._seen:
            return
        self._seen.add(real)
        self._sign(real, stack)
        self.files.append(_Entry(real, shown, stack))

    def _sign(self, path: Path, stack: Path | None) -> None:
        self.stacks.append(stack)
        found = paths.look(path)
        if isinstance(found, Present):
            self.signature.append((str(path), found.identity[1], found.modified_ns, found.size))
        else:
            self.signature.append((str(path), -1, -1, -1))  # read() will say why


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
        self._read: dict[Path, str] = {}
        self._files: dict[str, tuple[str, str]] = {}

    def tree(self, tree: _Tree) -> None:
        """Everything below one path."""
        for marker in tree.markers:
            text = self._text_of(marker, "")
            if text is not None:
                self.marker(text, str(marker.shown), str(marker.stack_root))
        for row, where in zip(tree.signature, tree.stacks, strict=True):
            self.stamp(self.stack(str(where)), repr(row).encode("utf-8", "surrogatepass"))
        for shown, root, message in tree.flaws:
            self.wrong(str(shown), Flaw(Mark(1, 1), (), message), self.stack(str(root)))
        for entry in tree.files:
            if entry.real in self._read:  # named twice on the command line
                continue
            self._read[entry.real] = os.path.abspath(entry.shown)
            stack = self.stack(str(entry.stack_root))
            self._files[str(entry.real)] = str(entry.shown), stack
            text = self._text_of(entry, stack)
            if text is not None:
                self.text(text, str(entry.shown), stack)

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
        for doc in self._reader.read(text, file):
            key = self._key(doc)
            if doc.flaws or key is None:
                for finding in doc.findings:
                    self._found(finding, stack)
                if key is not None:
                    self._flawed.setdefault(key, doc.findings[0])
                continue
            self._objects.setdefault(key, []).append(_declared(key, doc, stack, commit))

    def wrong(self, file: str, flaw: Flaw, stack: str) -> None:
        """Something about a file as a whole."""
        self._found(Finding(file, flaw.mark.line, flaw.mark.column, "", flaw.message), stack)

    def update(self, name: bytes, data: bytes) -> None:
        """A file is part of the inputs."""
        self._hash.update(b"%d:%s%d:" % (len(name), name, len(data)))
        self._hash.update(data)

    def read(self, file: str) -> None:
        """A file from elsewhere was read, by the name that origins have."""
        self._read[Path(file)] = file

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
                twice = Finding(one.file, mark.line, mark.column, "metadata.name", f"{key} is declared again in {others}; keep one")
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

    def _text_of(self, entry: _Entry, stack: str) -> str | None:
        try:
            data = _read(entry.real)
        except OSError as error:
            self.wrong(str(entry.shown), Flaw(Mark(1, 1), (), f"can't be read ({paths.why(error)}); correct its permissions"), stack)
            return None
        self.update(os.fsencode(entry.shown), data)
        text = decode(data)
        if isinstance(text, Flaw):
            self.wrong(str(entry.shown), text, stack)
            return None
        return text


def _read(path: Path) -> bytes:
    """At most one byte more than a file may have. Anything but a regular file (a pipe would block) raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _declared(key: Key, doc: Doc, stack: str, commit: str) -> FileDeclared:
    metadata, spec = doc.raw["metadata"], doc.raw["spec"]
    assert isinstance(metadata, dict)  # parsed and found good, both
    assert isinstance(spec, dict)
    labels, annotations = (dict(_pairs(metadata.get(name))) for name in ("labels", "annotations"))
    origin = f"{doc.file if commit else os.path.abspath(doc.file)}:{doc.line}"
    source = COMMITTED if commit else SOURCE
    return FileDeclared(key, spec, labels, annotations, source, origin, stack, commit, file=doc.file, line=doc.line, doc=doc)


def _pairs(value: object) -> Iterator[tuple[str, str]]:
    items: Iterable[tuple[object, object]] = value.items() if isinstance(value, dict) else ()
    return ((str(key), str(inner)) for key, inner in items)


def _of(answer: Seen | Path) -> str:
    return answer.why if isinstance(answer, Unreadable) else "no such file or directory"
