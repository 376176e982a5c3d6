"""Stored objects, events and the VMs of the platform as JSON documents, what such a document says, and documents as rows of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.api.registry import BY_NAME, READY, REASON, Column
from reconciler.api.version import API_VERSION
from reconciler.core.keys import Json, JsonValue, as_map, as_strings
from reconciler.core.times import seconds, timestamp
from reconciler.visible import one_line

if TYPE_CHECKING:
    from reconciler.api.resources import BootProfile
    from reconciler.core.records import CommitRecord
    from reconciler.core.snapshot.vm import Vm
    from reconciler.engine.ports import Event, StoredObject

VM = "VM"
"""The kind of a document about a VM of the platform; nobody declares one."""

COMMIT = "Commit"
USAGE = "Usage"
AUDIT = "Audit"
APPROVAL, ATTENTION = "Approval", "Attention"
"""The kind of a document about a snapshot of ours; nobody declares one."""


def document(obj: StoredObject, signers: Mapping[str, str] | None = None) -> Json:
    """The resource: apiVersion, kind, metadata, spec, status; of what a repository declares with the commit, and with the signature of
    that where `signers` has it. The private record is no part of it."""
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
    status: Json = dict(obj.status)
    if obj.source_commit:
        signed = (signers or {}).get(obj.source_commit, "")
        status["source"] = {"origin": obj.origin, "commit": obj.source_commit, **({"signature": signed} if signed else {})}
    return {"apiVersion": API_VERSION, "kind": obj.key.kind, "metadata": metadata, "spec": obj.spec, "status": status}


STOCK = "Stock"
"""The reason of a boot profile that this release brings and nobody declared."""


def stock_documents(namespace: str) -> dict[str, Json]:
    """The boot profiles that this release brings, by name, as they can be used in a namespace; '' for every one."""
    from reconciler.api.stock import stock_profiles

    found: dict[str, Json] = {}
    for name, profile in stock_profiles().items():
        metadata: Json = {"name": name, **({"namespace": namespace} if namespace else {})}
        message = "This release brings it; one that is declared under its name shadows it."
        said: Json = {"type": "Ready", "status": "True", "reason": STOCK, "message": message}
        found[name] = {
            "apiVersion": API_VERSION,
            "kind": "BootProfile",
            "metadata": metadata,
            "spec": stock_spec(profile),
            "status": {"conditions": [said]},
        }
    return found


def stock_spec(profile: BootProfile) -> Json:
    """What such a profile says, as it would be declared."""
    spec: Json = profile.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return spec


def labels_of(doc: Json) -> dict[str, str]:
    """The labels of a resource."""
    return as_strings(as_map(doc.get("metadata")).get("labels"))


_RUNS = {"running": "True", "unknown": "Unknown"}
"""A state of a VM → the status of its condition Ready, if not False."""


def vm_document(vm: Vm, owner: str, labels: Mapping[str, str] | None = None) -> Json:
    """A VM of the platform; `owner`: the object whose record it is in, '' when none is; `labels`: other ones than the platform's."""
    return {
        "apiVersion": API_VERSION,
        "kind": VM,
        "metadata": {
            "name": vm.vm_id,
            "creationTimestamp": timestamp(vm.created_at),
            "labels": dict(vm.labels if labels is None else labels),
        },
        "status": {
            "state": vm.state.value,
            "account": vm.owner_id,
            "owner": owner,
            "conditions": [{"type": "Ready", "status": _RUNS.get(vm.state.value, "False"), "reason": vm.state.value.capitalize()}],
        },
    }


def commit_document(commit: CommitRecord, namespace: str, owner: str, users: Sequence[str]) -> Json:
    """A snapshot that was taken of `owner`'s machine; `users`: whose machines were made from it."""
    how = "Missing" if commit.missing_since else commit.check or "Listed"
    status: Json = {"owner": owner, "verified": how, "cause": commit.cause, "vm": commit.vm_id, "commitName": commit.name}
    if users or commit.error:
        status["inUse"] = ", ".join(users) or commit.error
    metadata: Json = {"name": commit.commit_id, "namespace": namespace, "creationTimestamp": timestamp(commit.taken_at)}
    return {"apiVersion": API_VERSION, "kind": COMMIT, "metadata": metadata, "status": status}


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
        "count": event.count,
        "firstTimestamp": timestamp(event.since),
        "lastTimestamp": timestamp(event.at),
    }


def list_of(items: Iterable[Json]) -> Json:
    """Several resources as one document."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def condition(status: Json, kind: str) -> Json:
    """One condition of a status, {} when it has none of that type (any case)."""
    conditions = status.get("conditions")
    for one in conditions if isinstance(conditions, list) else ():
        if isinstance(one, dict) and ((name := one.get("type")) == kind or str(name).lower() == kind.lower()):
            return one
    return {}


def is_true(status: Json, kind: str) -> bool:
    return condition(status, kind).get("status") == "True"


def text_at(doc: JsonValue, path: str) -> str:
    """What a JSONPath leads to, as text; '' when it leads nowhere."""
    from reconciler.views import jsonpath  # tables of a few commands have such columns

    found = jsonpath.find(doc, path)
    return jsonpath.plain(found[0]) if found and found[0] is not None else ""


def ready_reason(status: Json) -> str:
    """The reason of the condition Ready; '' when there is none."""
    return text_at(condition(status, "Ready"), ".reason")


def ready_message(status: Json) -> str:
    """The message of the condition Ready; '' when there is none."""
    return text_at(condition(status, "Ready"), ".message")


# --- rows of tables ---------------------------------------------------------------------------------------------------------------

AGE = Column("Age", ".metadata.creationTimestamp", "Time since creation.", type="date")
VM_COLUMNS = (
    READY,
    REASON,
    Column("State", ".status.state", "As the platform says."),
    Column("Owner", ".status.owner", "The object whose machine it is."),
    Column("Fleet", ".metadata.labels['fleet.vers.sh/fleet']", "The fleet that claims it.", wide=True),
    AGE,
)

COMMIT_COLUMNS = (
    Column("Owner", ".status.owner", "Of whose machine it was taken."),
    Column("Verified", ".status.verified", "How: `Listed`, `Restored`, `Failed`, `Missing`."),
    Column("In-use", ".status.inUse", "Who runs on a machine that was made from it."),
    Column("Cause", ".status.cause", "What it was taken for."),
    Column("VM", ".status.vm", "The machine that was committed.", wide=True),
    AGE,
)
USAGE_COLUMNS = (
    Column("Cost", ".status.cost", "US dollars."),
    Column("Tokens", ".status.tokens", "In and out, cached ones too."),
    Column("Input", ".status.input", "Tokens that were read anew.", wide=True),
    Column("Output", ".status.output", "Tokens that were written.", wide=True),
    Column("Cached", ".status.cacheRead", "Tokens that were read from the provider's cache.", wide=True),
    Column("Answers", ".status.answers", "Of models."),
    Column("Machine-hours", ".status.machineHours", "While a budget bounds them."),
    Column("Cost-unknown", ".status.costUnknown", "Tokens whose cost nobody knows."),
)
AUDIT_COLUMNS = (
    Column("Verb", ".status.verb", "What was done."),
    Column("Object", ".status.object", "To what."),
    Column("Door", ".status.door", "By a command, the page, the API, a file, the cluster, a tree, the controller itself, or an agent."),
    Column("Who", ".status.who", "The user, what was proved over HTTP, the file or the tree."),
    Column("Changes", ".status.summary", "What changed.", wide=True),
    AGE,
)
APPROVAL_COLUMNS = (
    Column("Lieutenant", ".status.lieutenant", "Whose call it is."),
    Column("Call", ".status.call", "The call."),
    Column("Rule", ".status.rule", "The rule that asks, or why there is a question."),
    Column("Part", ".status.part", "The part of the call that it is about.", wide=True),
    AGE,
)
ATTENTION_COLUMNS = (
    Column("Sort", ".status.sort", "`Question`: a tool call; `Block`: it can't go on; `Failure`: work that ended badly.", wide=True),
    Column("Reason", ".status.reason", "Why a person is needed."),
    Column("Message", ".status.message", "The same in words."),
    Column("Remedy", ".status.remedy", "What a person can do about it.", wide=True),
    AGE,
)
UNDECLARED = {
    VM: VM_COLUMNS,
    COMMIT: COMMIT_COLUMNS,
    USAGE: USAGE_COLUMNS,
    AUDIT: AUDIT_COLUMNS,
    "Approval": APPROVAL_COLUMNS,
    "Attention": ATTENTION_COLUMNS,
}
"""Columns of what nobody declares."""


@dataclass(frozen=True, slots=True)
class Table:
    """Titles of columns, and rows with one cell for each of them."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(documents: Sequence[Json], wide: bool, namespaces: bool, now: float) -> list[Table]:
    """One table a kind, kubectl's way: names carry their kind when there are several. `now`: what ages are reckoned from."""
    kinds = list(dict.fromkeys(text_at(doc, ".kind") for doc in documents))
    of_kind = {kind: [doc for doc in documents if text_at(doc, ".kind") == kind] for kind in kinds}
    return [_table(found, kind, wide, namespaces, len(kinds) > 1, now) for kind, found in of_kind.items()]


def _table(documents: Sequence[Json], kind: str, wide: bool, namespaces: bool, prefixed: bool, now: float) -> Table:
    columns = [c for c in (BY_NAME[kind].columns if kind in BY_NAME else UNDECLARED[kind]) if wide or not c.wide]
    namespaces = namespaces and kind != VM
    rows = []
    for doc in documents:
        name = text_at(doc, ".metadata.name")
        first = [text_at(doc, ".metadata.namespace")] if namespaces else []
        rows.append((*first, f"{kind.lower()}/{name}" if prefixed else name, *(cell(doc, column, now) for column in columns)))
    return Table((*(["NAMESPACE"] if namespaces else []), "NAME", *(c.name.upper() for c in columns)), tuple(rows))


def cell(doc: Json, column: Column, now: float) -> str:
    """What a column shows of a document."""
    value = text_at(doc, column.path) or column.default
    if column.type == "date":
        return age(value, now)
    return one_line(value) or ("Unknown" if column.name == "Ready" else "<none>")


def age(stamp: str, now: float) -> str:
    """Time since an RFC 3339 stamp, as kubectl writes it: 45s, 12m, 3h5m, 2d4h."""
    at = seconds(stamp)
    if at is None:
        return "<unknown>"
    passed = max(0, int(now - at))
    for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if passed >= (2 if unit != "d" else 1) * size or (unit != "m" and passed >= size):
            whole, rest = divmod(passed, size)
            return f"{whole}{unit}{rest // small}{smaller}" if whole < 8 and rest // small else f"{whole}{unit}"
    return f"{passed}s"
