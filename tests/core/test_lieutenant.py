"""One lieutenant: the escalation of what must be true inside its machine, as a table of promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from reconciler.api.budget import Budget
from reconciler.api.lieutenant import OnLost, OnWorkspaceLost, PostTask
from reconciler.core.decisions import (
    Acknowledge,
    BeginSession,
    BringMemory,
    ClearSlot,
    ContinueSession,
    CorrectClock,
    CountCrash,
    Create,
    Decision,
    Delete,
    GuestClaim,
    Install,
    KeepEnd,
    MarkForDeletion,
    MoveOn,
    NoteHours,
    NoteRefusals,
    NoteRest,
    NoteSession,
    NoteSpending,
    NoteWake,
    NoteWorkspace,
    ReadBack,
    Refuse,
    Release,
    RestoreSession,
    Retire,
    RewindSession,
    RunStep,
    RunVerify,
    SaveMemory,
    SetModel,
    StandStill,
    StartAgent,
    StartKeeper,
    Steady,
    StopAgent,
    Suspend,
    Wait,
    WriteFiles,
)
from reconciler.core.lieutenant.configuration import asked
from reconciler.core.lieutenant.policies import STAGES, plan
from reconciler.core.lieutenant.preparation import check_mark, process_of, step_mark
from reconciler.core.plan import is_action
from reconciler.core.profile.rendering import with_secrets
from reconciler.core.provider.breaker import ProviderBreaker
from reconciler.core.records import (
    BootRecord,
    BudgetRecord,
    ConfigRecord,
    LieutenantRecord,
    LoadedRecord,
    MemoryRecord,
    RestartRecord,
    RestRecord,
    SessionRecord,
    StandRecord,
    WorkspaceRecord,
)
from reconciler.core.slot.branching import STAND_SECONDS
from reconciler.core.snapshot.agent import Compacting, Exited, Guarded, Inside, NotStarted, Refusal, Refusals, Up
from reconciler.core.snapshot.branch import Copies
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.memory import Memory, OnMachine, Taken
from reconciler.core.snapshot.provider import Provider
from reconciler.core.snapshot.rendered import Rendered, SecretRef, Unresolved
from reconciler.core.snapshot.requests import AnnotationRequests
from reconciler.core.snapshot.session import Divergence
from reconciler.core.snapshot.slot import DesiredState, Slot
from reconciler.core.snapshot.stages import Idle
from reconciler.core.snapshot.vm import Seen, Unknown, VmState
from reconciler.core.spending.ledger import Spent
from reconciler.core.spending.pool import Pool
from tests.core.test_local import HOME_SCENARIOS
from tests.core.test_replacement import SCENARIOS as REPLACEMENT_SCENARIOS
from tests.core.test_spare import MOVES
from tests.core.views import (
    DIED,
    EMPTY,
    FILLED,
    MARKS,
    NOW,
    OTHER,
    RENDERED,
    RUNNING,
    UP,
    VM,
    agent,
    decider,
    guest,
    lieutenant,
    lieutenant_spec,
    lieutenants,
    marked,
    rendered,
)

STEADY = Steady(until=NOW + 10)
WAITS = Unresolved("ProfileNotFound", "BootProfile p does not exist")
FINAL = Unresolved("InvalidProfile", "BootProfile p extends itself", final=True)
SILENT = Unknown("no answer")


ASKED = Copies(("lieutenant/copy",))
CORRECT_THE_KEY = "correct Secret s key k, or give it the right at the provider; a changed value is tried at once"
CORRECT_THE_MODEL = "correct `model`, its provider in the profile or that provider's key; `reconciler retry` asks again"
ASKED_AGAIN = "nothing has to be done: it is asked again by itself; `reconciler retry` asks now"


def refusing(reason: str, next_probe: float = NOW + 30) -> ProviderBreaker:
    return ProviderBreaker(reason, "no", NOW - 60, next_probe=next_probe)


PARTED = Divergence(at=3, machine=5, mirror=9)
DIVERGED = (
    f"5 bytes on {VM}, 9 in the mirror, the same up to byte 3; `reconciler resolve lieutenant api --session vm|local` says which goes on"
)
DECLARED = "session.generation 2 is declared"


def talking(generation: int = 1, **more: object) -> LieutenantRecord:
    """The record of a lieutenant whose conversation has begun."""
    return LieutenantRecord(session=SessionRecord(name=f"u-g{generation}", generation=generation).but(**more))


def answers(answer: str) -> LieutenantRecord:
    return talking(answer=answer)


def standing(**stand: object) -> LieutenantRecord:
    """One that stands still, to be copied."""
    record = RUNNING.record.but(session=SessionRecord(name="u-g1", generation=1))
    return record.but(stand=StandRecord(vm_id=VM, session="u-g1", size=9, since=NOW - 5).but(**stand))


STANDS = standing()
TALKING = STANDS.but(stand=StandRecord())
SPOKEN = replace(agent(UP), session_size=9)
IDLE = agent(NotStarted())
PLAIN = rendered(files=[], steps=[], verify=[])


def adopted(session: SessionRecord | None = None, **changes: object) -> LieutenantView:
    """A lieutenant whose machine was adopted."""
    slot = replace(FILLED, record=FILLED.record.but(adopted=VM))
    view = lieutenant(slot, **changes)
    return view.but(record=view.record.but(session=session)) if session is not None else view


def restart(**record: object) -> LieutenantRecord:
    return RUNNING.record.but(restart=RestartRecord().but(**record))


def boot(**record: object) -> LieutenantRecord:
    return RUNNING.record.but(boot=BootRecord(vm_id=VM, step="tools").but(**record))


def unsupported(view: LieutenantView) -> LieutenantView:
    return view.but(unsupported=("spec.budget",))


MODEL = rendered(lieutenant_spec(model={"provider": "a", "id": "one", "thinking": "high"}))


RECALLING = rendered(lieutenant_spec(memory={"scopes": ["Agent"]}))
FINDING = rendered(lieutenant_spec(memory={"scopes": ["Agent"], "extractFacts": True, "factsModel": {"provider": "cheap", "id": "small"}}))
REMEMBERED, TAKEN = OnMachine("uid", "two", "none"), Taken("t", "t")


def having(**process: object) -> LieutenantView:
    """One with a declared model, and a pi that has this."""
    has = replace(UP, **{"model": "a/one", "thinking": "high", **process})  # type: ignore[arg-type]
    return lieutenant(rendered=MODEL, agent=agent(has))


def remembering(
    there: OnMachine = REMEMBERED, taken: Taken | None = TAKEN, *, saved: bool = False, rendered: Rendered = RECALLING
) -> LieutenantView:
    """One with a memory: what its machine has of it, and what its pi was given and has."""
    up = replace(UP, launch_hash=rendered.launch_hash, memory=taken)
    record = RUNNING.record.but(memory=MemoryRecord(place=VM, agent=there.agent, shared=there.shared)) if saved else RUNNING.record
    return lieutenant(rendered=rendered, agent=agent(up, memory=there), memory=Memory(REMEMBERED), record=record)


def refused(why: str) -> LieutenantRecord:
    return RUNNING.record.but(config=ConfigRecord(pid=100, asked=asked(MODEL), why=why))


REFUSED = Refuse("Unsupported", "not acted on in this release: spec.budget; remove it or use a later release")
UNFINISHED = marked(files=RENDERED.files_hash)
STEPPED = {"files": RENDERED.files_hash, **dict([step_mark(RENDERED.steps[0])])}
CARRYING = rendered(organs=["store"], steps=[], verify=[], files=[])
CARRIED = {"organs": CARRYING.organs_hash, "verify:organ:store": check_mark(CARRYING.organ_checks[0])[1]}
LOADED = {**CARRIED, "prepared": CARRYING.profile_hash, "agent": CARRYING.agent_hash}
STORE = "/root/.pi/agent/skills/fleet-store/SKILL.md"
OLDER = guest(marks={**MARKS, "prepared": "older"})
SECRETIVE = with_secrets(
    rendered(files=[{"path": "key", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}], steps=[], verify=[]),
    {SecretRef("s", "k"): "print"},
)


def carrying(**record: object) -> LieutenantView:
    """pi runs with an organ; what is recorded of what it has loaded."""
    up = replace(UP, launch_hash=CARRYING.launch_hash)
    view = lieutenant(guest=guest(marks=LOADED), agent=agent(up), rendered=CARRYING)
    loaded = LoadedRecord(process=process_of(view.lt, up)).but(**record)
    return view.but(record=view.record.but(loaded=loaded))


def outdated(**changes: object) -> LieutenantView:
    return lieutenant(guest=OLDER, recreate=True).but(**changes)


def slot(**changes: object) -> Slot:
    return replace(FILLED, **changes)  # type: ignore[arg-type]


def secretive(written: str) -> LieutenantView:
    marks = {"prepared": SECRETIVE.profile_hash, "agent": SECRETIVE.agent_hash, "secrets": written}
    return lieutenant(guest=guest(marks=marks), agent=IDLE, rendered=SECRETIVE)


def used(tokens: int, how: str = "Suspend") -> Pool:
    """A budget of 50 tokens of which so many are spent."""
    return Pool("its own budget", Budget.model_validate({"maxTokens": 50, "onExceeded": how}), Spent(tokens=tokens))


UNPRICED = Pool("its own budget", Budget.model_validate({"maxCost": "1"}), Spent(tokens=5, unpriced=5))
HOURS = Pool("its own budget", Budget.model_validate({"maxMachineHours": 5}))


def spending(pool: Pool, told: str = "Within") -> LieutenantView:
    """One with a budget, and how far that was last told to be used up."""
    return RUNNING.but(pools=(pool,), record=RUNNING.record.but(budget=BudgetRecord(state=told, since=1.0)))


RETRIED = RUNNING.record.but(handled={"retry": "1"})

SCENARIOS: dict[str, tuple[LieutenantView, Decision]] = {
    "a healthy one is left alone": (RUNNING, STEADY),
    "what is asked for by annotation is written down before anything follows from it": (
        lieutenant(EMPTY, guest=None, agent=None).but(requests=AnnotationRequests({"fleet.vers.sh/retry": "1"})),
        Acknowledge(("retry",)),
    ),
    "once": (RUNNING.but(requests=AnnotationRequests({"fleet.vers.sh/retry": "1"}), record=RETRIED), STEADY),
    "one without a machine gets one": (lieutenant(EMPTY, guest=None, agent=None), Create(1)),
    "nothing starts with a field that protects and is not acted on": (unsupported(lieutenant(EMPTY, guest=None, agent=None)), REFUSED),
    "what runs already goes on": (unsupported(RUNNING), STEADY),
    "and can be deleted": (unsupported(lieutenant(replace(EMPTY, desired=DesiredState.GONE), guest=None, agent=None)), Release()),
    "no machine is made for a profile that does not exist": (
        lieutenant(EMPTY, rendered=WAITS, guest=None, agent=None),
        Wait(WAITS.reason, WAITS.message),
    ),
    "nor for one that can't be right": (
        lieutenant(EMPTY, rendered=FINAL, guest=None, agent=None),
        Refuse(FINAL.reason, FINAL.message),
    ),
    "an unreadable VM is left alone": (lieutenant(replace(FILLED, vm=Unknown("503"))), Wait("VMUnknown", "503")),
    "a budget that is used up is told first": (spending(used(60)), NoteSpending("Exceeded", "its own budget: 60 of 50 tokens")),
    "then nothing is sent": (spending(used(60, "DenyNew"), told="Exceeded"), Wait("BudgetExceeded", "its own budget is used up")),
    "or its machine is to be suspended": (spending(used(60), told="Exceeded"), NoteRest("Budget", "its budget is used up")),
    "not before it is known what became of a turn": (
        spending(used(60), told="Exceeded").but(idle=Idle(sent=True)),
        Wait("BudgetExceeded", "its own budget is used up"),
    ),
    "one that only warns holds nothing": (spending(used(60, "Warn"), told="Exceeded"), STEADY),
    "a cost that nobody knows is a person's to settle": (
        spending(UNPRICED, told="CostUnknown"),
        Refuse("CostUnknown", "its own budget is in US dollars, and the cost of some answers is not known"),
    ),
    "the hours of its machine are noted while a budget bounds them": (spending(HOURS), NoteHours(VM)),
    "one without work is to rest": (RUNNING.but(idle=Idle(after=60, since=NOW - 60)), NoteRest("Idle", "without work for 60 s")),
    "in time": (RUNNING.but(idle=Idle(after=60, since=NOW - 55)), Steady(until=NOW + 5)),
    "and wakes for a task": (
        RUNNING.but(record=RUNNING.record.but(rest=RestRecord(reason="Idle")), idle=Idle(after=60, wanted="task/one")),
        NoteRest("", "task/one waits for it"),
    ),
    "how long that took is noted": (RUNNING.but(record=RUNNING.record.but(rest=RestRecord(woken_at=NOW - 3))), NoteWake()),
    "a worker goes when its tasks are done": (RUNNING.but(idle=Idle(since=NOW, done=True, post_task=PostTask.DELETE)), Retire()),
    "a suspended one is left asleep": (
        lieutenant(replace(FILLED, desired=DesiredState.SUSPENDED, vm=Seen(VmState.SUSPENDED)), guest=None, agent=None),
        Steady(),
    ),
    "one that was not looked at is looked at": (
        lieutenant(guest=None, agent=None),
        Wait("GuestUnreachable", "not looked at yet", until=NOW),
    ),
    "an unreachable machine is left alone": (lieutenant(guest=SILENT, agent=SILENT), Wait("GuestUnreachable", "no answer")),
    "a clock that went wrong is corrected": (lieutenant(guest=guest(clock_skew=-3600.0)), CorrectClock(VM)),
    "a small difference is not": (lieutenant(guest=guest(clock_skew=1.5)), STEADY),
    "a machine without our claim in it gets one": (lieutenant(guest=guest(claim=None)), GuestClaim(VM)),
    "a parent's copy of a claim is none": (lieutenant(guest=guest(claim={"uid": "u", "vm-id": "parent"})), GuestClaim(VM)),
    "what can't be rendered can't be prepared": (lieutenant(rendered=FINAL, agent=IDLE), Refuse(FINAL.reason, FINAL.message)),
    "it waits for what may still appear": (lieutenant(rendered=WAITS, agent=IDLE), Wait(WAITS.reason, WAITS.message)),
    "an agent that runs goes on without its profile": (lieutenant(rendered=WAITS), STEADY),
    "a bare machine gets node, pi and keeper": (lieutenant(guest=guest(node=None), agent=None), Install(VM)),
    "pi too": (lieutenant(guest=guest(pi=None), agent=None), Install(VM)),
    "an outdated keeper is replaced while it is down": (lieutenant(guest=guest(keeper="0.9", keeper_alive=False), agent=None), Install(VM)),
    "but never under a running pi": (lieutenant(guest=guest(keeper="0.9")), STEADY),
    "a keeper that is down is started": (lieutenant(guest=guest(keeper_alive=False), agent=None), StartKeeper(VM)),
    "no answer of the keeper is no answer": (lieutenant(agent=SILENT), Wait("AgentUnreachable", "no answer")),
    "one not asked yet is asked": (lieutenant(agent=None), Wait("AgentUnreachable", "the keeper has not answered yet", until=NOW)),
    "files come first": (lieutenant(guest=marked(), agent=IDLE), WriteFiles(VM, "files")),
    "changed files are written again": (lieutenant(guest=marked(files="older"), agent=IDLE), WriteFiles(VM, "files")),
    "then each step": (lieutenant(guest=UNFINISHED, agent=IDLE), RunStep(VM, "tools")),
    "then each check": (lieutenant(guest=guest(marks=STEPPED), agent=IDLE), RunVerify(VM, "works")),
    "then it is prepared": (
        lieutenant(guest=guest(marks={**STEPPED, **dict([check_mark(RENDERED.checks[0])])}), agent=IDLE),
        WriteFiles(VM, "prepared"),
    ),
    "a profile without files, steps and checks is prepared at once": (
        lieutenant(guest=marked(), agent=IDLE, rendered=PLAIN),
        WriteFiles(VM, "prepared"),
    ),
    "a step whose script changed since runs again": (
        lieutenant(guest=guest(marks={**STEPPED, "step:tools": "older"}), agent=IDLE),
        RunStep(VM, "tools"),
    ),
    "organs come before the steps": (lieutenant(guest=marked(), agent=IDLE, rendered=CARRYING), WriteFiles(VM, "organs")),
    "and are verified": (
        lieutenant(guest=marked(organs=CARRYING.organs_hash), agent=IDLE, rendered=CARRYING),
        RunVerify(VM, "organ:store"),
    ),
    "pi is asked what it has loaded": (carrying(process="another"), ReadBack(VM)),
    "once a process": (carrying(), STEADY),
    "a skill that it lacks is told": (carrying(missing=(STORE,)), Refuse("SkillNotLoaded", f"pi has no skill at {STORE}")),
    "asked for, it is started again for it": (carrying(missing=(STORE,), again=True), StopAgent(VM, "its skills are looked for again")),
    "an outdated machine stays": (lieutenant(guest=OLDER), STEADY),
    "it is not replaced when its keeper does not answer": (outdated(agent=SILENT), Wait("AgentUnreachable", "no answer")),
    "nor when it can't be reached": (outdated(guest=SILENT, agent=SILENT), Wait("GuestUnreachable", "no answer")),
    "a machine of another source is outdated before it is prepared": (
        lieutenant(guest=marked(), agent=IDLE, record=boot(machine="older"), recreate=True),
        WriteFiles(VM, "files"),
    ),
    "files with secrets follow the secrets before pi starts": (secretive("older"), WriteFiles(VM, "secrets")),
    "and are left alone when they are as they should be": (secretive(SECRETIVE.secrets_hash), StartAgent(VM)),
    "a prepared machine is never prepared again": (lieutenant(guest=marked(prepared="older", agent=RENDERED.agent_hash)), STEADY),
    "a failed step is tried again later": (
        lieutenant(guest=UNFINISHED, agent=IDLE, record=boot(not_before=NOW + 4)),
        Wait("BootRetrying", "tools failed; trying again", until=NOW + 4),
    ),
    "one without retries left stops it": (
        lieutenant(guest=UNFINISHED, agent=IDLE, record=boot(failed="step tools: exit code 1", failed_hash=RENDERED.profile_hash)),
        Refuse("BootFailed", "step tools: exit code 1"),
    ),
    "until its profile changes": (
        lieutenant(guest=UNFINISHED, agent=IDLE, record=boot(failed="step tools: exit code 1", failed_hash="older")),
        RunStep(VM, "tools"),
    ),
    "a pi that serves another conversation is stopped": (
        lieutenant(agent=agent(replace(UP, session_file="/other.jsonl"))),
        StopAgent(VM, "it serves another conversation"),
    ),
    "when its turn is over": (
        lieutenant(agent=agent(replace(UP, session_file="/other.jsonl", busy=True))),
        Wait("AgentBusy", "pi ends a turn of another conversation first"),
    ),
    "one that serves ours goes on": (lieutenant(agent=agent(replace(UP, session_file="/s.jsonl"))), STEADY),
    "a changed launch restarts pi when it is settled": (
        lieutenant(agent=agent(replace(UP, launch_hash="older"))),
        StopAgent(VM, "its launch changed"),
    ),
    "not in the middle of a turn": (lieutenant(agent=agent(replace(UP, launch_hash="older", busy=True))), STEADY),
    "nor between the turns of a task": (lieutenant(agent=agent(replace(UP, launch_hash="older")), active_task=True), STEADY),
    "a machine without the conversation gets it first": (lieutenant(agent=IDLE, mirror_size=9), RestoreSession(VM, 9)),
    "an adopted machine is looked at for a conversation before pi is started": (adopted(agent=IDLE), ContinueSession(VM)),
    "and is looked at once": (adopted(SessionRecord(name="s", generation=1, looked_on=VM), agent=IDLE), StartAgent(VM)),
    "and not where the mirror has one": (adopted(agent=IDLE, mirror_size=9), RestoreSession(VM, 9)),
    "one with only the beginning of it too": (
        lieutenant(agent=agent(NotStarted(), session_size=5), mirror_size=9),
        RestoreSession(VM, 9),
    ),
    "a pi whose file was cut short is stopped first": (
        lieutenant(agent=agent(UP, session_size=5), mirror_size=9),
        StopAgent(VM, "its session file was cut short"),
    ),
    "two ends that differ are a person's to judge": (
        lieutenant(agent=agent(NotStarted(), session_size=5), mirror_size=9, divergence=PARTED),
        Refuse("SessionDiverged", DIVERGED),
    ),
    "also under a pi that runs": (lieutenant(agent=agent(UP, session_size=5), divergence=PARTED), Refuse("SessionDiverged", DIVERGED)),
    "the file goes on when a person says so": (lieutenant(agent=agent(UP), divergence=PARTED, record=answers("vm")), KeepEnd("vm")),
    "or the mirror": (lieutenant(agent=IDLE, divergence=PARTED, record=answers("local")), KeepEnd("local")),
    "after pi was stopped": (
        lieutenant(agent=agent(UP), divergence=PARTED, record=answers("local")),
        StopAgent(VM, "the mirror goes on"),
    ),
    "when it had nothing to do": (
        lieutenant(agent=agent(replace(UP, busy=True)), divergence=PARTED, record=answers("local")),
        Wait("ResolvingSession", "waiting for the turn to end"),
    ),
    "another conversation is begun when declared": (
        lieutenant(agent=IDLE, session_generation=2, record=talking()),
        BeginSession(2, DECLARED),
    ),
    "after pi was stopped for it": (
        lieutenant(session_generation=2, record=talking()),
        StopAgent(VM, "a new conversation is declared"),
    ),
    "not while it works at something": (lieutenant(agent=agent(replace(UP, busy=True)), session_generation=2, record=talking()), STEADY),
    "nor under a task": (lieutenant(session_generation=2, record=talking(), active_task=True), STEADY),
    "nor before it is saved": (
        lieutenant(agent=IDLE, session_generation=2, record=talking(), slot=replace(FILLED, mirrored=False)),
        Wait("BeginningSession", "saving the conversation first", until=NOW + 1),
    ),
    "turns are taken back when asked for: pi stops first": (
        lieutenant(record=talking(rewind=2), turns=(100, 200, 300)),
        StopAgent(VM, "its conversation is taken back by 2 turns"),
    ),
    "then the conversation goes on from there": (
        lieutenant(agent=IDLE, record=talking(rewind=2), turns=(100, 200, 300)),
        RewindSession(2, 200),
    ),
    "more turns than there are: from the first one": (
        lieutenant(agent=IDLE, record=talking(rewind=9), turns=(100, 200)),
        RewindSession(9, 100),
    ),
    "not under a task": (lieutenant(record=talking(rewind=1), turns=(100,), active_task=True), STEADY),
    "nor for a lower number": (lieutenant(session_generation=1, record=talking(generation=3)), STEADY),
    "what can't be saved yet is noted": (lieutenant(mirror_size=4, session_seen=9), NoteSession(9)),
    "but once": (
        lieutenant(agent=agent(UP, session_size=4), mirror_size=4, session_seen=9, record=talking(seen=9)),
        STEADY,
    ),
    "with a lost machine the conversation ends where declared": (
        lieutenant(slot=replace(EMPTY, lost=VM), guest=None, agent=None, mirror_size=4, on_lost=OnLost.NEW, record=talking(lost=VM)),
        BeginSession(1, f"VM {VM} was lost with its conversation, and session.onLost is New"),
    ),
    "and else goes on with another": (
        lieutenant(slot=replace(EMPTY, lost=VM), guest=None, agent=None, mirror_size=4, record=talking(lost=VM)),
        Create(1),
    ),
    "an unasked-for end is written down": (lieutenant(agent=agent(DIED)), CountCrash(5.0)),
    "once written down it is started again": (lieutenant(agent=agent(DIED), record=restart(crash_at=5.0)), StartAgent(VM)),
    "the next one again": (lieutenant(agent=agent(replace(DIED, at=6.0)), record=restart(crash_at=5.0)), CountCrash(6.0)),
    "a restart waits": (
        lieutenant(agent=agent(DIED), record=restart(crash_at=5.0, not_before=NOW + 2, stderr_tail="boom")),
        Wait("AgentBackingOff", "boom", until=NOW + 2),
    ),
    "too many stop it": (
        lieutenant(agent=agent(DIED), record=restart(crash_at=5.0, degraded=True, times=(1.0, 2.0), stderr_tail="boom")),
        Refuse("CrashLoop", "pi ended 2 times in a short time: boom"),
    ),
    "but not what runs": (lieutenant(record=restart(degraded=True, times=(1.0,))), STEADY),
    "pi reads the newest instructions": (
        lieutenant(agent=IDLE, guest=guest(marks={**MARKS, "agent": "older"})),
        WriteFiles(VM, "agent"),
    ),
    "then it starts": (lieutenant(agent=IDLE), StartAgent(VM)),
    "one killed by a signal starts again": (
        lieutenant(agent=agent(Exited(5.0, None, "SIGKILL")), record=restart(crash_at=5.0)),
        StartAgent(VM),
    ),
    "a model that is not the declared one is set while it runs": (having(model="a/old"), SetModel(VM, "a/one", "high")),
    "so is how much it thinks": (having(thinking="off"), SetModel(VM, "a/one", "high")),
    "not in a turn": (having(model="a/old", busy=True), STEADY),
    "a provider that refuses is no usable model": (
        lieutenant(provider=Provider(name="acme", key="Secret s key k", breaker=refusing("ModelRefused"))),
        Refuse("ModelRefused", "acme (Secret s key k) refuses: no; " + CORRECT_THE_KEY),
    ),
    "nor is one at its limit": (
        lieutenant(provider=Provider(name="acme", breaker=refusing("ProviderLimited"))),
        Wait("ProviderLimited", "acme takes no requests now: no; " + ASKED_AGAIN, until=NOW + 30),
    ),
    "once its time has come the next task tries it": (
        lieutenant(provider=Provider(name="acme", breaker=refusing("ProviderLimited", NOW))),
        STEADY,
    ),
    "where one waits it is on its way": (
        lieutenant(provider=Provider(name="acme", breaker=refusing("ProviderLimited", NOW), wanted=True)),
        Wait("ProviderLimited", "acme takes no requests now: no; " + ASKED_AGAIN, until=NOW),
    ),
    "that files went with a machine is written down before there is another": (
        lieutenant(EMPTY, guest=None, agent=None, mirror_size=4, record=LieutenantRecord(workspace=WorkspaceRecord(left=OTHER))),
        NoteWorkspace(OTHER),
    ),
    "not where there was no conversation": (
        lieutenant(EMPTY, guest=None, agent=None, record=LieutenantRecord(workspace=WorkspaceRecord(left=OTHER))),
        Create(1),
    ),
    "without its files it goes on": (lieutenant(record=RUNNING.record.but(workspace=WorkspaceRecord(lost=OTHER))), STEADY),
    "or is held, as declared": (
        lieutenant(record=RUNNING.record.but(workspace=WorkspaceRecord(lost=OTHER)), on_workspace_lost=OnWorkspaceLost.HOLD),
        Refuse(
            "WorkspaceLost",
            f"VM {OTHER} is gone with the files of its agent; `reconciler resolve lieutenant api --workspace` lets it go on",
        ),
    ),
    "what pi refused is owned up to": (
        having(model="a/old").but(record=refused("Model not found: a/one")),
        Refuse(
            "ModelRejected",
            f"declared a/one, pi says a/old: Model not found: a/one; {CORRECT_THE_MODEL}",
        ),
    ),
    "a level that the model has not, too": (
        having(thinking="medium").but(record=refused("it has another one")),
        Refuse(
            "ThinkingRejected",
            "declared high, pi says medium for model a/one: it has another one; declare a level that it has, or another model",
        ),
    ),
    "another pi is asked again": (
        having(model="a/old", pid=101).but(record=refused("Model not found: a/one")),
        SetModel(VM, "a/one", "high"),
    ),
    "files that somebody changed are put right": (lieutenant(edited=("/x",)), WriteFiles(VM, "agent")),
    "not in a turn either": (lieutenant(edited=("/x",), agent=agent(replace(UP, busy=True))), STEADY),
    "before pi starts, too": (lieutenant(edited=("/x",), agent=IDLE), WriteFiles(VM, "agent")),
    "more models are made known without a restart": (
        lieutenant(guest=guest(marks={**MARKS, "agent": "older"})),
        WriteFiles(VM, "agent"),
    ),
    "a pi that was told otherwise is owned up to": (
        lieutenant(agent=agent(replace(UP, inside=Inside("other")))),
        Refuse("InstructionsNotApplied", "pi was told otherwise than declared: system prompt"),
    ),
    "one that shortens its conversation otherwise than declared is owned up to": (
        lieutenant(agent=agent(replace(UP, compacting=Compacting(False, 1, 2)))),
        Refuse(
            "CompactionNotApplied",
            "compaction: declared auto true, reserveTokens 16384, keepRecentTokens 20000, "
            "pi says auto false, reserveTokens 1, keepRecentTokens 2",
        ),
    ),
    "one that runs under other rules than declared is owned up to": (
        lieutenant(agent=agent(replace(UP, guard=Guarded("other", "other")))),
        Refuse("PermissionsNotApplied", "declared are rules none, pi runs under other"),
    ),
    "one that is not in the declared boundary is owned up to": (
        lieutenant(agent=agent(replace(UP, sandbox="other"))),
        Refuse("SandboxNotApplied", "declared is none, pi runs in other"),
    ),
    "and restarted when a person asks, as one is under other rules": (
        lieutenant(agent=agent(replace(UP, sandbox="other")), record=RUNNING.record.but(config=ConfigRecord(again=True))),
        StopAgent(VM, "it was told otherwise than declared"),
    ),
    "what it wrote down to remember is saved": (remembering(OnMachine("uid", "three", "none")), SaveMemory(VM, "three", "none")),
    "and what others wrote is brought to it": (
        remembering(OnMachine("uid", "one", "none"), saved=True),
        BringMemory(VM, "two", "none", "nothing yet; told to it after a compaction, or when pi starts anew"),
    ),
    "one that was given its memory has it": (remembering(), plan(lieutenant())),
    "one that has not said yet what it remembers is waited for": (
        remembering(taken=Taken("t")),
        Wait("MemoryUnread", "pi has not said yet what it remembers", until=NOW + 10),
    ),
    "one that remembers something else is owned up to": (
        remembering(taken=Taken("t", "other")),
        Refuse("MemoryNotApplied", "pi was given t to remember, and has other"),
    ),
    "one that has no tools for it, too": (
        remembering(taken=None),
        Refuse("MemoryNotApplied", "pi runs without the tools of its memory"),
    ),
    "one that does not know the model that is to find facts, too": (
        remembering(taken=Taken("t", "t", "cheap/small"), rendered=FINDING),
        Refuse("MemoryNotApplied", "pi knows no model cheap/small, which memory.factsModel names"),
    ),
    "what its agent was refused is told": (
        lieutenant(agent=agent(replace(UP, refused=Refusals((Refusal(1, "network", "a:1"), Refusal(2, "files", "b")))))),
        NoteRefusals(str(UP.pid), 2, (Refusal(1, "network", "a:1"), Refusal(2, "files", "b"))),
    ),
    "and restarted when a person asks": (
        lieutenant(agent=agent(replace(UP, inside=Inside("other"))), record=RUNNING.record.but(config=ConfigRecord(again=True))),
        StopAgent(VM, "it was told otherwise than declared"),
    ),
    "one that has not said yet what it was told is waited for": (
        lieutenant(agent=agent(replace(UP, inside=None))),
        Wait("InstructionsUnread", "pi has not said yet what it was told", until=NOW + 10),
    ),
    "a keeper from before that question can't be asked": (
        lieutenant(agent=replace(agent(replace(UP, inside=None)), keeper_version="0.9")),
        STEADY,
    ),
    "one that is to be copied live stands still": (
        lieutenant(record=TALKING, agent=SPOKEN, mirror_size=9, copies=ASKED),
        StandStill(VM, "u-g1", 9),
    ),
    "not with a task": (lieutenant(record=TALKING, agent=SPOKEN, mirror_size=9, copies=ASKED, active_task=True), STEADY),
    "not in a turn that is on": (
        lieutenant(record=TALKING, agent=replace(SPOKEN, process=replace(UP, busy=True)), mirror_size=9, copies=ASKED),
        STEADY,
    ),
    "not before all of it is saved": (lieutenant(record=TALKING, agent=SPOKEN, mirror_size=8, copies=ASKED), STEADY),
    "and does so once": (lieutenant(record=STANDS, agent=SPOKEN, mirror_size=9, copies=ASKED), STEADY),
    "it goes on when nobody asks any more": (
        lieutenant(record=STANDS, agent=SPOKEN, mirror_size=9),
        MoveOn("no copy is made of it any more"),
    ),
    "and when they take too long": (
        lieutenant(record=standing(since=NOW - STAND_SECONDS), agent=SPOKEN, mirror_size=9, copies=ASKED),
        MoveOn("copies of it were not made in time"),
    ),
    "and when it is on another machine": (
        lieutenant(record=standing(vm_id=OTHER), agent=SPOKEN, mirror_size=9, copies=ASKED),
        MoveOn("copies of it were not made in time"),
    ),
    "and when it has another conversation": (
        lieutenant(record=standing(session="u-g0"), agent=SPOKEN, mirror_size=9, copies=ASKED),
        MoveOn("its conversation is another one now"),
    ),
    "never while a copy may still be made": (
        lieutenant(record=standing(since=NOW - STAND_SECONDS), agent=SPOKEN, mirror_size=9, copies=Copies((), ("lieutenant/copy",), True)),
        STEADY,
    ),
    "one that does not answer is not usable": (
        lieutenant(agent=agent(replace(UP, responsive=False))),
        Wait("AgentUnresponsive", "pi (pid 100) does not answer", until=NOW + 10),
    ),
}


@pytest.mark.guarantee("G-04")
@pytest.mark.guarantee("G-24")
@pytest.mark.guarantee("G-25")
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    view, expected = SCENARIOS[name]
    assert plan(view) == expected


def test_every_policy_decides_in_some_scenario() -> None:
    scenarios = (*SCENARIOS.values(), *HOME_SCENARIOS.values(), *REPLACEMENT_SCENARIOS.values(), *MOVES.values())
    views = [view for view, _ in scenarios]
    deciding = {decider(STAGES, view) for view in views}
    assert {policy.__name__ for policy in STAGES.leaves()} - deciding == set()


@pytest.mark.guarantee("G-04")
@given(lieutenants())
def test_nothing_is_done_to_a_machine_that_can_not_be_read(view: LieutenantView) -> None:
    blind = view.but(slot=replace(view.slot, vm=Unknown("503")), guest=None, agent=None)
    assert not is_action(plan(blind))
    silent = view.but(guest=SILENT, agent=SILENT)
    decision = plan(silent)
    if silent.slot.desired is DesiredState.RUNNING and isinstance(silent.slot.vm, Seen) and silent.slot.vm.state is VmState.RUNNING:
        assert not isinstance(decision, StopAgent | StartAgent | RestoreSession | ClearSlot | Suspend)
        assert not isinstance(decision, MarkForDeletion | Delete) or view.slot.record.marked_for_deletion


@pytest.mark.guarantee("G-22")
@given(lieutenants())
def test_a_working_pi_is_never_stopped_nor_replaced(view: LieutenantView) -> None:
    decision = plan(view)
    working = view.agent is not None and not isinstance(view.agent, Unknown) and isinstance(view.agent.process, Up)
    if working and not view.settled:
        assert not isinstance(decision, StopAgent | StartAgent | RestoreSession | CountCrash)
    if working and isinstance(decision, Install):
        assert view.guest is not None
        assert not isinstance(view.guest, Unknown)
        assert not (view.guest.node and view.guest.pi and view.guest.keeper)
