"""The status of a Task."""

from __future__ import annotations

from typing import Annotated

from reconciler.api.status.base import AtMost, Count, List, Message, Section, Status, Time, Word, section

ANSWER = 4096
"""Characters of an answer, its end; the conversation has all of it."""
FILES = 100
"""Files that are named."""
TRIES = 100
"""Attempts, and steps of escalation, that are told of, the last ones."""
ASKS = 20
"""Questions that are told of."""
PATH = 4096
"""Characters of a path."""


@section
class AttemptStatus(Section):
    """How one attempt ended, and another was made."""

    number: Count = 0
    """Its number, from 1."""
    reason: Word = ""
    """Why it ended, as one word of the catalogue."""
    message: Message = ""
    """Why, in words; the next attempt was told."""


@section
class EscalationStatus(Section):
    """What was done about a turn without progress."""

    action: Word = ""
    """Which of `escalation`."""
    at: Time = ""
    """When."""
    reason: Message = ""
    """Why, in words."""


@section
class UsageStatus(Section):
    """What a turn cost."""

    input_tokens: Count = 0
    """Tokens read, cached ones too."""
    output_tokens: Count = 0
    """Tokens written."""
    cost: Word = ""
    """US dollars, as a decimal string, by the prices that pi knows."""


@section
class ResultStatus(Section):
    """What a task came to."""

    stop_reason: Word = ""
    """Why the model stopped, in its provider's words."""
    answer: Annotated[str, AtMost(ANSWER)] = ""
    """The end of the last answer, without secrets."""
    answer_bytes: Count = 0
    """Length of the whole answer."""
    usage: UsageStatus | None = None
    """What the whole turn cost."""
    turns: Count = 0
    """Answers of the model, those of earlier attempts too."""
    files: Annotated[List[Annotated[str, AtMost(PATH)]], AtMost(FILES)] = ()
    """Files that were written."""
    checks: Annotated[List[Message], AtMost(32)] = ()
    """Of each check of `acceptance`: `ok`, or what was wrong."""
    files_more: Count | None = None
    """Files that were written and are not named; left out when there are none."""


@section
class AskStatus(Section):
    """A tool call that waits for a person."""

    id: Word = ""
    """Its name, for `reconciler approve TASK ID`."""
    call: Message = ""
    """The call, as people read it."""
    part: Message = ""
    """The part of it that a rule asks about."""
    rule: Message = ""
    """The rule, or why there is a question without one."""
    level: Word = ""
    """Whose rule it is."""
    since: Time = ""
    """Since when it waits."""


@section
class TaskStatus(Status):
    """What was observed of a task; written by the controller."""

    attempt: Count = 0
    """Number of the attempt that is on, or was the last; 0: none yet."""
    arrived_at: Time | None = None
    """When it was declared, to the microsecond: tasks of one lieutenant run in this order."""
    delivered_at: Time | None = None
    """When its prompt was first on its way in this attempt."""
    landed_at: Time | None = None
    """When its prompt was seen in the conversation."""
    finished_at: Time | None = None
    """When it ended."""
    attempts: Annotated[List[AttemptStatus], AtMost(TRIES)] | None = None
    """Attempts that ended without success before the last one."""
    escalation: Annotated[List[EscalationStatus], AtMost(TRIES)] | None = None
    """What was done about a lack of progress in this attempt."""
    asks: Annotated[List[AskStatus], AtMost(ASKS)] | None = None
    """Tool calls that wait for a person; left out while none does."""
    next_try_at: Time | None = None
    """When it is tried again after an attempt that failed; left out while it does not wait for that."""
    result: ResultStatus | None = None
    """What it came to; left out unless its prompt was seen in the conversation and it ended."""
