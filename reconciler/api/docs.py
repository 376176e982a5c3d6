"""The API in words: `docs/api.md`, and `explain` on a command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.api.catalogue import REASONS
from reconciler.api.conditiontypes import ConditionType
from reconciler.api.meta import API_VERSION, Json, JsonValue
from reconciler.api.registry import KINDS, Kind, kind_of
from reconciler.api.schema import structural
from reconciler.api.support import SUPPORT, Support, entry_of
from reconciler.errors import UsageError


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind. `path` from the top (`spec.env[].name`), `type` for people, `bounds` '' when there are none."""

    path: str
    type: str
    required: bool
    description: str
    bounds: str
    rules: tuple[str, ...]
    support: Support


def fields(kind: Kind) -> list[Field]:
    """Every field of a kind's spec, outer ones first."""
    return list(_walk(structural(kind.spec), "spec", kind.name))


def status_fields(kind: Kind) -> list[Field]:
    """Every field of a kind's status, outer ones first."""
    return list(_walk(structural(kind.status), "status", ""))


def _is_planned(kind: Kind, field: Field) -> bool:
    return field.path.split(".")[1].removesuffix("[]") in kind.status.planned


_PLANNED = "Not written by this release."


def explain(words: str) -> str:
    """`KIND[.FIELD…]` → its documentation, as text. Raises `UsageError` for what does not exist, naming what does."""
    head, _, rest = words.partition(".")
    kind = kind_of(head)
    if kind is None:
        raise UsageError(f"kind {head!r} is unknown", remedy=f"use one of {', '.join(one.singular for one in KINDS)}")
    wanted = rest.replace("[]", "")
    top = "status" if wanted.partition(".")[0] == "status" else "spec"
    wanted = wanted.removeprefix(top).removeprefix(".")
    path = f"{top}.{wanted}" if wanted else top
    known = {field.path.replace("[]", ""): field for field in (fields(kind) if top == "spec" else status_fields(kind))}
    below = [name for name in known if name.startswith(f"{path}.") and "." not in name[len(path) + 1 :]]
    if path != top and path not in known:
        parent = path.rpartition(".")[0]
        near = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent]
        raise UsageError(
            f"{kind.name} has no field {path}", remedy=f"there is {', '.join(near)}" if near else f"see `explain {kind.singular}`"
        )
    lines = [f"KIND: {kind.name}", f"VERSION: {API_VERSION}", ""]
    if path in known:
        field = known[path]
        lines += [f"FIELD: {field.path} <{field.type}>{' -required-' if field.required else ''}", "", f"  {field.description}"]
        lines += [f"  {field.bounds}"] if field.bounds else []
        lines += [f"  Rule: {rule}" for rule in field.rules]
        lines += [f"  In this release: {field.support.value}."] if field.support is not Support.ACTED_ON else []
        lines += [f"  {_PLANNED}"] if top == "status" and _is_planned(kind, field) else []
    else:
        lines += [f"  {((kind.model if top == 'spec' else kind.status).__doc__ or '').strip()}"]
    if below:
        lines += ["", "FIELDS:"]
        for name in below:
            field = known[name]
            lines += [f"  {name.rpartition('.')[2]} <{field.type}>{' -required-' if field.required else ''}", f"    {field.description}"]
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """The whole of `docs/api.md`."""
    lines = [
        "# API",
        "",
        f"Group and version `{API_VERSION}`. Made by `reconciler crds`; do not edit.",
        "",
        "Unset is not the default: what is left out stays out of your document, and the default named here is used for reading it.",
        "A null counts as left out. `[]` stands for each item of a list.",
        "",
    ]
    for kind in KINDS:
        lines += _kind_page(kind)
    lines += ["## Conditions", "", "| type | meaning |", "|---|---|"]
    lines += [f"| `{one}` | {_cell(one.meaning)} |" for one in ConditionType]
    lines += ["", "## Reasons", "", "| reason | meaning | what to do |", "|---|---|---|"]
    lines += [f"| `{one}` | {_cell(one.meaning)} | {_cell(one.remedy)} |" for one in sorted(REASONS.values())]
    return "\n".join(lines) + "\n"


def _kind_page(kind: Kind) -> Iterator[str]:
    yield f"## {kind.name}"
    yield ""
    yield f"{(kind.model.__doc__ or '').strip()} Also called {', '.join(f'`{word}`' for word in kind.words)}."
    yield ""
    if kind.name in SUPPORT and SUPPORT[kind.name].get("") not in (None, Support.ACTED_ON):
        yield f"The whole kind is {SUPPORT[kind.name][''].value}."
        yield ""
    yield "| field | type | description | bounds |"
    yield "|---|---|---|---|"
    rules: list[str] = []
    for field in fields(kind):
        note = f" *In this release {field.support.value}.*" if field.support is not Support.ACTED_ON else ""
        need = " **Required.**" if field.required else ""
        yield f"| `{field.path}` | {field.type} | {_cell(field.description)}{need}{note} | {_cell(field.bounds)} |"
        rules += [f"- `{field.path}`: {rule}." for rule in field.rules]
    whole = [rule.message for rule in (*kind.model.rules, *kind.spec.rules)] + [rule.message for rule in kind.spec.transitions]
    rules = [f"- {message}." for message in whole] + rules
    if rules:
        yield ""
        yield "Rules:"
        yield ""
        yield from rules
    yield ""
    yield f"### Status of a {kind.name}"
    yield ""
    yield (kind.status.__doc__ or "").strip()
    yield ""
    yield "| field | type | description | bounds |"
    yield "|---|---|---|---|"
    for field in status_fields(kind):
        note = f" *{_PLANNED}*" if _is_planned(kind, field) else ""
        yield f"| `{field.path}` | {field.type} | {_cell(field.description)}{note} | {_cell(field.bounds)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")


def _walk(node: Json, path: str, kind: str) -> Iterator[Field]:
    properties, required = node.get("properties"), node.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return
    for name, inner in properties.items():
        if not isinstance(inner, dict):
            continue
        here, items = f"{path}.{name}", inner.get("items")
        is_list = isinstance(items, dict)
        yield Field(
            path=f"{here}[]" if is_list else here,
            type=_type(inner),
            required=name in required,
            description=str(inner.get("description", "")).replace("\n", " "),
            bounds=_bounds(inner),
            rules=_rules(items if isinstance(items, dict) else inner),
            support=_support(kind, here),
        )
        if isinstance(items, dict):
            yield from _walk(items, f"{here}[]", kind)
        else:
            yield from _walk(inner, here, kind)


def _support(kind: str, path: str) -> Support:
    table = SUPPORT.get(kind, {})
    if "" in table:
        return Support.ACTED_ON  # said once for the whole kind
    entry = entry_of(table, path.replace("[]", "").removeprefix("spec").removeprefix("."))
    return table[entry] if entry is not None else Support.ACTED_ON


def _rules(node: Json) -> tuple[str, ...]:
    told = node.get("x-kubernetes-validations", [])
    return tuple(str(one["message"]) for one in told if isinstance(one, dict)) if isinstance(told, list) else ()


def _type(node: Json) -> str:
    items = node.get("items")
    if isinstance(items, dict):
        return f"list of {_type(items)}"
    names: dict[JsonValue, str] = {"object": "map", "integer": "integer", "boolean": "boolean", "string": "string", "number": "number"}
    return "enum" if "enum" in node else names.get(node.get("type"), "any")


def _bounds(node: Json) -> str:
    said: list[str] = []
    items = node.get("items")
    choices = node.get("enum") or (items.get("enum") if isinstance(items, dict) else None)
    if isinstance(choices, list):
        said.append("one of " + ", ".join(f"`{choice}`" for choice in choices))
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None or high is not None:
        said.append(f"{low if low is not None else ''} to {high if high is not None else ''}")
    for key, noun in (("maxLength", "characters"), ("maxItems", "items"), ("maxProperties", "entries")):
        if key in node:
            said.append(f"at most {node[key]} {noun}")
    if isinstance(items, dict) and "maxLength" in items:
        said.append(f"each at most {items['maxLength']} characters")
    return ", ".join(said)
