"""In which order the objects of one second came. A cluster tells the second in which an object was made, and no more; tasks that were
made in the same one run in the order in which they arrived, whoever reads them later."""

from __future__ import annotations

from reconciler.core.keys import Json, as_map
from reconciler.core.times import seconds
from reconciler.sources.kube import raw

STEP = 1e-5
"""Seconds between two objects of one second; more of them than fit share the last place, and their names decide."""
KEPT = 1000
"""Seconds of which it is known how many objects they had; those are the last ones."""


class Arrivals:
    """Ask `of` once for each object that is new, in the order of arrival."""

    def __init__(self) -> None:
        self._of_second: dict[int, int] = {}
        self._of_object: dict[str, float] = {}

    def note(self, obj: Json) -> None:
        """It was seen for the first time."""
        made = made_at(obj)
        count = self._of_second[int(made)] = self._of_second.pop(int(made), 0) + 1
        self._of_object[raw.uid(obj)] = min(int(made) + count * STEP, int(made) + 1 - STEP)
        while len(self._of_second) > KEPT:
            del self._of_second[next(iter(self._of_second))]

    def take(self, obj: Json) -> float:
        """When it counts as made (seconds since the epoch): what its status says, else its second and its place in that."""
        noted = self._of_object.pop(raw.uid(obj), None)
        made, told = made_at(obj), seconds(as_map(obj.get("status")).get("arrivedAt"))
        if told is not None and int(told) == int(made):
            return told
        return made if noted is None else noted

    def forget(self, obj: Json) -> None:
        self._of_object.pop(raw.uid(obj), None)


def made_at(obj: Json) -> float:
    return seconds(raw.metadata(obj).get("creationTimestamp")) or 0.0


def order(obj: Json) -> tuple[float, int]:
    """Sorts objects of a list as they arrived: by second, and in it by the version of the store that has them."""
    version = raw.version(obj)
    return made_at(obj), int(version) if version.isascii() and version.isdigit() and len(version) < 40 else 0
