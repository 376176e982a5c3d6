"""What an operator may set: flags, environment, one TOML file. A flag beats the environment, which beats the file."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reconciler import paths
from reconciler.errors import UsageError

if TYPE_CHECKING:  # read where a file has some
    from reconciler.governing import Governing
    from reconciler.notify.settings import Sink

EVERY = "*"
NAMESPACE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"

Setting = str | bool | int | float
LogFormat = Literal["text", "json"]

VARIABLES = {
    "state": "RECONCILER_STATE",
    "store": "RECONCILER_STORE",
    "fleet": "RECONCILER_FLEET",
    "settle-seconds": "RECONCILER_SETTLE_SECONDS",
    "resync-seconds": "RECONCILER_RESYNC_SECONDS",
    "adopt-unowned": "RECONCILER_ADOPT_UNOWNED",
    "share": "RECONCILER_SHARE",
    "max-vms": "RECONCILER_MAX_VMS",
}
"""Setting → the environment variable that stands for its flag."""

FILE = "RECONCILER_CONFIG"
"""The environment variable that names the file of settings, as `--config` does."""

SIMULATED = "RECONCILER_SIMULATED"
"""The environment variable by which the environment file of a simulated platform names it: the beginning of its key. With that key the
default state directory is one of its own, so that its fleet never meets that of another platform."""

NAMES = frozenset(
    {
        *VARIABLES,
        "namespace",
        "log-format",
        "verbose",
        "secrets",
        "config-maps",
        "default-model",
        "allow-local",
        "dedicated-account",
        "kube",
        "context",
    }
)
"""Every setting by its long name, as a TOML file may have it."""

GOVERNING = ("audit", "budget", "prices", "credentials")
"""The tables of `reconciler.governing`."""
TABLES = frozenset({"gitSource", *GOVERNING})
"""What such a file has besides, as tables: read by whoever acts on it."""

NOTIFY = "notify"
"""What only a file may have: a list of tables, one for each sink of notices."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings that hold for every command. `store`: SQLAlchemy URL, '' for the SQLite file in `state`. `settle_seconds`,
    `resync_seconds`: see `EngineSettings`. `kube`: commands go to a cluster, `context` of the kubeconfig, and an empty `namespace` means
    that context's. `adopt_unowned`: namespaces that may use ids of the account without a mark of ours, None: all of a folder's, none of a
    cluster's; `share`: pairs of the namespace that made a commit or a VM and one that may use it; `*` stands for every namespace;
    `max_vms`: most VMs of all objects together, None: no limit.
    `tables`: of the configuration file, unread; `governing`: what those of them that govern say, None: nothing; `notify`: where notices go.
    `environ`: the process's environment (it may hold secrets: never shown). `file`: the TOML file that was read or would be, `origins`:
    where each setting that was given comes from."""

    state: Path
    store: str = field(default="", repr=False)  # may carry a password
    fleet: str = "default"
    namespace: str = "default"
    log_format: LogFormat = "text"
    verbose: bool = False
    secrets: Path | None = None
    configs: Path | None = None
    default_model: str = ""
    allow_local: bool = False
    dedicated_account: bool = True
    adopt_unowned: tuple[str, ...] | None = None
    share: tuple[tuple[str, str], ...] = ()
    max_vms: int | None = None
    settle_seconds: float = 60.0
    resync_seconds: float = 10.0
    kube: bool = False
    context: str = ""
    tables: Mapping[str, object] = field(default_factory=dict)
    governing: Governing | None = None
    notify: tuple[Sink, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def agents_dir(self) -> Path:
        """Where agents on this host have their directories; without symbolic links, because pi writes down what it resolves to."""
        return self.state.resolve() / "agents"

    @property
    def store_address(self) -> str | Path:
        """What `open_store` takes."""
        return self.store or self.state / "state.db"


def load(flags: Mapping[str, Setting | None], environ: Mapping[str, str], file: Path | None = None) -> Config:
    """`flags`: long name → value, None where it was not given. Raises `UsageError` naming the flag, variable or file that is
    wrong. Without `file` the one that the environment names is read, or the user's own where it is there."""
    file = file or default_file(environ)
    told, tables, sinks = read_file(file) if file is not None else ({}, {}, ())
    governing = governing_of(tables, file)
    origins = {name: where for name in sorted(NAMES) for value, where in [_picked(name, flags, environ, told, file)] if value is not None}

    def pick(name: str) -> tuple[Setting | None, str]:
        return _picked(name, flags, environ, told, file)

    def text(name: str, default: str = "") -> str:
        value, where = pick(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise UsageError(f"must be a string, not {value!r}", where, "quote it")
        return value

    def seconds(name: str, default: float) -> float:
        value, where = pick(name)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if isinstance(value, bool) or not math.isfinite(number) or number <= 0:
            raise UsageError(f"must be a number of seconds above 0, not {value!r}", where, "write for example 60")
        return number

    def count(name: str) -> int | None:
        value, where = pick(name)
        if value is None:
            return None
        number = int(value) if isinstance(value, int) or (isinstance(value, str) and value.isascii() and value.isdigit()) else 0
        if isinstance(value, bool) or number < 1:
            raise UsageError(f"must be a whole number above 0, not {value!r}", where, "write for example 20")
        return number

    def switch(name: str, default: bool = False) -> bool:
        value, where = pick(name)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        if value in ("true", "false"):
            return value == "true"
        raise UsageError(f"must be true or false, not {value!r}", where, "write true or false")

    def namespaces(name: str) -> tuple[str, ...] | None:
        value, where = pick(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise UsageError(f"must be names of namespaces, not {value!r}", where, "write for example team-a,team-b, or *")
        return tuple(_namespace(part.strip(), where) for part in value.split(",") if part.strip())

    def pairs(name: str) -> tuple[tuple[str, str], ...]:
        value, where = pick(name)
        found: list[tuple[str, str]] = []
        for part in value.split(",") if isinstance(value, str) else [] if value is None else [str(value)]:
            owner, sign, user = (word.strip() for word in part.partition("="))
            if not sign and part.strip():
                raise UsageError(
                    f"{part.strip()!r} does not say who shares with whom", where, "write OWNER=USER, for example team-a=team-b"
                )
            if sign:
                found.append((_namespace(owner, where), _namespace(user, where)))
        return tuple(found)

    log_format = text("log-format", "text")
    if log_format not in ("text", "json"):
        raise UsageError(f"must be text or json, not {log_format!r}", "--log-format", "use one of them")
    secrets, configs = text("secrets"), text("config-maps")
    kube, context = switch("kube"), text("context")
    if context and not kube:
        raise UsageError("--context goes with --kube", f"--context {context}", "add --kube, or leave it out")
    return Config(
        state=Path(text("state") or default_state(environ)).expanduser().absolute(),
        store=text("store"),
        fleet=text("fleet", "default"),
        namespace=text("namespace", "" if kube else "default"),
        log_format="json" if log_format == "json" else "text",
        verbose=switch("verbose"),
        secrets=Path(secrets).expanduser().absolute() if secrets else None,
        configs=Path(configs).expanduser().absolute() if configs else None,
        default_model=text("default-model"),
        allow_local=switch("allow-local"),
        dedicated_account=switch("dedicated-account", True),
        adopt_unowned=namespaces("adopt-unowned"),
        share=pairs("share"),
        max_vms=count("max-vms"),
        settle_seconds=seconds("settle-seconds", 60.0),
        resync_seconds=seconds("resync-seconds", 10.0),
        kube=kube,
        context=context,
        tables=tables,
        governing=governing,
        notify=sinks,
        environ=environ,
        file=file,
        origins=origins,
    )


def _picked(
    name: str, flags: Mapping[str, Setting | None], environ: Mapping[str, str], told: Mapping[str, Setting], file: Path | None
) -> tuple[Setting | None, str]:
    """What was given for a setting, None when nothing was, and where; a flag beats the environment, which beats the file."""
    given = flags.get(name)
    if given is not None:
        return given, f"--{name}"
    variable = VARIABLES.get(name, "")
    if environ.get(variable):
        return environ[variable], variable
    if name == "state" and simulated(environ):
        return default_state(environ), SIMULATED
    return told.get(name), f"{name} in {file}"


def _namespace(name: str, where: str) -> str:
    if name != EVERY and not re.fullmatch(NAMESPACE, name):
        raise UsageError(f"{name!r} can't be a namespace", where, "use lower-case letters, digits and -, or * for every namespace")
    return name


def default_state(environ: Mapping[str, str]) -> str:
    """`${XDG_STATE_HOME:-~/.local/state}/reconciler`, with the key of a simulated platform `reconciler-simulated/NAME` beside it."""
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or str(Path.home()), ".local", "state")
    platform = simulated(environ)
    return os.path.join(base, "reconciler-simulated", platform) if platform else os.path.join(base, "reconciler")


def simulated(environ: Mapping[str, str]) -> str:
    """Which simulated platform the key in the environment is of, '' when that is not said."""
    named = environ.get(SIMULATED, "")
    return named if re.fullmatch(r"[0-9a-f]{8}", named) and environ.get("VERS_API_KEY", "").startswith(named) else ""


def governing_of(tables: Mapping[str, object], file: Path | None) -> Governing | None:
    """Budget of the fleet, prices and audit, where a file has any. Raises `UsageError`."""
    found = {name: tables[name] for name in GOVERNING if name in tables}
    if not found:
        return None
    from reconciler.governing import read_governing  # commands that read start faster without

    return read_governing(found, str(file))


def user_file(environ: Mapping[str, str]) -> Path:
    """The file of settings that is read when none is named: `${XDG_CONFIG_HOME:-~/.config}/reconciler/config.toml`."""
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or str(Path.home()), ".config")
    return Path(base) / "reconciler" / "config.toml"


def default_file(environ: Mapping[str, str]) -> Path | None:
    """The file that `RECONCILER_CONFIG` names, else the user's own where it is there."""
    if named := environ.get(FILE):
        return Path(named)
    own = user_file(environ)
    return None if isinstance(paths.look(own), paths.Absent) else own


def read_file(path: Path) -> tuple[dict[str, Setting], dict[str, object], tuple[Sink, ...]]:
    """A TOML file of settings, its other tables, and the sinks for notices in it. Raises `UsageError` when it can't be read or
    holds something that is no setting."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError("the configuration can't be read", str(path), (error.strerror or "check its name and mode").lower()) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration is not TOML: {error}", str(path), "correct it") from error
    found: dict[str, Setting] = {}
    tables: dict[str, object] = {}
    sinks: tuple[Sink, ...] = ()
    if NOTIFY in document:
        from reconciler.notify.settings import read_sinks

        sinks = read_sinks(document.pop(NOTIFY), str(path))
    for name, value in document.items():
        if name in TABLES:
            tables[name] = value
            continue
        if name not in NAMES:
            raise UsageError(f"unknown setting {name!r}", str(path), f"use one of {', '.join(sorted({*NAMES, *TABLES, NOTIFY}))}")
        if not isinstance(value, str | bool | int | float):
            raise UsageError(f"{name} must be one value", str(path), "write a string, a number, true or false")
        found[name] = value
    return found, tables, sinks
