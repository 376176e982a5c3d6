"""Every field of a BootProfile changes what is made from it; ignoring one would be noticed here (G-44, G-47)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.docs import fields
from reconciler.api.meta import Json
from reconciler.api.parsing import load_spec
from reconciler.api.registry import KINDS
from reconciler.api.support import ACTED_ON, SUPPORT, entry_of
from reconciler.core.profile.organs import CAPABILITIES, ORGANS
from reconciler.core.profile.rendering import render
from reconciler.core.snapshot.rendered import Rendered
from tests.core.views import lieutenant_spec

SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
PROGRAM = {"exec": {"command": ["mint"], "refreshSeconds": 60}}
HOST_FILE = {"file": {"path": "/run/token"}}
CONFIG = {"configMapKeyRef": {"name": "c", "key": "t"}}
PROVIDER: Json = {"name": "a", "baseUrl": "http://127.0.0.1:1/v1", "api": "openai-completions", "apiKeyFrom": SECRET}  # type: ignore[dict-item]
FULL: Json = {
    "source": {"image": "default"},
    "resources": {"vcpus": 1, "memoryMiB": 1024, "diskMiB": 1024},
    "organs": ["store"],
    "capabilities": ["ssh"],
    "env": [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": SECRET},  # type: ignore[list-item]
        {"name": "C", "valueFrom": PROGRAM},  # type: ignore[list-item]
        {"name": "D", "valueFrom": HOST_FILE},  # type: ignore[list-item]
    ],
    "files": [
        {"path": "a", "content": "x", "mode": "0600"},
        {"path": "b", "valueFrom": SECRET},  # type: ignore[list-item]
        {"path": "c", "contentFrom": CONFIG},  # type: ignore[list-item]
        {"path": "d", "contentFrom": SECRET},  # type: ignore[list-item]
        {"path": "e", "valueFrom": PROGRAM},  # type: ignore[list-item]
        {"path": "f", "valueFrom": HOST_FILE},  # type: ignore[list-item]
    ],
    "steps": [{"name": "s", "run": "x", "timeoutSeconds": 5, "retries": 1}],
    "verify": [{"name": "v", "command": ["x"], "expect": {"exitCode": 0, "stdout": "x"}, "timeoutSeconds": 5}],
    "agent": {
        "command": ["pi"],
        "workDir": "/root/workspace",
        "model": {"provider": "a", "id": "m", "thinking": "low", "fallbacks": [{"provider": "f", "id": "g", "thinking": "low"}]},
        "providers": [PROVIDER],
        "extensions": ["e.mjs"],
        "skills": ["sk"],
        "permissions": {"default": "Deny", "deny": ["bash"], "examples": [{"call": "bash(x)", "expect": "Deny"}]},
    },
    "sandbox": {"fs": {"writable": ["/opt/cache"], "hidden": ["/root/.ssh"]}, "network": {"allow": ["example.com:443"]}},
}


def made(spec: Json, base: Json | None = None) -> Rendered:
    def lookup(name: str) -> BootProfileSpec | None:
        chosen = {"p": spec, "base": base}.get(name)
        found = load_spec("BootProfile", chosen) if chosen is not None else None
        assert found is None or isinstance(found, BootProfileSpec)
        return found

    result = render("api", lieutenant_spec(), lookup)
    assert isinstance(result, Rendered), result
    return result


def with_value(*path: str | int, to: object) -> Json:
    spec = copy.deepcopy(FULL)
    here: object = spec
    for step in path[:-1]:
        here = here[step]  # type: ignore[index]
    here[path[-1]] = to  # type: ignore[index]
    return spec


OTHER_KEY = {"secretKeyRef": {"name": "s", "key": "other"}}
OTHER_SECRET = {"secretKeyRef": {"name": "other", "key": "k"}}
OTHER_PROGRAM = {"exec": {"command": ["other"], "refreshSeconds": 60}}
OTHER_TIME = {"exec": {"command": ["mint"], "refreshSeconds": 61}}
OTHER_FILE = {"file": {"path": "/run/other"}}
# Field → (the profile with it changed, what of the result must differ).
CHANGED: dict[str, tuple[Json, Callable[[Rendered], object]]] = {
    "source.image": (with_value("source", to={"image": "other"}), lambda r: r.source),
    "source.commitId": (with_value("source", to={"commitId": "0d9d3a86-5b43-4c43-8f0f-0b9e7c2b5a10"}), lambda r: r.source),
    "source.ref": (with_value("source", to={"ref": "golden:latest"}), lambda r: r.source),
    "resources.vcpus": (with_value("resources", "vcpus", to=2), lambda r: (r.shape, r.machine_hash)),
    "resources.memoryMiB": (with_value("resources", "memoryMiB", to=2048), lambda r: (r.shape, r.machine_hash)),
    "resources.diskMiB": (with_value("resources", "diskMiB", to=2048), lambda r: (r.shape, r.machine_hash)),
    "organs": (with_value("organs", to=["store", "cron"]), lambda r: (r.organ_checks, r.organs_hash, r.profile_hash)),
    "capabilities": (with_value("capabilities", to=["vers-vm"]), lambda r: (r.organ_checks, r.organs_hash, r.profile_hash)),
    "env[].name": (with_value("env", 0, "name", to="OTHER"), lambda r: (r.env, r.launch_hash)),
    "env[].value": (with_value("env", 0, "value", to="2"), lambda r: (r.env, r.launch_hash)),
    "env[].valueFrom.secretKeyRef.name": (with_value("env", 1, "valueFrom", to=OTHER_SECRET), lambda r: (r.secret_env, r.launch_hash)),
    "env[].valueFrom.secretKeyRef.key": (with_value("env", 1, "valueFrom", to=OTHER_KEY), lambda r: (r.secret_env, r.launch_hash)),
    "env[].valueFrom.exec.command": (with_value("env", 2, "valueFrom", to=OTHER_PROGRAM), lambda r: (r.secret_env, r.launch_hash)),
    "env[].valueFrom.exec.refreshSeconds": (with_value("env", 2, "valueFrom", to=OTHER_TIME), lambda r: r.secret_env),
    "env[].valueFrom.file.path": (with_value("env", 3, "valueFrom", to=OTHER_FILE), lambda r: (r.secret_env, r.launch_hash)),
    "files[].valueFrom.exec.command": (with_value("files", 4, "valueFrom", to=OTHER_PROGRAM), lambda r: (r.files, r.files_hash)),
    "files[].valueFrom.exec.refreshSeconds": (with_value("files", 4, "valueFrom", to=OTHER_TIME), lambda r: (r.files,)),
    "files[].valueFrom.file.path": (with_value("files", 5, "valueFrom", to=OTHER_FILE), lambda r: (r.files, r.files_hash)),
    "files[].path": (with_value("files", 0, "path", to="other"), lambda r: (r.files, r.files_hash)),
    "files[].content": (with_value("files", 0, "content", to="other"), lambda r: (r.files, r.files_hash)),
    "files[].mode": (with_value("files", 0, "mode", to="0644"), lambda r: (r.files, r.files_hash)),
    "files[].valueFrom.secretKeyRef.name": (with_value("files", 1, "valueFrom", to=OTHER_SECRET), lambda r: (r.files, r.files_hash)),
    "files[].valueFrom.secretKeyRef.key": (with_value("files", 1, "valueFrom", to=OTHER_KEY), lambda r: (r.files, r.files_hash)),
    "files[].contentFrom.configMapKeyRef.name": (
        with_value("files", 2, "contentFrom", to={"configMapKeyRef": {"name": "other", "key": "t"}}),
        lambda r: (r.files, r.files_hash),
    ),
    "files[].contentFrom.configMapKeyRef.key": (
        with_value("files", 2, "contentFrom", to={"configMapKeyRef": {"name": "c", "key": "other"}}),
        lambda r: (r.files, r.files_hash),
    ),
    "files[].contentFrom.secretKeyRef.name": (with_value("files", 3, "contentFrom", to=OTHER_SECRET), lambda r: (r.files, r.files_hash)),
    "files[].contentFrom.secretKeyRef.key": (with_value("files", 3, "contentFrom", to=OTHER_KEY), lambda r: (r.files, r.files_hash)),
    "steps[].name": (with_value("steps", 0, "name", to="other"), lambda r: (r.steps, r.profile_hash)),
    "steps[].run": (with_value("steps", 0, "run", to="other"), lambda r: (r.steps, r.profile_hash)),
    "steps[].timeoutSeconds": (with_value("steps", 0, "timeoutSeconds", to=6), lambda r: r.steps),
    "steps[].retries": (with_value("steps", 0, "retries", to=2), lambda r: r.steps),
    "verify[].name": (with_value("verify", 0, "name", to="other"), lambda r: (r.checks, r.profile_hash)),
    "verify[].command": (with_value("verify", 0, "command", to=["other"]), lambda r: (r.checks, r.profile_hash)),
    "verify[].expect.exitCode": (with_value("verify", 0, "expect", "exitCode", to=1), lambda r: (r.checks, r.profile_hash)),
    "verify[].expect.stdout": (with_value("verify", 0, "expect", "stdout", to="y"), lambda r: (r.checks, r.profile_hash)),
    "verify[].timeoutSeconds": (with_value("verify", 0, "timeoutSeconds", to=6), lambda r: r.checks),
    "agent.command": (with_value("agent", "command", to=["npx", "pi"]), lambda r: (r.command, r.launch_hash)),
    "agent.workDir": (with_value("agent", "workDir", to="/srv"), lambda r: (r.work_dir, r.profile_hash, r.skills)),
    "agent.model.provider": (with_value("agent", "model", "provider", to="b"), lambda r: r.model),
    "agent.model.id": (with_value("agent", "model", "id", to="n"), lambda r: r.model),
    "agent.model.thinking": (with_value("agent", "model", "thinking", to="high"), lambda r: r.thinking),
    "agent.model.fallbacks[].provider": (with_value("agent", "model", "fallbacks", 0, "provider", to="b"), lambda r: r.fallbacks),
    "agent.model.fallbacks[].id": (with_value("agent", "model", "fallbacks", 0, "id", to="n"), lambda r: r.fallbacks),
    "agent.model.fallbacks[].thinking": (with_value("agent", "model", "fallbacks", 0, "thinking", to="high"), lambda r: r.fallbacks),
    "agent.providers[].name": (with_value("agent", "providers", 0, "name", to="b"), lambda r: (r.agent_hash, r.launch_hash)),
    "agent.providers[].baseUrl": (
        with_value("agent", "providers", 0, "baseUrl", to="http://127.0.0.1:2"),
        lambda r: (r.agent_hash, r.launch_hash),
    ),
    "agent.providers[].api": (with_value("agent", "providers", 0, "api", to="anthropic-messages"), lambda r: (r.agent_hash, r.launch_hash)),
    "agent.providers[].apiKeyFrom.exec.command": (
        with_value("agent", "providers", 0, "apiKeyFrom", to=OTHER_PROGRAM),
        lambda r: (r.secret_env, r.launch_hash),
    ),
    "agent.providers[].apiKeyFrom.exec.refreshSeconds": (
        with_value("agent", "providers", 0, "apiKeyFrom", to=OTHER_TIME),
        lambda r: r.secret_env,
    ),
    "agent.providers[].apiKeyFrom.file.path": (
        with_value("agent", "providers", 0, "apiKeyFrom", to=OTHER_FILE),
        lambda r: (r.secret_env, r.launch_hash),
    ),
    "agent.providers[].apiKeyFrom.secretKeyRef.name": (
        with_value("agent", "providers", 0, "apiKeyFrom", to=OTHER_SECRET),
        lambda r: (r.secret_env, r.launch_hash),
    ),
    "agent.providers[].apiKeyFrom.secretKeyRef.key": (
        with_value("agent", "providers", 0, "apiKeyFrom", to=OTHER_KEY),
        lambda r: (r.secret_env, r.launch_hash),
    ),
    "agent.extensions": (with_value("agent", "extensions", to=["f.mjs"]), lambda r: (r.argv, r.launch_hash)),
    **{
        f"agent.permissions.{name}": (with_value("agent", "permissions", name, to=to), lambda r: (r.rules, r.launch_hash))
        for name, to in {
            "tools": ["read"],
            "default": "Ask",
            "allow": ["read"],
            "ask": ["read"],
            "deny": ["bash", "read"],
            "askMayBeAllowed": True,
        }.items()
    },
    "agent.permissions.askTimeoutSeconds": (with_value("agent", "permissions", "askTimeoutSeconds", to=5), lambda r: r.ask_seconds),
    "agent.skills": (with_value("agent", "skills", to=["other"]), lambda r: (r.argv, r.launch_hash, r.skills)),
    "sandbox.fs.writable": (with_value("sandbox", "fs", "writable", to=["/opt/other"]), lambda r: (r.boundary, r.launch_hash)),
    "sandbox.fs.hidden": (with_value("sandbox", "fs", "hidden", to=["/root/.other"]), lambda r: (r.boundary, r.launch_hash)),
    "sandbox.network.allow": (with_value("sandbox", "network", "allow", to=["example.com:80"]), lambda r: (r.boundary, r.launch_hash)),
}  # fmt: skip
ELSEWHERE = {
    *("bake.enabled", "bake.keep", "bake.warm", "extends.name"),
    *("agent.permissions.examples[].call", "agent.permissions.examples[].expect"),
}
"""Proven by the test of what a profile extends, and by `test_permissions`, `test_bake` and `test_warm` of `tests/engine`."""


@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize("field", CHANGED)
def test_a_changed_field_changes_what_is_made(field: str) -> None:
    spec, part = CHANGED[field]
    before, after = part(made(FULL)), part(made(spec))
    pairs = (
        zip(before, after, strict=True)
        if isinstance(before, tuple) and isinstance(after, tuple) and "hash" not in field
        else [(before, after)]
    )
    assert all(one != other for one, other in pairs), f"{field} is ignored in a part of it"


@pytest.mark.guarantee("G-44")
def test_no_field_that_is_acted_on_is_left_out() -> None:
    kind = next(kind for kind in KINDS if kind.name == "BootProfile")
    known = {field.path.removeprefix("spec.").removesuffix("[]") for field in fields(kind)}
    leaves = {path for path in known if not any(other.startswith((f"{path}.", f"{path}[")) for other in known)}
    table = SUPPORT["BootProfile"]
    acted = {path for path in leaves if (entry := entry_of(table, path.replace("[]", ""))) is not None and table[entry] is ACTED_ON}
    assert acted - ELSEWHERE == set(CHANGED)


@pytest.mark.guarantee("G-44")
def test_what_is_extended_counts_where_a_profile_says_nothing() -> None:
    child: Json = {"extends": {"name": "base"}, "organs": ["cron"]}
    found = made(child, FULL)
    assert found.source == made(FULL).source
    assert found.organs == ("store", "cron")
    assert found.steps == made(FULL).steps
    assert made(child, with_value("source", to={"image": "other"})).source != found.source


words = st.lists(st.sampled_from([*ORGANS, *CAPABILITIES, "kidney"]), unique=True, max_size=6)


@pytest.mark.guarantee("G-47")
@given(organs=words, capabilities=words, field=st.sampled_from(sorted(CHANGED)))
def test_the_same_profile_gives_the_same_bytes_whatever_is_in_it(organs: list[str], capabilities: list[str], field: str) -> None:
    spec = {**CHANGED[field][0], "organs": organs, "capabilities": capabilities}  # type: ignore[dict-item]
    before = copy.deepcopy(spec)
    one, two = made(spec), made(copy.deepcopy(spec))
    assert one == two
    assert spec == before
    assert {check.kind for check in one.organ_checks} <= {"Organ", "Capability"}
    assert len(one.organ_checks) == len({o for o in organs if o in ORGANS}) + len({c for c in capabilities if c in CAPABILITIES})
