"""A receiver of OTLP/HTTP in protobuf, a process of its own: writes one JSON line for each export into a file.

`python -m tests.otel.collector FILE MODE`; prints its port. MODE: `takes`, `refuses` (503), or `hangs` (never answers)."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def serve(file: Path, mode: str) -> None:
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    kinds = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if mode == "hangs":
                time.sleep(600)
            if mode == "takes":
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                told = kinds[self.path]()
                told.ParseFromString(body)
                with file.open("a") as out:
                    out.write(json.dumps({"path": self.path, "told": MessageToDict(told)}) + "\n")
            self.send_response(200 if mode == "takes" else 503)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def value_of(value: dict[str, Any]) -> Any:
    if "arrayValue" in value:
        return [value_of(one) for one in value["arrayValue"].get("values", [])]
    (kind, found), *_ = value.items()
    return int(found) if kind == "intValue" else found


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: value_of(one["value"]) for one in attributes}


@dataclass
class Collected:
    """`url`: of the collector."""

    file: Path
    url: str

    def _told(self, path: str) -> list[dict[str, Any]]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [one["told"] for line in lines if (one := json.loads(line))["path"] == path]

    def spans(self) -> list[dict[str, Any]]:
        """With `attributes` as a map, and `resource`."""
        found = []
        for told in self._told("/v1/traces"):
            for resource in told["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        known = {"attributes": plain(span.get("attributes", [])), "resource": plain(resource["resource"]["attributes"])}
                        found.append({**span, **known})
        return found

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans() if span["name"] == name]

    def metrics(self) -> dict[str, dict[str, Any]]:
        """The last export, by name."""
        told = self._told("/v1/metrics")
        scopes = [scope for one in told[-1:] for resource in one["resourceMetrics"] for scope in resource["scopeMetrics"]]
        return {metric["name"]: metric for scope in scopes for metric in scope.get("metrics", [])}


@contextmanager
def collector(folder: Path, mode: str = "takes") -> Iterator[Collected]:
    file = folder / "collected.jsonl"
    process = subprocess.Popen([sys.executable, "-m", "tests.otel.collector", str(file), mode], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Collected(file, f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
