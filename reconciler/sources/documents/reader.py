"""Texts to documents: what is declared in them, and findings that say file, line, column, field, reason and remedy (G-42)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

from reconciler.api.parsing import Problem, dotted, parse, without_nulls
from reconciler.core.keys import Json, JsonValue
from reconciler.sources.documents import plainyaml, yamltext
from reconciler.sources.documents.located import Flaw, Located, Mark, Path, Trap, locate
from reconciler.sources.documents.permissions import wrong_examples

if TYPE_CHECKING:
    from reconciler.sources.documents.kept import Kept

Place = TypeVar("Place", Mark, Trap)

MAX_BYTES = 8 << 20
MAX_DOCUMENTS = 10_000
NEW = 10
"""One document in so many has to be new before all are kept anew."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing wrong with a file. Prints as `FILE:LINE:COL: FIELD: what; remedy`; `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.field or '-'}: {self.message}"


@dataclass(frozen=True, slots=True)
class Content:
    """What one document says, wherever it stands. Lines are relative to its own text.

    `raw`: nulls left out; meaningful only while there are no `flaws`. `identity`: (kind, namespace or '', name) as far as it can be told,
    so that a broken document can be said to be *that* object's. `marks`: where everything stands, None where that is not known before
    somebody asks; then `text` has it."""

    start: Mark
    raw: Json
    identity: tuple[str, str, str] | None
    marks: dict[Path, Mark] | None = field(repr=False)
    flaws: tuple[Flaw, ...] = ()
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Doc:
    """One document of a file. What it says is apart from where it stands, so that a copy elsewhere is read only once."""

    file: str
    before: int
    content: Content

    @property
    def raw(self) -> Json:
        return self.content.raw

    @property
    def identity(self) -> tuple[str, str, str] | None:
        return self.content.identity

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        return self.content.flaws

    @property
    def line(self) -> int:
        """The line of the file in which it begins."""
        return self.before + self.content.start.line

    def at(self, path: Path) -> Mark:
        """Where in the file `path` stands; of something missing, where the nearest thing above it stands."""
        content = self.content
        mark = locate(content.marks if content.marks is not None else yamltext.load(content.text).marks, content.start, path)
        return Mark(mark.line + self.before, mark.column)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with it, in the order of the text."""
        found = (Finding(self.file, flaw.mark.line + self.before, flaw.mark.column, dotted(flaw.path), flaw.message) for flaw in self.flaws)
        return tuple(sorted(found))


class Reader:
    """Reads texts, remembering what it read: a document whose text is unchanged is not parsed again. `sweep` forgets what the
    last round did not ask for. `kept`: what an earlier life of the process read, None to begin with nothing."""

    def __init__(self, kept: Kept | None = None) -> None:
        self._kept, self._fresh = kept, 0
        self._old: dict[bytes, tuple[Content, ...]] = {}
        self._new: dict[bytes, tuple[Content, ...]] = {}
        self._patience = yamltext.Patience()

    def read(self, text: str, file: str) -> list[Doc]:
        """The documents of one text, those of a `kind: List` one by one. `file` ending in `.json` is JSON, anything else YAML.
        More than 10,000 documents: the rest is one finding."""
        found: list[Doc] = []
        as_json = file.endswith(".json")
        for before, chunk in [(0, text)] if as_json else yamltext.split(text):
            contents = self._chunk(chunk, as_json)
            if len(found) + len(contents) > MAX_DOCUMENTS:
                flaw = Flaw(Mark(1, 1), (), f"more than {MAX_DOCUMENTS:,} documents in one file; split it")
                found.append(Doc(file, before, Content(flaw.mark, {}, None, {}, (flaw,))))
                break
            found += [Doc(file, before, content) for content in contents]
        return found

    def sweep(self) -> None:
        """End of a round: forget every text that was not read since the last sweep. What is kept for the next life is written when a good
        part of it is new."""
        if self._kept is not None and self._fresh > len(self._new) // NEW:
            good = {digest: one for digest, contents in self._new.items() for one in contents if one.text}
            self._kept.put((digest.hex(), (one.start.line, one.start.column, one.raw)) for digest, one in good.items())
            self._fresh = 0
        self._old, self._new, self._patience = self._new, {}, yamltext.Patience()

    def _chunk(self, chunk: str, as_json: bool) -> tuple[Content, ...]:
        digest = blake2b(chunk.encode("utf-8", "surrogatepass"), digest_size=20, person=b"json" if as_json else b"yaml").digest()
        contents = self._new.get(digest) or self._old.get(digest)
        if contents is None:
            contents = tuple(_contents(_json(chunk))) if as_json else self._yaml(chunk, digest)
        self._new[digest] = contents
        return contents

    def _yaml(self, chunk: str, digest: bytes) -> tuple[Content, ...]:
        row = self._kept.get(digest.hex()) if self._kept is not None else None
        if row is not None:
            line, column, raw = row
            return (Content(Mark(line, column), raw, _identity(raw), None, (), chunk),)
        self._fresh += 1
        good = _good(chunk)
        return (good,) if good is not None else tuple(_contents(yamltext.load(chunk, self._patience)))


def read(text: str, file: str) -> list[Doc]:
    """The documents of one text, read once and not remembered (see `Reader.read`)."""
    return Reader().read(text, file)


def decode(data: bytes) -> str | Flaw:
    """Bytes of a file → its text (UTF-8, a byte order mark allowed), or what is wrong with them. At most 8 MiB."""
    if len(data) > MAX_BYTES:
        return Flaw(Mark(1, 1), (), "larger than 8 MiB; split it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Flaw(Mark(line, error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1), (), "is not UTF-8; save the file as UTF-8")


# --- inside ------------------------------------------------------------------------------------------------------------------


def _json(text: str) -> Located:
    from reconciler.sources.documents import jsontext  # few declare in JSON

    return jsontext.load(text)


def _good(text: str) -> Content | None:
    """A document with which nothing is wrong; None where its places are needed to tell."""
    plain = plainyaml.load(text)
    if plain is None or not isinstance(plain.value, dict) or plain.value.get("kind") == "List":
        return None
    raw = without_nulls(plain.value) if plain.nulls else plain.value
    if not isinstance(raw, dict) or isinstance(parse(raw), list) or next(wrong_examples(raw), None) is not None:
        return None
    return Content(plain.start, raw, _identity(raw), None, (), text)


def _contents(found: Located) -> Iterator[Content]:
    if found.value is None and not found.flaws:
        return
    value = found.value
    if isinstance(value, dict) and value.get("kind") == "List" and not found.flaws:
        yield from _list(found, value)
    else:
        yield _judge(found, value, ())


def _list(found: Located, value: Json) -> Iterator[Content]:
    items = value.get("items")
    if value.get("apiVersion") != "v1" or not isinstance(items, list):
        path: Path = ("apiVersion",) if value.get("apiVersion") != "v1" else ("items",)
        message = (
            "a List is `apiVersion: v1`; write that" if path == ("apiVersion",) else "a List needs `items`, a list of documents; add it"
        )
        flaw = Flaw(locate(found.marks, found.start, path), path, message)
        yield Content(found.start, {}, None, {}, (flaw,))
        return
    marks, traps = _by_item(found.marks), _by_item(found.traps)
    for index, item in enumerate(items):
        part = replace(found, marks=marks.get(index, {}), traps=traps.get(index, {}))
        yield _judge(part, item, ("items", index))


def _by_item(places: dict[Path, Place]) -> dict[int, dict[Path, Place]]:
    """What is known of places in a List, by the item that they are in: looking through all of them for each item takes too long."""
    found: dict[int, dict[Path, Place]] = {}
    for path, value in places.items():
        if len(path) > 1 and path[0] == "items" and isinstance(path[1], int):
            found.setdefault(path[1], {})[path] = value
    return found


def _judge(found: Located, value: JsonValue, base: Path) -> Content:
    """One document, found at `base` of the text. Its paths begin at the document, as if it stood alone."""
    depth = len(base)
    marks = {path[depth:]: mark for path, mark in found.marks.items() if len(path) > depth and path[:depth] == base}
    traps = {path[depth:]: trap for path, trap in found.traps.items() if path[:depth] == base}
    start = found.marks.get(base, found.start)
    raw = without_nulls(value)
    flaws = list(found.flaws)
    if found.whole:
        flaws += _flaws(raw, marks, traps, start)
    return Content(start, raw if isinstance(raw, dict) else {}, _identity(raw), marks, tuple(_once(flaws)))


def _flaws(raw: object, marks: dict[Path, Mark], traps: dict[Path, Trap], start: Mark) -> Iterator[Flaw]:
    outcome = parse(raw)
    problems = outcome if isinstance(outcome, list) else []
    for wrong in wrong_examples(raw):
        yield Flaw(locate(marks, start, wrong.path[:-1]), wrong.path, wrong.message)
    for problem in problems:
        yield Flaw(locate(marks, start, problem.path), problem.path, _explained(problem, traps.get(problem.path)))
    told = {problem.path for problem in problems}
    for path, trap in traps.items():
        # A boolean where a boolean is wanted means the same to both readers; the others never do.
        if path not in told and path[0] != "status" and trap is not Trap.BOOLEAN:
            remedy = "quote it" if trap is Trap.SEXAGESIMAL else "write a plain decimal number"
            yield Flaw(locate(marks, start, path), path, f"is ambiguous: {trap.value}; {remedy}")


def _explained(problem: Problem, trap: Trap | None) -> str:
    if trap is None or problem.wants != "string":
        return problem.message
    what = problem.message.partition(";")[0]
    return f"{what} ({trap.value}); quote it"


def _once(flaws: Iterable[Flaw]) -> Iterator[Flaw]:
    seen: set[tuple[Path, str]] = set()
    for flaw in flaws:
        if (flaw.path, flaw.message) not in seen:
            seen.add((flaw.path, flaw.message))
            yield flaw


def _identity(raw: object) -> tuple[str, str, str] | None:
    if not isinstance(raw, dict):
        return None
    metadata = raw.get("metadata")
    if not isinstance(metadata, dict):
        return None
    kind, name, namespace = raw.get("kind"), metadata.get("name"), metadata.get("namespace", "")
    if isinstance(kind, str) and isinstance(name, str) and isinstance(namespace, str):
        return kind, namespace, name
    return None
