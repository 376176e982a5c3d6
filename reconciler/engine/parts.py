"""What an engine is made of."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reconciler.engine.backend import DeclarationBackend, NullBackend
from reconciler.engine.effects import Effects
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.outbox import Outbox
from reconciler.engine.ports import Agents, Clock, Draws, Secrets, Store, VersApi
from reconciler.engine.registry import Registration
from reconciler.engine.settings import EngineSettings
from reconciler.engine.supervision import Supervisor


def fresh_token() -> str:
    """Of an intent; no other has it."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class EngineParts:
    """Everything that comes into an engine from outside; nothing of it is global. `keeper_version`: of the keeper that `agents` install.
    `effects`: the seam that every effect goes through. `jitter`: numbers from 0 to 1. `token`: fresh intent tokens. `backend`: where
    declarations live besides the store. `supervisor`: keeps what runs beside. `outbox`: where notices wait, None when nobody wants any.
    `draws`: programs and files of this host that give credentials, None: there are none."""

    settings: EngineSettings
    vers: VersApi
    agents: Agents
    keeper_version: str
    store: Store
    secrets: Secrets
    clock: Clock
    effects: Effects = field(default_factory=Effects)
    jitter: Callable[[], float] = random.random
    token: Callable[[], str] = fresh_token
    backend: DeclarationBackend = field(default_factory=NullBackend)
    kinds: Sequence[Registration] = STOCK
    supervisor: Supervisor = field(default_factory=Supervisor)
    outbox: Outbox | None = None
    draws: Draws | None = None
