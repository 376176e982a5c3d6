"""The real pi writes down what it is to remember; its machine is lost, and the next one is told of it, with the whole program around."""

from __future__ import annotations

from typing import Any

import pytest

from tests.background import Platform, eventually
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]

WRITE = (
    'Write it down <<<[{"tool":"memory_write","args":{"text":"the word is heron"}},'
    '{"tool":"memory_write","args":{"text":"staging is blue","scope":"Global"}},{"say":"noted"}]>>>'
)
READ = 'What is there? <<<[{"tool":"memory_read","args":{}},{"say":"read"}]>>>'


@pytest.mark.timeout(300)
@pytest.mark.guarantee("G-27")
@pytest.mark.guarantee("G-32")
def test_what_was_written_down_outlives_the_machine(real: Platform, reconciler: Program) -> None:
    specs = reconciler.folder / "specs"
    file = specs / "api.yaml"
    file.write_text(file.read_text().replace("role:", "memory: {scopes: [Agent, Global]}\n  role:", 1))

    def status() -> Any:
        return reconciler.json("get", "lt", "api")["status"]

    with reconciler.controller("specs"):
        reconciler.comes("lieutenant/api", "--for", "Ready", "--timeout", "120", seconds=150)
        first = status()
        assert reconciler("send", "api", WRITE, "--wait").strip() == "noted"
        eventually(lambda: "the word is heron" in reconciler("memory", "get", "api"), "it is in the store", 60)
        assert "- staging is blue" in reconciler("memory", "get", "--global")
        assert status()["agent"]["pid"] == first["agent"]["pid"], "nothing was restarted"
        reconciler("memory", "set", "--global", "staging is green")
        real.run(real.simulator.do(lambda world: world.kill(first["vm"]["id"])))
        eventually(lambda: status().get("vm", {}).get("id") not in (None, first["vm"]["id"]), "it has another machine", 120)
        reconciler("wait", "lieutenant/api", "--for", "Ready", "--timeout", "120", seconds=150)
        assert reconciler("send", "api", READ, "--wait").strip() == "read"
        told = real.model.requests[-1]
        assert "the word is heron" in told.system
        assert "staging is green" in told.system
        assert "staging is blue" not in told.system
        memory = status()["memory"]
        assert (memory["agent"]["entries"], memory["shared"]["entries"]) == (1, 1)
        assert memory["told"]
