"""Every field that this release acts on is shown by a story, and the story fails when the field is ignored (G-44)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.docs import fields
from reconciler.api.meta import Json, Model
from reconciler.api.parsing import load_spec
from reconciler.api.registry import KINDS
from reconciler.api.support import SUPPORT, Support
from reconciler.engine.state import items
from tests.engine.field_scenarios import STORIES, Play, name_of
from tests.faults.harness import Run

VACUOUS = {
    "Lieutenant.instructions.inherit": "a lieutenant of its own has nobody to inherit from; a node's has its own story",
    "VMTree.policy.order": "it has one value",
}
"""Fields that change nothing, as declared, in what this release acts on."""


def acted_on() -> list[str]:
    """`Kind.path` of every leaf that is acted on."""
    found: list[str] = []
    for kind in KINDS:
        if SUPPORT[kind.name].get("", Support.ACTED_ON) is not Support.ACTED_ON:
            continue
        known = {field.path: field for field in fields(kind)}
        for path, field in known.items():
            inner = any(other.startswith((f"{path}.", f"{path.removesuffix('[]')}[].")) for other in known)
            if not inner and field.support is Support.ACTED_ON:
                found.append(f"{kind.name}.{path.removeprefix('spec.')}")
    return found


def ignoring(model: Model, path: Sequence[str]) -> Model:
    """As if the field had been left out; where it is required, as if it always said the same."""
    head, *rest = path
    name = type(model).aliases()[head.removesuffix("[]")]
    value: Any = getattr(model, name)
    if rest:
        value = tuple(ignoring(one, rest) for one in value) if isinstance(value, tuple) else value and ignoring(value, rest)
        return model.model_copy(update={name: value})
    info = type(model).model_fields[name]
    if info.is_required():
        return model.model_copy(update={name: ("ignored",) if isinstance(value, tuple) else "ignored"})
    copy = model.model_copy(update={name: info.get_default(call_default_factory=True)})
    copy.model_fields_set.discard(name)
    return copy


def blind(patch: pytest.MonkeyPatch, path: str) -> None:
    """The engine reads every declaration without this field."""
    kind, *steps = path.split(".")

    def load(name: str, spec: Json, *, tolerant: bool = False) -> Model:
        model = load_spec(name, spec, tolerant=tolerant)
        return ignoring(model, steps) if name == kind else model

    patch.setattr(items, "load_spec", load)


def test_every_field_that_is_acted_on_has_its_story() -> None:
    wanted = set(acted_on())
    assert wanted - set(STORIES) - set(VACUOUS) == set(), "give each a story in tests/engine/field_scenarios.py"
    assert set(STORIES) - wanted == set(), "stories of fields that do not exist, or are not acted on"
    assert len(wanted) > 100


def test_what_is_vacuous_is_acted_on() -> None:
    assert set(VACUOUS) <= set(acted_on())


PATIENCE = 700.0
"""Virtual seconds until a story counts as stuck."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Run.__init__

    def init(self: Run, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        self.deadline = PATIENCE

    monkeypatch.setattr(Run, "__init__", init)


PLAYS: dict[str, Play] = {name_of(play): play for play in STORIES.values()}


def of_a_test(play: Play) -> Callable[..., object] | None:
    """The test of this suite that the story is; None for one that is told only here."""
    function = play.func if isinstance(play, partial) else play
    return function if getattr(function, "__name__", "").startswith("test_") else None


def test_a_story_that_is_a_test_runs_as_one_with_the_same_values() -> None:
    for name, play in PLAYS.items():
        test = of_a_test(play)
        if test is None or not isinstance(play, partial):
            continue
        given = signature(test).bind_partial(*play.args, **play.keywords).arguments
        tried = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        for mark in tried:
            names = [one.strip() for one in mark.args[0].split(",")] if isinstance(mark.args[0], str) else list(mark.args[0])
            wanted = [given.pop(one) for one in names]
            assert (tuple(wanted) if len(names) > 1 else wanted[0]) in mark.args[1], name
        assert not given, name


# A story that is a test of its own runs as that; played here, it shows that it is stuck for no other reason when its field is ignored.
@pytest.mark.guarantee("G-44")
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (of_a_test(play) is not None)) for name, play in PLAYS.items()]
)
def test_what_is_declared_shows(name: str, tmp_path: Path) -> None:
    PLAYS[name](tmp_path)


@pytest.mark.slow
@pytest.mark.guarantee("G-44")
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", STORIES)
def test_its_story_fails_when_the_field_is_ignored(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blind(monkeypatch, path)
    with pytest.raises((AssertionError, LookupError, ValueError, pytest.fail.Exception)):  # the last: it does not raise what it should
        STORIES[path](tmp_path)
