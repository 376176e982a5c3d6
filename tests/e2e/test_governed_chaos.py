"""Kill everything while an agent is governed: calls that wait for a person and calls that are denied, a budget that ends and is raised,
memory being written. Nothing forbidden runs, no usage is lost or counted twice, and nothing that was remembered is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.agent.host import end_all
from reconciler.core.conversation import parse, usages
from reconciler.core.keys import Json
from reconciler.vers.simulator.image import GuestImage
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import eventually, platform
from tests.e2e.chaos import AGENT, KEEPER, Books
from tests.e2e.conftest import PROFILE
from tests.e2e.test_local import Here
from tests.program import Controller, Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(400)]

TASKS = tuple(f"g-{number}" for number in range(5))
ROUNDS = 9
ANSWER = 110
"""Tokens of each answer of the scripted model."""
CAP = 900
SEED = int(os.environ.get("RECONCILER_CHAOS_SEED", "1"))
LIEUTENANT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: here}
spec:
  role: Survive
  profileRef: {name: scripted}
  placement: {type: Local}
  memory: {scopes: [Agent]}
  permissions: {default: Allow, ask: ["bash(touch *)"], deny: ["bash(rm *)"]}
  budget: {maxTokens: CAP, windowSeconds: 86400, onExceeded: DenyNew}
  restart:
    backoff: {baseSeconds: 1, maxSeconds: 1}
    crashLoop: {maxRestarts: 1000, windowSeconds: 1, stableSeconds: 1}
"""


def work(name: str) -> list[Json]:
    return [
        {"tool": "bash", "args": {"command": "rm -f victim"}},
        {"tool": "memory_write", "args": {"text": f"fact of {name}"}},
        {"tool": "bash", "args": {"command": f"touch {name}.txt"}},
        {"say": f"{name} is done", "delay": 0.1, "chunks": 2, "gap": 0.1},
    ]


@pytest.mark.guarantee("G-27", "G-28", "G-29", "G-37")
def test_nothing_forbidden_runs_and_nothing_is_lost_whatever_is_killed(image: GuestImage, tmp_path: Path) -> None:
    rules = [(rf"^\[task default/{name} attempt \d+ \w+\] continued", work(name)) for name in TASKS]
    with platform(SimulatorConfig(guests="isolated", image=image), rules) as real:
        program = Program(
            tmp_path, {**real.endpoints.environment(), "RECONCILER_SETTLE_SECONDS": "2", "RECONCILER_RESYNC_SECONDS": "1"}, warm=True
        )
        specs = tmp_path / "specs"
        specs.mkdir()
        (specs / "profile.yaml").write_text(PROFILE.format(url=real.model.url))
        file = specs / "here.yaml"
        file.write_text(LIEUTENANT.replace("CAP", str(CAP)))
        books, here, rng = Books(program), Here(program), random.Random(SEED)
        lives = [program.controller("specs", "--allow-local", name="life-01")]
        try:
            books.ready("here", 90)
            (here.workspace / "victim").write_text("untouched")
            for name in TASKS:
                books.send(name, "here", f"Do {name} <<<{json.dumps(work(name))}>>>", retries=2)
            ended = kills(program, books, here, rng, lives)
            eventually(lambda: approved(program) and held(books), "the budget is used up", 90)
            file.write_text(LIEUTENANT.replace("CAP", "1000000"))
            eventually(lambda: approved(program) and books.unfinished() == 0, "every task has an end", 120, pause=0.3)
            judge(program, books, here, ended, real.model.billed)
        finally:
            lives[-1].__exit__()
            if here.directory is not None:
                end_all(f"{here.directory}/tree/root")


def approved(program: Program) -> bool:
    """A person lets everything go on that waits."""
    for one in program.json("get", "approvals")["items"]:
        program("approve", one["status"]["task"], code=None)
    return True


def held(books: Books) -> bool:
    return any("BudgetExceeded" in json.dumps(dict(obj.status)) for obj in books.objects("Task").values())


def kills(program: Program, books: Books, here: Here, rng: random.Random, lives: list[Controller]) -> int:
    """How many keepers and pi processes were ended."""
    ended = 0
    for number in range(ROUNDS):
        time.sleep(rng.uniform(0.1, 1.5))  # the seed chooses a moment
        victim = ("controller", KEEPER, AGENT)[number % 3]
        if victim == "controller":
            lives[-1].kill()
            lives.append(program.controller("specs", "--allow-local", name=f"life-{len(lives) + 1:02}"))
        else:
            pid = eventually(lambda victim=victim: here.running(victim), f"a {victim} to kill", 60)[0]  # type: ignore[misc]
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                ended += 1
        if number % 2:
            approved(program)
    return ended


def judge(program: Program, books: Books, here: Here, ended: int, billed: int) -> None:
    assert {name: record.phase for name, record in books.tasks().items()} == dict.fromkeys(TASKS, "Succeeded")
    assert (here.workspace / "victim").read_text() == "untouched"
    assert {path.name for path in here.workspace.glob("*.txt")} == {f"{name}.txt" for name in TASKS}
    remembered = program("memory", "get", "here")
    assert [name for name in TASKS if f"fact of {name}" not in remembered] == []
    session = books.mirror(books.lieutenant("here").session.name)
    told = [*parse(session, 0)[0], *usages(session, 0)]
    written = sum(one.usage.input + one.usage.output + one.usage.cache_read + one.usage.cache_write for one in told)
    counted = sum(int(one["status"]["tokens"]) for one in program.json("get", "usage")["items"])
    print(f"seed {SEED}: {counted} tokens counted, {written} in the conversation, {billed} billed, {ended} ends of keeper or pi")
    assert counted == written, "each answer in the conversation once"
    assert 0 <= billed - counted <= ANSWER * ended, "what is missing was on its way to a pi that ended"
    assert counted >= CAP
    assert ended == ROUNDS - ROUNDS // 3
