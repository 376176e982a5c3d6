"""The keeper without pi: its socket, its files, its journals, and what it does with a pi on a bad day."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from keeper_rig import AT, VM, Rig, alive, prompt, rigged, until

from reconciler.agent import agents as agents_module
from reconciler.agent import bootstrap
from reconciler.agent.bootstrap import KeeperLimits
from reconciler.agent.execs import PIECE, Exec
from reconciler.agent.keeper_client import KeeperClient
from reconciler.agent.protocol import KEEPER_VERSION, Lines
from reconciler.agent.toolchain import chosen_pi
from reconciler.core.keys import Json
from reconciler.core.snapshot.agent import Declined, Lost, NotStarted, Unanswered, Up
from reconciler.core.snapshot.machine import GuestCommand, GuestFile
from reconciler.engine.observe.comparison import blanked, digests_of
from reconciler.engine.ports import Machine, Place
from reconciler.errors import GuestFailed, GuestUnreachable, ReconcilerError, StaleEpoch

ODD = str(Path(__file__).with_name("odd_pi.mjs"))
COPY = Place("99999999-2222-4333-8444-555555555555")
WORDS = ("it's", '"quoted"', "$(touch pwned)", "`touch pwned`", "; touch pwned", "-n", "", "line\nbreak", "\\", "é \u2028", "*")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as it:
        await it.agents.install(VM)
        await it.agents.start_keeper(AT)
        yield it


async def odd(rig: Rig) -> None:
    rig.env = {"ODD_LOG": str(rig.root / "heard")}
    await rig.agents.start_agent(Machine(VM, rig.epoch), replace(rig.launch(), command=(ODD,), argv=()))


def heard(rig: Rig) -> list[Json]:
    return [json.loads(line) for line in (rig.root / "heard").read_text().splitlines()]


@asynccontextmanager
async def raw(rig: Rig) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(rig.layout.socket_path)
    try:
        yield reader, writer
    finally:
        writer.close()


async def exchange(rig: Rig, *lines: str) -> list[Json]:
    """The answers to some lines, by a client of our own."""
    async with raw(rig) as (reader, writer):
        writer.write("".join(f"{line}\n" for line in lines).encode())
        found: list[bytes] = []
        split = Lines()
        while len(found) < len(lines):
            data = await reader.read(1 << 16)
            assert data, "the keeper hung up"
            found += split.add(data)
        return sorted((json.loads(line) for line in found), key=lambda answer: answer.get("id", 0))


# --- the socket ------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-65")
async def test_nonsense_gets_an_error_and_harms_nobody(rig: Rig) -> None:
    answers = await exchange(
        rig, "nonsense", "[]", "null", '{"op":"toString","id":1}', '{"id":2,"op":"observe","epoch":1}', '{"id":3,"op":"ping"}'
    )
    assert [(a.get("id"), a.get("ok"), a["error"]["code"] if "error" in a else "") for a in answers] == [  # type: ignore[index, call-overload]
        (None, None, "BadRequest"),
        (None, None, "BadRequest"),
        (None, None, "BadRequest"),
        (1, None, "UnknownOp"),
        (2, None, "HelloFirst"),
        (3, True, ""),
    ]
    hello = {"id": 1, "op": "hello", "epoch": 1, "vmId": VM.vm_id}
    [refused] = await exchange(rig, json.dumps({**hello, "protocols": [99]}))
    assert refused["error"] == {"code": "NoCommonProtocol", "message": "this keeper speaks 1", "protocols": [1]}
    no_epoch = await exchange(rig, json.dumps({**hello, "protocols": [1, 99]}), '{"id":2,"op":"verdict","key":"k"}')
    assert no_epoch[0]["protocol"] == 1
    assert no_epoch[1]["error"] == {"code": "BadRequest", "message": "epoch is missing"}
    assert (await rig.look()).agent.process == NotStarted()


async def test_a_second_keeper_does_not_start(rig: Rig) -> None:
    pid = rig.keeper_pid()
    await asyncio.gather(*(rig.agents.start_keeper(AT) for _ in range(3)))
    assert rig.count("keeper") == 1
    assert rig.keeper_pid() == pid


async def test_keepers_started_at_the_same_time_are_one(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.agents.install(VM)
        started = await asyncio.gather(*(rig.agents.start_keeper(AT) for _ in range(4)), return_exceptions=True)
        assert None in started
        await rig.agents.start_keeper(AT)
        assert rig.count("keeper") == 1


async def test_inspect_tells_what_is_there(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        bare = await rig.agents.inspect(VM)
        assert (bare.claim, bare.keeper, bare.keeper_alive, dict(bare.marks)) == (None, None, False, {})
        assert abs(bare.clock_skew) < 5
        await rig.agents.install(VM)
        claim = {"fleet": "f", "epoch": "1", "vmId": VM.vm_id, "name": 'it\'s "me" $(x)'}
        await rig.agents.write_claim(VM, claim)
        await rig.agents.start_keeper(AT)
        await rig.agents.mark(AT, "step:a", "h1")
        await rig.agents.mark(AT, "step:b", "h2")
        there = await rig.agents.inspect(VM)
        assert (there.claim, there.keeper, there.keeper_alive, there.pi) == (claim, KEEPER_VERSION, True, chosen_pi(os.environ))
        assert there.marks == {"step:a": "h1", "step:b": "h2"}
        await rig.kill_keeper()
        dead = await rig.agents.inspect(VM)
        assert (dead.keeper, dead.keeper_alive, dead.marks) == (KEEPER_VERSION, False, there.marks)


async def test_done_marks_are_there_only_once_all_their_files_are(rig: Rig) -> None:
    files = [GuestFile("m/big", os.urandom(6 << 20)), GuestFile("m/small", b"x")]
    await rig.agents.write_files(AT, files, str(rig.root), {"files": "h1", "secrets": "h2"})
    assert (await rig.agents.inspect(VM)).marks == {"files": "h1", "secrets": "h2"}
    with pytest.raises(GuestFailed):
        await rig.agents.write_files(AT, [*files, GuestFile("m/small/below", b"y")], str(rig.root), {"files": "h3"})
    await rig.agents.write_files(AT, [], str(rig.root), {"organs": "h4"})
    assert (await rig.agents.inspect(VM)).marks == {"files": "h1", "secrets": "h2", "organs": "h4"}


async def test_a_machine_that_does_not_answer_is_not_a_dead_keeper(rig: Rig) -> None:
    await rig.transports[-1].close()
    first = rig.agents

    async def never(_: Place) -> agents_module.Transport:
        raise GuestUnreachable("no route")

    gone = agents_module.KeeperAgents(never, first._release)
    for call in (gone.inspect(VM), gone.observe(AT, "/x", 0), gone.write_claim(VM, {"epoch": "1"})):
        with pytest.raises(GuestUnreachable, match="no route"):
            await call


async def test_watchers_are_woken_by_events_and_by_the_loss_of_the_keeper(rig: Rig) -> None:
    woken = asyncio.Event()
    rig.agents.watch(VM, woken.set)
    await rig.look()
    woken.clear()
    await odd(rig)
    await asyncio.wait_for(woken.wait(), 20)
    await rig.look()
    while True:  # until nothing more comes
        woken.clear()
        await rig.look()
        if not woken.is_set():
            break
    await rig.kill_keeper()
    await asyncio.wait_for(woken.wait(), 20)
    with pytest.raises(GuestUnreachable):
        await rig.look()
    await rig.agents.start_keeper(AT)
    woken.clear()
    await odd(rig)
    await asyncio.wait_for(woken.wait(), 20)


# --- whose it is -----------------------------------------------------------------------------------------------------------------


async def test_a_copy_of_a_machine_does_nothing_until_it_is_claimed(rig: Rig) -> None:
    rig.epoch = 5
    await odd(rig)
    pid = (await rig.process()).pid
    for call in (
        rig.agents.observe(Machine(COPY, 9), str(rig.session), 0),
        rig.agents.send(Machine(COPY, 9), "k", prompt("started")),
        rig.agents.stop_agent(Machine(COPY, 9), 1.0),
        rig.agents.mark(Machine(COPY, 9), "x", "y"),
    ):
        with pytest.raises(GuestUnreachable, match="Foreign"):
            await call
    assert alive(pid)
    await rig.agents.write_claim(COPY, {"epoch": "1", "vmId": COPY.vm_id})
    look = await rig.agents.observe(Machine(COPY, 1), str(rig.session), 0)
    assert (look.agent.epoch, look.agent.process) == (1, NotStarted())
    assert not alive(pid)
    with pytest.raises(GuestUnreachable, match="Foreign"):
        await rig.look()


@pytest.mark.guarantee("G-62")
async def test_a_claim_is_no_way_around_the_epoch(rig: Rig) -> None:
    await rig.agents.start_keeper(Machine(VM, 8))
    with pytest.raises(StaleEpoch):
        await rig.agents.write_claim(VM, {"epoch": "7", "vmId": VM.vm_id})
    assert (await rig.agents.inspect(VM)).claim is None


async def test_an_older_keeper_is_replaced_only_while_pi_is_down(rig: Rig) -> None:
    rig.agents.watch(VM, lambda: None)
    await rig.kill_keeper()
    old = rig.base / "keeper-0-old"
    (rig.base / f"keeper-{KEEPER_VERSION}").rename(old)
    (rig.base / "keeper").unlink()
    (rig.base / "keeper").symlink_to(old.name)
    assert (await rig.agents.inspect(VM)).keeper == "0-old"
    await rig.agents.start_keeper(AT)
    pid = rig.keeper_pid()
    await odd(rig)
    await rig.agents.install(VM)
    await rig.agents.start_keeper(AT)
    assert (await rig.look()).agent.keeper_version == "0-old"
    assert rig.keeper_pid() == pid
    await rig.agents.stop_agent(AT, 5.0)
    await rig.agents.start_keeper(AT)
    assert (await rig.look()).agent.keeper_version == KEEPER_VERSION
    assert not alive(pid)


# --- verdicts on bad days -----------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-20")
async def test_what_was_not_answered_is_lost_when_the_keeper_dies(rig: Rig) -> None:
    await odd(rig)
    sending = asyncio.create_task(rig.agents.send(AT, "k", prompt("silent")))
    await until(lambda: any(c.get("id") == "k:k" for c in heard(rig)))
    assert await rig.agents.verdict(AT, "k") == Unanswered()
    assert isinstance(await rig.agents.send(AT, "other", prompt("started")), Declined)
    assert (await rig.process()).busy
    await rig.kill_keeper()
    with pytest.raises(GuestUnreachable):
        await sending
    await rig.agents.start_keeper(AT)
    for _ in range(2):
        assert await rig.agents.verdict(AT, "k") == Lost("the keeper ended before pi's answer was recorded")
        await odd(rig)
        assert isinstance(await rig.agents.send(AT, "k", prompt("started")), Lost)
    assert sum(c.get("id") == "k:k" for c in heard(rig)) == 1


@pytest.mark.guarantee("G-20")
async def test_what_was_not_answered_is_lost_when_pi_dies(rig: Rig) -> None:
    await odd(rig)
    sending = asyncio.create_task(rig.agents.send(AT, "k", prompt("silent")))
    await until(lambda: any(c.get("id") == "k:k" for c in heard(rig)))
    os.kill((await rig.process()).pid, 9)
    assert await sending == Lost("pi ended before it answered")
    await odd(rig)
    assert not (await rig.process()).busy


async def test_an_accepted_prompt_is_busy_until_its_end_is_announced(rig: Rig) -> None:
    await odd(rig)
    await rig.agents.send(AT, "a", prompt("handled"))
    assert not (await rig.process()).busy
    await rig.agents.send(AT, "b", prompt("started"))
    assert (await rig.process()).busy  # although get_state says idle


@pytest.mark.guarantee("G-65")
async def test_noise_on_pis_output_is_passed_over(rig: Rig) -> None:
    await odd(rig)
    await rig.agents.send(AT, "k", prompt("garbage"))
    await until(lambda: rig.count("settled") == 1)
    assert [e["text"] for e in rig.events() if e["event"] == "noise"] == ["not json", "", "[1]", "null", '"x"']
    assert not (await rig.process()).busy


# --- journals ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-26")
async def test_the_journal_is_bounded_and_a_gap_in_it_is_told(tmp_path: Path) -> None:
    async with rigged(tmp_path, KeeperLimits(segment_bytes=4000, segments=3)) as rig:
        await rig.agents.install(VM)
        await rig.agents.start_keeper(AT)
        await odd(rig)
        await rig.agents.send(AT, "k", prompt("tools 500"))
        seq = (await rig.look()).agent.seq
        assert seq > 500
        assert sum(f.stat().st_size for f in rig.base.glob("events-*")) < 3 * 4500
        hello = json.dumps({"id": 1, "op": "hello", "epoch": 1, "vmId": VM.vm_id, "protocols": [1]})
        kept = rig.events()
        subscribed = await subscribe(rig, hello, 0, len(kept) + 1)
        first = subscribed[0]["gap"]
        assert isinstance(first, dict)
        assert first == {"from": 1, "to": seq - len(kept)}
        assert [m["event"] for m in subscribed[1:]] == kept
        assert [e["seq"] for e in kept] == list(range(seq - len(kept) + 1, seq + 1))
        tail = await subscribe(rig, hello, seq - 2, 2)
        assert [m["event"] for m in tail] == kept[-2:]


async def subscribe(rig: Rig, hello: str, after: int, count: int) -> list[Json]:
    """So many unasked lines after a sequence number."""
    ask = json.dumps({"id": 2, "op": "subscribe", "epoch": 1, "after": after})
    async with raw(rig) as (reader, writer):
        writer.write(f"{hello}\n{ask}\n".encode())
        found: list[Json] = []
        split = Lines()
        while len(found) < count:
            data = await reader.read(1 << 16)
            assert data
            found += [m for m in map(json.loads, split.add(data)) if "id" not in m]
        return found


@pytest.mark.guarantee("G-26")
@pytest.mark.guarantee("G-66")
async def test_torn_and_damaged_lines_are_repaired(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "reconciler")
    await odd(rig)
    await rig.agents.send(AT, "k", prompt("started"))
    await rig.kill_keeper()
    before = rig.events()
    newest = max(rig.base.glob("events-*"))
    for file in (newest, rig.base / "commands.jsonl"):
        with file.open("ab") as out:
            out.write(b'{"seq":99999,"key":"torn')
    with (rig.base / "commands.jsonl").open("r+b") as out:
        content = out.read()
        out.seek(0)
        out.write(b"\0\0damaged\n" + content)
    await rig.agents.start_keeper(AT)
    assert (await rig.agents.verdict(AT, "k")) == await rig.agents.send(AT, "k", prompt("started"))
    assert "tornTailRepaired 2" in caplog.text
    assert "damagedLine 1" in caplog.text
    after = rig.events()
    assert after[: len(before)] == before
    assert [e["seq"] for e in after] == list(range(1, len(after) + 1))


@pytest.mark.guarantee("G-26")
async def test_a_full_disk_blocks_output_and_ends_nothing(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.agents.install(VM)
        journal = rig.base / "events-000000000001.jsonl"
        journal.symlink_to("/dev/full")
        try:
            await rig.agents.start_keeper(AT)
            look = await rig.look()
            assert look.agent.output_blocked
            assert look.agent.seq == 0
        finally:
            async with raw(rig) as (_, writer):
                hello = json.dumps({"op": "hello", "epoch": 1, "vmId": VM.vm_id, "protocols": [1]})
                writer.write((hello + '\n{"op":"quit","epoch":1}\n').encode())
                await writer.drain()
                await until(rig.unlocked)
        journal.unlink()
        await rig.agents.start_keeper(AT)
        assert not (await rig.look()).agent.output_blocked


# --- files and commands ------------------------------------------------------------------------------------------------------------------


async def test_files_appear_whole_with_their_mode(rig: Rig) -> None:
    work = rig.root / "work"
    big = os.urandom(10 << 20)
    files = [
        GuestFile(str(rig.root / "a" / "b" / "big"), big, 0o600),
        *(GuestFile(f"rel/{n}", f"é{n}\n".encode(), 0o755) for n in range(50)),
        GuestFile(str(rig.root / "empty"), b""),
        GuestFile(str(rig.root / "it's $(touch pwned)"), b"x"),
    ]
    await rig.agents.write_files(AT, files, str(work))
    assert (rig.root / "a" / "b" / "big").read_bytes() == big
    assert oct((rig.root / "a" / "b" / "big").stat().st_mode)[-3:] == "600"
    assert [(work / f"rel/{n}").read_text() for n in range(50)] == [f"é{n}\n" for n in range(50)]
    assert oct((work / "rel" / "0").stat().st_mode)[-3:] == "755"
    assert (rig.root / "empty").read_bytes() == b""
    assert (rig.root / "it's $(touch pwned)").read_bytes() == b"x"
    assert not list(rig.root.rglob("*.new"))
    assert not list(rig.root.rglob("pwned"))
    path = str(rig.root / "a" / "b" / "big")
    assert await rig.agents.file_size(AT, path) == len(big)
    assert await rig.agents.file_size(AT, str(work)) is None
    assert await rig.agents.file_size(AT, "/no/such/file") is None
    assert await rig.agents.read_file(AT, path, 1 << 30) == big
    assert await rig.agents.read_file(AT, path, 5_000_000) == big[:5_000_000]
    for bad in ("/no/such/file", "/dev/zero", str(work)):
        with pytest.raises(GuestFailed, match="not a regular file"):
            await rig.agents.read_file(AT, bad, 10)
    with pytest.raises(GuestFailed, match="needs a work dir"):
        await rig.agents.file_size(AT, "relative")
    await odd(rig)
    (work / "relative").write_text("four")
    assert await rig.agents.file_size(AT, "relative") == 4


@pytest.mark.guarantee("G-32")
async def test_beginnings_of_a_file_are_hashed_where_they_are(rig: Rig) -> None:
    """Across the pieces in which it is read, with ranges left out; nothing of it travels."""
    content = os.urandom((3 << 20) + 7)
    path = str(rig.root / "session.jsonl")
    await rig.agents.write_files(AT, [GuestFile(path, content)], str(rig.root))
    ends = [1, 1 << 20, (1 << 20) + 1, (2 << 20) + 5, len(content), len(content) + 1]
    blanks = [(0, 3), ((1 << 20) - 4, 9), ((2 << 20) - 1, (1 << 20) + 3), (len(content) - 1, 50)]
    assert await rig.agents.prefixes(AT, path, ends, blanks) == digests_of(blanked(content, blanks), ends)
    assert await rig.agents.prefixes(AT, path, ends, ()) == digests_of(content, ends)
    assert len(await rig.agents.prefixes(AT, path, ends, ())) == len(ends) - 1, "it has no such beginning"
    assert await rig.agents.prefixes(AT, "/no/such/file", [1], ()) == ()
    for wrong in ([], [0], [2, 1], [1, 1], list(range(1, 300))):
        with pytest.raises(GuestFailed, match="BadRequest"):
            await rig.agents.prefixes(AT, path, wrong, ())


async def test_a_file_that_can_not_be_written_is_an_error_and_leaves_the_old_one(rig: Rig) -> None:
    taken = rig.root / "dir" / "inside"
    taken.parent.mkdir()
    taken.write_text("old")
    with pytest.raises(GuestFailed, match="System"):
        await rig.agents.write_files(AT, [GuestFile(str(taken / "below"), b"new")], str(rig.root))
    assert taken.read_text() == "old"


@pytest.mark.guarantee("G-61")
async def test_arguments_are_data(rig: Rig) -> None:
    out = rig.root / "out"
    code = "import json,os,sys; open(sys.argv[1],'w').write(json.dumps([sys.argv[2:], os.environ['ODD'], os.getcwd()]))"
    command = GuestCommand(("python3", "-c", code, str(out), *WORDS), cwd=str(rig.root), env={"ODD": "'; touch pwned"})
    result = await rig.agents.run(AT, command)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(out.read_text()) == [list(WORDS), "'; touch pwned", str(rig.root)]
    assert not list(rig.root.rglob("pwned"))


async def test_how_a_command_ended(rig: Rig) -> None:
    async def run(*argv: str, cwd: str = str(rig.root), timeout: float = 20.0) -> agents_module.CommandResult:
        return await rig.agents.run(AT, GuestCommand(argv, cwd=cwd, timeout=timeout))

    three = await run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (three.exit_code, three.stdout, three.stderr) == (3, "out\n", "err\n")
    assert (await run("sh", "-c", "kill -9 $$")).exit_code == -9
    long = await run("python3", "-c", "print('x' * 1000000 + 'end')")
    assert (len(long.stdout), long.stdout[-4:]) == (4096, "end\n")
    left = await run("sh", "-c", "echo fast; sleep 600 &")
    assert (left.exit_code, left.stdout) == (0, "fast\n")
    with pytest.raises(GuestFailed, match=r"no-such-program can't be run: ENOENT"):
        await run("no-such-program")
    with pytest.raises(GuestFailed, match=r"/no/where does not exist"):
        await run("true", cwd="/no/where")
    slow = await run("sh", "-c", "sleep 600 & echo $! > child; wait", timeout=0.3)
    assert slow.exit_code is None
    child = int((rig.root / "child").read_text())
    await until(lambda: not alive(child))


async def test_a_command_asked_for_again_while_it_runs_runs_once(rig: Rig) -> None:
    go = rig.root / "go"
    code = "echo x >> runs; until [ -e go ]; do sleep 0.02; done"
    command = GuestCommand(("sh", "-c", code), cwd=str(rig.root))
    cut_off = asyncio.create_task(rig.agents.run(AT, command))
    await until(lambda: (rig.root / "runs").exists())
    await rig.agents.release(VM)
    with pytest.raises(GuestUnreachable):
        await cut_off
    again = asyncio.create_task(rig.agents.run(AT, command))
    await rig.look()
    go.touch()
    assert (await again).exit_code == 0
    assert (rig.root / "runs").read_text() == "x\n"


async def test_ten_requests_at_once_are_answered_each_for_itself(rig: Rig) -> None:
    commands = [GuestCommand(("sh", "-c", f"sleep 0.{9 - n}; echo {n}"), cwd="/") for n in range(10)]
    results = await asyncio.gather(*(rig.agents.run(AT, command) for command in commands))
    assert [r.stdout for r in results] == [f"{n}\n" for n in range(10)]


async def test_a_request_without_an_answer_ends_at_its_deadline(rig: Rig) -> None:
    lost: list[ReconcilerError] = []
    transport = rig.transports[-1]
    client = KeeperClient(
        await transport.open_unix(rig.layout.socket_path), "here", lambda _: None, lambda: lost.append(GuestUnreachable(""))
    )
    await client.hello(VM.vm_id, 1, 10.0)
    with pytest.raises(GuestUnreachable, match=r"did not answer run within 0\.2 s"):
        await client.request("run", 1, 0.2, argv=["sleep", "600"], cwd=str(rig.root), timeoutMs=2000)
    assert client.closed
    assert not lost  # it was us
    with pytest.raises(GuestUnreachable, match="gone"):
        await client.request("ping", None, 1.0)
    assert isinstance((await rig.look()).agent.process, NotStarted | Up)


# --- commands of people ------------------------------------------------------------------------------------------------------


async def ran(rig: Rig, *argv: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
    """Exit code and both outputs of a command over a connection of its own."""
    out, err, pieces = bytearray(), bytearray(), [data[i : i + PIECE] for i in range(0, len(data), PIECE)]

    async def source() -> bytes:
        return pieces.pop(0) if pieces else b""

    code = await Exec(AT, out.extend, err.extend).run(partial(rig.agents.private, AT), argv, str(rig.root), source)
    return code, bytes(out), bytes(err)


@pytest.mark.guarantee("G-61")
async def test_a_persons_command_has_its_streams_and_its_end(rig: Rig) -> None:
    assert await ran(rig, "printf", "%s|", "a b", "$HOME", "; true") == (0, b"a b|$HOME|; true|", b"")
    assert await ran(rig, "sh", "-c", "echo err >&2; exit 3") == (3, b"", b"err\n")
    assert (await ran(rig, "sh", "-c", "kill -9 $$"))[0] == 137
    data = os.urandom(3_000_000)
    assert await ran(rig, "cat", data=data) == (0, data, b""), "more than fits on the way, both ways"
    assert (await ran(rig, "true", data=data))[0] == 0, "input that nobody reads"
    assert (await ran(rig, "sh", "-c", "sleep 60 & echo on"))[:2] == (0, b"on\n"), "what it leaves behind is not waited for"
    with pytest.raises(GuestFailed, match="no-such-program can't be run: ENOENT"):
        await ran(rig, "no-such-program")


async def test_a_persons_command_ends_with_the_connection(rig: Rig) -> None:
    pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    command = Exec(AT, lambda data: pid.set_result(int(data)), lambda _: None)
    running = asyncio.create_task(command.run(partial(rig.agents.private, AT), ["sh", "-c", "echo $$; sleep 600; true"], str(rig.root)))
    found = await pid
    assert alive(found)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await until(lambda: not alive(found))


async def test_the_digest_of_a_directory_tells_whether_a_file_was_written(rig: Rig) -> None:
    work = rig.root / "digest"
    (work / "deep").mkdir(parents=True)
    (work / "deep" / "a").write_text("1")

    async def digest() -> str:
        return await rig.agents.digest(AT, str(work))

    first = await digest()
    assert first == await digest()
    (work / "deep" / "a").write_text("2")
    second = await digest()
    assert second != first
    (work / "b").touch()
    assert await digest() not in (first, second)
    (work / "b").unlink()
    assert await digest() == second
    assert await rig.agents.digest(AT, str(work / "nowhere"))


async def test_a_session_that_its_agent_removes_while_it_is_read_is_one_that_is_not_there(rig: Rig, tmp_path: Path) -> None:
    session = tmp_path / "s.jsonl"
    session.write_text("{}\n" * 10)
    node, keeper = str(rig.tools.node), str(Path(bootstrap.__file__).parent / "keeper")
    arguments = ("--input-type=module", "-e", REMOVED, keeper, str(session))
    program = await asyncio.create_subprocess_exec(node, *arguments, stdout=asyncio.subprocess.PIPE)
    assert (await program.communicate())[0] == b"30 0\n"


REMOVED = """
import fs from "node:fs";
const [, keeper, file] = process.argv;
const { bytesFrom } = await import(`${keeper}/machine.mjs`);
const there = bytesFrom(file, 0).length;
const open = fs.openSync;
fs.openSync = (...given) => (fs.rmSync(file, { force: true }), open(...given));
console.log(there, bytesFrom(file, 0).length);
"""
"""The file goes after it was looked at and before it is opened."""
