"""Short names for what is declared: same content, same name."""

from __future__ import annotations

import hashlib
import json

from reconciler.core.snapshot.rendered import Check, RenderedFile, SecretRef, Step


def digest(value: object) -> str:
    """A short, stable hash of JSON-able data."""
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    match value:
        case SecretRef():
            return value.plain()
        case RenderedFile(path, content, secret, mode):
            return [path, content, secret, mode]
        case Step(name, run, timeout, retries):
            return [name, run, timeout, retries]
        case Check(name, argv, exit_code, stdout, timeout, _, _):
            return [name, argv, exit_code, stdout, timeout]
        case _:
            raise TypeError(f"{type(value).__name__} can't be hashed")


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
