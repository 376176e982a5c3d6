"""Objects whose files are not good now, while a good version of them stays in force: what their status says of it, and events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from reconciler.api.sourcereasons import SourceReason
from reconciler.core.conditions import condition_of
from reconciler.core.keys import Key
from reconciler.engine.ports import StoredObject
from reconciler.engine.recorder import Recorder
from reconciler.engine.state.items import AnyItem

FOLLOWED = frozenset({"file", "git"})
"""Sources whose declarations nobody else tells of: an object in a cluster says in its own status what is wrong with it."""


def told_of(items: Iterable[AnyItem], condition: SourceReason) -> dict[Key, str]:
    """What objects say under this condition, as they were written last: it holds until a look at what is declared says otherwise."""
    found = {item.key: str(condition_of(item.obj.status, condition).get("message") or "") for item in items if item.obj.source in FOLLOWED}
    return {key: why for key, why in found.items() if why}


def flaw_of(obj: StoredObject, flawed: Mapping[Key, str]) -> str | None:
    """What is wrong with what its file declares now; None where nothing is, and where it lives in no file."""
    return flawed.get(obj.key) if obj.source in FOLLOWED and obj.deleted_at is None else None


def note_flaws(before: Mapping[Key, str], now: Mapping[Key, str], get: Callable[[Key], AnyItem | None], recorder: Recorder) -> set[str]:
    """Events of what became flawed, and of what is so no more; they are written with the next status. Returns what they say is wrong."""
    told = set[str]()
    for item in _turned(before, now, get):
        if item.key in now:
            recorder.note(item.key, item.uid, SourceReason.DECLARATION_INVALID, now[item.key], "Warning")
            told.add(now[item.key])
        else:
            good = SourceReason.DECLARATION_GOOD
            recorder.note(item.key, item.uid, good, good.meaning)
    return told


def _turned(before: Mapping[Key, str], now: Mapping[Key, str], get: Callable[[Key], AnyItem | None]) -> Iterator[AnyItem]:
    for key in before.keys() ^ now.keys():
        item = get(key)
        if item is not None and not item.deleting and item.obj.source in FOLLOWED:
            yield item
