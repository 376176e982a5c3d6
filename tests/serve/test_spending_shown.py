"""What agents spent, in figures, wherever it is shown: metrics of an engine at work, the page and the usage of a lieutenant."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler.serve.metrics import ControllerCollector, Sources, exposition
from tests.engine.stage import Stage, tell
from tests.serve.rig import fleet_served, small_fleet

SPENT = ("reconciler_spent_us_dollars", "reconciler_spent_tokens", "reconciler_cost_unknown_tokens")


def figures(s: Stage) -> tuple[float, ...]:
    """As Prometheus reads them: US dollars, tokens, and tokens whose cost nobody knows."""
    text = exposition(ControllerCollector(Sources(lambda: s.engine, dict, lambda: True))).decode()
    found = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    return tuple(found[name] for name in SPENT)


@pytest.mark.guarantee("G-29")
def test_metrics_tell_what_was_spent_and_of_how_much_nobody_knows_the_cost(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant()
        await s.ready()
        assert figures(s) == (0.0, 0.0, 0.0)
        s.world.cost = 0.25
        assert await s.ends(await s.task("one")) == "Succeeded"
        await s.until(lambda: figures(s) == (0.25, 15.0, 0.0), "the books have the answer")
        s.world.cost = 0.0  # pi knows no price of it
        assert await s.ends(await s.task("two")) == "Succeeded"
        await s.until(lambda: figures(s) == (0.25, 30.0, 15.0), "its tokens are told without a cost")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
async def test_page_and_usage_tell_the_same_figures(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet()) as served:
        page = (await served.http.get("/costs")).text
        total = re.search(r'id="total"[^>]*>([^<]*)<', page)
        assert total is not None
        said = re.fullmatch(r"\$([\d.]+) for 6 answers: 3609 tokens read, 1020 written\.", total[1].strip())
        assert said is not None, total[1]
        assert Decimal(said[1]) == Decimal("0.0375")
        row = re.search(r"<tr><td>default/docs</td>(.*?)</tr>", page)
        assert row is not None
        cost, *rest = re.findall(r">([^<]+)</td>", row[1])
        assert (Decimal(cost), rest) == (Decimal("0.0125"), ["1202", "340", "2"])
        usage = (await served.http.get("/api/v1/usage")).json()
        told = next(one for one in usage["byLieutenant"] if one["name"] == "default/docs")
        assert (Decimal(told["cost"]), told["input"], told["output"], told["answers"]) == (Decimal("0.0125"), 1202, 340, 2)
