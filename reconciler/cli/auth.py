"""`auth can-i`: what the rules of an agent say about one tool call."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.read import one
from reconciler.config import Config
from reconciler.core.keys import Json, lieutenant, task
from reconciler.errors import UsageError

LIEUTENANT, TASK = lieutenant("", "").kind, task("", "").kind
EXIT = {"Allow": 0, "Ask": 4, "Deny": 4}


def auth(
    config: Config,
    words: Annotated[
        list[str],
        typer.Argument(metavar="can-i LIEUTENANT CALL", help="CALL such as 'bash(git push)' or 'write(src/a.ts)'.", show_default=False),
    ],
    for_task: Annotated[str, typer.Option("--task", metavar="TASK", help="Under the rules of this task too.", show_default=False)] = "",
    output_: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="text or json.")] = "text",
) -> None:
    """Say what an agent may do, and which rule decides.

    Tells the answer, the rule, its level, and the part of the call that decides. By what is declared now, on any machine:
    symbolic links are followed only where the agent runs. Exit code 0 for Allow, 4 for Ask and Deny."""
    from reconciler.core.governance.permissions.decide import call, decide
    from reconciler.views.permissions import PROFILE, rules_of

    shape = output.parse_format(output_, ("text", "json"))
    if len(words) < 3 or words[0] != "can-i":
        raise UsageError("what is asked?", " ".join(words), "write `auth can-i LIEUTENANT CALL`, such as `auth can-i api 'bash(git push)'`")
    *who, wanted = words[1:]
    named = who if len(who) > 1 or "/" in who[0] else [f"lieutenant/{who[0]}"]
    key = names.of_kind(named, LIEUTENANT, config.namespace)

    async def answer() -> Json:
        async with reader(config) as store:
            own = await one(store, key)
            work = await one(store, task(config.namespace, for_task)) if for_task else None
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
