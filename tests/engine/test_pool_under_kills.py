"""The pool of a tree with ten agents while the controller is killed again and again: it is overdrawn by no more than the turns that were on
when it was used up, and what the books say is what the provider of the model bills (G-29)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.spending.books import Books
from reconciler.core.spending.prices import DEFAULT_PRICES
from reconciler.engine.state.ledgers import FLEET, agent_place, tree_place
from reconciler.views.spent import BY, costs, usage
from tests.effort import SOAKING, seed
from tests.engine.stage import Stage, tell
from tests.engine.test_trees import TREE, agent, stands, tree
from tests.world import Machine, World

AGENTS = [f"a{number}" for number in range(10)]
ROUNDS = 3
TURN = 15 * (ROUNDS + 1)
"""Tokens of a turn: each of its calls, and its answer."""
EACH = 3
"""Tasks of each agent."""
LITTLE = len(AGENTS) * TURN + 7 * TURN + 20
"""Enough for one turn of each agent, and for some more."""
PAST = 3_024_000
KILLS = 8


@dataclass(frozen=True)
class Said:
    """One answer, as its provider bills it."""

    at: float
    vm_id: str
    tokens: int


class Billing(World):
    """The provider's own ledger: which turns began, and what each answer of a model came to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[tuple[float, str]] = []
        self.said: list[Said] = []
        self.calls, self.call_seconds = [("bash", {"command": "make"})] * ROUNDS, 2.0

    def entry(self, m: Machine, message: dict[str, object]) -> None:
        before = self.billed
        super().entry(m, message)
        if self.billed > before:
            self.said.append(Said(self.now(), m.vm_id, self.billed - before))

    def user(self, m: Machine, text: str) -> None:
        super().user(m, text)
        self.begun.append((self.now(), m.vm_id))

    def used_up(self, cap: int) -> int | None:
        """The number of the answer with which the cap was reached."""
        total = 0
        for number, said in enumerate(self.said):
            total += said.tokens
            if total >= cap:
                return number
        return None

    def overdrawn(self, cap: int) -> int:
        return max(0, sum(said.tokens for said in self.said) - cap)

    def of_turns_on(self, number: int) -> int:
        """What the turns that were on at this answer spent from it on."""
        at = self.said[number].at
        on = {vm_id for begun, vm_id in self.begun if begun < at <= begun + TURN_SECONDS}
        return sum(said.tokens for said in self.said[number:] if said.vm_id in on)

    def by_machine(self) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for said in self.said:
            sums[said.vm_id] += said.tokens
        return dict(sums)


TURN_SECONDS = 2.0 * ROUNDS + 4.0 + 1.0


async def killed(s: Stage, dice: random.Random) -> None:
    """As by kill -9, at some moment; what has an effect already keeps it. Then nobody runs it for a while."""
    await asyncio.sleep(dice.uniform(0.1, 6.0))
    s.life.dead = True
    s.life.crashed.set()
    await asyncio.sleep(dice.choice((0.1, 1.0, 15.0)))
    await s.alive()


async def under_kills(s: Stage, dice: random.Random, done: Callable[[], bool]) -> int:
    """Killed until it is done, or so many times. How often it was."""
    for number in range(KILLS):
        if done():
            return number
        await killed(s, dice)
    return KILLS


def books(s: Stage, place: str = FLEET) -> int:
    return s.engine.gatherer.budgets.ledgers.spent(place, 0.0).tokens


def all_keys() -> list[Key]:
    return [Key("Task", "default", f"{name}-{number}") for name in AGENTS for number in range(EACH)]


async def pool(s: Stage, tokens: int) -> None:
    await tree(s, *(agent(name) for name in AGENTS), budget={"maxTokens": tokens, "windowSeconds": PAST, "onExceeded": "DenyNew"})


async def the_books_are_right(s: Stage) -> None:
    """What the controller has of each agent, of the tree and of the fleet is what was billed; so is what people are shown."""
    world = s.world
    assert isinstance(world, Billing)
    assert books(s) == books(s, tree_place("default/prod")) == world.billed == sum(world.by_machine().values())
    for name in AGENTS:
        key = Key("Lieutenant", "default", f"prod-{name}")
        assert books(s, agent_place(("default", key.name))) == world.by_machine().get(s.machine(key).vm_id, 0), name
    at = s.world.now() + s.controller.clock_off
    stored = Books.stored((await s.engine.store.load()).meta, DEFAULT_PRICES, at)
    assert costs(stored) == costs(s.engine.books())
    for by in BY:
        told = usage(stored, by, 40, None)
        assert sum(as_count(doc["status"], "tokens") for doc in told) == world.billed, by
        assert sum(as_count(doc["status"], "answers") for doc in told) == len(world.said), by
        assert sum((as_money(doc["status"]) for doc in told), Decimal(0)) == Decimal("0.001") * len(world.said), by


def as_count(status: object, name: str) -> int:
    assert isinstance(status, dict)
    return int(status[name])


def as_money(status: object) -> Decimal:
    assert isinstance(status, dict)
    return Decimal(str(status["cost"]))


async def spent_and_raised(s: Stage, dice: random.Random, raised: Callable[[], Awaitable[None]]) -> int:
    """Ten agents work until their pool is used up, then until all is done. How often the controller was killed."""
    world = s.world
    assert isinstance(world, Billing)
    await pool(s, LITTLE)
    await stands(s)
    for name in AGENTS:
        for number in range(EACH):
            await s.task(f"{name}-{number}", to=f"prod-{name}")
    kills = await under_kills(s, dice, lambda: world.used_up(LITTLE) is not None)
    await s.until(lambda: s.reason(TREE, "Ready") == "BudgetExceeded", "the pool is used up")
    await asyncio.sleep(120)
    last = world.used_up(LITTLE)
    assert last is not None
    assert [begun for begun in world.begun if begun[0] > world.said[last].at] == [], "no turn begins once it is used up"
    assert world.overdrawn(LITTLE) <= world.of_turns_on(last) <= len(AGENTS) * TURN
    assert world.overdrawn(LITTLE) < TURN, "what turns are expected to spend was set aside"
    await the_books_are_right(s)
    await raised()
    kills += await under_kills(s, dice, lambda: all(s.phase(key) == "Succeeded" for key in all_keys()))
    for key in all_keys():
        await s.until(lambda key=key: s.phase(key) == "Succeeded", f"{key.name} is done")  # type: ignore[misc]
        assert len(s.prompts(key.name)) == 1, f"{key.name} was delivered {len(s.prompts(key.name))} times"
    await asyncio.sleep(60)
    await the_books_are_right(s)
    return kills


@pytest.mark.guarantee("G-29")
@pytest.mark.guarantee("G-20")
@pytest.mark.parametrize("number", range(20 if SOAKING else 2))
def test_a_pool_of_ten_agents_is_overdrawn_by_no_more_than_the_turns_that_are_on(number: int, tmp_path: Path) -> None:
    dice = random.Random(f"{seed()}/pool/{number}")

    async def story(s: Stage) -> None:
        kills = await spent_and_raised(s, dice, lambda: pool(s, 1_000_000))
        assert kills >= 4
        assert s.world.billed == len(AGENTS) * EACH * TURN

    tell(tmp_path, story, Billing())


@pytest.mark.guarantee("G-29")
def test_a_controller_whose_clock_was_set_back_gives_nothing_back(tmp_path: Path) -> None:
    """By two hours, then by two days, each time with a kill; it stays so to the end."""
    dice = random.Random(f"{seed()}/clock")

    async def story(s: Stage) -> None:
        async def set_back_and_raised() -> None:
            for off in (-7200.0, -2 * 86_400.0):
                s.controller.clock_off = off
                await killed(s, dice)
                await asyncio.sleep(60)
                assert s.reason(TREE, "Ready") == "BudgetExceeded", "what was spent later than now is spent"
                await the_books_at_another_time(s)
            await pool(s, 1_000_000)

        await spent_and_raised(s, dice, set_back_and_raised)

    tell(tmp_path, story, Billing())


async def the_books_at_another_time(s: Stage) -> None:
    assert books(s) == s.world.billed
    assert sum(book for book in (books(s, agent_place(("default", f"prod-{name}"))) for name in AGENTS)) == s.world.billed


WINDOW = 600
FEW = AGENTS[:3]
"""Agents of the stories below."""


@pytest.mark.guarantee("G-29")
def test_no_window_is_overdrawn_at_its_edges(tmp_path: Path) -> None:
    """Three agents whose pool holds one turn of each in ten minutes, for several windows; the controller is killed all the while."""
    dice, cap = random.Random(f"{seed()}/edges"), len(FEW) * TURN

    async def story(s: Stage) -> None:
        world = s.world
        assert isinstance(world, Billing)
        await tree(s, *(agent(name) for name in FEW), budget={"maxTokens": cap, "windowSeconds": WINDOW, "onExceeded": "DenyNew"})
        await stands(s)
        tasks = [await s.task(f"{name}-{number}", to=f"prod-{name}") for name in FEW for number in range(3)]
        for _ in range(12):
            await asyncio.sleep(dice.uniform(20, 150))
            await killed(s, dice)
        s.deadline = 10_000
        for key in tasks:
            await s.until(lambda key=key: s.phase(key) == "Succeeded", f"{key.name} is done")  # type: ignore[misc]
        for last in world.said:
            within = sum(said.tokens for said in world.said if last.at - WINDOW < said.at <= last.at)
            assert within < cap + TURN, f"{within} of {cap} tokens in the window that ends at {last.at}"
        assert world.said[-1].at - world.said[0].at > 2 * WINDOW, "more than one window was needed"
        await asyncio.sleep(60)
        assert books(s) == world.billed == len(tasks) * TURN

    tell(tmp_path, story, Billing())


@pytest.mark.guarantee("G-29")
@pytest.mark.guarantee("G-33")
def test_a_fork_in_the_middle_of_a_window_begins_its_own_books(tmp_path: Path) -> None:
    """The controller is killed while the copy is made; what the original spent before is in the books of the original alone."""
    dice = random.Random(f"{seed()}/fork")

    async def story(s: Stage) -> None:
        world = s.world
        assert isinstance(world, Billing)
        cap = {"budget": {"maxTokens": 1_000_000, "windowSeconds": PAST}}
        source = await s.lieutenant(**cap)
        await s.ready(source)
        await s.ends(await s.task("before"))
        await s.task("meanwhile")
        copy = await s.lieutenant("copy", fork={"from": {"name": "api"}}, **cap)
        for _ in range(4):
            await killed(s, dice)
        await s.ready(copy)
        for name, to in (("after", "api"), ("own", "copy")):
            await s.ends(await s.task(name, to=to))
        await asyncio.sleep(60)
        for key in (source, copy):
            assert books(s, agent_place(("default", key.name))) == world.by_machine()[s.machine(key).vm_id], key.name
        assert books(s) == world.billed == 4 * TURN

    tell(tmp_path, story, Billing())
