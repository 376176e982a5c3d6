"""docs/states.md: the order of decisions, rendered from the policy chains themselves, so that the page can't drift."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconciler.core.conditions import DOING, UNREADABLE
from reconciler.core.lieutenant import policies as lieutenant
from reconciler.core.slot import policies as slot_policies
from reconciler.core.task import policies as task
from reconciler.core.task import steer

INTRO = """# What is decided, and in which order

Made by `reconciler crds` from the code; do not edit.

Every decision is taken by an ordered chain of small policies over a snapshot: the first that has an opinion decides, so
the order below is the specification. `G-nn` are the guarantees. Nothing that could be observed is remembered; after each
act the world is looked at again.
"""


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain: its title, what it is about, its policies in order."""

    title: str
    about: str
    policies: Sequence[Callable[..., object]]


CHAINS = (
    Chain("The VM slot", "One declared place for one VM.", slot_policies.SLOT),
    Chain(
        "A lieutenant",
        "Its VM slot first, then what must be true inside the machine. None has an opinion: it is ready.",
        lieutenant.POLICIES,
    ),
    Chain("A task", "One piece of work, waiting for its turn in the queue.", task.QUEUE),
    Chain("A steer", "A task with `delivery: Steer`, on its way into a running turn.", steer.STEER),
)


def states_markdown() -> str:
    """The whole page; the same code gives the same bytes."""
    parts = [INTRO, *(_section(chain) for chain in CHAINS), _reasons()]
    return "\n".join(parts)


def _section(chain: Chain) -> str:
    rows = [f"{number}. **{_words(policy)}** — {_first_line(policy)}" for number, policy in enumerate(chain.policies, 1)]
    return "\n".join([f"## {chain.title}", "", chain.about, "", *rows, ""])


def _reasons() -> str:
    """Condition reasons while an act is carried out, and the waits in which the truth is not known."""
    rows = [f"| `{action.__name__}` | `{reason}` |" for action, reason in DOING.items()]
    unknown = ", ".join(f"`{reason}`" for reason in sorted(UNREADABLE))
    return "\n".join(
        [
            "## Reasons while something is done",
            "",
            "| act | reason |",
            "|---|---|",
            *rows,
            "",
            f"`Ready` is `Unknown`, not `False`, with these reasons: {unknown}.",
            "",
        ]
    )


def _words(policy: Callable[..., object]) -> str:
    return policy.__name__.replace("_", " ")


def _first_line(policy: Callable[..., object]) -> str:
    said = inspect.getdoc(policy)
    return " ".join(said.split("\n\n")[0].split()) if said else "(says nothing)"
