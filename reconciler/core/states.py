"""docs/states.md: the order of decisions, rendered from the policy chains themselves, so that the page can't drift."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

from reconciler.api.reasons import Reason
from reconciler.core.chain import Chain
from reconciler.core.decisions import Act, Action
from reconciler.core.lieutenant import policies as lieutenant
from reconciler.core.lieutenant import replacement
from reconciler.core.slot import policies as slot
from reconciler.core.task import policies as task
from reconciler.core.task import steer
from reconciler.core.tree import policies as tree

INTRO = """# What is decided, and in which order

Made by `reconciler crds` from the code; do not edit.

Every decision is taken by an ordered chain of small policies over a snapshot: the first that has an opinion decides, so
the order below is the specification. `G-nn` are the guarantees. Nothing that could be observed is remembered; after each
act the world is looked at again.
"""


CHAINS: tuple[Chain[Any], ...] = (slot.SLOT, lieutenant.STAGES, replacement.BESIDE, task.QUEUE, steer.STEER, tree.TREE)


def states_markdown() -> str:
    """The whole page; the same code gives the same bytes."""
    parts = [INTRO, *(_section(chain, "##") for chain in CHAINS), _verbs()]
    return "\n".join(parts)


def _section(chain: Chain[Any], mark: str) -> str:
    own = [policy for policy in chain if not isinstance(policy, Chain)]
    rows = [f"{number}. **{_words(policy)}** — {_first_line(policy)}" for number, policy in enumerate(own, 1)]
    stages = [_section(policy, f"{mark}#") for policy in chain if isinstance(policy, Chain)]
    lines = [f"{mark} {chain.title}", "", *([chain.about, ""] if chain.about else []), *rows, *([""] if rows else []), *stages]
    return "\n".join(lines)


def _verbs() -> str:
    """What a plan calls each act, the reason of conditions while it is carried out, and the waits in which the truth is not known."""
    acts = sorted(get_args(Action), key=lambda act: act.__name__)
    rows = [f"| `{act.__name__}` | {_first_sentence(act)} | `{act.doing}` |" for act in acts]
    unknown = ", ".join(f"`{reason}`" for reason in sorted(Reason) if reason.waiting.unreadable)
    return "\n".join(
        [
            "## Verbs of a plan",
            "",
            "`reconciler plan` lists acts, each with its verb. Conditions and events have the reason instead.",
            "",
            "| verb | what is done | reason meanwhile |",
            "|---|---|---|",
            *rows,
            "",
            f"`Ready` is `Unknown`, not `False`, with these reasons: {unknown}.",
            "",
        ]
    )


def _words(policy: Callable[..., object]) -> str:
    return policy.__name__.replace("_", " ")


def _first_sentence(act: type[Act]) -> str:
    return _first_line(act).split(". ")[0].rstrip(".")


def _first_line(policy: Callable[..., object]) -> str:
    said = inspect.getdoc(policy)
    return " ".join(said.split("\n\n")[0].split()) if said else "(says nothing)"
