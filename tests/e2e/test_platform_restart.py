"""The simulated platform as a program of its own dies and comes back, while a controller runs that was told its addresses once."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.vers.simulator.image import GuestImage
from tests.background import eventually, scripted_model
from tests.e2e.chaos import Books
from tests.e2e.conftest import API, PROFILE
from tests.program import Controller, Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(300)]

TELL = 'The word is plum <<<[{"say":"noted"}]>>>'
ASK = 'What was the word? <<<[{"say":"I was told {count} things, the first was: {first}","recall":true}]>>>'


@contextmanager
def simulator(program: Program, name: str) -> Iterator[Controller]:
    """`reconciler simulate --data data`, once it says that it is ready."""
    words = ("simulate", "--data", "data", "--env-file", "env.sh")
    with Controller(program, words, program.folder / f"{name}.log") as running:
        running.says('"gateway"')
        yield running


def told(simulator: Controller) -> dict[str, str]:
    """The line that it prints for programs."""
    (line,) = [line for line in simulator.said.splitlines() if line.startswith("{")]
    found: dict[str, str] = json.loads(line)
    return found


def exported(program: Program) -> dict[str, str]:
    lines = (program.folder / "env.sh").read_text().splitlines()
    return {name: shlex.split(value)[0] for name, _, value in (line.removeprefix("export ").partition("=") for line in lines)}


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-24")
def test_a_platform_that_is_killed_and_started_again_on_its_data_is_found_by_the_controller_that_runs(
    tmp_path: Path, image: GuestImage
) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    program = Program(tmp_path, {})
    with scripted_model() as model:
        (specs / "profile.yaml").write_text(PROFILE.format(url=model.url))
        (specs / "api.yaml").write_text(API)
        with simulator(program, "first") as first:
            before = told(first)
            program.env |= {**exported(program), "RECONCILER_SETTLE_SECONDS": "2", "RECONCILER_RESYNC_SECONDS": "1"}
            with program.controller("specs", "--log-format", "json") as controller:
                books = Books(program)
                vm_id = books.ready("api", 90)
                books.send("tell", "api", TELL)
                assert books.done("tell").answer == "noted"
                first.kill()
                eventually(lambda: "VMUnknown" in program("get", "lt", "api"), "it is not known how the machine is", 60)
                with simulator(program, "second") as second:
                    after = told(second)
                    assert {name: after[name] for name in after if name != "admin"} == {
                        name: before[name] for name in before if name != "admin"
                    }
                    books.send("ask", "api", ASK)
                    assert books.done("ask", 120).answer == f"I was told 1 things, the first was: {TELL}"
                    assert books.lieutenant("api").slot.vm_id == vm_id
                    assert json.loads(program("get", "vm", "-o", "json"))["items"][0]["metadata"]["name"] == vm_id
                    assert second.stop() == 0
                assert "Traceback" not in controller.said
                assert controller.stop() == 0
