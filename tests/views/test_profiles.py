"""What a profile comes to with all that it extends, and where each part of it comes from."""

from __future__ import annotations

import pytest

from reconciler.core.keys import Json
from reconciler.views.documents import Table
from reconciler.views.profiles import chain, resolved, with_chains
from tests.cli.conftest import Run, run

__all__ = ["run"]  # a fixture

SPECS: dict[str, Json] = {
    "base": {
        "source": {"image": "default"},
        "resources": {"vcpus": 1, "memoryMiB": 512},
        "organs": ["store"],
        "env": [{"name": "A", "value": "1"}],
        "steps": [{"name": "one", "run": "true"}],
    },
    "mine": {
        "extends": {"name": "base"},
        "resources": {"vcpus": 4},
        "organs": ["cron"],
        "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}],
        "agent": {"model": {"provider": "p", "id": "m"}, "command": ["pi", "-x"]},
    },
    "lost": {"extends": {"name": "gone"}},
    "round": {"extends": {"name": "about"}},
    "about": {"extends": {"name": "round"}},
}


def test_each_part_says_which_profile_it_comes_from() -> None:
    found = resolved("mine", SPECS, {"base": "this release", "mine": "a.yaml:1"})
    assert isinstance(found, Table)
    base, mine = "base (this release)", "mine (a.yaml:1)"
    assert set(found.rows) == {
        ("source", "image default", base),
        ("resources.vcpus", "4", mine),
        ("resources.memoryMiB", "512", base),
        ("organs", "store", base),
        ("organs", "cron", mine),
        ("env", "A, B", mine),
        ("steps", "one", base),
        ("agent.command", "pi -x", mine),
        ("agent.model", "p/m", mine),
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [("lost", "does not resolve: lost → gone (missing)"), ("round", "does not resolve: round → about → round (extends itself)")],
)
def test_what_does_not_resolve_says_why(name: str, said: str) -> None:
    assert resolved(name, SPECS, {}) == said


def test_a_table_names_everything_that_is_extended() -> None:
    assert chain("mine", SPECS).extended == "base"
    doc: Json = {"kind": "BootProfile", "metadata": {"name": "lost"}, "spec": SPECS["lost"]}
    (shown,) = with_chains([doc], SPECS)
    assert shown["spec"] == {"extends": {"name": "gone (missing)"}}
    assert doc["spec"] == {"extends": {"name": "gone"}}, "the document itself stays as it is"


TWO = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: one}
spec: {extends: {name: lightweight}, organs: [cron]}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: two}
spec: {extends: {name: one}}
"""


def test_get_and_describe_show_what_a_profile_comes_to(run: Run) -> None:
    assert run("apply", "-f", "-", stdin=TWO).code == 0
    rows = {line.split()[0]: line for line in run("get", "bp").out.splitlines()}
    assert "one → lightweight" in rows["two"]
    assert {"full", "swarm", "lightweight", "infra"} <= rows.keys()
    assert run("get", "bp", "two", "-o", "json").json["spec"] == {"extends": {"name": "one"}}
    shown = run("describe", "bp", "two").out.partition("Comes to:")[2]
    assert "one (api)" in shown
    assert "lightweight (this release)" in shown
