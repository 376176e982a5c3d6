"""Whose something is that a declaration names by an id of the platform, and what the operator allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.core.snapshot.vm import Unknown

EVERY = "*"
"""Stands for every namespace."""


@dataclass(frozen=True, slots=True)
class Made:
    """This installation made it for an object of `namespace`, which shares it with these."""

    namespace: str
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unmarked:
    """Nothing says that it is of this installation."""


@dataclass(frozen=True, slots=True)
class Missing:
    """The platform has no such thing. `why`: in its words."""

    why: str


Origin = Made | Unmarked | Missing | Unknown
UNMARKED = Unmarked()


@dataclass(frozen=True, slots=True)
class Named:
    """A commit, a reference to one, or a VM. Prints as `commit ID`. `ref`: the reference that pointed to the commit when it was read,
    '' where the commit itself is named."""

    kind: Literal["commit", "reference", "VM"]
    name: str
    origin: Origin = UNMARKED
    ref: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{f' ({self.ref})' if self.ref else ''}"


@dataclass(frozen=True, slots=True)
class Sharing:
    """What the operator allows. `unowned`: the namespaces that may name ids of the account which carry no mark of this installation;
    `grants`: pairs of the namespace that made something and one that may use it. `*` stands for every namespace."""

    unowned: frozenset[str] = frozenset({EVERY})
    grants: frozenset[tuple[str, str]] = frozenset()

    def granted(self, owner: str, user: str) -> bool:
        return any((made, used) in self.grants for made in (owner, EVERY) for used in (user, EVERY))


OPEN = Sharing()
"""Everything that is not marked may be used by everybody, and what is marked by who made it."""
