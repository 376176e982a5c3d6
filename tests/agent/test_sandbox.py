"""The real pi in a boundary of the operating system: what its model tells it to do against it does not come about, and is told."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from keeper_rig import AT, Rig, alive, proc, prompt, rigged, script, until

from reconciler.agent import bootstrap
from reconciler.core.governance.boundary import Boundary
from reconciler.core.governance.permissions.rules import Rules, level
from reconciler.core.keys import Json
from reconciler.core.snapshot.agent import Exited
from reconciler.core.snapshot.machine import GuestCommand, GuestFile
from reconciler.errors import GuestFailed

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap")]

FORBIDDEN = "forbidden.example"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    if shutil.which("bwrap") is None and not os.environ.get("CI"):
        pytest.skip("missing: bwrap (Debian: apt-get install bubblewrap)")
    async with rigged(tmp_path) as it:
        yield it


def model_at(rig: Rig) -> str:
    return rig.model.url.split("/")[2]


def told(rig: Rig, *network: str, writable: tuple[str, ...] = (), hidden: tuple[str, ...] = (), own: bool = True) -> tuple[Boundary, Json]:
    """A boundary, and how a keeper takes it. `network`: what may be reached beside the model; `own`: whether the network is its own."""
    agent = rig.root / "agent"
    made = Boundary(writable, hidden, (model_at(rig), *network) if own else None)
    return made, made.declared(str(rig.root / "work"), str(agent), str(agent / "sessions"))


async def said(rig: Rig, *commands: str) -> list[str]:
    """What commands said that the model had its agent run, one after the other, in one turn."""
    steps: list[Json] = [{"tool": "bash", "args": {"command": command, "timeout": 20}} for command in commands]
    await rig.agents.send(AT, f"k{len(rig.model.requests)}", prompt(script(*steps, {"say": "done"})))
    await rig.settled()
    return [m["content"] for m in rig.model.requests[-1].messages if m.get("role") == "tool"][-len(commands) :]


def files_in(directory: Path) -> list[str]:
    return sorted(place.name for place in directory.rglob("*"))


async def refused(rig: Rig) -> str:
    return "\n".join(one.words for one in (await rig.process()).refused.told)


UNSEEN = ("/tmp", "/var/tmp", "/run", "/dev")  # the agent has its own of these


@pytest.fixture
def house() -> Iterator[Path]:
    """A directory that the agent sees, wherever $HOME and the checkout are."""
    homes = (Path(pwd.getpwuid(os.getuid()).pw_dir), Path.home(), Path.cwd(), Path("/opt"))
    seen = [home for home in homes if not any(home.resolve().is_relative_to(place) for place in UNSEEN) and os.access(home, os.W_OK)]
    if not seen and not os.environ.get("CI"):
        pytest.skip("missing: a directory that can be written to and is not below a temporary one")
    with tempfile.TemporaryDirectory(prefix=".reconciler-test-", dir=seen[0]) as name:
        yield Path(name)


@pytest.mark.guarantee("G-28")
async def test_only_declared_places_are_written_to(rig: Rig, house: Path) -> None:
    more, secret, elsewhere = (house / name for name in ("more", "secret", "elsewhere"))
    for place in (secret, elsewhere):
        place.mkdir()
        (place / "file").write_text("kept")
    _, sandbox = told(rig, writable=(str(more),), hidden=(str(secret), str(elsewhere / "file")), own=False)
    await rig.up(sandbox=sandbox)
    answers = await said(
        rig,
        f"echo in > inside && echo in > {more}/inside && echo in > /tmp/inside && cat /tmp/inside",
        f"echo x > {elsewhere}/other; rm -f {elsewhere}/file; touch {secret}/x; mkdir {house}/new; touch /usr/local/x",
        f"cat {secret}/file {elsewhere}/file",
        f'node -e \'require("fs").writeFileSync("{elsewhere}/other", "x")\'',
    )
    assert answers[0].startswith("in")
    assert ((rig.root / "work" / "inside").read_text(), (more / "inside").read_text()) == ("in\n", "in\n")
    assert not await asyncio.to_thread(Path("/tmp/inside").exists)
    assert answers[1].count("Read-only file system") >= 3
    assert "kept" not in answers[2]
    assert "EROFS" in answers[3]
    assert (elsewhere / "file").read_text() == (secret / "file").read_text() == "kept"
    assert files_in(house) == ["elsewhere", "file", "file", "inside", "more", "secret"]
    words = await refused(rig)
    assert f"files bash: /bin/bash: line 1: {elsewhere}/other: Read-only file system" in words
    assert f"cannot create directory ‘{house}/new’" in words


@pytest.mark.guarantee("G-28")
async def test_what_guards_it_can_be_neither_written_nor_ended_nor_asked(rig: Rig) -> None:
    """No rule denies any of this: the kernel does."""
    _, sandbox = told(rig)
    await rig.up(sandbox=sandbox)
    agent, keeper, socket = rig.root / "agent", rig.keeper_pid(), rig.layout.socket_path
    before = {name: (agent / name).read_bytes() for name in ("settings.json", "models.json")}
    program = {file: file.read_bytes() for file in (rig.base / "keeper").iterdir() if file.is_file()}
    answers = await said(
        rig,
        f"echo x > {agent}/settings.json; rm -f {agent}/settings.json; mv {agent}/models.json {agent}/gone; mkdir {agent}/extensions",
        f"mv {agent} {agent}.away; rm -rf {agent}; ln -s /tmp {agent}/new.json",
        f"echo x > {rig.base}/keeper-*/inside.mjs; rm -rf {rig.base}; ls -A {rig.base}",
        f"kill -9 {keeper}; cat /proc/{keeper}/environ",
        f'node -e \'require("net").connect("{socket}").on("error", e => console.log(e.code))\'',
        "umount -l /proc; mount -t tmpfs none /mnt; unshare -Urm mount -o remount,rw /; unshare -Urm umount /run; chroot / true",
    )
    assert alive(keeper)
    assert {name: (agent / name).read_bytes() for name in before} == before
    assert [name for name in files_in(agent) if not name.endswith("l")] == ["models.json", "sessions", "settings.json"]
    assert {file: file.read_bytes() for file in program} == program
    assert "state.json" not in answers[2]
    assert "No such process" in answers[3]
    assert "ENOENT" in answers[4]
    assert "Operation not permitted" in answers[5] or "must be superuser" in answers[5] or "permission denied" in answers[5]
    words = await refused(rig)
    assert f"{agent}/settings.json: Read-only file system" in words
    assert "inside.mjs: Read-only file system" in words
    assert (await rig.process()).responsive


@pytest.mark.guarantee("G-28")
async def test_what_rules_deny_is_told_with_what_the_kernel_refuses(rig: Rig) -> None:
    _, sandbox = told(rig)
    rules = Rules((level("Lieutenant", deny=["bash(rm *)", "bash(kill *)"], default="Allow"),), ("bash",))
    await rig.up(sandbox=sandbox, guard={**rules.declared(), "askMs": 1000})
    await said(rig, f"rm -rf {rig.base}", f"kill -9 {rig.keeper_pid()}", f"curl -sS http://{FORBIDDEN}/")
    words = (await refused(rig)).splitlines()
    assert [word.split()[0] for word in words] == ["call", "call", "network"]
    assert "rule bash(kill *) of the Lieutenant" in words[1]


@pytest.mark.guarantee("G-28")
async def test_the_only_way_out_is_to_the_hosts_that_are_declared(rig: Rig) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    allowed, other = server.sockets[0].getsockname()[1], (await asyncio.start_server(_answer, "127.0.0.1", 0)).sockets[0].getsockname()[1]
    _, sandbox = told(rig, f"127.0.0.1:{allowed}")
    await rig.up(sandbox=sandbox)
    assert (await rig.process()).model == "scripted/scripted"
    answers = await said(
        rig,
        f"curl -sS http://127.0.0.1:{allowed}/",
        f"curl -sS -m 5 http://127.0.0.1:{other}/; curl -sS -m 5 --noproxy '' http://127.0.0.1:{other}/",
        f"curl -sS -m 5 https://{FORBIDDEN}/; curl -sS -m 5 http://{FORBIDDEN}:8080/",
        f"node -e \"fetch('https://{FORBIDDEN}:444/').then(r => console.log(r.status), e => console.log('failed'))\"",
        "node -e \"require('net').connect(80, '192.0.2.1').on('error', e => console.log(e.code))\"",
        "cat /proc/net/dev | tail -n +3",
    )
    assert "hello from outside" in answers[0]
    assert "hello" not in answers[1]
    assert "Denied by the boundary of this agent" in answers[1]
    assert "response 403" in answers[2]
    assert f"{FORBIDDEN}:8080 is not among the hosts" in answers[2]
    assert "failed" in answers[3]
    assert "ENETUNREACH" in answers[4]
    assert [line.split(":")[0].strip() for line in answers[5].strip().splitlines()] == ["lo"]
    words = await refused(rig)
    for place in (f"127.0.0.1:{other}", f"{FORBIDDEN}:443", f"{FORBIDDEN}:8080", f"{FORBIDDEN}:444"):
        assert f"network {place}" in words
    assert {record["told"] for record in rig.events() if record["event"] == "refused"} >= {f"{FORBIDDEN}:443"}
    server.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\nconnection: close\r\n\r\nhello from outside")
    await writer.drain()
    writer.close()


@pytest.mark.guarantee("G-28")
async def test_pi_reaches_its_model_through_the_proxy(rig: Rig) -> None:
    """At an address that is not loopback for a program that heeds the variables: it goes through the proxy, or nowhere."""
    target = int(model_at(rig).split(":")[1])

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_pipe(reader, up_writer), _pipe(up_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.2", 0)
    place = f"127.0.0.2:{server.sockets[0].getsockname()[1]}"
    made = Boundary((), (), (place,))
    agent = rig.root / "agent"
    launch = rig.launch(sandbox=made.declared(str(rig.root / "work"), str(agent), str(agent / "sessions")))
    models = agent / "models.json"
    models.write_text(models.read_text().replace(model_at(rig), place))
    await rig.agents.install(AT.place)
    await rig.agents.start_keeper(AT)
    await rig.agents.start_agent(AT, launch)
    assert "fine" in (await said(rig, "echo fine"))[0]
    server.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.guarantee("G-27", "G-28")
async def test_it_is_read_back_which_boundary_is_in_force(rig: Rig) -> None:
    made, sandbox = told(rig, "registry.npmjs.org:443", writable=(str(rig.root / "ä b"),))
    await rig.up(sandbox=sandbox)
    process = await rig.process()
    assert process.sandbox == made.hash
    mounts = proc(process.pid, "mountinfo").decode()
    assert os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert " / ro" in mounts


async def test_without_one_nothing_is_taken_away(rig: Rig) -> None:
    await rig.up()
    assert (await rig.process()).sandbox == ""
    assert os.readlink(f"/proc/{(await rig.process()).pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")


@pytest.mark.guarantee("G-28")
async def test_without_bubblewrap_no_agent_is_started_and_the_remedy_is_named(rig: Rig) -> None:
    program = await asyncio.create_subprocess_exec(
        str(rig.tools.node),
        "--input-type=module",
        "-e",
        MISSING,
        str(Path(bootstrap.__file__).parent / "keeper"),
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await program.communicate())[0].decode()
    assert said == "SandboxMissing the profile declares a sandbox, and bubblewrap is not on this machine: " + (
        "add a step that installs it, such as apt-get install -y bubblewrap\n"
    )


MISSING = """
import fs from "node:fs";
import os from "node:os";
const { Sandbox } = await import(`${process.argv[1]}/sandbox.mjs`);
const exists = fs.existsSync;
fs.existsSync = (place) => !String(place).endsWith("/bwrap") && exists(place);
const own = { directory: os.tmpdir(), sockets: os.tmpdir() };
const declared = { workDir: "/", agentDir: "/", sessionDir: "/" };
await Sandbox.over(declared, own, {}, () => {}).catch((error) => console.log(error.code, error.message));
"""
"""A keeper on a machine that has none."""


@pytest.mark.guarantee("G-28")
async def test_a_bubblewrap_that_bounds_nothing_starts_no_agent(rig: Rig) -> None:
    """What is there is looked at from outside, and not believed."""
    _, sandbox = told(rig, own=False)
    fake = rig.base / "bin"
    fake.mkdir(parents=True)
    (fake / "bwrap").write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    (fake / "bwrap").chmod(0o755)
    with pytest.raises(GuestFailed, match=r"it shares the pid namespace.*SandboxNotHeld"):
        await rig.up(sandbox=sandbox)
    process = (await rig.look()).agent.process
    assert isinstance(process, Exited)
    assert "does not hold" in process.stderr_tail


@pytest.mark.guarantee("G-28")
async def test_what_holds_the_guard_is_never_made_writable(rig: Rig) -> None:
    for place in ("", "/agent", "/agent/skills", "/r"):
        _, sandbox = told(rig, writable=(f"{rig.root}{place}",))
        with pytest.raises(GuestFailed, match="SandboxInvalid"):
            await rig.up(sandbox=sandbox)


@pytest.mark.guarantee("G-28")
async def test_a_check_of_what_the_agent_wrote_runs_in_its_boundary(rig: Rig, house: Path) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, sandbox = told(rig, f"127.0.0.1:{port}")
    await rig.up(sandbox=sandbox)
    script_of_the_agent = rig.root / "work" / "check.sh"
    script_of_the_agent.write_text(
        f"touch {house}/escaped; touch made; curl -sS http://127.0.0.1:{port}/; curl -sS http://{FORBIDDEN}/; exit 3"
    )
    result = await rig.agents.run(AT, GuestCommand(("sh", "check.sh"), timeout=30, sandbox=sandbox))
    assert result.exit_code == 3
    assert "hello from outside" in result.stdout
    assert "Read-only file system" in result.stderr
    assert f"{FORBIDDEN}:80 is not among the hosts" in result.stdout
    assert (rig.root / "work" / "made").exists()
    assert not (house / "escaped").exists()
    server.close()


async def test_models_that_are_declared_while_it_runs_are_read_by_pi(rig: Rig) -> None:
    """pi sees its settings as they are, and not what takes their place; so they are written in place."""
    _, sandbox = told(rig)
    await rig.up(sandbox=sandbox)
    models = rig.root / "agent" / "models.json"
    changed = models.read_text().replace('"id": "scripted"', '"id": "other"')
    assert changed != models.read_text()
    await rig.agents.write_files(AT, [GuestFile(str(models), changed.encode(), 0o600)], str(rig.root / "work"))
    assert json.loads(models.read_text()) == json.loads(changed)
    await rig.agents.reread(AT)
    answer = await rig.agents.call(AT, {"type": "set_model", "provider": "scripted", "modelId": "other"})
    assert answer["success"] is True


@pytest.mark.guarantee("G-24")
async def test_it_is_stopped_and_starts_again_on_its_conversation_with_nothing_left_behind(rig: Rig) -> None:
    _, sandbox = told(rig)
    await rig.up(sandbox=sandbox)
    pid = (await rig.process()).pid
    await said(rig, "(sleep 300 & echo $!) ; touch /root/.pi-was-here 2>/dev/null; true")
    await rig.agents.stop_agent(AT, 5)
    await until(lambda: not alive(pid))
    assert not [p for p in Path(rig.layout.socket_path).parent.glob("proxy-*")]
    await rig.agents.start_agent(AT, rig.launch(sandbox=sandbox))
    await said(rig, "echo again")
    assert len([m for m in await rig.messages() if m.role == "user"]) == 2


async def test_with_the_keeper_everything_in_it_ends(rig: Rig) -> None:
    _, sandbox = told(rig)
    await rig.up(sandbox=sandbox)
    pid = (await rig.process()).pid
    await rig.kill_keeper()
    await until(lambda: not alive(pid))
    await rig.agents.start_keeper(AT)
    await rig.agents.start_agent(AT, rig.launch(sandbox=sandbox))
    assert (await rig.process()).responsive
