"""JSON values as YAML for people: block style, nothing sorted, nothing wrapped, no anchors."""

from __future__ import annotations

import io

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

TRUE_11 = frozenset({"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})
FALSE_11 = frozenset({"n", "N", "no", "No", "NO", "off", "Off", "OFF"})
"""What YAML 1.1, and so kubectl, reads as a truth value where a string was meant."""


class Plain(SafeRepresenter):
    """Writes equal objects out each time: anchors would depend on identity."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(representer: SafeRepresenter, text: str) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style='"' if text in TRUE_11 | FALSE_11 else None)


Plain.add_representer(str, _text)


def yaml_text(value: object, representer: type[Plain] = Plain) -> str:
    """The same value gives the same text."""
    writer = YAML(typ="safe", pure=True)
    writer.Representer = representer
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared as None there
    writer.width = 4096
    text = io.StringIO()
    writer.dump(value, text)
    return text.getvalue()
