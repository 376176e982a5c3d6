"""`delete vmtree/NAME --node N`: a branch of a tree taken down by a command, wherever the tree is declared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.keys import Json
from tests.background import Platform, eventually
from tests.cli.conftest import Result, Run
from tests.program import Program
from tests.sources.fleetdir import marker
from tests.sources.gitserver import Origin, daemon, needs_git

HEAD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: VMTree\nmetadata: {name: prod}\n"
TREE = (
    HEAD
    + """spec:
  mode: Suspended
  nodes:
  # what all others stand on
  - {name: infra, category: Infra, profileRef: {name: lightweight}, protected: true}
  - name: back   # owns the backend
    category: Lieutenant
    parent: infra
    profileRef: {name: lightweight}
    lieutenant:
      role: |
        Own the backend
  - {name: worker, category: Swarm, parent: back, profileRef: {name: lightweight}, replicas: 2, lieutenant: {role: x}}
  - {name: db, category: Resource, parent: back, profileRef: {name: lightweight}, protected: true}  # of the backend
  - {name: front, category: Lieutenant, parent: infra, profileRef: {name: lightweight}, lieutenant: {role: Own the frontend}}
  # the end
"""
)


def nodes(run: Run) -> dict[str, str]:
    """What is declared: by node the one above it."""
    return {node["name"]: node.get("parent", "") for node in run("get", "vmt", "prod", "-o", "json").json["spec"]["nodes"]}


def declared(run: Run, policy: str = "Refuse") -> None:
    assert run("apply", "-f", "-", stdin=f"{TREE}  policy: {{onNodeRemoved: {policy}}}\n").code == 0


def remove(run: Run, node: str, *words: str) -> Result:
    return run("delete", "vmt/prod", "--node", node, *words)


def annotations(run: Run) -> Json:
    found: Json = run("get", "vmt", "prod", "-o", "json").json["metadata"].get("annotations", {})
    return found


@pytest.mark.guarantee("G-05")
def test_a_protected_branch_or_one_that_the_policy_keeps_needs_a_confirmation(run: Run) -> None:
    declared(run)
    refused = remove(run, "back")
    assert refused.code == 4
    assert "db of it is protected from deletion; db, worker stands below back, and policy.onNodeRemoved is Refuse" in refused.err
    assert refused.err.endswith(": confirm with --confirm that all of it goes\n")
    assert remove(run, "db").code == 4
    assert set(nodes(run)) == {"infra", "back", "worker", "db", "front"}
    assert annotations(run) == {}, "what is refused confirms nothing"

    assert remove(run, "front").out == "vmtree/prod node front removed in the store\n"
    assert remove(run, "back", "--confirm").out == "vmtree/prod node back removed in the store, and db, worker below it\n"
    assert set(nodes(run)) == {"infra"}
    assert "fleet.vers.sh/delete-confirmed" in annotations(run), "the confirmation comes with what it confirms"


def test_under_other_policies_what_stands_below_stays_or_is_let_go_of(run: Run) -> None:
    declared(run, "Reparent")
    told = remove(run, "back")
    assert told.code == 0
    assert told.out == "vmtree/prod node back removed in the store; worker, db stays, below infra from now on\n"
    assert nodes(run) == {"infra": "", "worker": "infra", "db": "infra", "front": "infra"}

    assert run("set", "vmt/prod", "policy.onNodeRemoved=Orphan", "nodes.2.parent=worker").code == 0
    told = remove(run, "worker")
    assert told.out == "vmtree/prod node worker removed in the store, and db below it, which is let go of\n"
    assert nodes(run) == {"infra": "", "front": "infra"}


def test_a_copy_of_its_parent_is_not_left_without_one(run: Run) -> None:
    text = HEAD + "spec:\n  policy: {onNodeRemoved: Reparent}\n  nodes:\n  - {name: a, category: Infra, profileRef: {name: full}}\n"
    assert run("apply", "-f", "-", stdin=text + "  - {name: b, category: Infra, parent: a, from: Parent}\n").code == 0
    refused = remove(run, "a")
    assert refused.code == 4
    assert "b stays, is made from its parent, and would have none" in refused.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("vmt/prod", "--node", "nowhere"), 64, "there is no node 'nowhere'"),
        (("vmt/prod", "--node", "worker-1"), 64, "`reconciler set vmtree/prod nodes.2.replicas=1`"),
        (("vmt/prod", "--node", "infra", "--confirm"), 4, "`reconciler delete vmtree/prod`"),
        (("vmt/none", "--node", "back"), 1, "does not exist"),
        (("lt/prod-back", "--node", "back"), 64, "only a vmtree has nodes"),
    ],
)
def test_what_is_no_branch_of_a_tree_is_told(run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    declared(run)
    told = run("delete", *words)
    assert told.code == code, told
    assert said in told.err
    assert len(nodes(run)) == 5


@pytest.fixture
def fleet(tmp_path: Path, stub: Platform, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that declares the tree, and of which nothing is deleted for being absent."""
    for name, value in stub.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / ".reconciler.yaml").write_text(marker(prune=False))
    (folder / "tree.yaml").write_text(TREE)
    return folder


@pytest.mark.guarantee("G-43")
def test_in_its_file_the_node_is_taken_out_and_nothing_else_and_that_is_in_force_at_once(run: Run, fleet: Path) -> None:
    assert run("run", "fleet", "--once", "--timeout", "60").code == 0
    file = fleet / "tree.yaml"
    assert remove(run, "back").code == 4
    assert file.read_text() == TREE
    told = remove(run, "back", "--confirm")
    assert told.code == 0, told
    assert told.out == f"vmtree/prod node back removed in {file}, and db, worker below it\n"
    kept = [line for line in TREE.splitlines() if "back" not in line and line.strip() not in ("category: Lieutenant", "parent: infra")]
    kept = [line for line in kept if line.strip() not in ("profileRef: {name: lightweight}", "lieutenant:", "role: |")]
    assert file.read_text().splitlines() == kept
    assert set(nodes(run)) == {"infra", "front"}

    assert run("run", "fleet", "--once", "--timeout", "60").code == 0, "nothing is blocked, though the stack does not prune"
    assert run("get", "lt", "-o", "name").out.split() == ["lieutenant/prod-front"]
    assert run("prune").err == "nothing waits for an approval\n"


@pytest.mark.guarantee("G-43")
def test_what_a_person_removed_by_hand_does_not_go_with_it(run: Run, fleet: Path) -> None:
    assert run("run", "fleet", "--once", "--timeout", "60").code == 0
    file = fleet / "tree.yaml"
    file.write_text("".join(line for line in TREE.splitlines(keepends=True) if "name: front" not in line))
    told = remove(run, "worker")
    assert told.code == 0, told
    assert told.out == f"vmtree/prod node worker removed in {file}\n"
    assert "note: not put in force at once: by its file more would go than was asked for: node front" in told.err
    assert "worker" not in file.read_text()
    assert {"worker", "front"} <= set(nodes(run)), "the rules of the stack decide on all that"


def test_a_command_that_got_no_further_than_the_file_is_finished_by_the_next(run: Run, fleet: Path) -> None:
    assert run("run", "fleet", "--once", "--timeout", "60").code == 0
    file = fleet / "tree.yaml"
    file.write_text("".join(line for line in TREE.splitlines(keepends=True) if "name: front" not in line))
    assert "front" in nodes(run)
    assert remove(run, "front").code == 0
    assert "front" not in nodes(run)
    assert remove(run, "front").code == 64


@pytest.mark.guarantee("G-13")
def test_a_running_controller_takes_the_branch_down_and_the_command_waits_for_it(tmp_path: Path, stub: Platform, fleet: Path) -> None:
    (fleet / "tree.yaml").write_text(TREE.replace("Suspended", "Running"))
    program = Program(tmp_path / "home", dict(stub.endpoints.environment()), warm=True)
    with program.controller(str(fleet)) as controller:

        def names() -> set[str]:
            told = program("get", "vmt", "prod", "-o", "json", code=None)
            return {one["name"] for one in json.loads(told).get("status", {}).get("nodes", [])} if told else set()

        eventually(lambda: names() == {"infra", "back", "worker-0", "worker-1", "db", "front"}, "the tree is declared")
        told = program("delete", "vmt/prod", "--node", "back", "--confirm", "--wait", "--timeout", "60")
        assert told.splitlines()[-1] == "vmtree/prod node back is gone"
        assert names() == {"infra", "front"}
        assert program("get", "lt", "-o", "name").split() == ["lieutenant/prod-front"]
        assert controller.stop() == 0


@pytest.fixture
def served(tmp_path: Path, stub: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Origin, str]]:
    for name, value in stub.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    origin = Origin(tmp_path)
    with daemon(origin.served) as url:
        yield origin, url


@needs_git
def test_in_a_repository_it_is_refused_naming_the_file(run: Run, served: tuple[Origin, str]) -> None:
    origin, url = served
    origin.commit({"fleet/tree.yaml": TREE})
    assert run("run", f"git+{url}/fleet.git@main#fleet", "--once", "--timeout", "60").code == 0
    refused = remove(run, "front")
    assert refused.code == 4
    assert f"({url}/fleet.git@main:fleet/tree.yaml:1): remove node front there, and push" in refused.err
