"""The command line with `--kube`, on a real API server with an operator in charge."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.catalog import CLUSTERS
from reconciler.cli.main import execute
from reconciler.cli.program import program
from tests.kube.controlplane import Namespace
from tests.kube.operating import Person, RealTime, charge
from tests.kube.test_operator import HEAD, LIEUTENANT, task

pytestmark = pytest.mark.real("kube")


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    stdout: str
    stderr: str


def command(words: Sequence[str], stdin: str = "") -> Done:
    """The program's own entry, in this process: a new one for each word would cost a second each."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(stdin))
        code = execute(list(words))
    return Done(code, out.getvalue(), err.getvalue())


@dataclass
class Desk:
    """Somebody with the command line and a kubeconfig whose context is in the namespace. They have no store and no controller."""

    person: Person
    folder: Path
    world: RealTime = field(default_factory=RealTime)

    async def __call__(self, *words: str, code: int = 0, stdin: str = "") -> str:
        done = await asyncio.to_thread(command, words, stdin)
        assert done.code == code, f"{words}: exit {done.code}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    async def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(await self(*words, "-o", "json", code=code))

    async def refused(self, *words: str, code: int) -> str:
        """Its one line on stderr, notes before it left out."""
        done = await asyncio.to_thread(command, words)
        assert done.code == code, done.stdout + done.stderr
        told = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
        assert len(told) == 1, done.stderr
        return told[0]

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)


@pytest.fixture
def bare(cluster: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Without an operator."""
    for name, value in (("KUBECONFIG", cluster.inside().kubeconfig), ("HOME", tmp_path), ("RECONCILER_STATE", tmp_path / "none")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("VERS_BASE_URL", "http://127.0.0.1:9")
    return Desk(Person(cluster), tmp_path)


@pytest.fixture
async def desk(bare: Desk, cluster: Namespace) -> AsyncIterator[Desk]:
    """With one in charge."""
    (bare.folder / "operator").mkdir()
    async with charge(cluster, bare.folder / "operator", bare.world):
        yield bare
    assert bare.world.violations == []
    assert not (bare.folder / "none").exists(), "a command with --kube has no state of its own"


async def test_a_working_day(desk: Desk) -> None:
    """Declared, followed, given work, asked, suspended, resumed and deleted, all by the command line, and seen the same by kubectl."""
    file = desk.file("ada.yaml", LIEUTENANT)
    assert (await desk("apply", "--kube", "-f", file)).split() == ["lieutenant/ada", "created"]
    await desk("wait", "--kube", "lt/ada", "--for", "Ready", "--timeout", "60")
    assert (await desk("apply", "--kube", "-f", file)).split() == ["lieutenant/ada", "unchanged"]

    told = await desk("send", "--kube", "ada", "do it", "--wait", "--timeout", "60")
    assert told.strip() == "done"
    (work,) = await desk.person.list("ltask")
    assert work["spec"] == {"lieutenantRef": {"name": "ada"}, "prompt": "do it"}
    name = work["metadata"]["name"]

    shown = await desk.json("get", "--kube", "lt", "ada")
    real = await desk.person.get("lt", "ada")
    assert shown["spec"] == real["spec"]
    assert shown["status"]["vm"] == real["status"]["vm"]
    assert shown["metadata"]["uid"] == real["metadata"]["uid"]
    rows = (await desk("get", "--kube", "all")).splitlines()
    assert any(row.startswith("lieutenant/ada") for row in rows)
    assert any(row.startswith(f"task/{name}") for row in rows)

    assert (await desk("output", "--kube", "ada")).strip() == "done"
    assert (await desk("output", "--kube", "ada", "--task", name)).strip() == "done"
    text = await desk("describe", "--kube", "lt/ada")
    assert real["status"]["vm"]["id"] in text
    assert "CreatedVM" in text
    assert "reconciler-cli" in text, "who declares it is told"
    reasons = {row["reason"] for row in (await desk.json("events", "--kube", "--for", f"task/{name}"))["items"]}
    assert {"Delivering", "Succeeded"} <= reasons

    assert "in the cluster" in await desk("suspend", "--kube", "lt", "ada")
    await desk("wait", "--kube", "lt/ada", "--for", "phase=Suspended", "--timeout", "60")
    await desk("set", "--kube", "lt", "ada", "mode=Running", "limits.taskTimeoutSeconds=600")
    assert (await desk.person.get("lt", "ada"))["spec"]["limits"] == {"taskTimeoutSeconds": 600}
    await desk("wait", "--kube", "lt/ada", "--for", "Available", "--timeout", "60")
    await desk("retry", "--kube", "lt", "ada")
    assert "fleet.vers.sh/retry" in (await desk.person.get("lt", "ada"))["metadata"]["annotations"]

    await desk("delete", "--kube", "lt", "ada", "--wait", "--timeout", "60")
    assert await desk.person.list("lt") == []


async def test_a_task_is_cancelled(bare: Desk) -> None:
    await bare.person.apply(task("one"))
    await bare("cancel", "--kube", "one")
    assert (await bare.person.get("ltask", "one"))["spec"]["cancel"] is True


@pytest.mark.guarantee("G-41")
async def test_plan_says_what_an_apply_then_does_and_does_nothing(bare: Desk) -> None:
    folder = bare.folder / "fleet"
    folder.mkdir()
    (folder / "ada.yaml").write_text(LIEUTENANT)
    (folder / "one.yaml").write_text(task("one"))
    told = await bare.json("plan", "--kube", "-f", str(folder), code=2)
    assert [(row["verb"], row["kind"], row["name"]) for row in told["actions"]] == [
        ("Create", "Lieutenant", "ada"),
        ("Create", "Task", "one"),
    ]
    assert told["summary"] == {"Create": 2}
    assert await bare.person.list("lt,ltask") == [], "nothing was done"
    assert (await bare("apply", "--kube", "-f", str(folder))).splitlines() == ["lieutenant/ada created", "task/one created"]
    assert "nothing to do" in await bare("plan", "--kube", "-f", str(folder), code=0)

    (folder / "ada.yaml").write_text(LIEUTENANT.replace("Keep it", "Keep it well"))
    (row,) = (await bare.json("plan", "--kube", str(folder), code=2))["actions"]
    assert (row["verb"], row["name"], row["reason"]) == ("Change", "ada", "changed: spec.role")
    assert (await bare.person.get("lt", "ada"))["spec"]["role"] == "Keep it"
    assert (await bare("apply", "--kube", "-f", str(folder))).splitlines() == ["lieutenant/ada configured", "task/one unchanged"]
    assert (await bare.person.get("lt", "ada"))["spec"]["role"] == "Keep it well"

    (folder / "one.yaml").write_text(task("one").replace("do it", "do something else"))
    assert "immutable" in await bare.refused("plan", "--kube", str(folder), code=1)


async def test_what_somebody_else_declares_is_refused_and_named(bare: Desk) -> None:
    await bare.person.apply(LIEUTENANT)
    file = bare.file("ada.yaml", LIEUTENANT.replace("Keep it", "Take it over"))
    for command in ("apply", "plan"):
        told = await bare.refused(command, "--kube", "-f", file, code=4)
        assert "kubectl-client-side-apply" in told
        assert ".spec.role" in told
    assert (await bare.person.get("lt", "ada"))["spec"]["role"] == "Keep it"


@pytest.mark.guarantee("G-05")
async def test_a_protected_one_is_not_deleted_unless_confirmed(bare: Desk) -> None:
    await bare.person.apply(LIEUTENANT.replace("{name: ada}", "{name: ada, annotations: {fleet.vers.sh/deletion-protection: enabled}}"))
    assert "protected" in await bare.refused("delete", "--kube", "lt", "ada", code=4)
    assert "deletionTimestamp" not in (await bare.person.get("lt", "ada"))["metadata"]
    await bare("delete", "--kube", "lt", "ada", "--confirm")
    assert await bare.person.list("lt") == []


async def test_bad_days(bare: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, with an exit code that tells the kind: not there, not valid, no way, no right."""
    assert "does not exist" in await bare.refused("get", "--kube", "lt", "nobody", code=1)
    assert "does not exist" in await bare.refused("send", "--kube", "nobody", "do it", code=1)
    await bare.person.apply(LIEUTENANT)
    assert "mode" in await bare.refused("set", "--kube", "lt", "ada", "mode=Sideways", code=1)
    assert (await bare.refused("wait", "--kube", "lt/ada", "--for", "Ready", "--timeout", "0", code=3)).startswith("error: lieutenant/ada")
    assert "nowhere" in await bare.refused("get", "--kube", "--context", "nowhere", "lt", code=64)
    assert "--kube" in await bare.refused("get", "--context", "test", "lt", code=64)
    monkeypatch.setenv("KUBECONFIG", str(bare.person.cluster.plane.operator.kubeconfig))
    assert 'cannot list resource "lieutenants"' in await bare.refused("get", "--kube", "lt", "-n", "kube-system", code=1)


async def test_names_without_a_namespace_are_in_that_of_the_context(bare: Desk) -> None:
    await bare("apply", "--kube", "-f", "-", stdin=HEAD + "kind: BootProfile\nmetadata: {name: mine}\nspec: {source: {image: default}}\n")
    assert [one["metadata"]["name"] for one in await bare.person.list("bp")] == ["mine"]
    assert "nothing found" in await bare.refused("get", "--kube", "bp", "-n", "default", "-o", "name", code=0)


async def test_a_command_that_knows_no_cluster_says_so(bare: Desk) -> None:
    """Nothing is done here in silence that was meant for a cluster."""
    for words in (("attach", "ada"), ("run",), ("demo",), ("version",), ("validate", "x"), ("explain", "lt"), ("crds",), ("schema",)):
        told = await bare.refused(words[0], "--kube", *words[1:], code=64)
        assert told.startswith(f"error: `{words[0]}` does not go through an API server (--kube): "), told
    told = await bare.refused("attach", "--kube", "ada", code=64)
    assert f"-- reconciler attach -n {bare.person.cluster.name} ada`" in told
    assert "kubectl exec" in told
    registered = set(program().commands)
    assert registered > CLUSTERS
