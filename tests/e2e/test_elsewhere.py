"""The suite passes however it is started: without a terminal, under `nohup`, with another umask, locale and time zone, from a path with
a blank, and by an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.agent.toolchain import cache_dir, find_toolchain, has_pi

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", "build", "node_modules", ".*_cache", ".hypothesis")
PARTS = (
    "tests/test_children.py",
    "tests/simulator/test_simulator_gateway.py",
    "tests/simulator/test_simulator_service.py",
    "tests/sources/test_unreadable.py",
    "tests/sources/test_watching.py",
    "tests/sources/test_secrets.py",
    "tests/cli/test_cli_edit_form.py",
    "tests/agent/test_keeper.py",
    "tests/core/test_cron.py",
    "tests/core/test_spending.py",
)
"""Of what starts programs, makes files, reads clocks or judges permissions, what takes seconds."""
SCRIPT = 'umask 077; exec nohup setsid -w "$@" < /dev/null'


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_part_of_the_suite_passes_as_a_service_in_an_odd_place_would_run_it(tmp_path: Path) -> None:
    place = tmp_path / "a path" / "check out"
    shutil.copytree(ROOT, place, ignore=LEFT_OUT, symlinks=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "LC_"))}
    env = {**inherited, "PYTHONPATH": str(place), "LC_ALL": "C", "TZ": "Pacific/Kiritimati"}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "-m", "not slow", *PARTS]
    done = subprocess.run(
        ["sh", "-c", SCRIPT, "sh", *command], cwd=place, env=env, capture_output=True, text=True, timeout=850, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert " passed" in done.stdout


ANYBODYS = Path("/var/tmp")
"""Where every user may have a directory, on disk."""
AS_A_USER = (
    *PARTS,
    "tests/simulator/test_simulator_http.py",
    "tests/sources/test_host_credentials.py",
    "tests/sources/test_hostile_files.py",
    "tests/sources/test_git_addresses.py",
    "tests/sources/test_file_operations.py",
    "tests/serve/test_credentials.py",
    "tests/serve/test_doors.py",
    "tests/store/test_store_lock.py",
    "tests/store/test_store_crash.py",
    "tests/cli/test_cli_secrets.py",
    "tests/cli/test_cli_config.py",
)
"""Of what depends on who runs it, owners and modes of files, sockets, signals, programs of the host, what takes seconds."""


def reachable(path: Path) -> bool:
    """Everybody gets there."""
    return path.exists() and all(place.stat().st_mode & 0o001 for place in path.resolve().parents) and bool(path.stat().st_mode & 0o004)


def within_reach(path: Path, room: Path) -> Path:
    """This directory, or one of the same files that everybody gets to."""
    if reachable(path):
        return path
    try:
        return Path(shutil.copytree(path, room, copy_function=os.link, symlinks=True))
    except shutil.Error:  # on another disk
        shutil.rmtree(room, ignore_errors=True)
        return Path(shutil.copytree(path, room, symlinks=True))


@pytest.fixture
def ordinary() -> Iterator[tuple[pwd.struct_passwd, Path]]:
    """A user without rights, and a place of that user's. Who is not root is one."""
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    room = Path(tempfile.mkdtemp(prefix="as-user-", dir=ANYBODYS))
    room.chmod(0o755)
    for name in ("home", "t"):
        (room / name).mkdir(mode=0o700)
    yield user, room
    shutil.rmtree(room, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_part_of_the_suite_passes_as_an_ordinary_user(
    ordinary: tuple[pwd.struct_passwd, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """What that user may not on this host, such as isolated guests, is skipped with its reason and told."""
    user, room = ordinary
    place = room / "checkout"
    shutil.copytree(ROOT, place, ignore=LEFT_OUT, symlinks=True)
    python = within_reach(Path(sys.base_prefix), room / "python")
    packages = within_reach(Path(sysconfig.get_path("purelib")), room / "packages")
    pi = find_toolchain(os.environ).pi_dir if has_pi(os.environ) else None
    if pi is not None and pi.parent == cache_dir(os.environ):  # what that user would fetch
        shutil.copytree(pi, room / "home" / ".cache" / "reconciler" / pi.name)
    root = os.geteuid() == 0
    for folder in (place, room / "home", room / "t") if root else ():
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", str(folder)], check=True)
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "FAULT_SEED", "FAULT_SHARE")}
    kept["PATH"] = os.pathsep.join(folder for folder in os.get_exec_path() if reachable(Path(folder)))  # as that user's would be
    env = {**kept, "HOME": str(room / "home"), "TMPDIR": str(room / "t"), "USER": user.pw_name, "PYTHONPATH": f"{place}:{packages}"}
    env |= {"LD_LIBRARY_PATH": str(python / "lib")} if python != Path(sys.base_prefix) else {}  # it looks for its own where it was built
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs", "--"] if root else []
    tests = ["-m", "pytest", "-n", "0", "-q", "-rs", "-p", "no:cacheprovider", "-m", "not slow", *AS_A_USER]
    done = subprocess.run(
        [*become, str(python / "bin" / f"python3.{sys.version_info.minor}"), *tests],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    with capsys.disabled():
        print("\nas an ordinary user:", *done.stdout.splitlines()[-12:], sep="\n  ")
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert " passed" in done.stdout
