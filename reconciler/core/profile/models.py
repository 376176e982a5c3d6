"""Which models an agent may be answered by, and what pi must know of them. Pure."""

from __future__ import annotations

from reconciler.api.meta import ModelChoice, Thinking
from reconciler.core.snapshot.memory import Facts
from reconciler.core.snapshot.rendered import ModelUse


def fallbacks_of(model: ModelChoice | None) -> tuple[ModelUse, ...]:
    """What stands in for the declared one, in order of preference."""
    declared = model.fallbacks if model is not None else ()
    return tuple(ModelUse(f"{one.provider}/{one.id}", str(one.thinking) if one.thinking else "") for one in declared)


def models_of(provider: str, choices: tuple[ModelChoice, ...], model_id: str, also: tuple[Facts, ...] = ()) -> list[dict[str, object]]:
    """The models of one declared provider, as pi's models.json wants them (pi-rpc §1): all that are named for it, `also` those that find
    facts. Sizes are what pi assumes for models that it does not know."""
    named = [one for choice in choices for one in (*choice.fallbacks, choice) if one.provider == provider]
    thinking = {one.id: one.thinking not in (None, Thinking.OFF) for one in named}
    default, _, name = model_id.partition("/")
    if default == provider:
        thinking.setdefault(name, False)
    for one in also:
        if one.provider == provider:
            thinking.setdefault(one.model, False)
    return [
        {
            "id": model,
            "name": model,
            "reasoning": thinks,
            "input": ["text"],
            "contextWindow": 128000,
            "maxTokens": 8192,
            "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        }
        for model, thinks in (sorted(thinking.items()) or [("default", False)])
    ]
