"""Change a declaration in the file where it lives: one field, in place; comments, order and everything else stay as they are."""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reconciler.core.keys import Json, JsonValue, Key
from reconciler.engine.ports import StoredObject
from reconciler.errors import InvalidSpec, NotFound, Unreachable
from reconciler.serve.commands import patched
from reconciler.sources.documents.yamltext import split
from reconciler.sources.files.scan import Scan, Scanner

Change = tuple[Sequence[str], JsonValue]
"""(path from `spec`, value); None takes the field away."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*\Z")
_WORDS_TO_QUOTE = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def edit(obj: StoredObject, changes: Sequence[Change]) -> Path:
    """Make the changes in the file that declares `obj`; returns the file. It is replaced in one step, and only by a text that
    declares exactly what is wanted. Raises `NotFound` when the file no longer declares it, `InvalidSpec` when the changed
    object is not valid or the file can't be changed safely, `Unreachable` when it can't be written."""
    file = Path(obj.origin.rpartition(":")[0])
    try:
        real = file.resolve(strict=True)
        text = real.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise NotFound(f"the file that declares {obj.key} can't be read", str(file), "restore it") from error
    before = _declared(text, file, obj.key)
    if before is None:
        raise NotFound(f"the file no longer declares {obj.key}", str(file), "declare it again, or delete it with `reconciler delete`")
    after = patched(obj.key, before, [{"path": list(path), "value": value} for path, value in changes])
    if after == before:
        return file
    for attempt in (_in_place, _round_trip):
        changed = attempt(text, file, obj.key, changes)
        if (
            changed is not None
            and _declared(changed, file, obj.key) == after
            and _others(text, file, obj.key) == _others(changed, file, obj.key)
        ):
            _replace(real, changed)
            return file
    raise InvalidSpec(f"{obj.key} can't be changed here without touching other parts of the file", str(file), "edit it by hand")


def _scan(text: str, file: Path, key: Key) -> Scan:
    return Scanner(key.namespace).text(text, str(file))


def _declared(text: str, file: Path, key: Key) -> Json | None:
    return next((one.spec for one in _scan(text, file, key).objects if one.key == key), None)


def _others(text: str, file: Path, key: Key) -> list[tuple[Key, Json]]:
    return [(one.key, one.spec) for one in _scan(text, file, key).objects if one.key != key]


def _replace(path: Path, text: str) -> None:
    try:
        mode = path.stat().st_mode & 0o7777
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8", newline=""
        ) as fresh:
            try:
                fresh.write(text)
                fresh.flush()
                os.fsync(fresh.fileno())
                os.fchmod(fresh.fileno(), mode)
                os.replace(fresh.name, path)
            except BaseException:
                os.unlink(fresh.name)
                raise
    except OSError as error:
        raise Unreachable(f"the file can't be written: {error.strerror}", str(path), "check its directory's permissions") from error


# --- a text edited in place --------------------------------------------------------------------------------------------------


def _in_place(text: str, file: Path, key: Key, changes: Sequence[Change]) -> str | None:
    """Replace scalars where they stand, and put new fields on lines of their own. None when that is not possible."""
    if file.suffix == ".json":
        return None
    for change in changes:
        found = _set_one(text, key, change)
        if found is None:
            return None
        text = found
    return text


def _set_one(text: str, key: Key, change: Change) -> str | None:
    lines = text.splitlines(keepends=True)
    for before, chunk in split(text):
        try:
            node = YAML(pure=True).compose(chunk)
        except YAMLError:
            continue
        for document in _documents(node):
            if _names(document, key):
                changed = _set_in(chunk, document, ["spec", *change[0]], change[1])
                if changed is None:
                    return None
                start = sum(map(len, lines[:before]))
                return text[:start] + changed + text[start + len(chunk) :]
    return None


def _documents(node: Node | None) -> list[MappingNode]:
    if not isinstance(node, MappingNode):
        return []
    if _scalar(_field(node, "kind")) == "List":
        items = _field(node, "items")
        return [item for item in items.value if isinstance(item, MappingNode)] if isinstance(items, SequenceNode) else []
    return [node]


def _names(document: MappingNode, key: Key) -> bool:
    metadata = _field(document, "metadata")
    if _scalar(_field(document, "kind")) != key.kind or not isinstance(metadata, MappingNode):
        return False
    return _scalar(_field(metadata, "name")) == key.name and _scalar(_field(metadata, "namespace")) in (None, key.namespace)


def _field(node: Node | None, name: str) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for key, value in node.value if _scalar(key) == name), None)
    if isinstance(node, SequenceNode) and name.isdigit() and int(name) < len(node.value):
        found: Node = node.value[int(name)]
        return found
    return None


def _scalar(node: Node | None) -> str | None:
    return str(node.value) if isinstance(node, ScalarNode) else None


def _set_in(chunk: str, document: MappingNode, path: list[str], value: JsonValue) -> str | None:
    at: Node | None = document
    for depth, step in enumerate(path):
        following = _field(at, step)
        if following is None:
            return _insert(chunk, at, path[depth:], value)
        at = following
    written = _flow(value)
    if not isinstance(at, ScalarNode) or written is None or at.anchor or "\n" in chunk[at.start_mark.index : at.end_mark.index]:
        return None
    return chunk[: at.start_mark.index] + written + chunk[at.end_mark.index :]


def _insert(chunk: str, at: Node | None, path: list[str], value: JsonValue) -> str | None:
    """A new first line in a block map."""
    written = _flow(value)
    if not isinstance(at, MappingNode) or at.flow_style or not at.value or written is None:
        return None
    first = at.value[0][0].start_mark
    begin = chunk.rfind("\n", 0, first.index) + 1
    if chunk[begin : first.index].strip():
        return None  # the first key stands behind a dash or on the line of its parent
    indent = " " * first.column
    for step in reversed(path[1:]):
        written = f"{{{step}: {written}}}"
    return f"{chunk[:begin]}{indent}{path[0]}: {written}\n{chunk[begin:]}"


def _flow(value: JsonValue) -> str | None:
    """A value on one line, quoted where any reader could take it for something else."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str() if _WORD.match(value) and value.lower() not in _WORDS_TO_QUOTE:
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)  # JSON is YAML


# --- a text read and written again --------------------------------------------------------------------------------------------


def _round_trip(text: str, file: Path, key: Key, changes: Sequence[Change]) -> str | None:
    """The document written anew, its comments with it; other documents of the file stay byte for byte."""
    if file.suffix == ".json":
        document = json.loads(text)
        for one in document.get("items", ()) if document.get("kind") == "List" else (document,):
            if _is(one, key):
                _put(one, changes)
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    lines = text.splitlines(keepends=True)
    for before, chunk in split(text):
        yaml = YAML(typ="rt")
        yaml.preserve_quotes = True
        yaml.width = 4096
        yaml.explicit_start = chunk.startswith("---")
        try:
            document = yaml.load(chunk)
        except YAMLError:
            continue
        found = [one for one in (document.get("items", ()) if document.get("kind") == "List" else (document,)) if _is(one, key)]
        if not found:
            continue
        _put(found[0], changes)
        written = io.StringIO()
        yaml.dump(document, written)
        start = sum(map(len, lines[:before]))
        return text[:start] + written.getvalue() + text[start + len(chunk) :]
    return None


def _is(document: Json, key: Key) -> bool:
    metadata = document.get("metadata")
    if document.get("kind") != key.kind or not isinstance(metadata, dict):
        return False
    return metadata.get("name") == key.name and metadata.get("namespace", key.namespace) == key.namespace


def _put(document: Json, changes: Sequence[Change]) -> None:
    for path, value in changes:
        at: JsonValue = document["spec"]
        for step in path[:-1]:
            at = at.setdefault(step, {}) if isinstance(at, dict) else at[int(step)] if isinstance(at, list) else None
        if isinstance(at, dict) and value is None:
            at.pop(path[-1], None)
        elif isinstance(at, dict):
            at[path[-1]] = value
        elif isinstance(at, list):
            at[int(path[-1])] = value
