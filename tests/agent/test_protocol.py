"""The words of the keeper's protocol, and the fixed scripts' input and output: without any process."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import tarfile
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.agent import bootstrap, protocol
from reconciler.agent.bootstrap import GuestLayout, KeeperLimits, local_layout, parse_inspect
from reconciler.agent.keeper_client import KeeperClient
from reconciler.agent.protocol import KEEPER_VERSION, Lines, decode, encode, error_of, process_of, verdict_of
from reconciler.agent.toolchain import PI_VERSION
from reconciler.core.keys import Json, JsonValue
from reconciler.core.snapshot.agent import Accepted, Declined, Exited, Lost, NotStarted, Unanswered, Unheard, Up
from reconciler.errors import Conflict, GuestFailed, GuestUnreachable, ReconcilerError, StaleEpoch


def test_only_what_a_person_can_do_something_about_counts_as_trouble() -> None:
    assert protocol.unwritten_of({"counters": {"clientBroke": 1, "tornTailRepaired": 3, "failedRequest": 2}}) == 0
    assert protocol.unwritten_of({"counters": {"eventNotWritten": 2, "stateNotWritten": 1, "clientBroke": 1}}) == 3
    assert protocol.unwritten_of({}) == 0


def test_the_keepers_version_says_which_program_it_is() -> None:
    expected = f"{protocol.PROTOCOLS[-1]}-{bootstrap.keeper_digest()}"
    assert expected == KEEPER_VERSION, f'the keeper changed: set KEEPER_VERSION to "{expected}"'


def test_every_command_of_the_keeper_is_defined_once() -> None:
    """In JavaScript a second handler of the same name silently takes the place of the first."""
    text = (Path(bootstrap.__file__).parent / "keeper" / "server.mjs").read_text("utf-8")
    names = re.findall(r'^  (?:async )?"?([\w.]+)"?\(\{', text, re.MULTILINE)
    assert {"send", "files.digest", "dir.digest"} <= set(names)
    assert sorted(names) == sorted(set(names))


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.binary(max_size=5), st.data())
def test_lines_come_whole_whatever_the_pieces(lines: list[bytes], rest: bytes, data: st.DataObject) -> None:
    rest = rest.replace(b"\n", b"")
    stream = b"".join(line + b"\n" for line in lines) + rest
    split, found, at = Lines(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream)))
        found += split.add(stream[at : at + size])
        at += size
    assert found == lines
    assert split.add(b"\n") == [rest]


def test_a_null_is_never_written() -> None:
    assert encode({"id": 1, "epoch": None, "x": "\u2028é"}) == '{"id": 1, "x": "\u2028é"}\n'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        encode({"x": float("nan")})


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[]", b"null", b"\xff"])
def test_what_is_no_object_is_no_keeper(line: bytes) -> None:
    with pytest.raises(GuestUnreachable, match="no JSON"):
        decode(line)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "StaleEpoch", "message": "m"}, StaleEpoch),
        ({"code": "NotAnswering", "message": "m"}, GuestUnreachable),
        ({"code": "Deadline", "message": "m"}, GuestUnreachable),
        ({"code": "NotRunning", "message": "m"}, GuestUnreachable),
        ({"code": "Foreign", "message": "m"}, GuestUnreachable),
        ({"code": "AlreadyRunning", "message": "m"}, Conflict),
        ({"code": "NoCommonProtocol", "message": "m"}, GuestFailed),
        ({"code": "WhateverComes", "message": "m"}, GuestFailed),
        (None, GuestFailed),
    ],
)
def test_a_refusal_is_the_right_kind_of_error(error: JsonValue, kind: type[ReconcilerError]) -> None:
    made = error_of(error, "keeper of x")
    assert type(made) is kind
    assert made.where == "keeper of x"


def test_an_end_of_pi_carries_exit_code_and_last_words() -> None:
    made = error_of({"code": "Exited", "message": "it ended", "exitCode": 1, "stderrTail": "bad flag"}, "w")
    assert isinstance(made, GuestFailed)
    assert (made.exit_code, made.tail) == (1, "bad flag")


def test_verdicts() -> None:
    read = [
        verdict_of({"state": s, "disposition": "d", "error": "e", "why": "w"})
        for s in ("accepted", "declined", "lost", "unheard", "unanswered")
    ]
    assert read == [Accepted("d"), Declined("e"), Lost("w"), Unheard(), Unanswered()]
    for unknown in ({"state": "maybe"}, {}, None, []):
        with pytest.raises(GuestFailed, match="not known here"):
            verdict_of(unknown)


@pytest.mark.guarantee("G-12")
def test_a_start_is_told_by_the_controllers_clock() -> None:
    up = process_of(
        {"state": "up", "pid": 7, "startedAt": 99e9, "ageMs": 1500, "launchHash": "h", "responsive": True, "busy": False}, 1000.0
    )
    assert up == Up(7, 998.5, "h")


@pytest.mark.guarantee("G-04")
def test_what_is_not_said_about_pi_is_not_taken_for_good() -> None:
    up = process_of({"state": "up"}, 0.0)
    assert isinstance(up, Up)
    assert (up.responsive, up.busy) == (False, True)
    assert process_of({"state": "none"}, 0.0) == NotStarted()
    ended = process_of({"state": "exited", "at": 5, "exitCode": 0, "stderrTail": "t", "launchHash": "h"}, 0.0)
    assert ended == Exited(5.0, 0, None, "t", "h")
    with pytest.raises(GuestFailed, match="not known here"):
        process_of({"state": "resting"}, 0.0)


# --- scripts -------------------------------------------------------------------------------------------------------------------


def inspected(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_inspect_reads_what_the_script_printed() -> None:
    claim = base64.b64encode(b'{"vmId": "v", "epoch": "3"}').decode()
    output = inspected(
        "clock 1007.5", "machine x86_64", "node v22.19.0", f"pi {PI_VERSION}", "keeper keeper-1-abc", f"claim {claim}", "marks bm90IGpzb24="
    )
    found = parse_inspect(output, 1000.0, 1005.0)
    assert found.machine == "x86_64"
    guest = found.guest
    assert (guest.clock_skew, guest.claim, guest.node, guest.pi, guest.keeper) == (
        5.0,
        {"vmId": "v", "epoch": "3"},
        "v22.19.0",
        PI_VERSION,
        "1-abc",
    )
    assert dict(guest.marks) == {}


@pytest.mark.parametrize("node", ["", "v20.20.2", "v22.18.9", "nonsense", "v22"])
@pytest.mark.parametrize("pi", ["", "1.5.1", "0.58.3", "Error: nope"])
def test_a_node_or_pi_that_will_not_do_counts_as_missing(node: str, pi: str) -> None:
    guest = parse_inspect(inspected("clock 1", f"node {node}", f"pi {pi}"), 0.0, 0.0).guest
    assert (guest.node, guest.pi, guest.claim, guest.keeper) == (None, None, None, None)


@pytest.mark.parametrize("output", [b"", b"clock\n", b"clock x\n", b"\xff\n", b"Welcome!\n"])
def test_a_machine_that_tells_no_time_is_an_error(output: bytes) -> None:
    with pytest.raises(GuestFailed, match="time"):
        parse_inspect(output, 0.0, 0.0)


def test_a_value_for_a_script_is_one_line() -> None:
    assert bootstrap.lines("/a b", "$(x)") == b"/a b\n$(x)\n"
    for bad in ("a\nb", "a\0b"):
        with pytest.raises(GuestFailed, match="line break"):
            bootstrap.lines("fine", bad)


VENDORED = {f"vendor/{name}" for name in ("LICENSES", "tree-sitter-bash.wasm.gz", "web-tree-sitter.mjs", "web-tree-sitter.wasm.gz")}


def test_the_keepers_program_travels_whole_and_the_same_each_time() -> None:
    bundle = bootstrap.keeper_bundle()
    assert bundle == bootstrap.keeper_bundle()
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        assert {m.name for m in tar} == {p.name for p in (Path(bootstrap.__file__).parent / "keeper").glob("*.mjs")} | VENDORED
    assert "main.mjs" in bootstrap.keeper_files()


def test_a_local_place_has_a_socket_path_that_fits(tmp_path: Path) -> None:
    near = local_layout(Path("/var/lib/x"), "a")
    assert near.socket_path.startswith("/var/lib/x/")
    assert near != local_layout(Path("/var/lib/x"), "b")
    far = local_layout(tmp_path / ("d" * 100), "a", KeeperLimits(segments=2))
    assert len(far.socket_path.encode()) <= 107
    assert not far.own_clock
    assert bootstrap.start_input(far).decode().splitlines()[2:] == ["1048576", "2", "1073741824"]
    assert GuestLayout().socket_path == "/var/lib/reconciler/sock"


# --- the client --------------------------------------------------------------------------------------------------------------------


class Wire:
    """The keeper's side of a connection, played by the test."""

    def __init__(self) -> None:
        self.sent: list[Json] = []
        self.incoming: asyncio.Queue[bytes | ReconcilerError] = asyncio.Queue()
        self.closed = False

    async def read(self, limit: int = 0) -> bytes:
        data = await self.incoming.get()
        if isinstance(data, ReconcilerError):
            raise data
        return data

    async def write(self, data: bytes) -> None:
        self.sent.append(json.loads(data))

    async def close(self) -> None:
        self.closed = True

    def say(self, message: Json) -> None:
        self.incoming.put_nowait(json.dumps(message).encode() + b"\n")


def client(wire: Wire, events: deque[Json], lost: list[int]) -> KeeperClient:
    return KeeperClient(wire, "w", events.append, lambda: lost.append(1))


async def asked(wire: Wire, count: int) -> None:
    async with asyncio.timeout(10):
        while len(wire.sent) < count:  # noqa: ASYNC110 - the wire has no event
            await asyncio.sleep(0)


async def test_answers_find_their_requests_in_any_order() -> None:
    wire, events = Wire(), deque[Json]()
    it = client(wire, events, [])
    asking = [asyncio.create_task(it.request("op", 1, 10.0, n=n)) for n in range(3)]
    await asked(wire, 3)
    wire.say({"event": {"seq": 1}})
    for request in reversed(wire.sent):
        wire.say({"id": request["id"], "ok": True, "n": request["n"]})
    wire.say({"id": 99, "ok": True})
    assert [(await a)["n"] for a in asking] == [0, 1, 2]
    assert list(events) == [{"event": {"seq": 1}}]
    await it.close()
    assert wire.closed


@pytest.mark.parametrize("end", [b"", b"garbage\n", GuestUnreachable("cut")])
async def test_a_lost_connection_ends_every_request_once(end: bytes | ReconcilerError) -> None:
    wire, lost = Wire(), list[int]()
    it = client(wire, deque(), lost)
    asking = [asyncio.create_task(it.request("op", 1, 10.0)) for _ in range(3)]
    await asked(wire, 3)
    wire.incoming.put_nowait(end)
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(r) for r in results] == [GuestUnreachable] * 3
    await it.ended(10.0)
    assert it.closed
    await asyncio.sleep(0)
    assert lost == [1]
    assert wire.closed


async def test_a_cancelled_request_harms_no_other() -> None:
    wire = Wire()
    it = client(wire, deque(), [])
    first = asyncio.create_task(it.request("op", 1, 10.0))
    second = asyncio.create_task(it.request("op", 1, 10.0))
    await asked(wire, 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    for request in wire.sent:
        wire.say({"id": request["id"], "ok": True})
    assert (await second)["ok"] is True
    await it.close()
