"""The models of status: what is written fits them and the schema of the cluster, every field is written, and what an earlier release
wrote, or somebody edited, can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from reconciler.api.parsing import load_spec
from reconciler.api.registry import KINDS, Kind, kind_of
from reconciler.api.schema import structural
from reconciler.api.status.base import Status
from reconciler.api.status.lieutenant import LieutenantStatus, PieceStatus, SlotCreate
from reconciler.api.status.task import TaskStatus
from reconciler.api.status.vmtree import NodeStatus, VMTreeStatus
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.conditions import simple_status
from reconciler.core.keys import Json, JsonValue, Key, SlotOwner, as_map, vm_tree
from reconciler.core.lasterror import NONE
from reconciler.core.lieutenant import policies as lieutenant_policies
from reconciler.core.lieutenant.preparation import check_mark
from reconciler.core.lieutenant.status import lieutenant_status
from reconciler.core.profile.bake import BakeView
from reconciler.core.profile.status import profile_status
from reconciler.core.records import (
    Attempt,
    BootRecord,
    BranchRecord,
    CommitRecord,
    EscalationStep,
    LieutenantRecord,
    LocalRecord,
    RestartRecord,
    RestRecord,
    RollbackRecord,
    SessionRecord,
    SnapshotRecord,
    StepRecord,
    TaskRecord,
)
from reconciler.core.snapshot.agent import Exited, Inside
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.memory import Memory, OnMachine, Size, Taken
from reconciler.core.snapshot.provider import Fallback
from reconciler.core.snapshot.session import Compacted
from reconciler.core.snapshot.slot import SnapshotPolicy
from reconciler.core.snapshot.task import TaskView
from reconciler.core.tree.places import wanted_places
from reconciler.core.tree.policies import plan as plan_tree
from reconciler.core.tree.snapshot import Found, TreeSnapshot
from reconciler.core.tree.status import tree_status
from reconciler.core.treerecords import BakedRecord, BootProfileRecord, TreeRecord
from reconciler.engine.ports import Intent
from reconciler.sources.kube.restore import create_status
from tests.core.test_replacement import making as replacing
from tests.core.test_status import LIEUTENANTS, TASKS, of_lieutenant, of_task
from tests.core.views import DIED, FILLED, GUEST, MARKS, NOW, PENDING, UP, VM, agent, guest, lieutenants, rendered, tasks
from tests.core.views import lieutenant as a_lieutenant

LONG = "x" * 100_000
STEPS = (
    StepRecord(name="tools", state="Succeeded", exit_code=0, seconds=1.26, tail="done", tries=1),
    StepRecord(kind="Verify", name="works", state="Failed", seconds=60.0, tail="no answer", tries=2),
    StepRecord(name="more", tries=1),
)
ORGANS = rendered(organs=["store"], capabilities=["vers-vm"])
VERIFIED = dict(check_mark(check) for check in ORGANS.organ_checks)
BROUGHT = guest(marks={**MARKS, **VERIFIED, "prepared": ORGANS.profile_hash})
TAKEN = CommitRecord(commit_id="c", vm_id=VM, taken_at=NOW - 1, check="Restored", error="in use")
FAILED = SnapshotRecord(vm_id=VM, commit_id="c", error="S3 is full", failed_at=NOW)
BRANCH = BranchRecord(source="api", vm_id=VM, at=NOW - 9)
MADE = FILLED.record.but(adopted=VM, ref="golden:v1", commit="c", branch=BRANCH, restored_from="c", restored_at=NOW - 1)
SLOT = replace(FILLED, record=MADE.but(snapshot=FAILED, commits=(TAKEN,), asked=True), snapshots=SnapshotPolicy("@hourly", since=NOW))
RICH = LieutenantRecord(
    slot=SLOT.record,
    rest=RestRecord(reason="Idle", since=NOW, woken_at=NOW, seconds=2.5),
    session=SessionRecord(name="s-g1", generation=1, earlier=("s-g0",)),
    rollback=RollbackRecord(commit_id="c", state="Refused", message="no", at=NOW),
    local=LocalRecord(state="Left"),
    handled={"retry": "1"},
    restart=RestartRecord(times=(NOW - 1,), exit_code=1, signal="SIGKILL", stderr_tail="out of memory"),
    boot=BootRecord(vm_id=VM, steps=STEPS),
)
TOLD = replace(UP, inside=Inside("p", {"/root/AGENTS.md": "a"}), model="anthropic/x", thinking="high")
REMEMBERED = Memory(OnMachine("default/api", "a", "b"), Size("a", 2, 3, 40), Size("b", 1, 1, 10))
FULL: dict[str, LieutenantView] = {
    "all that can be said": a_lieutenant(SLOT, record=RICH, rendered=ORGANS, guest=BROUGHT, agent=agent(TOLD)),
    "pi was killed": a_lieutenant(agent=agent(Exited(5.0, 137, "SIGKILL", "", "h"))),
    "pi died": a_lieutenant(agent=agent(DIED)),
    "it gets another machine": replacing(since=NOW),
    "it remembers": a_lieutenant(agent=agent(replace(UP, memory=Taken("g", "g")))).but(memory=REMEMBERED),
    "its conversation was shortened, and another model answers": a_lieutenant(
        record=a_lieutenant().record.but(session=SessionRecord(name="s-g1", generation=1)),
        compacted=Compacted(2, "c1", NOW, False, 9),
        fallback=Fallback("b/two", "a/one", NOW, "429"),
    ),
}
FINISHED = TaskRecord(
    phase="Failed", reason="ModelError", message="m", attempt=2, landed=0, landed_at=NOW, delivering_at=NOW, finished_at=NOW,
    stop_reason="stop", answer="done", answer_bytes=4, input_tokens=1, output_tokens=2, cost=0.5, turns=3, files=("a.txt",), files_more=7,
    checks=("ok",), attempts=(Attempt(number=1, reason="Lost", message="m"),),
    escalation_steps=(EscalationStep(action="Steer", at=NOW, why="no sign of progress"),),
)  # fmt: skip
ENDED = replace(PENDING, record=FINISHED)
COPIED: Json = {"commit": f"vm:{VM}", "epoch": 5, "session": "u-g1", "size": 9, "source": "api"}
CREATE = Intent("token", SlotOwner.of(Key("Lieutenant", "default", "ada"), "u"), "create", 3, COPIED, 1234.5, 1200.25)

BESIDE = SlotCreate.load({**create_status(CREATE).dump(), "slot": "next"})

PIECES = (PieceStatus("github", "WithoutKey", "no key"),)
TREE_SPEC = load_spec(
    "VMTree",
    {"nodes": [{"name": name, "category": "Lieutenant", "profileRef": {"name": "full"}} for name in ("a", "b", "c")], "mode": "Running"},
)
assert isinstance(TREE_SPEC, VMTreeSpec)
PLACES = wanted_places(TREE_SPEC, TreeRecord(), {})
TREES = [
    TreeSnapshot(
        key=vm_tree("default", "prod"),
        spec=TREE_SPEC,
        record=TreeRecord(places=tuple(place.record for place in PLACES)),
        places=PLACES,
        digests={place.name: "" for place in PLACES},
        found={
            "a": Found(True, ready=True, reason="Running", message="m", phase="Idle", vm_id=VM, organs=PIECES, capabilities=PIECES),
            "b": Found(True, stalled=True, reason="BootFailed", message="m", phase="Stalled", outdated=True, replacing=True, failed="no"),
        },
    )
]


def paths(node: JsonValue, at: str = "") -> Iterator[str]:
    """Every field that a JSON value has, lists and their items being one."""
    for name, inner in as_map(node).items():
        here = f"{at}.{name}".removeprefix(".")
        yield here
        for one in inner if isinstance(inner, list) else [inner]:
            yield from paths(one, here)


def declared(node: Json, at: str = "") -> Iterator[str]:
    """Every field that a schema has."""
    for name, inner in as_map(node.get("properties")).items():
        here = f"{at}.{name}".removeprefix(".")
        yield here
        yield from declared(as_map(as_map(inner).get("items")) or as_map(inner), here)


def closed(node: JsonValue) -> JsonValue:
    """The schema as a cluster enforces it, with what it would prune refused."""
    if isinstance(node, list):
        return [closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    found: Json = {
        name: {field: closed(one) for field, one in as_map(inner).items()} if name == "properties" else closed(inner)
        for name, inner in node.items()
    }
    return {**found, "additionalProperties": False} if "properties" in node else found


def kind(word: str) -> Kind:
    found = kind_of(word)
    assert found is not None
    return found


@cache
def judge(name: str) -> Draft202012Validator:
    """Made when it is asked for: every worker imports this module, and few run its tests."""
    return Draft202012Validator(closed(structural(kind(name).status)))  # type: ignore[arg-type]


def wrong(name: str, status: Json) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in judge(name).iter_errors(status)]


def written(name: str) -> list[Json]:
    """The statuses of this kind that the scenarios come to."""
    if name == "Lieutenant":
        created: Json = {"vm": {"create": create_status(CREATE).dump()}, "creates": [BESIDE.dump()]}
        return [*(of_lieutenant(view) for view in (LIEUTENANTS | FULL).values()), created]
    if name == "Task":
        return [*(of_task(view) for view in TASKS.values()), of_task(ENDED)]
    if name == "VMTree":
        node = NodeStatus("db", create=create_status(CREATE), creates=(BESIDE,))
        return [
            *(tree_status(view, plan_tree(view), {}, 1, NOW, NONE).dump() for view in TREES),
            VMTreeStatus(observed_generation=1, phase="Pending", conditions=(), nodes=(node,)).dump(),
        ]
    if name == "BootProfile":
        record = BootProfileRecord(baked=(BakedRecord(hash="h", commit="c", at=NOW),))
        told = profile_status(simple_status(None, {}, 1, NOW), BakeView(record, "h", True, True)).dump()
        return [told, {**told, "bake": {**as_map(told["bake"]), "creates": [BESIDE.dump()]}}]
    return [simple_status(None, {}, 1, NOW).dump()]


@pytest.mark.parametrize("name", [one.name for one in KINDS])
def test_every_field_of_a_status_is_written_or_planned(name: str) -> None:
    model = kind(name).status
    fields = set(declared(structural(model)))
    told = {path for status in written(name) for path in paths(status)}
    maps = ("handled.", "agent.told.files.", "machine.marks.")
    planned = {field for field in fields if field.partition(".")[0] in model.planned}
    alike = {"boot.organs.message"} if name == "Lieutenant" else set()  # only capabilities have something to say; both are told alike
    assert {field for field in fields - told - planned - alike if not field.startswith(maps)} == set()
    assert planned & told == set(), "what is written is not planned any more"
    assert model.planned <= fields


@pytest.mark.guarantee("G-46")
@pytest.mark.parametrize("name", ["Lieutenant", "Task", "BootProfile", "VMTree"])
def test_a_cluster_takes_every_status_whole(name: str) -> None:
    for status in written(name):
        assert wrong(name, status) == []


@pytest.mark.guarantee("G-46")
@given(lieutenants(), tasks())
@settings(max_examples=50, deadline=None)
def test_a_cluster_takes_any_status_whole(view: LieutenantView, task: TaskView) -> None:
    assert wrong("Lieutenant", of_lieutenant(view)) == []
    assert wrong("Task", of_task(task)) == []


@pytest.mark.guarantee("G-46")
def test_what_machines_and_models_say_is_as_long_as_a_status_may_be() -> None:
    said = replace(
        UP, model=LONG, thinking=LONG, session_id=LONG, launch_hash=LONG,
        inside=Inside(LONG, {f"/{number}": LONG for number in range(500)}),
    )  # fmt: skip
    steps = tuple(StepRecord(name=f"s{number}", state="Succeeded", tail=LONG) for number in range(600))
    record = LieutenantRecord(
        slot=FILLED.record,
        session=SessionRecord(name="s", earlier=tuple(f"s{number}" for number in range(50))),
        restart=RestartRecord(times=(NOW,), signal=LONG, stderr_tail=LONG),
        boot=BootRecord(vm_id=VM, steps=steps),
    )
    marks = {**GUEST.marks, "agent": LONG, "another": "x"}
    view = a_lieutenant(record=record, agent=agent(said, keeper_version=LONG), guest=guest(marks=marks))
    assert wrong("Lieutenant", of_lieutenant(view)) == []
    many = FINISHED.but(
        stop_reason=LONG, answer=LONG, files=(LONG,) * 500, checks=(LONG,), message=LONG,
        attempts=(Attempt(number=1, reason="Lost", message=LONG),) * 200,
        escalation_steps=(EscalationStep(action="Steer", at=NOW, why=LONG),) * 200,
    )  # fmt: skip
    assert wrong("Task", of_task(replace(ENDED, record=many))) == []


@pytest.mark.parametrize("name", [one.name for one in KINDS])
def test_a_status_is_read_as_it_was_written(name: str) -> None:
    model = kind(name).status
    for status in written(name):
        assert model.load(status).dump() == {**model().dump(), **status}


@pytest.mark.parametrize("mode", ["Running", "Suspended"])
def test_the_mode_that_is_wanted_is_told(mode: str) -> None:
    states = {status.get("mode") for status in written("Lieutenant") if status.get("phase") not in (None, "Terminating")}
    assert mode in states
    assert {status.get("mode") for status in written("Lieutenant") if status.get("phase") == "Terminating"} == {None}


# --- of other releases, and of other people -----------------------------------------------------------------------------------

EARLIER: Json = {
    "observedGeneration": 2,
    "phase": "Idle",
    "conditions": [
        {
            "type": "Ready", "status": "True", "reason": "Running", "message": "", "observedGeneration": 2,
            "lastTransitionTime": "2027-01-15T08:00:00Z",
        }
    ],
    "queue": {"pending": 0, "active": ""},
    "vm": {"id": VM, "epoch": 1, "state": "running", "adopted": True},
    "agent": {
        "keeperVersion": "1.0.0", "process": "Up", "pid": 100, "model": "", "thinking": "", "sessionId": "s", "launchHash": "h",
        "told": {"prompt": "p", "files": {"/root/AGENTS.md": "a"}},
    },
    "session": {"name": "u-g0", "generation": 0},
    "handled": {"retry": "1"},
    "restarts": {"recent": 1, "lastAt": "2027-01-15T07:59:59Z", "exitCode": 1, "signal": None, "stderrTail": "out of memory"},
    "machine": {"marks": {"prepared": "x"}},
    "boot": {
        "vm": VM, "prepared": True, "outdated": False,
        "steps": [{"kind": "Step", "name": "tools", "state": "Succeeded", "tries": 1, "seconds": 1.2, "outputTail": "", "exitCode": 0}],
        "organs": [{"name": "store", "state": "Verified"}],
    },
}  # fmt: skip
"""As the release before the models wrote it: nulls, and no `mode`."""


def test_the_status_of_an_earlier_release_is_read_whole() -> None:
    read = LieutenantStatus.load(EARLIER)
    restarts = {name: value for name, value in as_map(EARLIER["restarts"]).items() if value is not None}
    assert read.dump() == {**EARLIER, "restarts": restarts}
    view = a_lieutenant(replace(FILLED), guest=None, agent=None)
    again = lieutenant_status(view, lieutenant_policies.plan(view), EARLIER, 2, 0, "")
    assert again.machine == read.machine
    assert again.boot == read.boot


@pytest.mark.guarantee("G-65")
def test_what_can_not_be_read_counts_as_never_written() -> None:
    ready: Json = {"type": "Ready", "status": "True", "reason": "Running", "of a later release": 1}
    strange: Json = {
        "phase": 5,
        "conditions": [{"type": "Stalled"}, ready, "x", {**ready, "status": "Perhaps"}],
        "vm": {"id": VM, "epoch": "3", "state": []},
        "boot": {"steps": [{"name": "tools", "seconds": "long"}, 3]},
        "agent": "x",
        "brandNew": {"x": [1]},
    }
    read = LieutenantStatus.load(strange)
    assert (read.phase, [one.type for one in read.conditions]) == ("", ["Ready"])
    assert read.vm is not None
    assert (read.vm.id, read.vm.epoch, read.vm.state) == (VM, 3, None)
    assert read.boot is not None
    assert [step.name for step in read.boot.steps or ()] == ["tools"]
    assert read.agent is None
    nonsense: list[JsonValue] = [None, "x", [], {}, {"conditions": {}}]
    for nothing in nonsense:
        assert LieutenantStatus.load(nothing) == LieutenantStatus()
        assert TaskStatus.load(nothing) == TaskStatus()
    assert Status.load({"conditions": [ready, ready]}) == Status(), "a list that names a type twice says nothing"
