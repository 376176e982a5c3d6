"""The conversation that outlives its machine: how it is named, when another one begins, what its loss means. Pure.

A conversation has a *mirror* (its copy in the store) and a *file* (on whatever machine pi runs). Both names are kept in its
record, so that choosing between two ends is a change of names: what is not chosen stays where it is, under its own."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.records import SessionRecord

SESSION_DIR = "/root/.pi/agent/sessions"


@dataclass(frozen=True, slots=True)
class SessionName:
    """`name`: of the mirror in the store; `file`: absolute path of the session file on the machine."""

    name: str
    file: str


def session_name(uid: str, generation: int, incarnation: int = 0) -> str:
    """Name of a session's mirror; also of its file on the machine. `incarnation`: how often it had to be begun anew."""
    return f"{uid}-g{generation}" if incarnation == 0 else f"{uid}-g{generation}-{incarnation}"


def path_of(name: str) -> str:
    return f"{SESSION_DIR}/{name}.jsonl"


def current(record: SessionRecord, uid: str, generation: int) -> SessionName:
    """The conversation in force; `generation` names the one that will be begun when there is none yet."""
    name = record.name or session_name(uid, generation, record.incarnation)
    return SessionName(name, path_of(record.file or name))


def begun(record: SessionRecord, uid: str, generation: int) -> SessionRecord:
    """The record once a place for the conversation is there: as it is, or of the first conversation as declared."""
    if record.name:
        return record
    return record.but(name=session_name(uid, generation, record.incarnation), generation=generation)
