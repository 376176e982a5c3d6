"""`send`: a piece of work for a lieutenant, from the command line."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from reconciler.api.parsing import load_spec
from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.choosing import Selector, chosen
from reconciler.cli.output import out, say
from reconciler.cli.read import one
from reconciler.cli.redaction import redaction
from reconciler.cli.submit import runs, submit
from reconciler.cli.wait import until
from reconciler.config import Config
from reconciler.core.keys import Json, Key
from reconciler.core.records import FINISHED
from reconciler.engine.ports import Store, StoredObject
from reconciler.engine.state.tombstones import name_of as tombstone
from reconciler.errors import TimedOut, UsageError
from reconciler.serve.verbs import task_name, task_spec
from reconciler.views.conversation import answer_of
from reconciler.views.documents import ready_message, ready_reason, text_at


def send(
    config: Config,
    words: Annotated[
        list[str],
        typer.Argument(metavar="[LIEUTENANT] PROMPT|-", help="Who does it, and what; - reads standard input.", show_default=False),
    ],
    selector: Selector = "",
    steer: Annotated[bool, typer.Option("--steer", help="Into the running turn, instead of after it.")] = False,
    after: Annotated[list[str] | None, typer.Option("--after", metavar="TASK", help="Not before this task succeeded.")] = None,
    file_exists: Annotated[
        list[str] | None, typer.Option("--file-exists", metavar="PATH", help="Done only when this file is there.")
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="CMD",
            help="Done only when this command exits 0; no shell reads it.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it and print the answer.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", min=0.0, help="Seconds to wait.")] = 3600.0,
) -> None:
    """Give a lieutenant a piece of work.

    Prints the name of its task; with --wait, what the agent answered. With -l each lieutenant with these labels gets a task of its own."""
    if selector:
        if len(words) != 1 or wait:
            remedy = "give the prompt alone, and `reconciler wait task/NAME… --for phase=Succeeded` for the tasks"
            raise UsageError("labels choose who does it, and nothing is waited for", f"-l {selector}", remedy)
        hosts, words = chosen(config, ["lieutenant"], selector), [sys.stdin.read() if words[0] == "-" else words[0]]
        for host in hosts:
            spec = task_spec(host.name, words[0], steer, after or [], file_exists or [], run or [])
            load_spec("Task", spec)
            asyncio.run(_send(config, host, Key("Task", config.namespace, task_name(host.name)), spec, False, timeout))
        return
    if not 2 <= len(words) <= 3:
        raise UsageError("a lieutenant and a prompt are needed", " ".join(words), "write for example `send api 'fix the build'`")
    host = names.of_kind(words[:-1], "Lieutenant", config.namespace)
    text = sys.stdin.read() if words[-1] == "-" else words[-1]
    spec = task_spec(host.name, text, steer, after or [], file_exists or [], run or [])
    load_spec("Task", spec)
    key = Key("Task", config.namespace, task_name(host.name))
    raise typer.Exit(asyncio.run(_send(config, host, key, spec, wait, timeout)))


async def _send(config: Config, host: Key, key: Key, spec: Json, wait: bool, timeout: float) -> int:
    deadline = asyncio.get_running_loop().time() + timeout
    async with reader(config) as store:
        await one(store, host)
        for name in [str(waits["name"]) for waits in _after(spec)]:
            before = Key("Task", host.namespace, name)
            if not await store.objects(before.kind, before.namespace, before.name) and not await store.meta(tombstone(before)):
                waiting = f"{names.short(key)} waits until it is declared and done"
                say(f"note: {names.short(before)} does not exist in namespace {host.namespace}; {waiting}")
        await submit(config, [{**named(key), "spec": spec, "labels": {}, "annotations": {}}])
        (say if wait else out)(key.name)
        if not config.kube and not runs(config):
            say("no controller runs on this state directory; the next `reconciler run` delivers it")
        if not wait:
            return 0
        return await follow(config, store, host, key, deadline)


def _after(spec: Json) -> list[Json]:
    after = spec.get("after")
    return [one for one in after if isinstance(one, dict)] if isinstance(after, list) else []


def named(key: Key) -> Json:
    """The beginning of the request that declares it."""
    return {"op": "apply", "kind": key.kind, "namespace": key.namespace, "name": key.name}


async def follow(config: Config, store: Store, host: Key, key: Key, deadline: float) -> int:
    """Wait for a task's end, telling its phases; prints the answer. Returns the exit code."""
    told = ""

    def done(obj: StoredObject | None) -> bool:
        nonlocal told
        if obj is None:
            return True
        phase = text_at(obj.status, ".phase")
        reason = ready_reason(obj.status)
        state = f"{phase}: {reason}" if reason != phase else phase
        if phase and state != told:
            told = state
            say(f"{key.name}  {state}")
        return phase in FINISHED

    finished = await until(store, key, done, deadline, "finished")
    if finished is None:
        raise TimedOut(f"{names.short(key)} was deleted before it was done")
    clean = await redaction(config, store)
    answer = clean(await answer_of(store, host, finished))
    if answer:
        out(answer)
    phase = text_at(finished.status, ".phase")
    if phase == "Succeeded":
        return 0
    say(f"error: {names.short(key)} ended as {phase} ({ready_reason(finished.status)}): {clean(ready_message(finished.status))}")
    return 1
