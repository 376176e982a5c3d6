"""An agent under permissions, from outside: the program, a real keeper, a real pi. What it may not do does not happen, and what a
person is asked about goes on by the person's word, also while controllers are killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.background import Platform, eventually
from tests.e2e.chaos import AGENT, Books
from tests.e2e.conftest import PROFILE
from tests.e2e.test_local import LOCAL, Here, run
from tests.e2e.test_local import here as here
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]

RULES = """  permissions:
    default: Allow                 # kept as it is
    ask: ["bash(touch *)"]
    deny: ["bash(rm *)"]
"""


def calls(*commands: str) -> str:
    steps = [{"tool": "bash", "args": {"command": command}} for command in commands]
    return f"Work <<<{json.dumps([*steps, {'say': 'went on'}])}>>>"


def declare(program: Program, real: Platform, rules: str) -> Path:
    file = program.folder / "specs" / "here.yaml"
    file.write_text(LOCAL.replace("{PLACEMENT}", "{type: Local}") + rules)
    (program.folder / "specs" / "profile.yaml").write_text(PROFILE.format(url=real.model.url))
    return file


def waits(program: Program, task: str) -> list[dict[str, str]]:
    found = program.json("get", "approvals")["items"]
    return [one["status"] for one in found if one["status"]["task"] == task]


@pytest.mark.guarantee("G-28", "G-37")
def test_what_a_person_says_reaches_the_call_over_kills_of_the_controller(real: Platform, reconciler: Program, here: Here) -> None:
    declare(reconciler, real, RULES)
    books = Books(reconciler)
    with run(reconciler, "first") as first:
        books.ready("here", 90)
        assert reconciler("auth", "can-i", "here", "bash(ls && rm x)", code=4).startswith(
            "Deny: rule bash(rm *) of the Lieutenant\n  part: rm x"
        )
        assert reconciler("auth", "can-i", "here", "bash(ls)").startswith("Allow")
        books.send("work", "here", calls("rm -f /tmp/nothing; touch never", "touch one", "touch two"))
        reconciler("wait", "task/work", "--for", "phase=AwaitingApproval", "--timeout", "60")
        assert [ask["call"] for ask in waits(reconciler, "work")] == ["bash(touch one)"]
        assert "AwaitingApproval" in reconciler("get", "attention")
        pids = here.running(AGENT)
        first.kill()
    assert "one approved" not in reconciler("approve", "work")
    assert not (here.workspace / "one").exists()
    with run(reconciler, "second"):
        eventually(lambda: (here.workspace / "one").exists(), "the very call goes on")
        assert here.running(AGENT) == pids, "the same pi"
        eventually(lambda: [ask["call"] for ask in waits(reconciler, "work")] == ["bash(touch two)"], "the next one is asked about")
        reconciler("deny", "work", "--reason", "not on a Friday")
        record = books.done("work")
        assert (record.attempt, record.sends, record.continues, record.answer) == (1, 1, 0, "went on")
        assert sorted(path.name for path in here.workspace.glob("*")) == ["one"]
        heard = json.dumps([list(request.messages) for request in real.model.requests])
        assert "not on a Friday" in heard
        assert "rule bash(rm *) of the Lieutenant" in heard
        assert waits(reconciler, "work") == []
        assert "nothing of it waits" in reconciler.full("approve", "work").stderr


@pytest.mark.guarantee("G-28")
def test_always_writes_the_rule_where_it_is_declared(real: Platform, reconciler: Program, here: Here) -> None:
    file = declare(reconciler, real, RULES.replace("Allow  ", "Ask  ").replace('    ask: ["bash(touch *)"]\n', ""))
    books = Books(reconciler)
    with run(reconciler, "first"):
        books.ready("here", 90)
        books.send("work", "here", calls("touch one"))
        reconciler("wait", "task/work", "--for", "phase=AwaitingApproval", "--timeout", "60")
        assert "allows bash(touch one) from now on in" in reconciler("approve", "work", "--always")
        books.done("work")
        assert 'allow: ["bash(touch one)"]' in file.read_text().replace("allow: [bash(touch one)]", 'allow: ["bash(touch one)"]')
        assert "# kept as it is" in file.read_text()
        eventually(lambda: reconciler.full("auth", "can-i", "here", "bash(touch one)").returncode == 0, "the rule is read")
        books.ready("here", 90)
        (here.workspace / "one").unlink()
        books.send("again", "here", calls("touch one"))
        assert books.done("again").answer == "went on"
        assert (here.workspace / "one").exists()
