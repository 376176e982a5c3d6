"""For each field that this release acts on, a story that shows it: it passes as declared, and fails when the field is ignored (G-44).

`STORIES` names the stories by path; those below tell of what no other test is about, the rest are tests of this suite. That each of them
fails when its field is ignored is proven by `test_every_field.py`, which plays it again with the field taken out of what was declared."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from reconciler.core.profile.rendering import MODELS_FILE, ROLE_FILE
from reconciler.core.snapshot.local import Hosting
from reconciler.core.snapshot.machine import CommandResult, CommitSource, GuestCommand, RootSource, VmShape
from tests.engine import (
    test_adoption,
    test_bake,
    test_budget,
    test_clock,
    test_configuration,
    test_conversation_lost,
    test_credentials,
    test_escalation,
    test_facts,
    test_fallbacks,
    test_fork,
    test_idle,
    test_local,
    test_memory,
    test_permissions,
    test_profiles,
    test_reminders,
    test_replacement,
    test_sandbox,
    test_sessions,
    test_snapshots,
    test_tasks,
    test_tree_machines,
    test_warm,
    test_workspace,
)
from tests.engine import test_deletion as test_goodbyes
from tests.engine.stage import LT, SETTINGS, Stage, Story, pass_time, tell
from tests.engine.test_profiles import Vault, made
from tests.engine.tree_stories import TREE_STORIES
from tests.world import GOLDEN, Machine, Pi, World

Play = Callable[[Path], object]

STORIES: dict[str, Play] = {}
"""`Kind.path`, without indices → what shows it."""

NEVER = 36_000.0
"""Seconds that no test waits for."""


@dataclass(frozen=True)
class Scene:
    """What a story is played in. `work`: seconds that a turn takes; `vault`: secrets."""

    story: Story
    work: float = 4.0
    vault: dict[str, str] = field(default_factory=dict)
    local: bool = False

    def __call__(self, path: Path) -> object:
        settings = replace(SETTINGS, hosting=Hosting.ALLOWED, local_root="/srv/agents", host="here") if self.local else SETTINGS
        return tell(path, self.story, World(self.work), settings, Vault(**self.vault))


def shows(*paths: str, work: float = 4.0, local: bool = False, **vault: str) -> Callable[[Story], Story]:
    """The decorated story shows these fields."""

    def note(story: Story) -> Story:
        for path in paths:
            assert path not in STORIES, path
            STORIES[path] = Scene(story, work, vault, local)
        return story

    return note


def pi_of(machine: Machine) -> Pi:
    assert machine.pi is not None
    return machine.pi


def secret(key: str) -> dict[str, object]:
    return {"secretKeyRef": {"name": "s", "key": key}}


def config(key: str) -> dict[str, object]:
    return {"configMapKeyRef": {"name": "c", "key": key}}


# --- machines -------------------------------------------------------------------------------------------------------------------------


@shows("BootProfile.source.image")
async def from_an_image(run: Stage) -> None:
    assert (await made(run, {"source": {"image": "debian"}})).source == RootSource("debian")


@shows("BootProfile.source.commitId")
async def from_a_commit(run: Stage) -> None:
    commit = "00000000-0000-4000-9000-000000000001"
    assert (await made(run, {"source": {"commitId": commit}})).source == CommitSource(commit)


@shows("BootProfile.source.ref")
async def from_a_tag(run: Stage) -> None:
    assert (await made(run, {"source": {"ref": "golden:latest"}})).source == CommitSource(GOLDEN)


@shows(*(f"BootProfile.resources.{size}" for size in ("vcpus", "memoryMiB", "diskMiB")))
async def size_of_the_profile(run: Stage) -> None:
    machine = await made(run, {"resources": {"vcpus": 3, "memoryMiB": 1024, "diskMiB": 2048}})
    assert machine.shape == VmShape(3, 1024, 2048)


@shows(*(f"Lieutenant.resources.{size}" for size in ("vcpus", "memoryMiB", "diskMiB")))
async def size_of_its_own(run: Stage) -> None:
    size = {"vcpus": 1, "memoryMiB": 512, "diskMiB": 1024}
    machine = await made(run, {"resources": size}, resources={"vcpus": 3, "memoryMiB": 1024, "diskMiB": 2048})
    assert machine.shape == VmShape(3, 1024, 2048)


@shows("BootProfile.extends.name")
async def one_profile_extends_another(run: Stage) -> None:
    machine = await made(run, {"source": None, "extends": {"name": "swarm"}})
    assert machine.files
    assert {organ["name"] for organ in run.status()["boot"]["organs"]} >= {"store"}


@shows("Lieutenant.profileRef.name")
async def the_profile_it_names(run: Stage) -> None:
    assert (await made(run, {"files": [{"path": "a.txt", "content": "a"}]})).files["a.txt"] == b"a"


def files(prefix: str) -> tuple[str, ...]:
    refs = ("contentFrom.configMapKeyRef", "contentFrom.secretKeyRef", "valueFrom.secretKeyRef")
    return tuple(
        f"{prefix}[].{leaf}" for leaf in ("path", "content", "mode", *(f"{ref}.{part}" for ref in refs for part in ("name", "key")))
    )


FILES = [
    {"path": "a.txt", "content": "a", "mode": "0751"},
    {"path": "b.txt", "contentFrom": config("b")},
    {"path": "c.txt", "contentFrom": secret("c")},
    {"path": "d.txt", "valueFrom": secret("d")},
]
VALUES = {"config_c_b": "from b", "s_c": "from c", "s_d": "from d"}


def all_there(machine: Machine) -> None:
    assert machine.modes.get("a.txt") == 0o751
    found = {path: machine.files.get(path) for path in ("a.txt", "b.txt", "c.txt", "d.txt")}
    assert found == {"a.txt": b"a", "b.txt": b"from b", "c.txt": b"from c", "d.txt": b"from d"}


@shows(*files("BootProfile.files"), **VALUES)
async def files_of_the_profile(run: Stage) -> None:
    all_there(await made(run, {"files": FILES}))


@shows(*files("Lieutenant.instructions.files"), **VALUES)
async def files_of_the_instructions(run: Stage) -> None:
    await run.lieutenant(instructions={"files": FILES})
    all_there(await run.ready())


ENV = ("name", "value", "valueFrom.secretKeyRef.name", "valueFrom.secretKeyRef.key")
VARIABLES = [{"name": "PLAIN", "value": "seen"}, {"name": "TOKEN", "valueFrom": secret("k")}]


def in_the_environment(machine: Machine) -> None:
    env = pi_of(machine).launch.env
    assert (env.get("PLAIN"), env.get("TOKEN")) == ("seen", "hidden-value")


@shows(*(f"BootProfile.env[].{leaf}" for leaf in ENV), s_k="hidden-value")
async def environment_of_the_profile(run: Stage) -> None:
    in_the_environment(await made(run, {"env": VARIABLES}))


@shows(*(f"Lieutenant.env[].{leaf}" for leaf in ENV), s_k="hidden-value")
async def environment_of_its_own(run: Stage) -> None:
    in_the_environment(await made(run, {"env": [{"name": "PLAIN", "value": "covered"}]}, env=VARIABLES))


@shows("BootProfile.steps[].name", "BootProfile.steps[].run", "BootProfile.steps[].timeoutSeconds")
async def steps(run: Stage) -> None:
    ran: list[GuestCommand] = []
    run.world.commands = lambda said: len(ran) - len([*ran, ran.append(said)]) + 1
    machine = await made(run, {"steps": [{"name": "deps", "run": "make deps", "timeoutSeconds": 77}]})
    script = "/var/lib/reconciler/steps/deps.sh"
    assert [(said.argv, said.timeout) for said in ran] == [(("sh", script), 77.0)]
    assert machine.files[script] == b"make deps"


VERIFY = ("name", "command[]", "expect.exitCode", "expect.stdout", "timeoutSeconds")


@shows(*(f"BootProfile.verify[].{leaf}" for leaf in VERIFY))
async def verification(run: Stage) -> None:
    ran: list[GuestCommand] = []

    def command(said: GuestCommand) -> CommandResult:
        ran.append(said)
        return CommandResult(3, "as asked\n" if len(ran) > 1 else "not yet\n", "", 0.1)

    run.world.commands = command
    check = {"name": "there", "command": ["cat", "x"], "expect": {"exitCode": 3, "stdout": "as asked"}, "timeoutSeconds": 7}
    await test_profiles.profile(run, verify=[check])
    await run.lieutenant(profileRef={"name": "own"})
    await run.says(LT, "Stalled", "BootFailed")
    assert "its output is 'not yet', expected 'as asked'" in run.message(LT, "Stalled")
    await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "1"})
    await run.ready()
    assert [(said.argv, said.timeout) for said in ran] == [(("cat", "x"), 7.0)] * 2
    assert [step["name"] for step in run.status()["boot"]["steps"]] == ["there"]


# --- agents ---------------------------------------------------------------------------------------------------------------------------


@shows("BootProfile.agent.command[]", "BootProfile.agent.workDir")
async def the_program(run: Stage) -> None:
    launch = pi_of(await made(run, {"agent": {"command": ["nice", "pi"], "workDir": "/srv/work"}})).launch
    assert (launch.command, launch.work_dir) == (("nice", "pi"), "/srv/work")


@shows(*(f"BootProfile.agent.model.{leaf}" for leaf in ("provider", "id", "thinking")))
async def model_of_the_profile(run: Stage) -> None:
    pi = pi_of(await made(run, {"agent": {"model": {"provider": "a", "id": "one", "thinking": "high"}}}))
    assert (pi.model, pi.thinking) == ("a/one", "high")


PROVIDER = ("name", "baseUrl", "api", "apiKeyFrom.secretKeyRef.name", "apiKeyFrom.secretKeyRef.key")


@shows(*(f"BootProfile.agent.providers[].{leaf}" for leaf in PROVIDER), s_k="hidden-value")
async def providers(run: Stage) -> None:
    provider = {"name": "own", "baseUrl": "http://127.0.0.1:1/v1", "api": "anthropic-messages", "apiKeyFrom": secret("k")}
    machine = await made(run, {"agent": {"model": {"provider": "own", "id": "one"}, "providers": [provider]}})
    told = json.loads(machine.files[MODELS_FILE])["providers"]
    assert list(told) == ["own"]
    assert (told["own"]["baseUrl"], told["own"]["api"]) == ("http://127.0.0.1:1/v1", "anthropic-messages")
    assert pi_of(machine).launch.env[told["own"]["apiKey"].removeprefix("$")] == "hidden-value"


@shows("Lieutenant.role", "Lieutenant.instructions.context")
async def what_it_is_told(run: Stage) -> None:
    await run.lieutenant(role="Water the plants", instructions={"context": "there are nine of them"})
    told = (await run.ready()).files[ROLE_FILE].decode()
    assert "Your role: Water the plants" in told
    assert "there are nine of them" in told


@shows(*(f"Lieutenant.model.{leaf}" for leaf in ("provider", "id", "thinking")))
async def model_of_its_own(run: Stage) -> None:
    profile = {"agent": {"model": {"provider": "z", "id": "other", "thinking": "low"}}}
    pi = pi_of(await made(run, profile, model={"provider": "a", "id": "one", "thinking": "high"}))
    assert (pi.model, pi.thinking) == ("a/one", "high")


@shows("Lieutenant.health.periodSeconds", "Lieutenant.health.failureThreshold")
async def how_long_it_may_be_silent(run: Stage) -> None:
    await run.lieutenant(health={"periodSeconds": 20, "failureThreshold": 6})
    machine = await run.ready()
    pi = pi_of(machine)
    pi.deaf = True
    await pass_time(100)
    assert machine.pi is pi
    await run.until(lambda: machine.pi is not None and machine.pi is not pi, "it was started again")


@shows("Lieutenant.restart.backoff.baseSeconds")
async def the_first_delay(run: Stage) -> None:
    await run.lieutenant(restart={"backoff": {"baseSeconds": 60}})
    machine = await run.ready()
    run.world.kill_pi(machine)
    await pass_time(25)
    assert machine.pi is None
    await run.until(lambda: machine.pi is not None, "it was started again")


@shows("Lieutenant.restart.backoff.maxSeconds")
async def the_longest_delay(run: Stage) -> None:
    await run.lieutenant(restart={"backoff": {"baseSeconds": 60, "maxSeconds": 5}})
    machine = await run.ready()
    run.world.kill_pi(machine)
    await pass_time(10)
    assert machine.pi is not None


@shows("Lieutenant.restart.crashLoop.maxRestarts")
async def how_many_restarts(run: Stage) -> None:
    await run.lieutenant(restart={"crashLoop": {"maxRestarts": 1}})
    machine = await run.ready()
    for _ in range(2):
        run.world.kill_pi(machine)
        await pass_time(30)
    assert machine.pi is None
    assert run.reason(LT, "Stalled") == "CrashLoop"


async def seldom(run: Stage, **loop: int) -> None:
    """Twice, two minutes apart, where one is allowed."""
    await run.lieutenant(restart={"crashLoop": {"maxRestarts": 1, **loop}})
    machine = await run.ready()
    for _ in range(2):
        run.world.kill_pi(machine)
        await pass_time(120)
        assert machine.pi is not None


@shows("Lieutenant.restart.crashLoop.windowSeconds")
async def in_which_time(run: Stage) -> None:
    await seldom(run, windowSeconds=60)


@shows("Lieutenant.restart.crashLoop.stableSeconds")
async def what_clears_the_count(run: Stage) -> None:
    await seldom(run, stableSeconds=30)


# --- work -----------------------------------------------------------------------------------------------------------------------------


@shows("Task.lieutenantRef.name", "Task.prompt")
async def who_is_told_what(run: Stage) -> None:
    await run.lieutenant("api")
    web = await run.lieutenant("web")
    task = await run.task("one", "paint it black", to="web")
    await run.ready(web)
    assert await run.ends(task) == "Succeeded"
    ((vm_id, told),) = run.world.prompts
    assert vm_id == run.record(web).slot.vm_id
    assert told.endswith("paint it black")


CONTENT = ("configMapKeyRef.name", "configMapKeyRef.key", "secretKeyRef.name", "secretKeyRef.key")


@shows(*(f"Task.contentFrom.{leaf}" for leaf in CONTENT), config_c_b="do b", s_c="do c")
async def prompts_from_elsewhere(run: Stage) -> None:
    await run.lieutenant()
    for name, source in (("one", config("b")), ("two", secret("c"))):
        assert await run.ends(await run.task(name, contentFrom=source, prompt=None)) == "Succeeded"
    assert [told.rpartition("\n")[2] for _, told in run.world.prompts] == ["do b", "do c"]


async def given_up(run: Stage, limits: dict[str, int], reason: str, within: float) -> None:
    await run.lieutenant(limits=limits)
    await run.ready()
    task = await run.task("one", escalation=[])
    await run.runs(task)
    at = run.world.now()
    assert await run.ends(task) == "TimedOut"
    assert run.task_record(task).reason == reason
    assert run.world.now() - at < within


@shows("Lieutenant.limits.taskTimeoutSeconds", work=NEVER)
async def the_longest_run(run: Stage) -> None:
    await given_up(run, {"taskTimeoutSeconds": 20}, "TaskTimeout", 40)


@shows("Lieutenant.limits.noProgressSeconds", work=NEVER)
async def the_longest_silence(run: Stage) -> None:
    await given_up(run, {"noProgressSeconds": 30}, "NoProgress", 60)


@shows("Lieutenant.limits.toolProgress", work=NEVER)
async def a_tool_that_works(run: Stage) -> None:
    await run.lieutenant(limits={"noProgressSeconds": 30, "toolProgress": "Work"})
    machine, task = await run.ready(), await run.task("one")
    await run.runs(task)
    for _ in range(20):
        await pass_time(10)
        pi_of(machine).work += 1
    assert run.task_record(task).phase == "Running"
    assert await run.ends(task) == "TimedOut"


async def expires(run: Stage, within: float, steer: dict[str, int], **spec: object) -> None:
    await run.lieutenant(**spec)
    machine = await run.ready()
    await run.runs(await run.task("one"))
    task = await run.task("s", delivery="Steer", **steer)
    await run.until(lambda: bool(pi_of(machine).steers), "pi holds it")
    at = run.world.now()
    assert await run.ends(task) == "Expired"
    assert run.world.now() - at < within


@shows("Lieutenant.limits.steerLandSeconds", work=1000.0)
async def how_long_steers_take(run: Stage) -> None:
    await expires(run, 40, {}, limits={"steerLandSeconds": 20})


@shows("Task.landSeconds", work=1000.0)
async def how_long_this_steer_takes(run: Stage) -> None:
    await expires(run, 40, {"landSeconds": 20})


@shows("Task.acceptance[].file.minBytes")
async def a_file_that_is_too_small(run: Stage) -> None:
    await run.lieutenant()
    (await run.ready()).files["/root/workspace/report.md"] = b"short"
    assert await run.ends(await run.task("one", acceptance=[{"file": {"path": "report.md", "minBytes": 100}}])) == "Failed"


@shows("Task.acceptance[].command.timeoutSeconds")
async def how_long_a_check_takes(run: Stage) -> None:
    ran: list[float] = []
    await run.lieutenant()
    await run.ready()
    run.world.commands = lambda said: 0 if ran.append(said.timeout) is None else 1
    assert await run.ends(await run.task("one", acceptance=[{"command": {"run": ["true"], "timeoutSeconds": 7}}])) == "Succeeded"
    assert ran == [7.0]


# --- shown by tests of their own ------------------------------------------------------------------------------------------------------


def limited(name: str, seconds: int, reason: str) -> Play:
    return partial(test_tasks.test_a_limit_aborts_the_turn_and_the_next_task_runs, {name: seconds}, reason)


STORIES |= {
    "BootProfile.organs[]": test_profiles.test_organs_and_capabilities_are_put_there_verified_and_read_back,
    "BootProfile.capabilities[]": test_profiles.test_organs_and_capabilities_are_put_there_verified_and_read_back,
    "BootProfile.steps[].retries": test_profiles.test_a_step_that_fails_is_tried_again_and_every_run_is_on_record,
    "BootProfile.bake.enabled": test_bake.test_the_second_machine_begins_with_what_was_baked_and_no_step_is_run_again,
    "BootProfile.bake.keep": test_bake.test_only_so_many_commits_stay_and_nobody_elses_goes,
    "BootProfile.bake.warm": test_warm.test_the_next_lieutenant_takes_one_and_it_is_made_up_for,
    "BootProfile.agent.extensions[]": test_profiles.test_a_declared_skill_is_read_back_and_a_missing_one_blocks_ready,
    "BootProfile.agent.skills[]": test_profiles.test_a_declared_skill_is_read_back_and_a_missing_one_blocks_ready,
    "Lieutenant.instructions.directive": test_configuration.test_changed_instructions_reach_pi_by_a_restart_when_settled,
    **{f"Lieutenant.model.fallbacks[].{leaf}": Scene(test_fallbacks.another_model_answers) for leaf in ("provider", "id", "thinking")},
    **{
        f"BootProfile.agent.model.fallbacks[].{leaf}": Scene(test_fallbacks.fallback_of_the_profile)
        for leaf in ("provider", "id", "thinking")
    },
    "Lieutenant.compaction.reassertDirective": test_reminders.test_where_that_is_declared_nothing_is_said_again,
    **{
        f"Lieutenant.compaction.{name}": Scene(test_configuration.shortened_as_declared, 20.0)
        for name in ("auto", "reserveTokens", "keepRecentTokens")
    },
    "Lieutenant.queue.maxPending": test_tasks.test_a_full_queue_says_so_and_drains,
    "Lieutenant.limits.firstArtifactSeconds": test_escalation.test_a_task_that_writes_nothing_in_time_is_ended,
    "Lieutenant.limits.maxTurns": test_escalation.test_more_rounds_than_allowed_end_the_turn,
    "Lieutenant.suspend.onBusy": test_sessions.test_with_abort_its_turn_is_ended_after_the_grace_and_goes_on_after_the_sleep,
    "Lieutenant.suspend.graceSeconds": test_sessions.test_with_abort_its_turn_is_ended_after_the_grace_and_goes_on_after_the_sleep,
    "Lieutenant.health.startupTimeoutSeconds": test_clock.test_one_that_never_answers_is_started_again_after_its_startup_timeout,
    "Lieutenant.session.generation": test_conversation_lost.test_a_raised_generation_begins_another_conversation_and_keeps_the_one_before,
    "Lieutenant.session.onLost": partial(test_conversation_lost.test_with_fail_nothing_goes_on_until_a_person_says_so, how="dies"),
    "Lieutenant.session.onWorkspaceLost": test_workspace.test_held_back_until_a_person_says_that_it_is_known,
    "Lieutenant.update.onNoRoom": test_replacement.test_without_room_for_both_it_is_replaced_in_place_where_that_is_declared,
    "Lieutenant.update.onProfileChange": (test_profiles.test_recreate_replaces_the_machine_when_settled_and_carries_the_conversation_over),
    "Lieutenant.snapshots.schedule": test_snapshots.test_one_is_taken_when_its_time_has_come_and_is_named_as_ours,
    "Lieutenant.snapshots.timeZone": test_snapshots.test_its_time_is_that_of_the_declared_zone,
    "Lieutenant.snapshots.keep": test_snapshots.test_only_the_newest_are_kept_and_nobody_elses_goes,
    "Lieutenant.snapshots.verify": partial(test_snapshots.test_all_or_none_are_restored_as_declared, "All", 3),
    "Lieutenant.snapshots.beforeMutate": test_snapshots.test_before_a_deletion_one_is_taken_that_must_succeed,
    "Lieutenant.managementPolicy": test_goodbyes.test_where_no_vm_may_be_deleted_a_dead_one_is_not_replaced,
    "Lieutenant.deletionPolicy": test_goodbyes.test_a_snapshot_is_taken_proven_and_told_before_the_vm_goes,
    "Lieutenant.mode": test_sessions.test_a_vm_resumed_behind_our_back_is_suspended_again,
    "Lieutenant.placement.type": test_local.test_a_declared_local_agent_works_here_and_is_gone_without_a_trace,
    "Lieutenant.placement.outageFallback": test_local.test_work_goes_on_here_in_an_outage_and_comes_back_with_all_that_was_said_and_made,
    "Lieutenant.adopt.vmId": test_adoption.test_a_vm_is_taken_over_prepared_and_used_and_no_other_is_made,
    "Lieutenant.fork.from.tree": test_tree_machines.test_a_lieutenant_is_a_live_copy_of_the_node_that_it_names,
    "Lieutenant.fork.from.name": test_fork.test_a_copy_has_disk_and_conversation_of_its_source_and_both_go_on_apart,
    "Task.delivery": test_tasks.test_a_steer_lands_in_the_running_turn,
    "Task.target.name": test_tasks.test_a_steer_for_nobody_or_too_late_expires_and_wakes_nobody,
    "Task.after[].name": test_tasks.test_tasks_run_in_order_one_at_a_time_each_once,
    "Task.notBefore": test_tasks.test_a_task_waits_for_its_time,
    "Task.deadlineSeconds": limited("deadlineSeconds", 60, "DeadlineExceeded"),
    "Task.noProgressSeconds": limited("noProgressSeconds", 30, "NoProgress"),
    "Task.taskTimeoutSeconds": limited("taskTimeoutSeconds", 20, "TaskTimeout"),
    "Task.acceptance[].file.path": test_tasks.test_without_the_file_asked_for_it_has_failed_whatever_it_says,
    "Task.acceptance[].command.run[]": test_tasks.test_acceptance_decides_and_the_next_attempt_is_told_what_failed,
    "Task.escalation[]": test_escalation.test_a_stalled_turn_is_steered_aborted_restarted_and_then_given_up,
    "Task.retries": test_tasks.test_a_model_error_is_no_success_and_is_told_to_the_next_attempt,
    "Task.ttlSecondsAfterFinished": test_escalation.test_what_was_done_stays_done_after_its_time_to_live,
    "Task.cancel": test_tasks.test_a_cancelled_task_is_aborted_and_a_pending_one_never_sent,
}


def name_of(play: Play) -> str:
    """Its name, unique among the stories."""
    match play:
        case Scene():
            return play.story.__name__
        case partial():
            words = (getattr(word, "__name__", str(word)) for word in (*play.args, *play.keywords.values()))
            return "-".join([play.func.__name__, *words])
        case _:
            return str(getattr(play, "__name__", play))


STORIES |= {
    "Lieutenant.budget.maxCost": partial(
        test_budget.test_nothing_is_sent_when_it_is_spent_and_raising_it_goes_on_by_itself, ("maxCost", "0.001", "10.00")
    ),
    "Lieutenant.budget.maxTokens": partial(
        test_budget.test_nothing_is_sent_when_it_is_spent_and_raising_it_goes_on_by_itself, ("maxTokens", 15, 1_000_000)
    ),
    "Lieutenant.budget.maxMachineHours": test_budget.test_hours_of_a_machine_count_while_it_runs_and_only_then,
    "Lieutenant.budget.windowSeconds": test_budget.test_a_sliding_window_moves_on,
    "Lieutenant.budget.calendar": partial(
        test_budget.test_a_window_of_the_calendar_begins_anew_at_midnight_of_its_zone, "Pacific/Auckland"
    ),
    "Lieutenant.budget.timeZone": partial(
        test_budget.test_a_window_of_the_calendar_begins_anew_at_midnight_of_its_zone, "Pacific/Auckland"
    ),
    "Lieutenant.budget.warnAtPercent": test_budget.test_what_only_warns_holds_nothing_and_is_told_once,
    "Lieutenant.budget.onExceeded": partial(test_budget.test_a_turn_goes_on_to_its_end_where_that_is_declared, "Warn"),
    "Task.budget.maxCost": test_budget.test_all_attempts_of_a_task_count_against_its_budget,
    "Task.budget.maxTokens": test_budget.test_a_task_with_a_budget_of_its_own_fails_and_the_next_one_is_done,
    "Task.budget.warnAtPercent": test_budget.test_a_task_with_a_budget_of_its_own_fails_and_the_next_one_is_done,
    "Lieutenant.memory.scopes[]": test_memory.test_what_an_agent_wrote_is_in_the_store_and_told_on_its_next_machine,
    "Lieutenant.memory.maxLines": test_memory.test_what_is_told_are_the_newest_lines,
    "Lieutenant.memory.extractFacts": test_facts.test_facts_that_were_found_before_a_compaction_are_kept_beyond_the_machine,
    **{
        f"Lieutenant.memory.factsModel.{name}": test_facts.test_the_model_that_is_declared_finds_them_and_a_change_of_it_restarts_pi
        for name in ("provider", "id")
    },
    "Lieutenant.idle.suspendAfterSeconds": test_idle.test_it_is_suspended_without_work_and_a_task_wakes_it,
    "Lieutenant.idle.wakeOnTask": test_idle.test_it_sleeps_on_where_tasks_do_not_wake_it_until_a_person_does,
    "Lieutenant.idle.postTask": partial(test_idle.test_what_becomes_of_a_worker_whose_tasks_are_done, "Delete"),
}
STORIES |= TREE_STORIES
STORIES |= {
    f"{place}.{source}.{leaf}": partial(test_credentials.both, place)
    for place, source in test_credentials.PLACES.items()
    for leaf in test_credentials.LEAVES
}

RULES = ("tools[]", "default", "allow[]", "ask[]", "deny[]", "askMayBeAllowed", "askTimeoutSeconds")
STORIES |= {
    **{f"BootProfile.sandbox.{name}": test_sandbox.test_what_is_declared_reaches_the_keeper for name in ("fs.writable[]", "fs.hidden[]")},
    "BootProfile.sandbox.network.allow[]": test_sandbox.test_what_is_declared_reaches_the_keeper,
}
EXAMPLES = ("examples[].call", "examples[].expect")
STORIES |= {
    **{f"Lieutenant.permissions.{name}": Scene(test_permissions.of_the_lieutenant) for name in RULES},
    **{f"BootProfile.agent.permissions.{name}": Scene(test_permissions.of_the_profile) for name in RULES},
    **{f"Task.permissions.{name}": Scene(test_permissions.of_the_task) for name in RULES},
    **{f"Lieutenant.permissions.{name}": Scene(test_permissions.wrong_example) for name in EXAMPLES},
    **{f"BootProfile.agent.permissions.{name}": Scene(test_permissions.wrong_example_of_the_profile) for name in EXAMPLES},
    **{f"Task.permissions.{name}": Scene(test_permissions.wrong_example_of_the_task) for name in EXAMPLES},
    **{f"Task.approvals[].{name}": Scene(test_permissions.a_question_is_answered, 120.0) for name in ("id", "decision", "reason")},
}
