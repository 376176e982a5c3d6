"""The hook that other repositories refer to is the program as it is."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from tests.cli.conftest import Run, run

__all__ = ["run"]  # a fixture

ROOT = Path(__file__).resolve().parents[2]


def test_the_hook_runs_as_it_is_defined(run: Run, tmp_path: Path) -> None:
    (hook,) = YAML(typ="safe").load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["id"] == "reconciler-validate"
    assert hook["language"] == "python"
    program, *words = hook["entry"].split()
    assert program == "reconciler"
    assert re.search(hook["files"], "specs/fleet.yaml")
    assert run("init").code == 0
    assert run(*words, *hook["args"]).code == 0
    (tmp_path / "specs" / "bad.yaml").write_text("kind: Lieutenent\n")
    assert run(*words, *hook["args"]).code == 1
