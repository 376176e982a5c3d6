"""Values that programs and files of the controller's host give: drawn when they are used, renewed before they expire, shown nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.rendered import SecretRef
from reconciler.engine.planning import plan_everything
from reconciler.errors import ReconcilerError, Refused, Unreachable
from tests.engine.stage import LT, SETTINGS, Stage, Story, declared, pass_time, tell
from tests.engine.test_profiles import PROFILE, made
from tests.world import Machine, World

MINT = ["mint", "--for", "agents"]
FILE = "/run/tokens/agent"
EXEC = {"exec": {"command": MINT, "refreshSeconds": 60}}
SHORT: dict[str, object] = {"env": [{"name": "TOKEN", "valueFrom": EXEC}]}
HOUR = 3600.0

Answer = str | ReconcilerError


@dataclass
class Answers:
    """Programs by their words, and files by their paths, with what each gives; `calls`: what was asked for."""

    given: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    async def draw(self, namespace: str, ref: SecretRef) -> str:
        name = " ".join(ref.command) or ref.name
        self.calls.append(name)
        told = self.given.get(name, Refused("the program is not there", ref.words, "install it"))
        told = told() if callable(told) else told
        if isinstance(told, ReconcilerError):
            raise told
        return told


def until(seconds: float, value: str) -> str:
    """JSON that says when the value expires."""
    return json.dumps({"value": value, "expiresAt": datetime.fromtimestamp(seconds, UTC).isoformat()})


def env_of(machine: Machine, name: str = "TOKEN") -> str | None:
    return machine.pi.launch.env.get(name) if machine.pi is not None else None


def play(path: Path, story: Story, answers: Answers, *, from_git: bool = False, work: float = 4.0) -> Stage:
    return tell(path, story, World(work), replace(SETTINGS, from_git=from_git), draws=answers)


# --- each place where a secret may be named ------------------------------------------------------------------------------------------


def both(where: str, path: Path) -> object:
    """A program's value and a file's reach the agent, and the program's next one does within its declared time."""
    values = iter(["value-one", *["value-two"] * 100])
    answers = Answers({" ".join(MINT): lambda: next(values), FILE: "from-a-file\n"})
    by_program, by_file = {"valueFrom": EXEC}, {"valueFrom": {"file": {"path": FILE}}}
    env = [{"name": "TOKEN", **by_program}, {"name": "OTHER", **by_file}]
    files = [{"path": "token", **by_program}, {"path": "other", **by_file}]

    async def story(run: Stage) -> None:
        profile: dict[str, object] = {}
        spec: dict[str, object] = {}
        match where:
            case "BootProfile.env[]":
                profile = {"env": env}
            case "Lieutenant.env[]":
                spec = {"env": env}
            case "BootProfile.files[]":
                profile = {"files": files}
            case "Lieutenant.instructions.files[]":
                spec = {"instructions": {"files": files}}
            case _:
                address = {"baseUrl": "http://127.0.0.1:1/v1", "api": "anthropic-messages"}
                providers = [{"name": "a", **address, "apiKeyFrom": EXEC}, {"name": "b", **address, "apiKeyFrom": {"file": {"path": FILE}}}]
                profile = {"agent": {"providers": providers}}
        machine = await made(run, profile, **spec)

        def given() -> tuple[str | None, str | None]:
            if "files" in where:
                first, second = machine.files.get("token"), machine.files.get("other")
                return first.decode() if first else None, second.decode() if second else None
            names = ("TOKEN", "OTHER") if "env" in where else ("RECONCILER_PROVIDER_A_KEY", "RECONCILER_PROVIDER_B_KEY")
            return env_of(machine, names[0]), env_of(machine, names[1])

        assert given() == ("value-one", "from-a-file")
        await run.until(lambda: given() == ("value-two", "from-a-file"), "the next value is there")
        await run.ready()

    return play(path, story, answers)


LEAVES = ("exec.command[]", "exec.refreshSeconds", "file.path")
PLACES = {
    "BootProfile.env[]": "valueFrom",
    "Lieutenant.env[]": "valueFrom",
    "BootProfile.files[]": "valueFrom",
    "Lieutenant.instructions.files[]": "valueFrom",
    "BootProfile.agent.providers[]": "apiKeyFrom",
}


@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize("where", PLACES)
def test_what_a_program_or_a_file_gives_reaches_the_agent_wherever_a_secret_may_be_named(where: str, tmp_path: Path) -> None:
    both(where, tmp_path)


# --- renewing ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-60")
def test_a_value_is_renewed_before_it_expires_and_no_turn_is_cut(tmp_path: Path) -> None:
    answers = Answers()

    async def story(run: Stage) -> None:
        minted: list[float] = []

        def mint() -> str:
            minted.append(run.world.now())
            return until(minted[-1] + HOUR, f"value-number-{len(minted)}")

        answers.given[" ".join(MINT)] = mint
        machine = await made(run, {}, **SHORT)
        assert env_of(machine) == "value-number-1"
        await pass_time(HOUR / 2)
        assert len(minted) == 1, "half of its life is left"
        task = await run.task("long")
        await run.runs(task)
        assert machine.pi is not None
        first = machine.pi
        await run.until(lambda: len(minted) == 2, "it is renewed")
        assert minted[1] < minted[0] + 0.7 * HOUR
        assert machine.pi is first, "a turn is on"
        assert await run.ends(task) == "Succeeded"
        await run.until(lambda: env_of(machine) == "value-number-2", "the new value is in force")
        assert run.world.now() < minted[0] + HOUR, "the old one has not expired"
        assert len(run.prompts("long")) == 1

    play(tmp_path, story, answers, work=900.0)


@pytest.mark.guarantee("G-60")
def test_a_value_that_can_not_be_renewed_holds_until_it_expires_and_is_never_told(tmp_path: Path) -> None:
    answers = Answers()

    async def story(run: Stage) -> None:
        end = run.world.now() + HOUR
        answers.given[" ".join(MINT)] = until(end, "a-value-to-hide")
        machine = await made(run, {}, **SHORT)
        first = machine.pi
        answers.given[" ".join(MINT)] = Unreachable("the program ended with 3", "program mint", "run it by hand")
        await run.says(LT, "SecretsUnread", "CredentialFailed")
        assert "the program ended with 3 (program mint): run it by hand" in run.message(LT, "SecretsUnread")
        assert run.condition(LT, "Available") == "True"
        assert await run.ends(await run.task("meanwhile")) == "Succeeded"
        await run.says(LT, "Ready", "CredentialFailed")
        assert run.world.now() >= end, "until then the last value was in force"
        assert machine.pi is first, "what runs is not ended for it"
        answers.given[" ".join(MINT)] = until(run.world.now() + HOUR, "the-next-to-hide")
        await run.until(lambda: env_of(machine) == "the-next-to-hide", "it goes on by itself")
        await run.ready()
        told = json.dumps([run.controller.statuses, [event.message for event in run.controller.told]])
        item = run.engine.table.lieutenant(LT)
        assert item is not None
        for value in ("a-value-to-hide", "the-next-to-hide"):
            assert value not in told + json.dumps(item.obj.record)
            assert value in run.engine.secrets.known(), "what the agent says of it is redacted"

    play(tmp_path, story, answers)


def test_a_changed_file_reaches_the_agent_and_one_that_is_gone_stays_in_force(tmp_path: Path) -> None:
    answers = Answers({FILE: "value-one"})

    async def story(run: Stage) -> None:
        machine = await made(run, {}, env=[{"name": "TOKEN", "valueFrom": {"file": {"path": FILE}}}])
        answers.given[FILE] = "value-two"
        await run.until(lambda: env_of(machine) == "value-two", "the changed value")
        second = machine.pi
        answers.given[FILE] = Refused("the file can't be read", f"file {FILE}", "no such file or directory")
        await run.says(LT, "SecretsUnread", "CredentialFailed")
        await pass_time(HOUR)
        assert machine.pi is second
        assert run.condition(LT, "Available") == "True"

    play(tmp_path, story, answers)


def test_a_program_that_gives_nothing_usable_starts_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    answers = Answers({" ".join(MINT): '{"value": "hidden-word", "expiresAt": "tomorrow"}'})

    async def story(run: Stage) -> None:
        await run.lieutenant(**SHORT)
        await run.says(LT, "Ready", "CredentialFailed")
        said = run.message(LT, "Ready")
        assert said == ("it gave an end that is no RFC 3339 timestamp (program mint): correct what it gives")
        assert run.world.created == 0
        answers.given[" ".join(MINT)] = "plain-value\n"
        machine = await run.ready()
        assert env_of(machine) == "plain-value"

    play(tmp_path, story, answers)


def test_nobody_is_asked_for_what_nothing_uses_any_more(tmp_path: Path) -> None:
    answers = Answers({" ".join(MINT): "value-one"})

    async def story(run: Stage) -> None:
        await run.lieutenant(**SHORT)
        await run.ready()
        await run.lieutenant()
        await run.until(lambda: env_of(run.machine()) is None, "it is taken away")
        asked = len(answers.calls)
        await pass_time(HOUR)
        assert len(answers.calls) == asked
        await run.lieutenant(**SHORT)
        await run.until(lambda: env_of(run.machine()) == "value-one", "and given again")
        await run.delete(LT)
        await run.until(lambda: run.engine.table.get(LT) is None, "it is gone")
        asked = len(answers.calls)
        await pass_time(HOUR)
        assert len(answers.calls) == asked

    play(tmp_path, story, answers)


# --- who may ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("declared_by", ["lieutenant", "profile"])
def test_what_git_declares_runs_no_program_unless_the_configuration_says_so(declared_by: str, tmp_path: Path) -> None:
    answers = Answers({" ".join(MINT): "value-one"})
    committed = {"source": "file", "origin": "git", "source_id": "stack", "source_commit": "0" * 40}

    async def story(run: Stage) -> None:
        env: dict[str, object] = SHORT
        profile = declared(PROFILE, source={"image": "default"}, **(env if declared_by == "profile" else {}))
        own = declared(LT, role="x", profileRef={"name": PROFILE.name}, **(env if declared_by == "lieutenant" else {}))
        for one in (profile, own):
            await run.declare(replace(one, **committed) if one.key.kind.lower().endswith(declared_by) else one)  # type: ignore[arg-type]
        if run.engine.settings.from_git:
            await run.ready()
            return
        await run.says(LT, "Stalled", "CredentialRefused")
        assert "set `from-git = true` under [credentials]" in run.message(LT, "Stalled")
        await pass_time(60)
        assert answers.calls == []
        assert run.world.created == 0

    play(tmp_path / "no", story, answers)
    play(tmp_path / "yes", story, answers, from_git=True)
    assert answers.calls != []


def test_the_node_of_a_tree_from_git_runs_no_program(tmp_path: Path) -> None:
    answers = Answers({" ".join(MINT): "value-one"})

    async def story(run: Stage) -> None:
        node = {"name": "a", "category": "Lieutenant", "profileRef": {"name": "lightweight"}, "lieutenant": {"role": "x", **SHORT}}
        tree = declared(Key("VMTree", "default", "prod"), nodes=[node])
        await run.declare(replace(tree, source="file", source_id="stack", source_commit="0" * 40))
        await run.says(Key("Lieutenant", "default", "prod-a"), "Stalled", "CredentialRefused")
        assert answers.calls == []

    play(tmp_path, story, answers)


@pytest.mark.guarantee("G-60")
def test_where_no_program_is_run_it_is_refused(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**SHORT)
        await run.says(LT, "Stalled", "CredentialRefused")
        assert "name a key of a Secret instead" in run.message(LT, "Stalled")
        assert run.world.created == 0

    tell(tmp_path, story)


# --- plans and restarts --------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-41")
def test_a_plan_runs_no_program_and_takes_the_last_value_to_hold(tmp_path: Path) -> None:
    answers = Answers({" ".join(MINT): "value-one"})

    async def story(run: Stage) -> None:
        await made(run, {}, **SHORT)
        await pass_time(5)
        asked = len(answers.calls)
        engine = run.engine
        engine.secrets._running = False  # as in an engine that is not started
        try:
            assert (await plan_everything(engine)).steps == ()
        finally:
            engine.secrets.begin()
        assert len(answers.calls) == asked

    play(tmp_path, story, answers)


def test_a_controller_that_is_started_again_restarts_no_agent_whose_value_is_the_same(tmp_path: Path) -> None:
    answers = Answers({" ".join(MINT): "value-one"})

    async def story(run: Stage) -> None:
        machine = await made(run, {}, **SHORT)
        first = machine.pi
        await run.controller.down()
        await run.controller.up()
        await run.ready()
        await pass_time(120)
        assert machine.pi is first

    play(tmp_path, story, answers)
