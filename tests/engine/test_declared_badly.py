"""What a lieutenant refers to is declared, and something is the matter with it: the lieutenant says what, where, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.sources.files.scan import Scanner
from reconciler.sources.files.sync import FileSync
from reconciler.sources.secrets import FileSecrets
from tests.engine.stage import LT, Stage, tell
from tests.engine.test_profiles import profile

OWN = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: NAME}
spec:
  source: {image: default}
  steps: STEPS
"""
GOOD, BAD = "[]", "nonsense"
VALUE = "a-value-that-nobody-may-see"


@pytest.mark.guarantee("G-42")
@pytest.mark.parametrize("name", ["own", "lightweight"])
def test_a_profile_that_is_declared_badly_is_not_called_missing(name: str, tmp_path: Path) -> None:
    """Nor is one that is built in taken instead; corrected, it is used at once."""
    specs = tmp_path / "specs"
    specs.mkdir()
    file = specs / "profile.yaml"

    async def story(run: Stage) -> None:
        sync, scanner = FileSync(run.engine.table, run.engine.declarations, lambda line: None), Scanner()
        file.write_text(OWN.replace("NAME", name).replace("STEPS", BAD))
        await sync.round(scanner.scan([specs]))
        await run.lieutenant(profileRef={"name": name})
        await run.says(LT, "Stalled", "InvalidProfile")
        assert f"BootProfile {name} is declared, but not valid" in run.message(LT, "Ready")
        assert f"{file}:6:3: spec.steps: " in run.message(LT, "Ready")
        assert run.world.created == 0
        file.write_text(OWN.replace("NAME", name).replace("STEPS", GOOD))
        await sync.round(scanner.scan([specs]))
        await run.ready()

    tell(tmp_path, story)


def test_a_profile_that_comes_to_be_declared_badly_is_told_at_once_also_by_what_extends_it(tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    own = Key("BootProfile", "default", "own")

    async def story(run: Stage) -> None:
        sync, scanner = FileSync(run.engine.table, run.engine.declarations, lambda line: None), Scanner()
        await profile(run, extends={"name": "base"})
        await run.lieutenant(profileRef={"name": "own"})
        await run.says(LT, "Ready", "ProfileNotFound")
        (specs / "base.yaml").write_text(OWN.replace("NAME", "base").replace("STEPS", BAD))
        await sync.round(scanner.scan([specs]))
        for key in (own, LT):
            await run.says(key, "Stalled", "InvalidProfile")
            assert "BootProfile base is declared, but not valid" in run.message(key, "Ready")
        (specs / "base.yaml").unlink()
        await sync.round(scanner.scan([specs]))
        for key in (own, LT):
            await run.says(key, "Ready", "ProfileNotFound")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize(
    ("mode", "value", "said"),
    [
        (0o644, VALUE.encode(), ("mode 0644", "`chmod 600` it")),
        (0o600, b"\xff" + VALUE.encode(), ("not UTF-8", "encode the value")),
    ],
)
def test_a_secret_file_that_can_not_be_used_is_not_called_missing(mode: int, value: bytes, said: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "default" / "llm" / "token"
    file.parent.mkdir(parents=True)
    file.write_bytes(value)
    file.chmod(mode)

    async def story(run: Stage) -> None:
        await run.lieutenant(env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "llm", "key": "token"}}}])
        await run.says(LT, "Ready", "SecretRefused")
        told = run.message(LT, "Ready")
        assert told == run.message(LT, "AgentConfigured")
        for words in ("Secret llm key token", str(file), *said):
            assert words in told
        assert VALUE not in str(run.controller.statuses)
        file.write_bytes(VALUE.encode())
        file.chmod(0o600)
        await run.ready()

    tell(tmp_path, story, secrets=FileSecrets(tmp_path / "secrets", {}))
