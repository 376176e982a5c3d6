"""What only an operator's store has, asked for by its HTTP API: at the address to which a person forwards its port, with its token."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson

from reconciler.cli.incharge import InCharge, operators
from reconciler.config import Config
from reconciler.core.keys import Json, JsonValue, as_map
from reconciler.errors import Forbidden, NotFound, Refused, TimedOut, Unauthorized, Unreachable, UsageError
from reconciler.serve.commands import raise_error
from reconciler.serve.credentials import TOKEN_VARIABLE, token_of
from reconciler.serve.server import Address, is_loopback
from reconciler.sources.kube.client import Cluster

VARIABLE = "RECONCILER_OPERATOR"
SECRET = "reconciler-http"
"""The Secret that deploy/ reads the token of operators from, by its key `token`."""
SECONDS = 30.0
LONGEST = 64 << 20
"""Bytes of an answer."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where an operator listens, and what it is shown there."""

    url: str
    token: str = field(repr=False)


def address_of(given: str) -> str:
    """The address of an operator. Raises `UsageError` for what is none, `Refused` where the token would be sent unencrypted."""
    remedy = "write http://127.0.0.1:PORT, with its port forwarded there, or https://HOST"
    try:
        parts = urlsplit(given)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in ("http", "https") or parts.path.strip("/") or parts.username or parts.query or parts.fragment:
        raise UsageError("no address of an operator", f"--operator {given[:100]}", remedy)
    if parts.scheme == "http" and not is_loopback(Address(host, port or 80)):
        raise Refused("the token would be sent unencrypted", f"--operator {given[:100]}", remedy)
    return f"{parts.scheme}://{parts.netloc}"


async def door_of(config: Config, cluster: Cluster, given: str, token_file: Path | None) -> Door:
    """The way to the operator in charge of the namespace. Its token is that of the file, else of the environment, else of the Secret that
    its Deployment reads. Raises `UsageError` with the way to one while nobody says where, and what the API server says."""
    url = given or config.environ.get(VARIABLE, "")
    if not url:
        inside = next((one.runs_in for one in await _operators(config, cluster) if one.runs_in), "reconciler")
        remedy = f"run `kubectl -n {inside} port-forward deploy/reconciler 9090`, and add --operator http://127.0.0.1:9090"
        raise UsageError("what agents remember is in the store of the operator", "--kube", remedy)
    address = address_of(url)
    if token_file is not None or config.environ.get(TOKEN_VARIABLE):
        return Door(address, token_of(config.state, config.environ, token_file))
    return Door(address, await _token_in(config, cluster))


async def _operators(config: Config, cluster: Cluster) -> list[InCharge]:
    """Of this namespace; none for somebody who may not look."""
    with suppress(NotFound, Forbidden):
        return [one for one in await operators(cluster, config.fleet, config.namespace) if one.serves(config.namespace)]
    return []


async def _token_in(config: Config, cluster: Cluster) -> str:
    remedy = f"set {TOKEN_VARIABLE}, or give --token-file"
    inside = next((one.runs_in for one in await _operators(config, cluster) if one.runs_in), "")
    if not inside:
        raise UsageError("the operator's token is not known", "--operator", remedy)
    try:
        found = as_map((await cluster.get(f"/api/v1/namespaces/{inside}/secrets/{SECRET}")).get("data"))
        token = base64.b64decode(str(found.get("token") or ""), validate=True).decode("ascii").strip()
    except (NotFound, Forbidden) as error:
        raise type(error)(f"the operator's token can't be read: {error.what}", f"secret/{SECRET} of {inside}", remedy) from None
    except (binascii.Error, UnicodeDecodeError):
        token = ""
    if not token:
        raise UsageError("the Secret has no token", f"secret/{SECRET} of {inside}", remedy)
    return token


@asynccontextmanager
async def _session(door: Door) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {door.token}", "User-Agent": "reconciler"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(SECONDS)) as session:
        yield session


async def ask(door: Door, path: str, body: Json | None = None) -> Json:
    """What an operator answers; `body`: for a change. Raises what it says is wrong, `Unreachable`, `TimedOut` and `Unauthorized`."""
    remedy = "check that its port is forwarded, and that it serves /api/v1"
    try:
        async with (
            _session(door) as session,
            session.request("GET" if body is None else "POST", f"{door.url}{path}", json=body, allow_redirects=False) as answer,
        ):
            code, data = answer.status, await answer.content.read(LONGEST)
            while len(data) < LONGEST and (more := await answer.content.read(LONGEST - len(data))):
                data += more
    except TimeoutError:
        raise TimedOut("the operator does not answer", door.url, remedy) from None
    except aiohttp.ClientError as error:
        raise Unreachable(f"the operator can't be reached: {type(error).__name__}", door.url, remedy) from error
    if code == 401:
        raise Unauthorized("the operator does not take this token", door.url, f"set {TOKEN_VARIABLE} to its own")
    try:
        told: JsonValue = orjson.loads(data)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise Unreachable(f"something else than an operator of this release answers (HTTP {code})", door.url, remedy)
    raise_error({"error": told["error"]} if "error" in told else {"ok": True})
    return told
