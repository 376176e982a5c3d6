"""Going back to what a tree was ready with. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from reconciler.core.keys import Json, JsonValue, as_map

Path = tuple[str, ...]


NOT_ROLLED_OUT = ("mode", "replicas")
"""Fields of a tree and of its nodes that no rollout brings to machines, so that an undo leaves them alone: who sleeps is not woken by
it, and nobody is put to sleep."""


def rolled_out(spec: Json) -> Json:
    """Of a tree's spec what an undo of a rollout takes back."""
    kept = {name: value for name, value in spec.items() if name not in NOT_ROLLED_OUT}
    if isinstance(nodes := spec.get("nodes"), list):
        kept["nodes"] = [rolled_out(node) if isinstance(node, dict) else node for node in nodes]
    return kept


def revision_of(spec: Json) -> str:
    """What is rolled out of a spec, as it is remembered: equal ones are equal texts."""
    return json.dumps(rolled_out(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def good_before(revisions: Sequence[str], spec: Json) -> Json | None:
    """What was rolled out when all nodes were ready last, and is something else than what this spec has; None: nothing is known."""
    now = rolled_out(spec)
    known = (rolled_out(as_map(json.loads(one))) for one in reversed(revisions))  # an earlier release remembered whole specs
    return next((one for one in known if one != now), None)


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
