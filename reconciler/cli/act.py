"""Commands that change declarations: in the store, or in the file where an object lives."""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from reconciler.api.annotations import PREFIX
from reconciler.api.registry import KINDS
from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.choosing import Selector, Several, by_name, chosen, confirmed
from reconciler.cli.edit import Change, edit
from reconciler.cli.nodes import Node, beyond, must_be_tree, nodes_of, stalled_beyond
from reconciler.cli.output import out, say
from reconciler.cli.read import one
from reconciler.cli.removing import all_without
from reconciler.cli.several import each, one_by_one, tell
from reconciler.cli.sharedstate import must_be_of_this_folder
from reconciler.cli.submit import submit
from reconciler.cli.validate import warn_unsupported
from reconciler.cli.wait import until
from reconciler.config import Config
from reconciler.core.conditions import stalled_for
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.core.records import FINISHED
from reconciler.engine.ports import StoredObject
from reconciler.errors import ReconcilerError, Refused, UsageError
from reconciler.serve.commands import naming
from reconciler.serve.verbs import cancelling, changing_mode, must_be_open, must_have_mode, patching, trying_again
from reconciler.sources.files.scan import COMMITTED, FileDeclared, Scan, Scanner
from reconciler.sources.files.scan import SOURCE as FILE_SOURCE
from reconciler.views.documents import text_at

Files = Annotated[
    list[str], typer.Option("-f", "--filename", metavar="FILE|DIR|-", help="File, directory or standard input.", show_default=False)
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="S", min=0.0, help="Seconds to wait.")]
_STEP = re.compile(r"[^.\[\]]+")


def read(config: Config, files: Sequence[str]) -> Scan:
    """What these files declare; `-` is standard input."""
    scanner = Scanner(config.namespace)
    if "-" in files:
        if len(files) > 1:
            raise UsageError("standard input can't be mixed with files", "-f -", "give either")
        return scanner.text(sys.stdin.read(), "<stdin>")
    return scanner.scan([Path(file) for file in files])


def ordered(found: Scan) -> list[FileDeclared]:
    """Profiles first, tasks last."""
    return [one for kind in KINDS for one in found.objects if one.key.kind == kind.name]


def findings(found: Scan) -> int:
    """Print what is wrong; returns the exit code."""
    for finding in found.findings:
        say(str(finding))
    return 1 if found.findings else 0


def apply(config: Config, filename: Files) -> None:
    """Declare objects without a directory.

    A document that is broken, or that is declared elsewhere, is refused; the others are declared."""
    found = read(config, filename)
    code = findings(found)

    async def declare(declared: FileDeclared) -> None:
        warn_unsupported(declared)
        request: Json = {
            **naming(declared.key, "apply"),
            "spec": declared.spec,
            "labels": dict(declared.labels),
            "annotations": dict(declared.annotations),
        }
        outcome = await submit(config, [request])
        out(f"{names.short(declared.key)} {outcome[0]}")

    _, wrong = asyncio.run(each(ordered(found), declare))
    tell(config, wrong)
    raise typer.Exit(code)


def delete(
    config: Config,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND NAME…]", help="KIND NAME…, KIND/NAME…, KIND '*', or KIND with -l.", show_default=False),
    ] = None,
    filename: Annotated[
        list[str] | None, typer.Option("-f", "--filename", metavar="FILE|DIR|-", help="What these files declare.", show_default=False)
    ] = None,
    selector: Selector = "",
    node: Annotated[
        str, typer.Option("--node", metavar="N", help="This node of a vmtree, and what stands below it.", show_default=False)
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Return when nothing of it is left.")] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Also what is protected.")] = False,
    timeout: Timeout = 600.0,
) -> None:
    """Undeclare objects.

    `deletionPolicy` says what becomes of their machines. What can't be deleted keeps none of the others, and each one is told. Those that
    are chosen by labels or by '*' are listed and asked for at a terminal.

    With --node a node is taken out of a VMTree where that is declared, also in its file; `policy.onNodeRemoved` says what becomes of what
    stands below it, and machines go leaves first."""
    if bool(words) == bool(filename) or (filename and selector):
        raise UsageError("what is to be deleted?", "KIND NAME | KIND -l LABELS | KIND '*' | -f FILE", "give one of them")
    found = read(config, filename) if filename else None
    code = findings(found) if found else 0
    keys = [declared.key for declared in reversed(ordered(found))] if found else chosen(config, words or [], selector)
    if words and not by_name(words, selector):
        confirmed(keys, "delete")
    if node:
        all_without(config, keys, node, confirm, timeout if wait else None)
        raise typer.Exit(code)

    async def undeclare(key: Key) -> None:
        verbs: Json = {"delete-confirmed": secrets.token_hex(4)} if confirm else {}
        await submit(config, [{**naming(key, "delete"), "verbs": verbs}])
        out(f"{names.short(key)} deletion asked for")

    async def run() -> list[ReconcilerError]:
        deadline = asyncio.get_running_loop().time() + timeout
        asked, wrong = await each(keys, undeclare)
        if not wait or not asked:
            return wrong
        async with reader(config) as store:

            async def gone(key: Key) -> None:
                await until(store, key, lambda obj: obj is None, deadline, "gone")
                out(f"{names.short(key)} is gone")

            return wrong + (await each(asked, gone))[1]

    tell(config, asyncio.run(run()))
    raise typer.Exit(code)


async def _look(config: Config, key: Key) -> StoredObject:
    async with reader(config) as store:
        return await one(store, key)


# --- changing what is declared ---------------------------------------------------------------------------------------------------


async def change(config: Config, key: Key, changes: Callable[[StoredObject], Sequence[Change]]) -> str:
    """Change the declaration where it lives; says where. Raises `NotFound`, `InvalidSpec`, `UsageError`, and
    `Refused` for what a repository declares."""
    obj = await _look(config, key)
    if obj.source == COMMITTED:
        raise Refused(f"{names.short(key)} is declared in a repository, which is only read", obj.origin, "change it there, and push")
    wanted = changes(obj)
    if obj.source == FILE_SOURCE:
        must_be_of_this_folder(obj)
        return f"in {edit(obj, wanted)}"
    await submit(config, [patching(key, wanted)])
    return "in the cluster" if config.kube else "in the store"


def _mode(config: Config, key: Key, node: str, mode: str, confirmed: bool = True) -> None:
    must_have_mode(key)
    must_be_tree(key, node)

    def changes(obj: StoredObject) -> list[Change]:
        return changing_mode(obj, node, mode, confirmed)

    out(f"{names.short(key)} mode {mode} {asyncio.run(change(config, key, changes))}")


def suspend(
    config: Config,
    words: Several,
    selector: Selector = "",
    node: Node = "",
    confirm: Annotated[bool, typer.Option("--confirm", help="Also nodes that are protected.")] = False,
) -> None:
    """Declare a lieutenant or a VMTree Suspended.

    When its agent is settled, the machine is suspended with everything kept. Protected nodes of a VMTree are only suspended with
    --confirm."""
    one_by_one(config, chosen(config, words, selector), lambda key: _mode(config, key, node, "Suspended", confirm))


def resume(
    config: Config,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND NAME…]", help="KIND NAME…, KIND/NAME…, KIND '*', or KIND with -l.", show_default=False),
    ] = None,
    selector: Selector = "",
    node: Node = "",
    halted: Annotated[bool, typer.Option("--halted", help="The whole fleet, after `halt`.")] = False,
) -> None:
    """Declare a lieutenant or a VMTree Running again.

    With --halted: creating and delivering goes on in the whole fleet."""
    if halted == bool(words):
        raise UsageError("what is to be resumed?", "KIND NAME | --halted", "give one of them")
    if halted:
        if config.kube:
            remedy = "`kubectl exec -n reconciler deploy/reconciler -- reconciler resume --halted`"
            raise UsageError("`resume --halted` does not go through an API server", "--kube", remedy)
        asyncio.run(submit(config, [{"op": "halt", "on": False}]))
        out("the fleet goes on")
        return
    one_by_one(config, chosen(config, words or [], selector), lambda key: _woken(config, key, node))


def _woken(config: Config, key: Key, node: str) -> None:
    """Declared Running, and one that rests for lack of work wakes too."""
    _mode(config, key, node, "Running")
    if key.kind == "Lieutenant" and not node:
        asyncio.run(submit(config, [{**naming(key, "annotate"), "annotations": {f"{PREFIX}wake": secrets.token_hex(4)}}]))


def halt(config: Config) -> None:
    """Stop the fleet from creating machines and delivering work.

    It holds at once, for every lieutenant and tree, and over restarts of the controller. What runs is not cut off: turns go on, and
    nothing is suspended or deleted for it; a cancel, limits and budgets hold as ever. No snapshot is taken because its time has come;
    one that a person asks for, or that comes before a deletion, is. `reconciler resume --halted` takes it back."""
    since = asyncio.run(submit(config, [{"op": "halt", "on": True}]))[0]
    out(f"the fleet is halted since {since}; `reconciler resume --halted` lets it go on")


def set_(
    config: Config,
    words: Annotated[
        list[str], typer.Argument(metavar="KIND NAME PATH=VALUE…", help="Such as `lt api mode=Suspended`.", show_default=False)
    ],
    selector: Selector = "",
) -> None:
    """Change fields of a declaration where it lives.

    An empty value takes a field away."""
    settings = [word for word in words if "=" in word]
    named = [word for word in words if "=" not in word]
    if not settings:
        raise UsageError("nothing to set", " ".join(named), "write PATH=VALUE, for example limits.taskTimeoutSeconds=600")
    changes = [setting(text) for text in settings]

    def change_one(key: Key) -> None:
        out(f"{names.short(key)} changed {asyncio.run(change(config, key, lambda obj: whole_model(obj, changes)))}")

    one_by_one(config, chosen(config, named, selector), change_one)


def whole_model(obj: StoredObject, changes: Sequence[Change]) -> list[Change]:
    """The changes; one of `model` alone of an object that declares no model goes with the one it has now. Raises `UsageError` when
    nothing tells which that is."""
    parts = {path[1] for path, _ in changes if path[0] == "model" and len(path) > 1}
    if obj.key.kind != "Lieutenant" or "model" in obj.spec or not parts or {"provider", "id"} <= parts:
        return list(changes)
    provider, slash, model = text_at(obj.status, ".agent.model").partition("/")
    if not slash or "unknown" in (provider, model):  # pi's word for no model
        remedy = "set model.provider and model.id too"
        raise UsageError("it declares no model, and it is not known yet which one it has", names.short(obj.key), remedy)
    known: list[Change] = [(("model", "provider"), provider), (("model", "id"), model)]
    return [*(one for one in known if one[0][1] not in parts), *changes]


def setting(text: str) -> Change:
    """`[spec.]PATH=VALUE` → a change; VALUE is read as YAML. Raises `UsageError`."""
    path, _, value = text.partition("=")
    steps = tuple(_STEP.findall(path.removeprefix("spec.")))
    if not steps:
        raise UsageError("a change needs a path", text, "write PATH=VALUE")
    try:
        parsed: JsonValue = YAML(typ="safe", pure=True).load(value) if value else None
    except YAMLError as error:
        raise UsageError("the value is not YAML", text, "quote it") from error
    return steps, parsed


def cancel(
    config: Config,
    words: Annotated[list[str] | None, typer.Argument(metavar="[TASK]", help="NAME, task NAME or task/NAME.", show_default=False)] = None,
    selector: Selector = "",
) -> None:
    """Cancel a task.

    What was not begun never is, a running turn is ended. With -l: all tasks with these labels that have not ended."""
    if selector:
        keys = [key for key in chosen(config, ["task", *(words or [])], selector) if not _ended(config, key)]
        one_by_one(config, keys, lambda key: _cancel(config, key))
        return
    _cancel(config, names.of_kind(words or [], "Task", config.namespace))


def _ended(config: Config, key: Key) -> bool:
    return asyncio.run(_look(config, key)).status.get("phase") in FINISHED


def _cancel(config: Config, key: Key) -> None:
    where = asyncio.run(change(config, key, cancelling))
    out(f"{names.short(key)} cancelled {where}")


def retry(
    config: Config,
    words: Several,
    selector: Selector = "",
    node: Node = "",
    confirm: Annotated[bool, typer.Option("--confirm", help="Replace its dead machine although it is protected.")] = False,
) -> None:
    """Clear a back-off, a crash loop or a Stalled, and try again now.

    Of a VMTree all nodes that are stalled, or the one that --node names. A task that has ended is not tried again: declare another
    one."""
    one_by_one(config, chosen(config, words, selector), lambda key: _retry(config, key, node, confirm))


def _retry(config: Config, key: Key, node: str, confirm: bool) -> None:
    must_be_tree(key, node)
    if key.kind == "VMTree":
        places = [one for one in asyncio.run(nodes_of(config, key, node)) if node or stalled_for(one.obj.status)]
        left = asyncio.run(stalled_beyond(config, key)) if not node else []
        if left and not places:
            raise beyond(left[0])
        if not places:
            out(f"no node of {names.short(key)} is stalled; --node N tries one again all the same")
            return
        asyncio.run(submit(config, [trying_again(place.obj.key, confirm) for place in places]))
        for place in places:
            out(f"{names.short(key)} node {place.name} is tried again")
        for name in left:
            say(f"note: not tried again: {beyond(name)}")
        return
    if key.kind == "Task":
        must_be_open(asyncio.run(_look(config, key)))
    asyncio.run(submit(config, [trying_again(key, confirm)]))
    out(f"{names.short(key)} is tried again")
