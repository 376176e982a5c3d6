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

from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.api.budget import Budget
    from reconciler.core.spending.prices import Prices

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


TABLES = frozenset({"audit", "budget", "prices"})
"""What only a file has, as a table each."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings that hold for every command. `store`: SQLAlchemy URL, '' for the SQLite file in `state`. `settle_seconds`,
    `resync_seconds`: see `EngineSettings`. `kube`: commands go to a cluster, `context` of the kubeconfig, and an empty `namespace` means
    that context's. `adopt_unowned`: namespaces that may use ids of the account without a mark of ours, None: all of a folder's, none of a
    cluster's; `share`: pairs of the namespace that made a commit or a VM and one that may use it; `*` stands for every namespace;
    `max_vms`: most VMs of all objects together, None: no limit. `audit_keep`: so many entries of the audit stay.
    `budget`: of all agents together; `prices`: of models for which pi tells none, beside those that are known, None: no others.
    `environ`: the process's environment (it may hold secrets: never shown)."""

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
    audit_keep: int = 10_000
    settle_seconds: float = 60.0
    resync_seconds: float = 10.0
    budget: Budget | None = None
    prices: Prices | None = None
    kube: bool = False
    context: str = ""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

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
    wrong."""
    document = read_file(file) if file is not None else {}
    told = settings_of(document, file)

    def pick(name: str) -> tuple[Setting | None, str]:
        given = flags.get(name)
        if given is not None:
            return given, f"--{name}"
        variable = VARIABLES.get(name, "")
        if environ.get(variable):
            return environ[variable], variable
        return told.get(name), f"{name} in {file}"

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
        audit_keep=audit_keep_of(document.get("audit"), file),
        settle_seconds=seconds("settle-seconds", 60.0),
        resync_seconds=seconds("resync-seconds", 10.0),
        budget=budget_of(document.get("budget"), file),
        prices=prices_of(document.get("prices"), file),
        kube=kube,
        context=context,
        environ=environ,
    )


def _namespace(name: str, where: str) -> str:
    if name != EVERY and not re.fullmatch(NAMESPACE, name):
        raise UsageError(f"{name!r} can't be a namespace", where, "use lower-case letters, digits and -, or * for every namespace")
    return name


def default_state(environ: Mapping[str, str]) -> str:
    """`${XDG_STATE_HOME:-~/.local/state}/reconciler`."""
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or str(Path.home()), ".local", "state")
    return os.path.join(base, "reconciler")


def read_file(path: Path) -> dict[str, object]:
    """A TOML file. Raises `UsageError` when it can't be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError("the configuration can't be read", str(path), (error.strerror or "check its name and mode").lower()) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration is not TOML: {error}", str(path), "correct it") from error


def settings_of(document: Mapping[str, object], path: Path | None) -> dict[str, Setting]:
    """The settings of a file that are one value each. Raises `UsageError` for something that is no setting."""
    found: dict[str, Setting] = {}
    for name, value in document.items():
        if name in TABLES:
            continue
        if name not in NAMES:
            raise UsageError(f"unknown setting {name!r}", str(path), f"use one of {', '.join(sorted({*NAMES, *TABLES}))}")
        if not isinstance(value, str | bool | int | float):
            raise UsageError(f"{name} must be one value", str(path), "write a string, a number, true or false")
        found[name] = value
    return found


def audit_keep_of(table: object, path: Path | None) -> int:
    """`[audit]`, `keep`: so many entries stay, the newest. Raises `UsageError`."""
    keep = table.get("keep", 10_000) if isinstance(table, dict) and table.keys() <= {"keep"} else None
    if table is not None and (not isinstance(keep, int) or isinstance(keep, bool) or not 1 <= keep <= 1_000_000):
        raise UsageError("keep must be a whole number from 1 to 1000000", f"[audit] in {path}", "write for example keep = 50000")
    return keep if isinstance(keep, int) else 10_000


def budget_of(table: object, path: Path | None) -> Budget | None:
    """`[budget]`: the fields of a budget, with dashes. Raises `UsageError`."""
    if table is None:
        return None
    from pydantic import ValidationError  # only where there is one: commands that read start faster without

    from reconciler.api.budget import Budget

    where = f"[budget] in {path}"
    if not isinstance(table, dict):
        raise UsageError("budget must be a table", where, 'write for example max-cost = "100.00" below [budget]')
    fields = {re.sub(r"-([a-z])", lambda dash: dash.group(1).upper(), str(name)): value for name, value in table.items()}
    try:
        return Budget.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = re.sub(r"[A-Z]", lambda big: f"-{big.group().lower()}", str(first["loc"][0] if first["loc"] else "budget"))
        raise UsageError(f"{name}: {first['msg']}", where, "see `reconciler explain vmtree.spec.budget`; money is a string") from error


def prices_of(table: object, path: Path | None) -> Prices | None:
    """`[prices."PROVIDER/MODEL"]`: US dollars for a million tokens. Raises `UsageError`."""
    if table is None:
        return None
    from decimal import Decimal, InvalidOperation

    from reconciler.core.spending.prices import DEFAULT_PRICES, Price

    where, remedy = f"[prices] in {path}", 'write for example "acme/large" = {input = "1.25", output = "10"}'
    if not isinstance(table, dict):
        raise UsageError("prices must be a table", where, remedy)
    found: dict[str, Price] = {}
    for model, told in table.items():
        if not isinstance(told, dict) or not {"input", "output"} <= told.keys() <= {"input", "output", "cache-read", "cache-write"}:
            raise UsageError(f"{model}: a price has input and output, and may have cache-read and cache-write", where, remedy)
        if not all(isinstance(value, str | int) and not isinstance(value, bool) for value in told.values()):
            raise UsageError(f"{model}: money is written as a string", where, remedy)
        try:
            figures = {name.replace("-", "_"): Decimal(str(value)) for name, value in told.items()}
        except InvalidOperation as error:
            raise UsageError(f"{model}: a price must be a decimal number", where, remedy) from error
        if any(not value.is_finite() or value < 0 for value in figures.values()):
            raise UsageError(f"{model}: a price must be 0 or more", where, remedy)
        found[str(model)] = Price(**figures)
    return DEFAULT_PRICES.with_(found)
