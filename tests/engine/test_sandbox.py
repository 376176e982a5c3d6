"""The boundary of a profile through the whole engine: it reaches the keeper, is read back, and what it refused is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Json
from reconciler.core.snapshot.agent import Refusal, Refusals
from reconciler.core.snapshot.machine import GuestCommand
from reconciler.errors import GuestFailed, ReconcilerError
from tests.engine.stage import LT, Stage, failing, pass_time, tell
from tests.engine.test_permissions import pi_of
from tests.engine.test_profiles import made

PLACES: Json = {"workDir": "/root/workspace", "agentDir": "/root/.pi/agent", "sessionDir": "/root/.pi/agent/sessions"}
SANDBOX: Json = {
    "fs": {"writable": ["/srv/data"], "hidden": ["/root/.ssh"]},
    "network": {"allow": ["registry.npmjs.org:443", "*.example.com:8443"]},
}
TOLD: Json = {
    "writable": ["/srv/data"],
    "hidden": ["/root/.ssh"],
    "network": ["registry.npmjs.org:443", "*.example.com:8443", "api.anthropic.com:443"],
    **PLACES,
}
MODEL = {"provider": "anthropic", "id": "claude-sonnet-4-5"}


@pytest.mark.guarantee("G-27", "G-28")
def test_what_is_declared_reaches_the_keeper(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        machine = await made(run, {"sandbox": SANDBOX}, model=MODEL)
        assert pi_of(machine).launch.sandbox == TOLD

    tell(tmp_path, story)


@pytest.mark.guarantee("G-28")
def test_a_provider_of_the_profile_is_reached_at_its_own_address(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        agent = {"providers": [{"name": "own", "baseUrl": "http://models.internal/v1"}], "model": {"provider": "own", "id": "m"}}
        machine = await made(run, {"sandbox": {"network": {}}, "agent": agent})
        assert pi_of(machine).launch.sandbox == {"writable": [], "hidden": [], "network": ["models.internal:80"], **PLACES}

    tell(tmp_path, story)


def test_without_a_network_declared_none_is_taken_away(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        machine = await made(run, {"sandbox": {"fs": {"writable": ["/srv"]}}})
        assert pi_of(machine).launch.sandbox == {"writable": ["/srv"], "hidden": [], **PLACES}

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27", "G-28")
def test_a_pi_that_is_not_in_it_gets_no_work(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.boundless = True
        await made_unready(run)
        task = await run.task("one")
        await run.says(LT, "AgentConfigured", "SandboxNotApplied")
        assert run.reason(LT, "Ready") == "SandboxNotApplied"
        assert not run.task_record(task).sent
        run.world.boundless = False
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "now"})
        assert await run.ends(task) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-28")
def test_without_bubblewrap_nothing_starts_and_no_crash_is_counted(tmp_path: Path) -> None:
    def missing() -> ReconcilerError:
        what = "bubblewrap, which the declared sandbox needs, is missing and can't be installed, so no agent is started"
        return GuestFailed(what, "vm", "add a step to the profile that installs the package bubblewrap", 69, "there is no apt-get")

    async def story(run: Stage) -> None:
        run.weather.rules["guest.install_boundary"] = failing(missing)
        await made_unready(run)
        task = await run.task("one")
        await run.says(LT, "Ready", "SandboxMissing")
        assert "installs the package bubblewrap" in run.message(LT, "Ready")
        await pass_time(3600)
        assert run.reason(LT, "Ready") == "SandboxMissing"
        assert (run.weather.count("keeper.start_agent"), run.record().restart.times) == (0, ())
        assert not run.task_record(task).sent
        del run.weather.rules["guest.install_boundary"]
        assert await run.ends(task) == "Succeeded"

    tell(tmp_path, story)


def test_where_no_boundary_is_declared_none_is_looked_for(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        assert run.weather.count("guest.install_boundary") == 0

    tell(tmp_path, story)


async def made_unready(run: Stage) -> None:
    from tests.engine.test_profiles import profile

    await profile(run, sandbox=SANDBOX)
    await run.lieutenant(profileRef={"name": "own"}, model=MODEL)


@pytest.mark.guarantee("G-28")
def test_what_is_refused_is_told_once_and_not_too_often(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        pi = pi_of(await made(run, {"sandbox": SANDBOX}, model=MODEL))
        pi.refused = Refusals((Refusal(1, "network", "evil.example:443"), Refusal(2, "files", "bash: /etc/passwd: Read-only file system")))
        await run.until(lambda: run.happened("Refused") == 1, "it is told")
        told = next(event.message for event in run.controller.told if event.reason == "Refused")
        assert told == "network evil.example:443; files bash: /etc/passwd: Read-only file system"
        pi.refused = Refusals((*pi.refused.told, Refusal(3, "network", "other.example:80")))
        await run.until(lambda: run.happened("Refused") == 2, "what is new is told")
        assert [event.message for event in run.controller.told if event.reason == "Refused"][-1] == "network other.example:80"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-28")
def test_what_the_agent_wrote_is_checked_within_its_boundary(tmp_path: Path) -> None:
    checked: list[GuestCommand] = []

    def command(said: GuestCommand) -> int:
        checked.append(said)
        return 0

    async def story(run: Stage) -> None:
        await made(run, {"sandbox": SANDBOX}, model=MODEL)
        run.world.commands = command
        assert await run.ends(await run.task("one", acceptance=[{"command": {"run": ["make", "test"]}}])) == "Succeeded"
        assert [(said.argv, said.sandbox) for said in checked] == [(("make", "test"), TOLD)]

    tell(tmp_path, story)


def test_a_work_dir_that_holds_what_guards_the_agent_starts_nothing(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        from tests.engine.test_profiles import profile

        await profile(run, sandbox=SANDBOX, agent={"workDir": "/root"})
        await run.lieutenant(profileRef={"name": "own"})
        await run.says(LT, "Stalled", "SandboxInvalid")
        assert not run.world.machines or all(machine.pi is None for machine in run.world.machines.values())

    tell(tmp_path, story)
