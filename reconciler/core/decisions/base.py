"""What every act knows about itself, so that nobody else has to keep a table of acts."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import ClassVar

from reconciler.api.waits import Explained


class Urgency(IntEnum):
    """Which of several acts of one work set comes first. All acts of the most urgent class `RECORD` are carried out together, of
    any other class one at a time."""

    EVIDENCE = 0  # makes durable what was read, before anything is concluded from it
    RECORD = 1  # writes down what was observed of a task
    CHECK = 2  # looks at what a task left behind
    MACHINE = 3  # brings slot, machine and agent further
    ABORT = 4
    WITHDRAW = 5
    ESCALATE = 6
    REPROMPT = 7
    STEER = 8
    CONTINUE = 9
    DELIVER = 10
    BESIDE = 11  # brings on what nobody waits for


class Effect(StrEnum):
    """What an act means for what the object has outside."""

    CREATE = "create"
    CHANGE = "change"
    REPLACE = "replace"
    DELETE = "delete"


class Act:
    """Base of everything that changes something.

    `doing`: the reason of conditions while it is carried out. `books_only`: it writes into our own books and changes nothing outside.
    `reported_first`: it may take long, so status is written before it begins; `reported_if_long`: it may, or may not: status is written
    while it lasts, unless it is soon over; `writes_first`: the first thing it does is to write its object, and status goes with that.
    `then_observe`: what follows can only be decided after observing again; otherwise the snapshot is known once it has succeeded.
    `effect`: what a plan counts it as. `occasion`: why it is done, in words, where its reason only says what is being done."""

    __slots__ = ()

    doing: ClassVar[Explained]
    urgency: ClassVar[Urgency] = Urgency.MACHINE
    books_only: ClassVar[bool] = False
    reported_first: ClassVar[bool] = False
    reported_if_long: ClassVar[bool] = False
    writes_first: ClassVar[bool] = False
    then_observe: ClassVar[bool] = True
    effect: ClassVar[Effect] = Effect.CHANGE
    occasion: ClassVar[str] = ""

    @property
    def verb(self) -> str:
        """What a plan calls it."""
        return type(self).__name__

    @property
    def message(self) -> str:
        """What distinguishes it from others of its kind, for conditions; '' for nothing."""
        return ""

    @property
    def target(self) -> str:
        """What it is done to: a VM, a task, a step; '' where the object itself is meant."""
        return next((str(getattr(self, name)) for name in ("vm_id", "step", "check", "mark") if hasattr(self, name)), "")

    @property
    def lost(self) -> str:
        """What is gone afterwards and can't be had again; '' for nothing."""
        return ""

    @property
    def because(self) -> str:
        """Why, in words where the act has some of its own, else its reason."""
        return str(getattr(self, "why", "")) or self.message or str(self.doing)

    @property
    def explained(self) -> str:
        """The same for people: where there is only a reason, its occasion or its meaning, without a full stop."""
        return self.because if self.because != str(self.doing) else self.occasion or self.doing.meaning.rstrip(".")
