"""Agents without work are suspended, a prompt arrives just then, and the controller, the keeper or pi is killed in that moment: every task
is done once, nothing is lost, and in the end they are suspended again."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.agent.host import end_all
from reconciler.core.keys import Json
from reconciler.vers.simulator.image import GuestImage
from reconciler.vers.simulator.service import SimulatorConfig
from reconciler.views.documents import is_true
from tests.background import Platform, eventually, platform
from tests.e2e.chaos import AGENT, KEEPER, Books, Machine, user_texts
from tests.e2e.conftest import PROFILE
from tests.e2e.test_local import Here
from tests.effort import LONGER
from tests.program import Controller, Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(300 * LONGER)]

SEED = int(os.environ.get("RECONCILER_CHAOS_SEED", "1"))
CONTROLLER = "controller"
ROUNDS = tuple(
    (name, victim, fault)
    for _ in range(LONGER)
    for name, victim, fault in (
        ("api", CONTROLLER, ""),
        ("api", KEEPER, "set_state:1:delay=0.5"),
        ("api", CONTROLLER, "set_state:1:after:reset"),
        ("here", KEEPER, ""),
        ("here", CONTROLLER, ""),
        ("api", AGENT, "set_state:1:after:500"),
        ("api", CONTROLLER, "set_state:1:late=0.3"),
    )
)
"""Whose suspension is disturbed, who is killed, and what becomes of the platform's answer to it: it takes a while, is lost, or is lost
before the machine falls asleep later."""

LIEUTENANT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: NAME}
spec:
  role: Sleep well
  profileRef: {name: scripted}
  idle: {suspendAfterSeconds: 1}
  permissions: {default: Allow, deny: ["bash(rm *)"]}
  restart:
    backoff: {baseSeconds: 1, maxSeconds: 1}
    crashLoop: {maxRestarts: 1000, windowSeconds: 1, stableSeconds: 1}
"""


def work(name: str) -> list[Json]:
    return [{"tool": "bash", "args": {"command": f"echo {name} >> {name}.txt"}}, {"say": f"{name} is done"}]


@dataclass
class Night:
    """The controllers, one after the other, and how their agents come to rest."""

    real: Platform
    program: Program
    books: Books
    here: Here
    rng: random.Random
    controller: Controller
    machine: Machine
    lives: int = 1

    def told(self, name: str, reason: str) -> int:
        return sum(1 for who, why, _ in self.books.reasons() if (who, why) == (name, reason))

    def asked(self) -> int:
        """How often the platform was asked to suspend or resume a machine."""
        return self.real.calls.get("set_state", 0)

    def asleep(self, name: str) -> bool:
        if not is_true(self.books.objects("Lieutenant")[name].status, "Suspended"):
            return False
        return not self.here.running(AGENT) if name == "here" else self.real.simulator.world.vms[self.machine.vm_id].suspended

    def send(self, task: str, name: str) -> None:
        checks = [{"file": {"path": f"{task}.txt", "minBytes": len(task)}}]
        self.books.send(task, name, f"Do {task} <<<{json.dumps(work(task))}>>>", acceptance=checks)

    def strike(self, name: str, victim: str) -> int:
        """kill -9; how many. An agent that sleeps on this host has no pi."""
        if victim == CONTROLLER:
            self.controller.kill()
            return 1
        pids = self.here.running(victim) if name == "here" else self.machine.running(victim)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def recover(self) -> None:
        self.lives += 1
        self.controller = self.program.controller("specs", "--allow-local", name=f"life-{self.lives:02}")

    def round(self, number: int, name: str, victim: str, fault: str) -> str:
        """One rest that is disturbed. Who rests already is given work first."""
        rests, asked = self.told(name, "Resting"), self.asked()
        if self.books.lieutenant(name).rest.reason:
            self.send(f"w-{number:02}", name)
            self.books.done(f"w-{number:02}")
            rests, asked = self.told(name, "Resting"), self.asked()
        if fault:
            self.real.simulator.add_fault(fault)
        by_calls = name == "api" and self.rng.random() < 0.5
        resting = (lambda: self.asked() > asked) if by_calls else (lambda: self.told(name, "Resting") > rests)
        eventually(resting, f"{name} comes to rest", pause=0.002)
        time.sleep(self.rng.uniform(0.0, 0.3))  # the seed chooses a moment
        into_the_store = victim == CONTROLLER and self.rng.random() < 0.5
        if not into_the_store:
            self.send(f"n-{number:02}", name)
        killed = self.strike(name, victim)
        if into_the_store:
            self.send(f"n-{number:02}", name)
        if victim == CONTROLLER:
            self.recover()
        record = self.books.done(f"n-{number:02}")
        self.real.simulator.clear_faults()
        how = f"attempts={record.attempt} sends={record.sends} continues={record.continues}"
        return f"{number:3} {name:4} {killed} {victim:10} {fault or '-':24} {how}"


@pytest.mark.guarantee("G-01", "G-20", "G-22", "G-29")
def test_a_prompt_in_the_middle_of_a_suspension_is_done_once_whatever_is_killed(image: GuestImage, tmp_path: Path) -> None:
    with platform(SimulatorConfig(guests="isolated", image=image)) as real:
        env = {**real.endpoints.environment(), "RECONCILER_SETTLE_SECONDS": "2", "RECONCILER_RESYNC_SECONDS": "1"}
        program = Program(tmp_path, env, warm=True)
        specs = tmp_path / "specs"
        specs.mkdir()
        (specs / "profile.yaml").write_text(PROFILE.format(url=real.model.url))
        (specs / "api.yaml").write_text(LIEUTENANT.replace("NAME", "api"))
        (specs / "here.yaml").write_text(LIEUTENANT.replace("NAME", "here") + "  placement: {type: Local}\n")
        books, here, first = Books(program), Here(program), program.controller("specs", "--allow-local", name="life-01")
        night = Night(real, program, books, here, random.Random(SEED), first, Machine(real, ""))
        table: list[str] = []
        try:
            for name in ("api", "here"):
                eventually(lambda name=name: night.told(name, "Resting"), f"{name} rests", 90)  # type: ignore[misc]
            (vm_id,) = real.present()
            night.machine = Machine(real, vm_id)
            begun = time.monotonic()
            for number, (name, victim, fault) in enumerate(ROUNDS, 1):
                table.append(f"{night.round(number, name, victim, fault)} {time.monotonic() - begun:6.1f} s")
            for name in ("api", "here"):
                eventually(lambda name=name: night.asleep(name), f"{name} sleeps again", 30)  # type: ignore[misc]
            judge(night)
        finally:
            print(f"seed {SEED}", *table, sep="\n")
            night.controller.__exit__()
            if here.directory is not None:
                end_all(f"{here.directory}/tree/root")


def judge(night: Night) -> None:
    tasks, told = night.books.tasks(), night.books.reasons()
    assert len(tasks) >= len(ROUNDS)
    ends = sorted((name, reason) for name, reason, _ in told if reason in ("Succeeded", "Failed", "TimedOut", "Cancelled"))
    assert ends == [(name, "Succeeded") for name in sorted(tasks)], "exactly one result each"
    for name in ("api", "here"):
        session = night.books.lieutenant(name).session.name
        prompts = user_texts(night.books.mirror(session))
        rounds = [f"-{number:02}" for number, (who, *_) in enumerate(ROUNDS, 1) if who == name]
        for task, record in ((task, record) for task, record in tasks.items() if task[1:] in rounds):
            starts = [re.match(rf"\[task default/{task} attempt (\d+) \w+\](?! continued)", text) for text in prompts]
            assert [int(start[1]) for start in starts if start] == list(range(1, record.attempt + 1)), f"{task}: once per attempt"
            file = night.here.workspace / f"{task}.txt" if name == "here" else night.machine.path(f"/root/workspace/{task}.txt")
            assert 1 <= len(file.read_text().splitlines()) <= record.attempt + record.continues, (
                f"{task} was done more often than it was told"
            )
        assert night.told(name, "Woken") >= len(rounds), "each prompt that came while it fell asleep woke it"
    assert night.real.present() == night.real.ever() == [night.machine.vm_id]
    assert night.here.running(AGENT) == []
    assert night.controller.stop() == 0
    said = [log.read_text(errors="replace") for log in sorted(night.program.folder.glob("life-*.log"))]
    assert not [text for text in said if "Traceback" in text or "internal error" in text]
