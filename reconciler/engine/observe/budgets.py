"""The budgets that an agent spends from: its own, its tree's, the fleet's; and the books that say what was spent. Reads the object table;
asks nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from reconciler.api.budget import Budget
from reconciler.core.keys import Key, lieutenant
from reconciler.core.lieutenant.budget import no_work
from reconciler.core.messages import Message
from reconciler.core.records import SpendingRecord
from reconciler.core.snapshot.slot import Held
from reconciler.core.spending.ledger import (
    NOTHING,
    Entry,
    Page,
    Run,
    Spent,
    day_of,
    dump,
    entries_of,
    load,
    name_of,
    not_counted,
    with_entries,
    with_run,
)
from reconciler.core.spending.pool import Pool
from reconciler.core.spending.window import begins, ends
from reconciler.engine.observe.trees import Trees
from reconciler.engine.ports import PutMeta
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.ledgers import FLEET, Ledgers, agent_of, agent_place, tree_place
from reconciler.engine.state.objects import AnyItem, LieutenantItem, ObjectTable, TaskItem

AGENT = lieutenant("", "").kind


@dataclass(frozen=True, slots=True)
class Counted:
    """What is to be written: the record of the agent's spending, and the page; and what is new in that."""

    record: SpendingRecord
    page: Page | None = None
    entries: tuple[Entry, ...] = ()
    runs: tuple[Run, ...] = ()

    def rows(self, agent: Key) -> tuple[PutMeta, ...]:
        return (PutMeta(name_of(agent, self.page.day), dump(self.page)),) if self.page is not None else ()


class Budgets:
    """`on_change`: told of each agent that may have more to do, or less, since a budget that it shares changed its state."""

    def __init__(self, settings: EngineSettings, table: ObjectTable, trees: Trees) -> None:
        self._settings, self._table, self._trees = settings, table, trees
        self.ledgers = Ledgers(settings.prices)
        self.on_change: list[Callable[[Key], None]] = []
        self._states: dict[str, str] = {}
        self._doubtful: set[Key] = set()

    # --- what is left -----------------------------------------------------------------------------------------------------------------

    def pools(self, item: LieutenantItem, now: float) -> tuple[Pool, ...]:
        """Every budget that it spends from."""
        found: list[Pool] = []
        if item.spec.budget is not None:
            found.append(self._pool("its own budget", item.spec.budget, agent_place(agent_of(item.key)), (item,), now, item))
        member = self._trees.membership(item.key)
        if member is not None and member.spec.budget is not None:
            found.append(self.of_tree(member.tree, member.spec.budget, now, item))
        fleet = self._settings.budget
        if fleet is not None:
            found.append(self._pool("the budget of the fleet", fleet, FLEET, self._agents(), now, item))
        return tuple(found)

    def of_tree(self, tree: AnyItem, budget: Budget, now: float, asking: LieutenantItem | None = None) -> Pool:
        """The one pool of all agents of a tree, also of those that it had."""
        name = f"the budget of vmtree/{tree.key.name}"
        return self._pool(name, budget, _tree(tree.key), self._trees.members(tree), now, asking, own=False)

    def _pool(
        self,
        whose: str,
        budget: Budget,
        place: str,
        members: Iterable[LieutenantItem],
        now: float,
        asking: LieutenantItem | None,
        own: bool = True,
    ) -> Pool:
        spent, reserved = self.ledgers.spent(place, begins(budget, now)), NOTHING
        everybody = tuple(members)
        if budget.max_machine_hours is not None:
            spent = spent + Spent(seconds=sum(self._running(item, begins(budget, now), now) for item in everybody))
        if budget.max_cost is not None or budget.max_tokens is not None:
            others = [item for item in everybody if asking is None or item.key != asking.key]
            reserved = sum((self._set_aside(item) for item in others), NOTHING)
        return Pool(whose, budget, spent, reserved, ends(budget, now), own)

    def _agents(self) -> Iterable[LieutenantItem]:
        found = (self._table.lieutenant(item.key) for item in self._table.of_kind(AGENT))
        return (item for item in found if item is not None)

    def _running(self, item: LieutenantItem, since: float, now: float) -> float:
        """Seconds of its machine that are not in the books yet."""
        spending = item.record.spending
        return max(0.0, now - max(spending.since, since)) if spending.vm_id else 0.0

    def _set_aside(self, item: LieutenantItem) -> Spent:
        """What its turn that is on is expected to spend yet."""
        for task in self._table.tasks_of(item.key):
            record = task.record
            if record.sent and (record.reserved_cost or record.reserved_tokens):
                known = self.ledgers.of_task(agent_of(item.key), task.key.name)
                return Spent(max(record.reserved_cost - known.cost, Decimal(0)), max(record.reserved_tokens - known.tokens, 0))
        return NOTHING

    def no_work(self, item: LieutenantItem, now: float) -> Held | None:
        """Why nothing may be sent to this agent now, for what it would cost."""
        return no_work(self.pools(item, now))

    # --- a turn that begins -----------------------------------------------------------------------------------------------------------

    def expected(self, item: LieutenantItem, task: TaskItem) -> Spent:
        """What all that is in the books for this task is expected to come to when its next turn is over."""
        agent = agent_of(item.key)
        return self.ledgers.of_task(agent, task.key.name) + self.ledgers.most_of_a_task(agent)

    # --- counting ---------------------------------------------------------------------------------------------------------------------

    def count(self, item: LieutenantItem, session: str, messages: Iterable[Message], inherited: frozenset[str], now: float) -> Counted:
        """With what stands in its conversation and is not in the books."""
        record = item.record.spending
        if not record.session and item.record.slot.branch.size:  # a live copy: what it has from its original was counted there
            record = record.but(session=session, upto=item.record.slot.branch.size - 1)
        fresh = not_counted(record, session, messages, inherited)
        if not fresh:
            return Counted(record)
        markers = {
            task.record.marker: task.key.name
            for task in self._table.tasks_of(item.key)
            if task.record.marker and task.spec.delivery.value == "Queue"
        }
        entries, about = entries_of(fresh, now, record.task if record.session == session else "", markers)
        record = record.but(session=session, upto=fresh[-1].offset, task=about, at=now)
        if not entries:
            return Counted(record)
        page = with_entries(self._page(item, now), entries)
        return Counted(record, page, entries)

    def hours(self, item: LieutenantItem, machine: str, now: float) -> Counted:
        """With the time that its machine ran up to now; `machine`: the one that runs from now on."""
        old = item.record.spending
        record = old.but(vm_id=machine, since=now if machine else 0.0)
        if not old.vm_id or now <= old.since:
            return Counted(record)
        run = Run(old.since, now)
        return Counted(record, with_run(self._page(item, now), run), (), (run,))

    def _page(self, item: LieutenantItem, now: float) -> Page:
        member = self._trees.membership(item.key)
        tree = f"{member.tree.key.namespace}/{member.tree.key.name}" if member is not None else ""
        page = self.ledgers.page(agent_of(item.key), day_of(now), tree)
        return page if page.tree or not tree else Page(page.day, tree, page.entries, page.runs)

    def doubt(self, item: LieutenantItem) -> None:
        """Whether its page was written is not known."""
        self._doubtful.add(item.key)

    async def settle(self, item: LieutenantItem, now: float, meta: Callable[[str], Awaitable[str | None]]) -> None:
        """Before more is counted, the store is asked what it has where that is not known."""
        if item.key in self._doubtful:
            for day in (day_of(now) - 1, day_of(now)):
                page = load(await meta(name_of(item.key, day)) or "")
                if page is not None and page.day == day:
                    self.ledgers.catch_up(agent_of(item.key), page)
            self._doubtful.discard(item.key)

    def put(self, item: LieutenantItem, counted: Counted, now: float) -> None:
        """It is in the store."""
        if counted.page is None:
            return
        self.ledgers.put(agent_of(item.key), counted.page, counted.entries, counted.runs)
        self._tell(item, now)

    def _tell(self, item: LieutenantItem, now: float) -> None:
        """Whoever shares a budget whose state changed by that."""
        member = self._trees.membership(item.key)
        for pool in self.pools(item, now):
            shared = not pool.own or pool.budget is self._settings.budget
            if not shared or self._states.get(pool.whose) == pool.state:
                continue
            self._states[pool.whose] = pool.state
            sharing = self._agents() if pool.own else self._trees.members(member.tree) if member is not None else ()
            for other in sharing:
                for listener in tuple(self.on_change):
                    listener(other.key)


def _tree(key: Key) -> str:
    return tree_place(f"{key.namespace}/{key.name}")
