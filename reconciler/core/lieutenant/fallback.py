"""Which of the models that may answer is used: the first whose provider answers, as its breaker knows. Pure.

The one in front is tried again by one prompt of a task, when its breaker says so; what comes of it decides where the next one goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reconciler.core.lieutenant.configuration import asked
from reconciler.core.records import ConfigRecord
from reconciler.core.snapshot.provider import Fallback, Provider
from reconciler.core.snapshot.rendered import ModelUse, Rendered


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may answer. `refused`: pi itself does not take it."""

    use: ModelUse
    provider: Provider
    refused: bool = False

    def usable(self, wanted: bool, now: float) -> bool:
        """A prompt may go to it. `wanted`: there is one, which would be the probe of a provider that may be tried again."""
        breaker = self.provider.breaker
        return not breaker.open or (wanted and not breaker.blocks(now, self.provider.probing))


def choose(candidates: Sequence[Candidate], has: str, sent: bool, wanted: bool, now: float) -> int:
    """Which of them is to answer, by its place. `has`: the model that pi has, '' where it has none yet; `sent`: a task is with it, so
    that it keeps its model; `wanted`: a task waits that could be sent."""
    own = next((place for place, one in enumerate(candidates) if one.use.model == has), None)
    if sent and own is not None:
        return own
    fit = [place for place, one in enumerate(candidates) if not one.refused] or [0]
    usable = next((place for place in fit if candidates[place].usable(wanted, now)), None)
    if usable is not None:
        return usable
    return own if own in fit else fit[0]


def next_due(candidates: Sequence[Candidate]) -> float:
    """When the first of them may be tried, where none answers; 0 where one does, or where none is tried before a change."""
    breakers = [one.provider.breaker for one in candidates if not one.refused and not one.provider.breaker.certain]
    times = [breaker.next_probe if breaker.open else 0.0 for breaker in breakers]
    return min(times, default=0.0)


def with_use(rendered: Rendered, place: int) -> Rendered:
    """The same with this one of its models."""
    if not place:
        return rendered
    use = rendered.fallbacks[place - 1]
    return replace(rendered, model=use.model, thinking=use.thinking, instead_of=ModelUse(rendered.model, rendered.thinking))


def as_declared(rendered: Rendered) -> Rendered:
    """The same with the first of its models."""
    first = rendered.instead_of
    return rendered if first is None else replace(rendered, model=first.model, thinking=first.thinking, instead_of=None)


def refused_by_pi(record: ConfigRecord, rendered: Rendered, place: int, pid: int) -> bool:
    """This very pi does not take this one of its models."""
    return bool(place) and record.pid == pid and asked(with_use(rendered, place)) in (record.asked, *record.others)


def fallback_of(candidates: Sequence[Candidate], place: int) -> Fallback | None:
    """What is told while another model than the declared one answers."""
    if not place:
        return None
    first = candidates[0]
    return Fallback(candidates[place].use.model, first.use.model, first.provider.breaker.since, first.provider.words)
