"""`config`: every setting with its value and where that comes from, and changing the file of settings."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

import typer

from reconciler.cli.output import out, parse_format, show, table
from reconciler.cli.replacing import replace_file
from reconciler.cli.tablesettings import of_tables, of_telemetry
from reconciler.config import NAMES, Config, Setting, load, user_file
from reconciler.core.keys import Json, JsonValue
from reconciler.errors import InvalidSpec, ReconcilerError, Unreachable, UsageError

ACTIONS = ("view", "set")
DEFAULT, SET, ABSENT = "default", "(set)", "-"
_ATTRIBUTES = {"config-maps": "configs"}
_VARIABLES = ("VERS_BASE_URL", "VERS_URL", "RECONCILER_VM_DOMAIN", "RECONCILER_VM_GATEWAY", "RECONCILER_VM_CA", "RECONCILER_PI_VERSION")
"""Settings that only the environment has, and that are no secret."""
_SECRET = re.compile(r"RECONCILER_SECRET_\w+\Z")
_LINE = r"[ \t]*{name}[ \t]*=[ \t]*(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^#\n]*?)(?P<rest>[ \t]*(?:#[^\n]*)?)$"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: never a secret's value."""

    name: str
    value: JsonValue
    source: str


def config_(
    config: Config,
    action: Annotated[str, typer.Argument(metavar="view|set", help="What to do.", show_default=False)],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE…]", help="For set: settings by their long names.", show_default=False)
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table, json or yaml.")] = "table",
) -> None:
    """Show every setting and where it comes from; change the file.

    A flag beats the environment, which beats the file that --config or RECONCILER_CONFIG names, else
    ~/.config/reconciler/config.toml. Repositories (gitSource), budgets, prices and OpenTelemetry's variables are shown too. Of secrets it
    is told whether they are set and where, never their value. `set` changes that file and keeps its comments; an empty VALUE takes a
    setting away."""
    if action not in ACTIONS:
        raise UsageError(f"{action!r} is nothing that can be done with settings", "config", "use view or set")
    if action == "set":
        path = config.file or user_file(config.environ)
        change(config, path, settings or [])
        out(f"{path} changed")
        return
    if settings:
        raise UsageError("view shows every setting", " ".join(settings), "leave the names out")
    shape = parse_format(output, ("table", "json", "yaml"))
    found = sorted(rows(config), key=lambda row: row.name)
    if shape.kind == "table":
        table(("NAME", "VALUE", "SOURCE"), [(row.name, text(row.value), row.source) for row in found])
        return
    items: list[JsonValue] = [{"name": row.name, "value": row.value, "source": row.source} for row in found]
    told: Json = {"file": str(config.file) if config.file is not None else None, "settings": items}
    show([told], shape, True)


def rows(config: Config) -> Iterator[Row]:
    """Every setting, secrets without their values."""
    for name in NAMES:
        value = getattr(config, _ATTRIBUTES.get(name, name.replace("-", "_")))
        origin = config.origins.get(name, DEFAULT)
        yield Row(name, shown(value), origin.removeprefix(f"{name} in "))
    for sink in config.notify:  # an address may be a secret
        yield Row(f"notify {sink.name}", sink.kind, str(config.file))
    for told in of_tables(config):
        yield Row(told.name, shown(told.value), str(config.file) if told.given else DEFAULT)
    for told in of_telemetry(config.environ):
        yield Row(told.name, shown(told.value), told.name if told.given else DEFAULT)
    for name in _VARIABLES:
        yield Row(name, without_password(config.environ.get(name, "")) or None, name if config.environ.get(name) else DEFAULT)
    for name in sorted(filter(_SECRET.match, config.environ)):
        yield Row(name, SET, name)
    key, where = _key(config)
    yield Row("VERS_API_KEY", key, where)


def shown(value: object) -> JsonValue:
    """A setting as it would be written, a password in it hidden."""
    match value:
        case None | bool() | int() | float():
            return value
        case tuple():
            return ",".join("=".join(one) if isinstance(one, tuple) else str(one) for one in value)
        case _:
            return without_password(str(value)) or None


def without_password(value: str) -> str:
    """A URL without what only its user should know; anything else as it is."""
    try:
        parts = urlsplit(value)
        user, sign, host = parts.netloc.rpartition("@")
        hidden = f"{user.partition(':')[0]}:***{sign}{host}" if ":" in user else parts.netloc
    except ValueError:
        return "***"
    query = re.sub(r"(?i)((?:^|&)[^=&]*(?:password|token|key)[^=&]*=)[^&]*", r"\1***", parts.query)
    return urlunsplit(parts._replace(netloc=hidden, query=query)) if (parts.scheme and parts.netloc) or query else value


def text(value: JsonValue) -> str:
    """A value in a table."""
    return ABSENT if value is None else str(value).lower() if isinstance(value, bool) else str(value) or ABSENT


def _key(config: Config) -> tuple[JsonValue, str]:
    """Whether there is a key for the platform, and where."""
    from reconciler.vers.keys import Settings  # only here: it reads files

    try:
        where = Settings(config.environ).key_source()
    except ReconcilerError as error:
        return None, str(error)
    return (SET, where) if where else (None, DEFAULT)


# --- changing the file --------------------------------------------------------------------------------------------------------------


def change(config: Config, path: Path, settings: Sequence[str]) -> None:
    """Write these `NAME=VALUE` into the file, which keeps everything else it has. Raises `UsageError` for what is no setting or no
    value of one, `InvalidSpec` where it can't be changed safely, `Refused` when it changed meanwhile, `Unreachable`."""
    if not settings:
        raise UsageError("nothing to set", "config set", "write NAME=VALUE, for example fleet=team")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise Unreachable(f"the file can't be read ({error.strerror})", str(path), "check its permissions") from error
    wanted = dict(pair(one) for one in settings)
    try:
        before = data.decode("utf-8")
        old = tomllib.loads(before)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the configuration is not TOML: {error}", str(path), "correct it") from error
    given: dict[str, Setting | None] = {name: value for name, value in wanted.items() if value is not None and name != "context"}
    load(given, {})  # what is no value of a setting is told before anything is written
    after = before
    for name, value in wanted.items():
        after = written(after, name, value)
    expected = {name: value for name, value in {**old, **wanted}.items() if value is not None}
    if tomllib.loads(after) != expected:
        raise InvalidSpec("it can't be changed without touching other parts of the file", str(path), "edit it by hand")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, data, after.encode())


def pair(setting: str) -> tuple[str, Setting | None]:
    """`NAME=VALUE` → the setting; None for an empty value. Raises `UsageError`."""
    name, sign, value = setting.partition("=")
    if not sign or name not in NAMES:
        what = f"unknown setting {name!r}" if sign else f"{setting!r} is not NAME=VALUE"
        raise UsageError(what, "config set", f"use one of {', '.join(sorted(NAMES))}")
    if not value:
        return name, None
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if re.fullmatch(r"[0-9]{1,15}", value) and name not in _TEXTS else value


_TEXTS = frozenset({"state", "store", "fleet", "namespace", "secrets", "config-maps", "default-model", "context", "share", "adopt-unowned"})
"""Settings that are texts, also where the text is a number."""


def written(document: str, name: str, value: Setting | None) -> str:
    """The text of a TOML file with this setting: its own line changed, put in before the first table, or taken out."""
    head = re.search(r"^[ \t]*\[", document, re.MULTILINE)
    end = head.start() if head else len(document)
    top, tables = document[:end], document[end:]
    found = re.search(_LINE.format(name=re.escape(name)), top, re.MULTILINE)
    literal = _literal(value)
    if found is not None and value is None:
        return top[: found.start()] + top[found.end() :].removeprefix("\n") + tables
    if found is not None:
        return top[: found.start("value")] + literal + top[found.end("value") :] + tables
    if value is None:
        return document
    if top and not top.endswith("\n"):
        top += "\n"
    return f"{top}{name} = {literal}\n{tables}"


def _literal(value: Setting | None) -> str:
    """A value as TOML writes it."""
    if not isinstance(value, str):
        return "" if value is None else json.dumps(value)
    return '"' + "".join(char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}" for char in value) + '"'
