"""What the store remembers of repositories that declare a fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from reconciler.core.signing import signers

if TYPE_CHECKING:
    from reconciler.engine.ports import Store, StoredObject


async def repositories_of(store: Store) -> list[str]:
    """The row of each repository."""
    from reconciler.core.notices import REPOSITORY  # commands that only look begin faster without

    return list((await store.metas(REPOSITORY)).values())


async def signatures(store: Store, objects: Iterable[StoredObject]) -> Mapping[str, str]:
    """By commit, what git said of the key that signed it, of commits that declare any of these objects."""
    wanted = {obj.source_commit for obj in objects} - {""}
    return {commit: said for commit, said in signers(await repositories_of(store)).items() if commit in wanted} if wanted else {}
