"""How one notice is delivered: a signed POST, or a command. Nothing here remembers or repeats anything.

Neither addresses nor answers are shown: an address may be a secret, and an answer may hold anything."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from reconciler import children
from reconciler.core.keys import Json
from reconciler.core.times import http_date
from reconciler.engine.ports import Secrets
from reconciler.errors import NotFound, Refused, Terminal, TimedOut, Transient, Unreachable
from reconciler.notify.settings import Command, Ref, Sink, Webhook, is_loopback, unfit

SHORTEST_KEY = 16
LONGEST_VALUE = 64 << 10
LONGEST_ASKED = 3600.0
"""Seconds that a receiver may ask us to wait."""
_FOR_GOOD = frozenset({400, 406, 413, 414, 415, 422, 501, 505})
"""Answers that say of this very notice that it will never be taken; every other one is asked again."""


@dataclass(eq=False)
class Declined(Terminal):
    """The receiver will never take this notice."""


@dataclass(eq=False)
class Later(Transient):
    """The receiver asks to come again in `after` seconds."""

    after: float = 0.0


Now = Callable[[], float]


class Way(Protocol):
    """Delivers one notice. Raises `Declined`, `Later`, or another `ReconcilerError` when it is to be tried again."""

    async def deliver(self, event: Json) -> None: ...

    async def aclose(self) -> None: ...


class Values:
    """Secret values by reference, read at each use."""

    def __init__(self, secrets: Secrets, environ: Mapping[str, str]) -> None:
        self._secrets, self._environ = secrets, environ

    def get(self, ref: Ref) -> str:
        """Raises `NotFound` when it is not there, `Refused` when it can't be used."""
        value: str | None
        if ref.kind == "secret":
            namespace, name, key = ref.at.split("/")
            value = self._secrets.get(namespace, name, key)
        elif ref.kind == "env":
            value = self._environ.get(ref.at)
        else:
            value = _from_file(Path(ref.at))
        if not value:
            raise NotFound("a value that a sink refers to is not there", str(ref), "provide it; it is looked for again")
        return value


def _from_file(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound("a sink's value can't be read", f"file {path}", (error.strerror or "correct its permissions").lower()) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST_VALUE:
            raise Refused("a sink's value is no file of at most 64 KiB", f"file {path}", "put a file there")
        if found.st_mode & 0o077:
            raise Refused(f"others may read a sink's value (mode {stat.S_IMODE(found.st_mode):04o})", f"file {path}", "`chmod 600` it")
        data = file.read(LONGEST_VALUE)
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError:
        pass
    raise Refused("a sink's value is not UTF-8", f"file {path}", "encode it, for example with base64")


def signing_key(text: str, ref: Ref) -> bytes:
    """The bytes of a key: base64 after `whsec_`, else the text itself. Raises `Refused` for one that can be guessed."""
    key = text.encode()
    if text.startswith("whsec_"):
        try:
            key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if len(key) < SHORTEST_KEY:
        raise Refused(f"a signing key is at least {SHORTEST_KEY} bytes, or whsec_ and as many in base64", str(ref), "make a longer one")
    return key


def signature(key: bytes, ident: str, at: int, body: bytes) -> str:
    """As the Standard Webhooks say it: HMAC-SHA-256 of id, time and body."""
    signed = hmac.new(key, f"{ident}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def body_of(event: Json) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


class WebhookWay:
    """`now`: for the time that is signed."""

    def __init__(self, sink: Sink, webhook: Webhook, values: Values, now: Now) -> None:
        self._sink, self._webhook, self._values, self._now = sink, webhook, values, now
        self._session: aiohttp.ClientSession | None = None

    def prepared(self, event: Json, body: bytes) -> tuple[str, dict[str, str]]:
        """Address and headers. Raises what is wrong with the values that are referred to."""
        hook, at = self._webhook, int(self._now())
        url = hook.url if isinstance(hook.url, str) else self._values.get(hook.url)
        if why := unfit(url, hook.insecure):
            raise Refused(why, f"notify {self._sink.name}: {hook.url if isinstance(hook.url, Ref) else 'url'}", "correct it")
        ident = str(event["id"])
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "User-Agent": "reconciler",
            "webhook-id": ident,
            "webhook-timestamp": str(at),
        }
        if hook.key is not None:
            headers["webhook-signature"] = signature(signing_key(self._values.get(hook.key), hook.key), ident, at, body)
        if hook.token is not None:
            token = self._values.get(hook.token)
            if not token.isascii() or not token.isprintable():
                raise Refused("a token is one line of ASCII", str(hook.token), "correct it")
            headers["Authorization"] = f"Bearer {token}"
        return url, headers

    async def deliver(self, event: Json) -> None:
        body, where = body_of(event), f"notify {self._sink.name}"
        url, headers = self.prepared(event, body)
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        timeout = aiohttp.ClientTimeout(total=self._sink.timeout)
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False, timeout=timeout, proxy=_proxy(url)
            ) as answer:
                status, after = answer.status, answer.headers.get("Retry-After", "")
        except TimeoutError:
            raise TimedOut(f"no answer within {self._sink.timeout:g} s", where, "see the receiver") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:  # not chained: its frames hold address and token
            raise Unreachable(f"the receiver can't be reached: {type(error).__name__}", where, "see its address and the receiver") from None
        if status // 100 == 2:
            return
        if status in _FOR_GOOD:
            raise Declined(f"the receiver answered {status}: it will not take this notice", where, "see the receiver")
        if (wait := _asked(after, self._now())) > 0.0:
            raise Later(f"the receiver answered {status} and asks to wait {wait:.0f} s", where, "nothing", wait)
        raise Unreachable(f"the receiver answered {status}", where, "see the receiver, its address and its token")

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


def _proxy(url: str) -> str | None:
    """That of the environment; none for this host itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return None if is_loopback(host) or proxy_bypass(host) else getproxies().get(parts.scheme)


def _asked(header: str, now: float) -> float:
    """Seconds of a Retry-After, 0 for none."""
    wait = float(header) if header.isascii() and header.isdecimal() and len(header) < 8 else (http_date(header) or now) - now
    return min(max(wait, 0.0), LONGEST_ASKED)


class CommandWay:
    """The notice on standard input, the id in the environment as RECONCILER_NOTICE; exit code 0 means delivered."""

    def __init__(self, sink: Sink, command: Command, environ: Mapping[str, str]) -> None:
        self._sink, self._command = sink, command
        names = ("PATH", "HOME", "LANG", *command.env)
        self._env = {name: environ[name] for name in names if name in environ}

    def program(self) -> str:
        """The whole path of the program. Raises `NotFound`."""
        found = shutil.which(self._command.argv[0], path=self._env.get("PATH"))
        if found is None:
            raise NotFound(
                "the command of a sink is not there, or can't be executed", f"notify {self._sink.name}", "correct its first word"
            )
        return found

    async def deliver(self, event: Json) -> None:
        where, body = f"notify {self._sink.name}", body_of(event) + b"\n"
        argv = [self.program(), *self._command.argv[1:]]
        try:
            child = await children.start(argv, {**self._env, "RECONCILER_NOTICE": str(event["id"])}, stdin=children.PIPE)
        except (OSError, ValueError) as error:
            raise Unreachable(f"the command can't be started: {type(error).__name__}", where, "see the command") from None
        try:
            async with asyncio.timeout(self._sink.timeout):
                if child.stdin is not None:
                    with suppress(OSError):  # it need not read all of it
                        child.stdin.write(body)
                        await child.stdin.drain()
                    child.stdin.close()
                code = await child.wait()
        except TimeoutError:
            raise TimedOut(f"the command did not end within {self._sink.timeout:g} s", where, "see the command") from None
        finally:
            child.let_go()
        if code != 0:
            raise Unreachable(f"the command ended with {code}", where, "see the command")

    async def aclose(self) -> None:
        return None


def way_of(sink: Sink, values: Values, environ: Mapping[str, str], now: Now) -> WebhookWay | CommandWay:
    return WebhookWay(sink, sink.way, values, now) if isinstance(sink.way, Webhook) else CommandWay(sink, sink.way, environ)


def examine(way: WebhookWay | CommandWay) -> None:
    """Whether it could deliver now: its values are there and fit, its program is there. Sends nothing; raises what is wrong."""
    if isinstance(way, CommandWay):
        way.program()
    else:
        way.prepared({"id": "0"}, b"{}")
