"""JSON as YAML for people, read the same by every YAML reader."""

from __future__ import annotations

from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.scalarstring import LiteralScalarString

from reconciler.api.yamlwriter import Plain, yaml_text
from reconciler.core.keys import JsonValue
from reconciler.sources.documents.yamltext import resolve
from reconciler.visible import escaped, hidden


class _Representer(Plain):
    """Texts of several lines as blocks."""


def _text(representer: SafeRepresenter, text: str) -> ScalarNode:
    """Quoted where another YAML reader (kubectl's) would take it for something else than a string."""
    value, trap = resolve(text)
    style = '"' if trap is not None or not isinstance(value, str) or _escaped(text) else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _block(representer: SafeRepresenter, text: LiteralScalarString) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style="|")


_Representer.add_representer(str, _text)
_Representer.add_representer(LiteralScalarString, _block)


def to_yaml(value: JsonValue) -> str:
    """The same value to every program, with nothing in it that a terminal obeys."""
    return "".join(escaped(char) if char != "\n" and hidden(char) else char for char in yaml_text(_blocks(value), _Representer))


def _escaped(text: str) -> bool:
    """Whether it holds what YAML must write as an escape, which it can between double quotes only."""
    return any(hidden(char) for char in text if char != "\n")


def _blocks(value: JsonValue) -> object:
    match value:
        case dict():
            return {name: _blocks(inner) for name, inner in value.items()}
        case list():
            return [_blocks(inner) for inner in value]
        case str() if "\n" in value and not _escaped(value):
            return LiteralScalarString(value)
        case _:
            return value
