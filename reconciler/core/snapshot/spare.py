"""What decisions about a lieutenant's second machine may depend on."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.snapshot.agent import Guest
from reconciler.core.snapshot.slot import Slot
from reconciler.core.snapshot.vm import Unknown


@dataclass(frozen=True, slots=True)
class Spare:
    """`slot`: of the other machine, None when there is none and none was being made. `guest`: its inside, None while there was no reason to
    look. `verify`: which snapshots are restored for a look: `Sampled`, `All` or `None`. `blocked`: why no machine may be made for that now;
    `silent_since`: since when it has not answered."""

    slot: Slot | None = None
    guest: Guest | Unknown | None = None
    verify: str = "None"
    blocked: str = ""
    silent_since: float = 0.0


NO_SPARE = Spare()
