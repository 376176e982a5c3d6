"""The turn of a task in the conversation, and what it came to."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.core.conversation import files_written
from reconciler.core.messages import PAID, Message, Usage
from reconciler.core.records import TaskRecord, run_of
from reconciler.core.snapshot.workset import WorkSet
from reconciler.core.spending.ledger import spent_in

ANSWER_TAIL = 4096
MAX_FILES = 100


def anew(old: TaskRecord, view: WorkSet) -> TaskRecord:
    """The record of a task that waits again, with what its attempts came to so far."""
    turn = turn_of(view, old)
    spent = spent_in(costs_of(view, old), view.prices)
    return TaskRecord(
        attempt=old.attempt,
        attempts=old.attempts,
        turns=old.turns + sum(1 for m in turn if m.role == "assistant"),
        held=old.held,
        budget=old.budget,
        interrupted=old.interrupted,
        spent_cost=old.spent_cost + spent.cost,
        spent_tokens=old.spent_tokens + spent.tokens,
    )


def in_force(view: WorkSet, record: TaskRecord) -> bool:
    """Whether the conversation it was sent to is the one that was read."""
    return view.lieutenant is None or record.session in ("", view.lieutenant.record.session.name)


def turn_of(view: WorkSet, record: TaskRecord) -> tuple[Message, ...]:
    """The messages of the attempt that this record tells of; () where they are not known."""
    return _within(view, record, view.talk.messages) if view.talk is not None else ()


def costs_of(view: WorkSet, record: TaskRecord) -> tuple[Message, ...]:
    """The same with what was paid for beside the messages."""
    return _within(view, record, view.talk.costs) if view.talk is not None else ()


def _within(view: WorkSet, record: TaskRecord, found: tuple[Message, ...]) -> tuple[Message, ...]:
    if record.landed < 0 or not in_force(view, record):
        return ()
    others = [f.record for f in view.tasks if f.record.session == record.session and f.spec.delivery.value == "Queue"]
    later = [other.landed for other in others if other.landed > record.landed]
    return run_of(found, record.landed, min(later, default=None))


def result_of(
    turn: tuple[Message, ...], paid: tuple[Message, ...], size: int, redact: Callable[[str], str], turns: int
) -> dict[str, object]:
    """The answer (its tail), how it ended, what the whole turn cost by `paid`, and which files it wrote. `turns`: of earlier attempts."""
    answers = [m for m in turn if m.role == "assistant"]
    total = sum((m.usage for m in paid if m.role in ("assistant", PAID)), Usage())
    text = redact(answers[-1].text) if answers else ""
    files = files_written(turn)
    return {
        "turns": turns + len(answers),
        "files": tuple(redact(path) for path in files[:MAX_FILES]),
        "files_more": max(0, len(files) - MAX_FILES),
        "span_end": size,
        "stop_reason": answers[-1].stop_reason if answers else "",
        "answer": text[-ANSWER_TAIL:],
        "answer_bytes": answers[-1].text_bytes if answers else 0,
        "input_tokens": total.input + total.cache_read + total.cache_write,
        "output_tokens": total.output,
        "cost": total.cost,
    }
