"""A tiny platform around the real slot planner, small enough to be explored whole (reliability-performance §1.7).

A state is everything there is: the declaration, the durable record, the VMs, what lists may still show, effects that are
under way, and what is left of the budgets for trouble. Time is one event, `tick`: a settle window passes, after which lists
show at least what was there before it and no create is still under way."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from reconciler.core.decisions import (
    BindCreated,
    ClearSlot,
    Create,
    Decision,
    Delete,
    GiveUpIntent,
    LabelClaim,
    MarkForDeletion,
    Refuse,
    Release,
    Resume,
    Steady,
    Suspend,
    Wait,
)
from reconciler.core.keys import Key, SlotOwner
from reconciler.core.records import SlotRecord
from reconciler.core.slot import claims, pairing
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.pairing import Pending
from reconciler.core.slot.policies import plan
from reconciler.core.snapshot.slot import DesiredState, OpenIntent, Slot
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, Vm, VmState

US = Owner("fleet", "us")
SLOT = SlotOwner.of(Key("Lieutenant", "default", "api"), "uid")
STATES = {"B": VmState.BOOTING, "R": VmState.RUNNING, "S": VmState.SUSPENDED, "D": VmState.DEAD}


class Machine(NamedTuple):
    """`state`: B R S D, or X for deleted. `token`: of the create that made it, 0 for somebody else's."""

    state: str
    claimed: bool
    token: int


class Budget(NamedTuple):
    """How much trouble is left."""

    crash: int = 0
    fault: int = 0  # errors, lost answers, late effects
    stale: int = 0  # lists that lag
    edit: int = 0
    world: int = 0  # VMs that die, vanish, sleep, wake; somebody else's


class State(NamedTuple):
    left: Budget
    desired: DesiredState = DesiredState.RUNNING
    vm: int = -1  # recorded
    marked_for_deletion: bool = False
    tried: bool = False  # to delete it
    intent: int = 0  # 0 none, 1 open, 2 open and settled
    token: int = 0
    vms: tuple[Machine, ...] = ()
    lists: tuple[tuple[Machine, ...], ...] = ()  # older than now, newest last
    sight: int = 0  # of the recorded VM: 0 seen in this window, 1 not, 2 and a list since then lacked it
    late: tuple[str, ...] = ()  # effects under way
    busy: bool = False
    released: bool = False

    def changed(self, vms: tuple[Machine, ...], depth: int = 4) -> State:
        """The platform shows something else; lists may go on showing what was."""
        return self if vms == self.vms else self._replace(vms=vms, lists=(*self.lists, self.vms)[-depth:])

    def machine(self, index: int, **changes: object) -> State:
        vms = list(self.vms)
        vms[index] = vms[index]._replace(**changes)  # type: ignore[arg-type]
        return self.changed(tuple(vms))

    def spend(self, what: str) -> State:
        return self._replace(left=self.left._replace(**{what: getattr(self.left, what) - 1}))

    def made(self, token: int) -> State:
        return self.changed((*self.vms, Machine("B", False, token)))

    def ours(self) -> list[int]:
        return [i for i, m in enumerate(self.vms) if m.token and m.state != "X"]


class Bad(Exception):
    """What must never happen."""


# --- the controller: one look, one act -------------------------------------------------------------------------------------------


@cache
def candidates(token: int, shown: tuple[Machine, ...], owned: int) -> tuple[str, ...]:
    """What the product's own pairing says about this list."""
    vms = {}
    for i, m in enumerate(shown):
        if m.state != "X":
            labels = claims.birth_labels(US, SLOT, 1, str(m.token)) if m.token else {}
            if m.claimed:
                labels |= claims.claim_labels(US, SLOT, 1, str(i))
            vms[str(i)] = Vm(str(i), "a", 0.0, STATES[m.state], labels)
    mine = frozenset({str(owned)}) if owned >= 0 else frozenset()
    return pairing.pair([Pending(str(token), "", None, 0.0)], vms, mine, {}, {})[str(token)] or ()


@cache
def decide(
    desired: DesiredState,
    vm: int,
    marked_for_deletion: bool,
    tried: bool,
    seen: str,
    proven: bool,
    claimed: bool,
    intent: int,
    fits: tuple[str, ...],
    busy: bool | None,
) -> Decision:
    """The product's own plan. `seen`: B R S D, X for absent, ? for unreadable."""
    observed = Unknown("503") if seen == "?" else Absent(proven) if seen == "X" else Seen(STATES[seen], claimed)
    opened = OpenIntent("t", intent == 2, None if seen == "?" else fits) if intent else None
    return plan(
        Slot(
            desired,
            SlotRecord(vm_id=str(vm) if vm >= 0 else "", marked_for_deletion=marked_for_deletion, delete_attempts=int(tried)),
            observed,
            opened,
            busy=busy,
        )
    )


def look(s: State, shown: tuple[Machine, ...] | None) -> tuple[State, Decision]:
    """Gather from this list (None: it can't be read) and plan; what was sighted is remembered."""
    fits = candidates(s.token, shown, s.vm) if s.intent and shown is not None else ()
    if s.vm < 0:
        return s, decide(s.desired, -1, False, False, "?" if shown is None else "X", True, False, s.intent, fits, False)
    if shown is None:
        return s, decide(s.desired, s.vm, s.marked_for_deletion, s.tried, "?", False, False, 0, (), None)
    there = shown[s.vm] if s.vm < len(shown) else Machine("X", False, 0)
    proven = False
    if there.state != "X":
        s = s._replace(sight=0)
    elif s.sight == 2:
        proven = s.vms[s.vm].state == "X"  # its own status is a strong read
    elif s.sight == 1:
        s = s._replace(sight=2)
    alive = s.vms[s.vm].state == "R"
    busy: bool | None = (s.busy if alive else None) if there.state == "R" else False
    if s.desired is DesiredState.GONE:
        busy = s.busy
    return s, decide(s.desired, s.vm, s.marked_for_deletion, s.tried, there.state, proven, there.claimed, 0, (), busy)


def act(s: State, decision: Decision) -> Iterator[tuple[str, State]]:
    """Everything that may come of carrying it out, within the budgets; the first is the good outcome."""
    gone = s.spend("crash")._replace(sight=0)
    match decision:
        case Create():
            token = s.token + 1
            opened = s._replace(token=token, intent=1)
            yield "create", s.made(token)._replace(token=token, vm=len(s.vms), marked_for_deletion=False, tried=False, sight=0)
            if s.left.fault:
                yield "create fails", s.spend("fault")._replace(token=token)
                yield "create lost", opened.spend("fault").made(token)
                yield "create unanswered, nothing made", opened.spend("fault")
                if s.left.crash:
                    yield "crash, create late", opened.spend("fault").spend("crash")._replace(late=(*s.late, f"create {token}"))
            if s.left.crash:
                yield "crash before create", gone._replace(token=token, intent=1)
                yield "crash after create", gone._replace(token=token, intent=1).made(token)
        case BindCreated(vm_id, _):
            yield "adopt", s._replace(vm=int(vm_id), intent=0, marked_for_deletion=False, tried=False, sight=0)
        case GiveUpIntent():
            yield "give up", s._replace(intent=0)
        case LabelClaim():
            yield "claim", s.machine(s.vm, claimed=True) if s.vms[s.vm].state != "X" else s
        case Suspend():
            if s.busy:
                raise Bad("a turn was cut off")
            yield "suspend", s.machine(s.vm, state="S") if s.vms[s.vm].state == "R" else s
        case Resume():
            yield "resume", s.machine(s.vm, state="R") if s.vms[s.vm].state == "S" else s
        case MarkForDeletion():
            sure = s.desired is DesiredState.GONE or s.vms[s.vm].state in "DX"  # a dead one is looked at once more by itself
            yield "condemn", s._replace(marked_for_deletion=True) if sure else s
        case Delete():
            judge_delete(s, s.vm)
            s = s._replace(tried=True)
            yield "delete", s.machine(s.vm, state="X")
            if s.left.fault:
                yield "delete late", s.spend("fault")._replace(late=tuple(sorted({*s.late, f"delete {s.vm}"})))
        case ClearSlot():
            if s.vms[s.vm].state != "X":
                raise Bad("a VM that exists was forgotten")
            yield "forget", s._replace(vm=-1, marked_for_deletion=False, tried=False, sight=0, busy=False)
        case Release():
            if s.ours() or s.intent or any(effect.startswith("create") for effect in s.late):
                raise Bad("released with something left outside")
            yield "release", s._replace(released=True)
        case Wait() | Refuse() | Steady():
            yield "rest", s


def judge_delete(s: State, index: int) -> None:
    if not s.vms[index].token:
        raise Bad("somebody else's VM was deleted")
    if not (s.marked_for_deletion and s.vm == index):
        raise Bad("a VM was deleted that was not marked for deletion")
    if s.busy:
        raise Bad("a VM was deleted in the middle of a turn")


# --- everything that may happen next -------------------------------------------------------------------------------------------------


def successors(s: State) -> Iterator[tuple[str, State]]:
    if not s.released:
        yield from act(*look(s, s.vms))
        if s.left.fault:
            yield from act(*look(s.spend("fault"), None))
        if s.left.stale:
            for older in s.lists:
                for name, after in act(*look(s.spend("stale"), older)):
                    yield f"{name} (stale list)", after
        yield from edits(s)
    if s.left.crash:
        yield "crash", s.spend("crash")._replace(sight=0)
    yield from world(s)


def edits(s: State) -> Iterator[tuple[str, State]]:
    if s.left.edit and s.desired is not DesiredState.GONE:
        for desired in DesiredState:
            if desired is not s.desired:
                yield f"declare {desired}", s.spend("edit")._replace(desired=desired)


def world(s: State) -> Iterator[tuple[str, State]]:
    """Late effects, time, boots and turns are free; the rest costs."""
    for i, m in enumerate(s.vms):
        if m.state == "B":
            yield "boots", s.machine(i, state="R")
    if s.busy:
        yield "turn ends", s._replace(busy=False)
    for effect in s.late:
        yield f"late {effect}", land(s, effect)
    if not any(effect.startswith("create") for effect in s.late):
        yield "tick", tick(s)
    if not s.left.world:
        return
    paid = s.spend("world")
    if len(s.vms) < 4:
        yield "somebody else's VM", paid.changed((*s.vms, Machine("R", False, 0)))
    if s.vm < 0:
        return
    state = s.vms[s.vm].state
    if state == "R" and s.desired is DesiredState.RUNNING and s.vms[s.vm].claimed and not s.busy:
        yield "turn begins", paid._replace(busy=True)
    if state in "RS":
        yield "dies", paid.machine(s.vm, state="D")._replace(busy=False)
        yield "vanishes", paid.machine(s.vm, state="X")._replace(busy=False)
        yield "sleeps or wakes behind our back", paid.machine(s.vm, state="S" if state == "R" else "R")


def land(s: State, effect: str) -> State:
    left = s._replace(late=tuple(other for other in s.late if other != effect))
    verb, number = effect.split()
    return left.made(int(number)) if verb == "create" else left.machine(int(number), state="X")


def tick(s: State) -> State:
    """A settle window passes."""
    return s._replace(lists=(), sight=max(s.sight, 1), intent=2 if s.intent else 0)


# --- a quiet world ----------------------------------------------------------------------------------------------------------------------


def quiet(s: State) -> State:
    """What happens next when nothing goes wrong any more; the state itself when it rests."""
    if s.late:
        return land(s, s.late[0])
    booting = next((i for i, m in enumerate(s.vms) if m.state == "B"), None)
    if booting is not None:
        return s.machine(booting, state="R")
    if s.busy:
        return s._replace(busy=False)
    if s.released:
        return s
    seen, decision = look(s, s.vms)
    after = next(act(seen, decision))[1]
    return after if after != s or not isinstance(decision, Wait) else tick(s)


def reached(s: State) -> bool:
    """The declared state is there, and nothing of ours beside it."""
    if s.desired is DesiredState.GONE:
        return s.released and not s.ours()
    if s.vm >= 0:
        wanted = "R" if s.desired is DesiredState.RUNNING else "S"
        return s.ours() == [s.vm] and s.vms[s.vm].state == wanted and s.vms[s.vm].claimed
    return s.desired is DesiredState.SUSPENDED and not s.ours()
