"""The other machine, while one of a lieutenant is replaced."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.snapshot.agent import Agent, Guest
from reconciler.core.snapshot.slot import Slot
from reconciler.core.snapshot.vm import Unknown


@dataclass(frozen=True, slots=True)
class NextMachine:
    """What is in the slot `next`. `claim`: what the claim file in it must say; `guest`, `agent`: looked at while it is prepared."""

    slot: Slot
    claim: dict[str, str]
    guest: Guest | Unknown | None = None
    agent: Agent | Unknown | None = None
