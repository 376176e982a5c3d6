"""JSONPath as kubectl's `-o jsonpath=…` and printer columns use it: fields, indices, `[*]`, filters, `range … end`, text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.core.keys import JsonValue
from reconciler.errors import UsageError

_STEP = re.compile(
    r"\.(?P<name>[A-Za-z_](?:[A-Za-z0-9_-]|\\.)*)|\.?\[(?P<quote>['\"])(?P<quoted>.*?)(?P=quote)\]|\.?\[(?P<index>-?\d+)\]"
    r"|\.?(?P<all>\[\*\]|\.\*)|\.?\[\?\(@(?P<path>[^=!)]*?)\s*(?P<op>==|!=)\s*(?P<value>[^)]*)\)\]"
)
_PIECE = re.compile(r"\{([^{}]*)\}|([^{}]+)")


@dataclass(frozen=True, slots=True)
class _Each:
    """Everything between `range` and `end`."""

    path: str
    inside: tuple[_Part, ...]


_Part = str | tuple[str] | _Each
"""Plain text, `(path,)`, or a range."""


def find(value: JsonValue, path: str) -> list[JsonValue]:
    """Everything that `path` (such as `.status.conditions[?(@.type=="Ready")].status`) leads to. Raises `UsageError`."""
    found = [value]
    text = path.strip()
    at = 1 if text.startswith("$") else 0
    if text[at : at + 1] not in (".", "[", ""):
        text = f"{text[:at]}.{text[at:]}"
    while at < len(text) and not (at <= 1 and text[at:] == "."):
        step = _STEP.match(text, at)
        if step is None:
            raise UsageError(f"can't be read from {text[at:]!r}", f"jsonpath {path}", "write it as kubectl does, e.g. {.status.phase}")
        found = [inner for one in found for inner in _take(one, step)]
        at = step.end()
    return found


def _take(value: JsonValue, step: re.Match[str]) -> Iterator[JsonValue]:
    name = step["name"] if step["quoted"] is None else step["quoted"]
    if name is not None:
        if step["quoted"] is None:
            name = name.replace("\\.", ".")
        if isinstance(value, dict) and name in value:
            yield value[name]
    elif step["index"] is not None:
        index = int(step["index"])
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]
    elif step["all"] is not None:
        yield from value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    else:
        wanted = _literal(step["value"])
        for item in value if isinstance(value, list) else ():
            equal = wanted in find(item, step["path"])
            if equal == (step["op"] == "=="):
                yield item


def _literal(text: str) -> JsonValue:
    text = text.strip()
    if text[:1] == text[-1:] == "'":
        return text[1:-1]
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def render(value: JsonValue, template: str) -> str:
    """A whole template: `{…}` is a path, a quoted text, `range PATH` or `end`; the rest stands for itself. Without braces all of
    it is one path. Raises `UsageError`."""
    if "{" not in template:
        template = "{" + template + "}"
    return "".join(_rendered(value, _read(template)))


def check(template: str) -> None:
    """Whether a template can be read, whatever it is applied to. Raises `UsageError`."""
    render(None, template)
    for part in _read(template if "{" in template else "{" + template + "}"):
        _check(part)


def _check(part: _Part) -> None:
    match part:
        case str():
            return
        case _Each():
            find(None, part.path)
            for inner in part.inside:
                _check(inner)
        case (path,):
            find(None, path)


def _read(template: str) -> tuple[_Part, ...]:
    pieces = list(_PIECE.finditer(template))
    if "".join(piece[0] for piece in pieces) != template:
        raise UsageError("its braces do not match", f"jsonpath {template}", "write it as kubectl does, e.g. {.status.phase}")
    parts, rest = _parts(pieces, False)
    if rest:
        raise UsageError("`end` without `range`", f"jsonpath {template}", "remove it")
    return parts


def _parts(pieces: Sequence[re.Match[str]], within: bool) -> tuple[tuple[_Part, ...], list[re.Match[str]]]:
    found: list[_Part] = []
    left = list(pieces)
    while left:
        piece = left.pop(0)
        inside, text = piece[1], piece[2]
        if inside is None:
            found.append(text)
        elif inside.strip() == "end":
            return tuple(found), left if within else [piece]
        elif inside.strip().startswith("range "):
            body, left = _parts(left, True)
            found.append(_Each(inside.strip().removeprefix("range ").strip(), body))
        elif inside[:1] in "\"'" and inside[:1]:
            found.append(inside[1:-1].replace("\\n", "\n").replace("\\t", "\t"))
        else:
            found.append((inside,))
    if within:
        raise UsageError("`range` without `end`", "jsonpath", "close it with {end}")
    return tuple(found), []


def _rendered(value: JsonValue, parts: tuple[_Part, ...]) -> Iterator[str]:
    for part in parts:
        match part:
            case str():
                yield part
            case _Each():
                for item in find(value, part.path):
                    yield from _rendered(item, part.inside)
            case (path,):
                yield " ".join(plain(one) for one in find(value, path))


def plain(value: JsonValue) -> str:
    """A value as text: strings as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
