"""`logs -f` and `output -f`: what comes is told once, also of the next conversation and from the next machine, until Ctrl-C (130) or until
what is followed is gone."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.records import LieutenantRecord, SessionRecord, TaskRecord
from reconciler.engine.ports import AppendSession, StoredObject
from tests.cli.conftest import Between, Run, Step
from tests.cli.test_cli_conversation import LT, SECOND, change, line, state
from tests.cli.test_cli_watch import removed
from tests.program import Controller, Program

__all__ = ["state"]


@pytest.fixture
def follow(between_looks: Between, state: Path) -> Between:
    """A command with one step between two of its looks, and Ctrl-C after the last."""

    return lambda *words, steps: between_looks(*words, "-f", steps=steps)


def said(state: Path, session: str, before: bytes, *more: bytes) -> Step:
    """The mirror of a conversation grows."""
    return lambda: change(state, lambda obj: obj, AppendSession(session, len(before), b"".join(more)))


def recorded(state: Path, kind: str, record: LieutenantRecord | TaskRecord, **status: str) -> Step:
    """What the controller knows of it."""

    def changed(obj: StoredObject) -> StoredObject:
        mine = obj.key.kind == kind
        return replace(obj, record=record.dump(), status={**obj.status, **status}) if mine else obj

    return lambda: change(state, changed)


def in_session(name: str, *earlier: str) -> LieutenantRecord:
    return LieutenantRecord(session=SessionRecord(name=name, generation=2, earlier=earlier))


def message(role: str, entry: str, **more: object) -> bytes:
    return json.dumps({"type": "message", "id": entry, "message": {"role": role, **more}}).encode() + b"\n"


CALL = message("assistant", "call", content=[{"type": "toolCall", "id": "c1", "name": "bash", "arguments": {"command": "ls"}}])
GAVE = message("toolResult", "gave", toolCallId="c1", toolName="bash", content=[{"type": "text", "text": "a\nb"}])
SO_FAR = "--- user ---\nanew\n--- agent ---\none\n--- agent ---\ntwo\n"


def test_what_comes_is_printed_once_and_ctrl_c_ends_it_with_130(follow: Between, state: Path) -> None:
    """A tool's result is named after its tool, though that was called before the last look."""
    steps = [said(state, "s-g2", SECOND, CALL), lambda: None, said(state, "s-g2", SECOND + CALL, GAVE)]
    done = follow("logs", "api", steps=steps)
    assert done.code == 130
    assert done.out == f"{SO_FAR}--- agent ---\n> bash: ls\n--- tool bash ---\na\nb\n"
    assert done.err == ""


def test_only_lines_that_are_found_are_printed_of_what_comes(follow: Between, state: Path) -> None:
    three, four = line("assistant", "three"), line("assistant", "the fourth\ntwofold")
    done = follow("logs", "api", "--grep", "two", steps=[said(state, "s-g2", SECOND, three), said(state, "s-g2", SECOND + three, four)])
    assert done.out == "--- agent ---\n1:two\n--- agent ---\n2:twofold\n"
    done = follow("output", "api", "--grep", "fifth", steps=[said(state, "s-g2", SECOND + three + four, line("assistant", "the fifth"))])
    assert done.out == "\n1:the fifth\n"


@pytest.mark.parametrize("command", ["logs", "output"])
def test_the_last_of_a_conversation_and_the_next_one_are_both_told(follow: Between, state: Path, command: str) -> None:
    """Between two looks something is said, the next conversation begins, and something is said there."""
    last, next_ = line("assistant", "the last of two"), line("user", "begin") + line("assistant", "the first of three")

    def meanwhile() -> None:
        said(state, "s-g2", SECOND, last)()
        recorded(state, "Lieutenant", in_session("s-g3", "s-g1", "s-g2"))()
        said(state, "s-g3", b"", next_)()

    done = follow(command, "api", steps=[meanwhile, said(state, "s-g3", next_, line("assistant", "more"))])
    told = [one for one in done.out.splitlines() if one and not one.startswith("--- ")]
    whole = ["anew", "one", "two", "the last of two", "begin", "the first of three", "more"]
    assert told == [one for one in whole if command == "logs" or one not in ("anew", "one", "begin")]


@pytest.mark.parametrize("command", ["logs", "output"])
def test_a_conversation_that_begins_with_what_another_had_tells_only_what_is_new(follow: Between, state: Path, command: str) -> None:
    kept = line("user", "anew") + line("assistant", "one")

    def rewound() -> None:
        recorded(state, "Lieutenant", in_session("s-g2-1", "s-g1", "s-g2"))()
        said(state, "s-g2-1", b"", kept)()

    done = follow(command, "api", steps=[rewound, said(state, "s-g2-1", kept, line("assistant", "another two"))])
    told = [one for one in done.out.splitlines() if one and not one.startswith("--- ")]
    assert told == [*(["anew", "one"] if command == "logs" else []), "two", "another two"]


def test_on_another_machine_the_conversation_goes_on(follow: Between, state: Path) -> None:
    moved = recorded(state, "Lieutenant", in_session("s-g2", "s-g1").but(slot=LieutenantRecord().slot.but(vm_id="vm-2")), phase="Replacing")
    done = follow("logs", "api", steps=[moved, said(state, "s-g2", SECOND, line("assistant", "three"))])
    assert done.out == f"{SO_FAR}--- agent ---\nthree\n"


@pytest.mark.parametrize(("command", "prompt"), [("logs", "--- user ---\n[n] count\n--- agent ---\n"), ("output", "\n")])
def test_of_a_task_is_told_what_belongs_to_it(run: Run, follow: Between, state: Path, command: str, prompt: str) -> None:
    """It waits, its prompt lands, it is answered, and the next prompt is another's."""
    task = LT.split("---\n")[1].replace("name: old", "name: new")
    assert run("apply", "-f", "-", stdin=task).code == 0
    mine, other = line("user", "[n] count"), line("user", "[o] other") + line("assistant", "of the other")
    answer = line("assistant", "1 2 3")
    landed = recorded(state, "Task", TaskRecord(phase="Running", session="s-g2", landed=len(SECOND)))
    ended = recorded(state, "Task", TaskRecord(phase="Succeeded", session="s-g2", landed=len(SECOND), span_end=len(SECOND + mine + answer)))
    steps = [
        said(state, "s-g2", SECOND, mine),
        landed,
        said(state, "s-g2", SECOND + mine, answer),
        ended,
        said(state, "s-g2", SECOND + mine + answer, other),
    ]
    assert follow(command, "api", "--task", "new", steps=steps).out == f"{prompt}1 2 3\n"


@pytest.mark.parametrize("command", ["logs", "output"])
def test_what_is_gone_ends_it_after_its_last_words(follow: Between, state: Path, command: str) -> None:
    def end() -> None:
        said(state, "s-g2", SECOND, line("assistant", "farewell"))()
        removed(state, "Lieutenant", "api")()

    done = follow(command, "api", steps=[end])
    assert (done.code, done.err) == (0, "lieutenant/api is gone\n")
    assert done.out.endswith("\nfarewell\n")


def test_a_task_that_is_gone_ends_it(follow: Between, state: Path) -> None:
    done = follow("logs", "task/old", steps=[removed(state, "Task", "old")])
    assert (done.code, done.err) == (0, "task/old is gone\n")


def test_of_several_the_others_go_on(run: Run, follow: Between, state: Path) -> None:
    second = LT.split("---\n")[0].replace("{name: api}", "{name: web, labels: {team: data}}")
    assert run("apply", "-f", "-", stdin=second).code == 0
    assert run("apply", "-f", "-", stdin=LT.replace("{name: api}\nspec", "{name: api, labels: {team: data}}\nspec")).code == 0

    def found(obj: StoredObject) -> StoredObject:
        return replace(obj, record=in_session("w-g1").dump()) if obj.key.name == "web" else obj

    change(state, found)
    steps = [removed(state, "Lieutenant", "api"), said(state, "w-g1", b"", line("assistant", "still here"))]
    done = follow("logs", "-l", "team=data", steps=[*steps, removed(state, "Lieutenant", "web")])
    assert (done.code, done.err) == (0, "lieutenant/api is gone\nlieutenant/web is gone\n")
    assert done.out.endswith("--- lieutenant/web ---\n--- agent ---\nstill here\n")


def test_ctrl_c_ends_logs_with_130(state: Path, tmp_path: Path) -> None:
    program = Program(tmp_path, {}, warm=True)
    with Controller(program, ("logs", "api", "-f"), tmp_path / "logs.log") as following:
        following.says("two")
        said(program.state, "s-g2", SECOND, line("assistant", "three"))()
        following.says("three")
        following.process.send_signal(signal.SIGINT)
        assert following.process.wait(30) == 130
        assert following.said == f"{SO_FAR}--- agent ---\nthree\n"
