"""Known secret values never leave an agent by way of answers, events or status (G-60)."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.observations import Agent, Exited
from reconciler.engine.ports import Secrets

SHORTEST = 4
"""Shorter values would redact ordinary words."""


def redact(text: str, secrets: Secrets) -> str:
    """The text with every known secret value replaced."""
    for value in secrets.known():
        if len(value) >= SHORTEST and value in text:
            text = text.replace(value, "[redacted]")
    return text


def redact_agent(agent: Agent, secrets: Secrets) -> Agent:
    """What the keeper reports, without the secrets that pi may have left on stderr."""
    if not isinstance(agent.process, Exited):
        return agent
    return replace(agent, process=replace(agent.process, stderr_tail=redact(agent.process.stderr_tail, secrets)))
