"""What a boot profile comes to with everything that it extends, and where each part of it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.keys import Json, JsonValue, as_map, as_maps
from reconciler.views.documents import Table, text_at

ARROW = " → "
MISSING, CYCLE = "missing", "extends itself"
_WORDS = ("organs", "capabilities")
_NAMED = {"files": "path", "steps": "name", "verify": "name", "env": "name"}
"""Lists whose items replace those of the same name in what is extended."""


@dataclass(frozen=True, slots=True)
class Chain:
    """`names`: the profile first, then what it extends; `flaw`: why it does not resolve, '' when it does."""

    names: tuple[str, ...]
    flaw: str = ""

    @property
    def extended(self) -> str:
        """What it extends, for a column; '' for nothing."""
        return ARROW.join(self.names[1:]) + (f" ({self.flaw})" if self.flaw else "")


def chain(name: str, specs: Mapping[str, Json]) -> Chain:
    """What a profile extends, by the specs of all profiles there are."""
    names: list[str] = []
    at = name
    while at:
        if at in names:
            return Chain((*names, at), CYCLE)
        names.append(at)
        if at not in specs:
            return Chain(tuple(names), MISSING)
        at = text_at(specs[at], ".extends.name")
    return Chain(tuple(names))


def with_chains(documents: Sequence[Json], specs: Mapping[str, Json]) -> list[Json]:
    """The documents for a table: each profile's `extends` names all that it comes to."""
    return [_with_chain(doc, specs) if doc.get("kind") == "BootProfile" else doc for doc in documents]


def _with_chain(doc: Json, specs: Mapping[str, Json]) -> Json:
    found = chain(text_at(doc, ".metadata.name"), specs)
    return {**doc, "spec": {**as_map(doc.get("spec")), "extends": {"name": found.extended}}} if found.names[1:] else doc


def resolved(name: str, specs: Mapping[str, Json], origins: Mapping[str, str]) -> Table | str:
    """Each part with its value and the profile that it comes from; a sentence where the profile does not resolve. `origins`: of each
    profile, where it is declared."""
    found = chain(name, specs)
    if found.flaw:
        return f"does not resolve: {ARROW.join(found.names)} ({found.flaw})"
    parts: dict[tuple[str, str], tuple[str, str]] = {}
    for at in reversed(found.names):
        for field, key, value in _parts(specs[at]):
            parts[(field, key)] = (value, at)
    lines: dict[tuple[str, str], list[str]] = {}
    for (field, _), (value, at) in parts.items():
        lines.setdefault((field, at), []).append(value)
    rows = [(field, ", ".join(values), f"{at} ({origins[at]})" if at in origins else at) for (field, at), values in lines.items()]
    return Table(("FIELD", "VALUE", "FROM"), tuple(rows))


def _parts(spec: Json) -> Iterator[tuple[str, str, str]]:
    """(field, what distinguishes this part of it, value) of everything that a profile says."""
    for field in ("source", "resources", "bake"):
        for key, value in as_map(spec.get(field)).items():
            yield (f"{field}.{key}", "", _plain(value)) if field != "source" else ("source", "", f"{key} {_plain(value)}")
    for field in _WORDS:
        words = spec.get(field)
        for word in words if isinstance(words, list) else ():
            yield field, str(word), str(word)
    for field, name in _NAMED.items():
        for item in as_maps(spec.get(field)):
            yield field, str(item.get(name)), str(item.get(name))
    agent = as_map(spec.get("agent"))
    for field in ("workDir", "command"):
        if field in agent:
            yield f"agent.{field}", "", _plain(agent[field])
    if model := as_map(agent.get("model")):
        yield "agent.model", "", f"{model.get('provider')}/{model.get('id')}"
    for provider in as_maps(agent.get("providers")):
        yield "agent.providers", str(provider.get("name")), f"{provider.get('name')} {provider.get('baseUrl')}"
    for field in ("extensions", "skills"):
        words = agent.get(field)
        for word in words if isinstance(words, list) else ():
            yield f"agent.{field}", str(word), str(word)


def _plain(value: JsonValue) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
