"""What a pi that was told what is declared says it was told, as digests. Pure."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from reconciler.core.snapshot.agent import Inside

PROJECT_FILE = "AGENTS.md"
"""The project file that pi always takes into its system prompt, from its work dir and from its own directory."""


class Text(Protocol):
    """A rendered file; `secret`: where its content comes from instead."""

    @property
    def path(self) -> str: ...

    @property
    def content(self) -> str: ...

    @property
    def secret(self) -> object | None: ...


def sha256(content: bytes) -> str:
    """As pi and keeper give digests: hex."""
    return hashlib.sha256(content).hexdigest()


def inside_of(files: Sequence[Text], role_file: str, directories: Sequence[str], work_dir: str) -> Inside:
    """What pi says when it was told these files. `role_file`: what is appended to its system prompt; `directories`: where it takes
    project files from. What comes from a secret is not known here, so nothing is expected of it."""
    plain = [file for file in files if file.secret is None]
    prompt = next((sha256(file.content.encode()) for file in plain if file.path == role_file), "")
    wanted = {_joined(directory, PROJECT_FILE) for directory in (work_dir, *directories)}
    at = [(file, _joined(work_dir, file.path)) for file in plain]
    return Inside(prompt, {file.path: sha256(file.content.encode()) for file, path in at if path in wanted})


@lru_cache(maxsize=4096)
def _joined(directory: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(directory, path))


def differing(expected: Inside, told: Inside) -> tuple[str, ...]:
    """What pi was told otherwise: `system prompt`, or paths of project files. Empty: everything is as expected."""
    known = frozenset(told.context.values())
    prompt = () if told.prompt == expected.prompt else ("system prompt",)
    return (*prompt, *(path for path, digest in expected.context.items() if digest not in known))
