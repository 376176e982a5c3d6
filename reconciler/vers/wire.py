"""One HTTP exchange with the platform, and the few that may be repeated. Knows nothing of what operations mean."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import certifi
import httpx2
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt

from reconciler.errors import RateLimited, ReconcilerError, Unreachable
from reconciler.vers import errors
from reconciler.vers.errors import Answer, Effect
from reconciler.vers.keys import Access, Settings
from reconciler.vers.transport import AiohttpTransport

_log = logging.getLogger(__name__)

_CONNECT_TIMEOUT: Final = 10.0
_IDLE_CONNECTION: Final = 4.0  # below the 5 s after which common servers close an idle connection: a POST must not meet that
_MAX_BODY: Final = 64 << 20
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Call:
    """One operation, ready to be sent. `path`: below the API's URL, made of constants and checked UUIDs only.

    `timeout`: seconds for one attempt. `body`: JSON or None. `token`: sent as X-Idempotency-Key when not ''."""

    method: str
    path: str
    effect: Effect
    timeout: float
    body: bytes | None = field(default=None, repr=False)
    token: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: an answer, an error, or both (an answer that means an error). `base`: the API's URL."""

    where: str
    base: str
    answer: Answer | None
    error: ReconcilerError | None

    def required(self) -> Answer:
        """The answer of a success; raises the error otherwise."""
        if self.error is not None:
            raise self.error
        assert self.answer is not None  # an outcome without error has an answer, by construction in Wire._send
        return self.answer


class Wire:
    """A connection pool with at most `concurrency` calls under way. `sleep` waits between attempts (seconds);
    `tls`: how the API's certificate is verified, None means by the usual authorities.

    `repeated` counts the attempts whose error nobody else sees, because another one followed. `answered` counts attempts by
    method and HTTP status, `none` where there was no answer."""

    def __init__(self, settings: Settings, concurrency: int, sleep: Callable[[float], Awaitable[None]], tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._sleep = sleep
        self._slots = asyncio.Semaphore(concurrency)
        # Writes may take minutes; one slot always stays for reads, so that observing never waits for creating.
        self._write_slots = asyncio.Semaphore(max(1, concurrency - 1))
        self._closed = False
        self.repeated = 0
        self.answered: Counter[tuple[str, str]] = Counter()
        # Only the connect timeout; a whole attempt has its own deadline. No redirect is followed: the key stays here.
        verified = _authorities if tls is None else lambda given=tls: given
        self._http = AiohttpTransport(verified, concurrency, _IDLE_CONNECTION, _CONNECT_TIMEOUT)
        self._base: tuple[str, httpx2.URL, str] | None = None

    async def once(self, call: Call) -> Outcome:
        """One attempt, whatever comes of it. Raises only what `Settings.access` raises."""
        if call.effect is Effect.READ:
            async with self._slots:
                outcome = await self._send(call)
        else:
            async with self._write_slots, self._slots:
                outcome = await self._send(call)
        self.answered[call.method, str(outcome.answer.status) if outcome.answer is not None else "none"] += 1
        return outcome

    async def insist(self, call: Call) -> Outcome:
        """Up to three attempts, for what may be sent twice: after 429, 408, 5xx and broken connections, not after a deadline.

        (The HTTP library itself repeats a read or a DELETE once when its connection broke, and never a POST or PATCH.)"""
        if call.effect.once:
            raise ValueError(f"{call.method} {call.path} must never be sent twice")
        outcome = await self.once(call)
        if not _worth_another(outcome):  # nearly always: the machinery of repeating costs more than looking
            return outcome
        retrying = AsyncRetrying(
            sleep=self._sleep,
            stop=stop_after_attempt(_ATTEMPTS),
            wait=_pause,
            retry=retry_if_result(_worth_another),
            before_sleep=self._tell,
            retry_error_callback=_last,
        )
        had: Outcome | None = outcome

        async def attempt() -> Outcome:
            nonlocal had
            first, had = had, None
            return await self.once(call) if first is None else first

        return await retrying(attempt)

    def _tell(self, state: RetryCallState) -> None:
        self.repeated += 1
        _log.info("%s; trying again", _last(state).error)

    async def aclose(self) -> None:
        self._closed = True
        await self._http.aclose()

    async def _send(self, call: Call) -> Outcome:
        access = self._settings.access()
        where = f"{call.method} {access.url}{call.path}"
        if self._closed:
            return Outcome(where, access.url, None, errors.unsent(where, "this client is closed"))
        try:
            async with asyncio.timeout(call.timeout):
                answer = await self._exchange(call, access)
        except TimeoutError:
            return Outcome(where, access.url, None, errors.late(call.effect, where, call.timeout))
        except httpx2.InvalidURL:
            return Outcome(where, access.url, None, errors.unsent(where, "it is no URL"))
        except httpx2.ConnectError as failure:
            return Outcome(where, access.url, None, errors.unsent(where, str(failure)))
        except httpx2.TransportError as failure:
            return Outcome(where, access.url, None, errors.lost(call.effect, where, str(failure)))
        if answer is None:
            return Outcome(where, access.url, None, errors.lost(call.effect, where, f"it is larger than {_MAX_BODY >> 20} MiB"))
        return Outcome(where, access.url, answer, errors.refusal(call.effect, where, answer))

    def _parsed(self, url: str) -> tuple[httpx2.URL, str]:
        """The API's URL and its path; parsed again only when it changed. Raises `httpx2.InvalidURL`."""
        if self._base is None or self._base[0] != url:
            parsed = httpx2.URL(url)
            self._base = (url, parsed, parsed.raw_path.decode("ascii"))
        return self._base[1:]

    async def _exchange(self, call: Call, access: Access) -> Answer | None:
        """Send and read to the end; None when the body is larger than anything the platform has to say."""
        base, prefix = self._parsed(access.url)
        request = httpx2.Request(
            call.method,
            base,
            stream=httpx2.ByteStream(call.body or b""),  # not `content`, for which it would work out headers that are sent anyway
            extensions={"target": (prefix + call.path).encode("ascii"), "headers": _headers(call, access)},
        )
        response = await self._http.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # what that transport makes
        try:
            body = bytearray()
            async for chunk in response.stream:
                body += chunk
                if len(body) > _MAX_BODY:
                    return None
        finally:
            await response.stream.aclose()
        content = bytes(body)
        if response.status_code >= 400:
            # An error text that quotes our request must not carry the key into messages.
            content = content.replace(access.key.get_secret_value().encode(), b"[key]")
        return Answer(response.status_code, response.headers, content)


def _headers(call: Call, access: Access) -> dict[str, str]:
    """A call's headers; apart, so that the key is in no local of what can fail."""
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "reconciler",
        "Authorization": f"Bearer {access.key.get_secret_value()}",
    }
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if call.token:
        headers["X-Idempotency-Key"] = call.token
    return headers


def _authorities() -> ssl.SSLContext:
    """The usual certificate authorities, or those that SSL_CERT_FILE or SSL_CERT_DIR names."""
    directory = os.environ.get("SSL_CERT_DIR") or None
    file = os.environ.get("SSL_CERT_FILE") or (certifi.where() if directory is None else None)
    return ssl.create_default_context(cafile=file, capath=directory if file is None else None)


def _worth_another(outcome: Outcome) -> bool:
    if outcome.answer is None:
        return isinstance(outcome.error, Unreachable)
    return isinstance(outcome.error, RateLimited) or outcome.answer.status == 408 or outcome.answer.status >= 500


def _pause(state: RetryCallState) -> float:
    """Seconds to wait: what Retry-After says, else 0.5, 1, …; never in step with other callers."""
    outcome = _last(state)
    asked = errors.retry_after(outcome.answer) if outcome.answer is not None else None
    wait = 0.5 * 2 ** (state.attempt_number - 1) if asked is None else asked
    return float(wait * (1 + random.random() / 4))


def _last(state: RetryCallState) -> Outcome:
    assert state.outcome is not None  # tenacity sets it before it asks for a pause or gives up
    outcome: Outcome = state.outcome.result()
    return outcome
