"""Whether a cluster serves our kinds as this release knows them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.meta import GROUP, VERSION
from reconciler.api.registry import KINDS, Kind
from reconciler.api.schema import structural
from reconciler.core.keys import Json, JsonValue, as_map

DISCOVERY = f"/apis/{GROUP}/{VERSION}"
OPENAPI = f"/openapi/v3/apis/{GROUP}/{VERSION}"


def missing(discovered: Json) -> list[str]:
    """Kinds that are not served at all. `discovered`: what `DISCOVERY` says."""
    resources = discovered.get("resources")
    served = {str(as_map(one).get("name")) for one in (resources if isinstance(resources, list) else [])}
    return [kind.plural for kind in KINDS if kind.plural not in served or f"{kind.plural}/status" not in served]


def differences(document: Json) -> list[str]:
    """`KIND.PATH` wherever a spec is declared otherwise than here; `document`: what `OPENAPI` says. Words of explanation do not count."""
    schemas = as_map(as_map(document.get("components")).get("schemas"))
    prefix = f"{'.'.join(reversed(GROUP.split('.')))}.{VERSION}"
    there = {kind: as_map(as_map(schemas.get(f"{prefix}.{kind.name}")).get("properties")).get("spec") for kind in KINDS}
    return [path for kind in KINDS for path in _unlike(ours(kind), there[kind], kind.name)]


def ours(kind: Kind) -> Json:
    """The schema of a kind's spec, as the CRD of this release has it."""
    return structural(kind.spec)


def _unlike(here: JsonValue, there: JsonValue, path: str) -> Iterator[str]:
    """Named by fields alone: `Lieutenant.model.thinking`, whatever of it is unlike."""
    a, b = as_map(here), as_map(there)
    fields, others = as_map(a.get("properties")), as_map(b.get("properties"))
    for name in dict.fromkeys((*fields, *others)):
        if name not in fields or name not in others:
            yield f"{path}.{name}"
        else:
            yield from _unlike(fields[name], others[name], f"{path}.{name}")
    if isinstance(a.get("items"), dict) and isinstance(b.get("items"), dict):
        yield from _unlike(a["items"], b["items"], path)
    deeper = {"properties", "items", "description"}
    if {name: value for name, value in a.items() if name not in deeper} != {name: value for name, value in b.items() if name not in deeper}:
        yield path
