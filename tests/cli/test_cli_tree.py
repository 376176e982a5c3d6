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
    assert run("tree", "lt/ada").code == 64
    assert run("tree", "-o", "wide").code == 64


def test_a_terminal_shows_lines_between_them() -> None:
    """And takes no word of an object for a command of its own."""
    branch = Branch("lieutenant/ada", ("[red]not Ready[/red]", "\x1b[31m"), (Branch("vm/x", ("secret",)),))
    console = Console(record=True, width=200, force_terminal=False)
    console.print(tree._grown(branch, lambda text: text.replace("secret", "[redacted]")))
    told = console.export_text()
    assert "[red]not Ready[/red]" in told
    assert "└── vm/x   [redacted]" in told
    assert "\x1b" not in told
