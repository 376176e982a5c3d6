"""Who may do what over HTTP. Denied unless a credential says otherwise (G-64):

* the token, as a bearer token or as a session that a person opened with it: everything;
* on a loopback address the kernel's word that the other end is a process of this controller's own user, as for the control socket:
  reading. A page of somewhere else that a browser shows has it too, so such a request must name this host, come from no other
  page, and through no proxy.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from reconciler.errors import Terminal, UsageError

TOKEN_VARIABLE = "RECONCILER_HTTP_TOKEN"
TOKEN_FILE = "http-token"
SHORTEST_TOKEN = 16
LONGEST_TOKEN = 4096
SESSION_SECONDS = 12 * 3600.0
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")


class Access(IntEnum):
    """What a request may do."""

    NONE = 0
    READ = 1
    WRITE = 2


def token_of(state: Path, environ: Mapping[str, str], file: Path | None = None) -> str:
    """The token in `file`, else of the environment, else the one in the state directory, made there (0600) at first. Raises
    `UsageError` for one that can be guessed or that others can read, `Terminal` when it can't be read or made."""
    if file is not None:
        return _given(_read(file), str(file))
    given = environ.get(TOKEN_VARIABLE, "")
    if given:
        return _given(given, TOKEN_VARIABLE)
    try:
        return _kept_token(state)
    except (OSError, UnicodeError) as error:
        raise Terminal("the token for the HTTP server can't be read or made", str(state / TOKEN_FILE), "correct owner and mode") from error


def _given(token: str, where: str) -> str:
    if len(token) < SHORTEST_TOKEN:
        raise UsageError(f"shorter than {SHORTEST_TOKEN} characters", where, "use a long random one")
    if not token.isascii() or not token.isprintable() or " " in token or len(token) > LONGEST_TOKEN:
        raise UsageError("can't be sent in a header", where, "use letters, digits, - and _")
    return token


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(LONGEST_TOKEN + 2)
    except OSError as error:
        raise UsageError("the file of the token can't be read", str(file), (error.strerror or "check it").lower()) from error
    if mode & 0o007:
        raise UsageError("everybody on this host may read the token", str(file), f"chmod 600 {file}")
    return text.decode("ascii", "replace").strip()


def _kept_token(state: Path) -> str:
    path = state / TOKEN_FILE
    with suppress(FileNotFoundError):
        kept = path.read_text().strip()
        if len(kept) >= SHORTEST_TOKEN:
            return kept
        path.unlink()
    made = secrets.token_urlsafe(32)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(made + "\n")
    return made


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request says who asks. `headers`: by lower-case name; `cookie`: the session's; `client`, `server`: the two ends."""

    headers: Mapping[str, str]
    cookie: str
    client: tuple[str, int] | None
    server: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """`loopback`: only this host reaches the server; `own`: whether the other end of a connection is this user."""

    token: str = field(repr=False)
    loopback: bool
    own: Callable[[tuple[str, int], tuple[str, int]], bool]
    now: Callable[[], float] = time.time

    def host_is_ours(self, host: str) -> bool:
        """Whether a request was meant for this server, by its Host header. A name that somebody lets point to a loopback address is
        none of this host's (DNS rebinding); beyond loopback the token is asked for whatever the name."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        return not self.loopback or _names_loopback(found["name"].lower())

    def access(self, asked: Asked) -> Access:
        """Every comparison with the token takes as long, right or wrong."""
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode()):
            return Access.WRITE
        if asked.cookie and self.session_holds(asked.cookie):
            return Access.WRITE
        return Access.READ if self._own_reader(asked) else Access.NONE

    def _own_reader(self, asked: Asked) -> bool:
        if not self.loopback or asked.client is None or asked.server is None:
            return False
        if any(name in asked.headers for name in _FORWARDED) or foreign(asked.headers, reads=True):
            return False
        return self.own(asked.client, asked.server)

    def fits(self, token: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def open_session(self) -> str:
        """What a browser keeps instead of the token. It ends with its time, and when the token changes."""
        said = f"{int(self.now() + SESSION_SECONDS)}.{secrets.token_urlsafe(16)}"
        return f"{said}.{self._sign('session', said)}"

    def session_holds(self, cookie: str) -> bool:
        said, _, signed = cookie.rpartition(".")
        genuine = hmac.compare_digest(signed.encode(), self._sign("session", said).encode())
        until = said.partition(".")[0]
        return genuine and until.isdigit() and len(until) < 12 and self.now() < int(until)

    def form_mark(self, cookie: str) -> str:
        """What a form of ours carries, and no other page can know (against forged requests)."""
        return self._sign("form", cookie)

    def form_is_ours(self, cookie: str, mark: str) -> bool:
        return hmac.compare_digest(mark.encode(), self.form_mark(cookie).encode())

    def _sign(self, purpose: str, said: str) -> str:
        return hmac.new(self.token.encode(), f"{purpose}:{said}".encode(), hashlib.sha256).hexdigest()


def _names_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    return False


def foreign(headers: Mapping[str, str], reads: bool = False) -> bool:
    """Whether a browser says that another page asks. `reads`: following a link of another page to one of ours is no harm then, as that
    page is not shown the answer."""
    if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
        return not reads or headers.get("sec-fetch-mode") != "navigate" or headers.get("sec-fetch-dest", "document") != "document"
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host", "")


def is_own(client: tuple[str, int], server: tuple[str, int]) -> bool:
    """Whether the other end of a connection on this host is a process of this user."""
    return peer_uid(client, server) == os.geteuid()


def peer_uid(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Whose socket the other end of a connection on this host is, by the kernel's word; None when it does not tell."""
    ends = {f"{_hex(client[0], form)}:{client[1]:04X} {_hex(server[0], form)}:{server[1]:04X}" for form in (False, True)}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table, encoding="ascii") as lines:
            for line in lines:
                fields = line.split(None, 8)
                if len(fields) > 7 and f"{fields[1]} {fields[2]}" in ends and fields[7].isdigit():
                    return int(fields[7])
    return None


def _hex(address: str, mapped: bool) -> str:
    """An address as the kernel's tables have it. `mapped`: one of IPv4 as IPv6 has it."""
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    else:
        packed = (b"\0" * 10 + b"\xff\xff" if mapped else b"") + socket.inet_pton(socket.AF_INET, address)
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))
