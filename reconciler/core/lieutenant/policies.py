"""One persistent agent: first its VM slot, then a escalation of what must be true inside the machine. Ordered policies; the
first that has an opinion decides.

In: a `LieutenantView`, gathered beforehand; each stage looks at its own part of it. Out: one decision. No I/O, no clock.
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.api.reasons import Reason
from reconciler.core.chain import Chain
from reconciler.core.decisions import (
    AskOriginal,
    CountCrash,
    Create,
    Decision,
    GuestAction,
    Refuse,
    SlotAction,
    StartAgent,
    Steady,
    StopAgent,
    Wait,
    WriteFiles,
)
from reconciler.core.lieutenant import configuration
from reconciler.core.lieutenant import local as local
from reconciler.core.lieutenant.budget import note_the_spending, report_the_budget
from reconciler.core.lieutenant.changeover import change_places
from reconciler.core.lieutenant.memory import bring_the_memory, save_what_was_written
from reconciler.core.lieutenant.preparation import (
    prepare_the_machine,
    read_back_what_is_loaded,
    refresh_the_secret_files,
    without_a_rendering,
)
from reconciler.core.lieutenant.provider import report_the_provider
from reconciler.core.lieutenant.reach import REACH, STANDBY
from reconciler.core.lieutenant.replacement import beside, keep_the_launch, see_to_the_other_machine
from reconciler.core.lieutenant.requests import acknowledge_requests
from reconciler.core.lieutenant.rest import due, go_when_done, note_the_hours, note_the_wake, rest_or_wake
from reconciler.core.lieutenant.session import (
    begin_anew_after_a_loss,
    begin_as_declared,
    choose_between_two_ends,
    continue_what_was_found,
    move_on,
    note_what_was_seen,
    restore_the_conversation,
    rewind_as_asked,
    stand_still,
)
from reconciler.core.lieutenant.spare import go_back
from reconciler.core.lieutenant.workspace import hold_without_its_files, note_the_lost_files
from reconciler.core.plan import is_action, is_rest
from reconciler.core.profile.rendering import same_launch
from reconciler.core.slot import policies as vmslot
from reconciler.core.slot.management import only_observe
from reconciler.core.slot.snapshots import next_due
from reconciler.core.snapshot.agent import Agent, Exited, Guest, NotStarted, Up
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.local import StandbyVM
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import AgentPart, Basics, GovernPart, Placed, PreparePart, ReachPart, SessionPart, SlotPart
from reconciler.core.snapshot.workset import GoesOn
from reconciler.core.values import replaced

NOTHING_SEEN = StandbyVM({})
"""The VM of an agent on this host, when there was no reason to look into it."""


def refuse_the_unsupported(v: SlotPart) -> Decision | None:
    """A field that protects and is not acted on in this release: nothing starts."""
    if v.unsupported and v.slot.desired is not DesiredState.GONE and not v.lt.vm_id:
        return Refuse(Reason.UNSUPPORTED, f"not acted on in this release: {', '.join(v.unsupported)}; remove it or use a later release")
    return None


def resolve_before_creating(v: SlotPart) -> Decision | None:
    """No machine is created for a profile or a secret that can't be found. An agent that lives on this host goes on working
    whatever the slot waits for."""
    if v.local.declared and v.slot.desired is not DesiredState.GONE:
        return None
    decision = plan_slot(v)
    here = v.lt.record.local.state == "Home"
    if here and v.slot.desired is DesiredState.SUSPENDED and (resting := local.rest_as_declared(v)) is not None:
        return resting
    if here and v.slot.desired is DesiredState.RUNNING:
        return decision if is_action(decision) else None
    fallen = local.fall_back(v, decision)
    if fallen is not None:
        return fallen
    return decision if not isinstance(decision, Steady) or v.slot.desired is not DesiredState.RUNNING else None


def plan_slot(v: Placed) -> Decision:
    """What the slot is about to do, or waits for. What is suspended is not as declared either when what it is made from is not there."""
    decision = vmslot.plan(v.slot)
    made = v.local.machine or v.lt.rendered
    asleep = isinstance(decision, Steady) and v.slot.desired is DesiredState.SUSPENDED
    if (isinstance(decision, Create | AskOriginal) or asleep) and isinstance(made, Unresolved):
        return without_a_rendering(made)
    return decision


def take_the_vm_when_it_is_ready(v: SlotPart) -> Decision | None:
    """G-31: the VM that could be had at last is prepared while work goes on here; then the agent moves, when settled."""
    if not falls_back(v):
        return None
    refused = local.may_not_work_here(v)
    if refused is not None:
        return refused
    return local.move_back(v, waiting_for(v)) if isinstance(plan_slot(v), Steady) else None


def work_here_meanwhile(v: GovernPart) -> Decision | None:
    """G-31: it works on this host, and says so."""
    return local.stay_meanwhile(v, waiting_for(v)) if falls_back(v) else None


def falls_back(v: Placed) -> bool:
    return v.lt.record.local.state == "Home" and not v.local.declared and v.slot.desired is DesiredState.RUNNING


def works_aside(v: Placed, decision: Decision) -> bool:
    """The agent works on this host, and this is about the slot or the VM in it: it takes no notice."""
    if not falls_back(v) or not isinstance(v.lt.agent, Agent) or not isinstance(v.lt.agent.process, Up):
        return False
    return isinstance(decision, SlotAction) or (isinstance(decision, GuestAction) and getattr(decision, "vm_id", "") == v.slot.record.vm_id)


def waiting_for(v: Placed) -> Decision | None:
    """What keeps an agent on this host from moving to its VM; None: nothing."""
    slot = plan_slot(v)
    if not isinstance(slot, Steady):
        return slot
    standby = v.standby or NOTHING_SEEN
    return STANDBY.evaluate(ReachPart(lt=basics_at_vm(v, standby), claim=standby.claim))


def at_vm(v: LieutenantView) -> LieutenantView:
    """The same lieutenant as if its agent had moved to its VM already."""
    standby = v.standby or NOTHING_SEEN
    there = basics_at_vm(v, standby)
    return v.but(record=there.record, rendered=there.rendered, claim=standby.claim, guest=standby.guest, agent=standby.agent, standby=None)


def basics_at_vm(v: Placed, standby: StandbyVM) -> Basics:
    """What every stage would read of it then."""
    return replace(
        v.lt,
        record=v.lt.record.but(local=v.lt.record.local.but(state="Left")),
        rendered=v.local.machine or v.lt.rendered,
        vm_id=v.slot.record.vm_id,
        guest=standby.guest,
        agent=standby.agent,
    )


def leave_another_conversation(v: SessionPart) -> Decision | None:
    """G-20: nothing is said to a pi that serves another conversation (a machine that was taken over); it is stopped when settled."""
    if not isinstance(v.lt.agent, Agent) or not isinstance(v.lt.agent.process, Up) or not v.lt.agent.process.responsive:
        return None
    if v.lt.agent.process.session_file in ("", v.lt.agent.session_file):
        return None
    if v.lt.agent.process.busy:
        return Wait(Reason.AGENT_BUSY, "pi ends a turn of another conversation first")
    return StopAgent(v.lt.vm_id, "it serves another conversation")


def restart_for_a_new_launch(v: SessionPart) -> Decision | None:
    """Changed instructions or environment reach pi by a restart on the same session, when settled."""
    if not isinstance(v.lt.agent, Agent) or not isinstance(v.lt.agent.process, Up) or isinstance(v.lt.rendered, Unresolved):
        return None
    if same_launch(v.lt.agent.process.launch_hash, v.lt.rendered) or not v.lt.settled or v.lt.active_task or keep_the_launch(v):
        return None
    return StopAgent(v.lt.vm_id, "its launch changed")


def count_the_crash(v: AgentPart) -> Decision | None:
    """G-24: an unasked-for end of pi is written down once, with its exit code and stderr tail."""
    if isinstance(v.lt.agent, Agent) and isinstance(v.lt.agent.process, Exited) and v.lt.agent.process.at != v.lt.record.restart.crash_at:
        return CountCrash(v.lt.agent.process.at)
    return None


def bound_the_crash_loop(v: AgentPart) -> Decision | None:
    """G-25: delays grow, and too many crashes in the window stop it until something changes."""
    if isinstance(v.lt.agent, Agent) and isinstance(v.lt.agent.process, Up):
        return None
    restart = v.lt.record.restart
    if restart.degraded:
        return Refuse(
            Reason.CRASH_LOOP, f"pi ended {len(restart.times)} times in a short time: {restart.stderr_tail[-500:] or 'no output'}"
        )
    if v.lt.now < restart.not_before:
        return Wait(Reason.AGENT_BACKING_OFF, restart.stderr_tail[-500:], until=restart.not_before)
    return None


def configure_the_agent(v: AgentPart) -> Decision | None:
    """What pi reads at its start is in place before it starts."""
    if not isinstance(v.lt.guest, Guest) or not isinstance(v.lt.agent, Agent) or isinstance(v.lt.rendered, Unresolved):
        return None
    if isinstance(v.lt.agent.process, Up) or (v.lt.guest.marks.get("agent") == v.lt.rendered.agent_hash and not v.edited):
        return None
    return WriteFiles(v.lt.vm_id, "agent")


def start_the_agent(v: AgentPart) -> Decision | None:
    """pi runs on its session file."""
    if isinstance(v.lt.agent, Agent) and isinstance(v.lt.agent.process, NotStarted | Exited):
        return StartAgent(v.lt.vm_id)
    return None


def await_an_answer(v: AgentPart) -> Decision | None:
    """G-24: a pi that does not answer is not usable, whatever its process says; after failureThreshold periods it is restarted
    on the same session. One that has not answered at all yet has startupTimeoutSeconds."""
    if not isinstance(v.lt.agent, Agent) or not isinstance(v.lt.agent.process, Up) or v.lt.agent.process.responsive:
        return None
    up = v.lt.agent.process
    if up.session_id is None:
        if v.lt.now >= up.started_at + v.startup_limit:
            return StopAgent(v.lt.vm_id, "it has not answered since its start", hung=True)
    elif v.mute_since and v.lt.now >= v.mute_since + v.mute_limit:
        return StopAgent(v.lt.vm_id, "it does not answer any more", hung=True)
    return Wait(Reason.AGENT_UNRESPONSIVE, f"pi (pid {up.pid}) does not answer", until=v.lt.now + (v.lt.health_period or 1.0))


SLOT: Chain[SlotPart] = Chain(
    "Slot: which machine, and whether its agent belongs on it",
    "",
    (
        acknowledge_requests,
        note_the_hours,
        note_the_spending,
        save_what_was_written,
        configuration.note_what_was_refused,
        go_when_done,
        rest_or_wake,
        move_on,
        refuse_the_unsupported,
        note_what_was_seen,
        begin_anew_after_a_loss,
        note_the_lost_files,
        local.close_before_the_end,
        local.live_here_as_declared,
        see_to_the_other_machine,
        go_back,
        resolve_before_creating,
        take_the_vm_when_it_is_ready,
    ),
)

PREPARE: Chain[PreparePart] = Chain("Prepare: the machine is as its profile says", "", (change_places, prepare_the_machine))

SESSION: Chain[SessionPart] = Chain(
    "Session: the right conversation, whole, on the machine",
    "",
    (
        begin_as_declared,
        rewind_as_asked,
        choose_between_two_ends,
        leave_another_conversation,
        restart_for_a_new_launch,
        configuration.read_the_instructions_again,
        configuration.put_files_right,
        continue_what_was_found,
        restore_the_conversation,
    ),
)

AGENT: Chain[AgentPart] = Chain(
    "Agent: pi runs, answers and has what was declared",
    "",
    (
        count_the_crash,
        bound_the_crash_loop,
        configure_the_agent,
        refresh_the_secret_files,
        bring_the_memory,
        start_the_agent,
        await_an_answer,
        read_back_what_is_loaded,
        configuration.set_the_model,
    ),
)

GOVERN: Chain[GovernPart] = Chain(
    "Govern: what is known not to be as declared blocks Ready; the way back from this host",
    "",
    (
        configuration.report_what_is_not_applied,
        configuration.report_a_refused_model,
        work_here_meanwhile,
        local.leave_no_copy,
        hold_without_its_files,
        stand_still,
        note_the_wake,
        report_the_budget,
        report_the_provider,
    ),
)

INSIDE: Chain[LieutenantView] = Chain("Inside its machine", "", (REACH, PREPARE, SESSION, AGENT, GOVERN))

PREPARED: Chain[LieutenantView] = Chain("On its machine, once there is a way in", "", (PREPARE, SESSION, AGENT, GOVERN))

STAGES: Chain[LieutenantView] = Chain(
    "A lieutenant",
    "Its stages, one after the other. When none has an opinion, it is ready.",
    (SLOT, *INSIDE.policies),
)


def look_again(view: LieutenantView) -> float:
    """When something of a steady lieutenant is due: to be probed, or a snapshot."""
    at = next_due(view.slot.snapshots, view.slot.record), due(view)
    ahead = [time for time in at if time is not None and time > view.now]
    return min([*ahead, *([view.now + view.lt.health_period] if view.lt.health_period else [])], default=view.now)


def plan(view: LieutenantView, goes_on: GoesOn = GoesOn.NO) -> Decision:
    """The first policy that has an opinion decides; none: reality matches. What rests leaves time for another machine. `goes_on`: an act
    inside its machine has just succeeded, and nothing else changed since these stages had no opinion; they are asked again only when
    nothing more is to be done in those that follow."""
    following = (PREPARED if goes_on is GoesOn.PREPARED else INSIDE).evaluate(view) if goes_on else None
    if is_action(following):
        return following
    if goes_on and view.slot.now < view.now:
        view = replaced(view, slot=replaced(view.slot, now=view.now))
    decision = SLOT.evaluate(view)
    if decision is None and goes_on is not GoesOn.INSIDE:
        decision = (REACH if goes_on else INSIDE).evaluate(view)
    decision = decision or following or Steady(until=look_again(view))
    if isinstance(decision, Steady) and decision.until is None and view.record.rest.reason:
        decision = Steady(until=due(view))
    if is_rest(decision):
        return beside(view, decision)
    return only_observe(decision) if view.slot.observe_only else decision
