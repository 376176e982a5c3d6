"""Runs one mutant against the scenario that must notice it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant


def verdict(mutant: Mutant, path: Path) -> str:
    """How the scenario noticed (the first line of what it said), '' when the mutant lives."""
    with pytest.MonkeyPatch.context() as patch:
        mutant.apply(patch)
        try:
            mutant.killer(path)
        except (AssertionError, pytest.fail.Exception) as noticed:
            return (str(noticed) or "assertion").splitlines()[0]
    return ""
