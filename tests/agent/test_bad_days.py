"""pi and its model on their bad days: what comes of it is said, bounded, and leaves the next turn well (G-21, G-24, G-65)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keeper_rig import AT, Rig, proc, prompt, rigged, script

from reconciler.core.keys import Json
from reconciler.core.snapshot.agent import Accepted, Exited, Lost, Up

pytestmark = [pytest.mark.real("pi"), pytest.mark.slow]

ODD = Path(__file__).parent / "odd_pi.mjs"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as it:
        yield it


async def odd(rig: Rig) -> None:
    await rig.up(command=(str(rig.tools.node), str(ODD)))


FAULTS: dict[str, tuple[Json, str]] = {
    "a wrong key": ({"status": 401, "message": "bad key"}, "401"),
    "too many requests": ({"status": 429, "message": "slow down"}, "429"),
    "its own error": ({"status": 500, "message": "oops"}, "500"),
    "half an answer": ({"say": "half of it", "chunks": 4, "cut": 2}, "finish_reason"),
}


@pytest.mark.guarantee("G-21")
async def test_a_model_that_fails_ends_the_turn_with_an_error_and_the_next_one_is_well(rig: Rig) -> None:
    await rig.up()
    for fault, (step, words) in FAULTS.items():
        assert await rig.agents.send(AT, fault, prompt(script(step))) == Accepted("started")
        last = (await rig.settled())[-1]
        assert (last.role, last.stop_reason) == ("assistant", "error"), fault
        assert words in last.error
        assert await rig.agents.send(AT, f"after {fault}", prompt(script({"say": f"well after {fault}"}))) == Accepted("started")
        last = (await rig.settled())[-1]
        assert (last.text, last.stop_reason) == (f"well after {fault}", "stop")


@pytest.mark.guarantee("G-21")
async def test_a_model_that_never_answers_leaves_the_turn_on_and_it_can_be_ended(rig: Rig) -> None:
    await rig.up()
    await rig.agents.send(AT, "k", prompt(script({"hang": True})))
    await rig.seen(lambda look: rig.count("run") > 0)
    process = await rig.process()
    assert (process.responsive, process.busy) == (True, True)
    await rig.agents.call(AT, {"type": "abort"})
    assert (await rig.settled())[-1].stop_reason == "aborted"


@pytest.mark.guarantee("G-20")
async def test_one_that_ends_between_its_answer_and_the_entry_leaves_the_conversation_to_decide(rig: Rig) -> None:
    await odd(rig)
    assert await rig.agents.send(AT, "k", prompt("started")) == Accepted("started")
    os.kill((await rig.process()).pid, signal.SIGKILL)
    look = await rig.seen(lambda look: isinstance(look.agent.process, Exited))
    assert look.agent.session_size == 0
    assert await rig.agents.verdict(AT, "k") == Accepted("started")
    await rig.up()
    assert await rig.settled() == (), "it never arrived, and nobody sent it again"
    assert await rig.agents.send(AT, "k", prompt("started")) == Accepted("started"), "the same key is never forwarded again"
    assert await rig.settled() == ()


@pytest.mark.guarantee("G-20")
async def test_one_that_ends_before_it_answers_is_lost(rig: Rig) -> None:
    await odd(rig)
    sending = asyncio.ensure_future(rig.agents.send(AT, "k", prompt("exit 3")))
    verdict = await sending
    assert isinstance(verdict, Lost)
    ended = (await rig.seen(lambda look: isinstance(look.agent.process, Exited))).agent.process
    assert isinstance(ended, Exited)
    assert (ended.exit_code, "last words" in ended.stderr_tail) == (3, True)


@pytest.mark.guarantee("G-65")
async def test_a_flood_of_output_neither_fills_disk_nor_memory_nor_silences_the_keeper(rig: Rig) -> None:
    await odd(rig)
    keeper = rig.keeper_pid()
    await rig.agents.send(AT, "k", prompt("flood 300"))
    for _ in range(5):  # asked while it pours
        async with asyncio.timeout(20):
            assert isinstance((await rig.look()).agent.process, Up)
    await rig.seen(lambda look: rig.count("settled") == 1)
    resident = int(proc(keeper, "status").split(b"VmHWM:")[1].split()[0])
    assert resident < 400_000, f"the keeper took {resident} KiB"
    assert sum(file.stat().st_size for file in rig.base.glob("*") if file.is_file()) < 12 << 20


@pytest.mark.guarantee("G-65")
async def test_a_line_of_thirty_megabytes_is_read_whole_and_what_follows_too(rig: Rig) -> None:
    await odd(rig)
    await rig.agents.send(AT, "k", prompt("line 30"))
    await rig.seen(lambda look: rig.count("settled") == 1)
    assert [str(e["stopReason"]) for e in rig.events() if e["event"] == "message"] == ["stop"]
    assert (await rig.process()).busy is False
