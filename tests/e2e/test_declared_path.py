"""A declared `PATH` is what an agent's tools see, on a machine and on this host, in a sandbox and without one; pi and its Node are started
all the same."""

from __future__ import annotations

import json

import pytest

from tests.background import Platform
from tests.e2e.chaos import Books
from tests.e2e.conftest import API, PROFILE
from tests.e2e.test_bounded import SANDBOX
from tests.e2e.test_local import Here, run
from tests.e2e.test_local import here as here
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(300)]

NODE = "#!/bin/sh\necho another node\n"
WORK = [{"tool": "bash", "args": {"command": 'echo "$PATH" > path.txt; node > node.txt'}}, {"say": "done"}]


@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize("sandbox", ["", SANDBOX], ids=["open", "bounded"])
@pytest.mark.parametrize("name", ["api", "here"])
def test_a_declared_path_is_for_the_agent_s_tools(real: Platform, reconciler: Program, here: Here, name: str, sandbox: str) -> None:
    specs = reconciler.folder / "specs"
    tool = f"  files: [{{path: tools/node, content: {json.dumps(NODE)}, mode: '0755'}}]\n"
    (specs / "profile.yaml").write_text(PROFILE.format(url=real.model.url) + sandbox + tool)
    lieutenant = API if name == "api" else API.replace("name: api", "name: here") + "  placement: {type: Local}\n"
    (specs / "api.yaml").write_text(lieutenant + "  env: [{name: PATH, value: 'tools:/usr/bin:/bin'}]\n")
    books = Books(reconciler)
    with run(reconciler, "first"):
        books.ready(name, 90)
        checks = [("grep", ":tools:/usr/bin:/bin$", "path.txt"), ("grep", "another node", "node.txt")]
        books.send("work", name, f"Work <<<{json.dumps(WORK)}>>>", acceptance=[{"command": {"run": check}} for check in checks])
        assert books.done("work", 90).attempt == 1
