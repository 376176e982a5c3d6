"""Models to schemas: the structural one of a CRD, and JSON schema for editors.

What pydantic writes and Kubernetes forbids (`$ref`, `anyOf` with null, `const`, defaults that are models, titles, ...) is rewritten
here or refused; the table of rules is in field-anchors §6.2. No defaults go into a CRD: nothing is written back into a user's spec.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from pydantic import BaseModel, TypeAdapter

from reconciler.api.meta import API_VERSION, Json, JsonValue
from reconciler.api.registry import Kind
from reconciler.api.status.base import Section
from reconciler.errors import Terminal

_NOT_STRUCTURAL = frozenset({"oneOf", "allOf", "prefixItems", "patternProperties", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum"})

TOO_DEEP = 2
"""Lists within lists from which on a text is judged by its pattern alone."""


def structural(model: type[BaseModel] | type[Section]) -> Json:
    """The structural schema of a model, references inlined. Raises `Terminal` for what a CRD can't express (a mistake of ours)."""
    return _for_cluster(_inlined(model), model.__name__)


def for_editors(kind: Kind) -> Json:
    """A self-contained JSON schema (2020-12) of whole documents of one kind: closed, with descriptions and scalar defaults."""
    found = _for_editors(_inlined(kind.model))
    properties = found["properties"]
    assert isinstance(properties, dict)
    properties["apiVersion"] = {"description": "Group and version of this API.", "enum": [API_VERSION], "type": "string"}
    properties["kind"] = {"description": f"`{kind.name}`.", "enum": [kind.name], "type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:fleet.vers.sh:v1alpha1:{kind.singular}",
        "title": kind.name,
        **found,
        "required": ["apiVersion", "kind", "metadata", "spec"],
    }


def settings_for_editors(model: type[BaseModel], name: str) -> Json:
    """A self-contained JSON schema of a file that is no document of a kind; `name`: of what it is about, in lower case."""
    head: Json = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:fleet.vers.sh:v1alpha1:{name}",
        "title": name.capitalize(),
    }
    return {**head, **_for_editors(_inlined(model))}


def any_document(kinds: Sequence[Kind]) -> Json:
    """One schema for files that hold documents of any kind, referring to the others by `KIND.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:fleet.vers.sh:v1alpha1:any",
        "title": "Any document of fleet.vers.sh",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": [kind.name for kind in kinds]}},
        "allOf": [{"if": {"properties": {"kind": {"const": kind.name}}}, "then": {"$ref": f"{kind.singular}.json"}} for kind in kinds],
    }


def _inlined(model: type) -> Json:
    raw = _as_pydantic_says(model)
    definitions = raw.get("$defs", {})
    assert isinstance(definitions, dict)
    inlined = _inline({key: value for key, value in raw.items() if key != "$defs"}, definitions, ())
    assert isinstance(inlined, dict)
    return inlined


@cache
def _as_pydantic_says(model: type) -> Json:
    """The same at every call, and most of what a schema costs; nobody changes it, `_inline` makes everything anew."""
    return TypeAdapter(model).json_schema(by_alias=True, mode="validation")


def _inline(node: JsonValue, definitions: Json, within: tuple[str, ...]) -> JsonValue:
    """References replaced by what they mean; what stands beside a reference wins (a field's own description)."""
    if isinstance(node, list):
        return [_inline(one, definitions, within) for one in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix("#/$defs/")
        if name == "JsonValue":
            return {"x-kubernetes-preserve-unknown-fields": True}
        if name in within:
            raise Terminal(f"{name} contains itself, which a CRD can't express", remedy="flatten it into a list of named items")
        target = _inline(definitions[name], definitions, (*within, name))
        assert isinstance(target, dict)
        beside = {key: _inline(value, definitions, within) for key, value in node.items() if key != "$ref"}
        return {**target, **beside}
    found: Json = {}
    for key, value in node.items():
        if key == "properties" and isinstance(value, dict):
            # Names of fields, not keywords.
            found[key] = {name: _inline(inner, definitions, within) for name, inner in value.items()}
        else:
            found[key] = _inline(value, definitions, within)
    return _without_null(found)


def _without_null(node: Json) -> Json:
    """`anyOf: [T, null]` is T: null means left out."""
    options = node.get("anyOf")
    if not isinstance(options, list):
        return node
    real = [option for option in options if option != {"type": "null"}]
    if len(real) != 1 or not isinstance(real[0], dict):
        raise Terminal(
            "a field has several types, which a CRD can't express", str(node.get("title", "")), "use optional fields and a one-of rule"
        )
    rest = {key: value for key, value in node.items() if key != "anyOf" and not (key == "default" and value is None)}
    return {**real[0], **rest}


def _for_cluster(node: Json, where: str) -> Json:
    found: Json = {}
    for key, value in node.items():
        if key in ("title", "default") or (key == "additionalProperties" and value is False):
            continue
        if key == "propertyNames":
            continue  # a map's keys can't be described in a CRD
        if key == "format" and node.get("type") == "string":
            continue  # an API server that knows the format takes lists for such strings; patterns say it
        if key == "x-kubernetes-validations" and node.get("type") == "string" and where.count("[]") >= TOO_DEEP:
            continue  # an API server multiplies its cost by the length of every list, and takes none that is too dear
        if key in _NOT_STRUCTURAL:
            raise Terminal(f"`{key}` can't stand in a CRD", where, "say it with a marker of reconciler.api.markers")
        if key == "const":
            found["enum"] = [value]
        elif key == "properties" and isinstance(value, dict):
            found[key] = {name: _for_cluster(inner, f"{where}.{name}") for name, inner in value.items() if isinstance(inner, dict)}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            found[key] = _for_cluster(value, f"{where}[]")
        else:
            found[key] = value
    return _with_default(found, node)


def _with_default(found: Json, node: Json) -> Json:
    """The default as a sentence of the description: people should know it, the API server must not write it."""
    default, text = node.get("default"), found.get("description")
    if isinstance(default, str | int | bool) and default != "" and isinstance(text, str):
        word = str(default).lower() if isinstance(default, bool) else str(default)
        found["description"] = f"{text} Default: {word}."
    return found


def _for_editors(node: Json) -> Json:
    found: Json = {}
    for key, value in node.items():
        if key == "title" or key.startswith("x-kubernetes-") or (key == "default" and not isinstance(value, str | int | bool)):
            continue
        if key == "const":
            found["enum"] = [value]
        elif key == "properties" and isinstance(value, dict):
            found[key] = {name: _for_editors(inner) for name, inner in value.items() if isinstance(inner, dict)}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            found[key] = _for_editors(value)
        else:
            found[key] = value
    return found
