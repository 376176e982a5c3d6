"""Objects that one object declares on behalf of itself: in the cluster they are its own, and go with it."""

from __future__ import annotations

from reconciler.api.version import API_VERSION
from reconciler.core.keys import Json, JsonValue, Key, SlotOwner, as_map, as_maps
from reconciler.core.tree.places import key_of, uid_of
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.declared import Declared
from reconciler.sources.kube import raw


def slot_of(tree: Key, uid: str, place: str) -> SlotOwner:
    """The slot of a machine that a tree has itself. `uid`: the tree's."""
    return SlotOwner.of(key_of(tree, place, agent=False), uid_of(uid, place))


def body(declared: Declared, owner: StoredObject) -> Json:
    """A new object. It carries our finalizer from its birth, so that nothing outside is ever made that the cluster would forget."""
    reference: Json = {
        "apiVersion": API_VERSION,
        "kind": owner.key.kind,
        "name": owner.key.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    fresh: Json = {"apiVersion": API_VERSION, "kind": declared.key.kind, "metadata": {"name": declared.key.name}}
    finalizers: list[JsonValue] = list(raw.ours({**fresh, "metadata": {"name": declared.key.name, "namespace": declared.key.namespace}}))
    metadata: Json = {
        "name": declared.key.name,
        "namespace": declared.key.namespace,
        "labels": dict(declared.labels),
        "annotations": dict(declared.annotations),
        "finalizers": finalizers,
        "ownerReferences": [reference],
    }
    return {**fresh, "metadata": metadata, "spec": declared.spec}


def belongs_to(obj: Json, owner: StoredObject) -> bool:
    """Whether this very owner controls it."""
    references = as_maps(raw.metadata(obj).get("ownerReferences"))
    return any(one.get("controller") is True and one.get("uid") == owner.uid for one in references)


def put_right(obj: Json, declared: Declared) -> Json:
    """The object with what is declared in it; labels and annotations of others, and what people ask for by annotation, stay."""
    metadata = raw.metadata(obj)
    labels: Json = {**as_map(metadata.get("labels")), **declared.labels}
    annotations: Json = {**as_map(metadata.get("annotations")), **declared.annotations}
    spec: JsonValue = raw.without_nulls(declared.spec)
    same = raw.without_nulls(raw.spec(obj)) == spec
    notes = annotations if annotations or "annotations" in metadata else None
    changed: Json = {**metadata, "labels": labels, **({"annotations": notes} if notes is not None else {})}
    return {**obj, "metadata": changed, "spec": obj.get("spec") if same else spec}
