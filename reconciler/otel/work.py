"""A task that ended, as spans: `invoke_agent`, and below it what its agent did, `chat` and `execute_tool`. Pure.

In: the task as it is stored and the messages of its turn. Out: spans whose ids follow from the task's uid, so that they are the same
whichever process makes them. Names and attributes are those of the GenAI conventions of OpenTelemetry, which are still in development."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from reconciler.core.keys import Key
from reconciler.core.messages import Message, Usage
from reconciler.core.records import TaskRecord
from reconciler.engine.ports import StoredObject

Value = str | int | float | bool | list[str]
MOST = 500
"""Spans below one task; of a longer turn the first ones."""
CONTENT = 16_384
"""Characters of one text, where content is wanted at all."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Whose work it was. `model`: `provider/id` as pi says it, '' where that is not known."""

    key: Key
    uid: str
    model: str = ""

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]

    @property
    def model_id(self) -> str:
        return self.model.partition("/")[2] or self.model


@dataclass(frozen=True, slots=True)
class Work:
    """One span. Times in seconds since the epoch. `error`: a reason or '' ; `notes`: (time, name, attributes)."""

    name: str
    trace_id: int
    span_id: int
    begun: float
    ended: float
    attributes: dict[str, Value]
    error: str = ""
    notes: tuple[tuple[float, str, dict[str, Value]], ...] = ()
    below: tuple[Work, ...] = field(default=())
    kind: str = "internal"


def ids_of(uid: str) -> tuple[int, int]:
    """Trace and span of a task."""
    made = hashlib.sha256(f"task {uid}".encode()).digest()
    return int.from_bytes(made[:16]) or 1, int.from_bytes(made[16:24]) or 1


def _below(uid: str, *parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(("below", uid, *parts)).encode()).digest()[:8]) or 1


def work_of(task: StoredObject, agent: Agent, turn: Sequence[Message], content: Callable[[str], str] | None) -> Work:
    """`turn`: the messages of its last attempt, () where they are not known. `content`: takes secrets out of what was said; None leaves
    all of it out."""
    record = TaskRecord.load(task.record)
    trace_id, span_id = ids_of(task.uid)
    begun, ended = record.delivering_at or task.created_at, record.finished_at
    succeeded = record.phase == "Succeeded"
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "invoke_agent",
        **_of_agent(agent),
        "reconciler.namespace": task.key.namespace,
        "reconciler.task.name": task.key.name,
        "reconciler.task.uid": task.uid,
        "reconciler.task.phase": record.phase,
        "reconciler.task.reason": record.reason,
        "reconciler.task.attempts": record.attempt,
        "reconciler.task.queued_seconds": max(begun - task.created_at, 0.0),
    }
    if record.session:
        attributes["gen_ai.conversation.id"] = record.session
    attributes.update(_tokens(_total(turn), record))
    if record.stop_reason:
        attributes["gen_ai.response.finish_reasons"] = [record.stop_reason]
    if not succeeded:
        attributes["error.type"] = record.reason
    if content is not None:
        prompt = task.spec.get("prompt")
        if isinstance(prompt, str):
            attributes["gen_ai.input.messages"] = _said("user", prompt, content)
        if record.answer:
            attributes["gen_ai.output.messages"] = _said("assistant", record.answer, content)
    notes: tuple[tuple[float, str, dict[str, Value]], ...] = tuple(
        (ended, "reconciler.attempt.failed", {"number": one.number, "reason": one.reason}) for one in record.attempts
    )
    below = tuple(_spans_below(task.uid, trace_id, agent, turn, (begun, ended), content))
    if len(below) > MOST:
        attributes["reconciler.spans_left_out"] = len(below) - MOST
    error = "" if succeeded else record.reason
    return Work(f"invoke_agent {agent.key.name}", trace_id, span_id, begun, ended, attributes, error, notes, below[:MOST], "client")


def _spans_below(
    uid: str, trace_id: int, agent: Agent, turn: Sequence[Message], within: tuple[float, float], content: Callable[[str], str] | None
) -> Iterable[Work]:
    """Times are the machine's; they are kept within those of the task."""

    def clipped(at: float) -> float:
        return min(max(at, within[0]), within[1])

    before, calls = within[0], dict[str, tuple[str, str, float]]()
    for message in turn:
        at = clipped(message.at) if message.at else before
        if message.role == "assistant":
            attributes: dict[str, Value] = {"gen_ai.operation.name": "chat", **_of_agent(agent), **_usage(message.usage)}
            if message.stop_reason:
                attributes["gen_ai.response.finish_reasons"] = [message.stop_reason]
            if content is not None and message.text:
                attributes["gen_ai.output.messages"] = _said("assistant", message.text, content)
            error = "error" if message.error else ""
            if error:
                attributes["error.type"] = error
            name = f"chat {agent.model_id}".strip()
            yield Work(name, trace_id, _below(uid, "chat", str(message.offset)), before, at, attributes, error, kind="client")
            calls.update({call.call_id: (call.tool, call.about, at) for call in message.calls})
        elif message.role == "toolResult" and message.result_of in calls:
            tool, about, since = calls.pop(message.result_of)
            attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool, "gen_ai.tool.type": "function"}
            attributes["gen_ai.tool.call.id"] = message.result_of
            attributes["gen_ai.agent.name"] = agent.key.name
            if message.failed:
                attributes["error.type"] = "tool_error"
            if content is not None:
                attributes["gen_ai.tool.call.arguments"] = content(about)[:CONTENT]
                attributes["gen_ai.tool.call.result"] = content(message.text)[:CONTENT]
            span_id = _below(uid, "tool", str(message.offset))
            yield Work(f"execute_tool {tool}", trace_id, span_id, since, at, attributes, "tool_error" if message.failed else "")
        before = at


def _of_agent(agent: Agent) -> dict[str, Value]:
    found: dict[str, Value] = {"gen_ai.agent.name": agent.key.name, "gen_ai.agent.id": agent.uid}
    if agent.model:
        found |= {"gen_ai.provider.name": agent.provider, "gen_ai.request.model": agent.model_id}
    return found


def _total(turn: Sequence[Message]) -> Usage:
    return sum((message.usage for message in turn if message.role == "assistant"), Usage())


def _tokens(total: Usage, record: TaskRecord) -> dict[str, Value]:
    """Of the whole turn. The record has them where the conversation is not at hand any more."""
    if total == Usage() and (record.input_tokens or record.output_tokens):
        counted: dict[str, Value] = {"gen_ai.usage.input_tokens": record.input_tokens, "gen_ai.usage.output_tokens": record.output_tokens}
    else:
        counted = _usage(total)
    if record.cost:
        counted["reconciler.usage.cost_usd"] = record.cost
    return counted


def _usage(usage: Usage) -> dict[str, Value]:
    """Input tokens are all that were read, cached ones too, as the conventions have it."""
    return {
        "gen_ai.usage.input_tokens": usage.input + usage.cache_read + usage.cache_write,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
    }


def _said(role: str, text: str, content: Callable[[str], str]) -> str:
    """In the form of the conventions."""
    parts = [{"type": "text", "content": content(text)[:CONTENT]}]
    return json.dumps([{"role": role, "parts": parts}], ensure_ascii=False)
