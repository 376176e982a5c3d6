"""Which provider and key an agent's model needs, and how it is told that they don't work. Pure."""

from __future__ import annotations

import posixpath
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
LOGIN = "auth.json"
"""Where pi keeps the keys and tokens of its own login."""


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
        breaker=ProviderBreaker(Reason.MODEL_REFUSED, missing, certain=True) if (missing := missing_key(rendered, model)) else CLOSED,
    )


def missing_key(rendered: Rendered, model: str) -> str:
    """Which declared key of the model's provider is there and empty, in words; '' where there is one, where none is needed, and where it
    can't be known: pi may have logged in by itself (`auth.json`), or have the key from an environment of its machine."""
    if not rendered.empty:
        return ""
    name, _, _ = model.partition("/")
    own = variables_of(rendered, name)
    empty = sorted({ref for variable in own if (ref := rendered.secret_env.get(variable)) is not None and ref in rendered.empty})
    whole = all(rendered.secret_env.get(variable) in rendered.empty or rendered.env.get(variable) == "" for variable in own)
    if not empty or not whole or any(posixpath.basename(file.path) == LOGIN for file in (*rendered.files, *rendered.agent_files)):
        return ""
    return f"{' and '.join(ref.words for ref in empty)} {'is' if len(empty) == 1 else 'are'} empty"


def key_variables(rendered: Rendered, provider: str) -> tuple[str, ...]:
    """The variables that have the provider's key: ours where the profile declares it, those that begin with its name, else every one
    that looks like a key."""
    own = variables_of(rendered, provider)
    if own or provider in rendered.endpoints:
        return own
    return tuple(name for name in (*rendered.secret_env, *rendered.env) if name.endswith("_API_KEY"))


def variables_of(rendered: Rendered, provider: str) -> tuple[str, ...]:
    """Of these the variables that can be nothing but the provider's key."""
    names = (*rendered.secret_env, *rendered.env)
    if provider in rendered.endpoints:
        return tuple(name for name in names if name == key_variable(provider))
    return tuple(name for name in names if provider and name.startswith(f"{shout(provider)}_") and name.endswith(KEYS))


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
        # Not a second from now when that time has come and nobody may try, in a halted fleet say: status would be written at every look.
        return Wait(Reason.PROVIDER_LIMITED, provider.words, until=provider.again_at)
    return None


def provider_reason(decision: Decision) -> bool:
    """The agent is as declared; only the provider of its model is not usable, which is a matter of each task's delivery."""
    match decision:
        case Wait(Reason.PROVIDER_LIMITED) | Refuse(Reason.MODEL_REFUSED):
            return True
        case _:
            return False
