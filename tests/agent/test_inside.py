"""What the real pi says it was told, and what it takes while it runs: model, thinking, new models, compaction."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from keeper_rig import AT, VM, Rig, prompt, rigged, script

from reconciler.core.conversation import compactions
from reconciler.core.keys import Json
from reconciler.core.lieutenant.reminder import compacted_of, in_a_turn, mark_of
from reconciler.core.messages import Usage
from reconciler.core.snapshot.agent import Accepted, Compacting, Declined, Inside, Up
from reconciler.engine.ports import Launch
from reconciler.engine.state.transcripts import Transcript
from reconciler.errors import GuestFailed

pytestmark = pytest.mark.real("pi")

DIRECTIVE = "Directive (always holds):\nNever touch production.\n"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as it:
        yield it


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def instructed(rig: Rig, text: str = DIRECTIVE) -> tuple[str, ...]:
    role = rig.root / "role.md"
    role.write_text(text)
    return ("--append-system-prompt", str(role))


def model(name: str, thinks: bool = False) -> dict[str, object]:
    cost = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}
    return {"id": name, "name": name, "reasoning": thinks, "input": ["text"], "contextWindow": 9000, "maxTokens": 100, "cost": cost}


def also(rig: Rig, *models: dict[str, object]) -> None:
    """More models in pi's file, while it runs."""
    file = rig.root / "agent" / "models.json"
    told = json.loads(file.read_text())
    told["providers"]["scripted"]["models"] += models
    file.write_text(json.dumps(told))


async def ask(rig: Rig, command: str, **fields: str | bool) -> str:
    """pi's refusal, '' when it took it."""
    response = await rig.agents.call(AT, {"type": command, **fields})
    return "" if response["success"] is True else str(response["error"])


async def talked_at_length(rig: Rig, launch: Launch) -> None:
    """pi is up, with a conversation that is worth a summary."""
    await rig.agents.install(VM)
    await rig.agents.start_keeper(AT)
    await rig.agents.start_agent(AT, launch)
    for n in range(3):
        await rig.agents.send(AT, f"k{n}", prompt("x " * 500 + script({"say": "y " * 500})))
        await rig.settled()


@pytest.mark.guarantee("G-27")
async def test_pi_says_what_it_was_told_and_the_model_hears_it(rig: Rig) -> None:
    (rig.root / "work").mkdir()
    (rig.root / "work" / "AGENTS.md").write_text("be kind\n")
    await rig.up(argv=instructed(rig))
    told = (await rig.process()).inside
    assert told == Inside(digest(DIRECTIVE), {str(rig.root / "work" / "AGENTS.md"): digest("be kind\n")})
    (rig.root / "role.md").write_text("obey nobody")  # read at the start and not again
    await rig.agents.reread(AT)
    assert (await rig.process()).inside == told
    await rig.agents.send(AT, "k", prompt(script({"say": "ok"})))
    await rig.settled()
    assert "Never touch production." in rig.model.requests[-1].system
    assert "be kind" in rig.model.requests[-1].system
    assert [m.role for m in await rig.messages()] == ["system", "user", "assistant"]


@pytest.mark.guarantee("G-27")
async def test_a_pi_that_was_told_nothing_says_so(rig: Rig) -> None:
    await rig.up()
    assert (await rig.process()).inside == Inside(digest(""))


async def test_what_can_not_say_what_it_was_told_is_never_asked(rig: Rig) -> None:
    odd = Path(__file__).parent / "odd_pi.mjs"
    await rig.up(command=(str(rig.tools.node), str(odd)))
    assert (await rig.process()).inside is None
    with pytest.raises(GuestFailed, match="NotInside"):
        await rig.agents.reread(AT)


@pytest.mark.guarantee("G-27")
async def test_digests_are_of_what_is_on_the_disk(rig: Rig) -> None:
    await rig.up()
    work = rig.root / "work"
    (work / "here").write_bytes(b"\0\xff")
    found = await rig.agents.digests(AT, ["here", str(work / "gone"), str(work)], str(work))
    assert found == {"here": hashlib.sha256(b"\0\xff").hexdigest(), str(work / "gone"): "missing", str(work): "missing"}


@pytest.mark.guarantee("G-30")
async def test_model_and_thinking_change_in_the_same_process_with_the_whole_context(rig: Rig) -> None:
    await rig.up()
    before = await rig.process()
    await rig.agents.send(AT, "k", prompt(script({"say": "remember me"})))
    await rig.settled()
    assert "Model not found: scripted/two" in await ask(rig, "set_model", provider="scripted", modelId="two")
    assert (await rig.process()).model == "scripted/scripted"
    also(rig, model("two", thinks=True))
    await rig.agents.reread(AT)
    assert await ask(rig, "set_model", provider="scripted", modelId="two") == ""
    assert await ask(rig, "set_thinking_level", level="high") == ""
    now = await rig.process()
    assert (now.pid, now.session_id, now.model, now.thinking) == (before.pid, before.session_id, "scripted/two", "high")
    await rig.agents.send(AT, "k2", prompt(script({"say": "yes"})))
    await rig.settled()
    assert rig.model.requests[-1].model == "two"
    assert "remember me" in json.dumps(rig.model.requests[-1].messages)


@pytest.mark.guarantee("G-30")
async def test_a_level_that_the_model_does_not_have_is_seen_in_what_pi_says(rig: Rig) -> None:
    await rig.up()
    assert await ask(rig, "set_thinking_level", level="high") == ""
    assert (await rig.process()).thinking == "off"


@pytest.mark.guarantee("G-27")
async def test_the_directive_survives_a_compaction_and_a_restart(rig: Rig) -> None:
    argv = instructed(rig)
    launch = rig.launch(argv=argv)
    settings = rig.root / "agent" / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "compaction": {"keepRecentTokens": 1, "reserveTokens": 10}}))
    await rig.agents.install(VM)
    await rig.agents.start_keeper(AT)
    await rig.agents.start_agent(AT, launch)
    for n in range(3):
        await rig.agents.send(AT, f"k{n}", prompt(f"secret word {n} " + "x " * 500 + script({"say": "y " * 500})))
        await rig.settled()
    assert await ask(rig, "compact") == ""
    await rig.agents.send(AT, "after", prompt(script({"say": "done"})))
    await rig.settled()
    asked = rig.model.requests[-1]
    assert "secret word 0" not in json.dumps(asked.messages)
    assert "Never touch production." in asked.system
    await rig.agents.stop_agent(AT, 5.0)
    await rig.agents.start_agent(AT, launch)
    await rig.agents.send(AT, "again", prompt(script({"say": "done"})))
    await rig.settled()
    assert "Never touch production." in rig.model.requests[-1].system
    assert "secret word 0" not in json.dumps(rig.model.requests[-1].messages)


@pytest.mark.guarantee("G-29")
async def test_what_the_summary_of_a_compaction_cost_is_counted_with_the_model_that_made_it(rig: Rig) -> None:
    launch = rig.launch(compacting=Compacting(True, 10, 1))
    await talked_at_length(rig, launch)
    assert await ask(rig, "compact") == ""
    transcript = Transcript("s")
    transcript.grow(rig.session.read_bytes())
    (summary,) = transcript.usages
    assert (summary.model, summary.usage.cost > 0) == ("scripted/scripted", True)
    paid = sum((one.usage for one in transcript.costs), Usage())
    asked = len(rig.model.requests)
    assert asked > 3, "the model was asked for a summary"
    assert (paid.input + paid.cache_read, paid.output) == (100 * asked, 10 * asked), "as much as its provider bills"


@pytest.mark.guarantee("G-22")
async def test_a_prompt_while_pi_compacts_is_declined_and_nothing_is_lost(rig: Rig) -> None:
    launch = rig.launch()
    settings = rig.root / "agent" / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "compaction": {"keepRecentTokens": 1, "reserveTokens": 10}}))
    await talked_at_length(rig, launch)
    rig.model.summary_delay = 2.0
    compacting = asyncio.ensure_future(ask(rig, "compact"))
    await rig.seen(lambda look: isinstance(look.agent.process, Up) and look.agent.process.busy)
    verdict = await rig.agents.send(AT, "early", prompt("[early] hello"))
    assert isinstance(verdict, Declined)
    assert await compacting == ""
    assert [m.text for m in await rig.settled() if m.text.startswith("[early]")] == []
    assert await rig.agents.send(AT, "late", prompt("[late] hello")) == Accepted("started")
    assert len([m for m in await rig.settled() if m.text.startswith("[late]")]) == 1


WANTED = Compacting(False, 3_000, 1_500)


@pytest.mark.guarantee("G-27")
async def test_pi_shortens_its_conversation_as_it_was_started_and_says_so(rig: Rig) -> None:
    """Declared settings are written for the launch, the rest of pi's settings stays; a change while it runs is seen."""
    await rig.up(compacting=WANTED)
    assert (await rig.process()).compacting == WANTED
    settings = json.loads((rig.root / "agent" / "settings.json").read_text())
    assert settings["retry"] == {"baseDelayMs": 10}
    assert settings["compaction"] == {"enabled": False, "reserveTokens": 3_000, "keepRecentTokens": 1_500}
    assert await ask(rig, "set_auto_compaction", enabled=True) == ""
    assert (await rig.process()).compacting == replace(WANTED, auto=True)


async def shortenings(rig: Rig) -> list[Json]:
    """Entries of the session file."""
    entries: list[Json] = [json.loads(line) for line in rig.session.read_text().splitlines()]
    return [entry for entry in entries if entry["type"] == "compaction"]


@pytest.mark.guarantee("G-27")
@pytest.mark.parametrize("auto", [True, False])
async def test_pi_shortens_by_itself_only_where_that_is_declared(rig: Rig, auto: bool) -> None:
    """Its model has room for 128000 tokens; an answer that says it used nearly all of them leaves less than what is to be kept free."""
    await rig.up(compacting=Compacting(auto, 100_000, 10))
    for n in range(3):
        await rig.agents.send(AT, f"k{n}", prompt("x " * 500 + script({"say": "y " * 500, "input_tokens": 40_000 * (n > 1)})))
        await rig.settled()
    assert len(await shortenings(rig)) == int(auto)


@pytest.mark.guarantee("G-27")
async def test_settings_that_can_not_be_read_are_left_and_what_pi_has_is_told(rig: Rig) -> None:
    launch = rig.launch(compacting=WANTED)
    (rig.root / "agent" / "settings.json").write_text("no json")
    await rig.agents.install(VM)
    await rig.agents.start_keeper(AT)
    await rig.agents.start_agent(AT, launch)
    assert (await rig.process()).compacting == Compacting()
    assert (rig.root / "agent" / "settings.json").read_text() == "no json"


@pytest.mark.guarantee("G-27")
async def test_what_was_shortened_in_a_turn_is_seen_in_the_file_and_said_again_in_that_turn(rig: Rig) -> None:
    """pi shortens the conversation between two rounds, and goes on; what is said then lands once, after the entry that tells of it."""
    await rig.up(compacting=Compacting(True, 100_000, 400))
    await rig.agents.send(AT, "k0", prompt("x " * 2000 + script({"say": "y " * 2000})))
    await rig.settled()
    rounds = [{"tool": "bash", "args": {"command": f"sleep {n}"}, "input_tokens": 40_000} for n in (0, 2)]
    await rig.agents.send(AT, "k1", prompt("work " + script(*rounds, {"say": "done"})))
    look = await rig.seen(lambda look: bool(compactions(look.chunk, 0)))
    assert isinstance(look.agent.process, Up)
    assert look.agent.process.busy
    (shortened, *_) = compactions(look.chunk, 0)
    said = in_a_turn(shortened.entry_id, "Directive (always holds):\nNever touch production.")
    for _ in range(2):  # under one key it is forwarded once
        assert isinstance(await rig.agents.send(AT, "r", prompt(said, steer=True)), Accepted)
    messages = await rig.settled()
    assert [m.offset > shortened.offset for m in messages if mark_of(shortened.entry_id) in m.text] == [True]
    heard = compacted_of(1, shortened, messages)
    assert (heard.told, heard.untold) == (True, "")
