"""`git+URL[@REF][#SUBDIR]`: which repository, which commit of it, and what part of that declares a fleet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from reconciler.errors import UsageError

PREFIX = "git+"
SCHEMES = ("https", "ssh", "http", "git", "file")
"""Ways to a repository that are used; git itself is allowed no other."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"(?!-)(?!.*(\.\.|//|@\{|\.lock$|\.lock/|/\.|/$|\.$))[^\x00-\x20\x7f~^:?*\[\\]{1,250}")
_INTERVAL = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    """`url`: without a password in it; `ref`: a branch, a tag, `refs/…` or a whole commit id, '' for what the repository says is its head;
    `subdir`: '' for all of it."""

    url: str
    ref: str = ""
    subdir: str = ""

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    @property
    def pinned(self) -> bool:
        """It names a commit, which never changes."""
        return _COMMIT.fullmatch(self.ref) is not None

    @property
    def name(self) -> str:
        """As people are told of it."""
        return self.url + (f"@{self.ref}" if self.ref else "")

    def shown(self, path: str) -> str:
        """A file of it, as findings and origins name it. `path`: below `subdir`."""
        whole = f"{self.subdir}/{path}" if self.subdir else path
        return f"{self.name}:{whole}"


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret by reference: the value is asked for at each use. `username`: what goes with a token."""

    name: str
    key: str
    username: str = "git"


@dataclass(frozen=True, slots=True)
class GitSettings:
    """One repository that is followed. `interval`: seconds between two looks; `verify`: file of the keys (ssh `allowed_signers`, or public
    keys of OpenPGP, armored) by one of which a commit has to be signed, '' when that does not matter."""

    address: Address
    interval: float = _INTERVAL
    credential: Credential | None = None
    verify: str = ""


def is_address(text: str) -> bool:
    return text.startswith(PREFIX)


def parse(text: str) -> Address:
    """Raises `UsageError` for what is no such address, or says a password."""
    rest, _, subdir = text.removeprefix(PREFIX).partition("#")
    head, at, tail = rest.rpartition("@")
    # the last `@` begins a REF unless it belongs to `user@host`: a REF never has a `:`, and stands after the path
    url, ref = (head, tail) if at and "/" in head.partition("://")[2] else (rest, "")
    return checked(url, ref, subdir, text)


def checked(url: str, ref: str, subdir: str, where: str) -> Address:
    """The parts of an address. Raises `UsageError` naming `where`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"no URL: {error}", hidden(where), "write git+https://HOST/PATH[@REF][#SUBDIR]") from error
    if parts.password is not None or (parts.username and parts.scheme not in ("ssh",)):
        remedy = "take it out; name a secret in the configuration: docs/git.md"
        raise UsageError("a URL may not hold a credential", hidden(where), remedy)
    if parts.scheme not in SCHEMES:
        raise UsageError(f"{parts.scheme or url!r} is no way to a repository", hidden(where), f"use one of {', '.join(SCHEMES)}")
    if (parts.scheme != "file" and not parts.hostname) or not parts.path.strip("/") or port == 0 or (parts.hostname or "").startswith("-"):
        raise UsageError("the URL names no repository", hidden(where), "write git+https://HOST/PATH[@REF][#SUBDIR]")
    if parts.query or re.search(r"[\x00-\x20\x7f]", url):
        raise UsageError("the URL has characters that it may not have", hidden(where), "write git+https://HOST/PATH[@REF][#SUBDIR]")
    if ref and not _REF.fullmatch(ref):
        raise UsageError(f"{ref!r} can't be a ref", hidden(where), "name a branch, a tag, refs/… or a whole commit id")
    inside = PurePosixPath(subdir.strip("/"))
    if subdir and (".." in inside.parts or not inside.parts or re.search(r"[\x00-\x1f\x7f:]", subdir)):
        raise UsageError(f"{subdir!r} can't be a directory of the repository", hidden(where), "write #DIRECTORY, below its top")
    return Address(url.rstrip("/"), ref, "" if not subdir else str(inside))


def hidden(text: str) -> str:
    """Without what may be a password."""
    return re.sub(r"//[^/@]*@", "//…@", text)
