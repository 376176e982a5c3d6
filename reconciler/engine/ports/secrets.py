"""Values that declarations refer to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from reconciler.core.snapshot.rendered import SecretRef


class Secrets(Protocol):
    """Values of `secretKeyRef`s and `configMapKeyRef`s, resolved at each use."""

    def get(self, namespace: str, name: str, key: str) -> str | None: ...

    def config(self, namespace: str, name: str, key: str) -> str | None:
        """The value of a key of a ConfigMap, which is no secret; None when there is none."""
        ...

    def holds(self, kind: Literal["Secret", "ConfigMap"], namespace: str, name: str) -> bool:
        """Whether there is a Secret or ConfigMap of that name, whatever its keys."""
        ...

    def unread(self, kind: Literal["Secret", "ConfigMap"], namespace: str, name: str) -> str:
        """Why a Secret or ConfigMap that was read before may not be read any more, and for a while now, in words; '' while it may. Its
        last known values are handed out meanwhile."""
        ...

    def known(self) -> Iterable[str]:
        """Every value handed out so far, for redaction."""
        ...


class Draws(Protocol):
    """Programs and files of this host that give values."""

    async def draw(self, namespace: str, ref: SecretRef) -> str:
        """Run the program to its end, or read the file: what it gives, as text. Raises what is wrong, without any of that."""
        ...
