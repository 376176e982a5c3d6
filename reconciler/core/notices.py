"""Notices: what people who do not look want to be told. Pure.

In: what holds of an object before and after a write (its status and record), or the breakers as they are kept. Out: the notices that
follow. A notice has an id that is made from the object's uid and from what happened, so that the same news has the same id however often
it is derived or delivered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, Self, get_args

from reconciler.api.sourcereasons import SourceReason
from reconciler.core.attention import AWAITING, Attention, attention_of, attention_of_repository
from reconciler.core.conditions import condition_of
from reconciler.core.fleet.breaker import Breaker
from reconciler.core.keys import Json, Key, as_map, as_maps, short
from reconciler.core.provider.breaker import read_kept
from reconciler.core.times import seconds, timestamp

Event = Literal["finished", "failed", "attention", "breaker", "budget"]
EVENTS: tuple[Event, ...] = get_args(Event)
"""What a sink can ask for."""

PREFIX = "sh.vers.fleet."
MESSAGE = 1024
PRUNES, REPOSITORY = "prunes", "git/"
"""Rows of the store: which deletions are blocked, and how those begin that each tell of one repository."""
OLD = 3600.0
"""Seconds after which the end of a task is no news to a store that has just heard of the task: it was lost, and takes in what there is."""
FLEET = Key("Controller", "", "fleet")
_WHAT: dict[Event, str] = {"finished": "task.finished", "failed": "task.failed", "attention": "attention.needed"}
_OVER: dict[Event, str] = {"attention": "attention.over", "budget": "budget.within"}


@dataclass(frozen=True, slots=True)
class Holds:
    """Something that holds of an object and that people may want to know. `since`: tells this time from other times."""

    reason: str
    message: str = ""
    since: str = ""


Standing = Mapping[Event, Holds]


@dataclass(frozen=True, slots=True)
class Notice:
    """One piece of news. `type`: what happened, as in `attention.needed`; `at`: when it was noticed, controller clock; `ends`: id of the
    notice whose news is over with this one; `passing`: it may be over before anybody need be told."""

    id: str
    event: Event
    type: str
    key: Key
    uid: str
    reason: str
    message: str
    at: float
    ends: str = ""
    passing: bool = False

    def dump(self) -> str:
        """As the store keeps it."""
        return json.dumps({**asdict(self), "key": list(self.key)}, sort_keys=True)

    @classmethod
    def load(cls, text: str) -> Self | None:
        """What `dump` wrote; None for anything else."""
        try:
            told = json.loads(text)
            kind, namespace, name = told.pop("key")
            made = cls(**told, key=Key(str(kind), str(namespace), str(name)))
            return made if made.event in EVENTS and isinstance(made.at, int | float) and isinstance(made.id, str) else None
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which notices somebody wants; () is all of them. What concerns the whole fleet is in no namespace and is never filtered by one."""

    events: tuple[Event, ...] = ()
    kinds: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def wants(self, notice: Notice) -> bool:
        key, fleet = notice.key, notice.key.kind == FLEET.kind
        return (
            (not self.events or notice.event in self.events)
            and (not self.kinds or fleet or key.kind in self.kinds)
            and (not self.namespaces or not key.namespace or key.namespace in self.namespaces)
            and (not self.reasons or notice.reason in self.reasons)
        )


def standing(status: Json, record: Json) -> Standing:
    """What holds of an object by what was written down of it."""
    found: dict[Event, Holds] = {}
    needed = attention_of(status)
    finished = str(status.get("finishedAt") or "")
    if finished:  # only work has an end
        ready = condition_of(status, "Ready")
        event: Event = "failed" if needed is not None and needed.sort == "Failure" else "finished"
        found[event] = Holds(str(ready.get("reason", "")), str(ready.get("message", ""))[:MESSAGE], finished)
        if event == "failed":
            return found
    if needed is not None and needed.reason != SourceReason.PRUNE_BLOCKED:  # of that one notice tells, for the whole stack
        found["attention"] = Holds(needed.reason, needed.message[:MESSAGE], needed.since)
    budget = record.get("budget")
    if budget in ("Warned", "Exceeded"):
        found["budget"] = Holds(f"Budget{budget}")
    return found


def news(key: Key, uid: str, before: Standing, after: Standing, version: int, now: float) -> list[Notice]:
    """What is to be told when one follows the other. `version`: of the object that says so."""
    made: list[Notice] = []
    for event in EVENTS:
        was, new = before.get(event), after.get(event)
        if new is not None and (was is None or was.reason != new.reason or (new.reason == AWAITING and was.since != new.since)):
            what = _WHAT.get(event) or f"budget.{new.reason.removeprefix('Budget').lower()}"
            told = _id(uid, what, new.reason, new.since or str(version))
            passing = event == "attention" and was is None
            made.append(Notice(told, event, what, key, uid, new.reason, new.message, now, passing=passing))
        elif was is not None and new is None and event in _OVER:
            ends = _id(uid, "attention.needed", was.reason, was.since) if event == "attention" else ""
            told = _id(uid, _OVER[event], was.reason, was.since or str(version))
            made.append(Notice(told, event, _OVER[event], key, uid, was.reason, "", now, ends))
    return made


def stale(notice: Notice, after: Standing, now: float) -> bool:
    """Whether an object that was not known before ended so long ago that its end is no news."""
    found = after.get(notice.event)
    ended = seconds(found.since) if found is not None and notice.event in ("finished", "failed") else None
    return ended is not None and now - ended > OLD


def fleet_breaker_news(before: str, after: str, now: float) -> list[Notice]:
    """Of the breaker for new machines. `before`, `after`: as the store keeps it."""
    was, now_is = Breaker.load(before), Breaker.load(after)
    return _breaker(FLEET, f"breaker {was.since}", f"breaker {now_is.since}", was.reason, now_is.reason, "Capacity", now_is.reason, now)


def provider_breaker_news(before: str, after: str, now: float) -> list[Notice]:
    """Of the breakers for providers of models. `before`, `after`: as the store keeps them."""
    was, now_is = read_kept(before), read_kept(after)
    made: list[Notice] = []
    for scope in sorted({*was, *now_is}):
        old, new = was.get(scope), now_is.get(scope)
        key = Key(FLEET.kind, "", f"provider-{scope[:12]}")
        made += _breaker(
            key,
            f"{scope} {old.since if old else 0}",
            f"{scope} {new.since if new else 0}",
            old.reason if old else "",
            new.reason if new else "",
            new.reason if new else old.reason if old else "",
            new.message if new else "",
            now,
        )
    return made


def prune_news(before: str, after: str, now: float) -> list[Notice]:
    """Of deletions that wait for a person: one notice a stack. `before`, `after`: as the store keeps them."""
    was, now_is = _blocked(before), _blocked(after)
    reason, made = str(SourceReason.PRUNE_BLOCKED), list[Notice]()
    for stack in sorted({*was, *now_is}):
        old, new = was.get(stack), now_is.get(stack)
        key = Key("Stack", "", stack or "unmarked")
        if new is not None and old != new:
            message = f"{new.get('count')} deletions wait of stack {new.get('root')}: {new.get('why')}: {new.get('removals')}"
            id_ = _id(stack, reason, str(new.get("hash")), str(now))
            made.append(Notice(id_, "attention", _WHAT["attention"], key, "", reason, message[:MESSAGE], now))
        elif new is None:
            made.append(Notice(_id(stack, reason, "over", str(now)), "attention", _OVER["attention"], key, "", reason, "", now))
    return made


def _blocked(kept: str) -> dict[str, Json]:
    try:
        return {str(one.get("stack")): one for one in as_maps(as_map(json.loads(kept or "{}")).get("blocked"))}
    except ValueError:
        return {}


def repository_news(before: str, after: str, now: float) -> list[Notice]:
    """Of a repository: that it can't be reached, or that its newest commit is refused. `before`, `after`: as the store keeps it."""
    was, now_is = attention_of_repository(before), attention_of_repository(after)
    made: list[Notice] = []
    for found, what in ((now_is, _WHAT["attention"]), (was, _OVER["attention"])):
        over = found is was
        if found is None or (over and now_is is not None) or (not over and _since(was) == _since(found)):
            continue
        url, needed = found
        began = _id(url, _WHAT["attention"], needed.reason, needed.since)
        told = _id(url, what, needed.reason, needed.since)
        message = url if over else needed.message[:MESSAGE]
        key = Key("Repository", "", hashlib.sha256(url.encode()).hexdigest()[:32])  # as its events have it
        made.append(Notice(told, "attention", what, key, "", needed.reason, message, now, began if over else ""))
    return made


def _since(told: tuple[str, Attention] | None) -> tuple[str, str] | None:
    return (told[1].reason, told[1].since) if told is not None else None


def _breaker(key: Key, old: str, new: str, was: str, now_is: str, reason: str, message: str, now: float) -> list[Notice]:
    if bool(was) == bool(now_is):
        return []
    if now_is:
        return [Notice(_id(new, "breaker.opened"), "breaker", "breaker.opened", key, "", reason, message[:MESSAGE], now)]
    ends = _id(old, "breaker.opened")
    return [Notice(_id(old, "breaker.closed"), "breaker", "breaker.closed", key, "", reason, "", now, ends)]


def cloud_event(notice: Notice, installation: str, fleet: str) -> Json:
    """CloudEvents 1.0, structured, as JSON. `installation`: with the id it makes the notice unique in the world."""
    key = notice.key
    about: Json = {
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "uid": notice.uid,
        "event": notice.event,
        "reason": notice.reason,
        "message": notice.message,
        "fleet": fleet,
    }
    if notice.ends:
        about["ends"] = notice.ends
    return {
        "specversion": "1.0",
        "id": notice.id,
        "source": f"/reconciler/{fleet}/{installation}" if installation else f"/reconciler/{fleet}",
        "type": f"{PREFIX}{notice.type}",
        "subject": f"{key.namespace}/{short(key)}" if key.namespace else short(key),
        "time": timestamp(notice.at),
        "datacontenttype": "application/json",
        "data": about,
    }


def trial(name: str, now: float) -> Notice:
    """A notice by which a person tries a sink."""
    said = "This is a test; nothing happened."
    return Notice(_id(name, "test", str(now)), "attention", "test", FLEET, "", "Test", said, now)


def _id(*parts: str) -> str:
    """Says nothing about its parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
