"""Ready-made snapshots for the tables: each is a quiet, healthy situation that a scenario then disturbs."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from hypothesis import strategies as st

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.parsing import load_spec
from reconciler.core.chain import Chain
from reconciler.core.messages import Message
from reconciler.core.profile.rendering import render
from reconciler.core.records import BootRecord, LieutenantRecord, RestartRecord, SlotRecord, SnapshotRecord, TaskRecord
from reconciler.core.snapshot.agent import Accepted, Agent, Declined, Exited, Guest, Lost, NotStarted, Unanswered, Unheard, Up, Verdict
from reconciler.core.snapshot.branch import Original, Standing
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.slot import DesiredState, EffectiveDeletion, OpenIntent, Slot, SnapshotSeen, Target
from reconciler.core.snapshot.stages import Basics
from reconciler.core.snapshot.task import Availability, Dependency, Talk, TaskView
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, VmObservation, VmState

V = TypeVar("V")
Made = Rendered | Unresolved
Inside = Guest | Unknown | None
Told = Agent | Unknown | None
NOW = 1_800_000_000.0
VM = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
KEEPER = "1.0.0"


def decider(chain: Chain[V], view: V) -> str:
    """Which policy of a chain decides about this view; '' when none has an opinion."""
    for policy in chain:
        if isinstance(policy, Chain):
            name = decider(policy, view)
        else:
            name = policy.__name__ if policy(view) is not None else ""
        if name:
            return name
    return ""


# --- the VM slot ------------------------------------------------------------------------------------------------------------

EMPTY = Slot(DesiredState.RUNNING, now=NOW)
FILLED = Slot(DesiredState.RUNNING, SlotRecord(vm_id=VM, account="mine", epoch=1), Seen(VmState.RUNNING), account="mine", now=NOW)
CONDEMNED = replace(FILLED, desired=DesiredState.GONE, record=FILLED.record.but(marked_for_deletion=True))


def slots() -> st.SearchStrategy[Slot]:
    """Any slot, also those that no gatherer would make."""
    observed: st.SearchStrategy[VmObservation] = st.one_of(
        st.builds(Seen, st.sampled_from(VmState), st.booleans(), st.sampled_from(["", "fleet x"])),
        st.builds(Absent, st.booleans()),
        st.builds(Unknown, st.just("503")),
    )
    record = st.builds(
        SlotRecord,
        vm_id=st.sampled_from(["", VM]),
        account=st.sampled_from(["", "mine", "theirs"]),
        marked_for_deletion=st.booleans(),
        attempts=st.integers(0, 3),
        delete_attempts=st.integers(0, 3),
        not_before=st.sampled_from([0.0, NOW + 10]),
        adopted=st.sampled_from(["", VM]),
        chosen=st.sampled_from(["", VM, "none"]),
        confirmed=st.sampled_from(["", VM, "deletion"]),
        snapshot=st.sampled_from([SnapshotRecord(), SnapshotRecord(vm_id=VM, commit_id="c", verified=True), SnapshotRecord(attempts=3)]),
    )
    targets: st.SearchStrategy[Target | None] = st.none() | st.builds(Target, st.just(OTHER), observed, st.sampled_from(["", "web"]))
    originals = st.none() | st.builds(
        Original,
        st.just("lieutenant/web"),
        vm_id=st.just(OTHER),
        vm=st.builds(Seen, st.sampled_from(VmState)),
        standing=st.sampled_from([None, Standing(OTHER)]),
    )
    seen = st.none() | st.builds(SnapshotSeen, st.booleans(), st.sampled_from([None, "", "c"]), st.booleans(), st.booleans())
    intent = st.none() | st.builds(OpenIntent, st.just("t"), st.booleans(), st.sampled_from([None, (), (OTHER,), (OTHER, "z")]))
    return st.builds(
        Slot,
        desired=st.sampled_from(DesiredState),
        record=record,
        vm=observed,
        intent=intent,
        account=st.sampled_from(["", "mine"]),
        protected=st.booleans(),
        deletion=st.sampled_from(EffectiveDeletion),
        no_delete=st.booleans(),
        observe_only=st.booleans(),
        adopt=targets,
        original=originals,
        copying=st.booleans(),
        snapshot=seen,
        busy=st.sampled_from([True, False, None]),
        mirrored=st.booleans(),
        blocked=st.sampled_from(["", "full"]),
        loss=st.sampled_from(["", "9 bytes were seen"]),
        lost=st.sampled_from(["", VM]),
        vanished=st.booleans(),
        suspend_overdue=st.booleans(),
        now=st.just(NOW),
    )


# --- a lieutenant -----------------------------------------------------------------------------------------------------------

PROFILE: dict[str, object] = {
    "source": {"image": "default"},
    "files": [{"path": "notes.txt", "content": "hello"}],
    "steps": [{"name": "tools", "run": "true"}],
    "verify": [{"name": "works", "command": ["true"]}],
}


def profile(**changes: object) -> BootProfileSpec:
    spec = load_spec("BootProfile", {**PROFILE, **changes})  # type: ignore[dict-item]
    assert isinstance(spec, BootProfileSpec)
    return spec


def lieutenant_spec(**changes: object) -> LieutenantSpec:
    base: dict[str, object] = {"role": "Keep the API", "profileRef": {"name": "p"}}
    spec = load_spec("Lieutenant", {**base, **changes})  # type: ignore[dict-item]
    assert isinstance(spec, LieutenantSpec)
    return spec


def rendered(spec: LieutenantSpec | None = None, **changes: object) -> Rendered:
    made = render("api", spec or lieutenant_spec(), lambda name: profile(**changes))
    assert isinstance(made, Rendered)
    return made


RENDERED = rendered()
CLAIM = {"uid": "u", "vm-id": VM}
MARKS = {
    "files": RENDERED.files_hash,
    "step:tools": "x",
    "verify:works": "x",
    "prepared": RENDERED.profile_hash,
    "agent": RENDERED.agent_hash,
}
GUEST = Guest(0.0, CLAIM, "v22", "1.5.2", KEEPER, True, MARKS)
UP = Up(100, 0.0, RENDERED.launch_hash, session_id="s", inside=RENDERED.told)
DIED = Exited(5.0, 1, None, "out of memory", RENDERED.launch_hash)
AGENT = Agent(KEEPER, 1, UP, "/s.jsonl", 0)
BASICS = Basics("api", LieutenantRecord(slot=FILLED.record), RENDERED, KEEPER, VM, GUEST, AGENT, now=NOW)
RUNNING = LieutenantView(lt=BASICS, slot=FILLED, claim=CLAIM)


def lieutenant(slot: Slot | None = None, **changes: object) -> LieutenantView:
    """The healthy lieutenant, disturbed. Its record keeps to its slot's."""
    view = RUNNING.but(**changes)
    if slot is not None:
        view = view.but(slot=slot, record=view.record.but(slot=slot.record))
    return view


def guest(**changes: object) -> Guest:
    return replace(GUEST, **changes)  # type: ignore[arg-type]


def agent(process: Up | Exited | NotStarted = UP, **changes: object) -> Agent:
    return replace(AGENT, process=process, **changes)  # type: ignore[arg-type]


def marked(**marks: str) -> Guest:
    """A guest with exactly these done-marks (`step_tools` for `step:tools`)."""
    return guest(marks={name.replace("_", ":"): value for name, value in marks.items()})


def lieutenants() -> st.SearchStrategy[LieutenantView]:
    """Any lieutenant around any slot."""
    processes = st.sampled_from(
        [NotStarted(), UP, replace(UP, busy=True), replace(UP, responsive=False), replace(UP, launch_hash="o"), DIED]
    )
    agents = st.one_of(
        st.none(),
        st.just(Unknown("no answer")),
        st.builds(lambda p, size: agent(p, session_size=size), processes, st.sampled_from([0, 7, 9])),
    )
    guests = st.sampled_from(
        [None, Unknown("no answer"), GUEST, guest(clock_skew=60.0), guest(claim=None), guest(pi=None), guest(keeper_alive=False), marked(),
         marked(prepared="x"), marked(files=RENDERED.files_hash)]
    )  # fmt: skip
    renderings = st.sampled_from([RENDERED, Unresolved("ProfileNotFound", "m"), Unresolved("InvalidProfile", "m", final=True)])
    restarts = st.sampled_from(
        [RestartRecord(), RestartRecord(crash_at=5.0), RestartRecord(crash_at=5.0, degraded=True), RestartRecord(not_before=NOW + 5)]
    )
    boots = st.sampled_from([BootRecord(), BootRecord(vm_id=VM, failed="x", failed_hash=RENDERED.profile_hash)])

    def build(
        slot: Slot, made: Made, g: Inside, a: Told, restart: RestartRecord, boot: BootRecord, size: int, task: bool, un: tuple[str, ...]
    ) -> LieutenantView:
        record = LieutenantRecord(slot=slot.record, restart=restart, boot=boot)
        view = RUNNING.but(slot=slot, record=record, rendered=made, guest=g, agent=a)
        return view.but(mirror_size=size, active_task=task, unsupported=un)

    unsupported = st.sampled_from([(), ("spec.budget",)])
    return st.builds(build, slots(), renderings, guests, agents, restarts, boots, st.sampled_from([0, 9]), st.booleans(), unsupported)


# --- a task -------------------------------------------------------------------------------------------------------------------

MARK = "[task default/one attempt 1 abcd1234]"
PROMPT = Message("e1", 100, "user", f"{MARK}\n\nwork")
WELL = Message("e2", 200, "assistant", "done", "stop")
SETTLED = Talk((), 100, settled=True, up=True)
BUSY = replace(SETTLED, settled=False)
DOWN = replace(SETTLED, settled=False, up=False)
PENDING = TaskView("one", TaskRecord(), NOW, NOW - 10, talk=SETTLED)
SENT = TaskRecord(phase="Delivering", attempt=1, sends=1, marker=MARK, baseline=100, delivering_at=NOW - 5)
ARRIVED = SENT.but(phase="Running", landed=100, landed_at=NOW - 4, progress_at=NOW - 4, progress_size=200)
DELIVERING = replace(PENDING, record=SENT)
RUNS = replace(PENDING, record=ARRIVED, talk=Talk((PROMPT,), 200, settled=False, up=True))
STEER = replace(PENDING, steer=True, target="two", target_phase="Running", talk=BUSY)
STEERING = replace(STEER, record=SENT.but(target="two"))


def said(*messages: Message, settled: bool = True, up: bool = True) -> Talk:
    """A conversation with the prompt and these after it."""
    whole = (PROMPT, *messages)
    return Talk(whole, 100 + 100 * len(whole), settled, up)


def answer(stop: str, text: str = "", error: str = "", offset: int = 200) -> Message:
    return Message(f"e{offset}", offset, "assistant", text, stop, error)


def tasks() -> st.SearchStrategy[TaskView]:
    """Any task in any situation."""
    checking = ARRIVED.but(phase="Verifying")
    phases = st.sampled_from(
        [
            TaskRecord(),
            SENT,
            ARRIVED,
            SENT.but(abort="x", aborted_at=NOW - 1),
            ARRIVED.but(abort="x", aborted_at=NOW - 60),
            checking,
            checking.but(checks=("no",)),
            checking.but(checks=("ok",)),
            TaskRecord(phase="Succeeded", reason="Completed"),
            TaskRecord(phase="Failed", reason="ModelError"),
        ]
    )
    working, failed, down = said(settled=False), said(answer("error")), said(WELL, up=False, settled=False)
    talks = st.sampled_from([None, SETTLED, BUSY, DOWN, said(), said(WELL), working, failed, down])
    verdicts: st.SearchStrategy[Verdict | None] = st.sampled_from([None, Accepted(), Declined("no"), Lost("x"), Unheard(), Unanswered()])
    dependencies = st.sampled_from(
        [(), (Dependency("a", "Succeeded"),), (Dependency("a", "Running"),), (Dependency("a", "Failed"),), (Dependency("a", ""),)]
    )
    limit = st.sampled_from([0, 3, 1000])
    return st.builds(
        TaskView,
        st.just("one"),
        phases,
        st.just(NOW),
        st.sampled_from([NOW - 100, NOW - 1]),
        steer=st.booleans(),
        cancel=st.booleans(),
        deleting=st.booleans(),
        not_before=st.sampled_from([0.0, NOW + 5]),
        deadline_seconds=limit,
        timeout_seconds=limit,
        no_progress_seconds=limit,
        retries=st.integers(0, 1),
        has_acceptance=st.booleans(),
        availability=st.sampled_from(Availability),
        talk=talks,
        verdict=verdicts,
        dependencies=dependencies,
        cycle=st.sampled_from([(), ("one", "two", "one")]),
        ahead=st.sampled_from(["", "zero"]),
        active=st.sampled_from(["", "zero"]),
        queue_full=st.booleans(),
        target=st.sampled_from(["", "two"]),
        target_phase=st.sampled_from(["", "Pending", "Running", "Succeeded"]),
        other_steer=st.sampled_from(["", "s"]),
        abandoned=st.booleans(),
    )
