"""`get`, and what commands that only look share. They read the store, and never wait for a machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from reconciler.api.registry import KINDS
from reconciler.cli import names, output
from reconciler.cli.access import reader, say_when_halted
from reconciler.cli.books import PLAIN, Books
from reconciler.cli.several import tell
from reconciler.config import Config
from reconciler.core.keys import Json, Key, boot_profile
from reconciler.engine.ports import Store, StoredObject
from reconciler.errors import NotFound, ReconcilerError, UsageError
from reconciler.views.documents import APPROVAL, ATTENTION, AUDIT, COMMIT, USAGE, VM, document, labels_of, stock_documents, text_at
from reconciler.views.selecting import matches, selectable

PROFILE = boot_profile("", "").kind
POLL, POLL_PLATFORM = 0.25, 2.0
"""Seconds between two looks while following: at the store, and at the platform."""

Words = Annotated[list[str], typer.Argument(metavar="KIND [NAME…]", help="KIND, KIND NAME or KIND/NAME.", show_default=False)]
One = Annotated[list[str], typer.Argument(metavar="KIND NAME", help="KIND NAME or KIND/NAME.", show_default=False)]
Shape = Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table, wide, json, yaml, name or jsonpath=TEMPLATE.")]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Go on with every change.")]


def get(
    config: Config,
    words: Words,
    selector: Annotated[str, typer.Option("-l", "--selector", metavar="LABELS", help="Labels: NAME=VALUE,…", show_default=False)] = "",
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Every namespace.")] = False,
    watch: Watch = False,
    by: Annotated[str, typer.Option("--by", help="Of usage: lieutenant, tree, task, model or day.", show_default=False)] = "",
    days: Annotated[int, typer.Option("--days", min=1, max=40, help="Of usage: the last so many, in UTC.")] = 30,
    output_: Shape = "table",
) -> None:
    """Show objects: what is declared and what is true.

    `get usage` shows money, tokens and machine hours (`--by`, `--days`), `get audit` who changed what, `get commits` snapshots.
    Always with READY, REASON and AGE. KIND may also be several (`lt,task`), `all`, `vm` (what the platform has), or `commit` (snapshots
    that we took). A profile names everything that it extends; those that this release brings are shown too. -w goes on until Ctrl-C
    (130): what changed is shown again, in JSON and YAML one document for each change; what is gone is said on standard error."""
    shape = output.parse_format(output_)
    selection = names.select(words)
    books = Books(by, days)
    books.check(selection)
    if selector:
        matches({}, selector)
        if selection.names:
            raise UsageError("objects are chosen by name or by labels", f"-l {selector}", "leave out the names or the selector")
        if bare := [kind for kind in selection.kinds if kind in (COMMIT, AUDIT, USAGE)]:
            raise UsageError(f"{bare[0].lower()}s have no labels", f"-l {selector}", "leave out the selector")
    namespace = None if all_namespaces else config.namespace
    stock = shape.kind != "name" or bool(selection.names)

    async def run() -> None:
        async with reader(config) as store:
            found, missing = await documents(config, store, selection, namespace, selector, stock, books)
            if shape.kind in ("table", "wide") and any(doc["kind"] == PROFILE for doc in found):
                found = await told_whole(store, found, namespace)
            if shape.kind in ("table", "wide"):
                await say_when_halted(store)
            if found or (not missing and (selection.names or shape.kind in ("json", "yaml", "jsonpath"))):
                output.show(found, shape, len(selection.names) == 1, all_namespaces)
            tell(config, missing)
            if not found and not selection.names:
                output.say(f"nothing found{f' in namespace {namespace}' if namespace else ''}")
            seen = {_identity(doc): doc for doc in found}
            while watch:
                await asyncio.sleep(POLL_PLATFORM if VM in selection.kinds or any(kind == VM for kind, _ in selection.names) else POLL)
                fresh = {_identity(doc): doc for doc in (await documents(config, store, selection, namespace, selector, stock, books))[0]}
                changed = [doc for name, doc in fresh.items() if seen.get(name) != doc]
                for each in [changed] if shape.kind in ("table", "wide") and changed else [[doc] for doc in changed]:
                    if shape.kind == "yaml":
                        output.out("---")
                    output.show(each, shape, True, all_namespaces)
                for name in seen.keys() - fresh.keys():
                    output.say(f"{name[0].lower()}/{name[2]} is gone")
                seen = fresh

    if not watch:
        asyncio.run(run())
        return
    from reconciler.cli.hangup import until_unread

    asyncio.run(until_unread(run()))


async def documents(
    config: Config,
    store: Store,
    selection: names.Selection,
    namespace: str | None,
    selector: str,
    stock: bool = False,
    books: Books = PLAIN,
) -> tuple[list[Json], list[ReconcilerError]]:
    """The resources a selection means, and what is to be told of names that are not there. `stock`: profiles of this release are among
    boot profiles."""
    found: list[Json] = []
    missing: list[ReconcilerError] = []
    kinds = selection.kinds or tuple(dict.fromkeys(kind for kind, _ in selection.names))
    for kind in kinds:
        if kind == VM:
            from reconciler.cli.vms import vms  # the platform's client, which nothing else here needs

            every = [(name, doc) for name, doc in await vms(config, store) if not selector or matches(labels_of(doc), selector)]
        elif kind == COMMIT:
            from reconciler.cli.commits import commits

            every = [(name, doc) for name, doc in await commits(config, store, namespace)]
        elif kind == AUDIT:
            every = [(text_at(doc, ".metadata.name"), doc) for doc in await books.audit(store, namespace)]
        elif kind == USAGE:
            every = [(text_at(doc, ".metadata.name"), doc) for doc in await books.usage(config, store, namespace)]
        elif kind in (APPROVAL, ATTENTION):
            from reconciler.views.repositories import repositories_of
            from reconciler.views.waiting import TASK, approvals, attention

            of = [known.name for known in KINDS] if kind == ATTENTION else [TASK]
            every_one = [obj for known in of for obj in await store.objects(known, namespace)]
            objects = [obj for obj in every_one if not selector or matches(selectable(obj), selector)]
            repositories = (await repositories_of(store)) if kind == ATTENTION and not selector else ()
            every = list(attention(objects, repositories) if kind == ATTENTION else approvals(objects))
        else:
            objects = await store.objects(kind, namespace)
            signers = await _signers(store, objects)
            every = [(obj.key.name, document(obj, signers)) for obj in objects if not selector or matches(selectable(obj), selector)]
        wanted = [name for of, name in selection.names if of == kind]
        if stock and kind == PROFILE and len(kinds) == 1 and not selector:
            declared = {name for name, _ in every}
            every += [(name, doc) for name, doc in stock_documents(namespace or "").items() if name not in declared]
        for name in wanted:
            if name not in {known for known, _ in every}:
                where = f"namespace {namespace}" if namespace and kind != VM else ""
                missing.append(NotFound(f"{kind.lower()}/{name} does not exist", where, f"see `reconciler get {kind.lower()}`"))
        found += [doc for name, doc in every if not wanted or name in wanted]
    return found, missing


async def _signers(store: Store, objects: Sequence[StoredObject]) -> Mapping[str, str]:
    """By whom the commits are signed that declare them."""
    if not any(obj.source_commit for obj in objects):
        return {}
    from reconciler.views.repositories import signatures

    return await signatures(store, objects)


async def told_whole(store: Store, found: list[Json], namespace: str | None) -> list[Json]:
    """Profiles for a table: each names everything that it extends."""
    from reconciler.views.describe import profiles_of  # reads the profiles of this release
    from reconciler.views.profiles import with_chains

    if namespace is None:
        return found
    return with_chains(found, (await profiles_of(store, namespace))[0])


def _identity(doc: Json) -> tuple[str, str, str]:
    metadata = doc["metadata"]
    assert isinstance(metadata, dict)
    return str(doc["kind"]), str(metadata.get("namespace", "")), str(metadata["name"])


async def one(store: Store, key: Key) -> StoredObject:
    """One object. Raises `NotFound`."""
    found = await store.objects(key.kind, key.namespace, key.name)
    if not found:
        raise NotFound(f"{names.short(key)} does not exist", f"namespace {key.namespace}", f"see `reconciler get {key.kind.lower()}`")
    return found[0]
