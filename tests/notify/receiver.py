"""A receiver of webhooks: a real HTTP server on loopback, which answers as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOST = 0
"""It takes the notice and hangs up without an answer."""


@dataclass
class Got:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.body)


@dataclass
class Web:
    """`answers`: statuses of the next requests, after them `then`; `headers`: of each answer; `pause`: set for it to answer at all."""

    answers: list[int] = field(default_factory=list)
    then: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    got: list[Got] = field(default_factory=list)
    url: str = ""
    pause: threading.Event = field(default_factory=threading.Event)

    def types(self) -> list[str]:
        return [str(one.event["type"]).removeprefix("sh.vers.fleet.") for one in self.got]


@contextmanager
def web() -> Iterator[Web]:
    state = Web()
    state.pause.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append(Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            state.pause.wait(30)
            status = state.answers.pop(0) if state.answers else state.then
            if status == LOST:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.pause.set()
        server.shutdown()
        server.server_close()
        thread.join()
