"""What agents, machines and platforms say reaches a terminal visible and harmless, through one place."""

from __future__ import annotations

import ast
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.cli import output
from reconciler.cli.attach import News, Screen
from reconciler.cli.catalog import GROUPS
from reconciler.cli.yamlout import to_yaml
from reconciler.core.keys import Json, Key
from reconciler.core.messages import Message
from reconciler.core.records import LieutenantRecord, SessionRecord, TaskRecord
from reconciler.engine.ports import AddEvent, AppendSession, Event, StoredObject
from reconciler.visible import hidden, one_line, visible
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import LT, change, line

EVIL = "safe\x1b[2J\x1b]52;c;aGk=\x07\x9b31m\u202eevil\u2066\u200b\ufeff\U000e0041\u3164end\rback"
PRINTING = {
    "get": ("get", "task", "old"),
    "describe": ("describe", "lt", "api"),
    "tree": ("tree",),
    "events": ("events",),
    "output": ("output", "api", "--history", "2"),
    "logs": ("logs", "api"),
    "wait": ("wait", "task/old", "--for", "Ready", "--timeout", "0"),
    "validate": ("validate", "evil.yaml"),
    "apply": ("apply", "-f", "evil.yaml"),
    "plan": ("plan", "evil.yaml"),
    "send": (),  # its answer and its error go through the same `out` and `say`
    "attach": (),  # see below
    "run": (),  # its lines are events, as above
    "operator": (),
    "demo": (),
    "diff": (),  # what machines say of themselves: `table`
    "rollout": (),
    "orphans": (),  # labels of machines: `table`
    "adopt": (),  # labels of machines: `to_yaml` and `one_line`
    "doctor": (),
    "auth": (),  # rules and calls, as somebody wrote them: `out`
    "memory": (),  # what agents wrote: `out` and `table`
    "approve": (),  # calls of agents: `one_line`
    "deny": (),
    "set": (),
    "suspend": (),
    "resume": (),
}
"""Commands that print what somebody else wrote, each with a line that does so here."""
OWN_WORDS = frozenset(
    {
        *("simulate", "explain", "delete", "cancel", "halt", "rewind", "retry", "snapshot", "rollback", "resolve"),
        *("forget", "crds", "schema", "completion", "version", "config", "init", "import", "prune"),
    }
)
"""Commands whose results are our own words; their errors go through `say` like all."""
BYTES = frozenset({"exec", "cp", "export"})
"""Commands that pass bytes on, as ssh and scp do."""


def harmless(text: str) -> bool:
    return not any(hidden(char) for char in text if char not in "\n\t")


def test_every_command_is_known_to_print_peers_text_or_not() -> None:
    every = {entry.name for group in GROUPS.values() for entry in group}
    assert every == PRINTING.keys() | OWN_WORDS | BYTES


def hostile(obj: StoredObject) -> StoredObject:
    condition: Json = {"type": "Ready", "status": "False", "reason": EVIL, "message": f"{EVIL}\n{EVIL}"}
    status: Json = {"conditions": [condition], "phase": EVIL, "result": {"answer": EVIL}}
    if obj.key.kind == "Lieutenant":
        return replace(obj, status=status, record=LieutenantRecord(session=SessionRecord(name="s", generation=1)).dump())
    return replace(obj, status=status, record=TaskRecord(phase="Succeeded", session="s", landed=0).dump())


@pytest.fixture
def evil(run: Run, tmp_path: Path) -> Run:
    assert run("apply", "-f", "-", stdin=LT).code == 0
    said = line("user", "[m] x") + line("assistant", EVIL) + line("assistant", f"{EVIL} again")
    event = Event(Key("Lieutenant", "default", "api"), "u", "Warning", "Odd", EVIL, 1.0, 0)
    change(tmp_path / "state", hostile, AppendSession("s", 0, said), AddEvent(event))
    (tmp_path / "evil.yaml").write_text(LT.replace("{role:", '{"b\\e[2J\\u202e": 1, role:', 1))
    return run


@pytest.mark.parametrize("command", [name for name, words in PRINTING.items() if words])
def test_what_peers_say_is_printed_harmless(evil: Run, command: str) -> None:
    shown = evil(*PRINTING[command])
    assert "\\x1b[2J" in shown.out + shown.err, "it is shown what was there"
    assert harmless(shown.out), shown.out
    assert harmless(shown.err), shown.err


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_documents_are_harmless_and_mean_the_same(evil: Run, form: str) -> None:
    shown = evil("get", "task", "old", "-o", form)
    assert harmless(shown.out)
    loaded = json.loads(shown.out) if form == "json" else YAML(typ="safe", pure=True).load(shown.out)
    assert loaded["status"]["result"]["answer"] == EVIL


def test_events_are_those_of_the_namespace(evil: Run, tmp_path: Path) -> None:
    """What is about no object of a namespace is in `default`, as in a cluster."""
    about = (Key("Task", "other", "o"), Key("VM", "", "v"))
    change(tmp_path / "state", lambda obj: obj, *(AddEvent(Event(key, "u", "Normal", "Seen", key.name, 2.0, 0)) for key in about))

    def of(*words: str) -> list[str]:
        items = evil("events", "-o", "json", *words).json["items"]
        return [one["involvedObject"]["name"] for one in items]

    assert of("-n", "other") == ["o"]
    assert of("-n", "empty") == []
    assert of() == ["api", "v"]
    assert of("-A") == ["api", "o", "v"]
    assert "other" in evil("events", "-A").out
    assert evil("events", "-A", "--for", "lt/api").code == 64


def test_events_that_are_told_again_are_one_line_that_counts(evil: Run, tmp_path: Path) -> None:
    about = Event(Key("Task", "default", "t"), "u", "Normal", "Delivering", "attempt 1", 10.0, series="s", first=10.0)
    for number in (1, 2, 3):
        one = replace(about, message=f"attempt {number}", at=10.0 * number, count=number)
        change(tmp_path / "state", lambda obj: obj, AddEvent(one))
    head, *rows = evil("events", "--for", "task/t").out.splitlines()
    assert head.startswith("LAST SEEN  ")
    assert "COUNT" in head
    assert len(rows) == 1
    assert rows[0].split()[-3:] == ["3", "attempt", "3"]
    (item,) = evil("events", "--for", "task/t", "-o", "json").json["items"]
    assert (item["count"], item["firstTimestamp"], item["lastTimestamp"]) == (3, "1970-01-01T00:00:10Z", "1970-01-01T00:00:30Z")


def test_programs_get_it_as_it_was_said(evil: Run) -> None:
    assert evil("output", "api", "--history", "1", "--raw").out == f"{EVIL} again\n"
    assert evil("get", "task", "old", "-o", "jsonpath={.status.phase}").out == EVIL


def test_a_conversation_that_is_followed_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(lambda text: text)
    for char in EVIL:
        screen.show(News((), char))
    screen.show(News((Message(entry_id="1", offset=0, role="user", text=EVIL),), EVIL))
    screen.close()
    shown = capsys.readouterr().out
    assert "\\x1b" in shown
    assert harmless(shown)


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_nothing_hidden_is_left_and_what_is_seen_stays(text: str) -> None:
    shown = visible(text)
    left = [char for char in shown if hidden(char) and char not in "\n\t"]
    assert all(char in "\u200d\ufe0e\ufe0f" for char in left)
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in shown if char not in "\n\t")
    assert visible(shown) == shown
    assert "\n" not in one_line(text)
    assert json.loads(output.to_json(text)) == text
    assert harmless(output.to_json(text))


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.text(), max_size=3))
def test_yaml_means_the_same(value: dict[str, str]) -> None:
    written = to_yaml(dict(value))
    assert harmless(written)
    assert YAML(typ="safe", pure=True).load(written) == value


@pytest.mark.parametrize("text", ["naïve café", "日本語", "שלום", "👩\u200d💻 ❤\ufe0f", "a\tb\nc", "10\u00a0km", "e\u0301", "→ ✓ █"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("text", ["a\u200db", "a\ufe0f", "👩\u200d", "\u200d👩", "\ufe0f\ufe0f", "x\U000e0101", "\u00ad"])
def test_a_joiner_that_joins_nothing_is_shown(text: str) -> None:
    assert "\\u" in visible(text) or "\\U" in visible(text) or "\\x" in visible(text)


def test_only_one_module_of_the_command_line_writes_to_a_terminal() -> None:
    """Others say `out` and `say`; those that pass bytes on write to descriptors."""
    found = set()
    for path in Path(output.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr") and getattr(node.value, "id", "") == "sys":
                found.add((path.name, node.attr))
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("print", "Console", "Text"):
                found.add((path.name, node.func.id))  # type: ignore[attr-defined]
    allowed = {("main.py", "stdout"), ("command.py", "stdout")}  # flushed and closed; asked whether it is a terminal
    assert {(name, what) for name, what in found if name != "output.py"} <= allowed
