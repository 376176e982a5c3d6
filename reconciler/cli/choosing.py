"""Which objects a command is about: named one by one, all of a kind by `'*'`, or those that a selector fits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.api.registry import KINDS
from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.names import Selector as Selector
from reconciler.cli.output import say
from reconciler.config import Config
from reconciler.core.keys import Key, machine
from reconciler.core.keys import short as short
from reconciler.errors import Refused, UsageError
from reconciler.views.documents import COMMIT, VM
from reconciler.views.selecting import matches, selectable

if TYPE_CHECKING:
    from reconciler.engine.ports import Store, StoredObject

EVERY = "*"
Several = Annotated[
    list[str], typer.Argument(metavar="KIND NAME…", help="KIND NAME…, KIND/NAME…, KIND '*', or KIND with -l.", show_default=False)
]


def chosen(config: Config, words: Sequence[str], selector: str = "") -> list[Key]:
    """The objects that these words mean, tasks first and profiles last when they were not named; [] when nothing
    fits, which is said. Raises `UsageError`."""
    kinds = _whole(words)
    if not kinds and selector:
        found = names.select(words)
        if found.names:
            raise UsageError("objects are chosen by name or by labels", f"-l {selector}", "leave out the names or the selector")
        kinds = found.kinds
    if not kinds:
        return names.keys(words, config.namespace)
    if {VM, COMMIT} & set(kinds):
        raise UsageError("VMs and commits are only looked at", " ".join(words), "name a kind that is declared")
    if selector:
        matches({}, selector)
    keys = asyncio.run(_fitting(config, kinds, selector))
    if not keys:
        say(f"nothing found in namespace {config.namespace}")
    return keys


def by_name(words: Sequence[str], selector: str) -> bool:
    """Whether objects are named one by one."""
    return not selector and not _whole(words)


def confirmed(keys: Sequence[Key], what: str) -> None:
    """Ask whoever sits at a terminal. Raises `Refused` unless the answer is yes."""
    if len(keys) < 2 or not sys.stdin.isatty():
        return
    for key in keys:
        say(short(key))
    if not typer.confirm(f"{what} these {len(keys)} objects?", err=True):
        raise Refused(f"nothing was chosen to {what}", "", "answer y, or name them one by one")


def _whole(words: Sequence[str]) -> tuple[str, ...]:
    """The kinds of which everything is meant: `KIND '*'` or `KIND/*`; none when names are given."""
    if EVERY not in words and not any(word.endswith(f"/{EVERY}") for word in words):
        return ()
    if len(words) == 2 and words[1] == EVERY:
        return names.kinds_of(words[0])
    if len(words) == 1 and words[0].endswith(f"/{EVERY}"):
        return names.kinds_of(words[0].removesuffix(f"/{EVERY}"))
    raise UsageError("everything of a kind, and names beside it", " ".join(words), "write KIND '*' alone")


async def fitting(store: Store, namespace: str | None, selector: str, kinds: Sequence[str] | None = None) -> list[StoredObject]:
    """The objects that a selector fits, by kind; `kinds`: of these alone, else of all, and the machines that trees have themselves. Raises
    `UsageError`."""
    matches({}, selector)
    wanted = kinds if kinds is not None else [*(kind.name for kind in KINDS), machine("", "").kind]
    return [obj for kind in wanted for obj in await store.objects(kind, namespace) if matches(selectable(obj), selector)]


async def _fitting(config: Config, kinds: Sequence[str], selector: str) -> list[Key]:
    order = [kind.name for kind in KINDS if kind.name in kinds]
    async with reader(config) as store:
        return [
            obj.key
            for kind in reversed(order)
            for obj in await store.objects(kind, config.namespace)
            if not selector or matches(selectable(obj), selector)
        ]
