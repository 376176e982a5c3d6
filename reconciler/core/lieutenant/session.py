"""The conversation that outlives its machine: how it is named, when another one begins, what its loss means, and what is done
when its two ends differ. Pure.

A conversation has a *mirror* (its copy in the store) and a *file* (on whatever machine pi runs). Both names are kept in its
record, so that choosing between two ends is a change of names: what is not chosen stays where it is, under its own (G-32)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from reconciler.api.lieutenant import OnLost
from reconciler.api.reasons import Reason
from reconciler.core.decisions import (
    BeginSession,
    ContinueSession,
    Decision,
    KeepEnd,
    MirrorSession,
    MoveOn,
    NoteSession,
    Refuse,
    RestoreSession,
    RewindSession,
    StandStill,
    StopAgent,
    Wait,
)
from reconciler.core.keys import as_map
from reconciler.core.messages import Message
from reconciler.core.records import SessionRecord
from reconciler.core.slot.branching import still
from reconciler.core.slot.snapshots import under_way
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.session import SessionName
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import GovernPart, SessionPart, SlotPart

SESSION_DIR = "/root/.pi/agent/sessions"

MOST_EARLIER = 100
"""Names of earlier mirrors kept for showing; the mirrors themselves all stay in the store."""


# --- names ----------------------------------------------------------------------------------------------------------------


def session_name(uid: str, generation: int, incarnation: int = 0) -> str:
    """Name of a session's mirror; also of its file on the machine. `incarnation`: how often another name was needed."""
    return f"{uid}-g{generation}" if incarnation == 0 else f"{uid}-g{generation}-{incarnation}"


def path_of(name: str) -> str:
    return f"{SESSION_DIR}/{name}.jsonl"


def current(record: SessionRecord, uid: str, generation: int) -> SessionName:
    """The conversation in force; `generation` names the one that will be begun when there is none yet."""
    name = record.name or session_name(uid, generation, record.incarnation)
    return SessionName(name, path_of(record.file or name))


def newest_first(listing: str) -> list[str]:
    """The conversations of a machine, from lines `SECONDS PATH`; what is not in the directory of conversations is left out."""
    found: list[tuple[float, str]] = []
    for line in listing.splitlines():
        at, _, path = line.partition(" ")
        if path.startswith(f"{SESSION_DIR}/") and path.endswith(".jsonl") and at.replace(".", "", 1).isdecimal():
            found.append((float(at), path))
    return [path for _, path in sorted(found, reverse=True)]


def forked(whole: bytes, uid: str, parent: str) -> bytes:
    """A conversation that goes on apart from the one that it begins with: as pi does it, the first line has an id of its own and names the
    file it comes from; every other byte is the same. The same for the same `uid`. `parent`: path of that file."""
    line, newline, rest = whole.partition(b"\n")
    try:
        header = as_map(json.loads(line))
    except ValueError:
        header = {}
    if not newline or header.get("type") != "session":
        return whole
    own = {**header, "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"reconciler:{uid}")), "parentSession": parent}
    return json.dumps(own, separators=(",", ":"), ensure_ascii=False).encode() + newline + rest


# --- the record, changed ----------------------------------------------------------------------------------------------------


def housed(record: SessionRecord, uid: str, generation: int) -> SessionRecord:
    """A place for the conversation is there: it goes on with what the mirror has, or the first one begins as declared."""
    if not record.name:
        record = record.but(name=session_name(uid, generation, record.incarnation), generation=generation)
    return record.but(lost="", answer="", seen=0)


def begun_anew(record: SessionRecord, uid: str, generation: int) -> SessionRecord:
    """Another conversation, empty; the mirror of the one before keeps its name and is remembered. A higher `generation` is a
    declared one, the same is another incarnation of it."""
    if generation > record.generation:
        fresh = SessionRecord(name=session_name(uid, generation), generation=generation)
    else:
        number = record.incarnation + 1
        fresh = SessionRecord(name=session_name(uid, record.generation, number), generation=record.generation, incarnation=number)
    return fresh.but(earlier=(*record.earlier, record.name)[-MOST_EARLIER:] if record.name else record.earlier)


def chosen(record: SessionRecord, uid: str, end: str) -> SessionRecord:
    """One of two ends that differ goes on. `vm`: what is in the file, under a new mirror; `local`: what is in the mirror, in a new
    file. The other end stays as it is, under the name it had."""
    number = record.incarnation + 1
    name = session_name(uid, record.generation, number)
    kept = record.but(incarnation=number, answer="", seen=0)
    if end == "local":
        return kept.but(file=name)
    return kept.but(name=name, file=record.file or record.name, earlier=(*record.earlier, record.name)[-MOST_EARLIER:])


def answered(record: SessionRecord, question: str, answer: str) -> SessionRecord:
    """A person's answer, to be acted on; one that answers nothing is dropped. `question`: the reason it is stalled for."""
    fits = (question == "SessionDiverged" and answer in ("vm", "local")) or (question == "SessionLost" and answer == "local")
    return record.but(answer=answer) if fits else record


# --- loss -------------------------------------------------------------------------------------------------------------------


def loss_of(on_lost: OnLost, record: SessionRecord, mirrored: int, seen: int) -> str:
    """Why the conversation of a lost machine does not go on as declared without a person's word; '' when it does. `mirrored`: bytes in
    the store; `seen`: the most that was ever seen of it (what nobody saw, nobody can miss)."""
    if record.answer == "local" or max(mirrored, seen) == 0:
        return ""
    match on_lost:
        case OnLost.NEW:
            return ""
        case OnLost.FAIL:
            return f"session.onLost is Fail; {mirrored} bytes of its conversation are mirrored, {max(seen, mirrored)} were seen"
        case OnLost.RESUME:
            return "" if seen <= mirrored else f"{seen} bytes of its conversation were seen there, {mirrored} are mirrored"


# --- policies -----------------------------------------------------------------------------------------------------------------


def mirror_what_was_read(v: SessionPart) -> MirrorSession | None:
    """G-32: what was read of the conversation is in its mirror before anything is concluded from it. Asked beside the chains: all other
    decisions are made as if it were there already, and wait for it."""
    return MirrorSession(v.mirror_size) if v.pending else None


def note_what_was_seen(v: SlotPart) -> Decision | None:
    """G-32: that a machine has more of the conversation than could be saved is known durably, should the machine be lost now."""
    if v.slot.desired is DesiredState.GONE or v.session_seen <= max(v.mirror_size, v.lt.record.session.seen):
        return None
    return NoteSession(v.session_seen)


def begin_anew_after_a_loss(v: SlotPart) -> Decision | None:
    """session.onLost New: with its machine the conversation ends, and another one begins; the mirror is kept."""
    record = v.lt.record.session
    lost = record.lost and not v.lt.vm_id and max(v.mirror_size, record.seen) > 0
    if not lost or v.slot.desired is not DesiredState.RUNNING or v.on_lost is not OnLost.NEW or record.answer == "local":
        return None
    return BeginSession(record.generation, f"VM {record.lost} was lost with its conversation, and session.onLost is New")


def begin_as_declared(v: SessionPart) -> Decision | None:
    """G-30: a raised session.generation begins another conversation, when settled and with no task in this one."""
    record = v.lt.record.session
    if not record.name or v.session_generation <= record.generation or v.lt.active_task or not isinstance(v.lt.agent, Agent):
        return None
    if isinstance(v.lt.agent.process, Up):
        return StopAgent(v.lt.vm_id, "a new conversation is declared") if v.lt.settled else None
    if not v.slot.mirrored and v.divergence is None:
        return Wait(Reason.BEGINNING_SESSION, "saving the conversation first", until=v.lt.now + 1.0)
    return BeginSession(v.session_generation, f"session.generation {v.session_generation} is declared")


def turns_of(messages: Sequence[Message]) -> tuple[int, ...]:
    """Where each turn of a conversation begins, in bytes: at what was said to the agent."""
    return tuple(message.offset for message in messages if message.role == "user")


def rewound(record: SessionRecord, uid: str) -> SessionRecord:
    """Another incarnation, which goes on from an earlier point; the mirror of the one before is remembered."""
    return begun_anew(record, uid, record.generation)


def rewind_as_asked(v: SessionPart) -> Decision | None:
    """So many turns are taken back when a person asks for it, when settled and with no task in it. What is cut stays readable, under
    the name it had."""
    turns = v.lt.record.session.rewind
    if not turns or not v.lt.record.session.name or v.lt.active_task or not isinstance(v.lt.agent, Agent) or v.divergence is not None:
        return None
    if isinstance(v.lt.agent.process, Up):
        settled = v.lt.settled or not v.lt.agent.process.responsive
        return StopAgent(v.lt.vm_id, f"its conversation is taken back by {turns} turns") if settled else None
    if not v.slot.mirrored:
        return Wait(Reason.BEGINNING_SESSION, "saving the conversation first", until=v.lt.now + 1.0)
    return RewindSession(turns, v.turns[max(0, len(v.turns) - turns)] if v.turns else v.mirror_size)


def choose_between_two_ends(v: SessionPart) -> Decision | None:
    """G-32: a file and a mirror that contradict each other are both left as they are until a person says which goes on."""
    if v.divergence is None or not isinstance(v.lt.agent, Agent):
        return None
    answer, divergence = v.lt.record.session.answer, v.divergence
    if answer == "vm":
        return KeepEnd("vm")
    if answer == "local" and not isinstance(v.lt.agent.process, Up):
        return KeepEnd("local")
    if answer == "local":
        waiting = Wait(Reason.RESOLVING_SESSION, "waiting for the turn to end")
        return StopAgent(v.lt.vm_id, "the mirror goes on") if v.lt.settled else waiting
    where = (
        f"{divergence.machine} bytes on {v.lt.vm_id or 'this host'}, {divergence.mirror} in the mirror, the same up to byte {divergence.at}"
    )
    return Refuse(Reason.SESSION_DIVERGED, f"{where}; `reconciler resolve lieutenant {v.lt.name} --session vm|local` says which goes on")


def continue_what_was_found(v: SessionPart) -> Decision | None:
    """G-36: on a machine that was adopted, a conversation that nobody said anything in yet begins as a copy of the newest one that is
    found there. It is looked for once, before pi is started."""
    adopted, record = v.slot.record.adopted, v.lt.record.session
    if not adopted or adopted != v.lt.vm_id or record.looked_on == adopted or not isinstance(v.lt.agent, Agent):
        return None
    if isinstance(v.lt.agent.process, Up) or v.lt.agent.session_size or v.mirror_size or record.earlier:
        return None
    return ContinueSession(v.lt.vm_id)


def move_on(v: SlotPart) -> Decision | None:
    """G-33: nobody stands still longer than copies are made of it, nor than is bearable; nor on another machine or conversation."""
    stand, now = v.lt.record.stand, v.lt.now
    if not stand.vm_id or v.copies.sent:
        return None
    if not v.copies.asked:
        return MoveOn("no copy is made of it any more")
    if not still(stand, v.slot.record.vm_id, now):
        return MoveOn("copies of it were not made in time")
    return MoveOn("its conversation is another one now") if stand.session != v.lt.record.session.name else None


def stand_still(v: GovernPart) -> Decision | None:
    """G-33: who is to be copied live stands still when it is settled, between two tasks, with all of its conversation in the mirror."""
    if not v.copies.asked or v.lt.record.stand.vm_id or v.lt.record.local.state or not v.slot.record.vm_id:
        return None
    if v.lt.record.on_the_move or under_way(v.slot):
        return None
    if v.lt.active_task or not v.lt.settled or not v.slot.mirrored or not isinstance(v.lt.agent, Agent):
        return None
    if v.lt.agent.session_size != v.mirror_size:
        return None
    return StandStill(v.slot.record.vm_id, v.lt.record.session.name, v.mirror_size)


def restore_the_conversation(v: SessionPart) -> Decision | None:
    """G-32: a machine that has nothing of the conversation, or only its beginning, gets it from the mirror before pi goes on."""
    if not isinstance(v.lt.agent, Agent) or v.lt.agent.session_size >= v.mirror_size:
        return None
    if isinstance(v.lt.agent.process, Up):
        return StopAgent(v.lt.vm_id, "its session file was cut short") if v.lt.settled else None
    return RestoreSession(v.lt.vm_id, v.mirror_size)
