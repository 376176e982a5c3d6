"""What costs nothing: a declaration applied again, and a fleet that rests (G-45). And what is never shown: secrets (G-60)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.conversation import parse
from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import GuestCommand
from reconciler.engine.state.declarations import Outcome
from reconciler.engine.state.transcripts import Transcript
from tests.engine.stage import LT, SETTINGS, Stage, declared, pass_time, tell
from tests.faults import harness
from tests.world import World

RESTING = replace(SETTINGS, health_probes=False)
CANARY = "sk-canary-9f8e7d6c5b4a"
SECRET = {"secretKeyRef": {"name": "llm", "key": "token"}}


@pytest.mark.guarantee("G-45")
@pytest.mark.parametrize("size", [1, 12])
def test_a_converged_fleet_costs_one_list_call_a_resync_whatever_its_size(size: int, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        keys = [await run.lieutenant(f"n{n}") for n in range(size)]
        for key in keys:
            await run.ready(key)
        await run.ends(await run.task("one", to="n0"))
        await run.until(run.engine.converged, "everything rests")
        await pass_time(60)
        calls, writes = len(run.weather.names), run.controller.writes
        await pass_time(10 * SETTINGS.resync_seconds)
        told = run.weather.names[calls:]
        assert set(told) == {"vers.list_vms"}
        assert 9 <= len(told) <= 11
        assert run.controller.writes == writes

    tell(tmp_path, story, settings=RESTING)


@pytest.mark.guarantee("G-45")
def test_applying_again_does_nothing(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        await run.ends(await run.task("one"))
        await run.until(run.engine.converged, "everything rests")
        calls, writes = len(run.weather.names), run.controller.writes
        again = [
            declared(LT, role="Keep it", profileRef={"name": "lightweight"}),
            declared(Key("Task", "default", "one"), lieutenantRef={"name": "api"}, prompt="do it"),
        ]
        assert [await run.engine.declarations.apply(one) for one in again] == [Outcome.UNCHANGED, Outcome.UNCHANGED]
        await pass_time(60)
        assert set(run.weather.names[calls:]) == {"vers.list_vms"}
        assert run.controller.writes == writes
        assert len(run.world.prompts) == 1

    tell(tmp_path, story, settings=RESTING)


@pytest.mark.guarantee("G-45")
def test_with_probes_a_healthy_agent_is_asked_and_nothing_is_written(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        await pass_time(130)  # its machine was looked into once more since it was made
        calls, writes = len(run.weather.names), run.controller.writes
        await pass_time(100)
        assert set(run.weather.names[calls:]) == {"vers.list_vms", "keeper.observe", "keeper.digests", "guest.inspect"}, "only looks"
        assert run.controller.writes == writes

    tell(tmp_path, story)


class Vault:
    """One secret; it is known once it was handed out."""

    def get(self, namespace: str, name: str, key: str) -> str | None:
        return CANARY if (namespace, name, key) == ("default", "llm", "token") else None

    def holds(self, kind: str, namespace: str, name: str) -> bool:
        return False

    def unread(self, kind: str, namespace: str, name: str) -> str:
        return ""

    def known(self) -> Iterable[str]:
        return (CANARY,)


@pytest.mark.guarantee("G-60")
def test_a_secret_that_the_agent_says_everywhere_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(harness, "NoSecrets", Vault)
    delivered: list[str] = []

    def command(said: GuestCommand) -> int:
        delivered.append(said.env.get("TOKEN", ""))
        return 0

    async def story(run: Stage) -> None:
        answers = iter([(f"the key is {CANARY}", "stop"), (f"again {CANARY}", "error")])
        run.world.answer = lambda prompt: next(answers)
        run.world.commands = command
        profile = {"source": {"image": "default"}, "steps": [{"name": "tools", "run": "true"}]}
        await run.declare(declared(Key("BootProfile", "default", "p"), **profile))
        await run.lieutenant(profileRef={"name": "p"}, env=[{"name": "TOKEN", "valueFrom": SECRET}])
        machine = await run.ready()
        assert machine.pi is not None
        assert machine.pi.launch.env["TOKEN"] == CANARY
        assert delivered == [CANARY]
        assert CANARY not in " ".join(machine.pi.launch.argv)
        one, two = await run.task("one"), await run.task("two")
        assert await run.ends(one) == "Succeeded"
        assert await run.ends(two) == "Failed"
        run.world.kill_pi(machine, code=1, signal=None, stderr=f"bad key {CANARY}")
        await run.until(lambda: run.happened("AgentExited") == 1, "its end is told")
        await run.ready()
        for obj in await run.engine.store.objects():
            assert CANARY not in f"{obj.spec}{obj.status}{obj.record}", obj.key
        assert "the key is [redacted]" in str(run.status(one))
        assert CANARY.encode() in machine.session, "the agent keeps what it said"
        mirror = await run.engine.store.session(f"{machine.labels['fleet.vers.sh/uid']}-g1")
        assert len(mirror) == len(machine.session)
        assert CANARY.encode() not in mirror
        for event in [*run.controller.told, *await run.engine.store.events()]:
            assert CANARY not in event.message, event.reason
        assert CANARY not in caplog.text
        assert CANARY not in repr(machine.pi.launch)

    run = tell(tmp_path, story)
    assert all(CANARY not in str(status) for status in run.controller.statuses)


# --- the conversation, read piece by piece -----------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-26")
@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_however_a_session_is_cut_into_pieces_its_messages_are_the_same(piece: int, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        for name in ("a", "b"):
            await run.ends(await run.task(name, "größer " * 30))
        whole = machine.session + b'{"type":"message","id":"half'
        messages, consumed = parse(whole, 0)
        assert consumed == len(machine.session)
        assert [m.role for m in messages] == ["user", "assistant"] * 2
        transcript = Transcript("s")
        for at in range(0, len(whole), piece):
            transcript.grow(whole[at : at + piece])
        assert transcript.messages == messages
        assert transcript.size == len(whole)
        mirrored = await run.engine.gatherer.transcripts.read(run.record().session.name)
        assert mirrored == machine.session

    tell(tmp_path, story, World(work_seconds=1.0))
