"""Operators that are killed at any moment, and operators that are frozen: processes, real machines, real pi, a real API server."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.background import Platform, eventually
from tests.e2e.chaos import AGENT, Machine, sent_while_busy, user_texts
from tests.e2e.conftest import API, PROFILE, image, real
from tests.effort import LONGER
from tests.kube.controlplane import ControlPlane, Namespace
from tests.program import Controller, Program

__all__ = ["image", "real"]  # fixtures

pytestmark = [
    pytest.mark.real("kube"),
    pytest.mark.real("pi"),
    pytest.mark.real("bwrap"),
    pytest.mark.slow,
    pytest.mark.timeout(900 * LONGER),
]

ROUNDS = 20 * LONGER
SEED = int(os.environ.get("RECONCILER_CHAOS_SEED", "1"))
LEASE = "reconciler-default"


def work(name: str, seconds: float = 0.4) -> str:
    """A task that writes its name down, works for so long and says so; what an interruption cut short is asked for by itself."""
    steps = [{"tool": "bash", "args": {"command": f"echo {name} >> {name}.txt; sleep {seconds:.1f}"}}, {"say": f"{name} is done"}]
    spec = {
        "lieutenantRef": {"name": "api"},
        "prompt": f"Do {name} <<<{json.dumps(steps)}>>>",
        "acceptance": [{"file": {"path": f"{name}.txt", "minBytes": len(name)}}],
    }
    return json.dumps({"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Task", "metadata": {"name": name}, "spec": spec})


@pytest.fixture
def team(private_plane_with_kinds: ControlPlane) -> Namespace:
    return private_plane_with_kinds.namespace("team")


def program(team: Namespace, real: Platform, folder: Path, **more: str) -> Program:
    timing = {"RECONCILER_SETTLE_SECONDS": "2", "RECONCILER_RESYNC_SECONDS": "1"}
    return Program(folder, {**real.endpoints.environment(), **timing, "KUBECONFIG": str(team.plane.operator.kubeconfig), **more})


def delivered_once(machine: Machine, names: list[str]) -> None:
    """In the conversation itself, every piece of work was asked for once, and nothing in the middle of another."""
    heads = [text.splitlines()[0] for text in user_texts(machine.session())]
    asked = [head.split()[1] for head in heads if head.startswith("[task ") and "continued" not in head]
    assert sorted(asked) == sorted(f"team/{name}" for name in names), heads
    assert sent_while_busy(machine.events(), machine.commands()) == []


def phases(team: Namespace) -> dict[str, str]:
    return {task["metadata"]["name"]: task.get("status", {}).get("phase", "") for task in team.list("ltask")}


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-20")
def test_an_operator_killed_again_and_again(team: Namespace, real: Platform, tmp_path: Path) -> None:
    """kill -9 at any moment, every third time with its store lost too: one machine, one agent process, every task delivered once."""
    rng, told = random.Random(SEED), list[str]()
    one = program(team, real, tmp_path)
    running: Controller = one.operator("-n", "team", name="life-00")
    try:
        team.apply(PROFILE.format(url=real.model.url) + "---\n" + API)
        team.kubectl("wait", "lt/api", "--for=condition=Ready", "--timeout=120s", seconds=130)
        (vm_id,) = real.present()
        machine = Machine(real, vm_id)
        pid = machine.named(AGENT)
        names: list[str] = []
        for number in range(1, ROUNDS + 1):
            names.append(f"w-{number:02}")
            team.apply(work(names[-1], rng.choice((0.1, 0.4, 1.5))))
            if number % 2:
                eventually(lambda: phases(team)[names[-1]] not in ("", "Pending"), "it is delivered")
            pause = rng.uniform(0.0, 2.0)
            time.sleep(pause)
            running.kill()
            lost = number % 3 == 0
            if lost:
                shutil.rmtree(one.state)
            if number % 7:
                team.kubectl("delete", "lease", LEASE, "--ignore-not-found")  # else the next one waits until it is over
            told.append(f"{number:3} killed after {pause:.2f} s{', store lost' if lost else ''}; {phases(team)[names[-1]] or 'not seen'}")
            running = one.operator("-n", "team", name=f"life-{number:02}")
            running.says("in charge of team")
        try:
            eventually(lambda: set(phases(team).values()) == {"Succeeded"}, "every task is done", 150, pause=1.0)
        finally:
            print(f"seed {SEED}", *told, phases(team), sep="\n")
        assert real.ever() == [vm_id], "no second machine, ever"
        assert machine.named(AGENT) == pid, "the agent never noticed"
        delivered_once(machine, names)
        team.kubectl("delete", "lt,ltask,bp", "--all", "--timeout=90s", seconds=100)
        eventually(lambda: not real.present(), "no machine is left")
        assert running.stop() == 0
        said = [log.read_text(errors="replace") for log in sorted(tmp_path.glob("life-*.log"))]
        assert not [text for text in said if "Traceback" in text or "internal error" in text]
    finally:
        running.__exit__()


@pytest.mark.guarantee("G-62")
def test_a_frozen_operator_acts_no_more(team: Namespace, real: Platform, tmp_path: Path, postgres_url: str) -> None:
    """Two operators, one store. The one in charge is frozen while there is work, the other takes over and ends it; thawed, it finds
    itself out of charge and does nothing. Then the same the other way round."""
    first, second = (program(team, real, tmp_path / who, RECONCILER_STORE=postgres_url) for who in ("first", "second"))
    with first.operator("-n", "team") as one:
        one.says("in charge of team")
        with second.operator("-n", "team") as two:
            two.says("standing by")
            team.apply(PROFILE.format(url=real.model.url) + "---\n" + API)
            team.kubectl("wait", "lt/api", "--for=condition=Ready", "--timeout=120s", seconds=130)
            (vm_id,) = real.present()
            machine = Machine(real, vm_id)
            pid, names = machine.named(AGENT), list[str]()
            for number, (frozen, other) in enumerate(((one, two), (two, one))):
                long, next_, during = (f"{name}-{number}" for name in ("long", "next", "during"))
                names += [long, next_, during]
                team.apply(work(long, 2.0))
                team.kubectl("wait", f"ltask/{long}", "--for=jsonpath={.status.phase}=Running", "--timeout=60s", seconds=70)
                team.apply(work(next_))
                before = other.said.count("in charge of team")
                frozen.process.send_signal(signal.SIGSTOP)
                team.apply(work(during))
                eventually(lambda other=other, before=before: other.said.count("in charge of team") > before, "the other takes over")  # type: ignore[misc]
                for name in (long, next_, during):
                    team.kubectl("wait", f"ltask/{name}", "--for=condition=Ready", "--timeout=90s", seconds=100)
                left = frozen.said.count("out of charge")
                shown = {name: team.get("ltask", name) for name in names}
                frozen.process.send_signal(signal.SIGCONT)
                eventually(lambda frozen=frozen, left=left: frozen.said.count("out of charge") > left, "it knows that it is out")  # type: ignore[misc]
                time.sleep(3.0)
                assert {name: team.get("ltask", name) for name in names} == shown, "what it still had to say was not said"
                assert frozen.said.rstrip().splitlines()[-1].startswith("standing by"), frozen.said
            assert real.ever() == [vm_id]
            assert machine.named(AGENT) == pid
            delivered_once(machine, names)
            team.kubectl("delete", "lt,ltask,bp", "--all", "--timeout=90s", seconds=100)
            eventually(lambda: not real.present(), "no machine is left")
            for operator in (one, two):
                assert "Traceback" not in operator.said, operator.said
                assert "internal error" not in operator.said, operator.said


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-04")
@pytest.mark.guarantee("G-62")
def test_an_api_server_that_is_away_for_longer_than_the_lease(team: Namespace, real: Platform, tmp_path: Path) -> None:
    """The operator stands down and says so, without a flood of words; agents work on; afterwards it goes on where it was."""
    with program(team, real, tmp_path).operator("-n", "team") as operator:
        operator.says("in charge of team")
        team.apply(PROFILE.format(url=real.model.url) + "---\n" + API)
        team.kubectl("wait", "lt/api", "--for=condition=Ready", "--timeout=120s", seconds=130)
        (vm_id,) = real.present()
        machine = Machine(real, vm_id)
        pid = machine.named(AGENT)
        team.apply(work("long", 8.0))
        team.kubectl("wait", "ltask/long", "--for=jsonpath={.status.phase}=Running", "--timeout=60s", seconds=70)
        team.apply(work("next"))
        before = len(operator.said.splitlines())
        with team.plane.api_down():
            operator.says("out of charge")
            time.sleep(15.0)
            assert machine.named(AGENT) == pid
            assert real.present() == [vm_id]
            assert len(operator.said.splitlines()) - before <= 60, operator.said
        eventually(lambda: operator.said.count("in charge of team") == 2, "it is in charge again")
        for name in ("long", "next"):
            team.kubectl("wait", f"ltask/{name}", "--for=condition=Ready", "--timeout=90s", seconds=100)
        assert real.ever() == [vm_id]
        assert machine.named(AGENT) == pid
        delivered_once(machine, ["long", "next"])
        team.kubectl("delete", "lt,ltask,bp", "--all", "--timeout=90s", seconds=100)
        eventually(lambda: not real.present(), "no machine is left")
        assert "Traceback" not in operator.said, operator.said
        assert operator.stop() == 0
