"""What VMs were made from, as the platform tells."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from reconciler.app import vers_of
from reconciler.config import Config
from reconciler.core.snapshot.vm import VmMetadata
from reconciler.errors import Forbidden, NotFound
from reconciler.vers.client import VersClient

MOST = 1000
"""About so many VMs are asked for at most."""


async def lineage_of(config: Config, vm_ids: Sequence[str]) -> Mapping[str, VmMetadata]:
    """What these VMs were made from, and what those were, as far as the platform tells. What it does not tell is left out."""
    client = vers_of(config)
    known: dict[str, VmMetadata] = {}
    commits: dict[str, str] | None = None
    asked: set[str] = set()
    todo = list(dict.fromkeys(vm_ids))
    try:
        while todo and len(asked) < MOST:
            asked.update(todo)
            told = await asyncio.gather(*(_metadata(client, vm_id) for vm_id in todo))
            for one in [found for found in told if found is not None]:
                if one.parent_commit_id and not one.grandparent_vm_id:
                    commits = await _parents(client) if commits is None else commits
                    one = replace(one, grandparent_vm_id=commits.get(one.parent_commit_id))
                known[one.vm_id] = one
            todo = [at for at in {one.grandparent_vm_id for one in known.values()} if at and at not in asked]
    finally:
        await client.aclose()
    return known


async def _metadata(client: VersClient, vm_id: str) -> VmMetadata | None:
    try:
        return await client.get_metadata(vm_id)
    except (NotFound, Forbidden):
        return None


async def _parents(client: VersClient) -> dict[str, str]:
    """By commit, the VM that it was taken of."""
    try:
        return {commit.commit_id: commit.parent_vm_id for commit in await client.list_commits() if commit.parent_vm_id}
    except (NotFound, Forbidden):
        return {}
