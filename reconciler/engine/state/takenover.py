"""What a declared object is with what its cluster shows of it now."""

from __future__ import annotations

from dataclasses import replace

from reconciler.api.meta import Model
from reconciler.api.parsing import changes_refused, load_spec
from reconciler.core.keys import short
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.declared import Intake
from reconciler.engine.state.objects import AnyItem
from reconciler.errors import Refused, UsageError


def taken_over(item: AnyItem, seen: Intake) -> tuple[StoredObject, Model]:
    """The object as the cluster has it, and its spec, which is the very one of `item` where it did not change. Raises `Refused` when
    another source owns the object or another one of its name is being deleted, `InvalidSpec`, or `UsageError` when an immutable field
    changed."""
    old = item.obj
    spec = item.spec if old.spec == seen.spec else load_spec(seen.key.kind, seen.spec, tolerant=True)
    if old.source != seen.source:
        where = old.origin or f"source {old.source}"
        raise Refused(f"{short(seen.key)} is declared elsewhere", where, "change it there, or delete it there first")
    if old.uid != seen.uid:
        raise Refused(f"an earlier {short(seen.key)} is being deleted", f"uid {old.uid}", "wait until it is gone")
    if spec is not item.spec and (problems := changes_refused(item.spec, spec)):
        raise UsageError("; ".join(str(problem) for problem in problems), short(seen.key))
    changed = replace(
        old,
        spec=old.spec if spec is item.spec else seen.spec,
        labels=dict(seen.labels),
        annotations=dict(seen.annotations),
        generation=seen.generation,
        deleted_at=old.deleted_at if seen.deleted_at is None else seen.deleted_at,
        source_id=seen.source_id,
    )
    return changed, spec
