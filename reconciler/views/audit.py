"""Who changed what, as documents."""

from __future__ import annotations

from reconciler.api.version import API_VERSION
from reconciler.core.audit import Change, Entry
from reconciler.core.keys import Json, short
from reconciler.core.times import timestamp
from reconciler.views.documents import AUDIT


def audit_document(seq: int, entry: Entry) -> Json:
    """One entry; its name is its number."""
    status: Json = {
        "verb": entry.verb,
        "object": short(entry.key),
        "uid": entry.uid,
        "door": entry.actor.door,
        "who": entry.actor.who,
        "summary": ", ".join(summary(one) for one in entry.changes),
        "changes": [told(one) for one in entry.changes],
    }
    metadata: Json = {"name": str(seq), "namespace": entry.key.namespace, "creationTimestamp": timestamp(entry.at)}
    return {"apiVersion": API_VERSION, "kind": AUDIT, "metadata": metadata, "status": status}


def told(change: Change) -> Json:
    """One field, with what it was and is; left out where it was not there."""
    values = {"before": change.before, "after": change.after}
    return {"path": change.path, **{name: value for name, value in values.items() if value is not None}}


def summary(change: Change) -> str:
    """One change in one piece."""
    if change.before is None and change.after is None:
        return change.path
    if change.before is None:
        return f"{change.path}={change.after}"
    return f"{change.path}: {change.before} -> {'(removed)' if change.after is None else change.after}"
