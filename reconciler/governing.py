"""What only the file of settings has: how much may be spent by all agents together, what models cost, how much of the audit stays, and
whether git may have programs run here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from pydantic import ValidationError

from reconciler.api.budget import Budget
from reconciler.core.spending.prices import DEFAULT_PRICES, Price, Prices
from reconciler.errors import UsageError


@dataclass(frozen=True, slots=True)
class Governing:
    """`audit_keep`: so many entries stay; `budget`: of all agents together; `prices`: of models for which pi tells none; `from_git`:
    whether what git declares may take credentials from programs and files of this host."""

    audit_keep: int = 10_000
    budget: Budget | None = None
    prices: Prices = DEFAULT_PRICES
    from_git: bool = False


def read_governing(document: dict[str, object], where: str) -> Governing:
    """The tables `[audit]`, `[budget]`, `[prices]` and `[credentials]` of a file. Raises `UsageError`."""
    return Governing(
        audit_keep_of(document.get("audit"), where),
        budget_of(document.get("budget"), where),
        prices_of(document.get("prices"), where),
        from_git_of(document.get("credentials"), where),
    )


def from_git_of(table: object, path: str) -> bool:
    """`[credentials]`, `from-git`. Raises `UsageError`."""
    told = table.get("from-git", False) if isinstance(table, dict) and table.keys() <= {"from-git"} else None
    if table is not None and not isinstance(told, bool):
        raise UsageError("from-git must be true or false", f"[credentials] in {path}", "write from-git = true")
    return bool(told)


def audit_keep_of(table: object, path: str) -> int:
    """`[audit]`, `keep`: so many entries stay, the newest. Raises `UsageError`."""
    keep = table.get("keep", 10_000) if isinstance(table, dict) and table.keys() <= {"keep"} else None
    if table is not None and (not isinstance(keep, int) or isinstance(keep, bool) or not 1 <= keep <= 1_000_000):
        raise UsageError("keep must be a whole number from 1 to 1000000", f"[audit] in {path}", "write for example keep = 50000")
    return keep if isinstance(keep, int) else 10_000


def budget_of(table: object, path: str) -> Budget | None:
    """`[budget]`: the fields of a budget, with dashes. Raises `UsageError`."""
    if table is None:
        return None
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


def prices_of(table: object, path: str) -> Prices:
    """`[prices."PROVIDER/MODEL"]`: US dollars for a million tokens. Raises `UsageError`."""
    if table is None:
        return DEFAULT_PRICES
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
