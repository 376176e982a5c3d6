"""The same declarations through a folder, a repository and `apply`: the same plan, the same acts, the same status (G-40)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import platform
from tests.cli.conftest import Run
from tests.sources.fleetdir import HEAD, profile, tree
from tests.sources.gitserver import Origin, daemon, needs_git

TASK = f"{HEAD}kind: Task\nmetadata: {{name: first}}\nspec: {{lieutenantRef: {{name: api}}, prompt: hello}}\n"
DOORS = ("folder", "repository", "apply")


def lieutenant(mode: str, role: str = "Build") -> str:
    spec = f"{{role: {role}, profileRef: {{name: own}}, mode: {mode}}}"
    return f"{HEAD}kind: Lieutenant\nmetadata: {{name: api, labels: {{team: web}}}}\nspec: {spec}\n"


def fleet(mode: str, role: str = "Build") -> dict[str, str | None]:
    return {"agents.yaml": lieutenant(mode, role), "more.yaml": "---\n".join([profile("own"), TASK, tree("root", "leaf:2")])}


STAGES = (fleet("Running"), fleet("Suspended"), fleet("Suspended", "Test"))
"""What is only planned, what is made true, and a change of that."""
OF_ITS_OWN = {"uid", "resourceVersion", "source"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def known(value: Any) -> Any:
    """A document without what is another one in every installation: identities, times, and where it was declared."""
    if isinstance(value, dict):
        return {name: known(inner) for name, inner in value.items() if name not in OF_ITS_OWN}
    if isinstance(value, str) and TIME.fullmatch(value):
        return "some time"
    return [known(one) for one in value] if isinstance(value, list) else value


@needs_git
@pytest.mark.guarantee("G-40")
def test_every_door_leads_to_the_same_plan_acts_and_status(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin, folder = Origin(tmp_path), tmp_path / "fleet"
    folder.mkdir()
    told: dict[str, list[Any]] = {}
    with daemon(origin.served) as url:
        for door in DOORS:
            with platform(SimulatorConfig(guests="stub")) as stub:
                for name, value in stub.endpoints.environment().items():
                    monkeypatch.setenv(name, value)
                told[door] = []
                for number, files in enumerate(STAGES):
                    monkeypatch.setenv("RECONCILER_STATE", str(tmp_path / f"{door}-{'planned' if number == 0 else 'true'}"))
                    write(folder, files)
                    if door == "repository":
                        origin.commit(dict(files))
                    told[door].append(through(run, door, folder, f"git+{url}/fleet.git", only_planned=number == 0))
                told[door].append(len(stub.ever()))
    planned, first, second, machines = told["folder"]
    assert {action["kind"] for action in planned["actions"]} >= {"Lieutenant", "VMTree"}, "there is something to be done"
    assert {one["metadata"]["name"] for one in first["objects"]} >= {"api", "own", "prod", "first"}
    assert [one["metadata"]["generation"] for one in second["objects"] if one["metadata"]["name"] == "api"] == [2]
    assert machines == 0, "all of it is suspended"
    assert told["folder"] == told["apply"]
    assert told["repository"] == told["folder"]


def write(folder: Path, files: dict[str, str | None]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text or "")


def through(run: Run, door: str, folder: Path, address: str, only_planned: bool) -> dict[str, Any]:
    """What of the fleet is planned when it comes by this door and, with that made true, what was done and is so."""
    nothing = folder.parent / "nothing"
    nothing.mkdir(exist_ok=True)
    paths = {"folder": [str(folder)], "repository": [address], "apply": []}[door]
    if door == "apply":
        assert run("apply", "-f", str(folder)).code == 0
    planned = run("plan", *paths, "-o", "json")
    assert planned.code == 2, planned
    stage = {name: known(planned.json[name]) for name in ("actions", "summary", "pending", "refused", "prune")}
    if only_planned:
        return stage
    ended = run("run", *(paths or [str(nothing)]), "--once", "--timeout", "60")
    objects = [known(one) for one in run("get", "all", "-o", "json").json["items"]]
    told = [(one["involvedObject"], one["reason"]) for one in run("events", "-o", "json").json["items"]]
    return {
        **stage,
        "code": ended.code,
        "objects": sorted(objects, key=lambda one: (one["kind"], one["metadata"]["name"])),
        "acts": sorted((about["kind"], about["name"], reason) for about, reason in told if about["kind"] != "Repository"),
    }
