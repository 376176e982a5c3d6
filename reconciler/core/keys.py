"""Names of declared objects and of their VM slots."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from reconciler.api.jsontype import Json as Json
from reconciler.api.jsontype import JsonValue as JsonValue


def as_map(value: object) -> Json:
    """The value where it is a map, {} for anything else."""
    return value if isinstance(value, dict) else {}


def as_maps(value: object) -> list[Json]:
    """The maps in a list; [] for anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def as_strings(value: object) -> dict[str, str]:
    """A map whose keys and values are made text; {} for anything else."""
    return {str(name): str(inner) for name, inner in value.items()} if isinstance(value, dict) else {}


class Key(NamedTuple):
    """Names one declared object; prints as `Kind/namespace/name`. A tuple, for it is what most tables are looked up by."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


def short(key: Key) -> str:
    """`lieutenant/api`: as people write it; `vmtree/prod/db` for a machine that a tree has itself, `bootprofile/NAME/bake` and
    `bootprofile/NAME/warm-1` for those of a profile."""
    purpose, colon, rest = key.name.partition(":")
    if colon:
        profile, _, serial = rest.partition(":")
        return f"bootprofile/{profile}/{f'{purpose}-{serial}' if serial else 'bake'}"
    tree, slash, node = key.name.partition("/")
    return f"vmtree/{tree}/{node}" if slash else f"{key.kind.lower()}/{key.name}"


class SlotKey(NamedTuple):
    """Names one VM slot of a declared object: its own (`node` '') or that of one of its nodes. Prints as `Kind/namespace/name` or
    `Kind/namespace/name/node`."""

    object: Key
    node: str = ""

    def __str__(self) -> str:
        return f"{self.object.kind}/{self.path}"

    @property
    def path(self) -> str:
        """Without the kind."""
        return "/".join([self.object.namespace, self.object.name, *([self.node] if self.node else [])])


class SlotOwner(NamedTuple):
    """Whose slot it is: `uid` tells its object from an earlier or later one of the same name."""

    key: SlotKey
    uid: str

    @staticmethod
    @lru_cache(maxsize=1 << 14)  # whatever is done with a slot begins with this
    def of(key: Key, uid: str, node: str = "") -> SlotOwner:
        return SlotOwner(SlotKey(key, node), uid)

    @property
    def object(self) -> Key:
        return self.key.object

    @property
    def node(self) -> str:
        return self.key.node


def lieutenant(namespace: str, name: str) -> Key:
    """The key of a Lieutenant."""
    return Key("Lieutenant", namespace, name)


def vm_tree(namespace: str, name: str) -> Key:
    """The key of a VMTree."""
    return Key("VMTree", namespace, name)


def machine(namespace: str, name: str) -> Key:
    """The key of a machine without an agent; nobody declares one."""
    return Key("Machine", namespace, name)


def machine_of_node(tree: Key, node: str) -> Key:
    """The key of the machine that a tree has for a node without an agent. What people declare has no slash in its name."""
    return machine(tree.namespace, f"{tree.name}/{node}")


def source_key(namespace: str, source: Json) -> Key:
    """What a live copy is made of. `source`: what `fork.from` says."""
    name, tree = str(source.get("name") or ""), str(source.get("tree") or "")
    return machine_of_node(vm_tree(namespace, tree), name) if tree else lieutenant(namespace, name)


def task(namespace: str, name: str) -> Key:
    """The key of a Task."""
    return Key("Task", namespace, name)


def boot_profile(namespace: str, name: str) -> Key:
    """The key of a BootProfile."""
    return Key("BootProfile", namespace, name)
