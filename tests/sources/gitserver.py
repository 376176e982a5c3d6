"""Real git servers on loopback: `git daemon`, and smart HTTP by `git http-backend` behind a small server of ours."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="there is no git on this host")
ENV = {
    **{name: os.environ[name] for name in ("PATH",) if name in os.environ},
    **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"))},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "LC_ALL": "C",
}


def git(folder: Path, *words: str, stdin: str | None = None) -> str:
    command, env = ["git", "-c", "init.defaultBranch=main", *words], {**ENV, "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {words}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def key_pair(file: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)


@dataclass
class Origin:
    """A person's working copy, and the bare repository that it is pushed to: `served/fleet.git`."""

    folder: Path
    served: Path = field(init=False)
    work: Path = field(init=False)

    def __post_init__(self) -> None:
        self.served, self.work = self.folder / "served", self.folder / "work"
        (self.served / "fleet.git").mkdir(parents=True)
        self.work.mkdir()
        git(self.served / "fleet.git", "init", "-q", "--bare")
        for name in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter", "http.uploadpack"):
            git(self.served / "fleet.git", "config", name, "true")
        git(self.served / "fleet.git", "config", "receive.denyDeleteCurrent", "ignore")
        git(self.work, "init", "-q")
        git(self.work, "remote", "add", "origin", str(self.served / "fleet.git"))

    def commit(self, files: dict[str, str | None], *, push: bool = True, message: str = "change") -> str:
        """Write these files (None: remove), commit and push; the commit's id."""
        for name, text in files.items():
            path = self.work / name
            if text is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "--allow-empty", "-m", message)
        if push:
            self.push()
        return self.head()

    def head(self) -> str:
        return git(self.work, "rev-parse", "HEAD")

    def push(self, *words: str) -> None:
        git(self.work, "push", "-q", "--force", "origin", *(words or ("HEAD:refs/heads/main",)))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def daemon(served: Path) -> Iterator[str]:
    """`git daemon` over everything in `served`; the URL of its root."""
    port = free_port()
    words = ["git", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", f"--base-path={served}", "--export-all", str(served)]
    env, nowhere = {**ENV, "HOME": str(served)}, subprocess.DEVNULL
    process = subprocess.Popen(words, env=env, stdout=nowhere, stderr=nowhere, start_new_session=True)
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(10)


class HttpBackend:
    """Smart HTTP. `token`: what `Authorization: Basic git:TOKEN` must hold, '' for nothing; `asked`: paths and headers of every request."""

    def __init__(self, served: Path, token: str = "") -> None:
        self.token, self.asked = token, list[tuple[str, str]]()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                backend.serve(self, served)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def serve(self, request: BaseHTTPRequestHandler, served: Path) -> None:
        given = request.headers.get("Authorization", "")
        self.asked.append((request.path, given))
        if self.token and given != "Basic " + base64.b64encode(f"git:{self.token}".encode()).decode():
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="git"')
            request.end_headers()
            return
        path, _, query = request.path.partition("?")
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        env = {
            **ENV,
            "GIT_PROJECT_ROOT": str(served),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "REMOTE_USER": "",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        rows = [line.partition(":") for line in head.decode().split("\r\n") if line]
        status = next((value.strip() for name, _, value in rows if name.lower() == "status"), "200 OK")
        request.send_response(int(status.split()[0]))
        for name, _, value in rows:
            if name.lower() != "status":
                request.send_header(name, value.strip())
        request.end_headers()
        request.wfile.write(content)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@contextmanager
def http(served: Path, token: str = "") -> Iterator[HttpBackend]:
    server = HttpBackend(served, token)
    try:
        yield server
    finally:
        server.close()
