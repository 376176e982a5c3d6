"""The snapshots of machines that `get commits` lists."""

from __future__ import annotations

import json

from reconciler.cli import names
from reconciler.config import Config
from reconciler.core.keys import Json, Key, as_map
from reconciler.core.records import CommitRecord, LieutenantRecord
from reconciler.core.slot.tenancy import BOOK
from reconciler.engine.ports import Store
from reconciler.errors import UsageError
from reconciler.views.documents import commit_document


async def commits(config: Config, store: Store, namespace: str | None) -> list[tuple[str, Json]]:
    """Every commit that we took and did not remove, oldest first, as the store knows them; those of lieutenants that are gone too."""
    if config.kube:
        raise UsageError("commits are in the store of the operator", "--kube", "see status.snapshots of the lieutenant, or ask there")
    image = await store.load()
    records = {obj.key: LieutenantRecord.load(obj.record) for obj in image.objects if obj.key.kind in ("Lieutenant", "Machine")}
    users: dict[str, list[str]] = {}
    for key, record in records.items():
        for used in {record.slot.restored_from, record.spare.commit_id} - {""}:
            users.setdefault(used, []).append(names.short(key))
    found: dict[str, tuple[float, str, Json]] = {}
    for key, record in records.items():
        for kept in record.slot.commits:
            doc = commit_document(kept, key.namespace, names.short(key), users.get(kept.commit_id, []))
            found[kept.commit_id] = kept.taken_at, key.namespace, doc
    for name, value in image.meta.items():
        commit_id = name.removeprefix(BOOK)
        if not name.startswith(BOOK) or not value or commit_id in found:
            continue
        told = as_map(json.loads(value))
        where = str(told.get("namespace", ""))
        owner = f"{names.short(Key(str(told.get('kind', '')), where, str(told.get('name', ''))))} (gone)"
        at = told.get("takenAt")
        left = CommitRecord(commit_id=commit_id, taken_at=float(at) if isinstance(at, int | float) else 0.0, cause="Deleted")
        found[commit_id] = (left.taken_at, where, commit_document(left, where, owner, users.get(commit_id, [])))
    rows = sorted(found.items(), key=lambda row: (row[1][0], row[0]))
    return [(commit_id, doc) for commit_id, (_, where, doc) in rows if namespace is None or where == namespace]
