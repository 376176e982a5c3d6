"""Hostile requests, as they come: counts, ranges, paths, kinds of files, encodings, bodies without end. Memory stays below 500 MB,
every answer comes within five seconds, and so does the end after SIGTERM (G-65). A few examples each time, many where there is time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx2 as httpx
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from reconciler.vers.simulator.isolated import missing_for_isolation
from tests.simulator.test_simulator_limits import Simulated, resident, simulated

pytestmark = pytest.mark.guarantee("G-65")

PROMPT_S = 5.0
MOST_MEMORY = 500_000_000
NUMBERS = st.sampled_from(["0", "1", "2", "33", "2147483647", "2147483648", "9" * 40, "9" * 6000, "-1", "1e9", "٣", "", "NaN"])
KINDS = "/root/fifo /root/zero /root/loop /root/large /root/deep /dev/zero /dev/random /proc/self/status /proc/kmsg / .. /proc/self/fd/0"
LONG = ("", "/proc/1/root/etc/passwd", "/root/" + "n" * 300, "/d" * 3000, "/a/../" * 500)
PATHS = st.sampled_from([*KINDS.split(" "), *LONG]) | st.text(max_size=40).map(lambda text: "/" + text)
TEXTS = st.text(max_size=30) | st.sampled_from(["x" * 2_000_000, "\0", "\u202e", "é" * 5000, "$(id)", "'"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8)
BYTE_BY_BYTE = "while :; do printf x; done"
HEALTH = b"GET /health HTTP/1.1\r\n\r\n"
COMMANDS = st.sampled_from(
    (
        "cat /dev/zero",
        "yes",
        "head -c 8000000 /dev/zero",
        "cat ~/fifo",
        "kill -STOP $$",
        BYTE_BY_BYTE,
        "setsid sleep 99 &",
        "exec 1>&-; sleep 2",
        "trap '' TERM HUP; sleep 99",
        "ln -sf /dev/zero ~/zero; cd ~/../etc; rm -f environment; mkfifo environment",
    )
)
RAW = st.sampled_from(
    [
        (b"POST /api/v1/vm/new_root HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"4000\r\n" + b"x" * 16384 + b"\r\n"),
        (b"POST /api/v1/vm/new_root HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 2000),
        (b"PUT /api/v1/vm/x/files HTTP/1.1\r\ncontent-length: 25000000\r\n\r\n", b"[{}," * 4000),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 2000),
        (b"", HEALTH * 1000),
        (b"\x16\x03\x01", b"\0" * 4096),
    ]
)


@dataclass(frozen=True)
class Call:
    """One request; `{vm}` and `{commit}` stand for ids that exist. `body` as JSON, or `content` as it is."""

    method: str
    path: str
    body: object = None
    content: bytes | None = None


def _branches(number: str, by: str) -> Call:
    return Call("POST", f"/vm/{by}?count={quote(number)}")


def _command(script: str, by: str = "exec") -> Call:
    return Call("POST", f"/vm/{{vm}}/{by}", {"command": ["sh", "-c", script], "timeout_secs": 1})


CALLS = st.one_of(
    st.builds(_branches, NUMBERS, st.sampled_from(["branch/by_vm/{vm}", "branch/by_commit/{commit}", "{vm}/branch", "branch/by_tag/t"])),
    st.builds(lambda n, m: Call("GET", f"/commits?limit={quote(n)}&offset={quote(m)}"), NUMBERS, NUMBERS),
    st.builds(lambda n, m: Call("GET", f"/vm/{{vm}}/logs?offset={quote(n)}&max_entries={quote(m)}"), NUMBERS, NUMBERS),
    st.builds(lambda p: Call("GET", f"/vm/{{vm}}/files?path={quote(p, safe='')}"), PATHS),
    st.builds(
        lambda p, c, m: Call("PUT", "/vm/{vm}/files", {"path": p, "content_b64": c, "mode": m, "create_dirs": True}),
        PATHS,
        st.sampled_from(["", "eA==", "***", "A" * 4_000_000]),
        st.integers(0, 2**32),
    ),
    st.builds(_command, COMMANDS),
    st.builds(_command, COMMANDS, st.just("exec/stream")),
    st.builds(lambda a, e: Call("POST", "/vm/{vm}/exec", {"command": a, "env": e, "timeout_secs": 1}), VALUES, VALUES),
    st.builds(lambda v: Call("PATCH", "/vm/{vm}/label", {"labels": v}), VALUES),
    st.builds(lambda v: Call("PUT", "/env_vars", {"vars": v}), VALUES),
    st.builds(lambda v, w: Call("POST", "/vm/{vm}/commit", {"name": v, "description": w}), VALUES, VALUES),
    st.builds(lambda v: Call("POST", "/vm/new_root", {"vm_config": {"mem_size_mib": v, "labels": {"a": v}}}), VALUES),
    st.builds(
        lambda p, b: Call("POST", p, content=b),
        st.sampled_from(
            ["/vm/new_root", "/vm/from_commit", "/vm/{vm}/exec", "/repositories", "/%ff%00/%2e%2e", "/vm/{vm}/" + "x" * 20_000]
        ),
        st.binary(max_size=50) | st.sampled_from([b"[" * 900_000, "{}".encode("utf-16"), b"[" + b"{}," * 300_000 + b"{}]"]),
    ),
)


@pytest.fixture(scope="module", params=["process", pytest.param("isolated", marks=pytest.mark.slow)])
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    if request.param == "isolated" and (missing := missing_for_isolation()):
        pytest.skip(missing)
    with simulated("--guests", request.param) as started:
        with httpx.Client(base_url=started.api, headers=started.headers, timeout=60, verify=False) as api:
            started.names["vm"] = vm_id = api.post("/vm/new_root", json={"vm_config": {}}).json()["vm_id"]
            script = "cd; mkfifo fifo; ln -s /dev/zero zero; ln -s loop loop; truncate -s 3G large; mkdir deep"
            assert api.post(f"/vm/{vm_id}/exec", json={"command": ["sh", "-ec", script]}).json()["exit_code"] == 0
            started.names["commit"] = commit = api.post(f"/vm/{vm_id}/commit").json()["commit_id"]
            api.post("/commit_tags", json={"tag_name": "t", "commit_id": commit})
        yield started
        began = time.monotonic()
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(PROMPT_S) == 0
        assert time.monotonic() - began < PROMPT_S


PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # a shrunk example would take minutes, and say no more
FEW = 4
asked = given(calls=st.lists(CALLS, min_size=1, max_size=6), raw=RAW)


@settings(phases=PHASES, max_examples=FEW)
@asked
@example(calls=[_command(BYTE_BY_BYTE)] * 6, raw=(b"", HEALTH * 1000))
def test_nothing_that_is_asked_costs_more_than_it_may(victim: Simulated, calls: list[Call], raw: tuple[bytes, bytes]) -> None:
    _hold(victim, calls, raw)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(phases=PHASES)
@asked
def test_nothing_of_much_that_is_asked_costs_more_than_it_may(victim: Simulated, calls: list[Call], raw: tuple[bytes, bytes]) -> None:
    _hold(victim, calls, raw)


def _hold(victim: Simulated, calls: list[Call], raw: tuple[bytes, bytes]) -> None:
    asyncio.run(_ask(victim, calls, raw))
    assert resident(victim.process.pid) < MOST_MEMORY


async def _ask(victim: Simulated, calls: list[Call], raw: tuple[bytes, bytes]) -> None:
    async with httpx.AsyncClient(base_url=victim.api, headers=victim.headers, timeout=15, verify=False) as api:
        endless = asyncio.create_task(_send_without_end(victim, *raw))
        answers = await asyncio.gather(*(_in_time(api, victim, call) for call in calls))
        endless.cancel()
        await asyncio.gather(endless, return_exceptions=True)
        for call, answer in zip(calls, answers, strict=True):
            assert answer.status_code != 500 or "VM is" in answer.text, f"{call}: {answer.text[:300]}"
            assert "simulator defect" not in answer.text, call
        made = [row["vm_id"] for row in (await api.get("/vms")).json() if row["vm_id"] != victim.names["vm"]]
        await asyncio.gather(*(api.delete(f"/vm/{vm_id}") for vm_id in made))
        await api.put("/env_vars", json={"vars": {}, "replace": True})
        assert base64.b64decode((await api.get(f"/vm/{victim.names['vm']}/files?path=/etc/hosts")).json()["content_b64"])


async def _in_time(api: httpx.AsyncClient, victim: Simulated, call: Call) -> httpx.Response:
    began = time.monotonic()
    try:
        answer = await _call(api, victim, call)
    except httpx.HTTPError as exc:
        raise AssertionError(f"{call}: {exc!r}") from None
    asked_for = call.body.get("timeout_secs", 0) if isinstance(call.body, dict) else 0  # what it was told to wait for a command
    took = time.monotonic() - began
    assert took < PROMPT_S + asked_for, f"{call} took {took:.1f} s"
    return answer


async def _call(api: httpx.AsyncClient, victim: Simulated, call: Call) -> httpx.Response:
    path = call.path.replace("{vm}", victim.names["vm"]).replace("{commit}", victim.names["commit"])
    content = call.content
    if content is None and call.body is not None:
        content = json.dumps(call.body).encode()
    return await api.request(call.method, path, content=content)


async def _send_without_end(victim: Simulated, first: bytes, more: bytes) -> None:
    """Until it is cut off."""
    host, port = victim.url.removeprefix("http://").split(":")
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(first)
        with contextlib.closing(writer.transport):
            while True:
                writer.write(more)
                await writer.drain()
                await asyncio.sleep(0)
