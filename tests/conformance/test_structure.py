"""The structure of the code, by commands: no kind has a name outside its plug-in, files stay short, an act is defined in one place and
how a wait is treated in one other. Who may import whom is checked by import-linter (`make layers`); what it must check, here."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given

from reconciler.api.catalogue import REASONS as CATALOGUE
from reconciler.api.governreasons import GovernReason
from reconciler.api.reasons import Reason
from reconciler.api.registry import KINDS
from reconciler.api.sourcereasons import SourceReason
from reconciler.api.treereasons import TreeReason
from reconciler.api.waits import Explained
from reconciler.core.chain import Chain
from reconciler.core.conditions import undeclared, unreadable
from reconciler.core.decisions import Act, Action
from reconciler.core.lieutenant import policies, reach
from reconciler.core.lieutenant.policies import STAGES
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.stages import Part
from tests.core.views import lieutenants

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "reconciler"
LONGEST = 400
KIND_NAMES = frozenset(kind.name for kind in KINDS)
EVERY = tuple(CATALOGUE.values())
REASONS = frozenset(str(reason) for reason in EVERY)
ENUMS = {"Reason": Reason, "TreeReason": TreeReason, "SourceReason": SourceReason, "GovernReason": GovernReason}
PHASES = frozenset({"Pending", "Delivering", "Running", "Verifying", "Succeeded", "Failed", "TimedOut", "Expired", "Cancelled"})
"""Phases of a task; some are spelt like a reason."""

Finder = Callable[[ast.AST], Iterator[tuple[int, str]]]


def acts_of(base: type[Act]) -> Iterator[type[Act]]:
    """Every act of the product (other tests bring acts of their own), each as its module has it: a class with slots is made twice."""
    for act in base.__subclasses__():
        if act.__module__.startswith("reconciler.") and getattr(sys.modules[act.__module__], act.__name__) is act:
            yield act
        yield from acts_of(act)


ACTS = tuple(acts_of(Act))
ACT_NAMES = frozenset(act.__name__ for act in ACTS)


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms or ("",) for path in (PACKAGE / room).rglob("*.py"))


def found_in(paths: list[Path], *finders: Finder) -> list[str]:
    assert paths
    trees = ((path.relative_to(ROOT), ast.parse(path.read_text("utf-8"), str(path))) for path in paths)
    return [f"{path}:{line}: {what}" for path, tree in trees for finder in finders for line, what in finder(tree)]


# --- kinds --------------------------------------------------------------------------------------------------------------------


def kind_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """String constants that are the name of a kind; without one there is nothing to compare a kind with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in KIND_NAMES:
            yield node.lineno, node.value


def kind_comparisons(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Comparisons of a kind with a constant, whether spelt here or imported (`key.kind == NAME`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            texts = [ast.unparse(side) for side in sides]
            of_an_object = any(text.endswith(("key.kind", "object.kind")) for text in texts)
            if of_an_object and any(text.rpartition(".")[2].strip("(){}[]").isupper() for text in texts):
                yield node.lineno, ast.unparse(node)


PLUG_INS = PACKAGE / "engine" / "kinds"
UNNAMED = [path for path in sources("engine", "core") if PLUG_INS not in path.parents and path.relative_to(PACKAGE) != Path("core/keys.py")]
"""Where no kind may be told from another by its name."""


def test_no_kind_is_named_in_the_engine_outside_its_plug_in() -> None:
    assert found_in(UNNAMED, kind_names, kind_comparisons) == []


def test_names_of_kinds_are_made_in_the_core_by_keys_alone() -> None:
    made = [what.partition(": ")[2] for what in found_in([PACKAGE / "core" / "keys.py"], kind_names)]
    assert [name for name, times in Counter(made).items() if times > 1] == []


# --- files --------------------------------------------------------------------------------------------------------------------


def test_no_file_is_longer_than_it_may_be() -> None:
    files = [path for suffix in ("*.py", "*.mjs", "*.js", "*.sh", "*.css", "*.html") for path in PACKAGE.rglob(suffix)]
    files = [path for path in files if path.parent.name != "vendor"]  # what others wrote
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in files}
    assert len(lengths) > 200
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


# --- stages -------------------------------------------------------------------------------------------------------------------


def read_by(policy: Callable[..., object]) -> Any:
    """The type that a policy says it looks at."""
    return get_type_hints(policy)[next(iter(signature(policy).parameters))]


def declared_over(*modules: ModuleType) -> dict[int, type[Part]]:
    """The chains of these modules by identity, and the type that each is declared over."""
    hints = [(vars(module)[name], hint) for module in modules for name, hint in get_type_hints(module).items()]
    return {id(chain): get_args(hint)[0] for chain, hint in hints if get_origin(hint) is Chain}


OVER = declared_over(policies, reach)
STAGES_OF_A_LIEUTENANT: tuple[Chain[Any], ...] = tuple(one for one in STAGES if isinstance(one, Chain))
each_stage = pytest.mark.parametrize("stage", STAGES_OF_A_LIEUTENANT, ids=lambda stage: stage.title.partition(":")[0])


def test_each_stage_of_a_lieutenant_is_a_chain_over_a_type_of_its_own() -> None:
    parts = [OVER[id(stage)] for stage in STAGES_OF_A_LIEUTENANT]
    assert len(parts) == len(list(STAGES)) == len(set(parts)) > 1
    assert tuple(parts) == LieutenantView.__bases__
    assert {one.name for one in fields(LieutenantView)} == {one.name for part in parts for one in fields(part)}


@each_stage
def test_a_policy_of_a_stage_reads_nothing_but_its_part(stage: Chain[Any]) -> None:
    part = OVER[id(stage)]
    assert {policy.__name__: read_by(policy) for policy in stage.leaves() if not issubclass(part, read_by(policy))} == {}


@each_stage
@given(view=lieutenants())
def test_a_stage_decides_about_its_part_as_about_the_whole(stage: Chain[Any], view: LieutenantView) -> None:
    part = OVER[id(stage)]
    alone = part(**{one.name: getattr(view, one.name) for one in fields(part)})
    assert stage.evaluate(alone) == stage.evaluate(view)


# --- acts and waits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_an_act_knows_everything_about_itself(act: type[Act]) -> None:
    assert act.__module__.startswith("reconciler.core.decisions."), "acts are defined in core/decisions"
    assert isinstance(vars(act).get("doing"), Explained), "its reason is its own, not inherited"
    assert act.__doc__, "its sentence is the meaning of its verb"
    assert not act.__doc__.startswith(f"{act.__name__}("), "that is what a dataclass says without one"


def test_every_act_has_one_name_and_one_place() -> None:
    assert [name for name, times in Counter(act.__name__ for act in ACTS).items() if times > 1] == []
    assert set(get_args(Action)) == set(ACTS)


LISTS = (ast.Set, ast.List, ast.Tuple)


def elements(node: ast.AST) -> list[ast.expr]:
    """What a table lists: the keys of a dict, the elements of a set, list or tuple."""
    if isinstance(node, ast.Dict):
        return [key for key in node.keys if key is not None]
    return list(node.elts) if isinstance(node, LISTS) else []


def tables_of_acts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Tables that list acts, by class or by name."""
    for node in ast.walk(tree):
        listed = [name_of(one) for one in elements(node)]
        acts = [name for name in listed if name in ACT_NAMES]
        if len(acts) > 1 and not set(listed) <= REASONS | PHASES:
            yield getattr(node, "lineno", 0), ", ".join(acts)


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return str(node.value) if isinstance(node, ast.Constant) else ""


def test_nobody_else_keeps_a_table_of_acts() -> None:
    decisions = PACKAGE / "core" / "decisions"
    others = [path for path in sources("core", "engine", "cli", "serve", "sources") if decisions not in path.parents]
    assert found_in(others, tables_of_acts) == []


def tables_of_reasons(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Sets and dicts anywhere, and tables of a module or class, that list nothing but reasons."""
    for node in ast.walk(tree):
        listed = [reason_in(one) for one in elements(node)]
        if len(listed) > 1 and all(listed) and not set(listed) <= PHASES and (isinstance(node, ast.Set | ast.Dict) or held(node, tree)):
            yield getattr(node, "lineno", 0), ", ".join(listed)


def held(node: ast.AST, tree: ast.AST) -> bool:
    """Whether it is in what a module or a class assigns to a name."""
    return any(
        inner is node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.Module | ast.ClassDef)
        for statement in outer.body
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
        for inner in ast.walk(statement.value)
    )


def reason_in(node: ast.expr) -> str:
    """The reason that an element is, '' for anything else."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        found = ENUMS.get(node.value.id)
        return str(found[node.attr]) if found is not None and node.attr in found.__members__ else ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in REASONS else ""


def test_nobody_keeps_a_table_of_reasons_beside_the_catalogue() -> None:
    assert found_in([path for path in sources() if path != PACKAGE / "api" / "reasons.py"], tables_of_reasons) == []


def test_how_a_wait_is_treated_follows_from_its_reason_alone() -> None:
    assert {reason for reason in EVERY if unreadable(reason)} == {reason for reason in EVERY if reason.waiting.unreadable} != set()
    assert {reason for reason in EVERY if undeclared(reason)} == {reason for reason in EVERY if reason.waiting.undeclared} != set()
    assert all(reason.waiting.rests for reason in EVERY if reason.waiting.undeclared), "what is not declared may never be"
    assert not unreadable("OfAnotherRelease")
    assert not undeclared("OfAnotherRelease")


# --- the finders find ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finder", "text"),
    [
        (kind_names, 'items = table.of_kind("Lieutenant")'),
        (kind_names, 'match key.kind:\n    case "Task":\n        pass'),
        (kind_comparisons, "if key.kind == NAME:\n    pass"),
        (kind_comparisons, "if item.key.kind in (a, keys.TASK) or slot.object.kind != NAME:\n    pass"),
        (tables_of_acts, "DOING = {Create: 1, Delete: 2}"),
        (tables_of_acts, "FACTS = frozenset({Landed, Progress})"),
        (tables_of_acts, 'VERBS = ("Create", "Delete")'),
        (tables_of_reasons, 'RESTING = frozenset({"Queued", "NotBefore"})'),
        (tables_of_reasons, "POLL = {Reason.BOOTING: 0.5, Reason.DELETING: 1.0}"),
        (tables_of_reasons, "class A:\n    UNREADABLE = (Reason.VM_UNKNOWN, Reason.VM_MISSING)"),
        (tables_of_reasons, "HELD = (TreeReason.CAPACITY, TreeReason.HALTED)"),
    ],
)
def test_a_planted_fault_is_found(finder: Finder, text: str) -> None:
    assert list(finder(ast.parse(text))) != []


@pytest.mark.parametrize(
    ("finder", "text"),
    [
        (kind_names, '"""A Lieutenant and its Task."""'),
        (kind_comparisons, "found = [item for key, item in items if key.kind == kind]"),
        (tables_of_acts, "if isinstance(action, Create | Delete):\n    pass"),
        (tables_of_reasons, 'ACTIVE = frozenset({"Delivering", "Running", "Verifying"})'),
    ],
)
def test_what_is_no_fault_is_not_found(finder: Finder, text: str) -> None:
    assert list(finder(ast.parse(text))) == []


# --- who may import whom ------------------------------------------------------------------------------------------------------


def contracts() -> list[dict[str, Any]]:
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"])


def of_type(kind: str, **wanted: list[str]) -> list[dict[str, Any]]:
    """The contracts of this type that speak at least of these modules."""
    found = (one for one in contracts() if one["type"] == kind)
    return [one for one in found if all(set(modules) <= set(one.get(of, [])) for of, modules in wanted.items())]


def test_import_linter_checks_the_rooms() -> None:
    rooms = ["reconciler.api", "reconciler.cli", "reconciler.core"]
    assert of_type("acyclic_siblings", ancestors=rooms), "no cycles inside these"
    outside = ["reconciler.serve", "reconciler.sources", "reconciler.cli"]
    concrete = ["reconciler.engine.loop", "reconciler.engine.act", "reconciler.engine.observe"]
    assert of_type("forbidden", source_modules=outside, forbidden_modules=concrete), "nobody outside knows the concrete engine"
    assert of_type("forbidden", source_modules=["reconciler.core"], forbidden_modules=["asyncio", "socket", "time", "random", "os"])
    assert of_type("independence", modules=["reconciler.sources.files", "reconciler.sources.kube"])
    assert of_type("layers", layers=["reconciler.engine", "reconciler.core", "reconciler.api"])


def test_no_contract_has_an_exception() -> None:
    assert [one["name"] for one in contracts() if one.get("ignore_imports") or one.get("skip_descendants")] == []
