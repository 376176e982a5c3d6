"""What goes over the wire: replies, errors in the platform's own words (vers-api §2.0), and bodies that are checked on arrival."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from reconciler.vers.simulator import limits

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
Json = dict[str, JsonValue]

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
NDJSON = "application/x-ndjson"

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `content_type` None: the header is left out. `at`: not to be sent before this time of the simulator's clock."""

    status: int
    body: bytes = b""
    content_type: str | None = JSON
    at: float = 0.0
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Header names are lower-case."""
        own = (("content-type", self.content_type),) if self.content_type is not None else ()
        return own + self.extra


def reply(status: int, value: JsonValue, at: float = 0.0) -> Reply:
    """A JSON reply."""
    return Reply(status, orjson.dumps(value), JSON, at)


def empty(status: int = 200, at: float = 0.0) -> Reply:
    """No body and no content type: state, disk, label and file changes answer so (vers-api §2.1)."""
    return Reply(status, b"", None, at)


class ApiError(Exception):
    """The platform's refusal: status, body bytes, content type (None: header absent) and further headers."""

    def __init__(self, status: int, body: bytes, content_type: str | None = JSON, extra: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{status} {body[:200].decode(errors='replace')}")
        self.status = status
        self.body = body
        self.content_type = content_type
        self.extra = extra

    @property
    def reply(self) -> Reply:
        return Reply(self.status, self.body, self.content_type, 0.0, self.extra)


def refused(status: int, message: str) -> ApiError:
    """The platform's usual JSON error."""
    return ApiError(status, orjson.dumps({"error": message, "success": False}))


def too_much(message: str) -> ApiError:
    """One of the simulator's own limits, which may not be reached a moment later."""
    return ApiError(429, orjson.dumps({"error": message, "success": False}), JSON, (("retry-after", "1"),))


def not_found(message: str = "not found") -> ApiError:
    return refused(404, message)


def forbidden() -> ApiError:
    """Not yours, or (DELETE) not there."""
    return refused(403, "Forbidden")


def bad_key() -> ApiError:
    """What the gateway says to a missing, wrong or expired key: 403 and not 401, no content type."""
    return ApiError(403, b"403 Forbidden", None)


def hybrid(status: int, message: str, vm_ids: list[str] | None = None) -> ApiError:
    """The typed branch operations' error: looks like a result (vers-api §2.0)."""
    return ApiError(status, orjson.dumps({"vms": [{"vm_id": v} for v in vm_ids or []], "error": message}))


def unparsable(detail: str) -> ApiError:
    return ApiError(400, f"Failed to parse the request body as JSON: {detail}".encode(), TEXT)


def misshapen(detail: str, column: int) -> ApiError:
    return ApiError(422, f"Failed to deserialize the JSON body into the target type: {detail} at line 1 column {column}".encode(), TEXT)


def parse_uuid(parameter: str, value: str) -> str:
    """The id in its canonical lower-case form; raises the text 400 for anything that is not a UUID."""
    if _UUID.fullmatch(value):
        return value.lower()
    try:
        uuid.UUID(value)
    except ValueError as exc:
        problem = str(exc)
    else:
        problem = "invalid group count: expected 5"
    told = shortened(value)
    raise ApiError(400, f"Invalid URL: Cannot parse `{parameter}` with value `{told}`: UUID parsing failed: {problem}".encode(), None)


def shortened(value: str) -> str:
    """A caller's value as an error repeats it."""
    return value if len(value) <= limits.ECHO else value[: limits.ECHO] + "…"


def is_uuid(value: str) -> bool:
    return _UUID.fullmatch(value) is not None


def rfc3339(at: float, style: str) -> str:
    """`style`: micro (…123456Z) | nano (nine digits) | offset (+00:00); all three occur (vers-api §2)."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    if style == "nano":
        return f"{text}123Z"
    return f"{text}+00:00" if style == "offset" else f"{text}Z"


@dataclass(frozen=True, slots=True)
class Query:
    """A query string's parameters, checked when read; raises the text 400."""

    values: Mapping[str, str]

    def flag(self, name: str) -> bool:
        value = self.values.get(name, "false")
        if value not in ("true", "false"):
            raise ApiError(400, b"Failed to deserialize query string: provided string was not `true` or `false`", TEXT)
        return value == "true"

    def number(self, name: str, default: int) -> int:
        value = self.values.get(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit():
            raise ApiError(400, b"Failed to deserialize query string: invalid digit found in string", TEXT)
        if len(value) > limits.NUMBER_DIGITS or int(value) > _INT32_MAX:
            raise ApiError(400, b"Failed to deserialize query string: number too large to fit in target type", TEXT)
        return int(value)

    def text(self, name: str) -> str | None:
        return self.values.get(name)


class Body:
    """A JSON object as it arrived. Reading a field checks its type and raises the text 422 the platform would."""

    def __init__(self, raw: bytes, *, required: bool = True) -> None:
        """Raises the text 400 when `raw` is not JSON, or empty where a body is required; 422 when it is not an object."""
        self.raw = raw
        self.fields: Json = {}
        if not raw.strip():
            if required:
                raise unparsable("EOF while parsing a value at line 1 column 0")
            return
        try:
            value: JsonValue = orjson.loads(raw)
        except orjson.JSONDecodeError as exc:
            detail = "EOF while parsing" if exc.pos >= len(raw) - 1 else "expected value"
            raise unparsable(f"{detail} at line {exc.lineno} column {exc.colno + 1}") from None
        if not isinstance(value, dict):
            raise misshapen(f"invalid type: {_describe(value)}, expected struct", 0)
        self.fields = value

    def wrong(self, name: str, expected: str) -> ApiError:
        value = self.fields.get(name)
        return misshapen(f"{name}: invalid type: {_describe(value)}, expected {expected}", self.column(name))

    def column(self, name: str) -> int:
        """Where the value of a field ends; good enough for the platform's messages."""
        value = self.fields.get(name)
        shown = re.escape(orjson.dumps(value)) if isinstance(value, str | int | float | None) else b""
        found = re.search(re.escape(orjson.dumps(name)) + rb"\s*:\s*" + shown, self.raw)
        return found.end() if found else len(self.raw)

    def has(self, name: str) -> bool:
        return name in self.fields

    def text(self, name: str) -> str | None:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def short(self, name: str, most: int = limits.NAME) -> str | None:
        """A text that is kept; raises 400 when it is too long."""
        value = self.text(name)
        if value is not None and len(value) > most:
            raise refused(400, f"{name} is longer than {most} characters")
        return value

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            if name in self.fields:
                raise self.wrong(name, "a string")
            raise self.missing(name)
        return value

    def missing(self, name: str) -> ApiError:
        return misshapen(f"missing field `{name}`", len(self.raw))

    def uuid(self, name: str) -> str | None:
        value = self.text(name)
        if value is not None and not is_uuid(value):
            raise misshapen(f"{name}: UUID parsing failed: invalid character in `{shortened(value)}`", self.column(name))
        return value.lower() if value is not None else None

    def required_uuid(self, name: str) -> str:
        self.required_text(name)
        value = self.uuid(name)
        assert value is not None
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        value = self.fields.get(name, default)
        if value is None and name not in self.fields:
            raise self.missing(name)
        if not isinstance(value, bool):
            raise self.wrong(name, "a boolean")
        return value

    def number(self, name: str) -> int | None:
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "u32")
        if not 0 <= value <= _INT32_MAX:
            raise misshapen(f"{name}: invalid value: integer `{value}`, expected u32", self.column(name))
        return value

    def strings(self, name: str) -> dict[str, str] | None:
        value = self.fields.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "a map")
        checked: dict[str, str] = {}
        for key, item in value.items():
            if not isinstance(item, str):
                raise misshapen(f"{name}.{shortened(key)}: invalid type: {_describe(item)}, expected a string", self.column(name))
            checked[key] = item
        return checked

    def texts(self, name: str) -> list[str]:
        value = self.fields.get(name)
        if name not in self.fields:
            raise self.missing(name)
        if not isinstance(value, list):
            raise self.wrong(name, "a sequence")
        checked: list[str] = []
        for item in value:
            if not isinstance(item, str):
                raise misshapen(f"{name}[{len(checked)}]: invalid type: {_describe(item)}, expected a string", self.column(name))
            checked.append(item)
        return checked

    def part(self, name: str) -> Body:
        """A nested object as a body of its own; null and absent both raise 422."""
        value = self.fields.get(name)
        if name not in self.fields:
            raise self.missing(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "struct")
        nested = Body(b"", required=False)
        nested.raw, nested.fields = self.raw, value
        return nested


def _describe(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean `{str(value).lower()}`"
        case int():
            return f"integer `{value}`"
        case float():
            return f"floating point `{value}`"
        case str():
            return f'string "{shortened(value)}"'
        case list():
            return "sequence"
        case dict():
            return "map"
