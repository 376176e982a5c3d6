"""An agent on the controller's host: when it opens, moves and ends, as a table; and what of a profile applies there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.decisions import (
    CloseLocal,
    Create,
    Decision,
    FenceLocal,
    LeaveLocal,
    MoveToVm,
    OpenLocal,
    Refuse,
    RestAgent,
    StartAgent,
    StartKeeper,
    Steady,
    Wait,
)
from reconciler.core.lieutenant.policies import at_vm, plan
from reconciler.core.profile.localize import header_from, header_to, in_tree, local_dir, localized, not_applied
from reconciler.core.records import LieutenantRecord, LocalRecord, SlotRecord
from reconciler.core.slot.deletion import CONFIRM
from reconciler.core.snapshot.agent import Agent, NotStarted
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.local import Hosting, LocalPlacement, StandbyVM
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.slot import DesiredState, EffectiveDeletion, Slot
from reconciler.core.snapshot.vm import Absent, Seen, VmState
from tests.core.views import (
    AGENT,
    CLAIM,
    EMPTY,
    FILLED,
    GUEST,
    MARKS,
    NOW,
    RENDERED,
    UP,
    VM,
    agent,
    guest,
    lieutenant,
    lieutenants,
    profile,
)

PLACE = "local-uid"
TREE = "/srv/agents/0123456789abcdef/tree"
HERE = localized(RENDERED, TREE)
CLAIM_HERE = {**CLAIM, "vm-id": PLACE}
MARKS_HERE = {"files": HERE.files_hash, "prepared": HERE.profile_hash, "agent": HERE.agent_hash}
UP_HERE = replace(UP, launch_hash=HERE.launch_hash, inside=HERE.told)
DECLARED = LocalPlacement(declared=True, hosting=Hosting.ALLOWED, place=PLACE)
FALLBACK = LocalPlacement(fallback=True, hosting=Hosting.ALLOWED, place=PLACE, outage="full", machine=RENDERED)
BLOCKED = replace(EMPTY, blocked="the platform refuses new VMs: full", blocked_until=NOW + 30)
RESTING = replace(AGENT, process=NotStarted())


def nowhere(slot: Slot = EMPTY, local: LocalPlacement = DECLARED, **changes: object) -> LieutenantView:
    """It has neither a machine nor a directory."""
    return lieutenant(slot, local=local, guest=None, agent=None, **changes)


def here(slot: Slot = EMPTY, local: LocalPlacement = DECLARED, state: str = "Home", **changes: object) -> LieutenantView:
    """It lives here and is well."""
    told: dict[str, object] = {
        "rendered": HERE,
        "claim": CLAIM_HERE,
        "guest": guest(claim=CLAIM_HERE, marks=MARKS_HERE),
        "agent": agent(UP_HERE),
    }
    record = LieutenantRecord(local=LocalRecord().but(state=state, fallback=not local.declared))
    return lieutenant(slot, local=local, record=record, **{**told, **changes})


READY_VM = StandbyVM(CLAIM, guest(marks={**MARKS, "agent": ""}), RESTING)


def moving(**changes: object) -> LieutenantView:
    """It lives here, and its VM is ready for it."""
    return here(FILLED, FALLBACK, **{"standby": READY_VM, **changes})  # type: ignore[arg-type]


def fenced(view: LieutenantView) -> LieutenantView:
    """The epoch was raised for the move."""
    return view.but(record=view.record.but(local=view.record.local.but(fenced=view.slot.record.epoch)))


def left(told: Agent) -> LieutenantView:
    """It lives on its VM again, and what it left here is still here."""
    return here(FILLED, FALLBACK, "Left", rendered=RENDERED, claim=CLAIM, guest=GUEST, agent=told)


WORKS = "working on this host; "

HOME_SCENARIOS: dict[str, tuple[LieutenantView, Decision]] = {
    # as declared
    "one that is declared Local gets a directory": (nowhere(), OpenLocal(PLACE, fallback=False)),
    "not without leave": (
        nowhere(local=replace(DECLARED, hosting=Hosting.NOT_ALLOWED)),
        Refuse("LocalNotAllowed", "its agent runs on the controller's host, which needs a controller started with --allow-local"),
    ),
    "nor in a cluster": (
        nowhere(local=replace(DECLARED, hosting=Hosting.UNAVAILABLE)),
        Refuse("LocalUnavailable", "agents can't run where this controller runs; declare `placement.type: VM`"),
    ),
    "a directory elsewhere is not ours to use": (
        here(local=replace(DECLARED, here=False)),
        Refuse("LocalElsewhere", "its directory is in another state directory; start the controller where it is"),
    ),
    "nor to end": (
        here(replace(EMPTY, desired=DesiredState.GONE), replace(DECLARED, here=False)),
        Refuse("LocalElsewhere", "its directory is in another state directory; start the controller where it is"),
    ),
    "one that never began needs nothing to be suspended": (nowhere(replace(EMPTY, desired=DesiredState.SUSPENDED)), Steady()),
    "a healthy one here is left alone": (here(), Steady(until=NOW + 10)),
    "its clock is ours, however long the look took": (
        here(guest=guest(claim=CLAIM_HERE, marks=MARKS_HERE, clock_skew=60.0)),
        Steady(until=NOW + 10),
    ),
    "its keeper is started like any other": (
        here(guest=guest(claim=CLAIM_HERE, marks=MARKS_HERE, keeper_alive=False), agent=None),
        StartKeeper(PLACE),
    ),
    "its pi too": (here(agent=RESTING), StartAgent(PLACE)),
    "suspending waits for its turn": (
        here(replace(EMPTY, desired=DesiredState.SUSPENDED, busy=True)),
        Wait("SuspendPending", "waiting for the agent's turn to end"),
    ),
    "and for its words": (
        here(replace(EMPTY, desired=DesiredState.SUSPENDED, mirrored=False)),
        Wait("SuspendPending", "saving the conversation first"),
    ),
    "then its pi rests": (here(replace(EMPTY, desired=DesiredState.SUSPENDED)), RestAgent(PLACE, "suspended as declared")),
    "and is left so": (here(replace(EMPTY, desired=DesiredState.SUSPENDED), agent=RESTING), Steady()),
    "deleting ends the turn first": (
        here(replace(EMPTY, desired=DesiredState.GONE, busy=True)),
        Wait("DeletePending", "ending the running turn first"),
    ),
    "then everything here": (here(replace(EMPTY, desired=DesiredState.GONE)), CloseLocal(PLACE, keep=False)),
    "the directory may be kept": (
        here(replace(EMPTY, desired=DesiredState.GONE, deletion=EffectiveDeletion.RETAIN)),
        CloseLocal(PLACE, keep=True),
    ),
    "or all of it be left alone": (
        here(replace(EMPTY, desired=DesiredState.GONE, deletion=EffectiveDeletion.ORPHAN, busy=True), replace(DECLARED, here=False)),
        LeaveLocal(PLACE),
    ),
    "the protected is not ended": (
        here(replace(EMPTY, desired=DesiredState.GONE, protected=True)),
        Refuse("Protected", f"its agent on this host is protected from deletion; {CONFIRM} lets it go"),
    ),
    # while VMs cannot be had
    "without a VM, in an outage, it works here": (nowhere(BLOCKED, FALLBACK), OpenLocal(PLACE, fallback=True)),
    "not when it has a VM": (lieutenant(FILLED, local=FALLBACK), Steady(until=NOW + 10)),
    "not when one may be had": (nowhere(EMPTY, FALLBACK), Create(1)),
    "not for the hold after an empty store": (
        nowhere(BLOCKED, replace(FALLBACK, outage="")),
        Wait("PlatformBlocked", BLOCKED.blocked, until=NOW + 30),
    ),
    "not without leave, which is said": (
        nowhere(BLOCKED, replace(FALLBACK, hosting=Hosting.NOT_ALLOWED)),
        Wait("PlatformBlocked", f"{BLOCKED.blocked}; outageFallback needs a controller started with --allow-local", until=NOW + 30),
    ),
    "it says that it works here, and why": (
        here(BLOCKED, FALLBACK),
        Wait("LocalFallback", f"{WORKS}PlatformBlocked: {BLOCKED.blocked}", until=NOW + 10),
    ),
    "a probe that is due is made all the same": (here(EMPTY, FALLBACK), Create(1)),
    "its VM is prepared meanwhile": (
        moving(standby=StandbyVM(CLAIM, guest(keeper_alive=False), None), agent=agent(replace(UP_HERE, busy=True))),
        StartKeeper(VM),
    ),
    "a VM that can't be reached is waited for": (
        moving(standby=StandbyVM(CLAIM, None, None)),
        Wait("LocalFallback", f"{WORKS}GuestUnreachable: not looked at yet", until=NOW),
    ),
    "a running turn is finished here": (
        moving(agent=agent(replace(UP_HERE, busy=True)), active_task=True),
        Wait("LocalFallback", f"{WORKS}VM {VM} is ready and taken when the agent is settled", until=NOW + 1),
    ),
    "nothing new is begun": (
        moving(agent=agent(replace(UP_HERE, busy=True))),
        Wait("MovePending", f"{WORKS}VM {VM} is ready and taken when the agent is settled", until=NOW + 1),
    ),
    "settled, pi is stopped": (moving(), RestAgent(PLACE, f"moving to VM {VM}")),
    "then whoever might start it here is shut out": (moving(agent=RESTING), FenceLocal(PLACE)),
    "then all of it moves": (fenced(moving(agent=RESTING)), MoveToVm(VM)),
    "not before its words are safe": (
        moving(agent=RESTING).but(slot=replace(FILLED, mirrored=False)),
        StartAgent(PLACE),
    ),
    "too large to move, it goes on here": (
        moving().but(record=LieutenantRecord(slot=FILLED.record, local=LocalRecord(state="Home", blocked="too large"))),
        Wait("LocalFallback", f"{WORKS[:-2]}; it can't move to VM {VM}: too large", until=NOW + 10),
    ),
    "what was left goes when the VM's agent has answered": (
        here(FILLED, FALLBACK, "Left", rendered=RENDERED, claim=CLAIM, guest=GUEST, agent=AGENT),
        CloseLocal(PLACE, keep=False),
    ),
    "not before": (
        left(RESTING),
        StartAgent(VM),
    ),
    "a VM that is gone right after the move: it comes back to what was left": (
        nowhere(local=replace(FALLBACK, outage=""), record=LieutenantRecord(local=LocalRecord(state="Left", fallback=True))),
        OpenLocal(PLACE, fallback=True),
    ),
    "one that lives here since an outage and may no more is not touched": (
        here(BLOCKED, replace(FALLBACK, hosting=Hosting.NOT_ALLOWED), guest=None, agent=None),
        Refuse("LocalNotAllowed", "its agent runs on the controller's host, which needs a controller started with --allow-local"),
    ),
}


@pytest.mark.guarantee("G-31")
@pytest.mark.parametrize("name", HOME_SCENARIOS)
def test_scenario(name: str) -> None:
    view, expected = HOME_SCENARIOS[name]
    assert plan(view) == expected


@st.composite
def anywhere(draw: st.DrawFn) -> LieutenantView:
    """Any lieutenant around any slot, with any place here."""
    view = draw(lieutenants())
    local = LocalRecord().but(state=draw(st.sampled_from(["", "Home", "Left"])), fallback=True, fenced=draw(st.sampled_from([0, 1])))
    placement = LocalPlacement(
        declared=draw(st.booleans()),
        fallback=draw(st.booleans()),
        hosting=draw(st.sampled_from(Hosting)),
        here=draw(st.booleans()),
        place=PLACE,
        outage=draw(st.sampled_from(["", "full"])),
        machine=draw(st.sampled_from([None, RENDERED])),
    )
    standby = draw(st.sampled_from([None, READY_VM]))
    if placement.declared:  # it never has a VM
        view = view.but(slot=replace(view.slot, record=SlotRecord(), vm=Absent(proven=True)))
    return view.but(record=view.record.but(local=local), local=placement, standby=standby)


@pytest.mark.guarantee("G-31")
@given(anywhere())
def test_it_is_never_at_two_places(view: LieutenantView) -> None:
    decision = plan(view)
    working = view.agent is not None and getattr(getattr(view.agent, "process", None), "pid", None) is not None
    match decision:
        case OpenLocal():
            assert not view.slot.record.vm_id
            assert view.local.hosting is Hosting.ALLOWED
        case MoveToVm():
            assert view.record.local.fenced == view.slot.record.epoch
            assert isinstance(view.slot.vm, Seen)
            assert view.slot.vm.state is VmState.RUNNING
            assert not working
            assert not view.active_task
            assert view.slot.mirrored
        case RestAgent():
            assert view.settled or (view.slot.desired is DesiredState.SUSPENDED and not view.slot.busy)
        case StartAgent(at):
            assert at == (PLACE if view.record.local.state == "Home" else view.slot.record.vm_id)
            assert view.record.local.state != "Home" or view.local.hosting is Hosting.ALLOWED
        case CloseLocal():
            assert view.local.here
            assert view.record.local.state


def test_seen_from_the_vm_it_is_on_the_vm() -> None:
    assert moving().vm_id == PLACE
    assert at_vm(moving()).vm_id == VM


def test_the_part_of_a_profile_that_applies_here() -> None:
    assert HERE.work_dir == f"{TREE}/root/workspace"
    assert HERE.steps == HERE.checks == ()
    assert [f.path for f in HERE.files] == ["notes.txt"]
    assert all(f.path.startswith(TREE) for f in HERE.agent_files)
    assert HERE.argv[1].startswith(TREE)
    assert HERE.launch_hash != RENDERED.launch_hash
    assert localized(RENDERED, TREE) == HERE, "same in, same out"
    assert f"{TREE}/root/workspace" in HERE.agent_files[0].content


def test_the_parts_that_do_not_are_named() -> None:
    made = replace(RENDERED, files=(replace(RENDERED.files[0], path="/etc/hosts"), RENDERED.files[0]))
    assert isinstance(made, Rendered)
    told = not_applied(made, [profile(organs=["store"])])
    assert told == ("organs (store)", "files with absolute paths (/etc/hosts)", "steps (tools)", "verify (works)")
    assert not_applied(replace(RENDERED, steps=(), checks=()), []) == ()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"), max_size=30))
def test_a_session_file_s_first_line_is_translated_there_and_back(name: str) -> None:
    tree = f"/srv/{name}"
    machine = json.dumps({"type": "session", "cwd": "/root/workspace"}, separators=(",", ":"), ensure_ascii=False).encode() + b"\nmore"
    local = header_to(machine, tree)
    assert json.loads(local.partition(b"\n")[0])["cwd"] == in_tree(tree, "/root/workspace")
    assert header_from(local, tree) == machine
    assert header_to(machine, "") == machine


def test_a_directory_is_named_by_root_and_uid_and_is_short() -> None:
    assert local_dir("/srv/agents", "a") != local_dir("/srv/agents", "b")
    assert len(local_dir("/srv/agents", "a" * 300)) == len("/srv/agents/") + 16
