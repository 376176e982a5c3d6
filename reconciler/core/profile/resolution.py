"""Whether a BootProfile can be used: its source and everything it extends resolve. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.reasons import Reason
from reconciler.core.chain import Chain
from reconciler.core.decisions import Decision, Refuse, Steady, Wait
from reconciler.core.profile import bake, warm
from reconciler.core.profile.bake import BakeView
from reconciler.core.profile.warm import WarmView
from reconciler.core.snapshot.rendered import Unresolved


@dataclass(frozen=True, slots=True)
class ProfileSnapshot:
    """`unresolved`: what is in the way of resolving it, None when it resolves; `protects`: fields set that protect and are not acted
    on; `convenience`: other fields set and not acted on; `bake`: what there is of its baking, None when it never was; `warm`: the machines
    that it keeps ready, None when there are none and none are declared."""

    unresolved: Unresolved | None = None
    protects: tuple[str, ...] = ()
    convenience: tuple[str, ...] = ()
    bake: BakeView | None = None
    warm: WarmView | None = None


def resolve_what_it_extends(v: ProfileSnapshot) -> Decision | None:
    """Its source and `extends` resolve; what may still be declared is waited for."""
    if v.unresolved is None:
        return None
    made = Refuse if v.unresolved.final else Wait
    return made(v.unresolved.reason, v.unresolved.message)


def refuse_the_unsupported(v: ProfileSnapshot) -> Decision | None:
    """A field that protects and is not acted on in this release: nothing is made from it."""
    return Refuse(Reason.UNSUPPORTED, f"not acted on in this release: {', '.join(v.protects)}") if v.protects else None


def bake_as_declared(v: ProfileSnapshot) -> Decision | None:
    """What was begun is brought to an end; then it is baked, when that is declared and something refers to it."""
    if v.bake is None:
        return None
    begun = bake.note_what_came_of_it(v.bake) or bake.remove_the_superseded(v.bake) or bake.see_to_its_machine(v.bake)
    return begun or bake.take_up_what_was_lost(v.bake) or bake.bake(v.bake)


def keep_no_others_warm(v: ProfileSnapshot) -> Decision | None:
    """Machines that are kept ready are those that are declared, of the profile as it is now; they rest until they are taken."""
    return (warm.find_the_lost(v.warm) or warm.let_go(v.warm) or warm.put_to_rest(v.warm)) if v.warm is not None else None


def keep_as_many_warm(v: ProfileSnapshot) -> Decision | None:
    """Where one is missing another one is made, when everything else is done."""
    return warm.make_another(v.warm) if v.warm is not None else None


PROFILE: Chain[ProfileSnapshot] = Chain(
    "A boot profile",
    "How machines and their agents are made.",
    (resolve_what_it_extends, refuse_the_unsupported, keep_no_others_warm, bake_as_declared, keep_as_many_warm),
)


def plan(view: ProfileSnapshot) -> Decision:
    """None has an opinion: it resolves."""
    return PROFILE.evaluate(view) or Steady(until=bake.look_again(view.bake))
