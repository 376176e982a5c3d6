"""How one notice is delivered: to a real HTTP server, and to real commands."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.keys import Key
from reconciler.core.notices import Notice, cloud_event
from reconciler.errors import NotFound, ReconcilerError, Refused, TimedOut, Unreachable
from reconciler.notify.settings import read_sinks
from reconciler.notify.ways import Declined, Later, Values, Way, examine, way_of
from tests.faults.harness import NoSecrets
from tests.notify.receiver import LOST, Web, web

KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
TOKEN = "a-token-that-nobody-may-see"
NOTICE = Notice("0123456789abcdef", "failed", "task.failed", Key("Task", "team", "t"), "uid", "AcceptanceFailed", "föö <b>", 1796032800.0)
EVENT = cloud_event(NOTICE, "installation", "prod")


class OneSecret(NoSecrets):
    def get(self, namespace: str, name: str, key: str) -> str | None:
        return TOKEN if (namespace, name, key) == ("ops", "hook", "token") else None


def way(environ: dict[str, str] | None = None, **table: Any) -> Way:
    (sink,) = read_sinks([{"name": "ops", **table}], "c.toml")
    variables = {"KEY": KEY, "PATH": os.environ["PATH"], **(environ or {})}
    return way_of(sink, Values(OneSecret(), variables), variables, time.time)


@pytest.fixture
def receiver() -> Iterator[Web]:
    with web() as running:
        yield running


SIGNED: dict[str, Any] = {"key-from": {"env": "KEY"}}


async def tried(one: Way) -> ReconcilerError | None:
    try:
        await one.deliver(EVENT)
    except ReconcilerError as error:
        return error
    finally:
        await one.aclose()
    return None


async def test_a_webhook_gets_a_signed_cloud_event(receiver: Web) -> None:
    token = {"token-from": {"secret": "ops/hook/token"}}
    assert await tried(way(url=receiver.url, **SIGNED, **token)) is None
    (got,) = receiver.got
    assert got.path == "/hook"
    assert got.event == EVENT
    assert got.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert got.headers["webhook-id"] == NOTICE.id
    assert got.headers["authorization"] == f"Bearer {TOKEN}"
    at = got.headers["webhook-timestamp"]
    assert abs(int(at) - time.time()) < 60
    signed = hmac.new(b"k" * 32, f"{NOTICE.id}.{at}.".encode() + got.body, hashlib.sha256).digest()
    assert got.headers["webhook-signature"] == f"v1,{base64.b64encode(signed).decode()}"


async def test_a_proxy_of_the_environment_is_used_and_not_for_this_host(receiver: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", receiver.url.removesuffix("/hook"))
    assert await tried(way(url="http://hooks.example.com/there", insecure=True, **SIGNED)) is None
    assert receiver.got.pop().path == "http://hooks.example.com/there"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await tried(way(url=receiver.url, **SIGNED)) is None


async def test_an_unsigned_webhook_has_no_signature(receiver: Web) -> None:
    assert await tried(way(url=receiver.url, unsigned=True)) is None
    assert "webhook-signature" not in receiver.got[0].headers


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, type(None)),
        (202, type(None)),
        (301, Unreachable),
        (400, Declined),
        (401, Unreachable),
        (404, Unreachable),
        (413, Declined),
        (422, Declined),
        (429, Unreachable),
        (500, Unreachable),
        (503, Unreachable),
        (LOST, Unreachable),
    ],
)
async def test_what_an_answer_means(receiver: Web, status: int, kind: type) -> None:
    receiver.then = status
    receiver.headers = {"Location": receiver.url}
    assert type(await tried(way(url=receiver.url, **SIGNED))) is kind
    assert len(receiver.got) == 1, "neither repeated here nor redirected"


@pytest.mark.parametrize(("asked", "wait"), [("7", 7.0), ("99999", 3600.0), ("soon", None), ("-3", None), ("9" * 400, None)])
async def test_a_receiver_may_ask_to_wait_within_bounds(receiver: Web, asked: str, wait: float | None) -> None:
    receiver.then, receiver.headers = 503, {"Retry-After": asked}
    error = await tried(way(url=receiver.url, **SIGNED))
    assert (error.after if isinstance(error, Later) else None) == wait


async def test_a_receiver_that_does_not_answer_is_left_after_its_time(receiver: Web) -> None:
    receiver.pause.clear()
    assert isinstance(await tried(way(url=receiver.url, **SIGNED, **{"timeout-seconds": 0.3})), TimedOut)


@pytest.mark.guarantee("G-60")
async def test_neither_address_nor_key_nor_token_is_in_an_error(receiver: Web) -> None:
    receiver.then = 500
    hidden = f"{receiver.url}/T0KEN-IN-THE-PATH"
    values = {
        "HOOK": hidden,
        "BAD": "http://127.0.0.1:1/T0KEN-IN-THE-PATH",
        "TOKEN": f"{TOKEN}\nX-Other: 1",
        "SHORT": "k3y",
        "FTP": "ftp://T0KEN",
    }
    tables: list[dict[str, Any]] = [
        {"url-from": {"env": "HOOK"}, **SIGNED, "token-from": {"secret": "ops/hook/token"}},
        {"url-from": {"env": "BAD"}, **SIGNED},
        {"url-from": {"env": "FTP"}, **SIGNED},
        {"url-from": {"env": "HOOK"}, "key-from": {"env": "SHORT"}},
        {"url-from": {"env": "HOOK"}, **SIGNED, "token-from": {"env": "TOKEN"}},
    ]
    for table in tables:
        error = await tried(way(values, **table))
        assert error is not None
        assert error.__context__ is None or error.__suppress_context__
        for secret in ("T0KEN", TOKEN, KEY, "k3y"):
            assert secret not in str(error), table


@pytest.mark.guarantee("G-60")
def test_a_value_in_a_file_is_read_at_each_use_and_only_if_nobody_else_may(tmp_path: Path) -> None:
    file = tmp_path / "key"
    one = way(url="https://example.com/", **{"key-from": {"file": str(file)}})
    with pytest.raises(NotFound):
        examine(one)  # type: ignore[arg-type]
    file.write_text(KEY)
    file.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        examine(one)  # type: ignore[arg-type]
    file.chmod(0o600)
    examine(one)  # type: ignore[arg-type]
    file.write_bytes(b"\xff" * 40)
    with pytest.raises(Refused, match="UTF-8"):
        examine(one)  # type: ignore[arg-type]
    file.write_bytes(b"x" * (1 << 20))
    with pytest.raises(Refused, match="64 KiB"):
        examine(one)  # type: ignore[arg-type]
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(Refused, match="no file"):
        examine(one)  # type: ignore[arg-type]


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


async def test_a_command_gets_the_event_on_its_input_and_nothing_of_ours_in_its_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = f"import os,sys,json; json.dump([sys.stdin.read(), dict(os.environ), sys.argv], open({str(out)!r}, 'w'))"
    hostile = ["$(touch owned)", "; touch owned", "a b"]
    one = way({"VERS_API_KEY": "secret", "WANTED": "yes"}, command=[*script(text), *hostile], env=["WANTED"])
    assert await tried(one) is None
    said, environ, argv = json.loads(out.read_text())
    assert json.loads(said) == EVENT
    assert argv[1:] == hostile, "one word each, read by no shell"
    assert environ["RECONCILER_NOTICE"] == NOTICE.id
    assert environ["WANTED"] == "yes"
    assert "VERS_API_KEY" not in environ


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("raise SystemExit(0)", type(None)),  # without reading its input
        ("raise SystemExit(3)", Unreachable),
        ("import os; os.kill(os.getpid(), 9)", Unreachable),
        ("import time; time.sleep(60)", TimedOut),
    ],
)
async def test_what_the_end_of_a_command_means(text: str, kind: type) -> None:
    assert type(await tried(way(command=script(text), **{"timeout-seconds": 5.0 if kind is not TimedOut else 0.5}))) is kind


async def test_a_command_that_is_not_there_is_told_and_tried_again() -> None:
    assert isinstance(await tried(way(command=["no-such-program-anywhere"])), NotFound)
