"""Going back to what a tree was ready with. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from reconciler.core.keys import Json, JsonValue, as_map

Path = tuple[str, ...]


def revision_of(spec: Json) -> str:
    """A spec, as it is remembered: equal specs are equal texts."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def good_before(revisions: Sequence[str], spec: Json) -> Json | None:
    """The newest spec with which all nodes were ready and that is another one than this; None: none is known."""
    now = revision_of(spec)
    found = next((one for one in reversed(revisions) if one != now), None)
    return as_map(json.loads(found)) if found is not None else None


def differences(now: JsonValue, before: JsonValue, at: Path = ()) -> list[tuple[Path, JsonValue]] | None:
    """What has to be set in `now`, by path, to make it what it was before; a None takes the field away. None where a list became longer or
    shorter: that some of it came or went is not taken back in silence."""
    if now == before:
        return []
    if isinstance(now, dict) and isinstance(before, dict):
        found: list[tuple[Path, JsonValue]] = []
        for name in [*before, *(name for name in now if name not in before)]:
            if name not in before or name not in now:
                found.append(((*at, name), before.get(name)))
                continue
            inner = differences(now[name], before[name], (*at, name))
            if inner is None:
                return None
            found += inner
        return found
    if isinstance(now, list) and isinstance(before, list):
        if len(now) != len(before):
            return None
        items = [differences(one, other, (*at, str(index))) for index, (one, other) in enumerate(zip(now, before, strict=True))]
        return None if any(item is None for item in items) else [change for item in items for change in item or []]
    return [(at, before)]
