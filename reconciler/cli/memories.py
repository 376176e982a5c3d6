"""Where memories are read and changed: in the store here, by the running controller, or behind the operator of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from reconciler.cli.access import reader
from reconciler.cli.submit import submit, whoami
from reconciler.config import Config
from reconciler.core.governance.memory import Book, Whose, agent_key
from reconciler.core.keys import Json, as_map
from reconciler.engine.ports import Store
from reconciler.errors import NotFound, UsageError

if TYPE_CHECKING:  # an HTTP client, loaded with --kube only
    from reconciler.cli.operatordoor import Door


async def door(config: Config, whose: Whose, operator: str, token_file: Path | None) -> Door | None:
    """The way to the operator, with `--kube`; None without. Raises `NotFound` for a lieutenant that the cluster does not have while
    nobody says where the operator is, and what is missing for the way there."""
    if not config.kube:
        if operator or token_file is not None:
            raise UsageError("--operator and --token-file go with --kube", "memory", "leave them out, or add --kube")
        return None
    from reconciler.cli import kube
    from reconciler.cli.operatordoor import VARIABLE, door_of

    async with kube.connected(config) as cluster:
        if not operator and not config.environ.get(VARIABLE):
            await _must_exist(kube.KubeStore(cluster), whose)
        return await door_of(config, cluster, operator, token_file)


async def read(config: Config, whose: Whose, way: Door | None) -> Book:
    """A memory as it is in the store. Raises `NotFound` where there is neither a memory nor a lieutenant."""
    if way is not None:
        from reconciler.cli.operatordoor import ask
        from reconciler.views.remembered import book_of

        return book_of(await ask(way, path_of(whose)))
    async with reader(config) as store:
        book = Book.of(await store.memory(whose.namespace, whose.owner))
        if not book.entries and not book.gone:
            await _must_exist(store, whose)
    return book


async def change(config: Config, whose: Whose, way: Door | None, add: Sequence[str], remove: Sequence[str]) -> Json:
    """Add these texts and remove the entries with these ids; returns what that came to. Raises what is wrong with it."""
    if way is not None:
        from reconciler.cli.operatordoor import ask

        return await ask(way, path_of(whose), {"add": [*add], "remove": [*remove], "by": whoami()})
    request: Json = {"op": "memory", "namespace": whose.namespace, "owner": whose.owner, "add": [*add], "remove": [*remove]}
    (done,) = await submit(config, [request])
    return as_map(done)


def path_of(whose: Whose) -> str:
    """Where the API has it."""
    within, owner = quote(whose.namespace, safe=""), quote(whose.owner, safe="")
    return f"/api/v1/lieutenants/{within}/{owner}/memory" if owner else f"/api/v1/memory/{within}"


async def _must_exist(store: Store, whose: Whose) -> None:
    key = agent_key(whose)
    if whose.owner and not await store.objects(key.kind, key.namespace, key.name):
        raise NotFound(f"lieutenant/{whose.owner} does not exist", f"namespace {whose.namespace}", "see `reconciler get lieutenants`")
