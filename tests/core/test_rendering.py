"""Rendering: pure, complete, and secrets stay references."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.parsing import load_spec
from reconciler.core.profile.rendering import profile_chain, render
from reconciler.core.snapshot.machine import CommitSource, RefSource, RootSource
from reconciler.core.snapshot.rendered import Rendered, SecretRef, Unresolved
from tests.core.views import lieutenant_spec, profile

SECRET = {"secretKeyRef": {"name": "llm", "key": "token"}}


def made(spec: LieutenantSpec | None = None, profiles: dict[str, BootProfileSpec] | None = None, default_model: str = "") -> Rendered:
    result = render("api", spec or lieutenant_spec(), (profiles or {"p": profile()}).get, default_model)
    assert isinstance(result, Rendered)
    return result


def bare(**changes: object) -> BootProfileSpec:
    spec = load_spec("BootProfile", changes)  # type: ignore[arg-type]
    assert isinstance(spec, BootProfileSpec)
    return spec


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(str.strip)
specs = st.builds(
    lambda role, context, env, model: lieutenant_spec(
        role=role,
        instructions={"context": context},
        env=[{"name": f"V{n}", "value": value} for n, value in enumerate(env)],
        **({"model": {"provider": "anthropic", "id": model}} if model else {}),
    ),
    texts,
    texts,
    st.lists(texts, max_size=3),
    st.sampled_from(["", "m1", "m2"]),
)


@pytest.mark.guarantee("G-47")
@given(specs)
def test_the_same_spec_gives_the_same_bytes_and_its_inputs_stay_as_they_are(spec: LieutenantSpec) -> None:
    profiles = {"p": profile()}
    before, profile_before = spec.model_dump_json(), profiles["p"].model_dump_json()
    one, two = made(spec, profiles), made(copy.deepcopy(spec), {"p": profile()})
    assert one == two
    assert (spec.model_dump_json(), profiles["p"].model_dump_json()) == (before, profile_before)


@pytest.mark.guarantee("G-47")
def test_another_process_comes_to_the_same_hashes() -> None:
    script = "from tests.core.views import RENDERED as r\nprint(r.profile_hash, r.files_hash, r.agent_hash, r.launch_hash)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    here = made()
    assert told.stdout.split() == [here.profile_hash, here.files_hash, here.agent_hash, here.launch_hash]


CHANGES: dict[str, tuple[dict[str, object], dict[str, object], set[str]]] = {
    "a file of the profile": ({}, {"files": [{"path": "notes.txt", "content": "other"}]}, {"files", "profile"}),
    "a step": ({}, {"steps": [{"name": "tools", "run": "false"}]}, {"profile"}),
    "a check": ({}, {"verify": [{"name": "works", "command": ["false"]}]}, {"profile"}),
    "the source": ({}, {"source": {"image": "other"}}, {"profile"}),
    "the size": ({"resources": {"vcpus": 4}}, {}, {"profile"}),
    "the work dir": ({}, {"agent": {"workDir": "/srv"}}, {"profile"}),
    "the role": ({"role": "Sing"}, {}, {"agent", "launch"}),
    "the directive": ({"instructions": {"directive": "never push"}}, {}, {"agent", "launch"}),
    "the environment": ({"env": [{"name": "A", "value": "1"}]}, {}, {"launch"}),
    "a secret's name": ({"env": [{"name": "A", "valueFrom": SECRET}]}, {}, {"launch"}),
    "the model, which is set while it runs": ({"model": {"provider": "x", "id": "y", "thinking": "high"}}, {}, set()),
}


@pytest.mark.guarantee("G-47")
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_moves_the_hashes_of_what_it_reaches_and_no_other(name: str) -> None:
    spec, of_profile, moved = CHANGES[name]
    before, after = made(), made(lieutenant_spec(**spec), {"p": profile(**of_profile)})
    hashes = ("profile", "files", "agent", "launch")
    assert {h for h in hashes if getattr(before, f"{h}_hash") != getattr(after, f"{h}_hash")} == moved


def test_what_a_profile_extends_comes_first_and_named_things_are_replaced_in_place() -> None:
    base = profile(env=[{"name": "A", "value": "base"}, {"name": "B", "value": "base"}])
    child = bare(
        extends={"name": "p"}, steps=[{"name": "tools", "run": "new"}, {"name": "more", "run": "x"}], env=[{"name": "A", "value": "child"}]
    )
    found = made(lieutenant_spec(profileRef={"name": "child"}, env=[{"name": "B", "value": "own"}]), {"p": base, "child": child})
    assert [(s.name, s.run) for s in found.steps] == [("tools", "new"), ("more", "x")]
    assert found.env == {"A": "child", "B": "own"}
    assert [f.path for f in found.files] == ["notes.txt"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"image": "default"}, RootSource("default")),
        ({"commitId": "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"}, CommitSource("5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11")),
        ({"ref": "team/base:v1"}, RefSource("team/base:v1")),
    ],
)
def test_each_source(source: dict[str, str], expected: object) -> None:
    assert made(profiles={"p": profile(source=source)}).source == expected


def test_a_missing_profile_is_waited_for_and_a_circle_is_final() -> None:
    missing = render("api", lieutenant_spec(), lambda name: None)
    assert missing == Unresolved("ProfileNotFound", "BootProfile p does not exist; declare it or name another one")
    circle = {"p": bare(extends={"name": "q"}), "q": bare(extends={"name": "p"})}
    found = profile_chain("p", circle.get)
    assert isinstance(found, Unresolved)
    assert found.final
    assert "p → q → p" in found.message


def test_the_lieutenants_model_beats_the_profiles_beats_the_default() -> None:
    of_profile = {"p": profile(agent={"model": {"provider": "a", "id": "b"}})}
    assert made(default_model="d/e").model == "d/e"
    assert made(profiles=of_profile, default_model="d/e").model == "a/b"
    assert made(lieutenant_spec(model={"provider": "x", "id": "y"}), of_profile, "d/e").model == "x/y"


@pytest.mark.guarantee("G-60")
def test_secrets_stay_references_in_everything_rendered() -> None:
    provider = {"name": "mine", "baseUrl": "http://localhost:1", "apiKeyFrom": SECRET}
    profiles = {"p": profile(agent={"providers": [provider]}, files=[{"path": "key", "valueFrom": SECRET, "mode": "0600"}])}
    found = made(lieutenant_spec(env=[{"name": "TOKEN", "valueFrom": SECRET}]), profiles)
    ref = SecretRef("llm", "token")
    assert found.secrets() == {ref}
    assert found.secret_env == {"TOKEN": ref, "RECONCILER_PROVIDER_MINE_KEY": ref}
    assert "TOKEN" not in found.env
    models = json.loads(next(f.content for f in found.agent_files if f.path.endswith("models.json")))
    assert models["providers"]["mine"]["apiKey"] == "$RECONCILER_PROVIDER_MINE_KEY"


@pytest.mark.guarantee("G-27")
def test_the_model_that_finds_facts_is_known_to_pi_and_reached_from_its_boundary() -> None:
    agent = {
        "model": {"provider": "acme", "id": "large"},
        "providers": [
            {"name": "acme", "baseUrl": "https://acme.example/v1", "api": "openai-completions"},
            {"name": "cheap", "baseUrl": "https://cheap.example/v1", "api": "openai-completions"},
        ],
    }
    memory = {"scopes": ["Agent"], "factsModel": {"provider": "cheap", "id": "small"}}
    profiles = {"p": profile(agent=agent, sandbox={"network": {}})}

    def rendered(**more: object) -> Rendered:
        return made(lieutenant_spec(memory={**memory, **more}), profiles)

    found = rendered(extractFacts=True)
    models = json.loads(next(f.content for f in found.agent_files if f.path.endswith("models.json")))["providers"]
    assert [one["id"] for one in models["cheap"]["models"]] == ["small"]
    assert found.boundary is not None
    assert any("cheap.example" in place for place in found.boundary.network or ())
    without = rendered()
    assert without.boundary is not None
    assert not any("cheap.example" in place for place in without.boundary.network or ())
    assert found.launch_hash != without.launch_hash


def test_role_context_and_directive_are_what_pi_is_told() -> None:
    spec = lieutenant_spec(role="Keep the API", instructions={"context": "Flask", "directive": "Never push"})
    told = made(spec).agent_files[0].content
    assert all(part in told for part in ("Keep the API", "Flask", "Never push"))
