"""The Grafana dashboard and the alert rules ask for what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from reconciler.engine.settings import EngineSettings
from reconciler.engine.telemetry import Histogram
from reconciler.serve.metrics import ControllerCollector, Front, Sources, exposition
from tests.faults.harness import Controller, Life
from tests.world import World

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "dashboards" / "reconciler.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
NOT_OURS = {"le", "pod", "instance", "job", "namespace"}
"""Labels that Prometheus itself gives."""


def expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("expr"), str):
            yield value["expr"]
        for inner in value.values():
            yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


async def exposed(tmp_path: Path) -> dict[str, set[str]]:
    """Sample name → its labels, of a controller to which everything happened once."""
    controller = Controller(World(), tmp_path / "state.db", Life(), EngineSettings())
    engine = await controller.up()
    try:
        engine.reconcile_errors["Unreachable"] += 1
        for histograms, labels in (
            (engine.effects.telemetry.reconciles, ("Lieutenant", "ok")),
            (engine.effects.telemetry.effects, ("a", "ok")),
        ):
            histograms.setdefault(labels, Histogram()).add(0.1)
        front = Front(1, 1, 1, {"Conflict": 1}, {"Forbidden": 1})
        sources = Sources(lambda: engine, lambda: {("GET", "200"): 1}, lambda: True, lambda: front, lambda: {"Unreachable": 1})
        sources.supervisor.restarts["resync"] += 1
        families = list(ControllerCollector(sources).collect())
        labels_of = {family.name: set(family._labelnames) for family in families}  # also of those without a sample
        text = exposition(ControllerCollector(sources)).decode()
    finally:
        await controller.down()
    found = {sample.name: set(sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples}
    return {**labels_of, **found}


async def test_every_metric_and_label_of_the_dashboard_is_exposed(tmp_path: Path) -> None:
    there = await exposed(tmp_path)
    asked = list(expressions(json.loads(DASHBOARD.read_text("utf-8"))))
    assert len(asked) >= 15
    for expression in asked:
        names = set(re.findall(r"\breconciler_\w+", expression))
        assert names, expression
        assert names - set(there) == set(), expression
        wanted = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", group)}
        wanted |= set(re.findall(r"(\w+)\s*=~?\"", expression))
        assert wanted - NOT_OURS - set().union(*(there[name] for name in names)) == set(), expression


async def test_every_alert_asks_for_what_is_exposed_and_says_what_to_do(tmp_path: Path) -> None:
    there = await exposed(tmp_path)
    rules = [rule for group in YAML(typ="safe").load(ALERTS.read_text("utf-8"))["spec"]["groups"] for rule in group["rules"]]
    assert len(rules) >= 5
    for rule in rules:
        names = set(re.findall(r"\breconciler_\w+", rule["expr"]))
        assert names, rule["alert"]
        assert names - set(there) == set(), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} <= set(rule["annotations"])


async def test_nothing_that_is_exposed_is_left_out(tmp_path: Path) -> None:
    """A number nobody looks at is a number too many."""
    dashboard = DASHBOARD.read_text("utf-8")
    families = {re.sub(r"_(bucket|count|sum|created|total)$", "", name) for name in await exposed(tmp_path)}
    assert {name for name in families if name not in dashboard} == set()
