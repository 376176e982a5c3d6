"""The worked example of an agent that has others do the work, with a real pi on this host: its own commands of `reconciler` reach the
fleet, and those that it may not run do nothing."""

from __future__ import annotations

import json
import os
import sys

import pytest
import yaml

from tests.background import Platform, eventually
from tests.conformance.test_project import ROOT
from tests.e2e.chaos import Books
from tests.e2e.conftest import PROFILE
from tests.e2e.test_local import Here, run
from tests.e2e.test_local import here as here
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(300)]

EXAMPLE = ROOT / "examples" / "governed" / "orchestrator.yaml"
OTHER = "apiVersion: fleet.vers.sh/v1alpha1\nkind: Lieutenant\nmetadata: {name: api}\n"
OTHER += "spec: {role: Own the API, mode: Suspended, profileRef: {name: scripted}}\n"


def declare(program: Program, real: Platform) -> None:
    """The lieutenant of the example, with the profile of these tests and where the program is."""
    lead = next(one for one in yaml.safe_load_all(EXAMPLE.read_text("utf-8")) if one["kind"] == "Lieutenant")
    programs = program.folder / "programs"
    programs.mkdir()
    (programs / "reconciler").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m reconciler "$@"\n')
    (programs / "reconciler").chmod(0o755)
    program.env["PATH"] = f"{programs}:{os.environ['PATH']}"
    lead["metadata"]["name"], lead["spec"]["profileRef"]["name"] = "here", "scripted"
    lead["spec"]["env"] = [{"name": "RECONCILER_STATE", "value": str(program.state.resolve())}]
    specs = program.folder / "specs"
    (specs / "here.yaml").write_text(yaml.safe_dump(lead))
    (specs / "other.yaml").write_text(OTHER)
    (specs / "profile.yaml").write_text(PROFILE.format(url=real.model.url))


@pytest.mark.guarantee("G-28")
def test_an_orchestrator_gives_work_and_can_do_nothing_else(real: Platform, reconciler: Program, here: Here) -> None:
    declare(reconciler, real)
    books = Books(reconciler)
    commands = [
        "reconciler get lt -o name",
        "reconciler send api 'Write the tests'",
        "reconciler send api 'Go on' --run 'touch ran'",
        "reconciler delete lt api --yes",
        "reconciler suspend lt here",
        "reconciler get lt > stolen.txt",
        "touch touched",
    ]
    steps = [{"tool": "bash", "args": {"command": command}} for command in commands]
    with run(reconciler, "first"):
        books.ready("here", 90)
        books.send("lead", "here", f"Lead <<<{json.dumps([*steps, {'say': 'went on'}])}>>>")
        assert books.done("lead", 120).answer == "went on"
        results = [str(message["content"]) for message in real.model.requests[-1].messages if message.get("role") == "tool"]
        assert "api" in results[0], "it sees the fleet"
        (given,) = [name for name in books.tasks() if name != "lead"]
        assert given in results[1], "and gives work"
        assert all("Denied by the permissions" in result for result in results[2:]), results
        eventually(lambda: "api" in books.objects("Lieutenant"), "the other one is still there")
        assert list(here.workspace.iterdir()) == []
