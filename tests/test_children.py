"""Whoever starts us, and how: what we start begins in the same condition."""

from __future__ import annotations

import ast
import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler import children
from reconciler.agent.transport import FixedScript, LocalTransport
from tests.simulator.conftest import Start, start

__all__ = ["start"]

SOURCE = Path(children.__file__).parent
STARTERS = {
    *("create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell", "Popen", "run", "call", "check_call"),
    *("check_output", "fork", "forkpty", "system", "popen", "posix_spawn", "execv", "execve", "execvp", "spawnv"),
}
OF = {"subprocess", "asyncio", "os", "loop", "pty"}
ASKED = (
    "grep -E '^(SigBlk|SigIgn)' /proc/self/status; umask; ulimit -c; ulimit -f; readlink /proc/self/fd/0; "
    "ps -o tty= -p $$ 2>/dev/null || true"
)
# A program that was started badly: signals ignored and blocked, a file as standard input, another umask, core files allowed; and by
# `posix_spawn`, as `make` does it, which leaves signals ignored that the C library keeps for itself.
BAD = """
import os, resource, signal, subprocess, sys
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2})
os.umask(0o077)
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.environ.update(LC_ALL="de_DE.ISO-8859-1", TZ="Asia/Kathmandu")
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def signals(line: str) -> set[int]:
    """Those of a line of /proc/PID/status that programs can have to do with, not those that the C library keeps for its threads."""
    mask = int(line.split()[1], 16)
    return {number for number in signal.valid_signals() if mask >> (number - 1) & 1}


def test_one_place_starts_programs() -> None:
    found = []
    for file in SOURCE.rglob("*.py"):
        if file.name == "children.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in STARTERS:
                owner = called.value
                name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
                if name in OF and (name, called.attr) != ("asyncio", "run"):
                    found.append(f"{file.relative_to(SOURCE)}:{node.lineno}")
    assert not found, "start it with reconciler.children"


PROBE = """
import asyncio, sys
from reconciler import children
async def main():
    process = await children.start(["/bin/sh", "-c", sys.argv[1]], {"PATH": "/usr/bin:/bin"}, stdout=children.PIPE)
    return (await process.communicate())[0].decode()
sys.stdout.write(asyncio.run(main()))
sys.stdout.write("---\\n")
sys.stdout.write(children.run(["/bin/sh", "-c", sys.argv[1]], {"PATH": "/usr/bin:/bin"}, 30).stdout)
"""


@pytest.mark.parametrize("started", ["plainly", "badly"])
def test_a_child_begins_in_the_same_condition_however_we_were_started(started: str, tmp_path: Path) -> None:
    place = tmp_path / "a blank"
    place.mkdir()
    command = [sys.executable, *(["-c", BAD] if started == "badly" else []), "-c", PROBE, ASKED]
    with (place / "input").open("w+") as stdin:
        env = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, cwd=place, env=env, timeout=60, check=True)
    for told in done.stdout.split("---\n"):
        blocked, ignored, umask, cores, _, stdin_is, *terminal = told.split("\n")
        assert (signals(blocked), signals(ignored)) == (set(), set())
        assert (umask, cores, stdin_is) == ("0022", "0", "/dev/null")
        assert "".join(terminal).strip() in ("", "?")


@pytest.fixture
def as_under_nohup() -> object:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)
        signal.signal(signal.SIGHUP, former)


async def test_a_script_on_this_host_hears_signals_and_makes_files_that_are_ours(as_under_nohup: object, tmp_path: Path) -> None:
    script = FixedScript("grep SigIgn /proc/self/status; umask")
    done = await LocalTransport(cwd=tmp_path).run(script)
    ignored, umask = done.stdout.decode().splitlines()
    assert (signals(ignored), umask) == (set(), "0022")


async def test_commands_of_a_guest_hear_signals_and_are_limited(as_under_nohup: object, start: Start) -> None:
    s = await start(guests="process")
    vm_id = await s.create()
    told = (await s.run(vm_id, "grep SigIgn /proc/self/status; umask; ulimit -c; ulimit -f; touch ~/made; stat -c %a ~/made")).splitlines()
    assert (signals(told[0]), told[1:3], told[4]) == (set(), ["0022", "0"], "644")
    assert told[3] != "unlimited"
    async with await s.ssh(vm_id) as conn:
        assert (await asyncio.wait_for(conn.run("umask"), 10)).stdout == "0022\n"


async def test_a_process_has_ended_when_it_has_whatever_it_left_behind() -> None:
    child = await children.start(["/bin/sh", "-c", "sleep 0.2; sleep 100 & exit 3"], {"PATH": "/usr/bin:/bin"}, stdout=children.PIPE)
    assert await asyncio.wait_for(child.wait(), 10) == 3
    child.let_go()
    os.killpg(child.pid, signal.SIGKILL)


PATH = {"PATH": "/usr/bin:/bin"}


def test_limits_never_exceed_what_this_host_allows() -> None:
    limits = children.Limits(files=1 << 40, file_bytes=1 << 40)
    command, condition = children.begun(["/bin/sh", "-c", "ulimit -Hn; ulimit -Sn"], PATH, limits)
    done = subprocess.run(command, env=PATH, capture_output=True, text=True, check=True, timeout=30, **condition)
    hard, soft = done.stdout.split()
    assert hard == soft


LIMITED = children.Limits(files=64, file_bytes=1 << 20)


@pytest.fixture(params=["with prlimit", "without"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By which way limits are set."""
    if request.param == "without":
        monkeypatch.setattr(children, "_prlimit", lambda: None)
    elif children._prlimit() is None:
        pytest.skip("prlimit (util-linux) is missing")
    return str(request.param)


async def test_limits_of_its_own_change_nothing_else_of_a_child(way: str, tmp_path: Path) -> None:
    asked = "echo $$; ulimit -Sn; ulimit -Sc; head -c 2M /dev/zero > big; wc -c < big; grep -E '^Sig(Blk|Ign)' /proc/self/status; env"
    child = await children.start(["sh", "-c", asked], PATH, cwd=tmp_path, stdout=children.PIPE, limits=LIMITED)
    pid, files, cores, size, blocked, ignored, *env = (await child.communicate())[0].decode().splitlines()
    assert (int(pid), files, cores, size) == (child.pid, "64", "0", str(1 << 20))
    assert (signals(blocked), signals(ignored)) == (set(), set())
    own = {"PWD", "OLDPWD", "SHLVL", "_"}  # of the shell
    assert {line for line in env if line.partition("=")[0] not in own} == {"PATH=/usr/bin:/bin"}
    assert children._changes(LIMITED), "our own limits are as they were"


@pytest.mark.parametrize(
    ("content", "mode", "number"),
    [
        (None, 0, errno.ENOENT),
        ("#!/bin/sh\n", 0o600, errno.EACCES),
        ("word\n", 0o700, errno.ENOEXEC),
        ("#!/no/such/thing\n", 0o700, errno.ENOENT),
    ],
)
async def test_what_can_not_be_started_is_told_whatever_limits_it_was_to_have(
    way: str, content: str | None, mode: int, number: int, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    if content is not None:
        program.write_text(content)
        program.chmod(mode)
    for named in (str(program), program.name):
        with pytest.raises(OSError) as told:
            await children.start([named], {"PATH": str(tmp_path)}, limits=LIMITED)
        assert told.value.errno == number


async def test_a_program_of_another_machine_is_not_taken_for_one_that_succeeds(way: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF and no more")
    program.chmod(0o700)
    if way == "without":
        with pytest.raises(OSError, match="Exec format error"):
            await children.start([str(program)], PATH, limits=LIMITED)
    else:
        assert await (await children.start([str(program)], PATH, limits=LIMITED)).wait() not in (0, None)


PLAINLY = """
import resource
from reconciler import children
for which, soft in children._changes(children.PLAIN).items():
    resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))
command, condition = children.begun(["/bin/true"], {}, children.PLAIN)
print(command, condition["preexec_fn"])
"""


def test_a_child_that_needs_no_change_is_started_without_a_copy_of_us() -> None:
    told = children.run([sys.executable, "-c", PLAINLY], {**os.environ, "PYTHONPATH": str(SOURCE.parent)}, 60)
    assert told.stdout == "['/bin/true'] None\n", told.stderr
