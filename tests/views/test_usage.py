"""What was spent, as the statuses of tasks tell."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reconciler.core.keys import Json
from reconciler.views.usage import Spent, costs, spent_by
from tests.serve.rig import lieutenant, small_fleet, task
from tests.views.doubles import stored


def test_sums_by_lieutenant_tree_and_day() -> None:
    fleet = small_fleet()
    tasks = [task(1, "prod-lead", "Succeeded"), task(2, "docs", "Failed"), task(3, "docs", "Running")]
    found = costs([one for one in fleet if one.key.kind == "Lieutenant"], tasks)
    assert found.total == Spent(2, 2403, 680, Decimal("0.0250"))
    assert found.lieutenants["default/docs"] == Spent(1, 1202, 340, Decimal("0.0125"))
    assert set(found.trees) == {"default/prod", "no tree"}
    assert len(found.days) == 1


def test_money_is_added_exactly() -> None:
    usage: Json = {"inputTokens": 1, "outputTokens": 1, "cost": "0.1"}
    tasks = [stored("Task", f"t{number}", {"lieutenantRef": {"name": "a"}}, {"result": {"usage": usage}}) for number in range(3)]
    assert costs([lieutenant(1, "Idle")], tasks).total.document["cost"] == "0.3"


@pytest.mark.parametrize("cost", ["", "free", "NaN", "-1", "Infinity", None])
def test_a_price_that_is_not_known_is_counted_as_such(cost: object) -> None:
    usage: Json = {"inputTokens": 5, "outputTokens": True, "cost": cost}  # type: ignore[dict-item]
    spent = spent_by(stored("Task", "t", status={"result": {"usage": usage}}))
    assert spent == Spent(1, 5, 0, Decimal(0), 1)
