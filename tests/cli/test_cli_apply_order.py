"""Tasks of one `apply` are done in the order in which they stand, whatever they are called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from tests.cli.conftest import Run as Command
from tests.cli.test_cli_several import LT, TASK
from tests.faults.harness import Run, virtual
from tests.faults.play import SETTINGS
from tests.world import World

NAMES = ["zulu", "mike", "alfa", "x-ray", "bravo"]


def tasks(*names: str) -> str:
    return "---\n".join(TASK.format(kind="Task", name=name) for name in names)


def delivered(state: Path) -> list[str]:
    """What a controller over this store says to the agent, in order: the names of the tasks."""

    async def main() -> list[str]:
        run = Run(World(), state / "state.db", None, SETTINGS)
        try:
            await run.alive()
            keys = [Key("Task", "default", name) for name in NAMES]
            await run.until(lambda: all(run.phase(key) == "Succeeded" for key in keys), "all are done")
        finally:
            await run.controller.down()
        found = [re.match(r"\[task default/([^ ]+) attempt 1", said) for _, said in run.world.prompts]
        return [match[1] for match in found if match is not None]

    return virtual(main)


@pytest.mark.parametrize("how", ["one document after another", "one file after another", "tasks first"])
def test_tasks_of_one_apply_are_delivered_in_the_order_in_which_they_stand(run: Command, tmp_path: Path, how: str) -> None:
    agent = LT.format(kind="Lieutenant", name="a").replace("full", "lightweight")
    (tmp_path / "z-first.yaml").write_text(f"{agent}---\n{tasks(*NAMES[:2])}")
    (tmp_path / "a-then.yaml").write_text(tasks(*NAMES[2:]))
    words = {
        "one document after another": ("-f", "-"),
        "one file after another": ("-f", "z-first.yaml", "-f", "a-then.yaml"),
        "tasks first": ("-f", "-"),
    }[how]
    whole = f"{tasks(*NAMES)}---\n{agent}" if how == "tasks first" else f"{agent}---\n{tasks(*NAMES)}"
    done = run("apply", *words, stdin=whole if "-" in words else None)
    assert done.code == 0, done
    assert done.out.split()[::2] == ["lieutenant/a", *(f"task/{name}" for name in NAMES)]
    assert delivered(tmp_path / "state") == NAMES


def test_what_is_applied_later_comes_later_and_what_is_applied_again_keeps_its_place(run: Command, tmp_path: Path) -> None:
    agent = LT.format(kind="Lieutenant", name="a").replace("full", "lightweight")
    assert run("apply", "-f", "-", stdin=f"{agent}---\n{tasks(*NAMES[:3])}").code == 0
    assert run("apply", "-f", "-", stdin=tasks(*reversed(NAMES))).code == 0
    assert delivered(tmp_path / "state") == [*NAMES[:3], NAMES[4], NAMES[3]]
