"""A declaration changed in its text, where it stands: a value replaced, a field put in or taken out. Nothing else of the text is written
again, so that comments, order, quotes and indentation stay; a comment behind what is changed keeps its column where there is room for
it. None where a change can't be made so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reconciler.core.keys import JsonValue, Key
from reconciler.sources.documents.yamltext import split

Change = tuple[Sequence[str], JsonValue]
"""(path from `spec`, value); None takes the field, or the item of a list, away."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*\Z")
_BLOCKS = ("|", ">")
_COMMENT = re.compile(r"([ \t]+)(#.*)\Z")
_WORDS_TO_QUOTE = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def change(text: str, file: Path, key: Key, changes: Sequence[Change]) -> str | None:
    """The text with these changes of the spec of this object."""
    for one in changes:
        as_json = file.suffix == ".json"
        found = _set_one(text, key, one, as_json)
        if found is None:
            return None
        text = found if as_json or one[1] is None else _aligned(text, found)
    return text


def chunks(text: str) -> Iterator[tuple[int, str]]:
    """The documents of a text, each with where it begins."""
    lines = [0, *(found.end() for found in re.finditer("\n", text))]
    for before, chunk in split(text):
        yield lines[before], chunk


def _aligned(before: str, after: str) -> str:
    """The changed text, with the comment behind what was changed in the column where it was, if the new value leaves room."""
    old, new = before.split("\n"), after.split("\n")
    differ = [n for n, (was, now) in enumerate(zip(old, new, strict=False)) if was != now]
    if len(old) != len(new) or len(differ) != 1:
        return after
    number = differ[0]
    column = _comment_column(before, number)
    if column is None or not new[number].endswith(comment := old[number][column:]):
        return after
    new[number] = _behind(new[number].removesuffix(comment).rstrip(" "), old[number][:column], comment)
    return "\n".join(new)


def _behind(line: str, before: str, comment: str) -> str:
    """A line with the comment that stood behind `before`: in its column, or as near behind the line as before, two spaces at most."""
    room, gap = len(before) - len(line), len(before) - len(before.rstrip())
    return f"{line}{' ' * (room if room > 0 else min(gap, 2))}{comment}"


def _comment_column(text: str, number: int) -> int | None:
    """Where in this line a comment begins behind something; None where none does."""
    for start, chunk in chunks(text):
        first = text.count("\n", 0, start)
        if not first <= number <= first + chunk.count("\n"):
            continue
        try:
            marks = [(token.start_mark, token.end_mark) for token in YAML(pure=True).scan(chunk)]
        except YAMLError:
            return None
        end = max((end.column for begin, end in marks if end.line == number - first and end.index > begin.index), default=0)
        line = text.split("\n")[number]
        return end + len(found[1]) if end and (found := re.match("( +)#", line[end:])) else None
    return None


def _set_one(text: str, key: Key, change: Change, as_json: bool) -> str | None:
    for start, chunk in chunks(text):
        try:
            node = YAML(pure=True).compose(chunk)
        except YAMLError:
            continue
        for document in _documents(node):
            if _names(document, key):
                changed = _set_in(chunk, document, ["spec", *change[0]], change[1], as_json)
                return None if changed is None else text[:start] + changed + text[start + len(chunk) :]
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


def _set_in(chunk: str, document: MappingNode, path: list[str], value: JsonValue, as_json: bool) -> str | None:
    at: Node | None = document
    above: Node | None = None
    for depth, step in enumerate(path):
        following = _field(at, step)
        if following is None:
            return chunk if value is None else _insert(chunk, at, path[depth:], value, as_json)
        above, at = at, following
    if value is None:
        return _take_out(chunk, above, path[-1])
    return None if at is None or at.anchor else _replace(chunk, above, at, path[-1], flow(value, as_json))


def _replace(chunk: str, above: Node | None, at: Node, name: str, written: str) -> str | None:
    """Another value in the place of this one."""
    begin, end = at.start_mark.index, at.end_mark.index
    if begin == end:
        return f"{chunk[:begin]} {written}{chunk[begin:]}" if chunk[begin - 1 : begin] == ":" else None
    if _inline(at):
        return chunk[:begin] + written + chunk[end:]
    if not isinstance(above, MappingNode):
        return None
    key = next(key for key, _ in above.value if _scalar(key) == name)
    colon = chunk.index(":", key.end_mark.index) + 1
    eol = _line_end(chunk, colon)
    comment = _COMMENT.search(chunk[colon:eol])
    told = f" {written}"
    if comment:
        told = _behind(told, chunk[colon : colon + comment.end(1)], comment[2])
    return f"{chunk[:colon]}{told}{chunk[_last(chunk, key, at) :]}"


def _inline(at: Node) -> bool:
    """Whether it ends where it says that it ends: in braces, in brackets, or a scalar that is no block."""
    return bool(at.flow_style) if isinstance(at, MappingNode | SequenceNode) else isinstance(at, ScalarNode) and at.style not in _BLOCKS


def _last(chunk: str, key: Node, at: Node) -> int:
    """Where the last line of a field's value ends."""
    if _inline(at) or not at.value:
        return _line_end(chunk, at.end_mark.index)
    if isinstance(at, MappingNode):
        return _last(chunk, *at.value[-1])
    if isinstance(at, SequenceNode):
        return _last(chunk, key, at.value[-1])
    end = begin = _line_end(chunk, at.start_mark.index)
    for line in re.finditer(r"\n( *)([^\n]*)", chunk[begin:]):
        if line[2] and len(line[1]) <= key.start_mark.column:
            break
        end = begin + line.end() if line[2] else end
    return end


def _insert(chunk: str, at: Node | None, path: list[str], value: JsonValue, as_json: bool) -> str | None:
    """A new field: on a line of its own where the map's fields are on lines of their own, else behind the brace."""
    if not isinstance(at, MappingNode) or at.anchor:
        return None
    for step in reversed(path[1:]):
        value = {step: value}
    written = f"{_key(path[0], as_json)}: {flow(value, as_json)}"
    if not at.value:
        inside = at.start_mark.index + 1
        return chunk[:inside] + written + chunk[inside:].lstrip() if at.flow_style else None
    first = at.value[0][0].start_mark
    begin = _line(chunk, first.index)
    comma = "," if at.flow_style else ""
    if not chunk[begin : first.index].strip():
        return f"{chunk[:begin]}{chunk[begin : first.index]}{written}{comma}\n{chunk[begin:]}"
    if at.flow_style:
        return f"{chunk[: first.index]}{written}, {chunk[first.index :]}"
    if len(at.value) < 2:
        return None  # the only key stands behind a dash
    second = at.value[1][0].start_mark
    begin = _line(chunk, second.index)
    return f"{chunk[:begin]}{chunk[begin : second.index]}{written}\n{chunk[begin:]}"


def _take_out(chunk: str, at: Node | None, name: str) -> str | None:
    """A field or an item out of a block, out of braces or brackets; not the only one."""
    if isinstance(at, SequenceNode):
        return _take_item(chunk, at, int(name))
    if not isinstance(at, MappingNode) or len(at.value) < 2 or at.anchor:
        return None
    place = next(n for n, (key, _) in enumerate(at.value) if _scalar(key) == name)
    key, value = at.value[place]
    begin, end = key.start_mark.index, value.end_mark.index
    if at.flow_style:
        if place + 1 < len(at.value):
            return chunk[:begin] + chunk[at.value[place + 1][0].start_mark.index :]
        return chunk[: at.value[place - 1][1].end_mark.index] + chunk[end:]
    line, following = _line(chunk, begin), _last(chunk, key, value) + 1
    return None if chunk[line:begin].strip() else chunk[:line] + chunk[following:]


def _take_item(chunk: str, at: SequenceNode, place: int) -> str | None:
    """An item with the lines that it stands on; a comment above it stays."""
    if len(at.value) < 2 or at.anchor:
        return None
    item = at.value[place]
    begin = item.start_mark.index
    if at.flow_style:
        if place + 1 < len(at.value):
            return chunk[:begin] + chunk[at.value[place + 1].start_mark.index :]
        return chunk[: at.value[place - 1].end_mark.index] + chunk[item.end_mark.index :]
    line = _line(chunk, begin)
    if chunk[line:begin].strip() != "-":
        return None
    return chunk[:line] + chunk[_last(chunk, item, item) + 1 :]


def _line_end(chunk: str, at: int) -> int:
    """Where the line ends, before its line end."""
    end = chunk.find("\n", at)
    return end if end >= 0 else len(chunk)


def _line(chunk: str, at: int) -> int:
    """Where the line begins."""
    return chunk.rfind("\n", 0, at) + 1


def _key(name: str, as_json: bool) -> str:
    return json.dumps(name) if as_json else flow(name, as_json)


def flow(value: JsonValue, as_json: bool) -> str:
    """A value on one line, quoted where any reader could take it for something else."""
    match value:
        case str() if not as_json and _WORD.match(value) and value.lower() not in _WORDS_TO_QUOTE:
            return value
        case dict() if not as_json:
            return f"{{{', '.join(f'{_key(name, as_json)}: {flow(inner, as_json)}' for name, inner in value.items())}}}"
        case list() if not as_json:
            return f"[{', '.join(flow(inner, as_json) for inner in value)}]"
        case _:
            return json.dumps(value, ensure_ascii=False)  # JSON is YAML
