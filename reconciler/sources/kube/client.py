"""The API server's verbs that we need, as JSON, on the HTTP client that the watch uses too.

No client library: what is needed are seven calls; the libraries at hand keep a process-wide registry of resource classes or
weigh tens of megabytes, and the watch needs the same credentials in a form of its own anyway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import aiohttp
import orjson

from reconciler.api.meta import GROUP, VERSION
from reconciler.api.registry import BY_NAME
from reconciler.core.keys import Json, JsonValue, Key, as_map
from reconciler.core.times import http_date
from reconciler.errors import (
    Conflict,
    Forbidden,
    NotFound,
    RateLimited,
    ReconcilerError,
    Rejected,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from reconciler.sources.kube.access import Access

SECONDS = 15.0
"""Deadline of one call."""
CHUNK = 500
"""Objects in one answer of a list."""
WATCH_SECONDS = 300
MERGE, PATCH, APPLY = "application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml"
AT_ONCE = 20
"""Calls at the same time. Watches do not count: each keeps its connection, and there is one for every Secret that is followed."""
LONGEST_ANSWER = 256 << 20
LONGEST_WAIT = 60.0
"""Seconds that a server may ask us to wait."""
LINE = 2 << 20
"""Bytes of one line of a watch, which is a whole object: an API server keeps none that is larger."""


class Gone(ReconcilerError):
    """410: a list or a watch must begin anew."""


class Unserved(NotFound):
    """404: not one object is missing but its whole kind."""


def path_of(key: Key, sub: str = "") -> str:
    """Where one of our objects lives."""
    return f"{collection(key.kind, key.namespace)}/{key.name}{f'/{sub}' if sub else ''}"


def collection(kind: str, namespace: str | None) -> str:
    """Where the objects of one kind live; `namespace` None: of all namespaces."""
    within = f"/namespaces/{namespace}" if namespace is not None else ""
    return f"/apis/{GROUP}/{VERSION}{within}/{BY_NAME[kind].plural}"


class Cluster:
    """One API server. Every method raises `Unauthorized`, `Forbidden`, `NotFound`, `Conflict` (409), `Rejected` (400, 422),
    `RateLimited` (429), `Unreachable` (5xx, no connection) or `TimedOut`. Nothing is retried, but a 401 once with fresh
    credentials. Needs a running loop; belongs to it."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._session, self._watches = self._connected(AT_ONCE), self._connected(0)
        self._date = ""

    @property
    def dated(self) -> float | None:
        """When the last answer was given, by the server's clock, to a second; seconds since 1970. None when it did not say."""
        return http_date(self._date)

    def _connected(self, limit: int) -> aiohttp.ClientSession:
        """`limit`: connections at most; 0: as many as are needed."""
        connector = aiohttp.TCPConnector(limit=limit, ssl=self.access.tls if self.access.tls is not None else True)
        return aiohttp.ClientSession(connector=connector, proxy=self.access.proxy, headers={"User-Agent": "reconciler"}, read_bufsize=LINE)

    async def aclose(self) -> None:
        await self._session.close()
        await self._watches.close()

    async def get(self, path: str, **params: str) -> Json:
        return await self._call("GET", path, params=params)

    async def create(self, path: str, body: Json) -> Json:
        return await self._call("POST", path, body)

    async def replace(self, path: str, body: Json, **params: str) -> Json:
        """With the `resourceVersion` that stands in `body`: `Conflict` when somebody was faster."""
        return await self._call("PUT", path, body, params=params)

    async def merge(self, path: str, body: Json, **params: str) -> Json:
        return await self._call("PATCH", path, body, MERGE, params)

    async def apply(self, path: str, body: Json, **params: str) -> Json:
        """Server-side apply: `Conflict` when another manager declares one of the fields."""
        return await self._call("PATCH", path, body, APPLY, params)

    async def patch(self, path: str, operations: list[JsonValue]) -> Json:
        """A JSON patch; its `test`s that fail are `Rejected`."""
        return await self._call("PATCH", path, operations, PATCH)

    async def delete(self, path: str, uid: str, *, dry: bool = False) -> None:
        """Only the object with this uid: another one of its name is `Conflict`. `dry`: whether it could be."""
        body: Json = {"preconditions": {"uid": uid}}
        if dry:
            body["dryRun"] = ["All"]  # not as a parameter: the server reads none of those beside a body
        await self._call("DELETE", path, body)

    async def items(self, path: str, **selected: str) -> list[Json]:
        """All objects of a collection, in chunks; `selected`: by `fieldSelector` or `labelSelector`. A list that lasted too long for
        the server is begun again once."""
        try:
            return await self._items(path, selected)
        except Gone:
            return await self._items(path, selected)

    async def _items(self, path: str, selected: Mapping[str, str]) -> list[Json]:
        found: list[Json] = []
        token = ""
        while True:
            params = {"limit": str(CHUNK), **selected, **({"continue": token} if token else {})}
            told = await self._call("GET", path, params=params)
            items, metadata = told.get("items"), told.get("metadata")
            found += [item for item in (items if isinstance(items, list) else []) if isinstance(item, dict)]
            token = str(metadata.get("continue") or "") if isinstance(metadata, dict) else ""
            if not token:
                return found

    async def watch(self, path: str, version: str, **params: str) -> AsyncIterator[tuple[str, Json]]:
        """Changes since `version`, as (type, object), until the server ends the stream. Raises `Gone` when it is too old."""
        asked = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS), **params}
        timeout = aiohttp.ClientTimeout(total=WATCH_SECONDS + SECONDS, sock_connect=SECONDS)
        try:
            headers = await self.access.headers()
            async with self._watches.get(self.access.server + path, params=asked, headers=headers, timeout=timeout) as answer:
                if answer.status >= 400:
                    raise failed(answer.status, await _body(answer, path), f"GET {path}", answer.headers)
                async for line in answer.content:
                    event = as_map(orjson.loads(line))
                    kind, obj = event.get("type"), event.get("object")
                    if kind == "ERROR":
                        code = as_map(obj).get("code")
                        raise failed(code if isinstance(code, int) else 500, line, f"GET {path}", {})
                    if isinstance(kind, str) and isinstance(obj, dict):
                        yield kind, obj
        except TimeoutError:
            return
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise unreachable(error, path) from None

    async def _call(
        self, method: str, path: str, body: JsonValue = None, kind: str = "application/json", params: Mapping[str, str] | None = None
    ) -> Json:
        data = orjson.dumps(body) if body is not None else None
        for fresh in (False, True):
            headers = {**await self.access.headers(fresh=fresh), **({"Content-Type": kind} if data is not None else {})}
            status, told, sent = await self._once(method, path, data, headers, params or {})
            if status != 401 or fresh:
                break
        if status >= 400:
            raise failed(status, told, f"{method} {path}", sent)
        try:
            parsed = orjson.loads(told)
        except orjson.JSONDecodeError:
            raise Unreachable("the API server's answer is no JSON", path, "check what stands between it and us") from None
        return parsed if isinstance(parsed, dict) else {}

    async def _once(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], params: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        url = self.access.server + path
        try:
            async with self._session.request(method, url, data=data, headers=headers, params=params, timeout=timeout) as answer:
                self._date = answer.headers.get("Date", "")
                return answer.status, await _body(answer, path), answer.headers
        except TimeoutError:
            raise TimedOut("the API server did not answer in time", path, "trying again") from None
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(error, path) from None


async def _body(answer: aiohttp.ClientResponse, path: str) -> bytes:
    """All of it. Raises `Unreachable` when it is longer than anything an API server says."""
    found = bytearray()
    async for chunk in answer.content.iter_any():
        found += chunk
        if len(found) > LONGEST_ANSWER:
            raise Unreachable(f"the API server's answer is longer than {LONGEST_ANSWER >> 20} MiB", path, "check what is between it and us")
    return bytes(found)


def unreachable(error: Exception, path: str) -> Unreachable:
    """Without the library's words where they may hold more than the kind of failure."""
    return Unreachable(f"the API server can't be reached ({type(error).__name__})", path, "check its address and that it runs")


def _plural(where: str) -> str:
    """Of which of our kinds `METHOD PATH` is; '' for anything else."""
    _, _, path = where.partition(f" /apis/{GROUP}/{VERSION}/")
    words = path.split("/")
    return (words[2] if len(words) > 2 else "") if words[0] == "namespaces" else words[0]


def failed(status: int, told: bytes, where: str, headers: Mapping[str, str]) -> ReconcilerError:
    """The error that an answer means. The server's message names objects and fields, never values of secrets."""
    try:
        parsed = orjson.loads(told)
    except orjson.JSONDecodeError:
        parsed = None
    if isinstance(parsed, dict) and parsed.get("type") == "ERROR":
        parsed = parsed.get("object")
    message = str(parsed.get("message") or "")[:500] if isinstance(parsed, dict) else ""
    message = message or f"HTTP {status}"
    match status:
        case 401:
            return Unauthorized("the API server does not know us", where, "check the kubeconfig or the service account")
        case 403:
            return Forbidden(message, where, "grant it: docs/kubernetes.md has the role")
        case 404 if not isinstance(parsed, dict) and (plural := _plural(where)):
            return Unserved(f"the cluster does not serve {plural}", where, "`kubectl apply --server-side -f crds/` installs them")
        case 404:
            return NotFound(message, where, "it is not there")
        case 409:
            return Conflict(message, where, "looking again")
        case 410:
            return Gone(message, where, "beginning anew")
        case 429:
            after = headers.get("Retry-After", "")
            told_when = after.isascii() and after.isdigit()
            return RateLimited(message, where, "trying again later", min(float(after), LONGEST_WAIT) if told_when else None)
        case 400 | 422:
            return Rejected(message, where, "the object is not as expected")
        case _:
            return Unreachable(message, where, "trying again")
