"""Who would have this host run a program or read a file for a credential: what a commit declares may not, unless the configuration says so
(whoever can commit could run what they like here)."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.keys import JsonValue, Key, boot_profile, vm_tree
from reconciler.engine.state.objects import ObjectTable

SOURCES = ("valueFrom", "apiKeyFrom")


def taking_from_git(table: ObjectTable, key: Key, profiles: Iterable[str]) -> str:
    """What of the object and its profiles was read from git and names a program or file, in words; '' for nothing. The objects of a tree's
    nodes are declared where the tree is."""
    for at in (key, *(boot_profile(key.namespace, name) for name in profiles)):
        item = table.get(at)
        if item is None or not takes_from_host(item.obj.spec):
            continue
        owner = next((one for one in table.of_kind(vm_tree("", "").kind) if one.uid == item.obj.source_id), None)
        if item.obj.source_commit or (owner is not None and owner.obj.source_commit):
            return (
                f"{at.kind} {at.name} was read from git and takes a value from a program or file of this host; "
                "name a key of a Secret, or set `from-git = true` under [credentials] in the configuration of the controller"
            )
    return ""


def takes_from_host(spec: JsonValue) -> bool:
    """Whether a value comes from a program or a file, anywhere in it."""
    left = [spec]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            for name in SOURCES:
                source = one.get(name)
                if isinstance(source, dict) and ("exec" in source or "file" in source):
                    return True
            left += one.values()
    return False
