"""A repository that is followed: its newest commit is fetched into a cache, and the files of a commit are read from there.

Nothing is ever checked out: files are read from git's objects, so that no filter, attribute or link of a repository does anything."""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from reconciler.errors import InvalidSpec, NotFound, Unreachable
from reconciler.sources.documents.reader import MAX_BYTES
from reconciler.sources.files.stack import MARKER
from reconciler.sources.files.tree import SUFFIXES
from reconciler.sources.git.address import GitSettings
from reconciler.sources.git.command import Git, ValueOf

HEAD = "refs/reconciler/head"
KEPT, NEXT = "refs/reconciler/in-force", "refs/reconciler/next"
MOST_FILES = 20_000
MOST_ENTRIES = 1_000_000
MOST_BYTES = 128 << 20
MOST_PACKS = 30
"""Packs after which the cache is tidied: what no fetched commit needs any more goes."""
LFS = b"version https://git-lfs.github.com/spec/"
_BLOB, _LINK, _SUBMODULE = ("100644", "100755", "100664"), "120000", "160000"


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit as it was fetched. `files`: by path below the directory that is followed; `wrong`: by path, what is no file that can be
    read. `signer`: by whom it is signed, '' where that was not asked."""

    id: str
    files: Mapping[str, bytes] = field(repr=False)
    wrong: Mapping[str, str]
    signer: str = ""


class Repository:
    """`cache`: a directory of ours, where the repository gets one of its own. `value_of`: secrets by reference."""

    def __init__(self, settings: GitSettings, cache: Path, environ: Mapping[str, str], value_of: ValueOf) -> None:
        self.settings, self._value_of = settings, value_of
        self.address = settings.address
        name = hashlib.sha256(self.address.name.encode()).hexdigest()[:32]
        self.id = name
        self._git = Git(cache / name, environ)

    async def head(self) -> str:
        """Fetch what the ref says now; its commit id. Raises `NotFound` when there is no such ref, and what git says when the repository
        can't be reached."""
        await self._prepare()
        secret = self._secret()
        username = self.settings.credential.username if self.settings.credential is not None else ""
        url = self.address.url
        if self.address.pinned:
            if await self.has(self.address.ref):
                return self.address.ref
            wanted = self.address.ref
        else:
            wanted = await self._ref(secret, username)
        depth = ("fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--force")
        await self._git.run(*depth, "--", url, f"+{wanted}:{HEAD}", address=self.address, secret=secret, username=username)
        found = (await self._git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{HEAD}^{{commit}}")).decode().strip()
        await self._tidy()
        return found

    async def answers(self) -> str:
        """Ask only, and fetch nothing: the whole name of what is followed. Raises as `head` does; whether a commit is there is not asked,
        since servers tell that of no commit but those that refs name."""
        await self._prepare()
        username = self.settings.credential.username if self.settings.credential is not None else ""
        if not self.address.pinned:
            return await self._ref(self._secret(), username)
        await self._told(self._secret(), username, ())
        return f"commit {self.address.ref}, if it was pushed"

    async def has(self, commit: str) -> bool:
        """Whether the cache has this commit, with everything in it."""
        try:
            await self._git.run("cat-file", "-e", f"{commit}^{{tree}}")
        except Unreachable:
            return False
        return True

    async def keep(self, commit: str, ref: str = KEPT) -> None:
        """This one is in force, or comes in force next (`NEXT`): it stays in the cache."""
        await self._git.run("update-ref", ref, commit)

    async def read(self, commit: str) -> Commit:
        """Its files and, where keys are named, by whom it is signed. Raises `InvalidSpec` when the directory is not there or too large,
        `GuestFailed` when none of the keys has signed it."""
        signer = await self._git.signer(commit, self.settings.verify) if self.settings.verify else ""
        tree = f"{commit}:{self.address.subdir}" if self.address.subdir else f"{commit}^{{tree}}"
        try:
            listed = await self._git.run("ls-tree", "-r", "-z", "-l", "--full-tree", tree)
        except Unreachable as error:
            remedy = "correct the directory after `#`"
            raise InvalidSpec(f"there is no directory {self.address.subdir or '/'} in it", commit, remedy) from error
        entries = list(_entries(listed))
        if len(entries) > MOST_ENTRIES:
            raise InvalidSpec(f"it has more than {MOST_ENTRIES} files", commit, "follow a directory of it (`#DIRECTORY`)")
        wrong: dict[str, str] = {}
        wanted: dict[str, str] = {}
        folders = {str(parent) for entry in entries for parent in PurePosixPath(entry.path).parents}
        links = [entry for entry in entries if entry.mode == _LINK and not _hidden(entry.path)]
        for entry in entries:
            if entry.mode == _SUBMODULE:
                wrong[entry.path] = "is a submodule, which is not followed; copy what it declares here, or follow that repository too"
            elif _hidden(entry.path) or PurePosixPath(entry.path).suffix not in SUFFIXES or entry.mode == _LINK:
                continue
            elif entry.size > MAX_BYTES:
                wrong[entry.path] = f"larger than {MAX_BYTES >> 20} MiB; split it"
            else:
                wanted[entry.path] = entry.blob
        if len(wanted) > MOST_FILES or sum(entry.size for entry in entries if entry.path in wanted) > MOST_BYTES:
            raise InvalidSpec(f"it declares more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB", commit, "split the repository")
        blobs = await self._blobs([*wanted.values(), *(entry.blob for entry in links)])
        for entry in links:
            target = posixpath.normpath(f"{PurePosixPath(entry.path).parent}/{os.fsdecode(blobs[entry.blob][:4096])}")
            if PurePosixPath(entry.path).suffix in SUFFIXES or target in folders:
                wrong[entry.path] = "is a link, which is not followed in a repository; put the file itself here"
        files: dict[str, bytes] = {}
        for path, blob in wanted.items():
            if blobs[blob].startswith(LFS):
                wrong[path] = "is kept in Git LFS, which is not fetched; keep declarations in the repository itself"
            else:
                files[path] = blobs[blob]
        return Commit(commit, files, wrong, signer)

    # --- inside -------------------------------------------------------------------------------------------------------------------

    async def _ref(self, secret: str, username: str) -> str:
        """The whole name of the ref; of a branch and a tag with one name the branch. Raises `NotFound`."""
        ref = self.address.ref
        names = ["HEAD"] if not ref else [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        there = await self._told(secret, username, names)
        found = next((name for name in names if name in there), None)
        if found is None:
            raise NotFound(f"the repository has no {ref or 'head'}", self.address.name, "push it again, or name another ref")
        return found

    async def _told(self, secret: str, username: str, names: Sequence[str]) -> set[str]:
        """Which refs of these names there are; of all where none is named."""
        asked = ("ls-remote", "--quiet", "--", self.address.url, *names)
        told = await self._git.run(*asked, address=self.address, secret=secret, username=username)
        return {line.partition("\t")[2] for line in told.decode("utf-8", "replace").splitlines()}

    def _secret(self) -> str:
        credential = self.settings.credential
        if credential is None:
            return ""
        value = self._value_of(credential)
        if not value:
            remedy = f"provide key {credential.key} of secret {credential.name}"
            raise NotFound("the credential is not there", f"{credential.name}/{credential.key}", remedy)
        return value.strip()

    async def _prepare(self) -> None:
        home = self._git.home
        if not await asyncio.to_thread((home / "repository" / "HEAD").is_file):
            await asyncio.to_thread(_fresh, home)
            await self._git.run("init", "--quiet", "--bare", "--template=")

    async def _tidy(self) -> None:
        packs = self._git.home / "repository" / "objects" / "pack"
        if len(await asyncio.to_thread(lambda: list(packs.glob("*.pack")))) > MOST_PACKS:
            await self._git.run("gc", "--quiet", "--prune=now")

    async def _blobs(self, ids: list[str]) -> dict[str, bytes]:
        asked = list(dict.fromkeys(ids))
        told = await self._git.run("cat-file", "--batch", stdin="".join(f"{one}\n" for one in asked).encode()) if asked else b""
        found: dict[str, bytes] = {}
        at = 0
        for one in asked:
            end = told.index(b"\n", at)
            size = int(told[at:end].rsplit(b" ", 1)[1])
            found[one] = told[end + 1 : end + 1 + size]
            at = end + 1 + size + 1
        return found


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    mode: str
    blob: str
    size: int


_ROW = re.compile(rb"(\d+) \w+ ([0-9a-f]+) +(-|\d+)\t(.+)", re.DOTALL)


def _entries(listed: bytes) -> Iterator[_Entry]:
    for row in listed.split(b"\0"):
        found = _ROW.fullmatch(row)
        if found is not None:
            size = 0 if found[3] == b"-" else int(found[3])
            yield _Entry(os.fsdecode(found[4]), found[1].decode(), found[2].decode(), size)


def _hidden(path: str) -> bool:
    """As in a directory: what begins with `.` or `#`, or ends with `~`; but for markers."""
    parts = PurePosixPath(path).parts
    inner = parts[:-1] if parts and parts[-1] == MARKER else parts
    return any(part.startswith((".", "#")) or part.endswith("~") for part in inner)


def _fresh(home: Path) -> None:
    """An empty directory of ours; what an interrupted beginning left there goes."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, mode=0o700)
