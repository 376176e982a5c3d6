"""What may be decided for what people ask for, by annotation or by a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.api.reasons import Reason
from reconciler.core.decisions.base import Act


@dataclass(frozen=True, slots=True)
class Acknowledge(Act):
    """Write down what was asked for by annotation, and when a declared suspension began, before anything follows from it. `verbs`: those
    whose token is new; `causes`: what else asks, in words, with the field."""

    doing: ClassVar = Reason.ACKNOWLEDGING
    books_only: ClassVar = True

    verbs: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        asked = (f"{', '.join(self.verbs)} {'were' if len(self.verbs) > 1 else 'was'} asked for by annotation",) if self.verbs else ()
        return "; ".join((*asked, *self.causes))

    @property
    def target(self) -> str:
        return ", ".join(self.verbs)


RequestAction = Acknowledge
