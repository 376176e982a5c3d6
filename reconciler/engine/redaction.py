"""Known secret values never leave an agent by way of answers, events or status (G-60)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import replace

from reconciler.core.snapshot.agent import Agent, Exited, Up
from reconciler.engine.ports import Secrets

SHORTEST = 4
"""Shorter values would redact ordinary words."""


def redact(text: str, secrets: Secrets) -> str:
    """The text with every known secret value, and every stand-in for one, replaced."""
    for value in secrets.known():
        if len(value) >= SHORTEST and value in text:
            text = text.replace(value, "[redacted]")
    for _, stand_in in stand_ins(secrets.known()):
        text = text.replace(stand_in.decode("ascii"), "[redacted]")
    return text


def fingerprint(key: str, value: str) -> str:
    """Tells whether a secret's value changed and nothing else: without `key`, which never leaves the store, not even a guess can be
    checked against it."""
    return hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()[:16]


def redact_agent(agent: Agent, secrets: Secrets) -> Agent:
    """What the keeper reports, without the secrets that pi may have left on stderr, or that stand in a call which waits for a person."""
    process = agent.process
    if isinstance(process, Exited):
        return replace(agent, process=replace(process, stderr_tail=redact(process.stderr_tail, secrets)))
    guard = process.guard if isinstance(process, Up) else None
    if not isinstance(process, Up) or guard is None or not guard.asks:
        return agent
    asks = tuple(replace(ask, call=redact(ask.call, secrets), part=redact(ask.part, secrets)) for ask in guard.asks)
    return replace(agent, process=replace(process, guard=replace(guard, asks=asks)))


SHORTEST_SEALED = 8
"""Shorter values have no room for a stand-in that can't be taken for something else."""


def stand_ins(values: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """(value as it stands in a JSON string, its stand-in of the same length), for every known secret, longest first."""
    pairs: dict[bytes, bytes] = {}
    for value in values:
        for text in {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            inside = text.encode()
            if len(inside) >= SHORTEST_SEALED:
                name = base64.b32encode(hashlib.sha256(inside).digest())[:7].lower()
                pairs[inside] = (b"~" + name).ljust(len(inside), b"~")
    return sorted(pairs.items(), key=lambda pair: len(pair[0]), reverse=True)


def seal(data: bytes, secrets: Secrets) -> bytes:
    """Whole lines of a session file as they are stored: same length, every known secret replaced by its stand-in (G-60)."""
    for inside, stand_in in stand_ins(secrets.known()):
        data = data.replace(inside, stand_in)
    return data


def unseal(data: bytes, secrets: Secrets) -> bytes:
    """The contrary, for a machine that gets its conversation back. A secret that changed since stays a stand-in."""
    for inside, stand_in in stand_ins(secrets.known()):
        data = data.replace(stand_in, inside)
    return data
