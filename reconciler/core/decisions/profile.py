"""What may be decided for a boot profile: baking it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions.base import Act, Effect


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


ProfileAction = StartBake | CommitBake | DropBake | NoteBaked | NoteBakeFailed
