"""A live fleet moves to another state directory and to PostgreSQL: the same machine, the same conversation, nothing made or done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.background import Platform
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(300)]

FIRST = """apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: first}
spec: {lieutenantRef: {name: api}, prompt: 'Say it <<<[{"say":"as it was before the move"}]>>>'}
"""


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-63")
def test_a_live_fleet_moves_and_goes_on(real: Platform, reconciler: Program, postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "specs" / "task.yaml").write_text(FIRST)
    with reconciler.controller("specs") as controller:
        reconciler.comes("task/first", "--for", "phase=Succeeded")
        before = reconciler.json("get", "lt", "api")
        reconciler("export", "fleet.jsonl")
        assert controller.stop() == 0
    reconciler("export", "fleet.jsonl")

    there = Program(tmp_path, {**reconciler.env, "RECONCILER_STATE": str(tmp_path / "there"), "RECONCILER_STORE": postgres_url})
    there("import", "fleet.jsonl")
    assert there("output", "api") == "as it was before the move\n", "it is read before a controller runs"
    with there.controller("specs", name="moved") as controller:
        there.comes("lieutenant/api", "--for", "Ready")
        said = there("send", "api", 'And now <<<[{"say":"as it is after it"}]>>>', "--wait")
        assert "as it is after it" in said
        assert there("output", "api", "--history", "2").count("--- answer") == 2
        after = there.json("get", "lt", "api")
        assert controller.stop() == 0
    assert real.ever() == real.present() == [before["status"]["vm"]["id"]]
    for path in (("metadata", "uid"), ("status", "vm"), ("status", "session")):
        assert after[path[0]][path[1]] == before[path[0]][path[1]], path
    assert there.json("get", "task", "first")["status"]["phase"] == "Succeeded"
    assert "as it was before the move" in str(real.model.requests[-1].messages), "the model is sent the same conversation"
