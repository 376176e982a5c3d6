"""What a slot that is to be a live copy of another one depends on, and what the other one has to know of its copies. The one that is
copied is called the *original*: it stands still, settled, while copies of it are made."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.snapshot.vm import Absent, VmObservation

NO_VM = Absent(proven=True)


@dataclass(frozen=True, slots=True)
class Standing:
    """A machine that stands still since then, with `size` bytes of the conversation `session` on it and in its mirror ('' for a machine
    without an agent). `named`: whose it is; `seals`: what done-marks on its disk bear that hold on it."""

    vm_id: str
    session: str = ""
    size: int = 0
    since: float = 0.0
    named: str = ""
    seals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Original:
    """The slot that is to be copied, as it is now. `named`: in words; `kept_from`: why nothing may be done to it, '' for nothing; `over`:
    when it stood still last."""

    named: str
    exists: bool = True
    deleting: bool = False
    local: bool = False
    kept_from: str = ""
    vm_id: str = ""
    vm: VmObservation = NO_VM
    standing: Standing | None = None
    over: float = 0.0


@dataclass(frozen=True, slots=True)
class Copies:
    """What is to become a copy of this one. `asked`: who asks it to stand still; `sent`: for whom a branch may still be made of it, since
    the call is on its way or was not answered; `calling`: a call is on its way now."""

    asked: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    calling: bool = False

    @property
    def wanted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.sent, *self.asked)))


NO_COPIES = Copies()
