"""A hierarchy of machines. This release reports it and acts on nothing of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.reasons import Reason
from reconciler.core.chain import Chain
from reconciler.core.decisions import Decision, Refuse, Steady


@dataclass(frozen=True, slots=True)
class TreeSnapshot:
    """`nodes`: how many it declares; `deleting`: its deletion was asked for."""

    nodes: int = 0
    deleting: bool = False


def refuse_the_whole(v: TreeSnapshot) -> Decision | None:
    """A tree is not acted on in this release: nothing of it starts."""
    return None if v.deleting else Refuse(Reason.UNSUPPORTED, "kind VMTree is not acted on in this release")


TREE: Chain[TreeSnapshot] = Chain("A tree", "A hierarchy of machines.", (refuse_the_whole,))


def plan(view: TreeSnapshot) -> Decision:
    """None has an opinion: every node is as declared."""
    return TREE.evaluate(view) or Steady()
