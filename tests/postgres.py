"""A PostgreSQL server of Debian's packages for tests: one a session, in a directory of its own, one database a test.

It runs as an unprivileged user (the server refuses root), listens on a free loopback port and is stopped by its pid; should the tests be
killed, the kernel ends it with them (setpriv --pdeathsig).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

START_SECONDS = 60


@dataclass(frozen=True)
class PostgresServer:
    """`admin`: libpq connection string of the maintenance database."""

    port: int
    user: str
    process: subprocess.Popen[bytes]

    @property
    def admin(self) -> str:
        return f"host=127.0.0.1 port={self.port} user={self.user} dbname=postgres"

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{self.user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        """Run one statement outside a transaction. Test-made names only: nothing is quoted."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """A new, empty database; its SQLAlchemy URL. Dropped in the end, with whatever is still connected."""
        name = f"t{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def missing() -> str:
    """Why no server can be run here; '' when one can."""
    if not _programs():
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and _unprivileged() is None:
        return "PostgreSQL does not run as root and there is no user `postgres` or `nobody`"
    return ""


@contextlib.contextmanager
def server() -> Iterator[PostgresServer]:
    """A running server that answers; stopped and removed in the end."""
    programs = _programs()
    assert programs is not None
    account = _unprivileged() if os.geteuid() == 0 else None
    # Directly under the system's temporary directory: pytest's own is closed to other users.
    home = Path(tempfile.mkdtemp(prefix="reconciler-postgres-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        if account is not None:
            os.chown(home, account.pw_uid, account.pw_gid)
        data, log = home / "data", home / "log"
        options = ["--username=tester", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        made = subprocess.run(
            [*_as(account), str(programs / "initdb"), *options, "-D", str(data)], cwd=home, capture_output=True, check=False
        )
        assert made.returncode == 0, made.stderr.decode()
        port = _free_port()
        settings = [
            f"port={port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=on",
            "max_connections=60",
            "shared_buffers=32MB",
        ]
        argv = [*_as(account), str(programs / "postgres"), "-D", str(data), *(part for one in settings for part in ("-c", one))]
        with log.open("wb") as output:
            process = subprocess.Popen(argv, cwd=home, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        running = PostgresServer(port, "tester", process)
        _await(running, log)
        yield running
    finally:
        if process is not None:
            _stop(process)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's server. Skips, saying why, where there is none; fails in CI."""
    why = missing()
    if why:
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with server() as running:
        yield running


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of an empty database for this test alone."""
    with postgres_server.database() as url:
        yield url


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def _unprivileged() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _as(account: pwd.struct_passwd | None) -> list[str]:
    """Prefix that changes user and ties the server's life to ours."""
    setpriv = shutil.which("setpriv")
    if account is None:
        return [setpriv, "--pdeathsig", "QUIT", "--"] if setpriv else []
    assert setpriv, "setpriv (util-linux) is needed to run PostgreSQL from root"
    return [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--pdeathsig", "QUIT", "--"]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _await(running: PostgresServer, log: Path) -> None:
    """Until it answers, or has ended."""
    for _ in range(START_SECONDS * 10):
        try:
            psycopg.connect(running.admin, connect_timeout=5).close()
        except psycopg.OperationalError:
            try:
                running.process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            break
        else:
            return
    pytest.fail(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # fast shutdown
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # immediate
        process.wait(30)
