"""Commands that only look. They read the store, beside a running controller or without one, and never wait for a machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Concatenate

import typer

from reconciler.cli import kube, names, output
from reconciler.cli.access import reader, visible
from reconciler.cli.conversation import Conversation, Redaction, before, session_of, texts, turn_of
from reconciler.cli.describe import description
from reconciler.cli.documents import condition, document, event_document, matches, vm_document
from reconciler.config import Config
from reconciler.core.keys import Json, Key
from reconciler.core.records import LieutenantRecord
from reconciler.core.times import timestamp
from reconciler.engine.ports import Event, Store, StoredObject
from reconciler.errors import NotFound, TimedOut, Transient, UsageError
from reconciler.log import one_line
from reconciler.sources.secrets import FileSecrets

POLL = 0.25
"""Seconds between two looks at the store while following."""

Words = Annotated[list[str], typer.Argument(metavar="KIND [NAME…]", help="KIND, KIND NAME or KIND/NAME.", show_default=False)]
One = Annotated[list[str], typer.Argument(metavar="KIND NAME", help="KIND NAME or KIND/NAME.", show_default=False)]
Shape = Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table, wide, json, yaml, name or jsonpath=TEMPLATE.")]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Go on with every change.")]


def get(
    config: Config,
    words: Words,
    selector: Annotated[str, typer.Option("-l", "--selector", help="Labels: NAME=VALUE,…", show_default=False)] = "",
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Every namespace.")] = False,
    watch: Watch = False,
    output_: Shape = "table",
) -> None:
    """Show objects: what is declared and what is true."""
    shape = output.parse_format(output_)
    selection = names.select(words)
    if selector:
        matches({}, selector)
    namespace = None if all_namespaces else config.namespace

    async def run() -> None:
        async with reader(config) as store:
            found = await documents(config, store, selection, namespace, selector)
            if selection.names or found or shape.kind in ("json", "yaml", "jsonpath"):
                output.show(found, shape, len(selection.names) == 1, all_namespaces)
            if not found and not selection.names:
                output.say(f"nothing found{f' in namespace {namespace}' if namespace else ''}")
            seen = {_identity(doc): doc for doc in found}
            while watch:
                await asyncio.sleep(POLL)
                fresh = {_identity(doc): doc for doc in await documents(config, store, selection, namespace, selector, missing_ok=True)}
                changed = [doc for name, doc in fresh.items() if seen.get(name) != doc]
                if changed:
                    output.show(changed, shape, True, all_namespaces)
                for name in seen.keys() - fresh.keys():
                    output.say(f"{name[0].lower()}/{name[2]} is gone")
                seen = fresh

    asyncio.run(run())


async def documents(
    config: Config, store: Store, selection: names.Selection, namespace: str | None, selector: str, missing_ok: bool = False
) -> list[Json]:
    """The resources a selection means. Raises `NotFound` for a name that is not there."""
    found: list[Json] = []
    kinds = selection.kinds or tuple(dict.fromkeys(kind for kind, _ in selection.names))
    for kind in kinds:
        if kind == names.VM:
            every = await vms(config, store)
        else:
            objects = await store.objects(kind, namespace)
            every = [(obj.key.name, document(obj)) for obj in objects if not selector or matches(obj.labels, selector)]
        wanted = [name for of, name in selection.names if of == kind]
        for name in wanted:
            if not missing_ok and name not in {known for known, _ in every}:
                where = f"namespace {namespace}" if namespace and kind != names.VM else ""
                raise NotFound(f"{kind.lower()}/{name} does not exist", where, f"see `reconciler get {kind.lower()}`")
        found += [doc for name, doc in every if not wanted or name in wanted]
    return found


async def vms(config: Config, store: Store) -> list[tuple[str, Json]]:
    """What the platform has now, each VM with the object that owns it. Raises what the platform's client raises."""
    from reconciler.vers.client import VersClient
    from reconciler.vers.keys import Settings

    client = VersClient(Settings(config.environ))
    try:
        listed = await client.list_vms()
    finally:
        await client.aclose()
    owners = {LieutenantRecord.load(obj.record).slot.vm_id: names.short(obj.key) for obj in await visible(config, store, "Lieutenant")}
    rows = sorted(listed.vms.values(), key=lambda vm: (vm.created_at, vm.vm_id))
    return [(vm.vm_id, vm_document(vm, owners.get(vm.vm_id, ""))) for vm in rows]


def _identity(doc: Json) -> tuple[str, str, str]:
    metadata = doc["metadata"]
    assert isinstance(metadata, dict)
    return str(doc["kind"]), str(metadata.get("namespace", "")), str(metadata["name"])


def describe(config: Config, words: One) -> None:
    """Show everything about one object: spec, conditions, machine, session, queue, usage, last output, events."""
    key = names.key(words, config.namespace)

    async def run() -> None:
        async with reader(config) as store:
            obj = await one(store, key)
            tasks = [task for task in await store.objects("Task", key.namespace) if _of(task, key)] if key.kind == "Lieutenant" else []
            said = ""
            if key.kind == "Lieutenant":
                talk = Conversation(store, session_of(obj))
                await talk.refresh()
                said = "\n\n".join((texts(talk.messages) or kube.answers(tasks))[-1:])
            text = description(obj, tasks, said, await store.events(key, limit=20))
            output.out((await redaction(config, store))(text))

    asyncio.run(run())


def _of(task: StoredObject, lieutenant: Key) -> bool:
    reference = task.spec.get("lieutenantRef")
    return isinstance(reference, dict) and reference.get("name") == lieutenant.name


def events(
    config: Config,
    of: Annotated[str, typer.Option("--for", metavar="KIND/NAME", help="Of one object only.", show_default=False)] = "",
    watch: Watch = False,
    output_: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table, json or yaml.")] = "table",
) -> None:
    """Show what happened, newest last."""
    shape = output.parse_format(output_, ("table", "json", "yaml"))
    key = names.key([of], config.namespace) if of else None

    async def run() -> None:
        async with reader(config) as store:
            clean = await redaction(config, store)
            found = await store.events(key)
            if shape.kind == "table":
                output.table(("TIME", "TYPE", "REASON", "OBJECT", "MESSAGE"), [event_row(event, clean) for event in found])
            else:
                output.show([event_document(event) for event in found], shape, False)
            last = max((event.seq for event in found), default=0)
            while watch:
                await asyncio.sleep(POLL)
                for event in await store.events(key, after=last):
                    last = event.seq
                    if shape.kind == "table":
                        output.out("   ".join(event_row(event, clean)))
                    else:
                        output.show([event_document(event)], shape, True)

    asyncio.run(run())


def event_row(event: Event, clean: Callable[[str], str]) -> list[str]:
    return [timestamp(event.at), event.type, event.reason, names.short(event.key), one_line(clean(event.message))]


def output_of(
    config: Config,
    lieutenant: Annotated[str, typer.Argument(help="The lieutenant's name.", show_default=False)],
    task: Annotated[str, typer.Option("--task", metavar="NAME", help="What was said for this task.", show_default=False)] = "",
    tail: Annotated[int, typer.Option("--tail", metavar="N", min=0, help="Only the last N characters; 0: all.")] = 0,
    history: Annotated[
        int | None,
        typer.Option("--history", metavar="N", min=0, help="The last N answers, also of earlier conversations; 0: all.", show_default="1"),
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with everything that is said.")] = False,
) -> None:
    """Print what an agent said. Looking disturbs nobody: it is read from the mirror of the conversation. With --kube: the answers of
    its tasks, as their status has them."""
    key = names.key([lieutenant if "/" in lieutenant else f"lieutenant/{lieutenant}"], config.namespace)
    wanted = names.key([task if "/" in task else f"task/{task}"], config.namespace) if task else None

    async def run() -> None:
        async with reader(config) as store:
            obj = await one(store, key)
            clean = await redaction(config, store)
            of = await one(store, wanted) if wanted is not None else None
            talk = Conversation(store, session_of(obj, of))
            await talk.refresh()
            said = texts(talk.messages if of is None else turn_of(talk.messages, of))
            if config.kube:
                said = await told(store, key, of)
            if history is not None and of is None and (history == 0 or len(said) < history):
                said = texts(await before(store, obj)) + said
            count = history if history is not None else (0 if wanted or tail else 1)
            text = clean("\n\n".join(said[-count:] if count else said))
            if text:
                output.out(text[-tail:] if tail else text)
            while follow:
                await asyncio.sleep(POLL)
                if config.kube:
                    for one_more in (now := await told(store, key, of))[len(said) :]:
                        output.out("\n" + clean(one_more))
                    said = now
                elif of is None and session_of(obj := await one(store, key)) != talk.session:
                    talk = Conversation(store, session_of(obj))
                for one_more in texts(await talk.refresh()):
                    output.out("\n" + clean(one_more))

    asyncio.run(run())


async def told(store: Store, lieutenant: Key, task: StoredObject | None) -> list[str]:
    """The answers that status has: of one task, or of all of this lieutenant's."""
    if task is not None:
        return kube.answers([await one(store, task.key)])
    return kube.answers([found for found in await store.objects("Task", lieutenant.namespace) if _of(found, lieutenant)])


async def one(store: Store, key: Key) -> StoredObject:
    """One object. Raises `NotFound`."""
    found = await store.objects(key.kind, key.namespace, key.name)
    if not found:
        raise NotFound(f"{names.short(key)} does not exist", f"namespace {key.namespace}", f"see `reconciler get {key.kind.lower()}`")
    return found[0]


async def redaction(config: Config, store: Store) -> Redaction:
    """What may not be printed: the platform's key and every secret that a declaration refers to. A cluster was told nothing else."""
    if config.kube:
        return Redaction(FileSecrets(None, {}), (), [config.environ.get("VERS_API_KEY", "")])
    return Redaction(FileSecrets(config.secrets, config.environ), await store.objects(), [config.environ.get("VERS_API_KEY", "")])


# --- waiting --------------------------------------------------------------------------------------------------------------------


def wait(
    config: Config,
    words: One,
    for_: Annotated[str, typer.Option("--for", metavar="WHAT", help="CONDITION[=STATUS], phase=PHASE or delete.", show_default=False)],
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", min=0.0, help="Seconds.")] = 600.0,
) -> None:
    """Wait until objects are as asked for; exit code 3 when they are not in time."""
    keys = names.keys(words, config.namespace)
    met = goal(for_)

    async def run() -> None:
        deadline = asyncio.get_running_loop().time() + timeout
        async with reader(config) as store:
            for key in keys:
                await until(store, key, met, deadline, for_)
                output.out(f"{names.short(key)} {'is gone' if for_ == 'delete' else f'has {for_}'}")

    asyncio.run(run())


Goal = Callable[[StoredObject | None], bool]


def goal(text: str) -> Goal:
    """What `--for` asks for, as a test of an object (None: it is not there). Raises `UsageError`."""
    if text == "delete":
        return lambda obj: obj is None
    name, _, value = text.removeprefix("condition=").partition("=")
    if not name:
        raise UsageError(f"can't wait for {text!r}", "--for", "use CONDITION[=STATUS], phase=PHASE or delete")
    if name == "phase" and not text.startswith("condition="):
        return lambda obj: obj is not None and str(obj.status.get("phase")) == value
    status = value or "True"
    return lambda obj: (
        obj is not None
        and obj.status.get("observedGeneration") == obj.generation
        and str(condition(obj.status, name).get("status", "False")).lower() == status.lower()
    )


async def until(store: Store, key: Key, met: Goal, deadline: float, what: str) -> StoredObject | None:
    """Look until the object is as wanted; `deadline` in loop time. A store that goes away after the first look is waited for. Raises
    `TimedOut` with its last state, and what the store says at the first look."""
    loop = asyncio.get_running_loop()
    looked, away = False, ""
    while True:
        try:
            found = await store.objects(key.kind, key.namespace, key.name)
        except Transient as error:
            if not looked or loop.time() >= deadline:
                raise
            if error.what != away:
                away = error.what
                output.say(f"note: {away}; still waiting")
            await asyncio.sleep(min(POLL, max(0.01, deadline - loop.time())))
            continue
        obj, looked, away = found[0] if found else None, True, ""
        if met(obj):
            return obj
        if loop.time() >= deadline:
            ready = condition(obj.status, "Ready") if obj else {}
            state = f"{ready.get('reason', 'not looked at yet')}: {ready.get('message', '')}".rstrip(": ") if obj else "it does not exist"
            raise TimedOut(f"{names.short(key)} is not {what}", state, f"wait longer, or see `reconciler describe {names.short(key)}`")
        await asyncio.sleep(min(POLL, max(0.01, deadline - loop.time())))


COMMANDS: dict[str, Callable[Concatenate[Config, ...], None]] = {
    "get": get,
    "describe": describe,
    "events": events,
    "output": output_of,
    "wait": wait,
}
