"""`get -w`: every change of every kind is shown once, what is gone is said, and Ctrl-C ends it with 130."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.engine.ports import DropObject, StoredObject
from reconciler.store.sqlstore import open_store
from tests.background import eventually
from tests.cli.conftest import Between, Run, Step
from tests.cli.test_cli_choosing import FLEET
from tests.cli.test_cli_controller import FAST, PROFILE
from tests.cli.test_cli_conversation import change
from tests.cli.test_cli_selector import TREE
from tests.program import Controller, Program
from tests.sources.fleetdir import profile

WHY = {"reason": "BootFailed", "message": "no", "lastTransitionTime": "2026-01-01T00:00:00Z"}
STUCK: Any = [{"type": "Ready", "status": "False", **WHY}, {"type": "Stalled", "status": "True", **WHY}]


def documents(text: str) -> Iterator[Any]:
    """JSON documents, one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        found, at = decoder.raw_decode(text, at)
        yield found
        at += len(text[at:]) - len(text[at:].lstrip())


@pytest.fixture
def watching(run: Run, between_looks: Between) -> Between:
    """`get -w` over a fleet, with one step between two of its looks, and Ctrl-C after the last."""
    assert run("apply", "-f", "-", stdin="---\n".join([FLEET, TREE.removeprefix("---\n"), profile("p")])).code == 0

    return lambda *words, steps: between_looks("get", *words, "-w", steps=steps)


def touched(state: Path, kind: str, names: tuple[str, ...], what: str) -> Step:
    """Its status changes, as a controller changes it."""

    def changed(obj: StoredObject) -> StoredObject:
        mine = obj.key.kind == kind and obj.key.name in names
        return replace(obj, status={**obj.status, "phase": what, "conditions": STUCK}) if mine else obj

    return lambda: change(state, changed)


def removed(state: Path, kind: str, name: str) -> Step:
    def step() -> None:
        async def drop() -> None:
            store = open_store(state / "state.db", inline=True)
            try:
                await store.write([DropObject(obj.key, obj.uid) for obj in await store.objects(kind) if obj.key.name == name])
            finally:
                await store.aclose()

        asyncio.run(drop())

    return step


KINDS = {"lt": ("Lieutenant", ("a", "b")), "task": ("Task", ("one", "two")), "vmt": ("VMTree", ("prod",)), "bp": ("BootProfile", ("p",))}


@pytest.mark.parametrize("word", [*KINDS, "all"])
@pytest.mark.parametrize("form", ["json", "yaml", "table", "name"])
def test_a_change_shows_once_and_a_deletion_is_said(watching: Callable[..., Any], tmp_path: Path, word: str, form: str) -> None:
    kind, names = KINDS.get(word, KINDS["lt"])
    state = tmp_path / "state"
    steps = [touched(state, kind, names, "Failed"), lambda: None, removed(state, kind, names[0])]
    done = watching(word, "-o", form, steps=steps)
    assert done.code == 130
    assert done.err.splitlines()[-1] == f"{kind.lower()}/{names[0]} is gone"
    if form == "json":
        first, *changes = documents(done.out)
        assert first["kind"] == "List"
        assert [(one["kind"], one["metadata"]["name"], one["status"]["phase"]) for one in changes] == [
            (kind, name, "Failed") for name in names
        ]
    elif form == "yaml":
        first, *changes = YAML(typ="safe").load_all(done.out)
        assert first["kind"] == "List"
        assert [one["metadata"]["name"] for one in changes] == list(names)
    elif form == "name":
        assert done.out.splitlines()[-len(names) :] == [f"{kind.lower()}/{name}" for name in names]
    else:
        assert all(done.out.count(f"{name} ") >= 2 for name in names), done.out
        assert "BootFailed" in done.out


def test_what_needs_a_person_is_watched_until_it_is_over(watching: Callable[..., Any], tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = watching("attention", "-o", "json", steps=[touched(state, "Lieutenant", ("a",), "Failed"), removed(state, "Lieutenant", "a")])
    assert done.code == 130
    first, change_ = documents(done.out)
    assert first["items"] == []
    assert (change_["metadata"]["name"], change_["status"]["reason"]) == ("lieutenant/a", "BootFailed")
    assert done.err.splitlines()[-1] == "attention/lieutenant/a is gone"


def test_of_chosen_objects_no_other_is_shown(watching: Callable[..., Any], tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = watching("lt", "-l", "team=data", "-o", "name", steps=[touched(state, "Lieutenant", ("a", "c"), "Failed")])
    assert done.out.splitlines() == ["lieutenant/c"] * 2
    done = watching("lt", "b", "-o", "name", steps=[touched(state, "Lieutenant", ("a", "b"), "Ready"), removed(state, "Lieutenant", "a")])
    assert done.out.splitlines() == ["lieutenant/b"] * 2
    assert "is gone" not in done.err


def test_beside_a_running_controller_until_ctrl_c(tmp_path: Path) -> None:
    program = Program(tmp_path, dict(FAST), warm=True)
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "a.yaml").write_text(PROFILE % ("a", "1"))
    with program.controller("specs") as controller:
        program.comes("bp/a", "--for", "Ready")
        with Controller(program, ("get", "bp", "-w", "-o", "json"), tmp_path / "watch.log") as watch:
            watch.says('"name": "a"')
            (specs / "a.yaml").write_text(PROFILE % ("a", "2"))
            eventually(lambda: any(value_of(one) == "2" for one in list(documents(watch.said))[1:]), "the change")
            program("delete", "bp", "a", code=4)
            (specs / "a.yaml").unlink()
            eventually(lambda: program.full("delete", "bp", "a").returncode == 0, "no file declares it any more")
            watch.says("bootprofile/a is gone")
            watch.process.send_signal(signal.SIGINT)
            assert watch.process.wait(30) == 130
        assert controller.stop() == 0


def value_of(document: Any) -> str:
    return str(document["spec"]["env"][0]["value"])
