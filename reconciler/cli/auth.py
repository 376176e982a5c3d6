"""`auth can-i`: what the rules of an agent say about one tool call; `auth secrets`: which secrets it is given."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.read import one
from reconciler.config import Config
from reconciler.core.keys import Json, Key, as_map, lieutenant, task
from reconciler.errors import UsageError

LIEUTENANT, TASK = lieutenant("", "").kind, task("", "").kind
EXIT = {"Allow": 0, "Ask": 4, "Deny": 4}


def auth(
    config: Config,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="can-i LIEUTENANT CALL | secrets LIEUTENANT",
            help="CALL such as 'bash(git push)' or 'write(src/a.ts)'.",
            show_default=False,
        ),
    ],
    for_task: Annotated[str, typer.Option("--task", metavar="TASK", help="Under the rules of this task too.", show_default=False)] = "",
    output_: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="text or json.")] = "text",
) -> None:
    """Say what an agent may do, and which secrets it is given.

    `can-i` tells the answer, the rule, its level, and the part of the call that decides. By what is declared now, on any machine:
    symbolic links are followed only where the agent runs. Exit code 0 for Allow, 4 for Ask and Deny.

    `secrets` lists what the profile, what it extends, the tree and the lieutenant give to the agent: as which variable, file or key of a
    provider, from which key of which Secret or ConfigMap, and by which declaration."""
    from reconciler.core.governance.permissions.decide import call, decide
    from reconciler.views.permissions import PROFILE, rules_of

    shape = output.parse_format(output_, ("text", "json"))
    if words[0] == "secrets" and len(words) > 1:
        return secrets(config, words[1:], shape.kind == "json")
    if len(words) < 3 or words[0] != "can-i":
        how = "write `auth can-i LIEUTENANT CALL`, such as `auth can-i api 'bash(git push)'`, or `auth secrets LIEUTENANT`"
        raise UsageError("what is asked?", " ".join(words), how)
    *who, wanted = words[1:]
    key = of_lieutenant(config, who)

    async def answer() -> Json:
        async with reader(config) as store:
            own = await one(store, key)
            work = await one(store, task(config.namespace, for_task)) if for_task else None
            target = as_map(work.spec.get("lieutenantRef")).get("name") if work is not None else key.name
            if target != key.name:
                raise UsageError(
                    f"task/{for_task} is for lieutenant/{target}", "--task", f"ask `auth can-i {target} CALL --task {for_task}`"
                )
            rules = rules_of(own, await store.objects(PROFILE, config.namespace), work)
        if rules is None:
            return {"answer": "Allow", "rule": "no permissions are declared, so nothing is checked", "level": "", "part": wanted}
        found = decide(rules, *call(wanted))
        return {"answer": found.verdict.word, "rule": found.rule, "level": found.level, "part": found.part}

    told = asyncio.run(answer())
    if shape.kind == "json":
        output.out(output.to_json(told))
    else:
        by = f"rule {told['rule']} of the {told['level']}" if told["level"] else told["rule"]
        output.out(f"{told['answer']}: {by}\n  part: {told['part']}")
    raise typer.Exit(EXIT[str(told["answer"])])


def of_lieutenant(config: Config, who: list[str]) -> Key:
    """The lieutenant that these words name. Raises `UsageError`."""
    named = who if len(who) > 1 or "/" in who[0] else [f"lieutenant/{who[0]}"]
    return names.of_kind(named, LIEUTENANT, config.namespace)


def secrets(config: Config, who: list[str], json: bool) -> None:
    """Print which secrets this lieutenant is given."""
    from reconciler.views.permissions import PROFILE
    from reconciler.views.secrets import given

    key = of_lieutenant(config, who)

    async def found() -> list[Json]:
        async with reader(config) as store:
            told = given(await one(store, key), await store.objects(PROFILE, key.namespace))
        return [{"as": one.as_, "kind": one.kind, "name": one.name, "key": one.key, "by": one.by} for one in told]

    told = asyncio.run(found())
    if json:
        output.out(output.to_json([*told]))
    elif told:
        output.table([name.upper() for name in told[0]], [[str(value) for value in row.values()] for row in told])
    else:
        output.say(f"{names.short(key)} is given no secrets")
