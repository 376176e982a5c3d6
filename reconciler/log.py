"""Logging: to stderr, as text or JSON lines, with known secret values taken out."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal

from reconciler.core.times import timestamp_us
from reconciler.visible import in_json, one_line, visible

SHORTEST_SECRET = 4
"""Values below this length are not redacted: they would make holes in ordinary words."""


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without these values."""
    for value in secrets:
        if len(value) >= SHORTEST_SECRET and value in text:
            text = text.replace(value, "[redacted]")
    return text


class Formatter(logging.Formatter):
    """`known`: secret values to take out of every line. `trace`: whether tracebacks are shown."""

    def __init__(self, kind: Literal["text", "json"], trace: bool, known: Callable[[], Iterable[str]]) -> None:
        super().__init__()
        self._kind, self._trace, self._known = kind, trace, known

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        message = redact(record.getMessage(), self._known())
        trace = ""
        if record.exc_info and self._trace:
            trace = redact("".join(traceback.format_exception(*record.exc_info)), self._known())
        if self._kind == "json":
            line: dict[str, str] = {
                "time": timestamp_us(record.created),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": message,
            }
            if trace:
                line["traceback"] = trace
            return in_json(json.dumps(line, ensure_ascii=False))
        text = f"{at.astimezone():%H:%M:%S} {record.levelname.lower()}: {one_line(message)}"
        return f"{text}\n{visible(trace.rstrip())}" if trace else text


def setup(kind: Literal["text", "json"], verbose: bool, known: Callable[[], Iterable[str]] = tuple) -> None:
    """Send the log to stderr. Not verbose: warnings of ours only, without tracebacks."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(kind, verbose, known))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("reconciler").setLevel(logging.DEBUG if verbose else logging.WARNING)
    for chatty in ("asyncssh", "alembic", "watchfiles"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
