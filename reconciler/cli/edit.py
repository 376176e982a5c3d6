"""Change a declaration in the file where it lives: one field, in place; comments, order, indentation, line ends and everything else stay
as they are."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from reconciler.cli import inplace, textform
from reconciler.cli.inplace import Change as Change
from reconciler.cli.replacing import replace_file
from reconciler.core.keys import Json, JsonValue, Key, short
from reconciler.engine.ports import StoredObject
from reconciler.errors import InvalidSpec, NotFound
from reconciler.serve.commands import patched
from reconciler.sources.files.scan import Scan, Scanner


def edit(obj: StoredObject, changes: Sequence[Change]) -> Path:
    """Make the changes in the file that declares `obj`; returns the file. See `edit_by`."""
    return edit_by(obj, lambda _: changes)


def edit_by(obj: StoredObject, wanted: Callable[[StoredObject], Sequence[Change]]) -> Path:
    """Make changes in the file that declares `obj`; returns the file. `wanted`: which, when it is as the file has it, which may be other
    than what is in force. The file is replaced in one step, and only by a text that declares exactly what is wanted. Raises `NotFound`
    when the file no longer declares it, `InvalidSpec` when the changed object is not valid or the file can't be changed safely,
    `Refused` when it was changed meanwhile, `Unreachable` when it can't be written."""
    file = Path(obj.origin.rpartition(":")[0])
    try:
        real = file.resolve(strict=True)
        data = real.read_bytes()
        text, form = textform.read(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise NotFound(f"the file that declares {short(obj.key)} can't be read", str(file), "restore it") from error
    before = _declared(text, file, obj.key)
    if before is None:
        raise NotFound(
            f"the file no longer declares {short(obj.key)}", str(file), "declare it again, or delete it with `reconciler delete`"
        )
    changes = wanted(replace(obj, spec=before))
    after = patched(obj.key, before, [{"path": list(path), "value": value} for path, value in changes])
    if after == before:
        return file
    for attempt in (inplace.change, _round_trip):
        changed = attempt(text, file, obj.key, changes)
        if changed is None:
            continue
        written = form.write(changed)
        read_again, _ = textform.read(written)
        if _declared(read_again, file, obj.key) == after and _others(text, file, obj.key) == _others(read_again, file, obj.key):
            replace_file(real, data, written.encode())
            return file
    raise InvalidSpec(f"{short(obj.key)} can't be changed here without touching other parts of the file", str(file), "edit it by hand")


def _scan(text: str, file: Path, key: Key) -> Scan:
    return Scanner(key.namespace).text(text, str(file))


def _declared(text: str, file: Path, key: Key) -> Json | None:
    return next((one.spec for one in _scan(text, file, key).objects if one.key == key), None)


def _others(text: str, file: Path, key: Key) -> list[tuple[Key, Json]]:
    return [(one.key, one.spec) for one in _scan(text, file, key).objects if one.key != key]


# --- a text read and written again --------------------------------------------------------------------------------------------


def _round_trip(text: str, file: Path, key: Key, changes: Sequence[Change]) -> str | None:
    """The document written anew, its comments with it, indented as it was; other documents of the file stay byte for byte."""
    if file.suffix == ".json":
        document = json.loads(text)
        for one in document.get("items", ()) if document.get("kind") == "List" else (document,):
            if _is(one, key):
                _put(one, changes)
        indent = re.search(r"^([ \t]+)", text, re.MULTILINE)
        written = json.dumps(document, indent=indent[1] if indent else None, ensure_ascii=text.isascii())
        return _ended_as(text, written)
    for start, chunk in inplace.chunks(text):
        yaml = YAML(typ="rt")
        yaml.preserve_quotes = True
        yaml.width = 4096
        yaml.explicit_start = chunk.startswith("---")
        yaml.indent(**_indentation(chunk))
        try:
            document = yaml.load(chunk)
        except YAMLError:
            continue
        found = [one for one in (document.get("items", ()) if document.get("kind") == "List" else (document,)) if _is(one, key)]
        if not found:
            continue
        _put(found[0], changes)
        written_to = io.StringIO()
        yaml.dump(document, written_to)
        return text[:start] + _ended_as(chunk, written_to.getvalue()) + text[start + len(chunk) :]
    return None


def _ended_as(before: str, after: str) -> str:
    """With as many empty lines at its end, and with a last line end only where there was one."""
    return after.rstrip("\n") + before[len(before.rstrip("\n")) :]


def _indentation(chunk: str) -> dict[str, int]:
    """How far maps and lists stand below what they belong to, by the first of each."""
    mapping = re.search(r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*\1( +)[^\s#-]", chunk, re.MULTILINE)
    listed = re.search(r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*\1( *)-( +)", chunk, re.MULTILINE)
    offset = len(listed[2]) if listed else 0
    return {"mapping": len(mapping[2]) if mapping else 2, "sequence": offset + 1 + len(listed[3]) if listed else 2, "offset": offset}


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
            at[path[-1]] = _quoted(value)
        elif isinstance(at, list):
            at[int(path[-1]) : int(path[-1]) + 1] = [] if value is None else [_quoted(value)]


def _quoted(value: JsonValue) -> JsonValue:
    """The same value, its texts quoted where any reader could take them for something else."""
    match value:
        case str() if inplace.flow(value, False) != value:
            quoted: str = DoubleQuotedScalarString(value)
            return quoted
        case dict():
            return {name: _quoted(inner) for name, inner in value.items()}
        case list():
            return [_quoted(inner) for inner in value]
        case _:
            return value
