"""A new kind takes part in everything, with no change outside its own files: it is declared, planned, executed, reported, looked at
again and shown."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.registry import KINDS
from reconciler.core.keys import Key
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.planning import plan_everything
from tests.cli.conftest import Run
from tests.cli.conftest import run as run
from tests.conformance.kstatus import conditions_of, summary
from tests.engine.stage import Stage
from tests.faults.harness import virtual
from tests.kinds.widget import DRYING, WIDGET, Workshop, registration
from tests.world import World

ONE = Key("Widget", "default", "one")

DOCUMENT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Widget
metadata:
  name: one
spec:
  size: 3
"""


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    """The kind is known to this process while a test runs."""
    before = [kind.name for kind in KINDS]
    KINDS.add(WIDGET)
    yield
    KINDS.remove(WIDGET.name)
    assert [kind.name for kind in KINDS] == before


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    file = tmp_path / "one.yaml"
    file.write_text(DOCUMENT)
    return file


Story = Callable[[Stage], Coroutine[Any, Any, None]]


def play(tmp_path: Path, workshop: Workshop, story: Story) -> None:
    """A controller that knows widgets, on the store that the command line uses."""

    async def main() -> None:
        stage = Stage(World(), tmp_path / "state" / "state.db")
        stage.controller.kinds = (*STOCK, registration(workshop))
        await stage.alive()
        try:
            await story(stage)
        finally:
            await stage.controller.down()
        assert stage.controller.wrong == [], "every written status obeys the rules of kstatus"

    virtual(main)


def test_it_is_validated(run: Run, declared: Path) -> None:
    assert (run("validate", str(declared)).code, run("validate", str(declared)).err) == (0, "1 valid\n")
    declared.write_text(DOCUMENT.replace("size: 3", "size: 30"))
    result = run("validate", str(declared))
    assert result.code == 1
    assert ":6:" in result.out
    assert "spec.size" in result.out


def test_it_is_planned_executed_reported_and_looked_at_again(tmp_path: Path, run: Run, declared: Path) -> None:
    assert run("apply", "-f", str(declared)).out == "widget/one created\n"
    workshop = Workshop(shut=4)

    async def story(stage: Stage) -> None:
        await stage.engine.stop()
        planned = (await plan_everything(stage.engine)).steps
        assert [(step.key, step.action.verb, step.action.because) for step in planned] == [
            (ONE, "TurnWidget", f"turn {n}") for n in (1, 2, 3)
        ]
        assert workshop.turns == {}, "a plan changes nothing"
        workshop.visits.clear()
        await stage.controller.down()
        await stage.controller.up()
        await stage.until(lambda: "the workshop is shut" in stage.message(ONE, "Reconciling"), "what is in the way is told")
        await stage.says(ONE, "Reconciling", "Booting")
        assert workshop.turns == {"one": 3}
        assert summary(stage.status(ONE), 1) == "InProgress"
        assert not stage.engine.converged()
        dry = stage.world.now() + DRYING
        await stage.until(lambda: stage.condition(ONE, "Ready") == "True", "it is dry")
        assert dry - 1 <= stage.world.now() <= dry + 1, "its own wait had it looked at again; nothing else did"
        assert len(workshop.visits) > 10, "a wait with this reason is looked at twice a second"
        assert stage.engine.converged()
        assert (stage.status(ONE)["phase"], stage.status(ONE)["turned"]) == ("Done", 3)
        assert {name: str(one["reason"]) for name, one in conditions_of(stage.status(ONE)).items()} == {"Ready": "Steady"}
        assert stage.engine.reconcile_errors == {"GuestFailed": 4}
        assert stage.happened("GuestFailed") == 1, "an error is an event once"

    play(tmp_path, workshop, story)


def test_what_only_a_person_can_mend_is_told(tmp_path: Path, run: Run, declared: Path) -> None:
    run("apply", "-f", str(declared))

    async def story(stage: Stage) -> None:
        await stage.says(ONE, "Stalled", "ClaimConflict")
        assert summary(stage.status(ONE), 1) == "Failed"

    play(tmp_path, Workshop({"one": 5}), story)


def test_it_is_shown_changed_and_deleted(tmp_path: Path, run: Run, declared: Path) -> None:
    run("apply", "-f", str(declared))
    assert "no controller has looked at it" in run("describe", "widget", "one").out

    async def story(stage: Stage) -> None:
        await stage.until(lambda: stage.condition(ONE, "Ready") == "True", "it is done")

    play(tmp_path, Workshop(), story)
    for words in (("widgets",), ("wg",), ("widget/one",)):
        header, line = run("get", *words).out.splitlines()
        assert header.split() == ["NAME", "READY", "REASON", "PHASE", "SIZE", "AGE"]
        assert line.split()[:5] == ["one", "True", "Steady", "Done", "3"]
    assert "widget/one" in run("get", "all", "-o", "name").out
    assert run("get", "widget", "one", "-o", "json").json["status"]["turned"] == 3
    described = run("describe", "widget", "one").out
    assert "Kind:           Widget" in described
    assert "turned: 3" in described
    assert run("explain", "widget.spec.size").code == 0
    declared.write_text(DOCUMENT.replace("size: 3", "size: 4"))
    assert run("apply", "-f", str(declared)).out == "widget/one configured\n"
    assert run("delete", "widget", "one").code == 0
    assert run("get", "widget/one").code == 1
