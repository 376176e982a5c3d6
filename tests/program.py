"""The program as a user has it: a subprocess with an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tests import warm
from tests.background import eventually

PASSED_ON = ("PYTHONPATH", "PATH", "LANG", "TMPDIR", "CI", "NODE_EXTRA_CA_CERTS")


class Program:
    """Runs `reconciler` over a state directory. `env`: what it sees besides the bare necessities. `warm`: its processes are forked from
    one that has imported everything, which costs a tenth."""

    def __init__(self, folder: Path, env: dict[str, str], *, warm: bool = False) -> None:
        self.folder, self.state, self.warm = folder, folder / "state", warm
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        bare = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.env = {**bare, "HOME": str(self.home), "XDG_CACHE_HOME": cache, "RECONCILER_STATE": str(self.state), **env}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "reconciler", *words]

    def __call__(self, *words: str, stdin: str = "", code: int | None = 0, seconds: float = 90.0) -> str:
        """Run a command to its end; returns its stdout. `code`: what it must exit with (None: anything)."""
        done = self.full(*words, stdin=stdin, seconds=seconds)
        assert code is None or done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def full(self, *words: str, stdin: str = "", seconds: float = 90.0) -> subprocess.CompletedProcess[str]:
        if not self.warm:
            return subprocess.run(
                self.command(*words),
                env=self.env,
                cwd=self.folder,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            given.write(stdin)
            given.seek(0)
            process = warm.start(words, self.env, self.folder, (given, out, err))
            try:
                code = process.wait(seconds)
            finally:
                process.kill()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(process.args, code, out.read(), err.read())

    def background(self, *words: str, log: Path) -> subprocess.Popen[bytes] | warm.Forked:
        """Start a command whose streams go to one file."""
        with log.open("wb") as out, open(os.devnull, "rb") as nothing:
            if self.warm:
                return warm.start(words, self.env, self.folder, (nothing, out, out))
            return subprocess.Popen(self.command(*words), env=self.env, cwd=self.folder, stdin=nothing, stdout=out, stderr=out)

    def comes(self, *words: str, seconds: float = 90.0) -> None:
        """`reconciler wait WORDS` for what a controller that just started, or a file that was just written, is yet to declare: on a busy
        machine that takes longer than the command waits for an object that does not exist."""

        def met() -> bool:
            done = self.full("wait", *words, seconds=seconds)
            if done.returncode == 3 and "it does not exist" in done.stderr:
                return False
            assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            return True

        eventually(met, f"wait {' '.join(words)}", seconds)

    def json(self, *words: str, code: int | None = 0, seconds: float = 90.0) -> Any:
        return json.loads(self(*words, "-o", "json", code=code, seconds=seconds))

    def controller(self, *words: str, name: str = "controller") -> Controller:
        """`reconciler run WORDS` in the background."""
        return Controller(self, ("run", *words), self.folder / f"{name}.log")

    def operator(self, *words: str, name: str = "operator") -> Controller:
        """`reconciler operator WORDS` in the background."""
        return Controller(self, ("operator", *words), self.folder / f"{name}.log")


class Controller:
    """A controller in the background; both its streams go to one file."""

    def __init__(self, program: Program, words: Sequence[str], log: Path) -> None:
        self.log = log
        self.process = program.background(*words, log=log)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def says(self, text: str, seconds: float = 60.0) -> None:
        """Wait until its output has this text."""

        def met() -> bool:
            assert text in self.said or self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.said}"
            return text in self.said

        eventually(met, f"{text!r} in the controller's output:\n{self.said}", seconds)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """An orderly stop; it has 5 s."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(5)

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
