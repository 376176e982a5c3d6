"""The real pi whose memory keeps facts: before its conversation is shortened a model finds them, each once, whatever is aborted or dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keeper_rig import AT, VM, Rig, prompt, rigged, script, until

from reconciler.agent.scripted_model import Request, provider
from reconciler.core.conversation import compactions, usages
from reconciler.core.keys import Json
from reconciler.core.snapshot.agent import Compacting
from reconciler.core.snapshot.memory import OnMachine
from reconciler.engine.ports import MachineMemory

pytestmark = pytest.mark.real("pi")

OWN: Json = {"scopes": ["Agent"], "maxLines": 300, "facts": {"provider": "", "id": ""}}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as it:
        yield it


async def up(rig: Rig, memory: Json = OWN, others: Json | None = None) -> None:
    """pi runs, and keeps next to nothing when it shortens its conversation."""
    await rig.agents.install(VM)
    await rig.agents.start_keeper(AT)
    await again(rig, memory, others)


async def again(rig: Rig, memory: Json = OWN, others: Json | None = None) -> None:
    launch = rig.launch(memory=memory, compacting=Compacting(True, 10, 1))
    if others is not None:
        (rig.root / "agent" / "models.json").write_text(json.dumps(others))
    await rig.agents.start_agent(AT, launch)


async def say(rig: Rig, *texts: str) -> None:
    for text in texts:
        await rig.agents.send(AT, f"k{len(rig.model.requests)}", prompt(f"{text} {script({'say': 'done'})}"))
        await rig.settled()


async def compact(rig: Rig) -> bool:
    done = (await rig.agents.call(AT, {"type": "compact"})).get("success") is True
    await rig.settled()
    return done


def looked(rig: Rig) -> list[Request]:
    """The requests for facts."""
    return [asked for asked in rig.model.requests if "facts worth remembering" in asked.system.lower()]


async def kept(rig: Rig) -> list[str]:
    return [entry.text for entry in (await rig.agents.memory(AT)).agent]


@pytest.mark.guarantee("G-27")
async def test_facts_are_found_before_a_compaction_and_told_after_it_each_once(rig: Rig) -> None:
    await up(rig)
    await say(rig, "FACT(the port is 8081) and FACT(staging is blue)", "FACT(the port is 8081)", "go on")
    assert await compact(rig)
    assert await kept(rig) == ["the port is 8081", "staging is blue"]
    assert len(looked(rig)) == 1
    await say(rig, "FACT(ada wants tabs)", "and on")
    told = json.dumps([m["content"] for m in rig.model.requests[-1].messages if m.get("role") in ("system", "developer")])
    assert "staging is blue" in told
    assert await compact(rig)
    assert await kept(rig) == ["the port is 8081", "staging is blue", "ada wants tabs"]
    assert "8081" not in looked(rig)[-1].user, "what was read once is not read again"
    assert (await rig.look()).agent.memory is not None


@pytest.mark.guarantee("G-26")
async def test_what_it_cost_to_find_them_stands_in_the_session(rig: Rig) -> None:
    await up(rig)
    await say(rig, "FACT(one)", "go on")
    assert await compact(rig)
    spent, _ = usages(rig.session.read_bytes(), 0)  # the second is what the summary cost
    assert (spent.model, spent.usage.input, spent.usage.output, spent.usage.cost > 0) == ("scripted/scripted", 100, 10, True)


@pytest.mark.guarantee("G-32")
async def test_a_compaction_that_is_aborted_leaves_the_facts_once(rig: Rig) -> None:
    await up(rig)
    await say(rig, "FACT(one)", "go on")
    rig.model.summary_delay = 30
    compacting = asyncio.create_task(rig.agents.call(AT, {"type": "compact"}))
    await until(lambda: bool(looked(rig)) and "summarization" in rig.model.requests[-1].system.lower())
    await rig.agents.call(AT, {"type": "abort"})
    assert (await compacting).get("success") is False
    rig.model.summary_delay = 0
    assert await kept(rig) == ["one"]
    assert not compactions(rig.session.read_bytes(), 0)
    assert await compact(rig)
    assert await kept(rig) == ["one"]
    assert len(looked(rig)) == 1


@pytest.mark.guarantee("G-32")
@pytest.mark.parametrize("while_they_are_found", [True, False])
async def test_a_pi_that_dies_on_the_way_has_the_facts_once_in_the_end(rig: Rig, while_they_are_found: bool) -> None:
    await up(rig)
    await say(rig, "FACT(one)", "go on")
    rig.model.facts_delay, rig.model.summary_delay = (30, 0) if while_they_are_found else (0, 30)
    compacting = asyncio.create_task(rig.agents.call(AT, {"type": "compact"}))
    await until(lambda: bool(looked(rig)) and (while_they_are_found or "summarization" in rig.model.requests[-1].system.lower()))
    os.kill((await rig.process()).pid, signal.SIGKILL)
    await asyncio.gather(compacting, return_exceptions=True)
    rig.model.facts_delay = rig.model.summary_delay = 0
    assert await kept(rig) == ([] if while_they_are_found else ["one"])
    await again(rig)
    assert await compact(rig)
    assert await kept(rig) == ["one"]
    assert len(looked(rig)) == (2 if while_they_are_found else 1)


async def test_a_machine_that_was_given_its_memory_does_not_read_again(rig: Rig) -> None:
    """Where the marks of the keeper are lost, the entries that came of it say how far that was done."""
    await up(rig)
    await say(rig, "FACT(one)", "go on")
    rig.model.summary_delay = 30
    compacting = asyncio.create_task(rig.agents.call(AT, {"type": "compact"}))
    await until(lambda: "summarization" in rig.model.requests[-1].system.lower())
    await rig.agents.call(AT, {"type": "abort"})
    await compacting
    rig.model.summary_delay = 0
    found = (await rig.agents.memory(AT)).agent
    assert all(entry.id.startswith("facts/") and len(entry.id) <= 64 for entry in found)
    await rig.kill_keeper()
    (rig.base / "memory.jsonl").unlink()
    await rig.agents.start_keeper(AT)
    await rig.agents.put_memory(AT, MachineMemory(OnMachine("default/api"), 0, found))
    await again(rig)
    assert await compact(rig)
    assert await kept(rig) == ["one"]
    assert len(looked(rig)) == 1


async def test_the_model_that_is_named_finds_them_and_one_that_there_is_not_is_told(rig: Rig) -> None:
    both: Json = {"providers": {}}
    for name in ("scripted", "cheap"):
        both["providers"] |= provider(rig.model.url, name)["providers"]  # type: ignore[operator]
    both["providers"]["cheap"]["models"][0]["id"] = "small"  # type: ignore[index,call-overload]
    await up(rig, {**OWN, "facts": {"provider": "cheap", "id": "small"}}, both)
    await say(rig, "FACT(one)", "go on")
    assert await compact(rig)
    assert [asked.model for asked in looked(rig)] == ["small"]
    assert await kept(rig) == ["one"]
    spent, _ = usages(rig.session.read_bytes(), 0)  # the second is what the summary cost
    assert spent.model == "cheap/small"
    taken = (await rig.process()).memory
    assert taken is not None
    assert taken.missing == ""
    await rig.agents.stop_agent(AT, 5)
    await again(rig, {**OWN, "facts": {"provider": "cheap", "id": "gone"}}, both)
    told = (await rig.seen(lambda look: bool(look.agent.process.memory and look.agent.process.memory.has))).agent.process.memory  # type: ignore[union-attr]
    assert told.missing == "cheap/gone"  # type: ignore[union-attr]


async def test_a_model_that_fails_stops_no_compaction_and_is_asked_before_the_next(rig: Rig) -> None:
    await up(rig)
    await say(rig, "FACT(one)", "go on")
    rig.model.facts_status = 400
    assert await compact(rig)
    assert await kept(rig) == []
    rig.model.facts_status = 0
    await say(rig, "FACT(two)", "go on")
    assert await compact(rig)
    assert await kept(rig) == ["one", "two"]


async def test_without_extract_facts_nothing_is_asked_for(rig: Rig) -> None:
    await up(rig, {"scopes": ["Agent"], "maxLines": 300})
    await say(rig, "FACT(one)", "go on")
    assert await compact(rig)
    assert (await kept(rig), looked(rig)) == ([], [])
