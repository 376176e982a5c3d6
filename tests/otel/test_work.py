"""A task as spans, and what the standard variables ask for: tables."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from reconciler.core.keys import Key
from reconciler.core.messages import Message, ToolCall, Usage
from reconciler.core.records import Attempt, TaskRecord
from reconciler.engine.ports import StoredObject
from reconciler.errors import UsageError
from reconciler.otel.metrics import converted
from reconciler.otel.settings import CONTENT, Wanted, wanted
from reconciler.otel.work import MOST, Agent, ids_of, work_of

AGENT = Agent(Key("Lieutenant", "team", "api"), "uid-api", "anthropic/claude-opus-5")
END = "http://127.0.0.1:4318"


def task(**record: object) -> StoredObject:
    known = TaskRecord(
        phase="Succeeded", reason="Completed", attempt=2, session="s-1", delivering_at=100.0, finished_at=160.0, answer="done"
    )
    made = known.but(attempts=(Attempt(number=1, reason="ModelError", message="secret text"),), stop_reason="stop", **record)
    return StoredObject(
        Key("Task", "team", "one"),
        "uid-one",
        1,
        3,
        90.0,
        spec={"prompt": "say s3cret", "lieutenantRef": {"name": "api"}},
        record=made.dump(),
    )


TURN = (
    Message(
        "a",
        10,
        "assistant",
        "let me s3cret",
        "toolUse",
        usage=Usage(10, 5, 100, 7),
        at=110.0,
        calls=(ToolCall("c1", "bash", "cat s3cret"),),
    ),
    Message("b", 20, "toolResult", "it is s3cret", at=115.0, result_of="c1", failed=True),
    Message("c", 30, "assistant", "done", "stop", usage=Usage(20, 6), at=400.0),
)


def test_a_task_is_the_invocation_of_an_agent_with_its_calls_below() -> None:
    work = work_of(task(), AGENT, TURN, None)
    assert (work.name, work.kind, work.begun, work.ended, work.error) == ("invoke_agent api", "client", 100.0, 160.0, "")
    assert {name: value for name, value in work.attributes.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "api",
        "gen_ai.agent.id": "uid-api",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-opus-5",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.usage.input_tokens": 137,
        "gen_ai.usage.output_tokens": 11,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.cache_creation.input_tokens": 7,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    assert [(one.name, one.begun, one.ended, one.error) for one in work.below] == [
        ("chat claude-opus-5", 100.0, 110.0, ""),
        ("execute_tool bash", 110.0, 115.0, "tool_error"),
        ("chat claude-opus-5", 115.0, 160.0, ""),
    ], "a machine's clock that is ahead does not reach beyond the task"
    assert [note[2] for note in work.notes] == [{"number": 1, "reason": "ModelError"}]


def test_ids_follow_from_the_task_and_not_from_the_process() -> None:
    first, again = work_of(task(), AGENT, TURN, None), work_of(task(), AGENT, TURN, None)
    assert (first.trace_id, first.span_id) == ids_of("uid-one")
    assert first == again
    assert len({one.span_id for one in (first, *first.below)}) == 4
    assert ids_of("uid-two") != ids_of("uid-one")


@pytest.mark.guarantee("G-60")
def test_what_was_said_is_told_only_when_asked_for_and_then_without_secrets() -> None:
    assert "s3cret" not in repr(work_of(task(), AGENT, TURN, None))
    assert "secret text" not in repr(work_of(task(), AGENT, TURN, None))
    told = work_of(task(), AGENT, TURN, lambda text: text.replace("s3cret", "[redacted]"))
    assert "s3cret" not in repr(told)
    assert json.loads(str(told.attributes["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "say [redacted]"}]}
    ]
    assert told.below[1].attributes["gen_ai.tool.call.arguments"] == "cat [redacted]"


def test_a_task_that_failed_says_why_and_one_without_its_conversation_has_what_is_known() -> None:
    work = work_of(task(phase="Failed", reason="AcceptanceFailed", input_tokens=9, output_tokens=2, cost=Decimal("0.5")), AGENT, (), None)
    assert (work.error, work.attributes["error.type"]) == ("AcceptanceFailed", "AcceptanceFailed")
    assert work.attributes["gen_ai.usage.input_tokens"] == 9
    assert work.attributes["reconciler.usage.cost_usd"] == 0.5
    assert work.below == ()


def test_a_long_turn_is_cut_and_says_so() -> None:
    turn = tuple(Message(str(n), n, "assistant", "x", at=101.0) for n in range(MOST + 20))
    work = work_of(task(), AGENT, turn, None)
    assert len(work.below) == MOST
    assert work.attributes["reconciler.spans_left_out"] == 20


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "x"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": END}, Wanted(True, True)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": END, "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": END}, Wanted(True, False)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": END}, Wanted(False, True)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, Wanted(True, False)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": END, "OTEL_TRACES_EXPORTER": "none"}, Wanted(False, True)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": END, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", CONTENT: "true"}, Wanted(True, True, True)),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BSP_MAX_QUEUE_SIZE": "7"},
            Wanted(True, False, span_seconds=0.1, spans=7),
        ),
    ],
)
def test_what_the_standard_variables_ask_for(environ: dict[str, str], found: Wanted | None) -> None:
    assert wanted(environ) == found


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
    ],
)
def test_what_there_is_not_is_refused_and_the_variable_is_named(variable: str, value: str) -> None:
    with pytest.raises(UsageError) as error:
        wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": END, variable: value})
    assert error.value.where == variable


def test_the_numbers_of_metrics_keep_their_values() -> None:
    counter = CounterMetricFamily("r_answers", "Answers.", labels=["code"])
    counter.add_metric(["200"], 3)
    gauge = GaugeMetricFamily("r_oldest_seconds", "Oldest.")
    gauge.add_metric([], 1.5)
    histogram = HistogramMetricFamily("r_took_seconds", "Took.", labels=["kind"])
    histogram.add_metric(["a"], [("0.5", 2.0), ("1.0", 5.0), ("+Inf", 6.0)], 4.25)
    one, two, three = converted([counter, gauge, histogram, GaugeMetricFamily("r_none", "None.")], 1, 2)
    assert (one.name, one.data.is_monotonic, one.data.data_points[0].value) == ("r_answers", True, 3)  # type: ignore[union-attr]
    assert (two.unit, two.data.data_points[0].value) == ("s", 1.5)  # type: ignore[union-attr]
    point = three.data.data_points[0]
    assert (list(point.bucket_counts), list(point.explicit_bounds), point.count, point.sum) == ([2, 3, 1], [0.5, 1.0], 6, 4.25)  # type: ignore[union-attr]
    assert dict(point.attributes or {}) == {"kind": "a"}


def test_nothing_of_it_is_loaded_when_nobody_asks_for_it() -> None:
    code = "import sys, reconciler.app, reconciler.cluster, reconciler.cli.runner; print([m for m in sys.modules if 'opentelemetry' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
