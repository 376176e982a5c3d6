"""`demo`: the story from end to end, and an exit code that says whether all of it came true."""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from reconciler.cli.output import out, parse_format, say, to_json
from reconciler.config import Config
from reconciler.core.keys import Json, JsonValue
from reconciler.errors import ReconcilerError, UsageError
from reconciler.visible import one_line

if TYPE_CHECKING:
    from reconciler.cli.demo.stage import Stage
    from reconciler.cli.demo.story import Story  # brings everything along; imported when played

SCENARIOS = {
    "quickstart": "one agent, three tasks that build on each other, a steer, suspend and resume with its memory intact",
    "fork": "one agent copied live three ways while work waits for it; each copy knows what it was told, and goes on apart from the others",
    "governed": "one agent remembers beyond its machine, tries what it may not, waits for a person's yes, runs out of budget, and goes on",
    "outage": "a platform without room for machines: work goes on on this host, then moves to a machine with all it knows and made",
    "rollout": "a profile changes in a tree, one machine after another; the next change fails at one node, costs nothing, and is undone",
    "tree": "a tree of machines is declared, grows, shrinks, sleeps overnight, wakes with what it knew, and is taken down in order",
    "survive": "one agent whose process and machines are taken away under it; it goes on, and still knows what it was told",
}
"""Scenarios by name, each a module beside this one."""


class Script(Protocol):
    """What a story's module has."""

    def rules(self) -> list[tuple[str, list[Json]]]:
        """What the scripted model does when it is told what."""
        ...

    async def play(self, stage: Stage, keep: bool, story: Story) -> None: ...


def script(name: str) -> Script:
    """The module of a story."""
    module: Script = importlib.import_module(f"reconciler.cli.demo.{name}")
    return module


def demo(
    config: Config,
    scenario: Annotated[str, typer.Option("--scenario", metavar="NAME", help="Which story; see --list.")] = "quickstart",
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until Ctrl-C, and print how to talk to it.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="text or json.")] = "text",
) -> None:
    """See it work on this machine: no key, no cluster, no network.

    A simulated platform, real machines, real pi and a scripted model."""
    shape = parse_format(output, ("text", "json"))
    if list_:
        for name, summary in SCENARIOS.items():
            out(f"{name}   {summary}")
        return
    if scenario not in SCENARIOS:
        raise UsageError(f"there is no scenario {scenario!r}", "--scenario", f"use one of {', '.join(SCENARIOS)}")
    raise typer.Exit(asyncio.run(_demo(config, scenario, shape.kind == "json", keep)))


async def _demo(config: Config, scenario: str, as_json: bool, keep: bool) -> int:
    from reconciler import log
    from reconciler.cli.demo.stage import stage
    from reconciler.cli.demo.story import Story
    from reconciler.cli.demo.telling import Telling

    log.setup(config.log_format, config.verbose)
    played_by, story = script(scenario), Story(scenario)
    problem = ""
    stopped = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: stopped.set() if story.left and keep else task.cancel())
    guests = ""
    try:
        with Telling(live=sys.stdout.isatty(), quiet=as_json) as telling:
            async with stage(config.environ, played_by.rules, telling) as played:
                guests = played.guests
                telling.line(f"machines: {guests}")
                try:
                    await played_by.play(played, keep, story)
                except ReconcilerError as error:
                    problem = str(error)
                if not problem and keep:
                    _say_how(played.exports(), as_json)
                    await stopped.wait()
    except asyncio.CancelledError:
        return 130
    if as_json:
        out(to_json(summary(story, guests, problem)))
    elif not problem:
        out(f"\nAll of it came true: {story.seconds:.1f} s of reconciling, {machines(story.created)} made, {story.left} left.")
    if problem:
        say(f"error: {one_line(problem)}")
    return 1 if problem or (story.left and not keep) else 0


def machines(count: int) -> str:
    return "1 VM" if count == 1 else f"{count} VMs"


def _say_how(exports: str, as_json: bool) -> None:
    (say if as_json else out)(f"\nIt is left running until Ctrl-C. To talk to it, in another shell:\n\n{exports}\n\nreconciler get all")


def summary(story: Story, guests: str, problem: str) -> Json:
    """What `-o json` prints."""
    files: list[JsonValue] = [{"path": name, "bytes": size} for name, size in story.files]
    chapters: list[JsonValue] = list(story.chapters)
    tasks: list[JsonValue] = list(story.tasks)
    return {
        "scenario": story.name,
        "ok": not problem,
        "error": problem,
        "guests": guests,
        "seconds": story.seconds,
        "chapters": chapters,
        "tasks": tasks,
        "files": files,
        "machines": {"created": story.created, "left": story.left},
    }
