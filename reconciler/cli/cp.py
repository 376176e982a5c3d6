"""`cp`: files and directories to and from the machine of an agent, streamed, whole or not at all."""

from __future__ import annotations

import asyncio
import base64
import os
import posixpath
import re
import secrets
import shutil
import stat
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.archives import unpack
from reconciler.cli.access import reader
from reconciler.cli.exec import host_key
from reconciler.cli.output import out
from reconciler.cli.read import one
from reconciler.config import Config
from reconciler.errors import GuestFailed, NotFound, ReconcilerError, Refused, UsageError

if TYPE_CHECKING:
    from reconciler.agent.execs import Source
    from reconciler.agent.keeper_client import KeeperClient
    from reconciler.app import Reach

PART = 2 << 20
PATIENCE = 120.0
_END = re.compile(r"(?P<lieutenant>(?:[a-z]+/)?[a-z0-9](?:[-a-z0-9]*[a-z0-9])?):(?P<path>.*)", re.S)


def void(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class End:
    """One end of a copy. `lieutenant` '': this host."""

    lieutenant: str
    path: str


def end(text: str) -> End:
    """`LIEUTENANT:PATH`, or a path of this host (`./a:b` where it has a colon). Raises `UsageError`."""
    found = _END.fullmatch(text)
    made = End(found["lieutenant"], found["path"]) if found else End("", text)
    if not made.path or "\0" in made.path:
        raise UsageError("a path is missing", text, "write LIEUTENANT:PATH, or a path of this host")
    return made


def cp(
    config: Config,
    source: Annotated[str, typer.Argument(metavar="SRC", help="LIEUTENANT:PATH, or a path of this host.", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="DST", help="The same; a directory that exists gets it inside.", show_default=False)],
) -> None:
    """Copy a file or a directory to or from the machine of an agent.

    Relative paths there start at its work dir."""
    here, there = end(source), end(target)
    if bool(here.lieutenant) == bool(there.lieutenant):
        raise UsageError("exactly one end is on a machine", f"{source} {target}", "write LIEUTENANT:PATH for that one")
    asyncio.run(_cp(config, here, there))


async def _cp(config: Config, source: End, target: End) -> None:
    from reconciler.app import reach

    host = host_key(config, source.lieutenant or target.lieutenant)
    async with reader(config) as store, reach(config, store, await one(store, host)) as machine:
        client = await machine.private(lambda _: None, lambda: None)
        try:
            copy = Copy(machine, client)
            await (copy.fetch(source.path, Path(target.path)) if source.lieutenant else copy.put(Path(source.path), target.path))
        finally:
            await client.close()


class Copy:
    """Copies over one connection; directories as a tar stream of a command there."""

    def __init__(self, machine: Reach, client: KeeperClient) -> None:
        self._machine, self._client = machine, client

    # --- from there -----------------------------------------------------------------------------------------------------------

    async def fetch(self, source: str, target: Path) -> None:
        """A file replaces a file; a directory replaces nothing. Nothing half-done is left under the target's name."""
        found = await self._stat(source)
        if found is None:
            raise NotFound("there is no such file", f"{self._machine.item.key.name}:{source}", "relative paths start at the work dir")
        if _kind(target) == "directory":
            target /= posixpath.basename(posixpath.normpath(source))
        mode = found
        if stat.S_ISREG(mode):
            await self._fetch_file(source, target, stat.S_IMODE(mode))
            out(f"{target}")
        elif stat.S_ISDIR(mode):
            await self._fetch_directory(source, target)
            out(f"{target}/")
        else:
            raise Refused("it is neither a file nor a directory", source, "copy what it leads to")

    async def _fetch_file(self, source: str, target: Path, mode: int) -> None:
        if _kind(target) == "directory":
            raise Refused("a directory of that name exists", str(target), "give another name")
        temporary = _beside(target)
        try:
            with temporary.open("xb") as file:
                offset = 0
                while True:
                    answer = await self._client.request(
                        "file.read", self._machine.at.epoch, PATIENCE, path=source, offset=offset, limit=PART
                    )  # fmt: skip
                    piece = base64.b64decode(str(answer.get("data", "")))
                    file.write(piece)
                    offset += len(piece)
                    if len(piece) < PART:
                        break
                os.fchmod(file.fileno(), mode & 0o777)
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    async def _fetch_directory(self, source: str, target: Path) -> None:
        _must_be_free(target)
        temporary = _beside(target)
        temporary.mkdir()
        try:
            reading, writing = os.pipe()
            unpacking = asyncio.create_task(asyncio.to_thread(_unpack, reading, temporary))
            try:
                with os.fdopen(writing, "wb", buffering=0) as pipe:
                    await self._run(["tar", "-C", source, "-cf", "-", "."], sink=pipe.write)
            finally:
                await asyncio.gather(unpacking, return_exceptions=True)
            unpacking.result()
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    # --- to there -------------------------------------------------------------------------------------------------------------

    async def put(self, source: Path, target: str) -> None:
        """The other way, by the same rules."""
        kind = _kind(source)
        if not kind:
            raise NotFound("there is no such file", str(source), "check the path")
        found = await self._stat(target)
        into = target.endswith("/") or (found is not None and stat.S_ISDIR(found))
        path = posixpath.join(target, _name(source)) if into else target
        if kind == "file":
            await self._put_file(source, path)
        elif kind == "directory":
            await self._put_directory(source, path)
        else:
            raise Refused("it is neither a file nor a directory", str(source), "copy what it leads to")
        out(f"{self._machine.item.key.name}:{path}{'/' if kind == 'directory' else ''}")

    async def _put_file(self, source: Path, target: str) -> None:
        """In parts; it appears there with the last one."""
        upload = secrets.token_hex(8)
        with source.open("rb") as file:
            mode, offset = stat.S_IMODE(os.fstat(file.fileno()).st_mode), 0
            piece = await asyncio.to_thread(file.read, PART)
            while True:
                following = await asyncio.to_thread(file.read, PART)
                data = base64.b64encode(piece).decode()
                part = {"path": target, "mode": mode, "data": data, "upload": upload, "offset": offset, "done": not following}
                await self._client.request("files.write", self._machine.at.epoch, PATIENCE, parts=[part])
                offset += len(piece)
                if not following:
                    return
                piece = following

    async def _put_directory(self, source: Path, target: str) -> None:
        if await self._stat(target) is not None:
            raise Refused("something of that name exists there", target, "give another name")
        temporary = f"{posixpath.normpath(target)}.{secrets.token_hex(4)}.new"
        await self._run(["mkdir", "-p", "--", temporary])
        try:
            reading, writing = os.pipe()
            packing = asyncio.create_task(asyncio.to_thread(_pack, source, writing))
            try:
                with os.fdopen(reading, "rb", buffering=0) as pipe:
                    await self._run(["tar", "-C", temporary, "-xf", "-"], source=_reading(pipe.read))
            finally:
                await asyncio.gather(packing, return_exceptions=True)
            packing.result()  # an archive that ends too soon looks whole to tar
            await self._run(["mv", "-T", "--", temporary, target])
        except BaseException:
            with suppress(ReconcilerError):
                await self._run(["rm", "-rf", "--", temporary])
            raise

    # --- both -----------------------------------------------------------------------------------------------------------------

    async def _stat(self, path: str) -> int | None:
        """The mode, with the kind of file, of what a path there leads to; None when it is not there."""
        said = bytearray()
        try:
            await self._run(["stat", "-L", "-c", "%f", "--", path], sink=said.extend)
        except GuestFailed as failed:
            if failed.exit_code == 1:
                return None
            raise
        return int(said.decode(), 16)

    async def _run(self, argv: Sequence[str], sink: Callable[[bytes], object] = void, source: Source | None = None) -> None:
        """A command there. Raises `GuestFailed` with its exit code and what it said when it ends badly."""
        from reconciler.agent.execs import Exec

        wrong = bytearray()
        command = Exec(self._machine.at, lambda data: void(sink(data)), lambda data: wrong.extend(data[-4096:]))
        code = await command.run(self._machine.private, argv, source=source)
        if code:
            said = wrong.decode(errors="replace").strip()[-300:]
            raise GuestFailed(f"{argv[0]} ended with exit code {code}: {said}", self._machine.item.key.name, exit_code=code, tail=said)


def _reading(read: Callable[[int], bytes]) -> Source:
    from reconciler.agent.execs import PIECE

    async def source() -> bytes:
        return await asyncio.to_thread(read, PIECE)

    return source


def _kind(path: Path) -> str:
    """What a path of this host leads to: file, directory, other, or '' for nothing."""
    return "file" if path.is_file() else "directory" if path.is_dir() else "other" if path.exists() else ""


def _name(path: Path) -> str:
    """What it is called, also when it was given as `.`."""
    return path.resolve().name


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")


def _must_be_free(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise Refused("something of that name exists", str(target), "give another name")


def _pack(source: Path, descriptor: int) -> None:
    """Into a pipe; when nobody reads any more, that is for the reader to tell. Raises `OSError` for what can't be read."""
    with os.fdopen(descriptor, "wb") as pipe, suppress(BrokenPipeError), tarfile.open(fileobj=pipe, mode="w|") as archive:
        archive.add(source, ".")


def _unpack(descriptor: int, target: Path) -> None:
    """What a machine sends is not trusted: nothing lands outside, no devices, no foreign owners. Raises `GuestFailed`."""
    with os.fdopen(descriptor, "rb") as pipe:
        try:
            with tarfile.open(fileobj=pipe, mode="r|") as archive:
                unpack(archive, target)
        except tarfile.TarError as error:
            raise GuestFailed(f"what the machine sent can't be unpacked: {error}", str(target)) from error
        finally:
            while pipe.read(1 << 16):  # so that who writes is never left waiting
                pass
