"""The provider of an agent's model, and whether prompts may go to it."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.provider.breaker import CLOSED, ProviderBreaker


@dataclass(frozen=True, slots=True)
class Provider:
    """`scope`: names provider, address and key; `model_scope`: the model too. `name`, `model`: as pi says them; `key`: where its key is
    declared, in words. `breaker`: the one that is in force for it. `probing`: its probe is under way. `wanted`: a task waits for it."""

    scope: str = ""
    model_scope: str = ""
    name: str = ""
    model: str = ""
    key: str = ""
    breaker: ProviderBreaker = CLOSED
    probing: bool = False
    wanted: bool = False

    @property
    def words(self) -> str:
        """What is wrong with it, in one sentence without times."""
        whose = f"{self.name or 'the provider'}{f' ({self.key})' if self.key else ''}"
        how = "refuses" if self.breaker.refused else "takes no requests now"
        return f"{whose} {how}: {self.breaker.message or 'it does not say why'}"


NO_PROVIDER = Provider()
