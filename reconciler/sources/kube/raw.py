"""Objects as an API server tells of them, read with care: every field may be missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.api.annotations import PREFIX
from reconciler.api.meta import GROUP
from reconciler.api.registry import BY_NAME, finalizers_of
from reconciler.core.keys import Json, JsonValue, Key, as_map, as_strings
from reconciler.core.times import seconds
from reconciler.engine.state.declared import Intake

SOURCE = "kube"
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""A copy of the declaration that kubectl keeps in an annotation; nobody's business but kubectl's."""


def key_of(raw: Json) -> Key | None:
    """Whose object it is; None when it is none of ours."""
    kind, meta = raw.get("kind"), metadata(raw)
    if not isinstance(kind, str) or kind not in BY_NAME or not str(raw.get("apiVersion", "")).startswith(f"{GROUP}/"):
        return None
    return Key(kind, str(meta.get("namespace", "")), str(meta.get("name", "")))


def metadata(raw: Json) -> Json:
    return as_map(raw.get("metadata"))


def uid(raw: Json) -> str:
    return str(metadata(raw).get("uid", ""))


def version(raw: Json) -> str:
    return str(metadata(raw).get("resourceVersion", ""))


def generation(raw: Json) -> int:
    found = metadata(raw).get("generation")
    return found if isinstance(found, int) and 0 < found < 1 << 53 else 1


def deleting(raw: Json) -> bool:
    return bool(metadata(raw).get("deletionTimestamp"))


def spec(raw: Json) -> Json:
    return as_map(raw.get("spec"))


def status(raw: Json) -> Json:
    return as_map(raw.get("status"))


def finalizers(raw: Json) -> list[str]:
    found = metadata(raw).get("finalizers")
    return [str(one) for one in found] if isinstance(found, list) else []


def ours(raw: Json) -> tuple[str, ...]:
    """The finalizers that objects of this kind carry while anything of them is outside."""
    key = key_of(raw)
    return finalizers_of(key.kind) if key is not None else ()


def older(one: Json, other: Json) -> bool:
    """Both of one object, and `one` was superseded by `other`. Versions that are no numbers count as news."""
    a, b = version(one), version(other)
    return uid(one) == uid(other) and _is_number(a) and _is_number(b) and int(a) < int(b)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 40


def intake(key: Key, raw: Json, source_id: str = "") -> Intake:
    """What the engine is told of it."""
    meta = metadata(raw)
    return Intake(
        key=key,
        uid=uid(raw),
        generation=generation(raw),
        created_at=seconds(meta.get("creationTimestamp")) or 0.0,
        spec=spec(raw),
        labels=as_strings(meta.get("labels")),
        annotations={name: value for name, value in as_strings(meta.get("annotations")).items() if name != APPLIED},
        source=SOURCE,
        deleted_at=seconds(meta.get("deletionTimestamp")),
        source_id=source_id,
    )


REFERENCES = {"secretKeyRef": "secrets", "configMapKeyRef": "configmaps"}


def references(value: JsonValue) -> Iterator[tuple[str, str]]:
    """(plural, name) of the Secrets and ConfigMaps that a spec refers to, wherever in it."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            for field, plural in REFERENCES.items():
                ref = one.get(field)
                if isinstance(ref, dict) and isinstance(ref.get("name"), str):
                    yield plural, str(ref["name"])
            left += one.values()


def without_nulls(value: JsonValue) -> JsonValue:
    """As an API server may keep it: map entries that are null left out."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def around_a_deletion(annotations: Mapping[str, str]) -> tuple[Json, Json]:
    """Which of these are written before the deletion that they go with, and which after it. A confirmation is one of what is asked for at
    that moment: seen before the deletion, it would be taken for one of something else. All others say how it is to go."""
    confirmed = f"{PREFIX}delete-confirmed"
    before: Json = {name: value for name, value in annotations.items() if name != confirmed}
    return before, {confirmed: annotations[confirmed]} if confirmed in annotations else {}
