"""What was spent, as far as the statuses of tasks tell. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from reconciler.core.keys import Json, JsonValue, as_map
from reconciler.core.tree.owned import TREE
from reconciler.engine.ports import StoredObject
from reconciler.views.documents import text_at


@dataclass(frozen=True, slots=True)
class Spent:
    """`cost`: US dollars. `unpriced`: how many of `tasks` used tokens that no price is known of."""

    tasks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.tasks + other.tasks,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost,
            self.unpriced + other.unpriced,
        )

    @property
    def document(self) -> Json:
        return {
            "tasks": self.tasks,
            "inputTokens": self.input_tokens,
            "outputTokens": self.output_tokens,
            "cost": f"{self.cost:f}",
            "unpriced": self.unpriced,
        }


def spent_by(task: StoredObject) -> Spent | None:
    """None while its status has no usage."""
    usage = as_map(as_map(task.status.get("result")).get("usage"))
    if not usage:
        return None
    read, written = _count(usage.get("inputTokens")), _count(usage.get("outputTokens"))
    cost = _money(usage.get("cost"))
    return Spent(1, read, written, cost, int(not cost and bool(read or written)))


def by(tasks: Iterable[StoredObject], name: Callable[[StoredObject], str]) -> dict[str, Spent]:
    """Sums by what `name` says of a task, the dearest first."""
    sums: dict[str, Spent] = {}
    for task in tasks:
        spent = spent_by(task)
        if spent is not None:
            sums[name(task)] = sums.get(name(task), Spent()) + spent
    return dict(sorted(sums.items(), key=lambda one: (-one[1].cost, -one[1].output_tokens, one[0])))


def of_lieutenant(task: StoredObject) -> str:
    return f"{task.key.namespace}/{text_at(task.spec, '.lieutenantRef.name')}"


def of_day(task: StoredObject) -> str:
    return text_at(task.status, ".finishedAt")[:10] or "not finished"


def of_tree(trees: dict[str, str]) -> Callable[[StoredObject], str]:
    """`trees`: by lieutenant (`NAMESPACE/NAME`) the tree that it stands in."""
    return lambda task: trees.get(of_lieutenant(task), "no tree")


def trees_of(lieutenants: Iterable[StoredObject]) -> dict[str, str]:
    """By lieutenant, the tree that declares it."""
    return {f"{one.key.namespace}/{one.key.name}": f"{one.key.namespace}/{one.labels[TREE]}" for one in lieutenants if one.labels.get(TREE)}


@dataclass(frozen=True, slots=True)
class Costs:
    """The sums of a fleet."""

    total: Spent
    lieutenants: dict[str, Spent]
    trees: dict[str, Spent]
    days: dict[str, Spent]

    def document(self) -> Json:
        def rows(sums: dict[str, Spent]) -> JsonValue:
            return [{"name": name, **spent.document} for name, spent in sums.items()]

        return {
            "total": self.total.document,
            "byLieutenant": rows(self.lieutenants),
            "byTree": rows(self.trees),
            "byDay": rows(dict(sorted(self.days.items(), reverse=True))),
        }


def costs(lieutenants: Iterable[StoredObject], tasks: Iterable[StoredObject]) -> Costs:
    """Of these tasks. What was removed from the store, and what agents do outside of tasks, is in no status and not counted."""
    every = list(tasks)
    total = sum((spent for task in every if (spent := spent_by(task)) is not None), Spent())
    return Costs(total, by(every, of_lieutenant), by(every, of_tree(trees_of(lieutenants))), by(every, of_day))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _money(value: object) -> Decimal:
    try:
        found = Decimal(str(value or "0"))
    except InvalidOperation:
        return Decimal(0)
    return found if found.is_finite() and found > 0 else Decimal(0)
