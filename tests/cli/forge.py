"""What posts the plan of a pull request: a stand-in for the forge, and the steps of a job as its runner runs them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]


class Forge(ThreadingHTTPServer):
    """The part of a forge's API that has comments: those of pull request 7, a page of two each."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.comments: list[dict[str, Any]] = [{"id": n, "body": f"talk {n}"} for n in range(3)]
        self.refuse = False


class _Handler(BaseHTTPRequestHandler):
    server: Forge

    def do_GET(self) -> None:
        page = int(self.path.rpartition("page=")[2])
        self._answer(200, self.server.comments[2 * page - 2 : 2 * page])

    def do_POST(self) -> None:
        assert self.path == "/repos/team/fleet/issues/7/comments"
        self.server.comments.append({"id": len(self.server.comments), "body": self._body()})
        self._answer(201, self.server.comments[-1])

    def do_PATCH(self) -> None:
        (comment,) = (one for one in self.server.comments if self.path == f"/repos/team/fleet/issues/comments/{one['id']}")
        comment["body"] = self._body()
        self._answer(200, comment)

    def _body(self) -> str:
        return str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"])

    def _answer(self, code: int, value: object) -> None:
        if self.headers["Authorization"] != "Bearer forge-token" or self.server.refuse:
            code, value = 403, {"message": "no"}
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def a_forge() -> Iterator[Forge]:
    server = Forge()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Job:
    """The steps of a job for pull request 7 that run in a shell, in a folder that has its script. `workflow`: the text of its file; `env`:
    what they see besides, such as where the platform is."""

    def __init__(self, folder: Path, workflow: str, forge: Forge, env: Mapping[str, str]) -> None:
        self.folder = folder
        steps = YAML(typ="safe").load(workflow)["jobs"]["plan"]["steps"]
        self.steps = [step for step in steps if "run" in step and "pip install" not in step["run"]]
        bin_ = folder.parent / "bin"
        bin_.mkdir(exist_ok=True)
        for name, module in (("reconciler", " -m reconciler"), ("python", "")):
            (bin_ / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{module} "$@"\n')
            (bin_ / name).chmod(0o755)
        self.env = {
            **{"PATH": f"{bin_}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder.parent), "GITHUB_REPOSITORY": "team/fleet"},
            **{"RECONCILER_STATE": str(folder.parent / "none"), "GITHUB_API_URL": f"http://127.0.0.1:{forge.server_port}"},
            **{"GITHUB_TOKEN": "forge-token", "PULL_REQUEST": "7", **env},
        }

    def reconciler(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The program as the controller's host has it: over the same store."""
        command = ["reconciler", *words]
        return subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=90, check=False)

    def __call__(self) -> subprocess.CompletedProcess[str]:
        for step in self.steps:
            assert set(step.get("env", {})) <= self.env.keys() | {"RECONCILER_STORE"}
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
            )
            if done.returncode != 0:
                break
        return done
