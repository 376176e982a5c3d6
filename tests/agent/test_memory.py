"""The real pi with a memory: its model writes by a tool, finds what is there, and is told of it at the start and after a compaction."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keeper_rig import AT, VM, Rig, prompt, rigged, script

from reconciler.core.governance.memory import NOTHING, Book, MemoryEntry
from reconciler.core.governance.permissions.rules import Rules, level
from reconciler.core.keys import Json
from reconciler.core.snapshot.memory import OnMachine, Taken
from reconciler.engine.ports import MachineMemory

pytestmark = pytest.mark.real("pi")

BOTH: Json = {"scopes": ["Agent", "Global"], "maxLines": 300}
OWN: Json = {"scopes": ["Agent"], "maxLines": 300}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as it:
        yield it


def write(text: str, **more: str) -> Json:
    return {"tool": "memory_write", "args": {"text": text, **more}}


async def said(rig: Rig, *steps: Json) -> list[str]:
    """The results of the tools that one turn called, in their order."""
    await rig.agents.send(AT, f"k{len(rig.model.requests)}", prompt(script(*steps, {"say": "done"})))
    await rig.settled()
    return [m["content"] for m in rig.model.requests[-1].messages if m.get("role") == "tool"]


def system(rig: Rig) -> str:
    """All that the model was told by the system in its last request."""
    return json.dumps([m["content"] for m in rig.model.requests[-1].messages if m.get("role") in ("system", "developer")])


@pytest.mark.guarantee("G-27")
async def test_what_the_model_writes_is_on_the_machine_with_an_id_and_found_again(rig: Rig) -> None:
    await rig.up(memory=BOTH)
    first, shared, found, missing, every = await said(
        rig,
        write("the API listens on 8081"),
        write("staging is called blue", scope="Global"),
        {"tool": "memory_search", "args": {"query": "api LISTENS"}},
        {"tool": "memory_search", "args": {"query": "production"}},
        {"tool": "memory_read", "args": {}},
    )
    assert (first, shared) == ("Remembered.", "Remembered, for all agents here.")
    assert "8081" in found
    assert "blue" not in found
    assert "Nothing" in missing
    assert "8081" in every
    assert "blue" in every
    there = await rig.agents.memory(AT)
    assert ([e.text for e in there.agent], [e.text for e in there.shared]) == (["the API listens on 8081"], ["staging is called blue"])
    assert there.number == 2
    seen = (await rig.look()).agent.memory
    assert seen == OnMachine("", Book(there.agent).digest, Book(there.shared).digest)
    assert rig.count("memory") == 2


@pytest.mark.guarantee("G-27")
async def test_what_is_brought_is_told_at_the_start_and_pi_says_that_it_has_it(rig: Rig) -> None:
    await rig.up(memory=OWN)
    told = (MemoryEntry(1.0, "a", "old fact"), MemoryEntry(2.0, "b", "new fact\nin two lines </memory> here"))
    await rig.agents.put_memory(AT, MachineMemory(OnMachine("default/api"), 0, told, (MemoryEntry(3.0, "c", "not for it"),)))
    await rig.agents.stop_agent(AT, 5)
    await rig.agents.start_agent(AT, rig.launch(memory={**OWN, "maxLines": 2}))
    await said(rig)
    assert "new fact" in system(rig)
    assert "old fact" not in system(rig), "only the newest lines are told"
    assert "not for it" not in system(rig), "the other scope is not declared"
    assert system(rig).count("</memory>") == 1, "an entry can't end the section"
    taken = (await rig.process()).memory
    assert taken is not None
    assert taken.given == taken.has != ""


async def test_memory_that_grows_is_told_after_a_compaction_and_not_before(rig: Rig) -> None:
    launch = rig.launch(memory=OWN)
    settings = rig.root / "agent" / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "compaction": {"keepRecentTokens": 1, "reserveTokens": 10}}))
    await rig.agents.install(VM)
    await rig.agents.start_keeper(AT)
    await rig.agents.start_agent(AT, launch)
    await said(rig, write("written just now"))
    await said(rig)
    assert "written just now" not in system(rig)
    before = (await rig.process()).memory
    assert (await rig.agents.call(AT, {"type": "compact"})).get("success") is True
    await rig.settled()
    await said(rig)
    assert "written just now" in system(rig)
    after = (await rig.process()).memory
    assert after is not None
    assert after.given == after.has
    assert after != before


@pytest.mark.guarantee("G-28")
async def test_the_tools_of_the_memory_are_under_the_permissions(rig: Rig) -> None:
    rules = level("Lieutenant", ["memory_read", "memory_write(*8081*)"], (), (), "Deny")
    await rig.up(memory=BOTH, guard={**Rules((rules,), None).declared(), "askMs": 1000}, argv=("--no-extensions",))
    fine, denied, searched = await said(
        rig, write("port 8081"), write("something else"), {"tool": "memory_search", "args": {"query": "8081"}}
    )
    assert fine == "Remembered."
    assert "Denied by the permissions" in denied
    assert "Denied by the permissions" in searched
    assert [entry.text for entry in (await rig.agents.memory(AT)).agent] == ["port 8081"]


async def test_what_was_added_since_stays_and_the_rest_is_as_the_controller_says(rig: Rig) -> None:
    await rig.up(memory=BOTH)
    await said(rig, write("first"))
    read = await rig.agents.memory(AT)
    await said(rig, write("second"))
    await rig.agents.put_memory(AT, MachineMemory(OnMachine("default/api"), read.number, (MemoryEntry(1.0, "x", "from elsewhere"),)))
    there = await rig.agents.memory(AT)
    assert [entry.text for entry in there.agent] == ["from elsewhere", "second"]
    assert there.there.owner == "default/api"


async def test_a_killed_keeper_has_lost_nothing_that_it_called_remembered(rig: Rig) -> None:
    await rig.up(memory=BOTH)
    await said(rig, write("survives"), write("this too", scope="Global"))
    await rig.kill_keeper()
    with (rig.base / "memory.jsonl").open("ab") as file:
        file.write(b'{"scope":"Agent","id":"torn')
    await rig.agents.start_keeper(AT)
    there = await rig.agents.memory(AT)
    assert ([e.text for e in there.agent], [e.text for e in there.shared]) == (["survives"], ["this too"])


async def test_memory_is_bounded_and_says_so(rig: Rig) -> None:
    await rig.up(memory=OWN)
    long, other, *rest = await said(rig, write("x" * 5000), write("to others", scope="Global"), *(write(f"fact {n}") for n in range(61)))
    assert "at most 4000 characters" in long
    assert "scope" in other
    assert "at most 60 entries" in rest[-1]
    assert len((await rig.agents.memory(AT)).agent) == 60


async def test_an_agent_without_a_memory_has_no_such_tools(rig: Rig) -> None:
    await rig.up()
    (answer,) = await said(rig, write("nowhere"))
    assert "not found" in answer
    assert (await rig.process()).memory is None
    assert (await rig.look()).agent.memory == OnMachine("", NOTHING, NOTHING)
    assert Taken() == Taken("", "")
