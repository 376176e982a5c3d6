"""The YAML language server of editors, as a process that is asked what it says of a file. Installed once, of pinned versions, into the
user's cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from reconciler.agent.toolchain import cache_dir, find_node
from reconciler.errors import Terminal

HERE = Path(__file__).parent
PROGRAM = Path("node_modules/yaml-language-server/bin/yaml-language-server")
FILES = ("package.json", "package-lock.json")
INSTALL_SECONDS = 200
ERROR = 1


def installed() -> Path:
    """Where it is; installed when it is not there yet. Raises `Terminal` when it can't be had."""
    digest = sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:12]
    target = cache_dir(os.environ) / f"yaml-language-server-{digest}"
    if (target / PROGRAM).exists():
        return target
    node = find_node(os.environ)
    if not node.npm:
        raise Terminal("the YAML language server is not on this host and there is no npm to fetch it", "", "install npm")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as work:
        for name in FILES:
            shutil.copy(HERE / name, work)
        command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--logs-max=0"]
        env = {**os.environ, "PATH": os.pathsep.join([str(node.program.parent), os.environ.get("PATH", os.defpath)])}
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            raise Terminal(f"the YAML language server could not be fetched: {done.stderr.strip()[-300:]}", "", "check the network")
        if not target.exists():
            shutil.copytree(work, target)
    return target


class LanguageServer:
    """It, with the schema of a folder of `reconciler init`. `check`: what an editor would underline."""

    def __init__(self, process: subprocess.Popen[bytes], schemas: dict[str, object]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout
        self._schemas = schemas
        self._number = 0
        self._ask("initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": {"workspace": {"configuration": True}}})
        self._send({"method": "initialized", "params": {}})

    def check(self, uri: str, text: str) -> list[tuple[int, str]]:
        """(line, message) of every error in a text, by line."""
        self._send(
            {"method": "textDocument/didOpen", "params": {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}}}
        )
        while True:
            told = self._receive()
            if told.get("method") == "textDocument/publishDiagnostics" and told["params"]["uri"] == uri:
                found = [one for one in told["params"]["diagnostics"] if one.get("severity", ERROR) <= 2]
                return sorted((one["range"]["start"]["line"] + 1, str(one["message"])) for one in found)

    def complete(self, uri: str, line: int, column: int) -> set[str]:
        """What may be written at a place of an open file; both count from 0."""
        place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": column}}
        return {str(one["label"]) for one in self._ask("textDocument/completion", place)["items"]}

    def hover(self, uri: str, line: int, column: int) -> str:
        place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": column}}
        return str(self._ask("textDocument/hover", place)["contents"]["value"])

    def _ask(self, method: str, params: dict[str, Any]) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            told = self._receive()
            if told.get("id") == self._number and "method" not in told:
                assert "error" not in told, told
                return told["result"]

    def _receive(self) -> dict[str, Any]:
        """One message; questions of the server are answered on the way."""
        length = 0
        while line := self._out.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        assert length, "the language server ended"
        told: dict[str, Any] = json.loads(self._out.read(length))
        if "id" in told and "method" in told:
            items = told.get("params", {}).get("items", ()) if told["method"] == "workspace/configuration" else ()
            self._send({"id": told["id"], "result": [self._setting(item.get("section", "")) for item in items] if items else None})
        return told

    def _setting(self, section: str) -> object:
        return {"schemas": self._schemas, "validate": True, "schemaStore": {"enable": False}} if section == "yaml" else {}

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._in.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self._in.flush()


@contextmanager
def language_server(schemas: dict[str, object]) -> Iterator[LanguageServer]:
    """A server that runs; `schemas`: URI of a schema → pattern of files, as in an editor's settings."""
    home = installed()
    command = [str(find_node(os.environ).program), str(home / PROGRAM), "--stdio"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=home)
    try:
        yield LanguageServer(process, schemas)
    finally:
        process.kill()
        process.wait(10)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
