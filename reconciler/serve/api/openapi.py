"""The description of the API, for programs that are made from it and for people."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from reconciler.api.registry import KINDS
from reconciler.core.keys import Json, JsonValue
from reconciler.views.board import Standing

STRING: Json = {"type": "string"}
WHOLE: Json = {"type": "integer", "minimum": 0}
FLAG: Json = {"type": "boolean"}
MAP: Json = {"type": "object"}


def _list(of: Json) -> Json:
    return {"type": "array", "items": of}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


SPENT = _object(
    cost=STRING, tokens=WHOLE, input=WHOLE, output=WHOLE, cacheRead=WHOLE, cacheWrite=WHOLE, answers=WHOLE, machineHours=STRING,
    costUnknown=WHOLE,
)  # fmt: skip
NAMED_SPENT: Json = {"allOf": [_ref("Spent"), _object(name=STRING)]}
KEY = {"kind": STRING, "namespace": STRING, "name": STRING}
SCHEMAS: dict[str, Json] = {
    "Error": _object(error=_object(type=STRING, what=STRING, where=STRING, remedy=STRING)),
    "Object": _object(apiVersion=STRING, kind=STRING, metadata=MAP, spec=MAP, status=MAP),
    "List": _object(
        apiVersion={"const": "v1"},
        kind={"const": "List"},
        metadata={"type": "object", "properties": {"continue": STRING, "remainingItemCount": WHOLE, "resourceVersion": STRING}},
        items=_list(_ref("Object")),
    ),
    "Event": _object(
        apiVersion=STRING, kind={"const": "Event"}, involvedObject=MAP, type=STRING, reason=STRING, message=STRING, count=WHOLE, seq=WHOLE
    ),
    "Events": _object(kind={"const": "List"}, items=_list(_ref("Event")), metadata=_object(after=WHOLE)),
    "Row": _object(**KEY, standing={"enum": [one.value for one in Standing]}, phase=STRING, reason=STRING, message=STRING, since=STRING),
    "Rows": _object(counts={"type": "object", "additionalProperties": WHOLE}, total=WHOLE, items=_list(_ref("Row"))),
    "Plan": _object(
        actions=_list(MAP), summary=MAP, pending=_list(MAP), refused=_list(MAP), prune=_list(MAP), complete=FLAG, inputsHash=STRING
    ),
    "Capacity": _object(
        vms={"type": "object", "additionalProperties": WHOLE},
        total=WHOLE,
        maxVMs={"type": ["integer", "null"]},
        breaker=STRING,
        platform=STRING,
        halted=STRING,
        providers=MAP,
        orphans=_list(STRING),
        failingDeletes=WHOLE,
        queue=_object(depth=WHOLE, oldestSeconds={"type": "number"}),
    ),
    "Spent": SPENT,
    "Usage": _object(total=_ref("Spent"), **{f"by{what}": _list(NAMED_SPENT) for what in ("Lieutenant", "Tree", "Model", "Day")}),
    "Message": {
        "type": "object",
        "properties": {
            "id": STRING,
            "offset": WHOLE,
            "role": STRING,
            "at": STRING,
            "text": STRING,
            "bytes": WHOLE,
            "stopReason": STRING,
            "error": STRING,
            "calls": _list(_object(id=STRING, tool=STRING, about=STRING)),
            "resultOf": STRING,
            "failed": FLAG,
        },
        "required": ["offset", "role", "text"],
    },
    "Conversation": _object(
        lieutenant=STRING,
        namespace=STRING,
        messages=_list(_ref("Message")),
        start=WHOLE,
        end=WHOLE,
        size=WHOLE,
        before={"type": ["integer", "null"]},
        skipped=WHOLE,
    ),
    "Done": _object(**KEY, outcome=STRING),
    "Memory": _object(
        namespace=STRING,
        lieutenant=STRING,
        hash=STRING,
        entries=_list(_object(id=STRING, at=STRING, by=STRING, text=STRING)),
        gone=_list(_object(id=STRING, at=STRING, by=STRING, text=STRING, goneAt=STRING, goneBy=STRING)),
    ),
    "Remembered": _object(added=WHOLE, removed=WHOLE, entries=WHOLE, hash=STRING),
    "Version": _object(product=STRING, version=STRING, openapi=STRING),
}

KIND: Json = {
    "name": "kind",
    "in": "path",
    "required": True,
    "schema": STRING,
    "description": "A kind by its plural, singular or short name.",
}
NAMESPACE: Json = {"name": "namespace", "in": "path", "required": True, "schema": STRING}
NAME: Json = {"name": "name", "in": "path", "required": True, "schema": STRING}


def _query(name: str, description: str, of: Json = STRING) -> Json:
    return {"name": name, "in": "query", "schema": of, "description": description}


WITHIN = _query("namespace", "Only in this namespace.")
LIMIT = _query("limit", "How many at most.", WHOLE)


def _errors() -> Json:
    said: Json = {"application/json": {"schema": _ref("Error")}}
    return {
        "401": {"description": "A token is needed.", "content": said},
        "4XX": {"description": "Something is wrong with the request, or it is refused.", "content": said},
        "503": {"description": "Not now; for instance this operator stands by.", "content": said},
    }


def _get(summary: str, schema: str, *parameters: Json) -> Json:
    wanted: list[JsonValue] = list(parameters)
    content: Json = {"application/json": {"schema": _ref(schema)}}
    return {"get": {"summary": summary, "parameters": wanted, "responses": {"200": {"description": "OK", "content": content}, **_errors()}}}


def _post(summary: str, code: str, *parameters: Json, **properties: Json) -> Json:
    wanted: list[JsonValue] = list(parameters)
    body: Json = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if "prompt" in properties:
        body["required"] = ["prompt"]
    return _posted(summary, code, body, "Done", wanted)


def _posted(summary: str, code: str, body: Json, schema: str, wanted: list[JsonValue]) -> Json:
    done: Json = {"description": "Declared.", "content": {"application/json": {"schema": _ref(schema)}}}
    return {
        "post": {
            "summary": summary,
            "security": [{"token": []}],
            "parameters": wanted,
            "requestBody": {"content": {"application/json": {"schema": body}}},
            "responses": {code: done, **_errors()},
        }
    }


def _memory(summary: str, *parameters: Json) -> Json:
    body: Json = {
        "type": "object",
        "properties": {"add": _list(STRING), "remove": _list(STRING), "by": STRING},
        "additionalProperties": False,
    }
    changing = _posted("Add entries, and remove those with these ids.", "200", body, "Remembered", list(parameters))
    return {**_get(summary, "Memory", *parameters), **changing}


@cache
def openapi() -> Json:
    """OpenAPI 3.1. Fields of kinds are in docs/api.md and in the schemas that `reconciler schema` writes."""
    kinds = ", ".join(kind.plural for kind in KINDS)
    here = (KIND, NAMESPACE, NAME)
    stream = _query("lastEventId", "Go on after this message, as the header `Last-Event-ID` says too.")
    paths: Json = {
        "/api/v1": _get("What serves this.", "Version"),
        "/api/v1/openapi.json": {"get": {"summary": "This description.", "responses": {"200": {"description": "OK"}}}},
        "/api/v1/fleet": _get("Lieutenants and trees, what needs a person first.", "Rows", WITHIN, LIMIT, _query("offset", "Skip.", WHOLE)),
        "/api/v1/events": _get(
            "What happened, newest last.",
            "Events",
            WITHIN,
            LIMIT,
            _query("for", "KIND/NAMESPACE/NAME: of one object."),
            _query("after", "Only after this `seq`.", WHOLE),
        ),
        "/api/v1/plan": _get("What the loop would do from here.", "Plan"),
        "/api/v1/capacity": _get("Machines, limits, breakers.", "Capacity"),
        "/api/v1/usage": _get("Tokens and money.", "Usage", WITHIN, _query("days", "Of the last so many days, at most 40.", WHOLE)),
        "/api/v1/stream": {
            "get": {
                "summary": "Server-sent events: hello, change, gone, event, platform, reset.",
                "parameters": [_query("kind", "Only of this kind."), WITHIN, _query("name", "Only of this name."), stream],
                "responses": {"200": {"description": "OK", "content": {"text/event-stream": {}}}, **_errors()},
            }
        },
        "/api/v1/{kind}": _get(
            f"Objects of a kind: {kinds}.",
            "List",
            KIND,
            WITHIN,
            _query("labelSelector", "NAME=VALUE, NAME!=VALUE, NAME, !NAME, separated by commas."),
            _query("standing", "Only those.", {"enum": [one.value for one in Standing]}),
            _query("phase", "Only in this phase."),
            LIMIT,
            _query("continue", "Go on behind this mark of the page before."),
        ),
        "/api/v1/{kind}/{namespace}/{name}": _get("One object.", "Object", *here),
        "/api/v1/lieutenants/{namespace}/{name}/conversation": _get(
            "The last messages.",
            "Conversation",
            NAMESPACE,
            NAME,
            LIMIT,
            _query("before", "Messages before this offset.", WHOLE),
            _query("after", "None before this offset.", WHOLE),
        ),
        "/api/v1/lieutenants/{namespace}/{name}/memory": _memory("What an agent remembers, and what was removed from it.", NAMESPACE, NAME),
        "/api/v1/memory/{namespace}": _memory("What all agents of a namespace share, and what was removed from it.", NAMESPACE),
        "/api/v1/{kind}/{namespace}/{name}/send": _post(
            "Give a lieutenant a piece of work.",
            "201",
            *here,
            prompt=STRING,
            steer=FLAG,
            after=_list(STRING),
            files=_list(STRING),
            commands=_list(STRING),
        ),
        "/api/v1/{kind}/{namespace}/{name}/suspend": _post("Declare it Suspended.", "200", *here, node=STRING, confirm=FLAG),
        "/api/v1/{kind}/{namespace}/{name}/resume": _post("Declare it Running.", "200", *here, node=STRING),
        "/api/v1/{kind}/{namespace}/{name}/cancel": _post("Cancel a task.", "200", *here),
        "/api/v1/{kind}/{namespace}/{name}/approve": _post("Let waiting tool calls of a task go on.", "200", *here, ids=_list(STRING)),
        "/api/v1/{kind}/{namespace}/{name}/deny": _post(
            "Deny waiting tool calls of a task.", "200", *here, ids=_list(STRING), reason=STRING
        ),
        "/api/v1/{kind}/{namespace}/{name}/retry": _post("Try again now.", "200", *here, confirm=FLAG),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Reconciler", "version": metadata.version("reconciler"), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": dict(SCHEMAS), "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
    }
