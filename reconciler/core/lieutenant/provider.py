"""Which provider and key an agent's model needs, and how it is told that they don't work. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Decision, Refuse, Wait
from reconciler.core.profile.digests import digest
from reconciler.core.profile.rendering import NO_KEY, key_variable, shout
from reconciler.core.provider.breaker import CLOSED, ProviderBreaker
from reconciler.core.snapshot.provider import Provider
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.stages import GovernPart

KEYS = ("_API_KEY", "_KEY", "_TOKEN")


def provider_of(rendered: Rendered, model: str, owner: str) -> Provider:
    """`model`: `provider/id`, as pi says it; `owner`: the lieutenant. Provider, address and the value of the key (its fingerprint) make the
    scope: whoever shares them shares their limit, and whoever gets another key or address begins anew."""
    name, _, _ = model.partition("/")
    endpoint = rendered.endpoints.get(name, "")
    variables = key_variables(rendered, name)
    refs = sorted({rendered.secret_env[variable] for variable in variables if variable in rendered.secret_env})
    values = sorted({rendered.prints.get(ref, "") for ref in refs})
    plain = sorted({rendered.env[variable] for variable in variables if variable in rendered.env})
    given = [variable for variable in variables if rendered.env.get(variable, NO_KEY) != NO_KEY]
    known = bool(values or plain or endpoint)
    scope = digest([name, endpoint, values, plain, "" if known else owner])
    return Provider(
        scope=scope,
        model_scope=digest([scope, model]),
        name=name,
        model=model,
        key=", ".join([ref.words for ref in refs] or [f"variable {variable}" for variable in given]),
    )


def key_variables(rendered: Rendered, provider: str) -> tuple[str, ...]:
    """The variables that have the provider's key: ours where the profile declares it, those that begin with its name, else every one
    that looks like a key."""
    names = (*rendered.secret_env, *rendered.env)
    if provider in rendered.endpoints:
        return tuple(name for name in names if name == key_variable(provider))
    own = tuple(name for name in names if provider and name.startswith(f"{shout(provider)}_") and name.endswith(KEYS))
    return own or tuple(name for name in names if name.endswith("_API_KEY"))


def in_force(breakers: Mapping[str, ProviderBreaker], provider: Provider) -> ProviderBreaker:
    """The breaker that holds back its prompts: of the key as a whole, else of this model."""
    return next((found for scope in (provider.scope, provider.model_scope) if (found := breakers.get(scope, CLOSED)).open), CLOSED)


def report_the_provider(v: GovernPart) -> Wait | Refuse | None:
    """A model that can't answer is not called usable: one whose provider refuses waits for a change, one at its limit for its time.
    One that nobody waits for counts as usable once its time has come: the next task tries it."""
    provider = v.provider
    breaker = provider.breaker
    if breaker.refused:
        return Refuse(Reason.MODEL_REFUSED, provider.words)
    if breaker.open and (breaker.blocks(v.lt.now, provider.probing) or provider.wanted):
        return Wait(Reason.PROVIDER_LIMITED, provider.words, until=max(provider.again_at, v.lt.now + 1.0))
    return None


def provider_reason(decision: Decision) -> bool:
    """The agent is as declared; only the provider of its model is not usable, which is a matter of each task's delivery."""
    match decision:
        case Wait(Reason.PROVIDER_LIMITED) | Refuse(Reason.MODEL_REFUSED):
            return True
        case _:
            return False
