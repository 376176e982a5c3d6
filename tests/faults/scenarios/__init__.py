"""What a person does while the controller is struck: one module a scenario, each exporting `SCENARIO`."""

from __future__ import annotations

import importlib
import pkgutil

from tests.faults.play import Scenario


def all_scenarios() -> dict[str, Scenario]:
    """Every scenario of this package, by its name."""
    found = (importlib.import_module(f"{__name__}.{module.name}").SCENARIO for module in pkgutil.iter_modules(__path__))
    return {scenario.name: scenario for scenario in found}
