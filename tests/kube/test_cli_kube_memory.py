"""`memory --kube`: a real API server, an operator of its own process, and a person to whom its port is forwarded. What agents remember is
in the operator's store; the command reads and changes it there, and the cluster never has it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest

from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import eventually, platform
from tests.kube.controlplane import Namespace
from tests.kube.people import LOOKS, SEES_LEASES, rule, somebody
from tests.kube.test_cli_kube import command
from tests.kube.test_operator import LIEUTENANT
from tests.program import Program

pytestmark = pytest.mark.real("kube")

TOKEN = "a-token-of-some-length"
REMEMBERS = LIEUTENANT.replace("{role", "{memory: {scopes: [Agent, Global]}, role")
READS_SECRETS = rule("", ["secrets"], ["get"])


@dataclass
class Office:
    """A person with the command line, and an operator whose port they reach."""

    cluster: Namespace
    program: Program
    url: str

    def __call__(self, *words: str, code: int = 0, stdin: str = "") -> str:
        done = command(("memory", *words, "--kube"), stdin)
        assert done.code == code, f"{words}: exit {done.code}\n{done.stdout}\n{done.stderr}"
        assert TOKEN not in done.stdout + done.stderr
        return done.stdout or done.stderr


@pytest.fixture
def office(cluster: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with platform(SimulatorConfig(guests="stub")) as stub:
        yield from _office(cluster, tmp_path, monkeypatch, stub.endpoints.environment())
    assert not (tmp_path / "none").exists(), "a command with --kube has no state of its own"


def _office(cluster: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoints: dict[str, str]) -> Iterator[Office]:
    kubeconfig = str(cluster.inside(cluster.plane.operator).kubeconfig)
    env = {**endpoints, "KUBECONFIG": kubeconfig, "POD_NAMESPACE": cluster.name, "RECONCILER_HTTP_TOKEN": TOKEN}
    program = Program(tmp_path / "pod", env, warm=True)
    mine = {"KUBECONFIG": cluster.inside().kubeconfig, "HOME": tmp_path, "RECONCILER_STATE": tmp_path / "none"}
    for name, value in mine.items():
        monkeypatch.setenv(name, str(value))
    for name in ("RECONCILER_HTTP_TOKEN", "RECONCILER_OPERATOR"):
        monkeypatch.delenv(name, raising=False)
    with program.operator("--namespace", cluster.name, "--listen", "127.0.0.1:0") as operator:
        operator.says("in charge of")
        operator.says("listening on ")
        port = re.search(r"listening on 127\.0\.0\.1:(\d+)", operator.said)
        assert port is not None
        url = f"http://127.0.0.1:{port[1]}"
        cluster.apply(REMEMBERS)
        seen = f"{url}/api/v1/lieutenants/{cluster.name}/ada"
        with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            eventually(lambda: http.get(seen).status_code == 200, "the operator knows what is declared")
        yield Office(cluster, program, url)
        assert operator.stop() == 0
        assert TOKEN not in operator.said


@pytest.mark.guarantee("G-32")
def test_what_agents_remember_is_read_and_changed_in_the_operators_store_and_nowhere_else(
    office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RECONCILER_OPERATOR", office.url)
    monkeypatch.setenv("RECONCILER_HTTP_TOKEN", TOKEN)
    text = "- the port is 8081\n  on every host\n- staging is blue\n"
    assert office("set", "ada", "-", stdin=text) == "memory of ada: 2 added, 0 removed\n"
    assert office("get", "ada") == text
    assert office("set", "ada", "-", stdin=text) == "memory of ada unchanged\n"
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import sys\np = sys.argv[1]\ns = open(p).read().replace('- staging is blue\\n', '- by hand\\n')\nopen(p, 'w').write(s)\n"
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    assert office("edit", "ada") == "memory of ada: 1 added, 1 removed\n"
    assert [(one["what"], one["text"].split("\n")[0]) for one in json.loads(office("history", "ada", "-o", "json"))] == [
        ("added", "the port is 8081"),
        ("added", "staging is blue"),
        ("removed", "staging is blue"),
        ("added", "by hand"),
    ]
    assert office("set", "--global", "all of us") == "global memory: 1 added, 0 removed\n"
    assert [one["text"] for one in json.loads(office("get", "--global", "-o", "json"))["entries"]] == ["all of us"]
    assert office("get", "--global", "-n", "elsewhere").endswith("nothing is in the global memory\n")

    within = ("memory", "get", "ada", "-n", office.cluster.name)
    assert office.program(*within) == "- the port is 8081\n  on every host\n- by hand\n", "the same in the operator's own store"
    audit = office.program("get", "audit", "-A", "-o", "json")
    assert "1 added, 1 removed" in audit, "a change is written down like every other"
    everything = office.cluster.kubectl("get", "lieutenants,leases,events,secrets,configmaps", "-o", "json")
    for written in ("8081", "staging is blue", "by hand", "all of us"):
        assert written not in everything, "the cluster does not have what agents remember"


@pytest.mark.guarantee("G-64")
def test_the_token_is_that_of_the_secret_beside_the_operator_for_those_who_may_read_it(
    office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    way = ("--operator", office.url)
    assert "set RECONCILER_HTTP_TOKEN" in office("get", "ada", *way, code=1), "there is no such Secret yet"
    office.cluster.kubectl("create", "secret", "generic", "reconciler-http", f"--from-literal=token={TOKEN}")
    assert office("set", "ada", "a fact", *way) == "memory of ada: 1 added, 0 removed\n"
    monkeypatch.setenv("KUBECONFIG", str(somebody(office.cluster, LOOKS, SEES_LEASES).kubeconfig))
    refused = office("get", "ada", *way, code=1)
    assert 'cannot get resource "secrets"' in refused
    monkeypatch.setenv("KUBECONFIG", str(somebody(office.cluster, LOOKS, SEES_LEASES, READS_SECRETS).kubeconfig))
    assert office("get", "ada", *way) == "- a fact\n"
    wrong = tmp_path / "token"
    wrong.write_text("x" * 20)
    wrong.chmod(0o600)
    assert "does not take this token" in office("set", "ada", "another", *way, "--token-file", str(wrong), code=1)
    assert office("get", "ada", *way) == "- a fact\n"


def test_what_is_missing_for_the_way_there_is_said_in_one_line(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    told = office("get", "ada", code=64)
    assert f"`kubectl -n {office.cluster.name} port-forward deploy/reconciler 9090`" in told
    assert "lieutenant/nobody does not exist" in office("get", "nobody", code=1)
    monkeypatch.setenv("RECONCILER_HTTP_TOKEN", TOKEN)
    assert "lieutenant/nobody does not exist" in office("get", "nobody", "--operator", office.url, code=1)
    assert "can't be reached" in office("get", "ada", "--operator", "http://127.0.0.1:9", code=1)
    assert "unencrypted" in office("get", "ada", "--operator", "http://reconciler.example", code=4)
    for address in ("reconciler", "http://", "ftp://127.0.0.1", "http://127.0.0.1/api", "http://u:p@127.0.0.1"):
        assert "no address of an operator" in office("get", "ada", "--operator", address, code=64)
    assert "entry 1 has 4001 characters" in office("set", "ada", "x" * 4001, "--operator", office.url, code=1)
    without = command(("memory", "get", "ada", "--operator", office.url))
    assert (without.code, "go with --kube" in without.stderr) == (64, True)
