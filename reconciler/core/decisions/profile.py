"""What may be decided for a boot profile: baking it, and keeping machines of it ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions.base import Act, Effect
from reconciler.core.keys import Key


@dataclass(frozen=True, slots=True)
class StartBake(Act):
    """Declare the machine that it is baked on. `hash`: of the profile."""

    doing: ClassVar = TreeReason.BAKING
    books_only: ClassVar = True
    effect: ClassVar = Effect.CREATE
    occasion: ClassVar = "the profile is to be baked, and no commit of it is in force"

    hash: str


@dataclass(frozen=True, slots=True)
class CommitBake(Act):
    """Let its machine go, which commits it first. `seal`: what its done-marks bear."""

    doing: ClassVar = TreeReason.BAKING
    books_only: ClassVar = True

    hash: str
    seal: str


@dataclass(frozen=True, slots=True)
class DropBake(Act):
    """Delete its machine without a commit. `why`: it failed, '' when it is not wanted any more."""

    doing: ClassVar = TreeReason.BAKING
    books_only: ClassVar = True

    why: str
    hash: str


@dataclass(frozen=True, slots=True)
class NoteBaked(Act):
    """The commit that its machine left is in force from now on."""

    doing: ClassVar = TreeReason.BAKING
    books_only: ClassVar = True

    commit: str


@dataclass(frozen=True, slots=True)
class NoteBakeFailed(Act):
    """Its machine is gone and left no commit."""

    doing: ClassVar = TreeReason.BAKING
    books_only: ClassVar = True


@dataclass(frozen=True, slots=True)
class FindBaked(Act):
    """These commits of the profile are on the platform, and the store has lost them: they are taken up again. `strays`: those of which
    nothing tells what was baked; they are only listed."""

    doing: ClassVar = TreeReason.BAKING
    books_only: ClassVar = True

    commits: tuple[str, ...]
    strays: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        return ", ".join((*self.commits, *self.strays))


@dataclass(frozen=True, slots=True)
class StartWarm(Act):
    """Declare one more machine that is kept ready. `serial`: which one; `hash`: of the profile."""

    doing: ClassVar = TreeReason.WARMING
    books_only: ClassVar = True

    serial: int
    hash: str


@dataclass(frozen=True, slots=True)
class RestWarm(Act):
    """It is verified: suspend it until a lieutenant takes it."""

    doing: ClassVar = TreeReason.WARMING
    books_only: ClassVar = True

    machine: Key


@dataclass(frozen=True, slots=True)
class DropWarm(Act):
    """Delete a machine that was kept ready. `failed`: why it could not be, '' when it is one too many; `hash`: of the profile."""

    doing: ClassVar = TreeReason.WARMING
    books_only: ClassVar = True

    machine: Key
    failed: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class FindWarm(Act):
    """These machines claim to be kept ready for the profile, and the store has lost them: they are taken up again."""

    doing: ClassVar = TreeReason.WARMING
    books_only: ClassVar = True

    machines: tuple[Key, ...]


WarmAction = StartWarm | RestWarm | DropWarm | FindWarm
"""What is decided about machines that a profile keeps ready."""


@dataclass(frozen=True, slots=True)
class DropBaked(Act):
    """Remove a baked commit of an earlier profile that is one more than is to be kept. `renamed`: it has another name than the one that we
    gave it, so it is only noted."""

    doing: ClassVar = TreeReason.BAKING

    commit: str
    renamed: bool = False

    @property
    def target(self) -> str:
        return self.commit


BakeAction = StartBake | CommitBake | DropBake | NoteBaked | NoteBakeFailed | DropBaked | FindBaked
"""What is decided about baking it."""

ProfileAction = BakeAction | WarmAction
