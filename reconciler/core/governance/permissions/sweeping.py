"""What changes files without naming them: programs that go through the directory that they run in, and find."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from reconciler.core.governance.permissions.acts import Script
from reconciler.core.governance.permissions.patterns import ANY, plain
from reconciler.core.governance.permissions.quoting import unquoted

SWEEPS: Final = frozenset(["tar", "bsdtar", "unzip", "cpio", "pax", "patch", "7z", "7za", "7zr", "7zz", "unrar", "jar", "svn", "hg"])
_TREE: Final = ["clean", "stash", "checkout", "switch", "restore", "reset", "read-tree", "checkout-index"]
_FILES: Final = ["rm", "mv", "apply", "am"]
GIT_SWEEPS: Final = frozenset([*_TREE, *_FILES])


def roots(shell: Script, words: tuple[str, ...]) -> tuple[str, ...]:
    """The places that find begins with."""
    end = next((at for at, word in enumerate(words) if at and (word in ("(", "!") or re.match(r"-[^HLPDO]", word))), len(words))
    places = tuple(word for word in words[1:end] if not re.match(r"-[HLPDO]", word)) or (".",)
    begun = (inside(shell, place) for place in places)
    return tuple((posixpath.normpath(place) if place.startswith("/") and plain(place) else place).rstrip("/") or "/" for place in begun)


def inside(shell: Script, place: str) -> str:
    """A place as one from where the shell stands."""
    if not plain(place):
        return ANY if place.startswith(ANY) else place
    return place if place.startswith("/") else shell.cwd if place in (".", "./") else f"{shell.cwd}/{place.removeprefix('./')}"


def found(words: tuple[str, ...]) -> str:
    """What `{}` stands for: a path that ends as the one `-name` says, where there is no other condition that it may fulfil instead."""
    at = [number for number, word in enumerate(words[:-1]) if word == "-name"]
    if len(at) != 1 or {"-o", "-or", "!", "-not", ",", "("} & set(words) or not plain(words[at[0] + 1]):
        return ANY
    return ANY + "/" + unquoted(words[at[0] + 1], "")
