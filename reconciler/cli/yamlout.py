"""JSON as YAML for people, read the same by every YAML reader."""

from __future__ import annotations

from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.scalarstring import LiteralScalarString

from reconciler.api.yamlwriter import Plain, yaml_text
from reconciler.core.keys import JsonValue
from reconciler.sources.documents.yamltext import resolve


class _Representer(Plain):
    """Texts of several lines as blocks."""


def _text(representer: SafeRepresenter, text: str) -> ScalarNode:
    """Quoted where another YAML reader (kubectl's) would take it for something else than a string."""
    value, trap = resolve(text)
    style = '"' if trap is not None or not isinstance(value, str) else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _block(representer: SafeRepresenter, text: LiteralScalarString) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style="|")


_Representer.add_representer(str, _text)
_Representer.add_representer(LiteralScalarString, _block)


def to_yaml(value: JsonValue) -> str:
    return yaml_text(_blocks(value), _Representer)


def _blocks(value: JsonValue) -> object:
    match value:
        case dict():
            return {name: _blocks(inner) for name, inner in value.items()}
        case list():
            return [_blocks(inner) for inner in value]
        case str() if "\n" in value:
            return LiteralScalarString(value)
        case _:
            return value
