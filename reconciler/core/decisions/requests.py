"""What may be decided for what people ask for by annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.api.reasons import Reason
from reconciler.core.decisions.base import Act


@dataclass(frozen=True, slots=True)
class Acknowledge(Act):
    """Write down what was asked for by annotation, and when a declared suspension began, before anything follows from it. `verbs`: those
    whose token is new."""

    doing: ClassVar = Reason.ACKNOWLEDGING
    books_only: ClassVar = True

    verbs: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        return ", ".join(self.verbs)


RequestAction = Acknowledge
