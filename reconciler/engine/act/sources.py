"""What a create names as its source, and how its intent tells of it."""

from __future__ import annotations

from typing import assert_never

from reconciler.core.decisions import Create
from reconciler.core.keys import Json
from reconciler.core.snapshot.machine import CommitSource, CreateSource, RefSource, RootSource, VmSource


def named_source(source: VmSource, action: Create) -> CreateSource:
    """What the create names: of a reference the commit that it was decided for, whatever the tag points to by now."""
    if not isinstance(source, RefSource):
        return source
    assert action.ref == source.ref, "nothing is created from a reference before it is known what it points to"
    return CommitSource(action.commit)


def intent_payload(source: CreateSource, epoch: int) -> Json:
    """What is needed to recognise the VM that a create made: the commit restored, '' for a fresh one (labelled at birth)."""
    match source:
        case RootSource():
            return {"commit": "", "epoch": epoch}
        case CommitSource(commit_id):
            return {"commit": commit_id, "epoch": epoch}
        case _:
            assert_never(source)
