"""Which secrets an agent is given: names, from where, and never a value (G-60)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.tree.owned import NODE, TREE
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import change

PROFILES = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: base}
spec:
  source: {image: default}
  env:
  - {name: A_KEY, valueFrom: {secretKeyRef: {name: old, key: a}}}
  - {name: B_KEY, valueFrom: {secretKeyRef: {name: llm, key: b}}}
  - {name: PLAIN, valueFrom: {secretKeyRef: {name: unused, key: x}}}
  files:
  - {path: .npmrc, valueFrom: {secretKeyRef: {name: npm, key: npmrc}}}
  - {path: notes.txt, content: in the open}
  - {path: .token, valueFrom: {file: {path: /run/token}}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: own}
spec:
  extends: {name: base}
  env: [{name: A_KEY, valueFrom: {secretKeyRef: {name: new, key: a}}}]
  agent:
    providers:
    - {name: minted, baseUrl: "https://m.example.com/v1", apiKeyFrom: {exec: {command: [vault, read, "a key"]}}}
    - {name: acme, baseUrl: "https://models.example.com/v1", apiKeyFrom: {secretKeyRef: {name: keys, key: acme}}}
"""
LT = """---
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec:
  role: Test
  profileRef: {name: own}
  env: [{name: PLAIN, value: hush}]
  instructions: {files: [{path: big.txt, contentFrom: {configMapKeyRef: {name: texts, key: big}}}]}
"""
ROWS = [
    ["file", ".npmrc", "Secret", "npm", "npmrc", "BootProfile", "base"],
    ["file", ".token", "File", "/run/token", "BootProfile", "base"],
    ["file", "big.txt", "ConfigMap", "texts", "big", "Lieutenant", "api"],
    ["key", "of", "provider", "acme", "(RECONCILER_PROVIDER_ACME_KEY)", "Secret", "keys", "acme", "BootProfile", "own"],
    ["key", "of", "provider", "minted", "(RECONCILER_PROVIDER_MINTED_KEY)", "Program", "vault", "read", "'a", "key'", "BootProfile", "own"],
    ["variable", "A_KEY", "Secret", "new", "a", "BootProfile", "own"],
    ["variable", "B_KEY", "Secret", "llm", "b", "BootProfile", "base"],
]


@pytest.mark.guarantee("G-60")
def test_what_reaches_the_agent_is_listed_with_what_declares_it(run: Run) -> None:
    assert run("apply", "-f", "-", stdin=PROFILES + LT).code == 0
    for who in (("api",), ("lt/api",), ("lieutenant", "api")):
        head, *rows = run("auth", "secrets", *who).out.splitlines()
        assert head.split() == ["AS", "KIND", "NAME", "KEY", "BY"]
        assert [row.split() for row in rows] == ROWS
    first, second, *_ = run("auth", "secrets", "api", "-o", "json").json
    assert first == {"as": "file .npmrc", "kind": "Secret", "name": "npm", "key": "npmrc", "by": "BootProfile base"}
    assert second == {"as": "file .token", "kind": "File", "name": "/run/token", "key": "", "by": "BootProfile base"}


@pytest.mark.guarantee("G-60")
def test_no_value_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_SECRET_NEW_A", "sk-do-not-tell")
    assert run("apply", "-f", "-", stdin=PROFILES + LT).code == 0
    said = run("auth", "secrets", "api")
    assert "sk-do-not-tell" not in said.out + said.err
    assert "hush" not in said.out + said.err


def test_what_a_tree_gives_is_the_nodes(run: Run, tmp_path: Path) -> None:
    assert run("apply", "-f", "-", stdin=PROFILES + LT).code == 0
    key = Key("Lieutenant", "default", "api")
    labels = {TREE: "prod", NODE: "db"}
    change(tmp_path / "state", lambda obj: replace(obj, labels=labels, owner="uid") if obj.key == key else obj)
    assert run("auth", "secrets", "api", "-o", "json").json[2]["by"] == "VMTree prod node db"


def test_what_can_not_be_told_says_why(run: Run) -> None:
    assert run("apply", "-f", "-", stdin=LT).code == 0
    said = run("auth", "secrets", "api")
    assert said.code == 4
    assert "its secrets can't be told" in said.err
    assert "BootProfile own does not exist" in said.err
    assert run("auth", "secrets", "nobody").code == 1
    assert run("auth", "secrets").code == 64
