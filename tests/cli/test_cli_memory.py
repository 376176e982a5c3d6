"""`reconciler memory`, without a controller: what people see and change of what agents remember."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run

LT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec: {role: Test, profileRef: {name: lightweight}, memory: {scopes: [Agent, Global]}}
"""


@pytest.fixture(autouse=True)
def declared(run: Run) -> None:
    assert run("apply", "-f", "-", stdin=LT).code == 0


def test_what_is_set_is_shown_as_it_was_set(run: Run) -> None:
    assert run("memory", "get", "api").out == ""
    text = "- the port is 8081\n  on every host\nsecond fact\n"
    assert run("memory", "set", "api", "-", stdin=text).out == "memory of api: 2 added, 0 removed\n"
    shown = run("memory", "get", "api").out
    assert shown == "- the port is 8081\n  on every host\n- second fact\n"
    assert run("memory", "set", "api", "-", stdin=shown).out == "memory of api unchanged\n"
    doc = run("memory", "get", "lieutenant/api", "-o", "json").json
    assert [entry["text"] for entry in doc["entries"]] == ["the port is 8081\non every host", "second fact"]
    assert all(entry["id"] and entry["by"] for entry in doc["entries"])


def test_what_is_shared_has_nobodys_name(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "facts.txt"
    file.write_text("one\ntwo\n")
    assert run("memory", "set", "--global", "-f", str(file)).out == "global memory: 2 added, 0 removed\n"
    assert run("memory", "get", "--global").out == "- one\n- two\n"
    assert run("memory", "get", "--global", "-n", "other").out == ""
    assert run("memory", "get", "api").out == ""


def test_history_tells_who_added_and_removed_what(run: Run) -> None:
    run("memory", "set", "api", "first fact")
    run("memory", "set", "api", "second fact")
    head, *rows = run("memory", "history", "api").out.splitlines()
    assert head.split() == ["AT", "BY", "WHAT", "TEXT"]
    assert [row.split()[2:] for row in rows] == [["added", "first", "fact"], ["removed", "first", "fact"], ["added", "second", "fact"]]
    assert [one["what"] for one in run("memory", "history", "api", "-o", "json").json].count("removed") == 1
    entries = run("get", "audit", "-o", "json").out
    assert "1 added, 1 removed" in entries
    assert "second fact" not in entries, "the audit has no text of it"


def test_edit_opens_it_in_the_editor(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("memory", "set", "api", "keep\ndrop")
    editor = tmp_path / "editor.py"
    editor.write_text("import sys\np = sys.argv[1]\ns = open(p).read().replace('- drop\\n', '- by hand\\n')\nopen(p, 'w').write(s)\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    assert run("memory", "edit", "api").out == "memory of api: 1 added, 1 removed\n"
    assert run("memory", "get", "api").out == "- keep\n- by hand\n"
    monkeypatch.setenv("EDITOR", "false")
    assert run("memory", "edit", "api").code == 64
    assert run("memory", "get", "api").out == "- keep\n- by hand\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("memory", "forget", "api"), 64, "unknown verb 'forget'"),
        (("memory", "get"), 64, "whose memory?"),
        (("memory", "get", "nobody"), 1, "lieutenant/nobody does not exist"),
        (("memory", "set", "api", "x" * 4001), 1, "entry 1 has 4001 characters"),
        (("memory", "get", "api", "more"), 64, "that is too much"),
        (("memory", "set", "api", "x", "-f", "y"), 64, "-f goes with `set`"),
        (("memory", "set", "api", "-f", "/nowhere"), 1, "the file can't be read"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    done = run(*words)
    assert done.code == code
    assert told in done.err
