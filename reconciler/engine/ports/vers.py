"""The Vers platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a command that reads the store imports this package and has no use for them
    from reconciler.core.snapshot.machine import CreateSource, VmShape
    from reconciler.core.snapshot.vm import Commit, Vm, VmList, VmMetadata


class VersApi(Protocol):
    """The Vers HTTP API, one method an operation (vers-api §2). Methods raise:

    `Unauthorized` (no, wrong or expired key), `Forbidden` (403 JSON), `NotFound` (404), `Rejected` (400, 422),
    `Conflict` (409), `RateLimited` (429), `Unreachable` (no connection, 5xx, outage texts), `NotSent` of those when the
    request provably never left, and `TimedOut`.

    create_vm and commit raise a class of `errors.REFUSED` only where it is proven that they had no effect, and `Indeterminate` for
    everything else; of those `DoubtfulRefusal` when a create was refused in words, and `NoRoom` when they tell of no room.
    """

    def account(self) -> str:
        """The account the current key belongs to (the key's public 36-character id), '' when there is no key."""
        ...

    def answered(self) -> Mapping[tuple[str, str], int]:
        """How often the platform answered so far, by method and status."""
        ...

    async def list_vms(self) -> VmList: ...

    async def get_vm(self, vm_id: str) -> Vm: ...

    async def get_metadata(self, vm_id: str) -> VmMetadata: ...

    async def resolve_ref(self, ref: str) -> str:
        """The id of the commit that `repository:tag` points to now. `NotFound` or `Forbidden`: there is none that this key may see."""
        ...

    async def create_vm(self, source: CreateSource, shape: VmShape, labels: Mapping[str, str], token: str) -> str:
        """One attempt to create one VM; returns its id. `labels` are sent where the operation takes them (RootSource).
        `token`: constant per intent, sent as X-Idempotency-Key, never relied on. Never retried in transport."""
        ...

    async def commit(self, vm_id: str, name: str) -> str:
        """One attempt to commit this VM under a name; returns the commit's id. Never retried in transport."""
        ...

    async def delete_commit(self, commit_id: str) -> None:
        """Remove this commit. 404 raises `NotFound`, 409 (a machine was made from it) `Conflict`."""
        ...

    async def list_commits(self) -> tuple[Commit, ...]:
        """Every commit that this account may see, all pages."""
        ...

    async def delete_vm(self, vm_id: str) -> None:
        """Returns when the platform accepted the deletion or says 404. 403 JSON raises `Forbidden`: it may mean gone
        (vers-api §2.0), which only the list can prove."""
        ...

    async def suspend_vm(self, vm_id: str) -> None: ...

    async def resume_vm(self, vm_id: str) -> None: ...

    async def set_labels(self, vm_id: str, labels: Mapping[str, str]) -> None:
        """Upsert of these labels; others stay."""
        ...
