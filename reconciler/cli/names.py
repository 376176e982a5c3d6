"""`KIND NAME`, `KIND/NAME` and `all`, as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from reconciler.api.registry import KINDS, kind_of
from reconciler.core.keys import Key
from reconciler.core.keys import short as short
from reconciler.errors import UsageError
from reconciler.views.documents import AUDIT, COMMIT, USAGE, VM

Selector = Annotated[
    str, typer.Option("-l", "--selector", metavar="LABELS", help="All that have these labels: NAME=VALUE,…", show_default=False)
]
_VM_WORDS = ("vm", "vms")
_COMMIT_WORDS = ("commit", "commits")
OTHERS = "vm, commit, approvals, attention, usage, audit, all"
"""What may be named beside kinds."""
_BOOKS = {"usage": USAGE, "audit": AUDIT}
"""What is only ever shown as a whole."""
_WAITING_WORDS = {"approval": "Approval", "approvals": "Approval", "attention": "Attention"}


@dataclass(frozen=True, slots=True)
class Selection:
    """What a command line asks for: every object of these `kinds`, or exactly these (kind, name) pairs."""

    kinds: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()


def kinds_of(word: str, alone: bool = False) -> tuple[str, ...]:
    """The kinds a word means (`lt`, `tasks`, `lt,task`, `all`, `vm`). `alone`: it may as well be a name whose kind was forgotten.
    Raises `UsageError`."""
    found: list[str] = []
    for part in word.split(","):
        kind = kind_of(part)
        if part.lower() == "all":
            found += [kind.name for kind in KINDS]
        elif part.lower() in _VM_WORDS:
            found.append(VM)
        elif part.lower() in _COMMIT_WORDS:
            found.append(COMMIT)
        elif part.lower() in _BOOKS:
            found.append(_BOOKS[part.lower()])
        elif part.lower() in _WAITING_WORDS:
            found.append(_WAITING_WORDS[part.lower()])
        elif kind is not None:
            found.append(kind.name)
        else:
            words = ", ".join(kind.singular for kind in KINDS)
            meant = f"did you mean task/{part} or lieutenant/{part}? Of kinds " if alone and part == word else ""
            raise UsageError(f"unknown kind {part!r}", word, f"{meant}use one of {words}, {OTHERS}")
    return tuple(dict.fromkeys(found))


def select(words: Sequence[str]) -> Selection:
    """`KIND`, `KIND NAME…` or `KIND/NAME…`. Raises `UsageError`."""
    if not words:
        raise UsageError("which kind?", "KIND", "write for example `lieutenant`")
    if any("/" in word for word in words):
        pairs = [_pair(word) for word in words]
        return Selection(names=tuple(dict.fromkeys(pairs)))
    kinds = kinds_of(words[0], alone=len(words) == 1)
    if len(words) == 1:
        return Selection(kinds=kinds)
    if len(kinds) != 1:
        raise UsageError("names need one kind", words[0], "write KIND/NAME for each")
    return Selection(names=tuple(dict.fromkeys((kinds[0], name) for name in words[1:])))


def keys(words: Sequence[str], namespace: str) -> list[Key]:
    """Objects named one by one: `KIND NAME…` or `KIND/NAME…`. Raises `UsageError`."""
    found = select(words)
    if found.kinds:
        raise UsageError("which one?", " ".join(words), "give a name too")
    if any(kind == VM for kind, _ in found.names):
        raise UsageError("VMs are only looked at", " ".join(words), "name the lieutenant it belongs to")
    if any(kind == COMMIT for kind, _ in found.names):
        raise UsageError("commits are only looked at", " ".join(words), "name the lieutenant it was taken of")
    if any(kind in _BOOKS.values() for kind, _ in found.names):
        raise UsageError("books are only looked at", " ".join(words), "name an object")
    if any(kind in _WAITING_WORDS.values() for kind, _ in found.names):
        raise UsageError("what waits for a person is only looked at", " ".join(words), "name the object that it is about")
    return [Key(kind, namespace, name) for kind, name in found.names]


def key(words: Sequence[str], namespace: str) -> Key:
    """Exactly one object."""
    found = keys(words, namespace)
    if len(found) != 1:
        raise UsageError("exactly one object is meant here", " ".join(words), "name one")
    return found[0]


def of_kind(words: Sequence[str], kind: str, namespace: str) -> Key:
    """One object of a kind that goes without saying: `NAME`, `KIND NAME` or `KIND/NAME`. Raises `UsageError`."""
    bare = len(words) == 1 and "/" not in words[0]
    found = Key(kind, namespace, words[0]) if bare else key(words, namespace)
    if found.kind != kind:
        raise UsageError(f"a {found.kind} is not meant here", " ".join(words), f"name a {kind.lower()}")
    return found


def _pair(word: str) -> tuple[str, str]:
    kind, _, name = word.partition("/")
    kinds = kinds_of(kind)
    if len(kinds) != 1 or not name or "/" in name:
        raise UsageError("is not KIND/NAME", word, "write for example lieutenant/api")
    return kinds[0], name
