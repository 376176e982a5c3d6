"""`approve` and `deny`: a person's answer to tool calls that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.act import change
from reconciler.cli.choosing import Selector, chosen, confirmed
from reconciler.cli.edit import Change
from reconciler.cli.output import out, say
from reconciler.cli.read import one
from reconciler.cli.several import one_by_one
from reconciler.config import Config
from reconciler.core.keys import Json, Key, as_map, as_maps, lieutenant
from reconciler.engine.ports import StoredObject
from reconciler.errors import NotFound, UsageError
from reconciler.serve.verbs import answering
from reconciler.visible import one_line

LIEUTENANT = lieutenant("", "").kind
Which = Annotated[
    list[str] | None,
    typer.Argument(metavar="TASK [ID…]", help="The task, and which of its questions; all without any.", show_default=False),
]


def approve(
    config: Config,
    words: Which = None,
    selector: Selector = "",
    always: Annotated[
        bool, typer.Option("--always", help="Allow the same from now on: adds a rule to the lieutenant, where it is declared.")
    ] = False,
) -> None:
    """Let tool calls that wait go on.

    The very call that waits goes on; nothing is asked again. See `reconciler get approvals`. With -l: all that wait of tasks with these
    labels."""

    def one_task(words: Sequence[str]) -> None:
        key, asks = _answer(config, words, "Approve", "")
        if always:
            asyncio.run(_always(config, key, asks))

    one_by_one(config, _meant(config, words or [], selector), one_task)


def deny(
    config: Config,
    words: Which = None,
    selector: Selector = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why not; the agent is told.", show_default=False)] = "",
) -> None:
    """Deny tool calls that wait; the agent is told why and goes on.

    With -l: all that wait of tasks with these labels."""

    def one_task(words: Sequence[str]) -> None:
        _answer(config, words, "Deny", reason)

    one_by_one(config, _meant(config, words or [], selector), one_task)


def _meant(config: Config, words: Sequence[str], selector: str) -> list[Sequence[str]]:
    """What was named; of labels each task that has them and asks something. Raises `UsageError`, `Refused` when a person says no."""
    if not selector:
        return [words]
    keys = asyncio.run(_asking(config, chosen(config, ["task", *words], selector)))
    if not keys:
        say("nothing waits for an answer")
    confirmed(keys, "answer for")
    return [[names.short(key)] for key in keys]


async def _asking(config: Config, keys: Sequence[Key]) -> list[Key]:
    async with reader(config) as store:
        return [key for key in keys if as_maps((await one(store, key)).status.get("asks"))]


def _answer(config: Config, words: Sequence[str], decision: str, reason: str) -> tuple[Key, list[Json]]:
    """Declares the answers; returns the task and the questions that they are for."""
    if not words:
        raise UsageError("which task?", "TASK", "see `reconciler get approvals`")
    first, _, asked = words[0].removeprefix("task/").partition("/")
    key = names.of_kind([f"task/{first}"], "Task", config.namespace)
    wanted = [word.rpartition("/")[2] for word in ([asked] if asked else []) + list(words[1:])]
    answered: list[Json] = []

    def changes(obj: StoredObject) -> list[Change]:
        found, answered[:] = answering(obj, decision, wanted, reason)
        return found

    where = asyncio.run(change(config, key, changes))
    done = "approved" if decision == "Approve" else "denied"
    for ask in answered:
        out(f"{names.short(key)} {ask['id']} {done} {where}: {one_line(str(ask.get('call', '')))}")
    return key, answered


async def _always(config: Config, key: Key, asks: Sequence[Json]) -> None:
    """Adds a rule for each of these calls to the lieutenant. Raises `Refused` where no rule would allow just these."""
    from reconciler.views.lasting import must_allow, rule_for, with_rules
    from reconciler.views.permissions import PROFILE

    where = names.short(key)
    rules = [rule_for(ask, where) for ask in asks]
    async with reader(config) as store:
        work = await one(store, key)
        name = as_map(work.spec.get("lieutenantRef")).get("name")
        if not isinstance(name, str):
            raise NotFound("the task names no lieutenant", where)
        owner = lieutenant(key.namespace, name)
        must_allow(await one(store, owner), await store.objects(PROFILE, key.namespace), work, asks, rules, where)

    def changes(obj: StoredObject) -> list[Change]:
        return [(("permissions", "allow"), [*with_rules(obj, rules)])]

    changed = await change(config, owner, changes)
    for rule in rules:
        out(f"{names.short(owner)} allows {one_line(rule)} from now on {changed}")
