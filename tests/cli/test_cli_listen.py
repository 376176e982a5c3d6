"""`run --listen`: the program serves the page and the API, and changes what files declare in the files."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2 as httpx
import pytest

from reconciler.cli.surfaced import declaring
from reconciler.core.audit import Actor
from reconciler.core.keys import Json, Key
from reconciler.sources.files.scan import Scanner
from tests.background import Platform
from tests.cli.conftest import Run
from tests.program import Program
from tests.serve.rig import fleet_served
from tests.sources.fleetdir import marker, profile

FILE = """# Keep this
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec:
  role: Keep the API  # and this
  profileRef: {name: lightweight}
  mode: Suspended
"""
API = Key("Lieutenant", "default", "api")
PAGE = Actor("page", "token")


async def test_what_a_file_declares_is_changed_there(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FILE)
    [declared] = Scanner("default").scan([file]).objects

    async def elsewhere(request: Json, actor: Actor) -> Json:
        return {"ok": f"elsewhere, for {actor.door}"}

    async with fleet_served(tmp_path, []) as served:
        await served.engine.declarations.apply(declared)
        handle = declaring(served.engine, elsewhere)
        resumed: Json = {"op": "patch", "kind": "Lieutenant", "namespace": "default", "name": "api"}
        assert await handle({**resumed, "set": [{"path": ["mode"], "value": "Running"}]}, PAGE) == {"ok": f"in {file}"}
        assert file.read_text() == FILE.replace("Suspended", "Running")
        assert await handle({**resumed, "op": "annotate", "annotations": {}}, PAGE) == {"ok": "elsewhere, for page"}
        file.unlink()
        refused = await handle({**resumed, "set": [{"path": ["mode"], "value": "Suspended"}]}, PAGE)
        assert refused["error"]["type"] == "NotFound"  # type: ignore[index,call-overload]


@pytest.mark.guarantee("G-64")
def test_other_hosts_are_not_served_by_mistake(run: Run, tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    refused = run("run", "specs", "--listen", "0.0.0.0:0")
    assert refused.code == 4
    assert "--plain-http" in refused.err
    assert not (tmp_path / "state").exists(), "nothing began"


def test_the_program_serves_page_api_and_probes(stub: Platform, tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "fleet.yaml").write_text(FILE)
    program = Program(tmp_path, dict(stub.endpoints.environment()), warm=True)
    with program.controller(str(specs), "--listen", "127.0.0.1:0") as process:
        process.says("listening on ")
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", process.said)
        assert found is not None
        base = f"http://127.0.0.1:{found[1]}"
        with httpx.Client(base_url=base, trust_env=False, timeout=60) as http:
            assert http.get("/healthz").text == "ok\n"
            assert "Fleet · Reconciler" in http.get("/").text
            process.says("lieutenant/api")
            assert [one["name"] for one in http.get("/api/v1/fleet").json()["items"]] == ["api"]
            assert http.get("/api/v1/plan").json()["complete"] is True
            assert http.post("/api/v1/lieutenants/default/api/resume").status_code == 401
            token = next(tmp_path.rglob("http-token")).read_text().strip()
            done = http.post("/api/v1/lieutenants/default/api/resume", headers={"Authorization": f"Bearer {token}"})
            assert done.status_code == 200
            assert "mode: Running" in (specs / "fleet.yaml").read_text()


@pytest.mark.guarantee("G-49")
def test_a_plan_of_what_runs_says_what_is_refused_and_what_is_blocked(stub: Platform, tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / ".reconciler.yaml").write_text(marker(maxDelete=0))
    for name in ("kept", "gone"):
        (specs / f"{name}.yaml").write_text(profile(name))
    program = Program(tmp_path, dict(stub.endpoints.environment()), warm=True)
    with program.controller(str(specs), "--once") as before:
        assert before.process.wait(60) == 0, before.said
    (specs / "gone.yaml").unlink()
    (specs / "bad.yaml").write_text(profile("bad").replace("workDir", "workDri"))
    with program.controller(str(specs), "--listen", "127.0.0.1:0", name="after") as process:
        process.says("listening on ")
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", process.said)
        assert found is not None
        with httpx.Client(base_url=f"http://127.0.0.1:{found[1]}", trust_env=False, timeout=60) as http:
            told = http.get("/api/v1/plan").json()
            assert [(Path(one["file"]).name, one["field"]) for one in told["refused"]] == [("bad.yaml", "spec.agent.workDri")]
            [stack] = told["prune"]
            blocked = [*stack["deleted"], *stack["blocked"]["objects"]]
            assert blocked == [{"kind": "BootProfile", "name": "gone", "namespace": "default", "protected": False}]
            page = http.get("/plan").text
            for words in ("bad.yaml", "spec.agent.workDri", "PruneBlocked", "bootprofile/gone"):
                assert words in page
            assert "Nothing to do" not in page
