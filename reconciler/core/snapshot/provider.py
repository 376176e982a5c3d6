"""The provider of an agent's model, and whether prompts may go to it."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.provider.breaker import CLOSED, ProviderBreaker
from reconciler.core.provider.trouble import Cause, cause_of


@dataclass(frozen=True, slots=True)
class Provider:
    """`scope`: names provider, address and key; `model_scope`: the model too. `name`, `model`: as pi says them; `key`: where its key is
    declared, in words. `breaker`: the one that is in force for it. `probing`: its probe is under way. `wanted`: a task waits for it.
    `due`: when the first of the models that may answer may be tried, where there are several of them and none answers."""

    scope: str = ""
    model_scope: str = ""
    name: str = ""
    model: str = ""
    key: str = ""
    breaker: ProviderBreaker = CLOSED
    probing: bool = False
    wanted: bool = False
    due: float = 0.0

    @property
    def again_at(self) -> float:
        """When a prompt may go to it, or to what stands in for it."""
        return self.due or self.breaker.next_probe

    @property
    def words(self) -> str:
        """What is wrong with it and what to do, without times."""
        if self.breaker.certain:
            return f"{self.name} has no key: {self.breaker.message}; put the key there, a changed value is tried at once"
        whose = f"{self.name or 'the provider'}{f' ({self.key})' if self.key else ''}"
        how = "refuses" if self.breaker.refused else "takes no requests now"
        return f"{whose} {how}: {self.breaker.message.rstrip('. ') or 'it does not say why'}; {self.remedy}"

    @property
    def remedy(self) -> str:
        """What somebody can do about it, in one sentence."""
        match cause_of(self.breaker.message, self.breaker.refused):
            case Cause.MODEL:
                return f"declare a `model` that it has instead of {self.model or 'this one'}, or have it give this key access to it"
            case Cause.KEY if self.key:
                return f"correct {self.key}, or give it the right at the provider; a changed value is tried at once"
            case Cause.KEY:
                return "declare its key in `env` or `agent.providers` of the profile, from a Secret; it is tried at once"
            case Cause.QUOTA:
                return "raise the quota or add credit at the provider; it is asked again by itself, `reconciler retry` asks now"
            case Cause.NETWORK:
                return "see that the machine reaches its address; it is asked again by itself, `reconciler retry` asks now"
            case Cause.BUSY:
                return "nothing has to be done: it is asked again by itself; `reconciler retry` asks now"


NO_PROVIDER = Provider()


@dataclass(frozen=True, slots=True)
class Fallback:
    """`model` answers while the provider of `instead_of` does not. `since`: controller clock; `why`: what is wrong with that one."""

    model: str
    instead_of: str
    since: float
    why: str
