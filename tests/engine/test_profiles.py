"""Stories about boot profiles: how machines are prepared, what becomes of secrets, and what a changed profile does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.core.keys import Json, Key
from reconciler.core.snapshot.machine import CommandResult, CommitSource, GuestCommand
from reconciler.engine.state.declared import Declared
from reconciler.errors import GuestUnreachable, Unreachable
from tests.engine.stage import LT, Stage, declared, failing, pass_time, tell
from tests.world import GOLDEN, Machine

PROFILE = Key("BootProfile", "default", "own")
SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
MOVED = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1cfe"
HIDDEN = "first-value-of-the-secret"


class Vault:
    """Secrets that a test can change."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.seen: set[str] = set()

    def get(self, namespace: str, name: str, key: str) -> str | None:
        value = self.values.get(f"{name}_{key}")
        if value is not None:
            self.seen.add(value)
        return value

    def config(self, namespace: str, name: str, key: str) -> str | None:
        return self.values.get(f"config_{name}_{key}")

    def holds(self, kind: str, namespace: str, name: str) -> bool:
        return any(one.startswith(f"config_{name}_" if kind == "ConfigMap" else f"{name}_") for one in self.values)

    def unread(self, kind: str, namespace: str, name: str) -> str:
        return ""

    def known(self) -> tuple[str, ...]:
        return tuple(self.seen)


async def profile(run: Stage, **spec: object) -> None:
    await run.declare(declared(PROFILE, **{"source": {"image": "default"}, **spec}))


async def made(run: Stage, profile_spec: dict[str, object], **spec: object) -> Machine:
    """A lieutenant of its own profile, ready."""
    await profile(run, **profile_spec)
    await run.lieutenant(profileRef={"name": "own"}, **spec)
    return await run.ready()


def steps(run: Stage) -> dict[str, Json]:
    return {step["name"]: step for step in run.status()["boot"]["steps"]}


def on_script(name: str, ends: Callable[[int], CommandResult]) -> Callable[[GuestCommand], int | CommandResult]:
    """`ends`: how the run of this number of the step's script ends."""
    runs = [0]

    def command(said: GuestCommand) -> int | CommandResult:
        if said.argv[-1] != f"/var/lib/reconciler/steps/{name}.sh":
            return 0
        runs[0] += 1
        return ends(runs[0])

    return command


# --- steps and checks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-44")
def test_a_step_that_fails_is_tried_again_and_every_run_is_on_record(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.commands = on_script(
            "deps", lambda n: CommandResult(7, "", "no network", 1.5) if n == 1 else CommandResult(0, "fine", "", 2.5)
        )
        await made(run, {"steps": [{"name": "deps", "run": "make deps", "retries": 1}], "verify": [{"name": "there", "command": ["true"]}]})
        assert steps(run)["deps"] == {
            "kind": "Step",
            "name": "deps",
            "state": "Succeeded",
            "tries": 2,
            "seconds": 2.5,
            "outputTail": "fine",
            "exitCode": 0,
        }
        assert steps(run)["there"]["kind"] == "Verify"
        assert run.happened("BootRetrying") == 1

    tell(tmp_path, story)


def test_a_step_that_hangs_ends_at_its_time_limit_and_a_retry_asked_for_runs_it_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.commands = on_script("deps", lambda n: CommandResult(None, "half", "", 60.0) if n == 1 else CommandResult(0))
        await profile(run, steps=[{"name": "deps", "run": "sleep 1d", "timeoutSeconds": 60}])
        await run.lieutenant(profileRef={"name": "own"})
        await run.says(LT, "Stalled", "BootFailed")
        assert steps(run)["deps"]["timedOut"] is True
        assert steps(run)["deps"]["outputTail"] == "half"
        assert "timed out" in run.message(LT, "Ready")
        spec = {"role": "Keep it", "profileRef": {"name": "own"}}
        await run.declare(Declared(LT, spec, {}, {"fleet.vers.sh/retry": "1"}, "api"))  # type: ignore[arg-type]
        await run.ready()
        assert steps(run)["deps"]["state"] == "Succeeded"

    tell(tmp_path, story)


def test_a_long_step_is_seen_while_it_runs(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        async def slow(act):  # type: ignore[no-untyped-def]
            await pass_time(30)
            return await act()

        run.weather.rules["keeper.run"] = slow
        await profile(run, steps=[{"name": "deps", "run": "make deps"}])
        await run.lieutenant(profileRef={"name": "own"})
        await run.until(lambda: run.message(LT, "Ready") == "step deps", "it says what it does")
        await run.ready()

    tell(tmp_path, story)


def test_a_long_check_is_seen_while_it_runs(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        async def slow(act):  # type: ignore[no-untyped-def]
            await pass_time(30)
            return await act()

        run.weather.rules["keeper.run"] = slow
        await profile(run, verify=[{"name": "there", "command": ["true"]}])
        await run.lieutenant(profileRef={"name": "own"})
        await run.until(lambda: run.message(LT, "Ready") == "check there", "it says what it does")
        assert [(one.name, one.state, one.tries) for one in run.record().boot.steps] == [("there", "Running", 1)]
        await run.ready()
        assert steps(run)["there"]["state"] == "Succeeded"
        assert steps(run)["there"]["tries"] == 1

    tell(tmp_path, story)


def test_a_check_that_is_soon_over_is_told_once_with_what_follows(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        told = list[str]()
        run.engine.table.on_change.append(lambda key, before, after: told.append(str(after and after.record.get("boot"))))
        await made(run, {"verify": [{"name": "there", "command": ["true"]}]})
        assert steps(run)["there"]["state"] == "Succeeded"
        assert run.happened("StepDone") == 1
        assert not any("Running" in boot for boot in told)
        [stored] = await run.engine.store.objects("Lieutenant", LT.namespace, LT.name)
        assert [step["name"] for step in stored.record["boot"]["steps"]] == ["there"]  # type: ignore[index, call-overload, union-attr]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-60")
def test_what_a_step_prints_is_kept_without_secrets(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.commands = on_script("deps", lambda n: CommandResult(3, f"token {HIDDEN}", f"again {HIDDEN}", 1.0))
        await profile(run, steps=[{"name": "deps", "run": "x"}], env=[{"name": "TOKEN", "valueFrom": SECRET}])
        await run.lieutenant(profileRef={"name": "own"})
        await run.says(LT, "Stalled", "BootFailed")
        item = run.engine.table.lieutenant(LT)
        assert item is not None
        told = json.dumps([item.obj.status, item.obj.record, [event.message for event in run.controller.told]])
        assert "[redacted]" in told
        assert HIDDEN not in told

    tell(tmp_path, story, secrets=Vault(s_k=HIDDEN))


def test_a_profile_that_does_not_exist_yet_is_waited_for_without_a_machine(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(profileRef={"name": "own"})
        task = await run.task("one")
        await run.says(LT, "Ready", "ProfileNotFound")
        assert "BootProfile own does not exist" in run.message(LT, "Ready")
        await pass_time(600)
        assert run.world.created == 0
        await profile(run)
        assert await run.ends(task) == "Succeeded"

    assert tell(tmp_path, story).world.created == 1


# --- organs and capabilities ---------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-44")
def test_organs_and_capabilities_are_put_there_verified_and_read_back(tmp_path: Path) -> None:
    checked: list[str] = []

    def command(said: GuestCommand) -> int:
        checked.append(said.argv[1])
        return 0

    async def story(run: Stage) -> None:
        run.world.commands = command
        machine = await made(run, {"organs": ["store", "vm-tree"], "capabilities": ["vers-vm"]})
        assert [path.rsplit("/", 1)[1] for path in checked] == ["store.mjs", "vm-tree.mjs", "vers-vm.mjs"]
        assert all(path in machine.files for path in checked)
        place = json.loads(machine.files["/root/.pi/agent/skills/fleet-vm-tree/place.json"])
        assert place["organs"] == ["store", "vm-tree"]
        boot = run.status()["boot"]
        assert boot["organs"] == [{"name": "store", "state": "Verified"}, {"name": "vm-tree", "state": "Verified"}]
        assert boot["capabilities"][0]["state"] == "WithoutKey", "nothing was declared that it could work with"
        assert run.reason(LT, "AgentConfigured") == "Applied"

    tell(tmp_path, story)


def test_an_organ_whose_check_fails_is_not_verified_and_stops_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.commands = lambda said: CommandResult(1, "", "what was stored does not come back") if said.argv[-1] == "check" else 0
        await profile(run, organs=["store"])
        await run.lieutenant(profileRef={"name": "own"})
        await run.says(LT, "Stalled", "BootFailed")
        assert run.status()["boot"]["organs"] == [{"name": "store", "state": "NotVerified"}]
        assert steps(run)["organ:store"]["tries"] == 3

    tell(tmp_path, story)


@pytest.mark.guarantee("G-44")
def test_an_organ_that_nobody_brings_is_told_by_name(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await made(run, {"organs": ["store", "kidney"], "capabilities": ["flying"]})
        told = run.message(LT, "Unsupported")
        assert "organs: kidney" in told
        assert "capabilities: flying" in told
        assert [organ["name"] for organ in run.status()["boot"]["organs"]] == ["store"]

    tell(tmp_path, story)


# --- what pi loads -------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-27")
@pytest.mark.guarantee("G-44")
def test_a_declared_skill_is_read_back_and_a_missing_one_blocks_ready(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        skill = {"path": "skills/mine/SKILL.md", "content": "---\nname: mine\ndescription: Mine.\n---\n"}
        agent = {"skills": ["skills/mine", "/opt/other"], "extensions": ["ext/a.mjs"]}
        await profile(run, files=[skill], agent=agent)
        await run.lieutenant(profileRef={"name": "own"})
        await run.says(LT, "AgentConfigured", "SkillNotLoaded")
        assert run.message(LT, "AgentConfigured") == "pi has no skill at /opt/other"
        assert run.condition(LT, "Ready") == "False"
        pi = run.machine().pi
        assert pi is not None
        argv = pi.launch.argv
        assert [argv[i + 1] for i, word in enumerate(argv) if word == "--extension"] == ["ext/a.mjs"]
        first = pi.pid
        run.machine().files["/opt/other/SKILL.md"] = b"as a person puts it there"
        spec = {"role": "Keep it", "profileRef": {"name": "own"}}
        await run.declare(Declared(LT, spec, {}, {"fleet.vers.sh/retry": "1"}, "api"))  # type: ignore[arg-type]
        await run.ready()
        again = run.machine().pi
        assert again is not None
        assert again.pid != first, "skills are read at pi's start"

    tell(tmp_path, story)


# --- secrets -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-60")
def test_a_changed_secret_reaches_files_and_environment_by_a_restart_when_settled(tmp_path: Path) -> None:
    vault = Vault(s_k=HIDDEN)

    async def story(run: Stage) -> None:
        spec: dict[str, object] = {"env": [{"name": "TOKEN", "valueFrom": SECRET}], "files": [{"path": ".npmrc", "valueFrom": SECRET}]}
        machine = await made(run, spec)
        assert machine.files[".npmrc"] == HIDDEN.encode()
        assert machine.pi is not None
        first = machine.pi
        task = await run.task("one")
        await run.runs(task)
        vault.values["s_k"] = "second-value\nof the secret"
        assert await run.ends(task) == "Succeeded"
        await run.until(lambda: machine.pi is not None and machine.pi is not first, "pi was started again")
        assert machine.pi is not None
        assert machine.pi.launch.env["TOKEN"] == "second-value\nof the secret"
        assert machine.files[".npmrc"] == b"second-value\nof the secret"
        assert len(run.prompts("one")) == 1
        await run.ready()
        assert run.world.created == 1
        item = run.engine.table.lieutenant(LT)
        assert item is not None
        assert "second-value" not in json.dumps([item.obj.status, item.obj.record])

    tell(tmp_path, story, secrets=vault)


def test_a_missing_secret_is_waited_for_without_a_machine(tmp_path: Path) -> None:
    vault = Vault()

    async def story(run: Stage) -> None:
        config = {"path": "big.txt", "contentFrom": {"configMapKeyRef": {"name": "c", "key": "text"}}}
        await profile(run, env=[{"name": "TOKEN", "valueFrom": SECRET}], files=[config])
        await run.lieutenant(profileRef={"name": "own"})
        await run.says(LT, "Ready", "SecretNotFound")
        await pass_time(60)
        assert run.world.created == 0
        assert "ConfigMap c is not in namespace default; create it with the key text" in run.message(LT, "Ready")
        vault.values.update(s_k=HIDDEN, config_c_text="much\n" * 50_000)
        machine = await run.ready()
        assert machine.files["big.txt"] == b"much\n" * 50_000

    tell(tmp_path, story, secrets=vault)


def test_a_secret_that_no_environment_can_carry_is_refused_by_name(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await profile(run, env=[{"name": "TOKEN", "valueFrom": SECRET}])
        await run.lieutenant(profileRef={"name": "own"})
        await run.says(LT, "Ready", "SecretUnfit")
        assert "in TOKEN" in run.message(LT, "Ready")
        assert run.world.created == 0

    tell(tmp_path, story, secrets=Vault(s_k="with\0nul"))


# --- a changed profile --------------------------------------------------------------------------------------------------------------

RECREATE = {"onProfileChange": "Recreate"}
BEFORE: dict[str, object] = {"steps": [{"name": "tools", "run": "one"}]}
AFTER: dict[str, object] = {"steps": [{"name": "tools", "run": "two"}]}


@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-44")
def test_recreate_replaces_the_machine_when_settled_and_carries_the_conversation_over(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, BEFORE, update=RECREATE)
        task = await run.task("one", "remember this")
        await run.runs(task)
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ProfileChanged")
        assert run.machine() is old, "never in a turn"
        assert await run.ends(task) == "Succeeded"
        await run.until(lambda: run.record().slot.vm_id not in ("", old.vm_id), "another machine")
        new = await run.ready()
        await run.says(LT, "UpToDate", "ProfileApplied")
        assert old.deleted
        assert b"remember this" in new.session
        assert new.session.startswith(old.session)
        assert len(run.prompts("one")) == 1
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert len(run.world.alive()) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-44")
def test_without_recreate_the_machine_stays_and_says_so(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, BEFORE)
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ProfileChanged")
        await pass_time(120)
        assert run.machine() is old
        assert run.condition(LT, "Ready") == "True"
        assert run.status()["boot"]["outdated"] is True

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_protected_machine_is_replaced_only_when_somebody_confirms_it(tmp_path: Path) -> None:
    def lieutenant(**annotations: str) -> Declared:
        spec = {"role": "Keep it", "profileRef": {"name": "own"}, "update": RECREATE}
        marked = {f"fleet.vers.sh/{name.replace('_', '-')}": value for name, value in annotations.items()}
        return Declared(LT, spec, {}, marked, "api")  # type: ignore[arg-type]

    async def story(run: Stage) -> None:
        await profile(run, **BEFORE)
        await run.declare(lieutenant(deletion_protection="enabled"))
        old = await run.ready()
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ReplacementHeldBack")
        await pass_time(120)
        assert run.machine() is old
        assert run.condition(LT, "Ready") == "True", "it works on meanwhile"
        await run.declare(lieutenant(deletion_protection="enabled", delete_confirmed="yes"))
        await run.until(lambda: old.deleted, "the old one is gone")
        await run.ready()

    tell(tmp_path, story)


@pytest.mark.guarantee("G-04")
def test_a_changed_profile_touches_nothing_while_the_machine_can_not_be_read(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, BEFORE, update=RECREATE)
        run.weather.rules["keeper."] = failing(lambda: GuestUnreachable("no answer", "vm"))
        run.weather.rules["guest."] = failing(lambda: GuestUnreachable("no answer", "vm"))
        await profile(run, **AFTER)
        await pass_time(300)
        assert not old.deleted
        assert not run.record().slot.marked_for_deletion
        run.weather.rules.clear()
        await run.until(lambda: old.deleted, "once it can be read it is replaced")
        await run.ready()

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize(
    "broken",
    [
        {**AFTER, "extends": {"name": "nowhere"}},
        {**AFTER, "env": [{"name": "TOKEN", "valueFrom": SECRET}]},
        {**AFTER, "files": [{"path": "/etc/token", "contentFrom": SECRET}]},
    ],
    ids=["extends what is not there", "a missing secret", "a missing secret in a file"],
)
def test_recreate_does_not_begin_while_the_new_profile_cannot_be_rendered(broken: dict[str, object], tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, BEFORE, update=RECREATE)
        await profile(run, **broken)
        await pass_time(120)
        assert not old.deleted
        assert not run.record().slot.marked_for_deletion
        assert old.pi is not None, "it works on meanwhile"
        await profile(run, **AFTER)
        await run.until(lambda: old.deleted, "now it is replaced")
        await run.ready()

    tell(tmp_path, story)


@pytest.mark.guarantee("G-06")
@pytest.mark.guarantee("G-14")
def test_recreate_does_not_begin_while_the_platform_refuses_machines_to_others_between_probes_too(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, BEFORE, update=RECREATE)
        run.world.full = True
        other = await run.lieutenant("other")
        await run.says(other, "Ready", "PlatformBlocked")
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ReplacementHeldBack")
        await pass_time(1800)
        assert not old.deleted
        assert run.condition(LT, "Ready") == "True"
        run.world.full = False
        await run.ready(other)
        await run.until(lambda: old.deleted, "now it is replaced")
        await run.ready()

    tell(tmp_path, story)


def test_a_reference_is_resolved_when_a_machine_is_made_and_its_commit_is_told(tmp_path: Path) -> None:
    """A tag that moves makes no machine outdated; the next one is made from what it points to then."""

    async def story(run: Stage) -> None:
        first = await made(run, {"source": {"ref": "golden:latest"}}, update=RECREATE)
        assert first.source == CommitSource(GOLDEN)
        run.world.refs["golden:latest"] = MOVED
        await pass_time(600)
        assert await run.ready() is first
        assert (run.status()["vm"]["ref"], run.status()["vm"]["commit"]) == ("golden:latest", GOLDEN)
        assert run.status()["boot"]["outdated"] is False
        first.deleted = True
        await run.until(lambda: run.record().slot.vm_id != first.vm_id, "it is forgotten")
        assert (await run.ready()).source == CommitSource(MOVED)
        assert run.status()["vm"]["commit"] == MOVED

    tell(tmp_path, story)


def test_a_reference_to_nothing_makes_nothing_until_it_is_there(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        del run.world.refs["golden:latest"]
        await profile(run, source={"ref": "golden:latest"})
        await run.lieutenant(profileRef={"name": PROFILE.name})
        await run.says(LT, "Ready", "ReferenceNotFound")
        assert "golden:latest" in run.message(LT, "Ready")
        await pass_time(300)
        assert run.world.created == 0
        run.world.refs["golden:latest"] = GOLDEN
        assert (await run.ready()).source == CommitSource(GOLDEN)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-04")
def test_a_reference_that_can_not_be_read_makes_nothing(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.weather.rules["vers.resolve_ref"] = failing(lambda: Unreachable("503 Service unavailable"))
        await profile(run, source={"ref": "golden:latest"})
        await run.lieutenant(profileRef={"name": PROFILE.name})
        await run.says(LT, "Ready", "VMUnknown")
        await pass_time(300)
        assert run.world.created == 0
        del run.weather.rules["vers.resolve_ref"]
        await run.ready()

    tell(tmp_path, story)


@pytest.mark.parametrize("change", [{"source": {"ref": "golden:latest"}}, {"resources": {"vcpus": 3}}])
def test_another_source_or_size_is_another_machine(tmp_path: Path, change: dict[str, object]) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, {}, update=RECREATE)
        await profile(run, **change)
        await run.until(lambda: old.deleted, "the old one is gone")
        await run.ready()
        assert run.status()["boot"]["outdated"] is False

    tell(tmp_path, story)


@pytest.mark.parametrize("mode", ["Running", "Suspended"])
def test_a_profile_that_is_not_there_is_told_with_its_namespace_also_of_what_is_suspended(tmp_path: Path, mode: str) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(profileRef={"name": "misspelt"}, mode=mode)
        await run.says(LT, "Ready", "ProfileNotFound")
        assert run.condition(LT, "Ready") == "False"
        assert "BootProfile misspelt does not exist in namespace default" in run.message(LT, "Ready")
        await run.lieutenant(mode=mode)
        await run.until(lambda: run.condition(LT, "Ready") == "True", "it is as declared")

    tell(tmp_path, story)
