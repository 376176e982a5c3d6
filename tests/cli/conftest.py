"""The command line, run in this process for speed: words in, exit code and both streams out."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import execute
from reconciler.vers.simulator.knobs import Knobs
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import Platform, platform


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("get", "lt")` over a state directory and a home of its own, in an empty working directory."""
    for name in ("VERS_API_KEY", "VERS_BASE_URL", "VERS_URL", "RECONCILER_STORE", "RECONCILER_FLEET", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RECONCILER_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def act(*words: str, stdin: str | None = None) -> Result:
        if stdin is not None:
            path = tmp_path / "stdin.txt"
            path.write_text(stdin)
            monkeypatch.setattr("sys.stdin", path.open())
        capsys.readouterr()
        code = execute(list(words))
        told = capsys.readouterr()
        return Result(code, told.out, told.err)

    return act


Step = Callable[[], None]
Between = Callable[..., Result]


@pytest.fixture
def between_looks(run: Run, monkeypatch: pytest.MonkeyPatch) -> Between:
    """A command that looks again and again, with one of `steps` between two of its looks, and Ctrl-C after the last."""

    def act(*words: str, steps: Sequence[Step]) -> Result:
        left = iter(steps)

        async def meanwhile(_: float) -> None:
            step = next(left, None)
            if step is None:
                raise KeyboardInterrupt
            doing = threading.Thread(target=step)  # it has a loop of its own
            doing.start()
            doing.join()

        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "sleep", meanwhile)
            return run(*words)

    return act


@pytest.fixture
def stub() -> Iterator[Platform]:
    """A simulated platform whose machines have nothing inside; one of them belongs to somebody else."""
    with platform(SimulatorConfig(guests="stub", knobs=Knobs(foreign_vms=1))) as running:
        yield running
