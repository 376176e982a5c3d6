"""Repositories as a part of what is declared: of each one commit is in force, the newest that is good as a whole."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from reconciler.api.sourcereasons import SourceReason
from reconciler.core.attention import attention_of_repository
from reconciler.core.keys import Json, JsonValue, Key, as_map
from reconciler.core.notices import REPOSITORY
from reconciler.core.signing import signers, with_signer
from reconciler.core.times import timestamp
from reconciler.engine.ports import PutMeta
from reconciler.engine.state.changes import Note
from reconciler.engine.view import DeclarationPort
from reconciler.errors import GuestFailed, InvalidSpec, ReconcilerError, Unreachable
from reconciler.sources.documents.located import Flaw, Mark
from reconciler.sources.documents.reader import Finding, Reader, decode
from reconciler.sources.files.planned import Objection
from reconciler.sources.files.scan import Look
from reconciler.sources.files.stack import MARKER
from reconciler.sources.files.sync import FileSync
from reconciler.sources.git.repository import NEXT, Commit, Repository

log = logging.getLogger("reconciler.git")

Remembered = Callable[[str], Awaitable[str | None]]
"""A row of `meta` by its name."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A commit that is not put in force, and why."""

    commit: str
    findings: tuple[Finding, ...]


class Followed:
    """One repository. `newest`: the last commit that was fetched; `good`: the one in force, None while there is none; `refused`: the newest
    one, where it is not good; `failed`: what was wrong with the last fetch, None when nothing was. `first`: set when one was tried.
    `now`: the controller's clock."""

    def __init__(
        self,
        repository: Repository,
        declarations: DeclarationPort,
        namespace: str,
        remembered: Remembered,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._now, self._row = now, dict[str, JsonValue]()
        self.repository, self._declarations, self._namespace, self._remembered = repository, declarations, namespace, remembered
        self._reader = Reader()
        self.newest: Commit | None = None
        self.good: Commit | None = None
        self.refused: Refusal | None = None
        self.failed: ReconcilerError | None = None
        self.first = asyncio.Event()
        self._noted = ""
        self._standing: Commit | None = None

    @property
    def key(self) -> Key:
        """What events about it are about."""
        return Key("Repository", "", self.repository.id)

    @property
    def trouble(self) -> str:
        """Why the last fetch failed, '' when it did not; of the repository itself, whose name it is told with."""
        if (error := self.failed) is None:
            return ""
        where = "" if error.where == self.repository.address.name else error.where
        return str(ReconcilerError(error.what, where, error.remedy))

    def must_be_there(self, without: str) -> None:
        """Raises `Unreachable` when the last fetch failed; `without`: what that means here."""
        if self.failed is not None:
            remedy = f"{self.failed.remedy}; {without}" if self.failed.remedy else without
            raise Unreachable(self.failed.what, self.failed.where or self.repository.address.name, remedy)

    async def watch(self, changed: Callable[[], None]) -> None:
        """Fetch, again and again; `changed` is called when there is something new."""
        while True:
            if await self.fetch():
                changed()
            await asyncio.sleep(self.repository.settings.interval)

    async def fetch(self) -> bool:
        """Fetch once; whether anything is other than before. What fails is told once, and leaves in force what is (G-04)."""
        if not self.first.is_set() and not self._row:
            await self._remember()
        before = (self.newest.id if self.newest else "", self.trouble, self.first.is_set())
        name = self.repository.address.name
        try:
            commit = await self.repository.head()
            if self.newest is None or self.newest.id != commit:
                self.newest, self.refused = await self._read(commit)
            self.failed = None
        except ReconcilerError as error:
            told, self.failed = self.trouble, error
            if self.trouble != told:
                kept = f"commit {self.good.id} stays in force" if self.good else "what was declared before stays in force"
                await self._tell_of(SourceReason.REPOSITORY_UNREACHABLE, f"{name}: {self.trouble}; {kept}")
        if not self.first.is_set() and self.good is None:
            await self._recall()
        self.first.set()
        return before != (self.newest.id if self.newest else "", self.trouble, True)

    async def _read(self, commit: str) -> tuple[Commit, Refusal | None]:
        try:
            return await self.repository.read(commit), None
        except (InvalidSpec, GuestFailed) as error:
            shown = self.repository.address.name
            return Commit(commit, {}, {}), Refusal(commit, (Finding(shown, 1, 1, "", f"{error.what}; {error.remedy}"),))

    async def _remember(self) -> None:
        """After a start: what was known of it."""
        known = await self._remembered(f"{REPOSITORY}{self.repository.id}")
        try:
            self._row = dict(as_map(json.loads(known or "{}")))
        except ValueError:
            return
        self._noted = str(self._row.get("commit") or "")

    async def _tell_of(self, reason: SourceReason, message: str) -> None:
        """Something is wrong with it, or, with the reason that says so, nothing is any more: an event, and its row remembers it."""
        before, wrong = as_map(self._row.get("trouble")), reason is not SourceReason.REPOSITORY_GOOD
        trouble: Json = {"reason": str(reason), "message": message, "since": timestamp(self._now())} if wrong else {}
        if before.get("reason") == reason:
            trouble["since"] = before.get("since", "")
        row = {**self._row, "url": self.repository.address.name, "trouble": trouble}
        remember = PutMeta(f"{REPOSITORY}{self.repository.id}", json.dumps(row)) if trouble != before else None
        await self._declarations.put_in_force((), [Note(self.key, reason, message, warning=wrong, remember=remember)])
        self._row = row

    async def _recall(self) -> None:
        """After a start: the commit that was in force, where the newest one is not good or could not be had, and the cache has it."""
        commit = self._noted
        if commit and (self.newest is None or self.newest.id != commit):
            try:
                if await self.repository.has(commit):
                    self.good = self._standing = await self.repository.read(commit)
            except ReconcilerError as error:
                log.warning("%s: the commit that was in force can't be read: %s", self.repository.address.name, error)

    async def choose(self, sync: FileSync) -> None:
        """Take the newest commit when it is good as a whole: all is valid, and nothing would be refused. Waits for the first fetch."""
        await self.first.wait()
        newest = self.newest
        if newest is None or (self.good is not None and self.good.id == newest.id):
            return
        if self.refused is not None and self.refused.commit == newest.id and not newest.files and not newest.wrong:
            return  # it could not be read as a whole
        look = Look(self._reader, self._namespace)
        feed(look, self.repository, newest)
        found = look.result(True)
        self._reader.sweep()
        findings = list(found.findings)
        for one in () if findings else found.objects:
            if (wrong := await sync.unfit(one, found)) is not None:
                findings.append(wrong)
        if findings:
            self.refused = Refusal(newest.id, tuple(findings))
        else:
            await self.repository.keep(newest.id, NEXT)  # until it is in force, the one before stays, too
            self.good, self.refused = newest, None

    def feed(self, look: Look) -> None:
        """What the commit in force declares, and what is wrong with one that is not."""
        if self.good is not None:
            feed(look, self.repository, self.good)
        for finding in self.refused.findings if self.refused is not None else ():
            look.refused(finding)

    def entering(self) -> Enters | None:
        """The commit that comes in force with what is fed, None when it is in force already."""
        entering = self.good is not None and self.good.id != self._noted
        return Enters(self.key, self.repository, self.good, self._row) if self.good is not None and entering else None

    def unfit(self, objections: Sequence[Objection]) -> None:
        """What was fed did not come in force: something is refused by now. What was in force before is fed again."""
        if self.good is not None and (found := [one.finding for one in objections if one.commit == self.good.id]):
            self.refused = Refusal(self.good.id, tuple(found))
            self.good = self._standing

    async def settled(self) -> None:
        """What was fed is in force: keep the commit, and tell of one that was not taken."""
        self._standing = self.good
        if self.good is not None and self.good.id != self._noted:
            self._noted = self.good.id
            self._row = Enters(self.key, self.repository, self.good, self._row).row
            await self.repository.keep(self.good.id)
        elif self.good is not None and self.good.signer and self.good.id not in signers([json.dumps(self._row)]):
            await self._tell_signed(self.good)  # no keys were named when it came in force
        if self.refused is not None:
            kept = f"commit {self.good.id} stays in force" if self.good else "none is in force"
            first, more = self.refused.findings[0], len(self.refused.findings) - 1
            rest = f" (and {more} more)" if more else ""
            message = f"commit {self.refused.commit} of {self.repository.address.name} is not applied: {first}{rest}; {kept}"
            if not self.trouble:
                await self._tell_of(SourceReason.COMMIT_REFUSED, message)
        elif not self.trouble and self._row.get("trouble"):
            await self._tell_of(SourceReason.REPOSITORY_GOOD, f"nothing is wrong with {self.repository.address.name} any more")

    async def _tell_signed(self, commit: Commit) -> None:
        row: Json = {**self._row, "signer": commit.signer, **with_signer(self._row, commit.id, commit.signer)}
        message = f"commit {commit.id} of {self.repository.address.name} is in force, {commit.signer}"
        remember = PutMeta(f"{REPOSITORY}{self.repository.id}", json.dumps(row))
        await self._declarations.put_in_force((), [Note(self.key, SourceReason.COMMIT_APPLIED, message, remember=remember)])
        self._row = row


async def forget_others(followed: Sequence[Followed], declarations: DeclarationPort) -> None:
    """What was wrong with a repository that is not followed any more needs nobody."""
    ours = {f"{REPOSITORY}{one.repository.id}" for one in followed}
    for name, value in list(declarations.prunes.repositories.items()):
        wrong = attention_of_repository(value)
        if wrong is not None and name not in ours:
            row = {**as_map(json.loads(value)), "trouble": {}}
            key = Key("Repository", "", name.removeprefix(REPOSITORY))
            message = f"{wrong[0]} is not followed any more"
            note = Note(key, SourceReason.REPOSITORY_GOOD, message, remember=PutMeta(name, json.dumps(row)))
            await declarations.put_in_force((), [note])


@dataclass(frozen=True, slots=True)
class Enters:
    """A commit that comes in force. `key`: what events about its repository are about; `known`: what was remembered of that before."""

    key: Key
    repository: Repository
    read: Commit
    known: Mapping[str, JsonValue]

    @property
    def commit(self) -> str:
        return self.read.id

    def note(self, changed: int) -> Note:
        """Says that it is in force, and remembers that; `changed`: objects that differ."""
        name = self.repository.address.name
        signed = f", {self.read.signer}" if self.read.signer else ""
        message = f"commit {self.commit} of {name} is in force{signed}; {changed} object{'s' * (changed != 1)} changed"
        remember = PutMeta(f"{REPOSITORY}{self.repository.id}", json.dumps(self.row))
        return Note(self.key, SourceReason.COMMIT_APPLIED, message, remember=remember)

    @property
    def row(self) -> dict[str, JsonValue]:
        """What is remembered of the repository: nothing is wrong with it."""
        signed = with_signer(self.known, self.commit, self.read.signer)
        return {"url": self.repository.address.name, "commit": self.commit, "signer": self.read.signer, **signed}


def feed(look: Look, repository: Repository, commit: Commit) -> None:
    """Everything that a commit declares. Its directories are named as findings and origins are: `URL@REF:PATH`."""
    address = repository.address
    roots: dict[str, str] = {}
    for path in sorted(commit.files):
        if PurePosixPath(path).name == MARKER:
            text = decode(commit.files[path])
            root = address.shown(_parent(path)).rstrip("/.") if _parent(path) != "." else address.name
            if isinstance(text, Flaw):
                look.wrong(address.shown(path), text, "")
            else:
                look.marker(text, address.shown(path), root)
                roots[_parent(path)] = root
    for path, message in sorted(commit.wrong.items()):
        look.wrong(address.shown(path), Flaw(Mark(1, 1), (), message), look.stack(_nearest(path, roots)))
    for path in sorted(commit.files):
        if PurePosixPath(path).name == MARKER:
            continue
        stack = look.stack(_nearest(path, roots))
        look.update(address.shown(path).encode("utf-8", "surrogateescape"), commit.files[path])
        text = decode(commit.files[path])
        if isinstance(text, Flaw):
            look.wrong(address.shown(path), text, stack)
        else:
            look.text(text, address.shown(path), stack, commit.id)
        look.read(address.shown(path))
    for stack in {"", *(look.stack(root) for root in roots.values())}:
        look.stamp(stack, commit.id.encode())


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _nearest(path: str, roots: Mapping[str, str]) -> str:
    """The root of the stack that a file stands in; one that is none where there is none."""
    return next((roots[str(above)] for above in PurePosixPath(path).parents if str(above) in roots), "None")
