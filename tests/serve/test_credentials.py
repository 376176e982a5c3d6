"""The token and sessions; who listens where; what a connection may keep open."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
from pathlib import Path

import httpx2 as httpx
import pytest

from reconciler.cli.listen import listening_of
from reconciler.errors import ReconcilerError, Refused, UsageError
from reconciler.serve import server
from reconciler.serve.credentials import SESSION_SECONDS, Credentials, is_own, peer_uid, token_of
from reconciler.serve.http import Listening
from reconciler.serve.server import Address, Tls
from tests.serve.rig import BEARER, TOKEN, fleet_served, small_fleet


def credentials(now: float = 0.0) -> Credentials:
    return Credentials(TOKEN, True, is_own, lambda: now)


@pytest.mark.guarantee("G-64")
def test_a_session_holds_for_its_time_and_under_its_token() -> None:
    cookie = credentials().open_session()
    assert credentials().session_holds(cookie)
    assert credentials(SESSION_SECONDS - 1).session_holds(cookie)
    assert not credentials(SESSION_SECONDS + 1).session_holds(cookie)
    assert not Credentials(TOKEN + "x", True, is_own, lambda: 0.0).session_holds(cookie)
    later = f"9{cookie}"
    for forged in (later, cookie[:-1], cookie + "0", "", "..", f"{10**11}.x.{cookie.rpartition('.')[2]}", "é.é.é"):
        assert not credentials().session_holds(forged)
    assert TOKEN not in cookie


@pytest.mark.guarantee("G-64")
def test_the_mark_of_a_form_is_that_of_its_session() -> None:
    one, other = credentials().open_session(), credentials().open_session()
    assert credentials().form_is_ours(one, credentials().form_mark(one))
    assert not credentials().form_is_ours(other, credentials().form_mark(one))
    assert not credentials().form_is_ours(one, "")


@pytest.mark.guarantee("G-60")
def test_credentials_show_no_token() -> None:
    assert TOKEN not in repr(credentials())


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [("short", 0o600, "shorter"), (TOKEN, 0o604, "everybody"), ("a token with blanks", 0o600, "header"), ("ü" * 20, 0o600, "header")],
)
def test_a_file_with_a_bad_token_is_refused(tmp_path: Path, content: str, mode: int, says: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(UsageError, match=says) as refused:
        token_of(tmp_path, {}, file)
    assert TOKEN not in str(refused.value)


def test_a_token_is_given_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    assert token_of(tmp_path, {"RECONCILER_HTTP_TOKEN": "another-one-of-some-length"}, file) == TOKEN
    with pytest.raises(UsageError, match="can't be read"):
        token_of(tmp_path, {}, tmp_path / "nothing")


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_tells_whose_the_other_end_is(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        assert host == "::1", "this host has no IPv6"
        return
    with listener, socket.create_connection(listener.getsockname()[:2]) as client:
        ends = client.getsockname()[:2], listener.getsockname()[:2]
        assert peer_uid(*ends) == os.geteuid()
        assert is_own(*ends)
        assert peer_uid((host, 1), ends[1]) is None


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("0.0.0.0:0", None, None, None, False), Refused),
        (("[::]:0", None, None, None, False), Refused),
        (("fleet.example.com:80", None, None, None, False), Refused),
        (("", None, None, None, True), UsageError),
        (("", Path("t"), None, None, False), UsageError),
        (("127.0.0.1:0", None, Path("c"), None, False), UsageError),
        (("everywhere", None, None, None, False), UsageError),
    ],
)
def test_what_would_be_read_on_its_way_is_refused_before_anything_begins(
    words: tuple[str, Path | None, Path | None, Path | None, bool], error: type[ReconcilerError]
) -> None:
    with pytest.raises(error) as refused:
        listening_of(*words)
    assert refused.value.remedy


def test_other_hosts_are_served_with_tls_or_where_somebody_says_so() -> None:
    assert listening_of("0.0.0.0:0", None, None, None, True) == Listening(Address("0.0.0.0", 0), None, True)
    with_tls = listening_of("0.0.0.0:0", None, Path("c"), Path("k"), False)
    assert with_tls is not None
    assert with_tls.tls == Tls(Path("c"), Path("k"))
    assert listening_of("", None, None, None, False) is None


def certified(where: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    certificate, key = where / "c.pem", where / "k.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*words, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


async def test_tls_is_spoken_where_it_is_asked_for(tmp_path: Path) -> None:
    certificate, key = certified(tmp_path)
    where = Listening(Address("127.0.0.1", 0), Tls(certificate, key))
    async with fleet_served(tmp_path / "state", small_fleet(), listening=where) as served:
        trust = ssl.create_default_context(cafile=certificate)
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{served.port}", verify=trust, trust_env=False) as http:
            assert (await http.get("/api/v1/lieutenants", headers=BEARER)).status_code == 200
    key.write_text("no key")
    with pytest.raises(UsageError, match="can't be used"):
        async with fleet_served(tmp_path / "other", small_fleet(), listening=where):
            pass


@pytest.mark.guarantee("G-65")
@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /api/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /ag"])
async def test_a_connection_that_says_nothing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    async with fleet_served(tmp_path, small_fleet()) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(sent)
        async with asyncio.timeout(15):
            try:
                while await reader.read(65536):
                    pass
            except ConnectionError:
                pass
        writer.close()


@pytest.mark.guarantee("G-64")
async def test_every_answer_tells_browsers_to_run_nothing_else(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet()) as served:
        for path in ("/healthz", "/api/v1", "/api/v1/nothing", "/nothing"):
            headers = (await served.http.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
