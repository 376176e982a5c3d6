"""Commands around the kinds that need no controller: explain, crds, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconciler.api import generate
from reconciler.api.registry import KINDS, Kind, kind_of
from reconciler.api.schema import structural
from reconciler.api.version import API_VERSION
from reconciler.cli.output import out
from reconciler.config import Config
from reconciler.core.keys import Json, JsonValue
from reconciler.errors import UsageError

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Write below this directory.")]


def crds(
    config: Config,
    out_: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write a file a kind there; without it, print them.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what differs from --out, from the checkout here, or from what is installed.")
    ] = False,
) -> None:
    """Make the CustomResourceDefinitions of all kinds."""
    if check:
        root = out_ or Path()
        if (root / generate.CRDS).is_dir():
            differences = generate.check(root)
        else:
            differences = generate.check_folder(out_) if out_ is not None else generate.check_packaged()
        for line in differences:
            out(line)
        raise typer.Exit(1 if differences else 0)
    made = generate.generate_crds()
    if out_ is None:
        out("---\n".join(made.values()).rstrip("\n"))
    else:
        _write(out_, made)


def schema(config: Config, out_: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write them there.")] = None) -> None:
    """Make JSON schemas for editors.

    Without --out, print the one for files that mix kinds."""
    made = generate.generate_schemas()
    if out_ is None:
        out(made["any.json"].rstrip("\n"))
    else:
        _write(out_, made)


def _write(folder: Path, made: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (folder / name).write_text(text, "utf-8")
        out(str(folder / name))


def explain(
    config: Config,
    field: Annotated[str, typer.Argument(metavar="KIND[.FIELD…]", help="Such as `lieutenant.spec.limits`.", show_default=False)],
    recursive: Annotated[bool, typer.Option("--recursive", help="The names of all fields inside too.")] = False,
) -> None:
    """Explain a kind or one of its fields."""
    word, _, path = field.partition(".")
    kind = kind_of(word)
    if kind is None:
        raise UsageError(f"unknown kind {word!r}", field, f"use one of {', '.join(k.singular for k in KINDS)}")
    node = _walk(kind, [step for step in path.split(".") if step], field)
    out(f"KIND:     {kind.name}\nVERSION:  {API_VERSION}")
    if path:
        out(f"FIELD:    {path} <{_type(node)}>")
    out(f"\nDESCRIPTION:\n    {node.get('description', 'No description.')}")
    for title, text in _facts(node):
        out(f"    {title}: {text}")
    fields = _fields(node)
    if fields:
        out("\nFIELDS:")
        _list(node, 1, recursive)
        if not path and not recursive:
            out(f"\nFIELDS of spec (`reconciler explain {kind.singular}.FIELD` explains one):")
            _list(fields["spec"], 1, False)


def _list(node: Json, depth: int, recursive: bool) -> None:
    """Each field with its type and what it says; with those inside it below it, and without what they say, when `recursive`."""
    required = node.get("required")
    for name, inner in _fields(node).items():
        needed = " -required-" if isinstance(required, list) and name in required else ""
        out(f"{'  ' * depth}{name} <{_type(inner)}>{needed}")
        if recursive:
            _list(inner, depth + 1, True)
        elif description := inner.get("description"):
            out(f"{'  ' * (depth + 2)}{description}")


def _walk(kind: Kind, steps: list[str], where: str) -> Json:
    node: Json = {"type": "object", "description": (kind.model.__doc__ or "").strip(), "properties": _top(kind)}
    if steps and steps[0] not in _fields(node):
        steps = ["spec", *steps]  # `explain lt.mode` means the spec
    for step in steps:
        fields = _fields(node)
        if step not in fields:
            raise UsageError(f"there is no field {step!r}", where, f"use one of {', '.join(fields) or 'none: it has no fields'}")
        node = fields[step]
    return node


def _top(kind: Kind) -> Json:
    """The fields that every object has."""
    metadata: Json = {"type": "object", "description": "Name, namespace, labels and annotations, as Kubernetes has them."}
    return {
        "apiVersion": {"type": "string", "description": f"{API_VERSION}."},
        "kind": {"type": "string", "description": f"{kind.name}."},
        "metadata": metadata,
        "spec": {"description": "What is declared.", **structural(kind.spec)},
        "status": {"description": "What is true.", **structural(kind.status)},
    }


def _fields(node: Json) -> dict[str, Json]:
    items = node.get("items")
    within = items if isinstance(items, dict) else node
    properties = within.get("properties")
    return {name: inner for name, inner in properties.items() if isinstance(inner, dict)} if isinstance(properties, dict) else {}


def _type(node: Json) -> str:
    items = node.get("items")
    if isinstance(items, dict):
        return f"[]{_type(items)}"
    more = node.get("additionalProperties")
    if isinstance(more, dict):
        return f"map[string]{_type(more)}"
    return str(node.get("type", "any"))


_FACTS = {
    "enum": "One of",
    "default": "Default",
    "pattern": "Pattern",
    "minimum": "Least",
    "maximum": "Most",
    "minLength": "Shortest",
    "maxLength": "Longest",
    "maxItems": "Most items",
}


def _facts(node: Json) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, title in _FACTS.items():
        value: JsonValue = node.get(name)
        if value is not None:
            found.append((title, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return found
