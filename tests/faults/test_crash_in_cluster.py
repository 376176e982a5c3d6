"""The operator's process dies, or a call fails, at each numbered effect, writes to the cluster among them (G-02, G-05, G-20, G-62): with
its store kept, and with its store lost, it converges, nothing leaks, every task is delivered once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.effort import one_in, sample, share
from tests.faults import smalltree
from tests.faults.cluster import play_in_cluster
from tests.faults.harness import FAULTS, Fault, faults_of
from tests.faults.play import FEW, PARTS, Scenario, dealt
from tests.faults.scenarios import one_lieutenant, reconfigured

SCENARIOS = {scenario.name: scenario for scenario in (one_lieutenant.SCENARIO, reconfigured.SCENARIO, smalltree.SCENARIO)}
DEADLY = ("crash-before", "crash-after", "late")
"""The faults after which another operator begins, with an empty store where that is lost."""
LEAST = {True: 600, False: 350}
SLOW = 0.5
"""Seconds."""


@cache
def effects_of(name: str, latency: float = 0.005) -> tuple[str, ...]:
    """The effects of the run without a fault, in order."""
    with TemporaryDirectory() as directory:
        run = play_in_cluster(SCENARIOS[name], Path(directory) / "reference.db", None, latency=latency)
        assert run.controller.lives == 1
        return tuple(run.life.names)


def points_of(name: str, keep: bool) -> list[tuple[int, str]]:
    """Every number of the seam with every fault that makes a difference there."""
    kinds = FAULTS if keep else DEADLY
    return [(number, kind) for number, effect in enumerate(effects_of(name), 1) for kind in faults_of(effect, number) if kind in kinds]


def play(scenario: Scenario, path: Path, fault: Fault, keep: bool, latency: float = 0.005) -> None:
    run = play_in_cluster(scenario, path, fault, keep, latency)
    assert fault.used, "the fault was never met: the run is not the reference run up to it"
    assert not [at for at in run.server.objects if at.plural in ("lieutenants", "vmtrees")], "its finalizer went"


def strike(name: str, keep: bool, points: list[tuple[int, str]]) -> None:
    for number, kind in points:
        with TemporaryDirectory() as directory:
            play(SCENARIOS[name], Path(directory) / "state.db", Fault(number, kind), keep)


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_without_a_fault(name: str, keep: bool, capsys: pytest.CaptureFixture[str]) -> None:
    effects = effects_of(name)
    points = len(points_of(name, keep))
    with capsys.disabled():
        print(f"\n{name} in a cluster, store {'kept' if keep else 'lost'}: {points} fault points at {len(effects)} numbered effects")
    assert points >= LEAST[keep]
    assert {"kube.add_finalizer", "kube.status", "kube.remove_finalizer", "kube.event"} <= set(effects)


@pytest.mark.guarantee("G-20")
@pytest.mark.parametrize("kind", DEADLY)
def test_a_prompt_on_its_way_and_a_lost_store(kind: str, tmp_path: Path) -> None:
    """What was sent the moment before everything was lost is not sent again: its status was there before, however slow the API
    server is."""
    sends = [number for number, name in enumerate(effects_of("one-lieutenant", SLOW), 1) if name == "keeper.send"]
    assert sends
    for number in sends:
        play(SCENARIOS["one-lieutenant"], tmp_path / f"{number}.db", Fault(number, kind), keep=False, latency=SLOW)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-05")
@pytest.mark.parametrize("name", ["vers.create_vm", "kube.add_finalizer", "kube.remove_finalizer"])
def test_crashes_at_what_counts_most_with_a_lost_store(name: str, tmp_path: Path) -> None:
    number = effects_of("one-lieutenant").index(name) + 1
    for kind in DEADLY:
        play(SCENARIOS["one-lieutenant"], tmp_path / f"{kind}.db", Fault(number, kind), keep=False)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-09")
def test_a_lost_store_before_the_machine_of_a_node_is_claimed_makes_no_second_one(tmp_path: Path) -> None:
    """From its create on until it carries its claim, status in the cluster says that it is there."""
    effects = effects_of("small-tree")
    made = effects.index("vers.create_vm") + 1
    for number in range(made, effects.index("vers.set_labels", made) + 2):
        play(SCENARIOS["small-tree"], tmp_path / f"{number}.db", Fault(number, "crash-after"), keep=False)


@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-13")
def test_a_lost_store_while_a_tree_goes_leaves_none_of_its_machines(tmp_path: Path) -> None:
    effects = effects_of("small-tree")
    for number in (effects.index("kube.delete") + 1, *(at for at, name in enumerate(effects, 1) if name == "vers.delete_vm")):
        for kind in ("crash-before", "crash-after"):
            play(SCENARIOS["small-tree"], tmp_path / f"{number}-{kind}.db", Fault(number, kind), keep=False)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-62")
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_few_faults_at_random(name: str, keep: bool) -> None:
    strike(name, keep, sample(f"few of {name} in a cluster {keep}", points_of(name, keep), FEW))


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-62")
@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.timeout(600)
def test_every_fault_at_every_effect(name: str, keep: bool, part: int) -> None:
    """Of a run's share of them: see FAULT_SHARE."""
    strike(name, keep, dealt(f"{name} in a cluster {keep}", points_of(name, keep), part))


@pytest.mark.guarantee("G-62")
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("skew", [2.0, -2.0], ids=["ahead", "behind"])
def test_who_takes_over_has_another_clock(skew: float, keep: bool, tmp_path: Path) -> None:
    """By as much as two readings of the API server's clock may differ: nothing is doubled, leaked or given up for it."""
    lives = []
    numbers = range(5, len(effects_of(one_lieutenant.SCENARIO.name)), 11)
    for number in one_in(3 if share() > 1 else 1, f"takes over {skew} {keep}", numbers):
        run = play_in_cluster(one_lieutenant.SCENARIO, tmp_path / f"{number}.db", Fault(number, "crash-after"), keep, skew=skew)
        lives.append(run.controller.lives)
    assert min(lives[:-2]) > 1, "somebody took over"
