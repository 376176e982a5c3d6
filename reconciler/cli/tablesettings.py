"""What `config view` tells of the tables of the file of settings, and of what OpenTelemetry's variables ask for: no value of a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from reconciler.config import Config
from reconciler.core.keys import JsonValue

GIT = "gitSource"
_OTEL = (
    "OTEL_SDK_DISABLED",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
)
"""Those that docs/observability.md explains. Any other that is set is named without its value: it may be a header with a key."""
_USER = re.compile(r"//[^/@\s]*@")


class Told(NamedTuple):
    """One setting. `value`: None where it is not given; `given`: it is set where this comes from, and not a default."""

    name: str
    value: JsonValue
    given: bool


def of_tables(config: Config) -> Iterator[Told]:
    """Every value of the tables of the file; of a repository also what holds because nothing is said."""
    for name, table in sorted(config.tables.items()):
        if name != GIT:
            yield from _flat(name, table)
            continue
        listed = table if isinstance(table, list) else [table]
        for number, one in enumerate(listed, 1):
            yield from _repository(GIT if len(listed) == 1 else f"{GIT}[{number}]", one)


def of_telemetry(environ: Mapping[str, str]) -> Iterator[Told]:
    """The variables that are read, and by name all others of OpenTelemetry that are set."""
    for name in _OTEL:
        yield Told(name, _USER.sub("//***@", environ.get(name, "")) or None, bool(environ.get(name)))
    for name in sorted(name for name in environ if re.fullmatch(r"OTEL_\w+", name) and name not in _OTEL and environ[name]):
        yield Told(name, "(set)", True)


def _repository(name: str, table: object) -> Iterator[Told]:
    from reconciler.sources.git.settings import Table

    given = table if isinstance(table, dict) else {}
    for known, field in Table.model_fields.items():
        value = given.get(known, None if field.is_required() else field.default)
        yield Told(f"{name}.{known}", _plain(value), known in given)
    for other in sorted(given.keys() - Table.model_fields.keys()):  # `run` refuses it; what it holds may be anything
        yield Told(f"{name}.{other}", "(unknown)", True)


def _flat(name: str, value: object) -> Iterator[Told]:
    if isinstance(value, dict):
        for inner, found in value.items():
            yield from _flat(f"{name}.{inner}", found)
    else:
        yield Told(name, _plain(value), True)


def _plain(value: object) -> JsonValue:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return ",".join(str(one) for one in value)
    return _USER.sub("//***@", str(value)) or None
