"""What a person sees of a platform that refuses the API key: on the object, in `get`, in `plan` and in `doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.background import Platform, eventually
from tests.cli.test_cli_controller import API, FAST
from tests.program import Program

WRONG = "0b0b0b0b-0000-4000-8000-000000000000" + "f" * 64
"""As a key of another account would look."""


@pytest.fixture
def program(stub: Platform, tmp_path: Path) -> Program:
    """Its key is in a file, so that it can be changed while a controller runs."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "api.yaml").write_text(API)
    told = stub.endpoints.environment()
    program = Program(tmp_path, {**FAST, **{name: told[name] for name in told if name != "VERS_API_KEY"}}, warm=True)
    (program.home / ".vers").mkdir()
    keep(program, told["VERS_API_KEY"])
    return program


def keep(program: Program, key: str) -> None:
    (program.home / ".vers" / "keys.json").write_text(json.dumps({"keys": {"VERS_API_KEY": key}}))


def is_told(text: str) -> bool:
    return "PlatformKeyRefused" in text and "the platform refused the API key" in text and "check VERS_API_KEY" in text


@pytest.mark.guarantee("G-03")
@pytest.mark.guarantee("G-37")
@pytest.mark.guarantee("G-49")
def test_a_refused_key_is_seen_wherever_a_person_looks(stub: Platform, program: Program) -> None:
    with program.controller("specs") as controller:
        (vm_id,) = eventually(stub.present, "it has a machine")
        keep(program, WRONG)
        eventually(lambda: "PlatformKeyRefused" in program("get", "lt"), "`get` says why", pause=0.2)
        assert is_told(program("describe", "lt", "api"))
        assert is_told(program("get", "lt", "api", "-o", "json"))
        assert "PlatformKeyRefused" in program("get", "attention")
        planned = program.full("plan", "specs")
        assert (planned.returncode, planned.stdout) == (1, "")
        assert "the platform refused the API key" in planned.stderr
        assert "check VERS_API_KEY" in planned.stderr
        checked = program("doctor", code=None)
        assert "wrong  api" in checked
        assert "the platform refused the API key" in checked
        assert str(program.home / ".vers" / "keys.json") in checked
        assert "AccountChanged" not in controller.said
        keep(program, stub.endpoints.api_key)
        eventually(lambda: "PlatformKeyRefused" not in program("get", "lt"), "it heals by itself", pause=0.2)
        assert stub.present() == [vm_id]
        assert controller.stop() == 0
