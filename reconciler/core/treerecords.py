"""What must be remembered of hierarchies and profiles because it can't be observed; see `records`."""

from __future__ import annotations

from typing import Literal

from reconciler.core.records import Record


class BakedRecord(Record):
    """What a profile was baked to. `hash`: of the profile; `seal`: what the done-marks on its disk bear; `at`: when it was noted;
    `not_before`, `error`: when it could not be removed, and is tried again."""

    hash: str
    commit: str
    seal: str = ""
    at: float = 0.0
    not_before: float = 0.0
    error: str = ""


class BootProfileRecord(Record):
    """What was baked, the oldest first. `baking`: hash of the profile that is being committed, `seal`: of the machine it is baked on;
    `failed`: why the last one failed, `failed_hash`: with which profile. `warmed`: how many machines were made to be kept ready;
    `cold`, `cold_hash`: why the last one could not be, and with which profile."""

    baked: tuple[BakedRecord, ...] = ()
    baking: str = ""
    seal: str = ""
    failed: str = ""
    failed_hash: str = ""
    warmed: int = 0
    cold: str = ""
    cold_hash: str = ""


class BesideRecord(Record):
    """The object that a place had before the category of its node changed between one with an agent and one without. `state`: '' there is
    none; `Making`: it works on while a machine is made for the one in its place; `Settling`: that one is ready, and nothing more is
    sent to this one; `Going`: it is to go, and nothing is brought over from it any more. `tries`: failures in a row to bring its files
    over, `not_before`: when that is tried again, `trouble`: the last one."""

    state: Literal["", "Making", "Settling", "Going"] = ""
    tries: int = 0
    not_before: float = 0.0
    trouble: str = ""


class PlaceRecord(Record):
    """One place of a tree that was declared. `parent`: the node above its own; `agent`: it has a lieutenant; `going`: its object is to go;
    `kept`: its node is not declared any more, and it stays; `digest`: of what was declared for it last; `beside`: its object of the other
    kind."""

    name: str
    node: str
    ordinal: int | None = None
    parent: str = ""
    agent: bool = True
    protected: bool = False
    going: bool = False
    kept: bool = False
    digest: str = ""
    beside: BesideRecord = BesideRecord()


class TreeRecord(Record):
    """What a tree has declared: written down before the objects are. `revisions`: the last specs with which all of it was ready, as
    JSON, the newest last. `budget`: how far it was used up when that was last told. `confirmed`: the last confirmation
    that was acted on; each is good for one deletion."""

    places: tuple[PlaceRecord, ...] = ()
    revisions: tuple[str, ...] = ()
    budget: str = "Within"
    confirmed: str = ""

    def place(self, name: str) -> PlaceRecord | None:
        return next((place for place in self.places if place.name == name), None)

    def by_name(self) -> dict[str, PlaceRecord]:
        """All of them, for who asks about many."""
        return {place.name: place for place in self.places}
