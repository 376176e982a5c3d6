"""What the standard variables of OpenTelemetry ask for. The SDK reads the rest of them itself: addresses, headers, TLS, samplers,
resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.errors import UsageError

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
PREFIX = "OTEL_EXPORTER_OTLP"
PROTOCOL = "http/protobuf"


@dataclass(frozen=True, slots=True)
class Wanted:
    """`content`: prompts and answers too. `span_seconds`, `metric_seconds`: between two exports; `spans`: that wait at most; `batch`: in
    one export."""

    traces: bool
    metrics: bool
    content: bool = False
    span_seconds: float = 5.0
    metric_seconds: float = 60.0
    spans: int = 2048
    batch: int = 512


def wanted(environ: Mapping[str, str]) -> Wanted | None:
    """None when nobody wants anything. Raises `UsageError` naming the variable that asks for what there is not."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    traces, metrics = _signal(environ, "TRACES"), _signal(environ, "METRICS")
    if not traces and not metrics:
        return None
    return Wanted(
        traces,
        metrics,
        environ.get(CONTENT, "").strip().lower() in ("true", "span_only", "span_and_event"),
        _number(environ, "OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000,
        _number(environ, "OTEL_METRIC_EXPORT_INTERVAL", 60_000) / 1000,
        _number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", 2048),
        _number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
    )


def _signal(environ: Mapping[str, str], signal: str) -> bool:
    variable = f"OTEL_{signal}_EXPORTER"
    told = environ.get(variable, "").strip().lower()
    if told not in ("", "otlp", "none"):
        raise UsageError(f"there is no exporter {told!r}", variable, "use otlp or none")
    on = told == "otlp" or (told == "" and any(environ.get(f"{name}_ENDPOINT") for name in (PREFIX, f"{PREFIX}_{signal}")))
    for name in (f"{PREFIX}_{signal}_PROTOCOL", f"{PREFIX}_PROTOCOL"):
        if on and (protocol := environ.get(name, "").strip()):
            if protocol != PROTOCOL:
                raise UsageError(f"OTLP is not spoken over {protocol!r}", name, f"use {PROTOCOL}")
            break
    return on


def _number(environ: Mapping[str, str], variable: str, default: int) -> int:
    told = environ.get(variable, "").strip()
    if told == "":
        return default
    if not told.isascii() or not told.isdecimal() or not 0 < int(told) <= 10_000_000:
        raise UsageError(f"must be a whole number above 0, not {told!r}", variable, f"write for example {default}")
    return int(told)
