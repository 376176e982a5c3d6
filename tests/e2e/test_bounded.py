"""Agents in a boundary, from outside: the program, a real keeper, a real pi, on a machine and on this host."""

from __future__ import annotations

import json

import pytest

from tests.background import Platform, eventually
from tests.e2e.chaos import Books
from tests.e2e.conftest import API, PROFILE
from tests.e2e.test_local import LOCAL, run
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]

SANDBOX = """  sandbox:
    fs: {writable: [/srv/data], hidden: [/root/.ssh]}
    network: {allow: ["registry.npmjs.org:443"]}
"""
TRIES = (
    "echo kept > notes.txt; touch /usr/local/escaped",
    "echo x > $PI_CODING_AGENT_DIR/settings.json; touch $PI_CODING_AGENT_DIR/models.json",
    "curl -sS -m 5 https://forbidden.example/",
)


@pytest.mark.guarantee("G-27", "G-28")
@pytest.mark.parametrize("name", ["api", "here"])
def test_an_agent_works_within_it_and_what_it_is_refused_is_told(real: Platform, reconciler: Program, name: str) -> None:
    specs = reconciler.folder / "specs"
    (specs / "profile.yaml").write_text(PROFILE.format(url=real.model.url) + SANDBOX)
    (specs / "api.yaml").write_text(API if name == "api" else LOCAL.replace("{PLACEMENT}", "{type: Local}"))
    steps = [{"tool": "bash", "args": {"command": command}} for command in TRIES]
    books = Books(reconciler)
    with run(reconciler, "first"):
        books.ready(name, 90)
        books.send("work", name, f"Work <<<{json.dumps([*steps, {'say': 'went on'}])}>>>")
        assert books.done("work").answer == "went on"
        heard = json.dumps([list(request.messages) for request in real.model.requests])
        assert heard.count("Read-only file system") >= 3
        assert "response 403" in heard
        eventually(lambda: "forbidden.example:443" in reconciler("events"), "what was refused is told")
        assert "Refused" in reconciler("events")
