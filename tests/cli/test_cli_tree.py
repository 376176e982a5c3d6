"""`tree`, as a command and on a terminal."""

from __future__ import annotations

from rich.console import Console

from reconciler.api.meta import API_VERSION
from reconciler.cli import tree
from reconciler.views.tree import Branch
from tests.cli.conftest import Run
from tests.kube.assets import ROOT


def test_the_command_with_and_without_a_tree(run: Run) -> None:
    assert run("tree").code == 0
    assert "nothing found" in run("tree").err
    assert run("apply", "-f", str(ROOT / "tests" / "manifests" / "valid" / "tree.yaml")).code == 0
    assert run("apply", "-f", "-", stdin=f"apiVersion: {API_VERSION}\nkind: Lieutenant\nmetadata: {{name: ada}}\n"
               "spec: {role: Keep it, profileRef: {name: lightweight}}\n").code == 0  # fmt: skip
    told = run("tree", "prod").out.splitlines()
    assert told[0].startswith("vmtree/prod")
    assert [line.split()[0] for line in told[1:]] == ["infra", "backend", "worker", "db", "experiment", "frontend"]
    assert [len(line) - len(line.lstrip()) for line in told] == [0, 2, 4, 6, 6, 6, 4]
    assert run("tree").out.splitlines()[7].startswith("lieutenant/ada")
    assert [one["kind"] for one in run("tree", "-o", "json").json["items"]] == ["VMTree", "Lieutenant"]
    assert [one["kind"] for one in run("tree", "vmt/prod", "-o", "json").json["items"]] == ["VMTree"]
    assert "does not exist" in run("tree", "nowhere").err
    assert run("tree", "nowhere").code == 1
    assert [line.split()[0] for line in run("tree", "prod", "--node", "backend").out.splitlines()] == [
        "vmtree/prod", "backend", "worker", "db", "experiment"
    ]  # fmt: skip
    above = run("tree", "prod", "--node", "worker", "--ancestors").out.splitlines()
    assert [(line.split()[0], len(line) - len(line.lstrip())) for line in above] == [
        ("vmtree/prod", 0), ("infra", 2), ("backend", 4), ("worker", 6)
    ]  # fmt: skip
    assert run("tree", "prod", "--ancestors").code == 64
    assert run("tree", "prod", "--node", "nowhere").code == 64
    assert run("tree", "--node", "backend").code == 64
    assert run("tree", "lt/ada").code == 64
    assert run("tree", "-o", "wide").code == 64


def test_a_narrow_terminal_folds_what_does_not_fit_and_loses_none_of_it() -> None:
    words = tuple(f"organ-{number}" for number in range(30))
    branch = Branch("vmtree/prod", (), (Branch("infra", ("Infra",), (Branch(f"vm/{'0' * 36}", ("running", ", ".join(words))),)),))
    console = Console(record=True, width=80, force_terminal=False)
    console.print(tree.grown(branch, str))
    told = console.export_text()
    assert max(map(len, told.splitlines())) <= 80
    assert all(word in told for word in (*words, f"vm/{'0' * 36}"))
    assert any(len(line) > 80 for line in tree.plain(branch, str)), "piped, a line is a line"


def test_a_terminal_shows_lines_between_them() -> None:
    """And takes no word of an object for a command of its own."""
    branch = Branch("lieutenant/ada", ("[red]not Ready[/red]", "\x1b[31m"), (Branch("vm/x", ("secret",)),))
    console = Console(record=True, width=200, force_terminal=False)
    console.print(tree.grown(branch, lambda text: text.replace("secret", "[redacted]")))
    told = console.export_text()
    assert "[red]not Ready[/red]" in told
    assert "└── vm/x   [redacted]" in told
    assert "\x1b" not in told
