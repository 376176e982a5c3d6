"""HTTP requests as values in, outcomes as values out: authentication, latencies, faults, late effects. No I/O, no waiting.

call = api.begin(Request.of("GET", "/api/v1/vms", headers))
match api.step(call):
    case Wait(until): ...            # step again then
    case Answer(reply): ...
    case Reset() | Hang(): ...       # no answer: the connection breaks, or nothing ever comes
    case Inside(work): ...           # done in a guest by whoever drives; then api.answered(call, reply)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from reconciler.vers.simulator import limits
from reconciler.vers.simulator.faults import Fault, FaultPlan
from reconciler.vers.simulator.ledger import Entry
from reconciler.vers.simulator.operations import Args, GuestWork, Operations
from reconciler.vers.simulator.records import Caller, Deferred, DropConnections
from reconciler.vers.simulator.routes import UNAUTHENTICATED, Request, Router, Target
from reconciler.vers.simulator.wire import ApiError, Query, Reply
from reconciler.vers.simulator.world import NotYet, World


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to send yet: `step` again at `until` of the clock."""

    until: float


@dataclass(frozen=True, slots=True)
class Answer:
    reply: Reply


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection breaks."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing ever comes; `abandon` the call when the client has gone."""


@dataclass(frozen=True, slots=True)
class Inside:
    work: GuestWork


Outcome = Wait | Answer | Reset | Hang | Inside


class _Stage(Enum):
    NEW = auto()
    READY = auto()  # the fault before the effect is behind it
    INSIDE = auto()
    DONE = auto()


@dataclass(slots=True)
class Call:
    """One request under way."""

    request: Request
    target: Target
    entry: Entry
    fault: Fault | None
    not_before: float
    who: Caller
    refusal: ApiError | None
    stage: _Stage = _Stage.NEW
    reply: Reply | None = None
    subjects: list[str] = field(default_factory=list)


class Api:
    """`latency`: operation (or `*`) → seconds added to each call before anything happens."""

    def __init__(self, world: World, latency: dict[str, float] | None = None) -> None:
        self.world = world
        self.latency = dict(latency or {})
        self.faults = FaultPlan()
        self.operations = Operations(world)
        self.router = Router()

    def begin(self, request: Request) -> Call:
        world = self.world
        target = self.router.match(request)
        now = world.clock()
        owner, refusal = "", None
        if target.op not in UNAUTHENTICATED or target.op == "unknown":
            try:
                owner = world.authenticate(request.headers.get("authorization", ""))
            except ApiError as exc:
                refusal = exc
        key = request.headers.get("x-idempotency-key", "")
        entry = world.ledger.begin(now, owner, target.op, request.method, request.path, key)
        fault = self.faults.strike(target.op)
        delay = self.latency.get(target.op, self.latency.get("*", 0.0))
        if fault is not None:
            entry.fault = str(fault)
            if fault.kind == "delay":
                delay += fault.seconds
        return Call(request, target, entry, fault, now + delay, Caller(owner, entry.seq), refusal)

    def step(self, call: Call) -> Outcome:
        """What happens next to this call; see the module's example."""
        self.tick()
        now = self.world.clock()
        if call.reply is None:
            if call.not_before > now:
                return Wait(call.not_before)
            if call.stage is _Stage.NEW:
                call.stage = _Stage.READY
                struck = self._before(call)
                if struck is not None:
                    return struck
            try:
                done = self._perform(call)
            except NotYet as exc:
                return Hang() if exc.at == float("inf") else Wait(exc.at)
            if not isinstance(done, Reply):
                call.stage = _Stage.INSIDE
                return Inside(done)
            call.reply = done
        if call.reply.at > now:
            return Wait(call.reply.at)
        return self._after(call, call.reply)

    def answered(self, call: Call, reply: Reply) -> Outcome:
        """The guest's part is done, and this is the reply to it."""
        call.reply = reply
        return self.step(call)

    def abandon(self, call: Call, outcome: str = "gone") -> None:
        """The client went away."""
        self.world.ledger.end(call.entry, self.world.clock(), outcome)

    def tick(self) -> None:
        """Let late effects happen whose time has come."""
        for late in self.world.due():
            segments = tuple(late.path[1:].split("/"))
            request = Request(late.method, late.path, segments, Query(late.query), {}, late.body.encode())
            target = self.router.match(request)
            entry = self.world.ledger.begin(self.world.clock(), late.owner, f"late:{late.op}", "LATE", late.path, "")
            args = Args(Caller(late.owner, entry.seq), target.params, request.query, request.body, segments)
            try:
                done = self.operations.run(late.op, args)
                outcome = str(done.status) if isinstance(done, Reply) else "late"
            except ApiError as exc:
                outcome = str(exc.status)
            except NotYet as exc:
                outcome = "late"
                self._defer(request, late.op, late.owner, exc.at)
            self.world.ledger.end(entry, self.world.clock(), outcome)

    # --- faults ------------------------------------------------------------------------------------------------------------

    def _before(self, call: Call) -> Outcome | None:
        fault = call.fault
        if fault is None or fault.when != "before":
            return None
        if fault.kind == "late":
            if call.refusal is None:
                self._defer(call.request, call.target.op, call.who.owner, self.world.clock() + fault.seconds)
            return self._end(call, Reset(), "late")
        return self._strike(call, fault)

    def _after(self, call: Call, reply: Reply) -> Outcome:
        call.stage = _Stage.DONE
        fault = call.fault
        if fault is not None and fault.when == "after":
            struck = self._strike(call, fault)
            if struck is not None:
                return struck
        return self._end(call, Answer(reply), str(reply.status))

    def _strike(self, call: Call, fault: Fault) -> Outcome | None:
        if fault.kind == "reset":
            return self._end(call, Reset(), "reset")
        if fault.kind == "hang":
            call.entry.outcome = "hang"
            return Hang()
        if fault.answer is not None:
            return self._end(call, Answer(fault.answer), str(fault.answer.status))
        vm_id = call.target.params.get("vm_id", "")
        if fault.kind == "expire_key":
            self.world.key_expired = True
        elif fault.kind == "ssh_drop":
            self.world.effects.append(DropConnections(vm_id))
        elif fault.kind == "vm_dies":
            for subject in {vm_id, *call.entry.subjects} & self.world.present.keys():
                self.world.kill(subject)
        return None

    def _defer(self, request: Request, op: str, owner: str, at: float) -> None:
        body = request.body.decode(errors="replace")
        self.world.deferred.append(Deferred(at, op, request.method, request.path, dict(request.query.values), body, owner))
        self.world.touch("meta", "deferred")

    def _end(self, call: Call, outcome: Outcome, told: str) -> Outcome:
        self.world.ledger.end(call.entry, self.world.clock(), told)
        return outcome

    # --- the operation itself ----------------------------------------------------------------------------------------------

    def _perform(self, call: Call) -> Reply | GuestWork:
        world, request, op = self.world, call.request, call.target.op
        before = world.ledger.changed
        remembered = f"{op} {call.entry.key}" if call.entry.key and world.knobs.honour_idempotency_key == "yes" else ""
        try:
            if call.refusal is not None:
                raise call.refusal
            if op == "unknown":
                raise ApiError(404 if call.target.allowed else 405, b"", None)
            world.throttle()
            if remembered in world.replies:
                return world.replies[remembered]
            args = Args(call.who, call.target.params, request.query, request.body, request.segments)
            done = self.operations.run(op, args)
        except ApiError as exc:
            done = exc.reply
        call.entry.subjects += [change.subject for change in world.ledger.since(before)]
        if remembered and isinstance(done, Reply) and done.status < 300:
            world.replies[remembered] = done
            while len(world.replies) > limits.REPLIES:
                del world.replies[next(iter(world.replies))]
        return done
