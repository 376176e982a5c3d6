"""Paths that may be unknown in part."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.governance.permissions.patterns import ANY, ONE, SPECIAL, possible


def absolute(path: str, cwd: str, home: str) -> str:
    """From the root, with `.`, `..` and double slashes taken away as far as they are known."""
    if path.startswith(ANY):
        text = path
    elif path == "~" or path.startswith("~/"):
        text = home + path[1:]
    else:
        text = path if path.startswith("/") else f"{cwd}/{path}"
    kept: list[str] = []
    for part in text.split("/"):
        special = any(char in SPECIAL for char in part)
        if part == ".." or (special and part.startswith(".") and possible("..", part)):
            if kept and any(ANY in one for one in kept):
                kept = [ANY]
            elif kept:
                kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    made = "/".join(kept)
    return made if made.startswith(ANY) else "/" + made


def readings(path: str) -> Iterator[str]:
    """The path, and where a glob in it may be `..` or hidden files, such as `.*`, the path as it is for these too."""
    yield path
    named = "/".join(ONE + part[1:] if part != ".." and part.startswith(".") and possible("..", part) else part for part in path.split("/"))
    if named != path:
        yield named


def candidates(word: str) -> Iterator[str]:
    """What of a word may be a path: all of it, and what follows `=`, `@`, `:` or the letter of an option."""
    if not word or word in ("-", "--"):
        return
    if not word.startswith("-"):
        yield word
    elif not word.startswith("--") and len(word) > 2:
        yield word[2:]
    for sign in "=@:":
        _, found, rest = word.partition(sign)
        if found and rest and not rest.startswith("//"):
            yield rest
