"""Whatever a peer sends is understood or is a typed error at the boundary, in every decoder there is (G-65)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from reconciler.agent import bootstrap, execs, protocol
from reconciler.agent.keeper_client import KeeperClient
from reconciler.agent.transport import Duplex
from reconciler.core import conversation, times
from reconciler.core.keys import Json, Key
from reconciler.core.records import LieutenantRecord, TaskRecord
from reconciler.core.slot.claims import Owner
from reconciler.engine.effects import Effects
from reconciler.engine.supervision import Ended, Supervisor
from reconciler.errors import GuestUnreachable, ReconcilerError
from reconciler.sources.documents.reader import Reader
from reconciler.sources.files.stack import read_marker
from reconciler.sources.kube import client, lease, orphans, raw, restore
from reconciler.sources.kube import secrets as kube_secrets
from reconciler.sources.kube.seen import Seen
from reconciler.sources.kube.source import KubeSource, unreadable
from reconciler.vers import errors, models
from reconciler.vers.errors import Answer, Effect
from tests.kube.double import Double

HUGE = 10**400
ODD_WORDS = """9999999999 -1 nan inf 1e400 __class__ SIG_DFL SIGKILL accepted declined up exited ADDED ERROR AAAA A é ² Lieutenant Task
fleet.vers.sh/v1alpha1 0001-01-01T00:00:00+14:00"""
ODD = ODD_WORDS.split()
DATES = ["Sun, 06 Nov 1994 08:49:37 +9999999999", "Wed, 3 Apr 2002 12.34.56.78+0800"]
WORDS = st.one_of(st.text(st.characters(), max_size=20), st.sampled_from([*ODD, *DATES, "", "\0", "\ud800", "9" * 400, "9" * 5000]))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from([HUGE, -HUGE, 1 << 63, 1e308, -0.0]), WORDS)
NAMES = """vm_id vms state labels created_at deleted_at owner_id error commits id commit_id total name kind apiVersion metadata spec status
namespace uid resourceVersion generation finalizers annotations creationTimestamp deletionTimestamp items data binaryData object type code
message continue process seq event at ageMs exitCode signal stdout chunk verdict counters inside context prompt vm create session attempt
phase result usage conditions handled epoch role content timestamp secretKeyRef holderIdentity leaseDurationSeconds clock marks cost text
answer files checks reason"""
FIELDS = st.sampled_from(NAMES.split())
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(FIELDS, WORDS), inner, max_size=6)),
    max_leaves=25,
)
OBJECTS = st.dictionaries(FIELDS, VALUES, max_size=10)


def nested(depth: int, field: str = "spec") -> Any:
    """As deep as a decoder of ours lets through, and deeper than code that calls itself can go."""
    value: Any = 1
    for number in range(depth):
        value = [value] if number % 2 else {field: value}
    return value


DEEP = nested(900)
BYTES = [b"", b"\0", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b'{"a":"\\ud800"}', b'{"a":NaN}', b'{"a":1e999}', b"\xef\xbb\xbf{}"]
BYTES += [
    b'{"a":' + b"9" * 10_000 + b"}",
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'"' + b"\\u0000" * 10 + b'"',
    b'{"id":1,"ok":true}\xed\xa0\x80',
]

CHEAP = settings(max_examples=40, deadline=None, database=None, phases=[Phase.explicit, Phase.generate])

K = Key("Lieutenant", "default", "a")
OURS = "fleet.vers.sh/v1alpha1"
OWNER = Owner("default", "i")


def of_values() -> Iterator[tuple[str, Callable[[Any], object]]]:
    """Everything that reads what was decoded already."""
    for name in ("vm", "list_rows", "metadata", "created_id", "committed_id", "commits", "state", "timestamp"):
        yield f"vers {name}", getattr(models, name)
    yield "vers list", lambda value: models.Listing().add(value if isinstance(value, list) else [value], models.Listing())
    yield "keeper error", lambda value: protocol.error_of(value, "w")
    yield "keeper verdict", protocol.verdict_of
    yield "keeper process", lambda value: protocol.process_of(value, 1.0)
    yield "keeper agent", lambda value: protocol.agent_of(protocol.obj(value), "f", 1.0)
    yield "keeper exit", lambda value: execs.exit_code(protocol.obj(value))
    yield "keeper bytes", lambda value: protocol.binary({"data": value}, "data")
    yield "keeper counters", lambda value: protocol.unwritten_of(protocol.obj(value))
    yield "message", lambda value: conversation.read_line(json.dumps({"type": "message", "message": value}).encode(), 0)
    yield "kube references", lambda value: list(raw.references(value))
    yield "kube Secret", lambda value: kube_secrets._values("secrets", value if isinstance(value, dict) else {})
    yield "kube ConfigMap", lambda value: kube_secrets._values("configmaps", value if isinstance(value, dict) else {})
    yield "lease", lambda value: lease.notes_of(value if isinstance(value, dict) else {})
    yield "restored lieutenant", lambda value: restore.lieutenant(K, "u", protocol.obj(value), {}, OWNER)
    yield "restored task", lambda value: restore.task(K, "u", protocol.obj(value))
    yield "further", lambda value: restore.further(TaskRecord(), protocol.obj(value))
    yield "acknowledged", lambda value: restore.acknowledged(LieutenantRecord(), {}, protocol.obj(value))
    yield "kube object", kube_object


def kube_object(value: Any) -> object:
    """What the operator asks of an object before it is taken in."""
    obj = cast(Json, value) if isinstance(value, dict) else {}
    source = KubeSource(cast(Any, Double(cast(Any, None))), cast(Any, SimpleNamespace(effects=Effects())), cast(Any, None), Seen(), "u")
    source.on_event("ADDED", obj)
    source.on_event("MODIFIED", {**obj, "more": 1})
    for ask in (raw.key_of, raw.uid, raw.version, raw.generation, raw.deleting, raw.spec, raw.status, raw.finalizers, raw.ours):
        ask(obj)
    unreadable(K, obj)
    source.on_event("DELETED", obj)
    return raw.older(obj, obj), raw.intake(K, obj)


DECODERS = dict(of_values())
EXPECTED = (ReconcilerError, models.Malformed)


@pytest.mark.guarantee("G-65")
@settings(CHEAP, max_examples=100)
@given(st.one_of(OBJECTS, VALUES, OBJECTS.map(lambda value: {"metadata": value, "spec": value, "status": value, "kind": "Task"})))
@example({"kind": ["Lieutenant"], "apiVersion": {}, "metadata": {"uid": [], "resourceVersion": "²", "generation": HUGE}})
@example({"data": {"a": "é", "b": HUGE, "c": "\ud800"}, "exitCode": HUGE, "signal": "__class__", "state": "up", "ageMs": HUGE})
@example({"vm_id": "\0", "created_at": "0001-01-01T00:00:00+14:00", "state": "running"})
def test_every_value_is_understood_or_a_typed_error(value: Any) -> None:
    """By each of them: to think of a value costs more than all who read it."""
    for name, decode in DECODERS.items():
        try:
            with suppress(*EXPECTED):
                decode(deepcopy(value))
        except BaseException as error:
            error.add_note(f"decoder: {name}")
            raise


@pytest.mark.guarantee("G-65")
@pytest.mark.parametrize("name", sorted(DECODERS))
def test_what_is_deep_is_understood_or_a_typed_error(name: str) -> None:
    for deep in (DEEP, {"vm": DEEP, "session": DEEP, "metadata": DEEP, "spec": DEEP, "status": DEEP, "kind": "Task", "apiVersion": OURS}):
        with suppress(*EXPECTED):
            DECODERS[name](deep)


def of_bytes() -> Iterator[tuple[str, Callable[[bytes], object]]]:
    """Everything that reads what came over a wire or out of a file."""

    def answer(data: bytes) -> object:
        told = data.decode("latin-1")
        headers = {"content-type": told, "retry-after": told, "date": told}
        for status in (200, 400, 429, 500, 503):
            one = Answer(status, headers, data)
            for effect in Effect:
                errors.refusal(effect, "GET /", one)
        return one.json(), one.text(), times.http_date(told), times.seconds(told)

    yield "vers answer", answer
    yield "keeper line", protocol.decode
    yield "keeper lines", lambda data: protocol.Lines().add(data)
    yield (
        "kube failure",
        lambda data: [client.failed(s, data, "GET /", {"Retry-After": data.decode("latin-1")}) for s in (400, 404, 429, 500)],
    )
    yield "inspection", lambda data: bootstrap.parse_inspect(b"clock " + data + b"\nclaim " + data, 1.0, 2.0)
    yield "session", lambda data: conversation.parse(data + b"\n", 0)
    yield "orphan answer", lambda data: orphans.answered_at(data.decode("latin-1"))
    yield "document", lambda data: list(Reader().read(data.decode("utf-8", "replace"), "f.yaml"))
    yield "JSON document", lambda data: list(Reader().read(data.decode("utf-8", "replace"), "f.json"))
    yield "marker", lambda data: read_marker(data.decode("utf-8", "replace"), "f", "r")


PARSERS = dict(of_bytes())
LINES = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: json.dumps(value).encode()),
    WORDS.map(lambda word: word.encode(errors="replace")),
    st.text(st.sampled_from("{}[]:,-?&*!|>'\"%@` \n\tab01~.<"), max_size=40).map(str.encode),
)


@pytest.mark.guarantee("G-65")
@pytest.mark.parametrize("name", sorted(PARSERS))
def test_all_bytes_are_understood_or_a_typed_error(name: str) -> None:
    @CHEAP
    @given(LINES)
    def holds(data: bytes) -> None:
        with suppress(*EXPECTED):
            PARSERS[name](data)

    for data in BYTES:
        with suppress(*EXPECTED):
            PARSERS[name](data)
    holds()


@given(st.one_of(st.floats(), st.sampled_from([1e308, -1e308, float("nan"), float("inf")])))
def test_every_number_of_seconds_can_be_written_down(at: float) -> None:
    for write in (times.timestamp, times.timestamp_ms, times.timestamp_us):
        assert write(at).endswith("Z")


def test_what_no_store_can_hold_is_replaced_in_what_a_keeper_says() -> None:
    assert protocol.decode(b'{"a\\u0000": ["x\\ud800", {"b": "\\uDFFF\xed\xa0\x80"}]}') == {"a\ufffd": ["x?", {"b": "?\ufffd\ufffd\ufffd"}]}


# --- one connection -------------------------------------------------------------------------------------------------------------


class Says:
    """A keeper that says these pieces and then nothing more."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.closed = False

    async def read(self, limit: int = 0) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        await asyncio.Event().wait()
        return b""

    async def write(self, data: bytes) -> None:
        return None

    async def close(self) -> None:
        self.closed = True


@pytest.mark.guarantee("G-65")
@pytest.mark.parametrize(
    "said", [*BYTES[3:5], b"\xff\n", b"[1]\n", b'{"error": {"code": []}}\n', b'{"id": 1, "error": [' + b"[" * 5000 + b"\n"]
)
async def test_whatever_a_keeper_says_ends_its_connection_in_order(said: bytes) -> None:
    lost: list[int] = []
    keeper = KeeperClient(cast(Duplex, Says(said + b"\n")), "w", lambda event: None, lambda: lost.append(1))
    with pytest.raises(ReconcilerError):
        await keeper.request("observe", 1, 5.0)
    assert keeper.closed
    assert lost == [1]


@pytest.mark.guarantee("G-66")
async def test_a_defect_in_what_hears_a_keeper_ends_the_connection_and_is_counted_and_told() -> None:
    """It comes back with the next use: whoever was told that it is lost connects anew."""
    supervisor, ended, lost = Supervisor(), list[Ended](), list[int]()

    async def told(one: Ended) -> None:
        ended.append(one)

    def hears(event: Json) -> None:
        raise KeyError("a defect")

    supervisor.subscribe(told)
    duplex = Says(b'{"event": {"seq": 1}}\n')
    keeper = KeeperClient(cast(Duplex, duplex), "w", hears, lambda: lost.append(1), supervisor)
    with pytest.raises(GuestUnreachable, match="internal error: KeyError"):
        await keeper.request("observe", 1, 5.0)
    await asyncio.sleep(0.01)
    assert (supervisor.restarts["keeper connection"], lost, keeper.closed, duplex.closed) == (1, [1], True, True)
    assert [(one.task, one.comes_back) for one in ended] == [("keeper connection", False)]
