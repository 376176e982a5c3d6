"""What a decision about one task may depend on, and what is read from the conversation. No I/O, no clock.

The conversation is the only witness (G-21): a prompt has arrived when its marker is in the session file, a turn is over
when pi is settled, and it went well when the last message says so. Events only make us look sooner.
"""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Decision, Finish, TryAgain
from reconciler.core.messages import Message
from reconciler.core.records import run_of
from reconciler.core.snapshot.task import Talk, TaskView

ABORT_PATIENCE = 15.0
"""Seconds after which an abort that did not settle the session is repeated, harder."""


ON_ITS_WAY = "on its way; not yet seen in the conversation"


def marker_of(namespace: str, name: str, attempt: int, token: str) -> str:
    """The first line of a prompt: makes it findable, and keeps it from beginning with `/`, which pi would expand."""
    return f"[task {namespace}/{name} attempt {attempt} {token}]"


def landed_at(talk: Talk, marker: str, baseline: int) -> Message | None:
    """The user message that carries this marker, not before `baseline`."""
    return next((m for m in talk.messages if m.offset >= baseline and m.role == "user" and m.text.startswith(marker)), None)


def continued(marker: str, number: int) -> str:
    """How the prompt begins that asks for the rest of a turn which was cut short."""
    return f"{marker} continued ({number})"


def run(v: TaskView) -> tuple[Message, ...]:
    """The messages of this task's turn so far."""
    return run_of(v.talk.messages, v.record.landed, v.next_landed) if v.talk and v.record.landed >= 0 else ()


def turns(v: TaskView) -> tuple[Message, ...]:
    """The rounds of the model in this attempt: each is one answer, with or without tool calls. An error is none."""
    return tuple(message for message in run(v) if message.role == "assistant" and message.stop_reason != "error")


def ended_well(v: TaskView) -> bool:
    """The last thing said in this turn is a complete answer, and says something."""
    said = run(v)
    return bool(said) and said[-1].role == "assistant" and said[-1].stop_reason == "stop" and not says_nothing(said[-1])


def answered(v: TaskView) -> bool:
    """The last thing said asks for no further round."""
    said = run(v)
    return bool(said) and said[-1].role == "assistant" and said[-1].stop_reason != "toolUse"


def says_nothing(message: Message) -> bool:
    """A good end without text, tool call and tokens: no evidence of anything (G-21)."""
    if message.role != "assistant" or message.stop_reason != "stop":
        return False
    return not message.text.strip() and not message.calls and not message.usage.output


def fail(v: TaskView, reason: Reason, message: str) -> Decision:
    """Another attempt where one is allowed, else the end."""
    return TryAgain(reason, message) if len(v.record.attempts) < v.retries else Finish("Failed", reason, message)
