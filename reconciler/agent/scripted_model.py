"""A model that does what it is told: OpenAI chat completions, streamed, on loopback. For demonstrations and tests.

What it answers is a list of steps. They stand in the last user message between `<<<` and `>>>`, as JSON, or come from the first
rule whose pattern is found in that message; else the answer is `ok`. The step taken is the number of assistant messages after
that user message, and the last one repeats: so the server remembers nothing of a conversation, and a tool step alone is an
endless loop. A message that steers a run becomes the last user message. Asked for a summary it says one; asked for facts it says what
stands in the conversation as `FACT(…)`.

Steps are objects with these fields, all optional:

    say, say_length            text of the answer, or so many x
    recall                     fill `{count}`, `{first}` and `{last}` into say: the user messages before this one, as sent along
    chunks, gap                send it in so many pieces, with so many seconds between two
    tool, args | tools         call a tool, or several: [[name, args], …]
    delay, stall               seconds before the headers, or between headers and text
    status, message            an HTTP error; retry_after: seconds, as a header
    cut                        break the connection after so many pieces
    hang                       never answer
    times, then                do this for so many requests, then take the step `then`
    input_tokens, output_tokens  what the answer says it used
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import uuid
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from reconciler.core.keys import Json, JsonValue
from reconciler.errors import InvalidSpec

MODEL = "scripted"
_SCRIPT = re.compile(r"<<<(.*)>>>", re.S)
_FACT = re.compile(r"\bFACT\(([^()]*)\)")
_BODY_LIMIT = 256 << 20
_HEAD_LIMIT = 1 << 16
_KEPT_REQUESTS = 1000
_KEPT_COUNTS = 10000
_RECOVERED: Json = {"say": "recovered"}


@dataclass(frozen=True, slots=True)
class Step:
    """One answer; see the module."""

    say: str = ""
    say_length: int = 0
    recall: bool = False
    chunks: int = 1
    gap: float = 0.0
    tool: str = ""
    args: Json = field(default_factory=dict)
    tools: tuple[tuple[str, Json], ...] = ()
    delay: float = 0.0
    stall: float = 0.0
    status: int = 0
    message: str = ""
    retry_after: float = 0.0
    cut: int = -1
    hang: bool = False
    times: int = 0
    then: Json = field(default_factory=lambda: dict(_RECOVERED))
    input_tokens: int = 100
    output_tokens: int = 10

    @property
    def calls(self) -> tuple[tuple[str, Json], ...]:
        return self.tools or (((self.tool, self.args),) if self.tool else ())

    @property
    def text(self) -> str:
        return "x" * self.say_length if self.say_length else self.say


_KINDS = {f.name: f for f in fields(Step)}
_TYPES: Mapping[str, tuple[type, ...]] = {
    **{name: (str,) for name in ("say", "tool", "message")},
    **{name: (int,) for name in ("say_length", "chunks", "status", "cut", "times", "input_tokens", "output_tokens")},
    **{name: (int, float) for name in ("gap", "delay", "stall", "retry_after")},
    **{name: (dict,) for name in ("args", "then")},
    **{name: (bool,) for name in ("hang", "recall")},
    "tools": (list,),
}


def read_step(value: JsonValue) -> Step:
    """A step from JSON. Raises `InvalidSpec` naming the field that is wrong."""
    if not isinstance(value, dict):
        raise InvalidSpec("a step must be an object", remedy='write for example {"say": "done"}')
    told: dict[str, object] = {}
    for name, given in value.items():
        if name not in _KINDS:
            raise InvalidSpec(f"a step has no field {name}", remedy=f"use one of {', '.join(_KINDS)}")
        if not isinstance(given, _TYPES[name]):
            raise InvalidSpec(f"the field {name} of a step must be of type {_TYPES[name][-1].__name__}")
        told[name] = given
    tools = value.get("tools")
    if isinstance(tools, list):
        told["tools"] = tuple(_tool(pair) for pair in tools)
    return Step(**told)  # type: ignore[arg-type]  # names and types were just checked


def _tool(pair: JsonValue) -> tuple[str, Json]:
    match pair:
        case [str(name), dict(args)]:
            return name, args
        case _:
            raise InvalidSpec("the field tools of a step must be a list of [name, args]")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. `messages`: as sent; `authorization`: the header, never shown; `step`: number of the step taken;
    `system`: text of the system messages."""

    model: str
    messages: tuple[Json, ...] = field(repr=False)
    authorization: str = field(repr=False)
    step: int
    user: str
    system: str = field(repr=False)


class ScriptedModel:
    """`rules`: (pattern, steps), tried in order on the last user message with `re.search`; a script in the message comes first.
    `port` 0 takes a free one."""

    def __init__(self, rules: Sequence[tuple[str, Sequence[Json]]] = (), port: int = 0) -> None:
        self._rules = [(re.compile(pattern), [read_step(step) for step in steps]) for pattern, steps in rules]
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._counts: OrderedDict[tuple[str, int], int] = OrderedDict()
        self.summary_delay = 0.0  # seconds a summary takes: a compaction that lasts
        self.facts_delay = 0.0  # and seconds that facts take to be found before it,
        self.facts_status = 0  # or the HTTP error that it answers with instead
        self.requests: deque[Request] = deque(maxlen=_KEPT_REQUESTS)
        self.billed = 0  # tokens of all answers that were given whole

    @property
    def url(self) -> str:
        """What a provider's `baseUrl` is; only while it is started."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, limit=_HEAD_LIMIT)

    async def stop(self) -> None:
        """Stop listening and end what is being answered."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def __aenter__(self) -> ScriptedModel:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # --- HTTP, as much of it as a client of this one address needs ------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._exchange(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or sent what is no request: nobody is left to tell
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if value}
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > _BODY_LIMIT:
            return await _answer(writer, 413, {"error": {"message": "the body is missing its length, or is too large"}})
        body = await reader.readexactly(int(length))
        if not head[0].startswith("POST "):
            return await _answer(writer, 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        try:
            asked = json.loads(body)
            messages = [m for m in asked["messages"] if isinstance(m, dict)]
            step = self._choose(messages, asked, headers.get("authorization", ""))
        except (ValueError, KeyError, TypeError) as error:
            return await _answer(writer, 400, {"error": {"message": f"not a chat request: {error}"}})
        except InvalidSpec as error:
            return await _answer(writer, 400, {"error": {"message": str(error)}})
        if await _perform(step, str(asked.get("model", "")), writer):
            self.billed += step.input_tokens + step.output_tokens

    # --- what to answer ---------------------------------------------------------------------------------------------------------

    def _choose(self, messages: list[Json], asked: Json, authorization: str) -> Step:
        system = "".join(_text(m) for m in messages if m.get("role") in ("system", "developer"))
        last = max((i for i, m in enumerate(messages) if m.get("role") == "user"), default=-1)
        user = _text(messages[last]) if last >= 0 else ""
        number = sum(1 for m in messages[last + 1 :] if m.get("role") == "assistant")
        self.requests.append(Request(str(asked.get("model", "")), tuple(messages), authorization, number, user, system))
        if "context summarization" in system.lower():
            return Step(say="Summary of the conversation so far.", delay=self.summary_delay)
        if "facts worth remembering" in system.lower():
            facts = "\n".join(f"- {fact}" for fact in _FACT.findall(user)) or "NONE"
            return Step(say=facts, delay=self.facts_delay, status=self.facts_status)
        steps = self._steps(user)
        step = steps[min(number, len(steps) - 1)]
        seen = self._count((user, number))
        while step.times and seen > step.times:
            seen -= step.times
            step = read_step(step.then)
        return _recalled(step, [_text(m) for m in messages[:last] if m.get("role") == "user"]) if step.recall else step

    def _steps(self, user: str) -> Sequence[Step]:
        script = _SCRIPT.search(user)
        if script is not None:
            try:
                steps = json.loads(script.group(1))
            except ValueError as error:
                raise InvalidSpec(f"the script between <<< and >>> is no JSON: {error}") from error
            if not isinstance(steps, list) or not steps:
                raise InvalidSpec("the script between <<< and >>> must be a list of steps")
            return [read_step(step) for step in steps]
        return next((steps for pattern, steps in self._rules if steps and pattern.search(user)), [Step(say="ok")])

    def _count(self, key: tuple[str, int]) -> int:
        self._counts[key] = self._counts.pop(key, 0) + 1
        if len(self._counts) > _KEPT_COUNTS:
            self._counts.popitem(last=False)
        return self._counts[key]


def _recalled(step: Step, earlier: Sequence[str]) -> Step:
    """The step with what the conversation holds filled in; nothing is remembered here. A task's marker line is left out."""
    told = [text.partition("]\n")[2].strip() if text.startswith("[task ") else text.strip() for text in earlier]
    filled = {"count": str(len(told)), "first": told[0] if told else "nothing", "last": told[-1] if told else "nothing"}
    return replace(step, say=re.sub(r"\{(count|first|last)\}", lambda match: filled[match[1]], step.say))


def _text(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


async def _answer(writer: asyncio.StreamWriter, status: int, body: Json, headers: str = "") -> None:
    data = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\nconnection: close\r\n{headers}\r\n"
    )
    writer.write(head.encode() + data)
    await writer.drain()


async def _perform(step: Step, model: str, writer: asyncio.StreamWriter) -> bool:
    """Whether it was answered whole."""
    await asyncio.sleep(step.delay)
    if step.hang:
        await asyncio.Event().wait()
    if step.status:
        error: Json = {"message": step.message or f"scripted error {step.status}", "type": "scripted", "code": step.status}
        await _answer(writer, step.status, {"error": error}, f"retry-after: {step.retry_after:g}\r\n" if step.retry_after else "")
        return False
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    name = f"chatcmpl-{uuid.uuid4().hex}"

    async def send(delta: Json | None, finish: str | None = None, usage: Json | None = None) -> None:
        choices: list[JsonValue] = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        chunk: Json = {"id": name, "object": "chat.completion.chunk", "created": 0, "model": model, "choices": choices}
        if usage is not None:
            chunk["usage"] = usage
        writer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await writer.drain()

    await send({"role": "assistant", "content": ""})
    await asyncio.sleep(step.stall)
    text = step.text
    size = max(1, -(-len(text) // max(1, step.chunks)))
    for number, start in enumerate(range(0, len(text), size)):
        if number == step.cut:
            _reset(writer)
            return False
        if number:
            await asyncio.sleep(step.gap)
        await send({"content": text[start : start + size]})
    if step.cut >= 0:
        _reset(writer)
        return False
    for index, (tool, args) in enumerate(step.calls):
        function: Json = {"name": tool, "arguments": json.dumps(args)}
        await send({"tool_calls": [{"index": index, "id": f"call_{uuid.uuid4().hex[:16]}", "type": "function", "function": function}]})
    await send({}, "tool_calls" if step.calls else "stop")
    total = step.input_tokens + step.output_tokens
    await send(None, usage={"prompt_tokens": step.input_tokens, "completion_tokens": step.output_tokens, "total_tokens": total})
    writer.write(b"data: [DONE]\n\n")
    await writer.drain()
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection the hard way: not an orderly end of the stream."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def provider(url: str, name: str = "scripted") -> Json:
    """The entry for pi's models.json that makes this model `name/scripted`; the key is read from `$SCRIPTED_KEY`."""
    model: Json = {
        "id": MODEL,
        "name": "Scripted",
        "reasoning": False,
        "input": ["text"],
        "contextWindow": 128000,
        "maxTokens": 8192,
        "cost": {"input": 1, "output": 2, "cacheRead": 0, "cacheWrite": 0},
    }
    return {"providers": {name: {"baseUrl": url, "api": "openai-completions", "apiKey": "$SCRIPTED_KEY", "models": [model]}}}
