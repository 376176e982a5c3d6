"""Secret values for file mode: a directory `NAMESPACE/NAME/KEY`, else the environment (design §8)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from reconciler import paths
from reconciler.errors import Refused

MAX_BYTES = 1 << 20
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}\Z")


class FileSecrets:
    """`engine.ports.Secrets` over `directory` (None: none) and `environ`. Values are read at each use, so a corrected one needs
    no restart. One newline at a file's end is not part of a secret. `configs`: a directory of the same form for config maps."""

    def __init__(self, directory: Path | None, environ: Mapping[str, str], configs: Path | None = None) -> None:
        self._directory, self._configs = directory, configs
        self._environ = environ
        self._known: set[str] = set()

    def get(self, namespace: str, name: str, key: str) -> str | None:
        """The value of one key, None when there is none. Raises `Refused` (without the value) when its file may be read by
        others, belongs to somebody else, lies outside the directory, or is no text of at most 1 MiB."""
        value = self._from_file(namespace, name, key)
        if value is None:
            value = self._environ.get(variable(name, key))
        if value:
            self._known.add(value)
        return value

    def config(self, namespace: str, name: str, key: str) -> str | None:
        """The value of a config map's key: a file below `configs`. Raises `Refused` when it is no text of at most 1 MiB."""
        if self._configs is None or not all(_PART.match(part) for part in (namespace, name, key)):
            return None
        path = self._configs / namespace / name / key
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Refused("a config map's file can't be read", str(path), (error.strerror or "correct its permissions").lower()) from None
        text = _decoded(data) if len(data) <= MAX_BYTES else None
        if text is None:
            raise Refused("a config map's file is not UTF-8 text of at most 1 MiB", str(path), "put a shorter text there")
        return text

    def holds(self, kind: Literal["Secret", "ConfigMap"], namespace: str, name: str) -> bool:
        """Whether it has a directory, or any variable that is named after it."""
        directory = self._directory if kind == "Secret" else self._configs
        if directory is not None and _PART.match(namespace) and _PART.match(name) and os.path.isdir(directory / namespace / name):
            return True
        return kind == "Secret" and any(one.startswith(variable(name, "")) for one in self._environ)

    def unread(self, kind: Literal["Secret", "ConfigMap"], namespace: str, name: str) -> str:
        """Always '': a file is read at each use."""
        return ""

    def known(self) -> Iterable[str]:
        """Every value handed out so far, longest first, so that redacting one leaves nothing of another."""
        return sorted(self._known, key=len, reverse=True)

    def _from_file(self, namespace: str, name: str, key: str) -> str | None:
        if self._directory is None or not all(_PART.match(part) for part in (namespace, name, key)):
            return None
        path = self._directory / namespace / name / key
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Refused("a secret's file can't be read", str(path), (error.strerror or "correct its permissions").lower()) from None
        try:
            self._check(path, os.fstat(descriptor))
            with os.fdopen(os.dup(descriptor), "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:  # a disk or a file server that fails
            raise Refused("a secret's file can't be read", str(path), paths.why(error)) from None
        finally:
            os.close(descriptor)
        if len(data) > MAX_BYTES:
            raise Refused("a secret's file is larger than 1 MiB", str(path), "put a shorter value there")
        text = _decoded(data)
        if text is None:  # told out here, where no exception that holds the bytes is at hand
            raise Refused("a secret's file is not UTF-8", str(path), "encode the value, for example with base64")
        return text.removesuffix("\n").removesuffix("\r")

    def _check(self, path: Path, found: os.stat_result) -> None:
        assert self._directory is not None
        if not stat.S_ISREG(found.st_mode):
            raise Refused("a secret is not a regular file", str(path), "put a file there")
        if found.st_mode & 0o077:
            raise Refused(f"others may read a secret (mode {stat.S_IMODE(found.st_mode):04o})", str(path), "`chmod 600` it")
        if found.st_uid not in (os.geteuid(), 0):
            raise Refused("a secret's file belongs to somebody else", str(path), "`chown` it to the user that runs the controller")
        within, at = paths.real(self._directory), paths.real(path)
        if not isinstance(at, Path) or not isinstance(within, Path):
            raise Refused("it can't be told where a secret's file is", str(path), "correct the permissions of the directories above it")
        if not at.is_relative_to(within):
            raise Refused("a secret is a link that leads out of the directory", str(path), "copy the file there")


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def variable(name: str, key: str) -> str:
    """The environment variable of a secret's key: `RECONCILER_SECRET_<NAME>_<KEY>`, upper-case, other characters as `_`."""
    return "RECONCILER_SECRET_" + re.sub(r"[^A-Z0-9]", "_", f"{name}_{key}".upper())
