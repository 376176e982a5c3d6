"""Sinks as the configuration file declares them: `[[notify]]` tables. Reads no secret and opens nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, cast
from urllib.parse import urlsplit

from reconciler.api.catalogue import REASONS
from reconciler.api.registry import KINDS
from reconciler.core.notices import EVENTS, Event, Filter
from reconciler.engine.outbox import SLOTS, Want
from reconciler.errors import UsageError

MOST = 16
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_KNOWN = (
    "name",
    "url",
    "url-from",
    "key-from",
    "token-from",
    "unsigned",
    "insecure",
    "command",
    "env",
    "events",
    "kinds",
    "namespaces",
    "reasons",
    "hold-seconds",
    "timeout-seconds",
)
_WEBHOOK_ONLY = ("url-from", "key-from", "token-from", "unsigned", "insecure")

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a secret value is: `secret` NAMESPACE/NAME/KEY, `file` PATH, or `env` VARIABLE. Prints as `secret team/hook/key`."""

    kind: Literal["secret", "file", "env"]
    at: str

    def __str__(self) -> str:
        return f"{self.kind} {self.at}"


@dataclass(frozen=True, slots=True)
class Webhook:
    """`url`: its address, or where that is, for an address that is a secret itself. `key`: what it is signed with, None for unsigned;
    `token`: sent as a bearer token."""

    url: str | Ref
    key: Ref | None = None
    token: Ref | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """`argv`: program and arguments, never read by a shell; `env`: names of variables that it is given besides PATH, HOME and LANG."""

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sink:
    """Where notices go, and which. `timeout`: seconds that one delivery may take."""

    want: Want
    way: Webhook | Command
    timeout: float = 10.0

    @property
    def name(self) -> str:
        return self.want.name

    @property
    def kind(self) -> str:
        """For people."""
        return "a command" if isinstance(self.way, Command) else "a webhook, signed" if self.way.key is not None else "a webhook, unsigned"


def read_sinks(tables: object, file: str) -> tuple[Sink, ...]:
    """`tables`: what `notify` is in the file. Raises `UsageError` naming the file, the sink and the setting."""
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise UsageError("notify must be a list of tables", file, "write [[notify]] above each sink")
    if len(tables) > MOST:
        raise UsageError(f"{len(tables)} sinks, more than {MOST}", f"notify in {file}", "declare fewer")
    sinks = tuple(_Table(cast(dict[str, object], table), number, file).sink() for number, table in enumerate(tables, 1))
    for sink in sinks:
        if sum(other.name == sink.name for other in sinks) > 1:
            raise UsageError(f"two sinks are called {sink.name!r}", f"notify in {file}", "give each another name")
    return sinks


class _Table:
    def __init__(self, table: Mapping[str, object], number: int, file: str) -> None:
        self._table, self._file = table, file
        name = table.get("name")
        self._title = f"notify {name}" if isinstance(name, str) and _NAME.fullmatch(name) else f"notify {number}"

    def wrong(self, what: str, setting: str, remedy: str) -> UsageError:
        return UsageError(what, f"{self._title}: {setting} in {self._file}", remedy)

    def sink(self) -> Sink:
        for setting in self._table:
            if setting not in _KNOWN:
                raise self.wrong(f"unknown setting {setting!r}", setting, f"use one of {', '.join(_KNOWN)}")
        name = self._table.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self.wrong("a sink needs a name of lower-case letters, digits and -", "name", 'write for example name = "ops"')
        ways = [setting for setting in ("url", "url-from", "command") if setting in self._table]
        if len(ways) != 1:
            raise self.wrong("a sink has one way", "url", "declare one of url, url-from and command")
        way = self._command() if ways == ["command"] else self._webhook()
        events, kinds = self._words("events", EVENTS), self._words("kinds", [kind.name for kind in KINDS])
        wanted = Filter(cast(tuple[Event, ...], events), kinds, self._words("namespaces"), self._words("reasons", REASONS))
        hold = self._seconds("hold-seconds", 10.0, least=0.0, most=86_400.0)
        return Sink(Want(name, wanted, hold, SLOTS), way, self._seconds("timeout-seconds", 10.0, least=0.1, most=300.0))

    def _webhook(self) -> Webhook:
        if "env" in self._table:
            raise self.wrong("env goes with command", "env", "leave it out")
        insecure, unsigned = self._switch("insecure"), self._switch("unsigned")
        url: str | Ref | None = self._ref("url-from")
        if url is None:
            url = self._table.get("url")  # type: ignore[assignment]
            if not isinstance(url, str) or (why := unfit(url, insecure)):
                raise self.wrong(why if isinstance(url, str) else "must be a string", "url", "write https://HOST/PATH")
        key, token = self._ref("key-from"), self._ref("token-from")
        if (key is None) != unsigned:
            what = "a webhook is signed" if key is None else "it can't be both signed and unsigned"
            remedy = 'write key-from = {secret = "NAMESPACE/NAME/KEY"}, or unsigned = true' if key is None else "leave one of them out"
            raise self.wrong(what, "key-from", remedy)
        return Webhook(url, key, token, insecure)

    def _command(self) -> Command:
        for setting in _WEBHOOK_ONLY:
            if setting in self._table:
                raise self.wrong(f"{setting} goes with a webhook", setting, "leave it out")
        argv = self._words("command")
        if not argv or not argv[0] or any("\0" in word for word in argv):
            raise self.wrong("a command is a list: program, arguments", "command", 'write for example command = ["/usr/local/bin/page"]')
        return Command(argv, self._words("env"))

    def _ref(self, setting: str) -> Ref | None:
        told = self._table.get(setting)
        if told is None:
            return None
        remedy = 'write {secret = "NAMESPACE/NAME/KEY"}, {file = "/PATH"} or {env = "VARIABLE"}'
        if not isinstance(told, dict) or len(told) != 1:
            raise self.wrong("a secret value is referred to, and never written here", setting, remedy)
        (kind, at), fits = next(iter(told.items())), False
        if isinstance(at, str):
            parts = at.split("/")
            fits = {"secret": len(parts) == 3 and all(parts), "file": at.startswith("/"), "env": at.isidentifier()}.get(kind, False)
        if not fits:
            raise self.wrong("that is no reference to a secret value", setting, remedy)
        return Ref(kind, at)

    def _words(self, setting: str, known: Sequence[str] | Mapping[str, object] | None = None) -> tuple[str, ...]:
        told = self._table.get(setting, [])
        if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
            raise self.wrong("must be a list of strings", setting, f'write for example {setting} = ["…"]')
        for one in told:
            if known is not None and one not in known:
                choice = f"use one of {', '.join(known)}" if len(known) < 20 else "docs/api.md has all of them"
                raise self.wrong(f"there is no {one!r}", setting, choice)
        return tuple(told)

    def _seconds(self, setting: str, default: float, least: float, most: float) -> float:
        told = self._table.get(setting, default)
        if isinstance(told, bool) or not isinstance(told, int | float) or not least <= told <= most:
            raise self.wrong(f"must be a number of seconds from {least:g} to {most:g}", setting, f"write for example {default:g}")
        return float(told)

    def _switch(self, setting: str) -> bool:
        told = self._table.get(setting, False)
        if not isinstance(told, bool):
            raise self.wrong("must be true or false", setting, "write true or false")
        return told


def unfit(url: str, insecure: bool) -> str:
    """Why nothing is sent to such an address, '' when it may be. Says nothing of the address itself, which may be secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "that is no address"
    if parts.scheme not in ("http", "https") or not host:
        return "an address begins with https://"
    if parts.username or parts.password:
        return "a password in an address is no reference (token-from, url-from)"
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        return "http:// shows everybody what is sent; insecure = true allows it"
    return ""


def is_loopback(host: str) -> bool:
    """Only this host is meant."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
