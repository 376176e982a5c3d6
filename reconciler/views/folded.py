"""A plan for people: one entry an object, with what is done to it, why, and what is replaced or lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.core.decisions.base import Effect
from reconciler.core.keys import Key, short
from reconciler.views.forecast import Forecast, Planned

SIGNS = {Effect.CREATE: "+", Effect.CHANGE: "~", Effect.REPLACE: "-/+", Effect.DELETE: "-"}
_DONE = {Effect.CREATE: "create", Effect.CHANGE: "change", Effect.REPLACE: "replace", Effect.DELETE: "delete"}
SHOWN_TARGETS = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a plan, with all of its steps, in order."""

    key: Key
    steps: tuple[Planned, ...]

    @property
    def effect(self) -> Effect:
        """What the steps come to."""
        found = {step.effect for step in self.steps}
        if Effect.REPLACE in found or {Effect.CREATE, Effect.DELETE} <= found:
            return Effect.REPLACE
        return next((one for one in (Effect.CREATE, Effect.DELETE) if one in found), Effect.CHANGE)

    @property
    def what(self) -> str:
        """The verbs in order, those that follow each other once with their number."""
        runs: list[tuple[str, int]] = []
        for step in self.steps:
            if runs and runs[-1][0] == step.verb:
                runs[-1] = step.verb, runs[-1][1] + 1
            else:
                runs.append((step.verb, 1))
        return ", ".join(verb if count == 1 else f"{verb} ({count})" for verb, count in runs)

    @property
    def on(self) -> str:
        """What the steps are done to, where that is something else than the object."""
        targets = list(dict.fromkeys(step.target for step in self.steps if step.target))
        more = len(targets) - SHOWN_TARGETS
        return ", ".join(targets[:SHOWN_TARGETS]) + (f" and {more} more" if more > 0 else "")

    @property
    def why(self) -> str:
        """Why: of the first step that counts for what all of them come to, with its reason where that is a word of its own."""
        wanted = (Effect.REPLACE, Effect.DELETE) if self.effect is Effect.REPLACE else (self.effect,)
        step = next((one for one in self.steps if one.effect in wanted), self.steps[0])
        words = step.why or step.reason
        return words if words == step.reason or " " in step.reason else f"{words} ({step.reason})"

    @property
    def lost(self) -> tuple[str, ...]:
        """What can't be had again afterwards."""
        return tuple(dict.fromkeys(step.lost for step in self.steps if step.lost))

    def lines(self) -> tuple[tuple[str, str], ...]:
        """A heading and its text, for each line of the entry; the first heading is the sign."""
        count = f"   ({len(self.steps)} steps)" if len(self.steps) > 1 else ""
        rows = [(SIGNS[self.effect], f"{short(self.key)}{count}"), ("what", self.what), ("on", self.on), ("why", self.why)]
        rows += [("lost", text) for text in self.lost]
        return tuple((title, text) for title, text in rows if text)


def folded(steps: Iterable[Planned]) -> tuple[Entry, ...]:
    """The steps of a plan by object, objects in the order in which they come first."""
    found: dict[Key, list[Planned]] = {}
    for step in steps:
        found.setdefault(step.key, []).append(step)
    return tuple(Entry(key, tuple(own)) for key, own in found.items())


def summary(forecast: Forecast, entries: Sequence[Entry]) -> str:
    """One line: how many objects are created, changed, replaced and deleted, and how many are not made true."""
    counts = Counter(entry.effect for entry in entries)
    parts = [f"{counts[effect]} to {word}" for effect, word in _DONE.items() if counts[effect]]
    states = Counter(one.state for one in forecast.pending)
    rest = [f"{states[state]} {word}" for state, word in (("Waiting", "waiting"), ("Refused", "refused")) if states[state]]
    if forecast.refused:
        rest.append(f"{len(forecast.refused)} not valid")
    steps = len(forecast.planned)
    total = f"{'more than ' if forecast.cut else ''}{steps} step{'s' if steps != 1 else ''}"
    return f"Plan: {', '.join([*parts, *rest])} ({total})."
