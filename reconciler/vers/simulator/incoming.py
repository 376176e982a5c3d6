"""Requests out of the bytes of one connection, each byte looked at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconciler.vers.simulator import limits

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK_LINE = 1024
_CRLF = b"\r\n"


@dataclass(frozen=True, slots=True)
class Received:
    """One request: `target` as sent, header names lower-case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    keep_alive: bool = True


class Malformed(Exception):
    """What arrived is not HTTP/1.1, or too much of it. `status`: what to answer before closing."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


@dataclass(slots=True)
class _Head:
    """A request whose body is arriving. `left`: bytes to come; of the chunk under way (its end line included) when chunked."""

    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool
    most: int
    chunked: bool
    left: int
    last: bool = False
    pieces: int = 0
    body: bytearray = field(default_factory=bytearray)


class Incoming:
    """`feed` bytes, take requests with `next`. `body_limit`: method and target to the most bytes of a body."""

    def __init__(self, body_limit: Callable[[str, str], int]) -> None:
        self._body_limit = body_limit
        self._buffer = bytearray()
        self._searched = 0
        self._head: _Head | None = None
        self._continue = False

    @property
    def held(self) -> int:
        return len(self._buffer) + (len(self._head.body) if self._head is not None else 0)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def drop(self) -> None:
        self._buffer.clear()
        self._head = None
        self._searched = 0

    def wants_continue(self) -> bool:
        """Whether the client waits for a word before it sends the body; true once."""
        wanted, self._continue = self._continue, False
        return wanted and self._head is not None and not self.held

    def next(self) -> Received | None:
        """One whole request, None while it is not whole. Raises `Malformed`."""
        if self._head is None:
            self._head = self._parse_head()
            if self._head is None:
                return None
            self._continue = self._head.headers.get("expect", "").lower() == "100-continue"
        head = self._head
        whole = self._chunks(head) if head.chunked else self._sized(head)
        if not whole:
            return None
        self._head = None
        self._continue = False
        return Received(head.method, head.target, head.headers, bytes(head.body), head.keep_alive)

    def _line_end(self, mark: bytes, most: int, status: int, what: str) -> int:
        """Where `mark` begins in the buffer, -1 while it has not arrived."""
        end = self._buffer.find(mark, max(0, self._searched - len(mark)))
        self._searched = 0 if end >= 0 else len(self._buffer)
        if end > most or (end < 0 and len(self._buffer) > most):
            raise Malformed(status, what)
        return end

    def _parse_head(self) -> _Head | None:
        end = self._line_end(b"\r\n\r\n", limits.HEAD, 431, "request header too large")
        if end < 0:
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[1].startswith("/") or not parts[2].startswith("HTTP/1."):
            raise Malformed(400, "malformed request line")
        method, target, version = parts
        if len(method) > limits.METHOD or not _TOKEN.fullmatch(method):
            raise Malformed(400, "malformed method")
        if len(target) > limits.TARGET:
            raise Malformed(414, f"the path is longer than {limits.TARGET} bytes")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, separator, value = line.partition(":")
            if not separator or not _TOKEN.fullmatch(name):
                raise Malformed(400, "malformed header")
            headers[name.lower()] = value.strip()
        connection = headers.get("connection", "").lower()
        keep = connection != "close" if version == "HTTP/1.1" else connection == "keep-alive"
        most = self._body_limit(method, target)
        coding = headers.get("transfer-encoding", "").lower()
        if coding not in ("", "chunked"):
            raise Malformed(501, "unknown transfer encoding")
        size = 0
        if not coding:
            length = headers.get("content-length", "0")
            if not length.isascii() or not length.isdigit():
                raise Malformed(400, "malformed content-length")
            size = int(length) if len(length) <= limits.NUMBER_DIGITS + 2 else most + 1
            if size > most:
                raise _too_large(most)
        return _Head(method, target, headers, keep, most, bool(coding), size)

    def _sized(self, head: _Head) -> bool:
        taken = min(head.left, len(self._buffer))
        head.body += self._buffer[:taken]
        del self._buffer[:taken]
        head.left -= taken
        return head.left == 0

    def _chunks(self, head: _Head) -> bool:
        at = 0  # the buffer is cut once for many chunks
        try:
            while True:
                if head.left:
                    taken = min(head.left, len(self._buffer) - at)
                    body = max(0, min(taken, head.left - len(_CRLF)))
                    head.body += self._buffer[at : at + body]
                    at += taken
                    head.left -= taken
                    if head.left:
                        return False
                    if head.last:
                        return True
                end = self._buffer.find(_CRLF, at)
                if (end if end >= 0 else len(self._buffer)) - at > _CHUNK_LINE:
                    raise Malformed(400, "malformed chunk")
                if end < 0:
                    return False
                digits = bytes(self._buffer[at:end]).split(b";")[0].strip()
                if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", digits):
                    raise Malformed(400, "malformed chunk")
                size = int(digits, 16)
                at = end + len(_CRLF)
                head.pieces += 1
                if len(head.body) + size > head.most or head.pieces > limits.CHUNKS:
                    raise _too_large(head.most)
                head.left, head.last = size + len(_CRLF), size == 0
        finally:
            del self._buffer[:at]


def _too_large(most: int) -> Malformed:
    return Malformed(413, f"the request body is larger than {most} bytes")
