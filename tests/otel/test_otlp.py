"""What a collector gets, a process of its own that decodes OTLP: of an engine, and of the program."""

from __future__ import annotations

import asyncio
import base64
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.engine.clock import LoopClock
from reconciler.engine.effects import Effects
from reconciler.engine.loop import Engine
from reconciler.engine.parts import EngineParts
from reconciler.engine.settings import EngineSettings
from reconciler.engine.supervision import Supervisor
from reconciler.otel.export import Otlp
from reconciler.otel.settings import wanted
from reconciler.otel.work import ids_of
from reconciler.serve.metrics import ControllerCollector, Sources
from reconciler.store.sqlstore import open_store
from tests.background import eventually
from tests.engine.stage import declared
from tests.faults.harness import NoSecrets
from tests.kube.operating import RealTime
from tests.otel.collector import collector, plain
from tests.program import Program
from tests.world import KEEPER, FakeAgents, FakeVers

FAST = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "200", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
API, ONE = Key("Lieutenant", "default", "api"), Key("Task", "default", "one")


async def until(holds: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"never came true: {what}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def running(path: Path, otlp: Otlp) -> AsyncIterator[Engine]:
    """An engine in real time that tells by OTLP."""
    world, supervisor = RealTime(), Supervisor()
    store = open_store(path / "state.db")
    parts = EngineParts(
        EngineSettings(installation="i", resync_seconds=0.2, workers=4),
        FakeVers(world),
        FakeAgents(world),
        KEEPER,
        store,
        NoSecrets(),
        LoopClock(),
        Effects(None, otlp.spans),
        supervisor=supervisor,
    )
    engine = await Engine.open(parts)
    otlp.attach(engine)
    await engine.start()
    exported = ControllerCollector(Sources(lambda: engine, dict, lambda: True, supervisor=supervisor))
    try:
        async with otlp.exporting(exported.collect, supervisor):
            yield engine
    finally:
        await engine.stop()
        await store.aclose()


async def work(engine: Engine) -> str:
    """One task, done; its uid."""
    await engine.declarations.apply(declared(API, role="Keep it", profileRef={"name": "lightweight"}))
    await engine.declarations.apply(declared(ONE, lieutenantRef={"name": "api"}, prompt="a s3cret prompt"))
    await until(lambda: (item := engine.table.get(ONE)) is not None and item.obj.status.get("phase") == "Succeeded", "it is done")
    item = engine.table.get(ONE)
    assert item is not None
    return item.uid


def told_by(monkeypatch: pytest.MonkeyPatch, url: str, **more: str) -> Otlp:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **FAST, **more}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = wanted(environ)
    assert found is not None
    return Otlp(found, "1.0", "here")


@pytest.mark.slow
async def test_a_look_its_effects_and_the_task_hang_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector(tmp_path) as got:
        async with running(tmp_path, told_by(monkeypatch, got.url)) as engine:
            uid = await work(engine)
            await until(lambda: got.named("invoke_agent api"), "the task is told")
            await until(lambda: "gen_ai.client.token.usage" in got.metrics(), "and measured")
            counted = {name: metric for name, metric in got.metrics().items() if name.startswith("reconciler_")}
        spans = got.spans()
    trace_id, span_id = (number.to_bytes(size) for number, size in zip(ids_of(uid), (16, 8), strict=True))
    (task,) = (span for span in spans if span["name"] == "invoke_agent api")
    assert (base64.b64decode(task["traceId"]), base64.b64decode(task["spanId"])) == (trace_id, span_id)
    assert task["attributes"]["gen_ai.operation.name"] == "invoke_agent"
    assert task["attributes"]["gen_ai.usage.output_tokens"] == 5
    assert task["resource"]["service.name"] == "reconciler"
    assert task["resource"]["deployment.environment"] == "test"
    chats = [span for span in spans if span["name"].startswith("chat")]
    assert chats
    assert {span["parentSpanId"] for span in chats} == {task["spanId"]}
    (sent,) = (span for span in spans if span["name"] == "keeper.send")
    looks = {span["spanId"]: span for span in spans if span["name"].startswith("reconcile ")}
    look = looks[sent["parentSpanId"]]
    assert look["attributes"]["reconciler.name"] == "api"
    assert task["spanId"] in {link["spanId"] for link in look.get("links", [])}, "the look that sent the prompt links to its task"
    created = next(span for span in spans if span["name"] == "vers.create_vm")
    assert looks[created["parentSpanId"]]["traceId"] == created["traceId"]
    assert "s3cret" not in got.file.read_text(), "content is off"
    points = counted["reconciler_effect_seconds"]["histogram"]["dataPoints"]
    effects = {tuple(sorted(plain(point["attributes"]).items())): point for point in points}
    point = effects[("effect", "vers.create_vm"), ("outcome", "ok")]
    assert int(point["count"]) == engine.telemetry.effects["vers.create_vm", "ok"].count == 1, "one bookkeeping"
    assert {"reconciler_queue_depth", "reconciler_objects", "reconciler_otlp_waiting_spans"} <= set(counted)


@pytest.mark.slow
@pytest.mark.guarantee("G-60")
async def test_what_was_said_is_told_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector(tmp_path) as got:
        asked = told_by(monkeypatch, got.url, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true")
        async with running(tmp_path, asked) as engine:
            await work(engine)
            await until(lambda: got.named("invoke_agent api"), "the task is told")
        assert "a s3cret prompt" in got.named("invoke_agent api")[0]["attributes"]["gen_ai.input.messages"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["refuses", "hangs", "is dead"])
async def test_a_collector_that_does_not_take_anything_costs_spans_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    with collector(tmp_path, "hangs" if mode == "is dead" else mode) as got, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}" if mode == "is dead" else got.url
        otlp = told_by(monkeypatch, url, OTEL_BSP_MAX_QUEUE_SIZE="20", OTEL_EXPORTER_OTLP_TIMEOUT="60")
        async with running(tmp_path, otlp) as engine:
            await work(engine)
            await until(lambda: otlp._waiting.dropped > 0, "the oldest spans go")
            assert len(otlp._waiting) <= 20
            assert engine.converged() or engine.healthy()
            ending = time.monotonic()
        assert time.monotonic() - ending < 10, "it does not wait for the collector"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "lt.yaml").write_text("""
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec: {role: Keep it, profileRef: {name: lightweight}}
""")
    return Program(tmp_path, {"VERS_API_KEY": "x" * 100, "VERS_BASE_URL": "http://127.0.0.1:1", **FAST})


@pytest.mark.slow
def test_the_program_tells_what_the_variables_ask_for_and_stops_in_time(program: Program, tmp_path: Path) -> None:
    with collector(tmp_path) as got:
        program.env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": got.url, "OTEL_SERVICE_NAME": "fleet-a"}
        controller = program.background("run", "specs", log=tmp_path / "log")
        try:
            eventually(lambda: got.named("reconcile Lieutenant") and got.metrics(), "it tells")
        finally:
            controller.send_signal(signal.SIGTERM)
            assert controller.wait(10) == 0
        assert got.spans()[0]["resource"]["service.name"] == "fleet-a"
    with collector(tmp_path, "hangs") as got:
        program.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = got.url
        controller = program.background("run", "specs", log=tmp_path / "log2")
        eventually(lambda: "platform:" in (tmp_path / "log2").read_text(), "it runs")
        time.sleep(1)  # so that an export is under way
        begun = time.monotonic()
        controller.send_signal(signal.SIGTERM)
        assert controller.wait(30) == 0
        assert time.monotonic() - begun < 8


@pytest.mark.slow
def test_without_the_extra_it_is_said_and_everything_else_goes_on(program: Program, tmp_path: Path) -> None:
    shim = tmp_path / "shim" / "opentelemetry"
    shim.mkdir(parents=True)
    (shim / "__init__.py").write_text('raise ModuleNotFoundError("No module named \'opentelemetry\'", name="opentelemetry")\n')
    program.env["PYTHONPATH"] = f"{shim.parent}:{program.env.get('PYTHONPATH', '')}"
    program.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
    (tmp_path / "specs" / "lt.yaml").write_text("")
    done = program.full("run", "specs", "--once", "--timeout", "30")
    assert (done.returncode, "install reconciler[otel]" in done.stderr) == (0, True), done.stderr
    program.env["OTEL_EXPORTER_OTLP_PROTOCOL"] = "grpc"
    done = program.full("run", "specs", "--once", "--timeout", "30")
    assert (done.returncode, "OTEL_EXPORTER_OTLP_PROTOCOL" in done.stderr) == (64, True), done.stderr
