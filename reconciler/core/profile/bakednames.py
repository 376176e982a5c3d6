"""What the name of a baked commit says of it, so that a lost store costs no second bake: the profile's hash, and the time for which the
done-marks on its disk hold. Whose it is the name says as that of every commit does (`core.slot.tenancy`). Pure."""

from __future__ import annotations

import re

from reconciler.core.snapshot.vm import Commit
from reconciler.core.treerecords import BakedRecord

_WORD = re.compile(r"(?P<hash>[0-9a-f]{16})-(?P<filled>[0-9]{1,9})")


def word(hashed: str, seal: str) -> list[str]:
    """The part of a commit's name that says what was baked, none where that can't be said. `seal`: what the done-marks bear, `VM/EPOCH`."""
    made = f"{hashed}-{seal.rpartition('/')[2]}"
    return [made] if _WORD.fullmatch(made) else []


def baked_as(commit: Commit, beginning: str) -> BakedRecord | None:
    """What this commit holds, by its name and the VM that it was taken of; None where they do not tell. `beginning`: of the names of all
    that the profile was baked to."""
    part, dot, _ = commit.name.removeprefix(f"{beginning}.").partition(".")
    found = _WORD.fullmatch(part)
    if found is None or not dot or not commit.parent_vm_id or not commit.name.startswith(f"{beginning}."):
        return None
    return BakedRecord(hash=found["hash"], commit=commit.commit_id, seal=f"{commit.parent_vm_id}/{found['filled']}", at=commit.created_at)
