"""What a look at what is declared comes to, before anything of it is put in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.core.keys import Key
from reconciler.engine.state.changes import Note, ObjectChange
from reconciler.engine.state.declarations import Outcome
from reconciler.errors import ReconcilerError
from reconciler.sources.documents.reader import Finding
from reconciler.sources.files.scan import FileDeclared


class Entering(Protocol):
    """A commit that comes in force. `note`: says so; `changed`: objects that differ."""

    @property
    def commit(self) -> str: ...

    def note(self, changed: int) -> Note: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of one declared object. `change`: None where there is nothing to do; `verbs`: annotations that are set with it;
    `drifted`: somebody changed it elsewhere."""

    one: FileDeclared
    outcome: Outcome
    change: ObjectChange | None
    verbs: Mapping[str, str]
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class Objection:
    """Why an object is not put in force as it is declared. `commit`: which one can't be in force as a whole then, '' for none; `drift`:
    what is declared is good, and what is in force was changed elsewhere and stays."""

    key: Key
    commit: str
    finding: Finding
    drift: bool = False


class Unfit(ReconcilerError):
    """Something of a commit would be refused by now. `objections`: what."""

    def __init__(self, objections: Sequence[Objection]) -> None:
        super().__init__(str(objections[0].finding))
        self.objections = objections
