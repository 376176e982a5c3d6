"""What a change of each field of a Lieutenant does to what exists, against the table of the design (G-27, G-30, G-44)."""

from __future__ import annotations

from typing import Literal

import pytest

from reconciler.api.docs import fields
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.meta import Json
from reconciler.api.parsing import load_spec
from reconciler.api.registry import KINDS
from reconciler.api.stock import stock_profiles
from reconciler.api.support import SUPPORT, Support, entry_of
from reconciler.core.profile.rendering import render
from reconciler.core.snapshot.rendered import Rendered
from tests.api.samples import ADOPTING, COPYING, LIEUTENANT, LOCAL

Effect = Literal["immutable", "machine", "restart", "live"]

DESIGN: dict[str, Effect] = {
    "adopt": "immutable",
    "fork": "immutable",
    "placement.type": "immutable",
    "placement.outageFallback": "live",
    "profileRef": "machine",
    "resources": "machine",
    "role": "restart",
    "instructions.context": "restart",
    "instructions.directive": "restart",
    "instructions.files": "restart",
    "instructions.inherit": "live",  # a lieutenant by itself has nothing to inherit
    "env": "restart",
    "permissions": "restart",
    "memory": "restart",
    "compaction": "restart",
    "compaction.reassertDirective": "live",  # it concerns what is said to pi, and not how pi was started
    "model": "live",
    "mode": "live",
    "queue": "live",
    "limits": "live",
    "idle": "live",
    "suspend": "live",
    "budget": "live",
    "health": "live",
    "restart": "live",
    "session": "live",  # another conversation is not another launch
    "update": "live",
    "snapshots": "live",
    "managementPolicy": "live",
    "deletionPolicy": "live",
}
"""immutable: refused. machine: another machine, per `update`. restart: pi on the same session, when settled. live: neither."""

BASE: Json = {"role": "x", "profileRef": {"name": "lightweight"}, "memory": {"scopes": ["Global"]}}
FINDING: Json = {**BASE, "memory": {"scopes": ["Global"], "extractFacts": True, "factsModel": {"provider": "other", "id": "other"}}}
STOCK = {name: profile.spec for name, profile in stock_profiles().items()}


def leaves() -> list[str]:
    """Every field of a Lieutenant, as deep as objects go; what is in a list is one with the list."""
    kind = next(kind for kind in KINDS if kind.name == "Lieutenant")
    paths = {field.path.removeprefix("spec.").partition("[]")[0] for field in fields(kind)}
    return sorted(path for path in paths if not any(other.startswith(f"{path}.") for other in paths))


def design_of(path: str) -> Effect:
    while path not in DESIGN:
        path = path.rpartition(".")[0]
    return DESIGN[path]


def sampled(path: str) -> object:
    """A value for this field that is not its default; models need their sibling fields."""
    others = {"adopt": ADOPTING["adopt"], "fork": COPYING["fork"], "placement": LOCAL["placement"]}
    sample: object = {**LIEUTENANT, **others}
    if path == "placement.outageFallback":
        sample = LIEUTENANT
    for name in path.split("."):
        assert isinstance(sample, dict)
        sample = sample[name]
    return sample * 2 if path == "resources.diskMiB" else sample  # type: ignore[operator]  # the profile has the sample's size


def base_of(path: str) -> Json:
    """Which model finds facts matters only where some are to be found."""
    return FINDING if path.startswith("memory.factsModel.") else BASE


def changed(path: str) -> Json:
    """The base with only this field set."""
    spec: Json = {**base_of(path)}
    *groups, leaf = path.split(".")
    at = spec
    for group in groups:
        at[group] = dict(at[group]) if isinstance(at.get(group), dict) else {}
        inner = at[group]
        assert isinstance(inner, dict)
        at = inner
    at[leaf] = sampled(path)  # type: ignore[assignment]
    if groups == ["model"]:
        at.update({"provider": "anthropic", "id": "some-model"} | ({leaf: at[leaf]}))
    if groups == ["fork", "from"]:
        at.setdefault("name", "other")
    return spec


def made(spec: Json) -> tuple[LieutenantSpec, Rendered]:
    loaded = load_spec("Lieutenant", spec)
    assert isinstance(loaded, LieutenantSpec)
    rendered = render("api", loaded, STOCK.get)
    assert isinstance(rendered, Rendered)
    return loaded, rendered


def effect(before: Json, after: Json) -> Effect:
    """What the change does, as the code decides it."""
    old, first = made(before)
    new, second = made(after)
    if any(True for transition in LieutenantSpec.transitions for _ in transition.check(old, new)):
        return "immutable"
    if (first.source, first.shape, first.profile_hash) != (second.source, second.shape, second.profile_hash):
        return "machine"
    return "restart" if first.launch_hash != second.launch_hash else "live"


@pytest.mark.guarantee("G-27")
@pytest.mark.guarantee("G-30")
@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize("path", leaves())
def test_a_change_does_what_the_design_says(path: str) -> None:
    table = SUPPORT["Lieutenant"]
    entry = entry_of(table, path)
    assert entry is not None
    acted_on = table[entry] is Support.ACTED_ON
    expected = design_of(path)
    told = effect(base_of(path), changed(path))
    assert told == (expected if acted_on or expected == "immutable" else "live")


def test_the_table_names_nothing_that_does_not_exist() -> None:
    assert [path for path in DESIGN if not any(leaf == path or leaf.startswith(f"{path}.") for leaf in leaves())] == []
