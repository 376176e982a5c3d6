"""What waits for a person, as one list: questions about tool calls, blocks and failures, each with its age (G-37)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.api.version import API_VERSION
from reconciler.core.attention import Attention, attention_of, attention_of_repository
from reconciler.core.keys import Json, JsonValue, as_map, as_maps, short, task
from reconciler.engine.ports import StoredObject
from reconciler.views.documents import APPROVAL, ATTENTION

TASK = task("", "").kind


def approvals(tasks: Iterable[StoredObject]) -> Iterator[tuple[str, Json]]:
    """One document for each tool call that waits, oldest first; named after its question."""
    found = [(obj, ask) for obj in tasks for ask in as_maps(obj.status.get("asks"))]
    for obj, ask in sorted(found, key=lambda one: str(one[1].get("since", ""))):
        told: Json = {name: ask.get(name, "") for name in ("call", "part", "rule", "level")}
        lieutenant = as_map(obj.spec.get("lieutenantRef")).get("name", "")
        name = f"{obj.key.name}/{ask.get('id', '')}"
        yield name, _document(APPROVAL, obj.key.namespace, name, ask.get("since"), {"task": obj.key.name, "lieutenant": lieutenant, **told})


def attention(objects: Iterable[StoredObject], repositories: Iterable[str] = ()) -> Iterator[tuple[str, Json]]:
    """One document for each object, and each repository, that a person must look at, oldest first. `repositories`: their rows."""
    found: list[tuple[str, str, Json]] = []
    for obj in objects:
        needed = attention_of(obj.status)
        if needed is None:
            continue
        name = short(obj.key)
        found.append((needed.since, name, _document(ATTENTION, obj.key.namespace, name, needed.since, _told(needed))))
    for row in repositories:
        if (wrong := attention_of_repository(row)) is not None:
            url, needed = wrong
            name = f"repository/{url}"
            found.append((needed.since, name, _document(ATTENTION, "", name, needed.since, _told(needed))))
    yield from ((name, doc) for _, name, doc in sorted(found, key=lambda one: one[:2]))


def _told(needed: Attention) -> Json:
    return {"sort": needed.sort, "reason": needed.reason, "message": needed.message, "remedy": needed.remedy}


def _document(kind: str, namespace: str, name: str, since: JsonValue, status: Json) -> Json:
    metadata: Json = {"name": name, "namespace": namespace, **({"creationTimestamp": since} if since else {})}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "status": status}
