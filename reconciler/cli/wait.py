"""Waiting until objects are as asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from reconciler.api.conditions import CONDITIONS_OF
from reconciler.api.parsing import did_you_mean
from reconciler.api.phases import PHASES
from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.choosing import Selector, Several, chosen
from reconciler.cli.read import POLL
from reconciler.cli.several import each, tell
from reconciler.config import Config
from reconciler.core.keys import Key, task
from reconciler.core.records import FINISHED
from reconciler.engine.ports import Store, StoredObject
from reconciler.errors import NotFound, TimedOut, Transient, UsageError
from reconciler.views.documents import condition

TASK = task("", "")
APPEARS = 5.0
"""Seconds in which an object that was just declared is taken in by a controller that runs or starts."""


def wait(
    config: Config,
    words: Several,
    for_: Annotated[str, typer.Option("--for", metavar="WHAT", help="CONDITION[=STATUS], phase=PHASE or delete.", show_default=False)],
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", min=0.0, help="Seconds.")] = 600.0,
    selector: Selector = "",
) -> None:
    """Wait until objects are as asked for.

    Exit code 3 when they are not in time, and after five seconds for one that does not exist: a file just written is taken in by then."""
    keys = chosen(config, words, selector)
    if not keys:
        raise NotFound("there is nothing to wait for", " ".join(words), "see `reconciler get`")
    met = goal(for_)
    if for_ != "delete":
        known(for_, frozenset(key.kind for key in keys))

    async def run() -> None:
        deadline = asyncio.get_running_loop().time() + timeout
        async with reader(config) as store:

            async def is_met(key: Key) -> None:
                await until(store, key, met, deadline, for_, there=for_ != "delete")
                output.out(f"{names.short(key)} {'is gone' if for_ == 'delete' else f'has {for_}'}")

            tell(config, (await each(keys, is_met))[1])

    asyncio.run(run())


def known(text: str, kinds: frozenset[str]) -> None:
    """Raises `UsageError` for what no object of these kinds will ever have."""
    name, _, value = text.removeprefix("condition=").partition("=")
    if name == "phase" and not text.startswith("condition="):
        if not value:
            raise UsageError("which phase?", f"--for {text}", "write for example phase=Succeeded")
        for kind in sorted(kinds & PHASES.keys()):
            _is_one_of(kind, "phase", value, PHASES[kind], text)
        return
    if value and value.lower() not in ("true", "false", "unknown"):
        raise UsageError(f"a condition is never {value!r}", f"--for {text}", "use True, False or Unknown")
    for kind in sorted(kinds & CONDITIONS_OF.keys()):
        any_case = {one.lower(): one for one in CONDITIONS_OF[kind]}
        _is_one_of(kind, "condition", any_case.get(name.lower(), name), sorted(CONDITIONS_OF[kind]), text)


def _is_one_of(kind: str, what: str, word: str, words: Sequence[str], text: str) -> None:
    if word not in words:
        meant = did_you_mean(word, words)
        raise UsageError(f"a {kind} never has the {what} {word!r}{meant}", f"--for {text}", f"use one of {', '.join(words)}")


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


def ended(obj: StoredObject) -> bool:
    """A task that has a result: nothing of it changes any more."""
    return obj.key.kind == TASK.kind and obj.status.get("phase") in FINISHED and obj.status.get("observedGeneration") == obj.generation


async def until(store: Store, key: Key, met: Goal, deadline: float, what: str, there: bool = False) -> StoredObject | None:
    """Look until the object is as wanted; `deadline` in loop time. A store that goes away after the first look is waited for. Raises
    `TimedOut` with its last state, soon when it does not exist and is to be `there`, and what the store says at the first look."""
    loop = asyncio.get_running_loop()
    appears = loop.time() + APPEARS
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
        if there and obj is not None and ended(obj):
            state = f"it has ended: {obj.status.get('phase')}"
            raise TimedOut(f"{names.short(key)} is not {what}", state, f"see `reconciler describe {names.short(key)}`")
        if loop.time() >= deadline or (there and obj is None and loop.time() >= appears):
            ready = condition(obj.status, "Ready") if obj else {}
            state = f"{ready.get('reason', 'not looked at yet')}: {ready.get('message', '')}".rstrip(": ") if obj else "it does not exist"
            see = f"describe {names.short(key)}" if obj else f"get {key.kind.lower()}"
            raise TimedOut(f"{names.short(key)} is not {what}", state, f"{'wait longer, or ' if obj else ''}see `reconciler {see}`")
        await asyncio.sleep(min(POLL, max(0.01, deadline - loop.time())))
