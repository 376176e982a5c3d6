"""The git program as a subprocess: no shell, no hooks, no configuration but ours, no prompt, and one way to the repository alone."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from reconciler import children
from reconciler.children import Limits
from reconciler.errors import GuestFailed, Refused, TimedOut, Unreachable
from reconciler.sources.git.address import LOOPBACK, Address, Credential
from reconciler.visible import one_line

SECONDS = 120.0
"""That one command of git may take."""
MOST_BYTES = 1 << 30
"""Of any file that git writes: packs of a repository beyond it are refused by the system."""
MOST_OUTPUT = 256 << 20
ARMOR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
REACH = "check its address, this host's network, and the credential that `secret` names (docs/git.md)"
"""What to do about a repository that can't be reached."""
_TAIL = 2000
_INHERITED = (
    "PATH",
    "SSH_AUTH_SOCK",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "GIT_SSL_CAINFO",
)
_ALWAYS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.attributesFile=/dev/null"),
    *("-c", "credential.helper="),
    *("-c", "fetch.fsckObjects=true"),
    *("-c", "fetch.recurseSubmodules=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "http.lowSpeedLimit=100"),
    *("-c", "http.lowSpeedTime=30"),
    *("-c", "safe.directory=*"),
)
_LEVEL = re.compile(r"\A\s*(?:(?:fatal|error): )*(?:unable to access '[^']*': )?")
"""Before what git says: how bad it is, and the address, which is named once behind it."""
_OF_EVERY_FAILURE = frozenset(
    {
        "Could not read from remote repository",
        "Please make sure you have the correct access rights",
        "and the repository exists",
        "unable to read askpass response from '/bin/false'",
    }
)

ValueOf = Callable[[Credential], str | None]
"""The value of a secret now; None where there is none."""


@dataclass(frozen=True, slots=True)
class Git:
    """`home`: a directory of ours, for the repository and everything that git would look for at home. `environ`: the process's own."""

    home: Path
    environ: Mapping[str, str] = field(repr=False)

    async def run(self, *words: str, address: Address | None = None, secret: str = "", username: str = "", stdin: bytes = b"") -> bytes:
        """Run `git WORDS` in the repository; what it wrote. `address`: goes there, and nowhere else, with this secret. Raises `Unreachable`
        in git's own words when it fails, `TimedOut`, and `Refused` where there is no git."""
        return (await self._run(words, address, secret, username, stdin))[0]

    async def signer(self, commit: str, keys: str) -> str:
        """By whom a commit is signed, as git says it. `keys`: an `allowed_signers` file of ssh, or public keys of OpenPGP, armored. Raises
        `GuestFailed` when by none of these, `Refused` where there is no gpg and they are of OpenPGP."""
        ring = await asyncio.to_thread(_keyring, Path(keys), self.environ)
        only = ("-c", f"gpg.ssh.allowedSignersFile={'/dev/null' if ring else keys}")
        try:
            _, said = await self._run((*only, "verify-commit", "--", commit), None, "", "", b"", ring)
        except Unreachable as error:
            raise GuestFailed(f"no key of {keys} has signed it", commit, "sign it, or name the key in that file") from error
        finally:
            if ring:
                await asyncio.to_thread(shutil.rmtree, ring, ignore_errors=True)
        lines = [line.removeprefix("gpg: ") for line in said.decode("utf-8", "replace").splitlines() if "Good " in line]
        return one_line(lines[0].strip()) if lines else "verified"

    async def _run(
        self, words: Sequence[str], address: Address | None, secret: str, username: str, stdin: bytes, ring: str = ""
    ) -> tuple[bytes, bytes]:
        with _configuration(address, username, secret) as (configuration, descriptors):
            env = {name: self.environ[name] for name in _INHERITED if name in self.environ} | {
                "HOME": str(self.home),
                "GNUPGHOME": ring or "/nonexistent",
                "GIT_DIR": str(self.home / "repository"),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CONFIG_GLOBAL": configuration,
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_ASKPASS": "/bin/false",
                "SSH_ASKPASS": "/bin/false",
                "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ForwardAgent=no -o PermitLocalCommand=no",
                "GIT_ALLOW_PROTOCOL": address.scheme if address is not None else "none",
                "GIT_NO_REPLACE_OBJECTS": "1",
                "LC_ALL": "C",
            }
            try:
                child = await children.start(
                    ("git", *_ALWAYS, *words),
                    env,
                    cwd=self.home,
                    stdin=children.PIPE,
                    stdout=children.PIPE,
                    stderr=children.PIPE,
                    pass_fds=descriptors,
                    limits=Limits(file_bytes=MOST_BYTES),
                )
            except FileNotFoundError as error:
                raise Refused("there is no git on this host", "PATH", "install git 2.34 or newer") from error
            try:
                async with asyncio.timeout(SECONDS):
                    told, said = await _exchange(child, stdin)
                    ended = await child.wait()
            except TimeoutError:
                raise TimedOut(
                    f"git {_verb(words)} did not end within {SECONDS:g} s",
                    address.name if address else str(self.home),
                    REACH if address else "",
                ) from None
            finally:
                if child.returncode is None:
                    _end(child.pid)
                child.let_go()
        if ended != 0:
            why = _why(said[-_TAIL:].decode("utf-8", "replace").replace(secret or "\0", "…")) or f"exit code {ended}"
            where, remedy = (address.name, REACH) if address else (str(self.home), "")
            raise Unreachable(f"git {_verb(words)} failed: {why}", where, remedy)
        return told, said


def _why(said: str) -> str:
    """What git says of a failure, on one line: each thing once, and what it says of every failure only where it says no more."""
    lines = list(dict.fromkeys(one_line(_LEVEL.sub("", line)).rstrip(".") for line in said.splitlines() if line.strip()))
    return "; ".join([line for line in lines if line not in _OF_EVERY_FAILURE] or lines)


def _verb(words: Sequence[str]) -> str:
    return next((word for before, word in zip(("", *words), words, strict=False) if before != "-c" and not word.startswith("-")), "")


async def _exchange(child: children.Child, stdin: bytes) -> tuple[bytes, bytes]:
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None

    async def feed(to: asyncio.StreamWriter) -> None:
        try:
            to.write(stdin)
            await to.drain()
        except (BrokenPipeError, ConnectionResetError):  # it ended before it read all; its exit code tells why
            return
        finally:
            to.close()

    told, said, _ = await asyncio.gather(_read(child.stdout, MOST_OUTPUT), _read(child.stderr, 1 << 20), feed(child.stdin))
    return told, said


async def _read(stream: asyncio.StreamReader, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(1 << 16):
        size += len(part)
        if size <= most:
            parts.append(part)
    if size > most:
        raise Unreachable(f"git wrote more than {most >> 20} MiB", "git")
    return b"".join(parts)


def _end(pid: int) -> None:
    """It, and what it started: it leads a group of its own."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _keyring(keys: Path, environ: Mapping[str, str]) -> str:
    """A new directory with these keys of OpenPGP and no other, which whoever asks removes; '' where they are of ssh. Blocking."""
    try:
        with keys.open("rb") as file:
            armored = ARMOR in file.read(4096)
    except OSError as error:
        raise GuestFailed("its keys can't be read", str(keys), "correct the path or its permissions") from error
    if not armored:
        return ""
    ring = tempfile.mkdtemp(prefix="reconciler-keys-")
    command = ("gpg", "--batch", "--no-autostart", "--quiet", "--homedir", ring, "--import", "--", str(keys))
    try:
        children.run(command, {"PATH": environ.get("PATH", os.defpath)}, SECONDS).check_returncode()
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(ring, ignore_errors=True)
        if isinstance(error, FileNotFoundError):
            raise Refused("there is no gpg on this host, and the keys are of OpenPGP", str(keys), "install gnupg") from error
        raise GuestFailed("its keys can't be read", str(keys), "export them anew: `gpg --armor --export`") from error
    return ring


@contextmanager
def _configuration(address: Address | None, username: str, secret: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The file of git's configuration, and the descriptors that a child needs to read it. A secret stands in a file that exists in memory
    alone: in no argument, no environment and on no disk, and is sent to the host of the address only."""
    if not secret or address is None:
        yield os.devnull, ()
        return
    parts = urlsplit(address.url)
    if parts.scheme not in ("https", "http") or (parts.scheme == "http" and parts.hostname not in LOOPBACK):
        raise Refused(f"a credential is not sent over {parts.scheme}", address.name, "use https; for ssh leave the credential to its agent")
    token = base64.b64encode(f"{username}:{secret}".encode()).decode()
    url = f"{parts.scheme}://{parts.netloc}/"
    text = f'[http "{url}"]\n\textraHeader = Authorization: Basic {token}\n\tfollowRedirects = false\n'
    descriptor = os.memfd_create("git-config", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)
