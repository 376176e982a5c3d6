"""What people ask for over HTTP: each is a declaration, by the same requests as those of commands (`reconciler.serve.verbs`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from reconciler.core.keys import Json, JsonValue, Key, short
from reconciler.engine.ports import StoredObject
from reconciler.errors import UsageError
from reconciler.serve import verbs
from reconciler.serve.api.asking import answer, flag, json_body, key, only, surface, text, texts
from reconciler.serve.guard import api_actor
from reconciler.serve.surface import Surface

Act = Callable[[Surface, StoredObject, Json], Awaitable[Json]]


async def send(here: Surface, host: StoredObject, asked: Json) -> Json:
    """Give a lieutenant a piece of work; with `steer`, into the running turn. Returns the task's name."""
    only(asked, "prompt", "steer", "after", "files", "commands")
    if host.key.kind != "Lieutenant":
        raise UsageError(f"a {host.key.kind} takes no work", short(host.key), "name a lieutenant")
    spec = verbs.task_spec(
        host.key.name, text(asked, "prompt"), flag(asked, "steer"), texts(asked, "after"), texts(asked, "files"), texts(asked, "commands")
    )
    request = verbs.sending(host.key, spec)
    outcome: JsonValue = await here.declare(request)
    return {"kind": "Task", "namespace": host.key.namespace, "name": request["name"], "outcome": outcome}


async def suspend(here: Surface, obj: StoredObject, asked: Json) -> Json:
    """Declare it Suspended. `node`: of a tree; `confirm`: also nodes that are protected."""
    return await _mode(here, obj, only(asked, "node", "confirm"), "Suspended")


async def resume(here: Surface, obj: StoredObject, asked: Json) -> Json:
    """Declare it Running. `node`: of a tree."""
    return await _mode(here, obj, {**only(asked, "node"), "confirm": True}, "Running")


async def _mode(here: Surface, obj: StoredObject, asked: Json, mode: str) -> Json:
    changes = verbs.changing_mode(obj, text(asked, "node"), mode, flag(asked, "confirm"))
    return _told(obj.key, await here.declare(verbs.patching(obj.key, changes)))


async def cancel(here: Surface, obj: StoredObject, asked: Json) -> Json:
    """Cancel a task: what was not begun never is, a running turn is ended."""
    only(asked)
    return _told(obj.key, await here.declare(verbs.patching(obj.key, verbs.cancelling(obj))))


async def approve(here: Surface, obj: StoredObject, asked: Json) -> Json:
    """Let tool calls of a task go on that wait for a person. `ids`: which; all without any."""
    return await _answer(here, obj, only(asked, "ids"), "Approve")


async def deny(here: Surface, obj: StoredObject, asked: Json) -> Json:
    """Deny tool calls of a task that wait. `ids`: which; `reason`: the agent is told."""
    return await _answer(here, obj, only(asked, "ids", "reason"), "Deny")


async def _answer(here: Surface, obj: StoredObject, asked: Json, decision: str) -> Json:
    changes, _ = verbs.answering(obj, decision, texts(asked, "ids"), text(asked, "reason"))
    return _told(obj.key, await here.declare(verbs.patching(obj.key, changes)))


async def retry(here: Surface, obj: StoredObject, asked: Json) -> Json:
    """Clear a back-off, a crash loop or a Stalled. `confirm`: replace its dead machine although it is protected."""
    only(asked, "confirm")
    if obj.key.kind not in ("Lieutenant", "Task"):
        raise UsageError(f"a {obj.key.kind} is not tried again here", short(obj.key), "name a lieutenant or a task")
    if obj.key.kind == "Task":
        verbs.must_be_open(obj)
    return _told(obj.key, await here.declare(verbs.trying_again(obj.key, flag(asked, "confirm"))))


def _told(key: Key, outcome: JsonValue) -> Json:
    return {"kind": key.kind, "namespace": key.namespace, "name": key.name, "outcome": outcome}


ACTS: dict[str, Act] = {
    "send": send,
    "suspend": suspend,
    "resume": resume,
    "cancel": cancel,
    "retry": retry,
    "approve": approve,
    "deny": deny,
}
"""By the last word of the path. `steer` is `send` with it set."""


def route(act: Act) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of an act on the object that the path names."""

    async def endpoint(request: Request) -> Response:
        here = surface(request).acting(api_actor(request))
        told = await act(here, here.object(key(request)), await json_body(request))
        return answer(request, told, 201 if act is send else 200)

    return endpoint
