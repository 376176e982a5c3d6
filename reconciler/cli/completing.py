"""What a shell may put where a command expects kinds or names of objects. Read from the store; whatever is in the way, nothing is offered
and nothing is said: somebody is typing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from reconciler.api.registry import KINDS, kind_of
from reconciler.config import NAMES, Config, Setting, load
from reconciler.errors import ReconcilerError

WORDS = (*(kind.singular for kind in KINDS), "vm", "commit", "all")
OF_ONE_KIND = {"LIEUTENANT": "lieutenant", "TASK": "task", "VMTREE": "vmtree"}
"""What arguments that name an object of one kind are called, and that kind."""
_PROFILE = "BootProfile"
MOST = 500
"""Names that are offered at most: no shell shows more, and a store may have many."""


def offered(metavar: str, given: Sequence[str], incomplete: str, flags: Mapping[str, object]) -> list[str]:
    """What fits an argument of this name after the words `given`. `flags`: options that were given, among them those of every command."""
    single = OF_ONE_KIND.get(metavar.split()[0].strip("[]…"), "")
    if not single and "KIND" not in metavar:
        return []
    try:
        return [word for word in _words(single, given, incomplete, _config(flags)) if word.startswith(incomplete)][:MOST]
    except (ReconcilerError, OSError):
        return []


def _words(single: str, given: Sequence[str], incomplete: str, config: Config) -> list[str]:
    if single:
        return names(config, single) if not given else []
    word, slash, _ = incomplete.partition("/")
    if slash:
        return [f"{word}/{name}" for name in names(config, word)]
    first = next((one for one in given if "=" not in one), "")
    if not first:
        return list(WORDS)
    return names(config, first) if "/" not in first else [f"{kind}/" for kind in WORDS[: len(KINDS)]]


def names(config: Config, word: str) -> list[str]:
    """The names of all objects of a kind, sorted; of profiles also those that this release brings."""
    kind = kind_of(word)
    if kind is None or config.kube:
        return []
    found = asyncio.run(_named(config, kind.name))
    if kind.name == _PROFILE:
        from reconciler.api import stock

        found |= set(stock.NAMES)
    return sorted(found)


async def _named(config: Config, kind: str) -> set[str]:
    from reconciler.cli.access import LateStore  # not `reader`, which says what is missing

    store = LateStore(config.store_address)
    try:
        return {obj.key.name for obj in await store.objects(kind, config.namespace)}
    finally:
        await store.aclose()


def _config(flags: Mapping[str, object]) -> Config:
    told: dict[str, Setting | None] = {}
    for name, value in flags.items():
        if (setting := name.replace("_", "-")) in NAMES and isinstance(value, str | bool | int | float):
            told[setting] = value
    return load(told, os.environ)
