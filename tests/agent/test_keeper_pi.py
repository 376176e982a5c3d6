"""A keeper with the real pi, a scripted model, and everything that can be killed, killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from keeper_rig import AT, SECRET, VM, Rig, alive, one_rig, proc, prompt, rigged, script, shared, sharing, until

from reconciler.agent.bootstrap import KeeperLimits
from reconciler.core.keys import Json
from reconciler.core.provider.trouble import trouble_of
from reconciler.core.snapshot.agent import Accepted, Declined, Exited, Lost, NotStarted, Unheard, Up
from reconciler.core.task.view import says_nothing
from reconciler.engine.ports import Machine
from reconciler.errors import Conflict, GuestFailed, GuestUnreachable, StaleEpoch

pytestmark = pytest.mark.real("pi")
__all__ = ["one_rig", "shared"]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as it:
        yield it


def extension(rig: Rig, source: str) -> tuple[str, ...]:
    file = rig.root / "extension.ts"
    file.write_text(source)
    return ("--extension", str(file))


def running(rig: Rig, seconds: int, say: str = "done") -> str:
    """A prompt whose turn is in a tool until somebody ends it; the tool's pid is in the file `tool`."""
    command = f"echo $$ > {rig.root}/tool; exec sleep {seconds}"
    return script({"tool": "bash", "args": {"command": command}}, {"say": say})


def tool_pid(rig: Rig) -> int:
    return int((rig.root / "tool").read_text() or 0)


async def in_tool(rig: Rig) -> int:
    file = rig.root / "tool"
    await until(lambda: file.exists() and file.read_text().endswith("\n"))
    return tool_pid(rig)


def on_a_command_line(text: str) -> bool:
    found = False
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended
            found = found or text.encode() in line.read_bytes()
    return found


def open_files(pid: int) -> list[str]:
    return [os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir()]


# --- the ordinary way ------------------------------------------------------------------------------------------------------------


async def test_a_prompt_is_accepted_settles_and_is_in_the_conversation(rig: Rig) -> None:
    await rig.up()
    before = await rig.process()
    assert (before.model, before.busy, before.responsive, before.launch_hash) == ("scripted/scripted", False, True, "launch-1")
    text = "[marker] " + script({"say": "good evening"})
    assert await rig.agents.send(AT, "k", prompt(text)) == Accepted("started")
    messages = await rig.settled()
    assert [(m.role, m.stop_reason) for m in messages] == [("system", ""), ("user", ""), ("assistant", "stop")]
    assert messages[-1].text == "good evening"
    assert messages[-1].usage.input == 100
    assert messages[1].text.startswith("[marker]")
    assert await rig.agents.verdict(AT, "k") == Accepted("started")
    assert await rig.agents.verdict(AT, "never") == Unheard()
    look = await rig.look()
    assert look.agent.session_size == rig.session.stat().st_size == len(look.chunk)
    tail = await rig.agents.observe(AT, str(rig.session), messages[-1].offset)
    assert tail.chunk == look.chunk[messages[-1].offset :]


@sharing
async def test_what_is_being_written_is_seen_before_it_is_finished(shared: Rig) -> None:
    await shared.agents.send(AT, "written", prompt(script({"say": "one two three", "chunks": 2, "gap": 600})))
    look = await shared.seen(lambda look: look.live != "")
    assert look.live == "one two"
    assert isinstance(look.agent.process, Up)
    assert look.agent.process.busy
    await shared.agents.call(AT, {"type": "abort"})
    assert (await shared.settled())[-1].stop_reason == "aborted"
    assert (await shared.look()).live == ""


@sharing
@pytest.mark.guarantee("G-23")
async def test_a_steer_lands_in_the_middle_of_a_run(shared: Rig) -> None:
    go = shared.root / "go"
    wait = f"until [ -e {go} ]; do sleep 0.02; done"
    await shared.agents.send(AT, "steered-k", prompt(script({"tool": "bash", "args": {"command": wait}}, {"say": "never said"})))
    await until(lambda: shared.count("tool") == 1)
    verdict = await shared.agents.send(AT, "steered-s", prompt("[steer] " + script({"say": "turned"}), steer=True))
    assert verdict == Accepted("queued")
    assert (await shared.process()).pending == 1
    go.touch()
    messages = await shared.settled()
    assert [m.role for m in messages] == ["user", "assistant", "toolResult", "user", "assistant"]
    assert messages[3].text.startswith("[steer]")
    assert messages[-1].text == "turned"


async def test_a_prompt_of_five_megabytes_arrives_whole(rig: Rig) -> None:
    await rig.up()
    text = "x" * 5_000_000 + ' \u2028"\\ end'
    assert isinstance(await rig.agents.send(AT, "k", prompt(text)), Accepted)
    await rig.settled()
    whole = bytearray()
    while part := (await rig.agents.observe(AT, str(rig.session), len(whole))).chunk:
        assert len(part) <= 4 << 20
        whole += part
    assert bytes(whole) == rig.session.read_bytes()
    entry = next(json.loads(line) for line in whole.split(b"\n") if b'"role":"user"' in line)
    assert entry["message"]["content"][0]["text"] == text


async def test_an_open_dialog_is_answered_so_that_the_turn_goes_on(rig: Rig) -> None:
    source = """export default function (pi: any) {
      pi.on("tool_call", async (_: any, ctx: any) => {
        if (!(await ctx.ui.confirm("Sure?", "really"))) return { block: true, reason: "nobody agreed" };
      });
    }"""
    await rig.up(argv=extension(rig, source))
    await rig.agents.send(AT, "k", prompt(script({"tool": "bash", "args": {"command": "echo danger"}}, {"say": "so be it"})))
    messages = await rig.settled()
    assert messages[-1].text == "so be it"
    assert "nobody agreed" in messages[-2].text
    assert [(e["method"], e["cancelled"]) for e in rig.events() if e["event"] == "dialog"] == [("confirm", True)]


@sharing
async def test_errors_of_the_model_are_in_the_conversation_not_in_the_verdict(shared: Rig) -> None:
    assert isinstance(await shared.agents.send(AT, "errors", prompt(script({"status": 400, "message": "no such luck"}))), Accepted)
    last = (await shared.settled())[-1]
    assert last.stop_reason == "error"
    assert "no such luck" in last.error


async def test_how_long_the_provider_asks_to_be_left_alone_is_told(rig: Rig) -> None:
    await rig.up()
    for seconds, least in ((0.0, 0.0), (3300.0, 3000.0)):
        await rig.agents.send(AT, f"k{seconds}", prompt(script({"status": 429, "retry_after": seconds, "message": "slow down"})))
        last = (await rig.settled())[-1]
        assert trouble_of(last.error).reason == "ProviderLimited"
        assert least <= (await rig.process()).retry_after <= seconds


@pytest.mark.guarantee("G-37")
async def test_a_provider_that_asks_for_an_hour_is_asked_once(rig: Rig) -> None:
    await rig.up()
    await rig.agents.send(AT, "k", prompt(script({"status": 429, "retry_after": 3300.0, "message": "slow down"})))
    last = (await rig.settled())[-1]
    assert (last.stop_reason, trouble_of(last.error).reason) == ("error", "ProviderLimited")
    assert len(rig.model.requests) == 1
    await rig.agents.send(AT, "l", prompt(script({"say": "here again"})))
    assert (await rig.settled())[-1].text == "here again", "the next prompt is as any other"
    assert (await rig.process()).retry_after == 0, "it asks for nothing any more"
    await rig.agents.send(AT, "m", prompt(script({"status": 503, "message": "a moment", "times": 1, "then": {"say": "and again"}})))
    assert (await rig.settled())[-1].text == "and again", "what passes soon is survived within the turn, whatever was asked for before"


@sharing
async def test_what_passes_soon_is_survived_within_the_turn(shared: Rig) -> None:
    troubles: list[Json] = [{"status": 503}, {"status": 429, "retry_after": 3.0}, {"status": 500}, {"cut": 1, "say": "half"}]
    for number, trouble in enumerate(troubles):
        before = len(shared.model.requests)
        step = {**trouble, "message": "a moment", "times": 2, "then": {"say": f"done {number}"}}
        await shared.agents.send(AT, f"soon-{number}", prompt(script(step)))
        assert (await shared.settled())[-1].text == f"done {number}", trouble
        assert len(shared.model.requests) - before == 3, trouble


@sharing
async def test_a_refusal_of_the_provider_is_told_from_its_limits(shared: Rig) -> None:
    answers: list[Json] = [{"status": 401, "message": "Incorrect API key"}, {"status": 404, "message": "no model scripted"}]
    for answer in answers:
        await shared.agents.send(AT, f"refused-{answer['status']}", prompt(script(answer)))
        last = (await shared.settled())[-1]
        assert trouble_of(last.error).reason == "ModelRefused"
        assert str(answer["message"]) in last.error, "it is the answer to this prompt"


@sharing
async def test_an_answer_without_anything_in_it_is_seen_as_that(shared: Rig) -> None:
    await shared.agents.send(AT, "empty", prompt(script({"say": "", "output_tokens": 0, "input_tokens": 0})))
    assert says_nothing((await shared.settled())[-1])


@sharing
async def test_which_tool_runs_since_when_and_whether_its_processes_work(shared: Rig) -> None:
    work = shared.root / "work-now"
    command = f"until [ -e {work} ]; do sleep 0.1; done; timeout 20 sh -c 'while :; do :; done'"
    await shared.agents.send(AT, "tool", prompt(script({"tool": "bash", "args": {"command": command}}, {"say": "done"})))
    look = await shared.seen(lambda look: isinstance(look.agent.process, Up) and look.agent.process.tool is not None)
    assert isinstance(look.agent.process, Up)
    assert look.agent.process.tool is not None
    assert look.agent.process.tool.name == "bash"
    work.touch()
    before = (await shared.process()).work
    await shared.seen(lambda look: isinstance(look.agent.process, Up) and look.agent.process.work >= before + 3)
    await shared.agents.call(AT, {"type": "abort"})
    await shared.settled()
    assert (await shared.process()).tool is None


# --- verdicts ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-20")
async def test_a_key_is_forwarded_once_however_often_it_is_sent(rig: Rig) -> None:
    await rig.up()
    text = "[once] " + script({"say": "yes"})
    sent = await asyncio.gather(*(rig.agents.send(AT, "k", prompt(text)) for _ in range(5)))
    assert set(sent) == {Accepted("started")}
    await rig.settled()
    await rig.kill_keeper()
    await rig.up()
    assert await rig.agents.send(AT, "k", prompt(text)) == Accepted("started")
    messages = await rig.settled()
    assert sum(m.role == "user" for m in messages) == 1


@sharing
@pytest.mark.guarantee("G-22")
async def test_of_two_prompts_at_once_the_second_is_declined(shared: Rig) -> None:
    first, second = await asyncio.gather(
        shared.agents.send(AT, "two-a", prompt("[first] " + script({"say": "one", "delay": 1}))),
        shared.agents.send(AT, "two-b", prompt("[second] " + script({"say": "two"}))),
    )
    assert first == Accepted("started")
    assert isinstance(second, Declined)
    assert "Busy" in second.error
    assert await shared.agents.verdict(AT, "two-b") == second
    assert [m.text[:8] for m in await shared.settled() if m.role == "user"] == ["[first] "]


@pytest.mark.guarantee("G-22")
async def test_a_prompt_to_a_pi_that_is_down_is_lost_and_says_so(rig: Rig) -> None:
    await rig.up()
    await rig.agents.stop_agent(AT, 5.0)
    assert await rig.agents.send(AT, "k", prompt("hello")) == Lost("pi does not run")
    await rig.up()
    assert await rig.agents.send(AT, "k", prompt("hello")) == Lost("pi does not run")
    assert await rig.settled() == ()


@sharing
async def test_what_pi_refuses_is_declined_with_its_words(shared: Rig) -> None:
    verdict = await shared.agents.send(AT, "model", {"type": "set_model", "provider": "nobody", "modelId": "none"})
    assert isinstance(verdict, Declined)
    assert "nobody/none" in verdict.error


@sharing
async def test_a_call_takes_no_prompt_and_nothing_that_would_end_pi(shared: Rig) -> None:
    commands: list[Json] = [{"type": "prompt", "message": "hi"}, {"message": "x"}, {"type": "get_state", "x": [{"y": None}]}]
    for command in commands:
        with pytest.raises(GuestFailed, match="BadRequest"):
            await shared.agents.call(AT, command)
        response = await shared.agents.call(AT, {"type": "get_session_stats"})
        assert response["success"] is True
        assert "id" not in response


# --- ends ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-24")
async def test_a_killed_pi_is_told_with_its_signal_and_last_words_and_continues_its_session(rig: Rig) -> None:
    argv = extension(rig, "export default function () { console.error('last words of pi'); }")
    await rig.up(argv=argv)
    await rig.agents.send(AT, "k", prompt("[before] " + script({"say": "remember me"})))
    before = await rig.settled()
    pid = (await rig.process()).pid
    os.kill(pid, signal.SIGKILL)
    ended = (await rig.seen(lambda look: not isinstance(look.agent.process, Up))).agent.process
    assert isinstance(ended, Exited)
    assert (ended.exit_code, ended.signal, ended.launch_hash) == (None, "SIGKILL", "launch-1")
    assert "last words of pi" in ended.stderr_tail
    await rig.kill_keeper()
    await rig.agents.start_keeper(AT)
    assert (await rig.look()).agent.process == ended  # nothing was restarted, nothing was forgotten
    with pytest.raises(GuestUnreachable, match="NotRunning"):
        await rig.agents.call(AT, {"type": "get_state"})
    await rig.up(argv=argv)
    await rig.agents.send(AT, "k2", prompt(script({"say": "I do"})))
    assert [m.text for m in await rig.settled()][: len(before)] == [m.text for m in before]
    assert "remember me" in next(str(m.get("content")) for m in rig.model.requests[-1].messages if m["role"] == "assistant")


@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-26")
async def test_a_killed_keeper_forgets_nothing(rig: Rig) -> None:
    await rig.up()
    await rig.agents.send(AT, "answered", prompt(script({"say": "kept"})))
    before = await rig.settled()
    await rig.agents.send(AT, "running", prompt(running(rig, 600)))
    await in_tool(rig)
    pi = (await rig.process()).pid
    await rig.kill_keeper()
    await rig.agents.start_keeper(AT)
    assert not alive(pi)
    look = await rig.look()
    assert isinstance(look.agent.process, Exited)
    assert "keeper was ended" in look.agent.process.stderr_tail
    for key in ("answered", "running"):
        assert isinstance(await rig.agents.verdict(AT, key), Accepted)
    assert rig.session.read_bytes().startswith(look.chunk[: before[-1].offset])
    assert [e["seq"] for e in rig.events()] == list(range(1, look.agent.seq + 1))
    await rig.up()
    assert [m.text for m in await rig.settled()][:3] == [m.text for m in before]


@pytest.mark.guarantee("G-01")
async def test_a_controller_that_goes_away_changes_nothing(rig: Rig) -> None:
    await rig.up()
    go = rig.root / "go"
    wait = f"until [ -e {go} ]; do sleep 0.02; done"
    await rig.agents.send(AT, "k", prompt(script({"tool": "bash", "args": {"command": wait}}, {"say": "finished alone"})))
    await until(lambda: rig.count("tool") == 1)
    keeper, pi = rig.keeper_pid(), (await rig.process()).pid
    await rig.agents.aclose()
    go.touch()
    await until(lambda: rig.count("settled") == 1)
    assert alive(keeper)
    assert alive(pi)
    assert (await rig.settled())[-1].text == "finished alone"
    assert (await rig.process()).pid == pi


async def test_a_stop_is_orderly_and_leaves_nothing_behind(rig: Rig) -> None:
    await rig.up()
    await rig.agents.send(AT, "k", prompt(running(rig, 600)))
    tool, pi = await in_tool(rig), (await rig.process()).pid
    await rig.agents.stop_agent(AT, 10.0)
    look = await rig.look()
    assert look.agent.process == NotStarted()
    assert not alive(pi)
    assert not alive(tool)
    assert (await rig.messages())[-1].stop_reason == "aborted"
    await rig.agents.stop_agent(AT, 10.0)  # nothing to do


async def test_a_pi_that_does_not_react_is_killed_with_its_tools(rig: Rig) -> None:
    await rig.up()
    await rig.agents.send(AT, "k", prompt(running(rig, 600)))
    tool, pi = await in_tool(rig), (await rig.process()).pid
    os.kill(pi, signal.SIGSTOP)
    await rig.agents.stop_agent(AT, 0.3)
    assert not alive(pi)
    await until(lambda: not alive(tool))
    assert (await rig.look()).agent.process == NotStarted()


async def test_a_pi_that_has_ended_is_stopped_although_its_output_is_still_held_open(rig: Rig) -> None:
    """The signal that is due then finds nobody. What pi has started and left behind ends with it."""
    held = ("sh", "-c", 'sleep 600 & echo $! > "$PI_CODING_AGENT_DIR/held"; exec pi "$@"', "pi")
    await rig.up(command=held)
    pi, holder = (await rig.process()).pid, int((rig.root / "agent" / "held").read_text())
    await rig.agents.stop_agent(AT, 0.3)
    assert not alive(pi)
    await until(lambda: not alive(holder))
    assert (await rig.look()).agent.process == NotStarted()


@sharing
@pytest.mark.guarantee("G-04")
async def test_a_pi_that_does_not_answer_is_busy_and_not_responsive(shared: Rig) -> None:
    pid = (await shared.process()).pid
    os.kill(pid, signal.SIGSTOP)
    stuck = await shared.process()
    assert (stuck.responsive, stuck.busy) == (False, True)
    os.kill(pid, signal.SIGCONT)
    await shared.settled()
    assert (await shared.process()).responsive


@pytest.mark.guarantee("G-24")
async def test_a_pi_that_ends_at_once_tells_why(rig: Rig) -> None:
    with pytest.raises(GuestFailed, match="before its first answer") as failed:
        await rig.up(argv=("--no-such-flag",))
    assert failed.value.exit_code == 1
    assert "no-such-flag" in failed.value.tail
    ended = (await rig.look()).agent.process
    assert isinstance(ended, Exited)
    assert (ended.exit_code, "no-such-flag" in ended.stderr_tail) == (1, True)
    await rig.up()  # and the next start is a fresh one
    assert (await rig.process()).responsive


async def test_a_program_that_is_not_there_tells_why(rig: Rig) -> None:
    with pytest.raises(GuestFailed) as failed:
        await rig.up(command=("no-such-pi",))
    assert failed.value.exit_code == 127
    assert "no-such-pi" in failed.value.tail


@pytest.mark.parametrize("command", [("pi",), ("only-there", "--flag")], ids=["pi", "another"])
async def test_a_declared_path_is_for_the_tools_and_pi_and_node_are_found_all_the_same(rig: Rig, command: tuple[str, ...]) -> None:
    there = rig.root / "declared" / "bin"
    there.mkdir(parents=True)
    for name in ("node", "pi"):
        (there / name).write_text(f"#!/bin/sh\necho the wrong {name}\nexit 9\n")
        (there / name).chmod(0o755)
    (there / "only-there").write_text(f'#!/usr/bin/env node\nprocess.argv.splice(2, 1); import("{rig.tools.pi_cli}");\n')
    (there / "only-there").chmod(0o755)
    rig.env = {"PATH": str(there)}
    await rig.up(command=command)
    told = rig.root / "told"
    steps = [{"tool": "bash", "args": {"command": f"echo $PATH > {told}; node >> {told}"}}, {"say": "done"}]
    assert await rig.agents.send(AT, "k1", prompt(script(*steps))) == Accepted("started")
    await rig.settled()
    seen, node = told.read_text().splitlines()
    assert seen.split(":") == [str(rig.root / "agent" / "bin"), str(there)], "pi's own, and what is declared"
    assert node == "the wrong node"


async def test_starting_what_runs_does_nothing_and_another_launch_waits_for_a_stop(rig: Rig) -> None:
    await rig.up()
    pid = (await rig.process()).pid
    await rig.up()
    assert (await rig.process()).pid == pid
    with pytest.raises(Conflict, match="AlreadyRunning"):
        await rig.up(name="launch-2")
    await rig.agents.stop_agent(AT, 5.0)
    await rig.up(name="launch-2")
    assert (await rig.process()).launch_hash == "launch-2"


async def test_a_keeper_that_is_asked_to_end_ends_pi_in_order(rig: Rig) -> None:
    await rig.up()
    keeper, pi = rig.keeper_pid(), (await rig.process()).pid
    os.kill(keeper, signal.SIGTERM)
    await until(lambda: not alive(keeper))
    assert not alive(pi)


# --- who may, and what is seen ----------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-62")
async def test_a_lower_epoch_is_refused_and_a_higher_one_outlives_the_keeper(rig: Rig) -> None:
    rig.epoch = 3
    await rig.up()
    with pytest.raises(StaleEpoch):
        await rig.agents.send(Machine(VM, 2), "k", prompt("not yours"))
    with pytest.raises(StaleEpoch):
        await rig.agents.stop_agent(Machine(VM, 2), 1.0)
    assert (await rig.agents.observe(Machine(VM, 7), str(rig.session), 0)).agent.epoch == 7
    await rig.kill_keeper()
    with pytest.raises(StaleEpoch, match="below 7"):
        await rig.agents.start_keeper(Machine(VM, 3))
    await rig.agents.start_keeper(Machine(VM, 7))
    assert await rig.agents.verdict(Machine(VM, 7), "k") == Unheard()


@pytest.mark.guarantee("G-60")
async def test_a_secret_is_in_no_file_of_ours_and_on_no_command_line(rig: Rig) -> None:
    await rig.up()
    await rig.agents.send(AT, "k", prompt("hello"))
    await rig.settled()
    assert rig.model.requests[-1].authorization == f"Bearer {SECRET}"
    pi, keeper = (await rig.process()).pid, rig.keeper_pid()
    assert SECRET.encode() in proc(pi, "environ")
    assert SECRET.encode() not in proc(keeper, "environ")
    await rig.kill_keeper()
    for file in [f for f in rig.root.rglob("*") if f.is_file() and not f.is_symlink()]:
        assert SECRET.encode() not in file.read_bytes(), file
    assert not on_a_command_line(SECRET)
    assert SECRET not in repr(rig.launch())


@sharing
@pytest.mark.guarantee("G-64")
async def test_the_socket_is_for_its_user_alone_and_pi_does_not_hold_the_lock(shared: Rig) -> None:
    assert stat.S_IMODE(os.stat(shared.layout.socket_path).st_mode) == 0o600
    for directory in (shared.base, Path(shared.layout.socket_path).parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(f.stat().st_mode) & 0o077 == 0 for f in shared.base.iterdir() if not f.is_symlink())
    lock = str((shared.base / "lock").resolve())
    assert lock in open_files(shared.keeper_pid())
    assert lock not in open_files((await shared.process()).pid)


@pytest.mark.guarantee("G-26")
async def test_a_full_session_blocks_pi_rather_than_lose_a_message(tmp_path: Path) -> None:
    async with rigged(tmp_path, KeeperLimits(session_bytes=20_000)) as rig:
        await rig.up()
        steps: list[Json] = [{"say": "y" * 30_000, "tool": "bash", "args": {"command": "true"}}, {"say": "the end"}]
        await rig.agents.send(AT, "k", prompt(script(*steps)))
        look = await rig.seen(lambda look: look.agent.output_blocked)
        assert isinstance(look.agent.process, Up)
        assert not look.agent.process.responsive
        await rig.agents.stop_agent(AT, 1.0)
        assert any(len(m.text) == 30_000 for m in await rig.messages())
    async with rigged(tmp_path) as rig:
        await rig.up()  # a keeper with room for more goes on with the same conversation
        await rig.agents.send(AT, "k2", prompt(script({"say": "and on"})))
        assert (await rig.settled())[-1].text == "and on"
