"""Where declarations and their status live besides the store: a cluster, or nowhere. It is told before what can't be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from reconciler.engine.ports import Intent, StoredObject
from reconciler.engine.state.declared import Declared


class DeclarationBackend(Protocol):
    """Raises what its place says; then the act that was to follow is not carried out."""

    async def persist_intent(self, intent: Intent) -> None:
        """A create is about to be sent: write that down where it outlives the store (design §5.2)."""
        ...

    async def flush_status(self, obj: StoredObject) -> None:
        """A prompt is about to be sent: what is known of its task has to be where it outlives the store (G-20)."""
        ...

    async def declare(self, declared: Declared, owner: StoredObject) -> bool:
        """Declare an object on behalf of another one, where that one's declaration lives, or put it right. False: it lives in the store."""
        ...

    async def undeclare(self, obj: StoredObject, annotations: Mapping[str, str], why: str) -> bool:
        """Ask for the deletion of such an object, with these annotations on it. `why`: told in its event. False: it lives in the store."""
        ...

    async def release(self, obj: StoredObject) -> None:
        """Nothing outside is left of this object: let its declaration go (our finalizer)."""
        ...

    async def expire(self, obj: StoredObject) -> None:
        """Its time is over and the store has let go of it: remove its declaration too."""
        ...


class NullBackend:
    """The store is all there is."""

    async def persist_intent(self, intent: Intent) -> None:
        return None

    async def flush_status(self, obj: StoredObject) -> None:
        return None

    async def declare(self, declared: Declared, owner: StoredObject) -> bool:
        return False

    async def undeclare(self, obj: StoredObject, annotations: Mapping[str, str], why: str) -> bool:
        return False

    async def release(self, obj: StoredObject) -> None:
        return None

    async def expire(self, obj: StoredObject) -> None:
        return None
