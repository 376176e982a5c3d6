"""The way into a machine: from one that runs to a keeper that answers, and further to one that pi can be started on. Policies of the
lieutenant's escalation; pure."""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.chain import Chain
from reconciler.core.decisions import CorrectClock, Decision, GuestClaim, Install, InstallTools, StartKeeper, Wait
from reconciler.core.lieutenant.health import clock_given_up, clock_is_wrong
from reconciler.core.lieutenant.preparation import prepare_the_machine, without_a_rendering
from reconciler.core.snapshot.agent import Agent, Guest, Up
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.core.snapshot.stages import ReachPart
from reconciler.core.snapshot.vm import Unknown


def leave_the_unreachable_alone(v: ReachPart) -> Decision | None:
    """G-04: a machine that can't be reached is left alone until it can."""
    match v.lt.guest:
        case None:
            return Wait(Reason.GUEST_UNREACHABLE, "not looked at yet", until=v.lt.now)
        case Unknown(why):
            return Wait(Reason.GUEST_UNREACHABLE, why)
        case _:
            return None


def correct_the_clock(v: ReachPart) -> Decision | None:
    """G-12: skew after a resume is corrected before anything else runs there. A clock that can't be set is told and not waited
    for: no decision reads it."""
    if v.lt.record.local.state == "Home":  # on this host there is one clock: ours
        return None
    if not isinstance(v.lt.guest, Guest) or not clock_is_wrong(v.lt.guest) or clock_given_up(v.lt.record.clock, v.lt.vm_id, v.lt.now):
        return None
    return CorrectClock(v.lt.vm_id)


def rewrite_the_claim(v: ReachPart) -> Decision | None:
    """G-07: the claim in the guest names this VM; a parent's copy is none."""
    return GuestClaim(v.lt.vm_id) if isinstance(v.lt.guest, Guest) and dict(v.lt.guest.claim or {}) != v.claim else None


def need_a_rendering(v: ReachPart) -> Decision | None:
    """What can't be rendered can't be prepared; an agent that runs goes on."""
    if not isinstance(v.lt.rendered, Unresolved):
        return None
    if isinstance(v.lt.agent, Agent) and isinstance(v.lt.agent.process, Up):
        return None
    return without_a_rendering(v.lt.rendered)


def install_what_is_missing(v: ReachPart) -> Decision | None:
    """node, the pinned pi and our keeper are on the machine; a keeper is replaced only while pi is down."""
    if not isinstance(v.lt.guest, Guest):
        return None
    if v.lt.guest.keeper == v.lt.keeper_version and v.lt.guest.node and v.lt.guest.pi:
        return None
    running = isinstance(v.lt.agent, Agent) and isinstance(v.lt.agent.process, Up)
    missing = not (v.lt.guest.node and v.lt.guest.pi and v.lt.guest.keeper)
    outdated = v.lt.guest.keeper != v.lt.keeper_version and not running and not v.lt.guest.keeper_alive
    if not (missing or outdated):
        return None
    return Install(v.lt.vm_id) if v.lt.has_agent else InstallTools(v.lt.vm_id)


def start_the_keeper(v: ReachPart) -> Decision | None:
    """The keeper runs, detached from us."""
    return StartKeeper(v.lt.vm_id) if isinstance(v.lt.guest, Guest) and not v.lt.guest.keeper_alive else None


def await_the_keeper(v: ReachPart) -> Decision | None:
    """G-04 for the agent: no answer is not an answer."""
    silent = Reason.AGENT_UNREACHABLE if v.lt.has_agent else Reason.KEEPER_UNREACHABLE
    match v.lt.agent:
        case Agent():
            return None
        case Unknown(why):
            return Wait(silent, why)
        case None:
            return Wait(silent, "the keeper has not answered yet", until=v.lt.now)


REACH: Chain[ReachPart] = Chain(
    "Reach: from a machine that runs to a keeper that answers",
    "",
    (
        leave_the_unreachable_alone,
        correct_the_clock,
        rewrite_the_claim,
        need_a_rendering,
        install_what_is_missing,
        start_the_keeper,
        await_the_keeper,
    ),
)

STANDBY: Chain[ReachPart] = Chain("From a machine that runs to one that pi can be started on", "", (REACH, prepare_the_machine))
