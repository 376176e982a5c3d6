"""`halt` and `resume --halted`, `rewind` and `rollout`, typed: what they change is read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Json
from tests.cli.test_cli_controller import API, FAST
from tests.program import Program

NOTE = "the fleet is halted since "
KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""
TREE = """apiVersion: fleet.vers.sh/v1alpha1
kind: VMTree
metadata: {name: prod}
spec:
  nodes:
  - {name: infra, category: Infra, profileRef: {name: lightweight}}
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path, dict(FAST), warm=True)


def annotations(program: Program, *words: str) -> Json:
    found = program.json("get", *words)["metadata"].get("annotations", {})
    assert isinstance(found, dict)
    return found


def test_without_a_controller_a_halt_is_kept_and_shown_everywhere_until_it_is_taken_back(program: Program) -> None:
    program("apply", "-f", "-", stdin=API)
    assert NOTE not in program.full("get", "lt").stderr
    said = program("halt")
    assert said.startswith(NOTE)
    assert program("halt") == said, "the moment at which it began stays"
    for words in (("get", "lt"), ("get", "lt", "api", "-o", "wide"), ("tree",)):
        assert NOTE in program.full(*words).stderr, words
    assert NOTE not in program.full("get", "lt", "-o", "json").stderr
    assert "note   fleet    halted since " in program("doctor", code=None)
    assert program("resume", "--halted") == "the fleet goes on\n"
    assert NOTE not in program.full("get", "lt").stderr
    assert "ok     fleet    not halted" in program("doctor", code=None)


def test_beside_a_controller_it_holds_at_once_and_after_a_restart(program: Program) -> None:
    (program.folder / "specs").mkdir()
    with program.controller("specs"):
        program("halt")
        assert NOTE in program.full("get", "lt").stderr
    with program.controller("specs"):
        assert NOTE in program.full("get", "lt").stderr
        program("resume", "--halted")
        assert NOTE not in program.full("get", "lt").stderr


@pytest.mark.parametrize("words", [("halt",), ("resume", "--halted")])
def test_through_a_cluster_both_say_where_to_type_them(words: tuple[str, ...], program: Program) -> None:
    (program.folder / "kubeconfig").write_text(KUBECONFIG)
    program.env["KUBECONFIG"] = str(program.folder / "kubeconfig")
    told = program.full(*words, "--kube")
    assert told.returncode == 64, told.stderr
    assert "does not go through an API server" in told.stderr
    assert f"kubectl exec -n reconciler deploy/reconciler -- reconciler {' '.join(words)}" in told.stderr


def test_a_rewind_is_asked_for_by_as_many_turns_as_were_said(program: Program) -> None:
    program("apply", "-f", "-", stdin=API)
    assert "goes back by 3 turns" in program("rewind", "api", "--turns", "3")
    turns, _, token = str(annotations(program, "lt", "api")["fleet.vers.sh/rewind"]).partition(":")
    assert turns == "3"
    assert token


def test_a_rollout_is_paused_goes_on_and_says_how_it_stands(program: Program) -> None:
    program("apply", "-f", "-", stdin=TREE)
    assert program("rollout", "status", "prod") == "vmtree/prod: every machine is of the profile that is declared\n"
    assert program("rollout", "pause", "prod") == "the rollout of vmtree/prod is paused\n"
    assert annotations(program, "vmt", "prod")["fleet.vers.sh/paused"]
    assert program("rollout", "resume", "vmt/prod") == "the rollout of vmtree/prod goes on\n"
    assert not annotations(program, "vmt", "prod").get("fleet.vers.sh/paused")
