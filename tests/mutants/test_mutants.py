"""Every mutant is killed, and by its own fault: the scenario that kills it passes without it, here or as the test that it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant, Scenario, named
from tests.mutants.run import verdict
from tests.mutants.table import EXPLORED, MUTANTS, the_explored_model
from tests.mutants.trees import EXPLORED_TREES, an_explored_tree

KILLERS: dict[str, Scenario] = {named(mutant.killer): mutant.killer for mutant in MUTANTS}


def is_a_test(scenario: Scenario) -> bool:
    """It runs by itself as well, in the module that has it."""
    return scenario.__module__.rpartition(".")[2].startswith("test_") and scenario.__name__.startswith("test_")


NO_TESTS = [name for name, scenario in KILLERS.items() if not is_a_test(scenario)]


def test_every_mutant_is_one_of_the_code_as_it_is() -> None:
    """What it breaks is there, exactly once; whether that is noticed is for the slow tests."""
    for mutant in MUTANTS:
        with pytest.MonkeyPatch.context() as patch:
            mutant.apply(patch)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_the_mutant_is_killed(mutant: Mutant, tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    killed = verdict(mutant, tmp_path)
    record_property("killed_by", f"{named(mutant.killer)}: {killed}")
    assert killed, f"{mutant.id} lives: {named(mutant.killer)} does not notice that this is broken: {mutant.promise}"


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.id in EXPLORED], ids=lambda mutant: mutant.id)
def test_exploring_the_small_model_finds_it_too(mutant: Mutant, tmp_path: Path) -> None:
    assert verdict(replace(mutant, killer=the_explored_model), tmp_path)


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.id in EXPLORED_TREES], ids=lambda mutant: mutant.id)
def test_exploring_a_small_tree_finds_it_too(mutant: Mutant, tmp_path: Path) -> None:
    assert verdict(replace(mutant, killer=an_explored_tree), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NO_TESTS)
def test_its_scenario_passes_without_it(name: str, tmp_path: Path) -> None:
    KILLERS[name](tmp_path)


def test_a_scenario_that_is_a_test_is_one_of_every_run() -> None:
    """So it need not be played here once more to know that it passes: it is marked as nothing that may be left out."""
    tests = [scenario for name, scenario in KILLERS.items() if name not in NO_TESTS]
    assert len(tests) > 60
    assert {mark.name for scenario in tests for mark in getattr(scenario, "pytestmark", [])} == {"guarantee"}


def test_names_are_unique() -> None:
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)
    assert {*EXPLORED, *EXPLORED_TREES} <= {mutant.id for mutant in MUTANTS}
