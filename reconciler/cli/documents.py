"""Stored objects and the platform's VMs as the JSON that commands print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from reconciler.api.version import API_VERSION
from reconciler.cli import jsonpath
from reconciler.cli.names import VM
from reconciler.core.keys import Json, JsonValue
from reconciler.core.times import timestamp
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.core.snapshot.vm import Vm
    from reconciler.engine.ports import Event, StoredObject


def document(obj: StoredObject) -> Json:
    """The resource: apiVersion, kind, metadata, spec, status. The private record is no part of it."""
    metadata: Json = {
        "name": obj.key.name,
        "namespace": obj.key.namespace,
        "uid": obj.uid,
        "generation": obj.generation,
        "resourceVersion": str(obj.version),
        "creationTimestamp": timestamp(obj.created_at),
        "labels": dict(obj.labels),
        "annotations": dict(obj.annotations),
        "finalizers": list(obj.finalizers),
    }
    if obj.deleted_at is not None:
        metadata["deletionTimestamp"] = timestamp(obj.deleted_at)
    return {"apiVersion": API_VERSION, "kind": obj.key.kind, "metadata": metadata, "spec": obj.spec, "status": obj.status}


def vm_document(vm: Vm, owner: str) -> Json:
    """A VM of the platform; `owner`: the object whose record it is in, '' when none is."""
    return {
        "apiVersion": API_VERSION,
        "kind": VM,
        "metadata": {"name": vm.vm_id, "creationTimestamp": timestamp(vm.created_at), "labels": dict(vm.labels)},
        "status": {"state": vm.state.value, "account": vm.owner_id, "owner": owner},
    }


def event_document(event: Event) -> Json:
    """An event, in the shape of Kubernetes' own."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{event.key.name}.{event.seq}", "namespace": event.key.namespace},
        "involvedObject": {"kind": event.key.kind, "namespace": event.key.namespace, "name": event.key.name, "uid": event.uid},
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "lastTimestamp": timestamp(event.at),
    }


def list_of(items: Iterable[Json]) -> Json:
    """Several resources as one document."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def condition(status: Json, kind: str) -> Json:
    """One condition of a status, {} when it has none of that type (any case)."""
    conditions = status.get("conditions")
    for one in conditions if isinstance(conditions, list) else ():
        if isinstance(one, dict) and str(one.get("type", "")).lower() == kind.lower():
            return one
    return {}


def is_true(status: Json, kind: str) -> bool:
    return condition(status, kind).get("status") == "True"


def text_at(doc: JsonValue, path: str) -> str:
    """What a JSONPath leads to, as text; '' when it leads nowhere."""
    found = jsonpath.find(doc, path)
    return jsonpath.plain(found[0]) if found and found[0] is not None else ""


def matches(labels: Mapping[str, str], selector: str) -> bool:
    """Whether labels fit a selector: `a=b,c!=d,e,!f`. Raises `UsageError`."""
    for term in (part.strip() for part in selector.split(",")):
        name, unequal, value = term.partition("!=")
        if unequal:
            fits = labels.get(name.strip()) != value.strip()
        elif "=" in term:
            name, _, value = term.partition("=")
            fits = labels.get(name.strip()) == value.removeprefix("=").strip()
        elif term:
            fits = (term.removeprefix("!") in labels) != term.startswith("!")
        else:
            raise UsageError("a selector has an empty part", f"-l {selector}", "write NAME=VALUE,…")
        if not fits:
            return False
    return True
