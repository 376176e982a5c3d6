"""Kill everything, again and again, at any moment, while work comes in; then look what became of the work."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.core.conversation import parse
from reconciler.core.keys import Json
from reconciler.vers.simulator.image import GuestImage
from reconciler.vers.simulator.service import SimulatorConfig
from reconciler.views.conversation import texts
from tests.background import Platform, eventually, platform
from tests.e2e.chaos import AGENT, KEEPER, Books, Machine, sent_while_busy, user_texts
from tests.e2e.conftest import PROFILE
from tests.effort import LONGER
from tests.program import Controller, Program

ROUNDS = 30 * LONGER
TASKS = tuple(f"w-{number:02}" for number in range(24 * LONGER))
CONTROLLER, CONNECTIONS = "controller", "connections"
VICTIMS = (CONTROLLER, CONTROLLER, KEEPER, AGENT, AGENT, CONNECTIONS, CONNECTIONS)
WORKING = ("run", "message", "tool", "toolEnd")
"""What the keeper's journal ends with while pi has work."""

MOMENTS = ("delivery", "turn", "turn", "any")

SEED = int(os.environ.get("RECONCILER_CHAOS_SEED", "1"))

# Delays as short as they may be, and no end of restarts: what is tried here is that nothing is lost, not how long it takes.
LIEUTENANT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec:
  role: Survive
  profileRef: {name: scripted}
  queue: {maxPending: 100}
  restart:
    backoff: {baseSeconds: 1, maxSeconds: 1}
    crashLoop: {maxRestarts: 1000, windowSeconds: 1, stableSeconds: 1}
"""


def work(name: str) -> list[Json]:
    """Half a second to a second and a half of work that leaves a file; the same again after an interruption."""
    number = TASKS.index(name)
    command = f"echo {name} >> {name}.txt; sleep {0.2 + number % 4 * 0.2:.1f}"
    return [
        {"tool": "bash", "args": {"command": command}},
        {"say": f"{name} is done", "delay": 0.1 + number % 3 * 0.2, "chunks": 3, "gap": 0.1},
    ]


def prompt(name: str) -> str:
    return f"Do {name} <<<{json.dumps(work(name))}>>>"


def check(name: str) -> Json:
    if TASKS.index(name) % 2:
        return {"command": {"run": ["grep", "-qx", name, f"{name}.txt"]}}
    return {"file": {"path": f"{name}.txt", "minBytes": len(name)}}


@pytest.fixture
def real(image: GuestImage) -> Iterator[Platform]:
    rules = [(rf"^\[task default/{name} attempt \d+ \w+\] continued", work(name)) for name in TASKS]
    with platform(SimulatorConfig(guests="isolated", image=image), rules) as running:
        yield running


@dataclass
class Ruin:
    """The controllers, one after the other, and what was done to them and to the machine."""

    program: Program
    machine: Machine
    controller: Controller
    lives: int = 1
    begun: float = 0.0

    def strike(self, victim: str, aim: int | None) -> str:
        """Kill it, or the next one as soon as it is there; returns what the keeper had last written down. `aim`: its pid."""
        match victim:
            case "controller":
                self.controller.kill()
            case "connections":
                self.machine.cut()
            case _:
                if not self.machine.kill(victim, aim):
                    eventually(lambda: self.machine.kill(victim, self.machine.named(victim)), f"a {victim} to kill", 90)
        last = self.machine.events()[-1]
        return f"{last['event']} {last.get('role', '')}".strip()

    def recover(self) -> None:
        self.lives += 1
        self.controller = self.program.controller("specs", name=f"life-{self.lives:02}")


@pytest.mark.real("pi")
@pytest.mark.real("bwrap")
@pytest.mark.slow
@pytest.mark.timeout(400 * LONGER)
@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-22")
@pytest.mark.guarantee("G-24")
@pytest.mark.guarantee("G-26")
def test_work_survives_every_kill(real: Platform, tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "profile.yaml").write_text(PROFILE.format(url=real.model.url))
    (specs / "api.yaml").write_text(LIEUTENANT)
    program = Program(tmp_path, {**real.endpoints.environment(), "RECONCILER_SETTLE_SECONDS": "2", "RECONCILER_RESYNC_SECONDS": "1"})
    books, rng, waiting = Books(program), random.Random(SEED), list(TASKS)
    sent: list[str] = []

    def send() -> None:
        if waiting:
            name = waiting.pop(0)
            sent.append(name)
            books.send(name, "api", prompt(name), acceptance=[check(name)], retries=2)

    first = program.controller("specs", name="life-01")
    ruin = Ruin(program, Machine(real, ""), first)
    try:
        program.comes("lieutenant/api", "--for", "Ready")
        (vm_id,) = real.present()
        machine = ruin.machine = Machine(real, vm_id)
        begun = time.monotonic()
        table: list[str] = []
        for number in range(1, ROUNDS + 1):
            while waiting and (books.unfinished() < 2 or 2 * len(sent) < number):
                send()
            victim, moment = rng.choice(VICTIMS), rng.choice(MOMENTS) if books.unfinished() > 1 else "any"
            aim = machine.named(victim) if victim in (KEEPER, AGENT) else None
            match moment:  # the pauses wait for nothing: the seed chooses a moment, also one in which nothing happens
                case "delivery":
                    handed = len(machine.commands())
                    eventually(lambda handed=handed: len(machine.commands()) > handed, "a delivery", 90, pause=0.002)  # type: ignore[misc]
                case "turn":
                    eventually(lambda: machine.events()[-1]["event"] in WORKING, "a turn", 90)
                    time.sleep(rng.uniform(0.0, 0.8))
                case _:
                    time.sleep(rng.uniform(0.0, 0.8))
            doing = ruin.strike(victim, aim)
            table.append(f"{number:3} {time.monotonic() - begun:6.1f} s  {victim:12} {moment:9} after {doing}")
            if victim == CONTROLLER:
                if rng.random() < 0.5:
                    send()  # into the store: nobody runs
                ruin.recover()
        try:
            eventually(lambda: books.unfinished() == 0, "every task has an end", 120)
        finally:
            print(f"seed {SEED}, {time.monotonic() - begun:.0f} s", *table, sep="\n")
            for name, record in sorted(books.tasks().items()):
                print(f"{name} {record.phase} attempts={record.attempt} sends={record.sends} continues={record.continues} {record.message}")
        judge(real, books, machine, sent)
        assert ruin.controller.stop() == 0
        said = [log.read_text(errors="replace") for log in sorted(tmp_path.glob("life-*.log"))]
        assert not [text for text in said if "Traceback" in text or "internal error" in text]
    finally:
        ruin.controller.__exit__()


def judge(real: Platform, books: Books, machine: Machine, sent: Sequence[str]) -> None:
    """What holds once all work is done and nothing has been killed for a while."""
    tasks, session = books.tasks(), machine.session()
    assert {name: record.phase for name, record in tasks.items()} == dict.fromkeys(sent, "Succeeded")
    ends = [(name, reason) for name, reason, _ in books.reasons() if reason in ("Succeeded", "Failed", "TimedOut", "Cancelled")]
    assert sorted(ends) == [(name, "Succeeded") for name in sent], "exactly one result each"

    told = user_texts(session)
    for name, record in tasks.items():
        starts = [re.match(rf"\[task default/{name} attempt (\d+) \w+\](?! continued)", text) for text in told]
        assert [int(start[1]) for start in starts if start] == list(range(1, record.attempt + 1)), f"{name}: once per attempt"
    assert not sent_while_busy(machine.events(), machine.commands())

    assert books.mirror(books.lieutenant("api").session.name) == session
    answers = texts(parse(session, 0)[0])
    assert books.program("output", "api", "--history", "0", "--raw").strip() == "\n\n".join(answers)

    assert real.present() == real.ever() == [machine.vm_id]
    assert (len(machine.running(KEEPER)), len(machine.running(AGENT))) == (1, 1)


@pytest.mark.parametrize(
    ("order", "disposition", "wrong"),
    [
        ("verdict run settled verdict run settled", "started", 0),
        ("verdict exited started verdict run", "started", 0),
        ("verdict run verdict settled", "started", 1),
        ("run verdict", "started", 1),
        ("verdict verdict", "started", 1),
        ("verdict run settled", "queued", 1),
    ],
)
def test_the_judge_notices_a_prompt_into_a_run(order: str, disposition: str, wrong: int) -> None:
    events: list[Json] = [{"seq": n, "event": event, "key": f"k{n}", "state": "accepted"} for n, event in enumerate(order.split())]
    keys = [event["key"] for event in events if event["event"] == "verdict"]
    commands: list[Json] = [{"key": key, "type": "prompt"} for key in keys]
    commands += [{"key": keys[0], "verdict": {"state": "accepted", "disposition": disposition}}]
    assert len(sent_while_busy(events, commands)) == wrong
