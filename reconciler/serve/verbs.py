"""What a person asks of an object, as the declaration that it is: the same for commands and for what is served over HTTP. Pure, but for
the tokens that tell one request from the next."""

from __future__ import annotations

import secrets
import shlex
import string
from collections.abc import Sequence

from reconciler.api.annotations import PREFIX
from reconciler.api.parsing import load_spec
from reconciler.api.reasons import Reason
from reconciler.core.keys import Json, JsonValue, Key, as_maps, short
from reconciler.core.records import FINISHED
from reconciler.core.tree.places import newly_suspended
from reconciler.engine.ports import StoredObject
from reconciler.errors import Refused, UsageError
from reconciler.serve.commands import naming, patched
from reconciler.views.documents import condition

Change = tuple[Sequence[str], JsonValue]
"""A path in a spec and its new value; None takes the field away."""

NAME_LENGTH = 52
_LETTERS = string.ascii_lowercase + string.digits


# --- work ---------------------------------------------------------------------------------------------------------------------


def task_name(lieutenant: str) -> str:
    """A name that no other task has."""
    return f"{lieutenant[: NAME_LENGTH - 6]}-{''.join(secrets.choice(_LETTERS) for _ in range(5))}"


def task_spec(
    lieutenant: str, prompt: str, steer: bool = False, after: Sequence[str] = (), files: Sequence[str] = (), commands: Sequence[str] = ()
) -> Json:
    """The task that `send` makes. Raises `UsageError` for a command that is not one."""
    if not prompt.strip():
        raise UsageError("the prompt is empty", "PROMPT", "say what is to be done")
    spec: Json = {"lieutenantRef": {"name": lieutenant}, "prompt": prompt}
    if steer:
        spec["delivery"] = "Steer"
    if after:
        waits: list[JsonValue] = [{"name": name.removeprefix("task/")} for name in after]
        spec["after"] = waits
    checks: list[JsonValue] = [{"file": {"path": path}} for path in files]
    checks += [{"command": {"run": _argv(command)}} for command in commands]
    if checks:
        spec["acceptance"] = checks
    return spec


def _argv(command: str) -> JsonValue:
    """A command's words. No shell reads them on the machine, so what only a shell understands is refused, and not taken for a word."""
    try:
        words = shlex.split(command)
        operator = next(iter(_operators(command, posix=True) & _operators(command, posix=False)), "")
    except ValueError as error:
        raise UsageError(f"is not a command: {error}", f"--run {command}", "quote it") from error
    if not words:
        raise UsageError("is not a command", "--run", "name one")
    if operator:
        remedy = f"write --run {shlex.quote(f'sh -c {shlex.quote(command)}')}"
        raise UsageError(f"{operator!r} is for a shell, and none reads it", f"--run {command}", remedy)
    argv: list[JsonValue] = list(words)
    return argv


def _operators(command: str, *, posix: bool) -> set[str]:
    """Words of signs that a shell acts on; the two ways of reading differ in what they take for one within quotes."""
    words = shlex.shlex(command, posix=posix, punctuation_chars=True)
    words.whitespace_split = True
    return {word for word in words if word and not word.strip("();<>|&")}


def sending(lieutenant: Key, spec: Json) -> Json:
    """The request that declares a task for a lieutenant under a fresh name. Raises `InvalidSpec`."""
    load_spec("Task", spec)
    return {**naming(Key("Task", lieutenant.namespace, task_name(lieutenant.name)), "apply"), "spec": spec, "labels": {}, "annotations": {}}


def cancelling(task: StoredObject) -> list[Change]:
    """Raises `Refused` when it is over."""
    if task.key.kind != "Task":
        raise UsageError(f"a {task.key.kind} can't be cancelled", short(task.key), "name a task")
    if task.status.get("phase") in FINISHED:
        raise Refused(f"the task is {task.status['phase']} already", short(task.key), "there is nothing left to cancel")
    return [(("cancel",), True)]


def answering(task: StoredObject, decision: str, asked: Sequence[str], reason: str) -> tuple[list[Change], list[Json]]:
    """The changes that answer questions of a task about its tool calls, all that nobody has answered where none is named; and those
    questions. `decision`: `Approve` or `Deny`. Raises `Refused` when nothing of that waits.

    What was answered just now may be told as open still: the controller has yet to see it, and who names nothing does not mean it."""
    open_ = {str(ask.get("id")): ask for ask in as_maps(task.status.get("asks"))}
    given = {str(one.get("id")): str(one.get("decision")) for one in as_maps(task.spec.get("approvals"))}
    unknown = [name for name in asked if name not in open_]
    if unknown:
        name = unknown[0]
        what = f"question {name} was answered already ({given[name]})" if name in given else f"no question {name!r} waits"
        raise Refused(what, short(task.key), "see `reconciler get approvals`")
    answered = [open_[name] for name in asked or open_ if asked or name not in given]
    if not answered:
        being = f"what it asked was answered already ({', '.join(sorted(open_))}), and is being carried out"
        raise Refused(being if open_ else "nothing of it waits for a person", short(task.key), "see `reconciler get approvals`")
    told: list[JsonValue] = [{"id": ask["id"], "decision": decision, **({"reason": reason[:500]} if reason else {})} for ask in answered]
    before = [one for one in as_maps(task.spec.get("approvals")) if one.get("id") not in {ask["id"] for ask in answered}]
    return [(("approvals",), [*before, *told][-100:])], answered


# --- modes --------------------------------------------------------------------------------------------------------------------


def must_have_mode(key: Key) -> None:
    """Raises `UsageError` for what is neither suspended nor resumed."""
    if key.kind not in ("Lieutenant", "VMTree"):
        raise UsageError(f"a {key.kind} can't be suspended or resumed", short(key), "name a lieutenant or a vmtree")


def change_of_mode(obj: StoredObject, node: str, mode: str) -> Change:
    """The change that gives an object, or one node of a tree, this mode. Raises `UsageError` when it has no such node."""
    if not node:
        return ("mode",), mode
    nodes = obj.spec.get("nodes")
    for index, entry in enumerate(nodes if isinstance(nodes, list) else ()):
        if isinstance(entry, dict) and entry.get("name") == node:
            return ("nodes", str(index), "mode"), mode
    raise UsageError(f"there is no node {node!r}", short(obj.key), "see `reconciler get -o yaml`")


def falls_asleep(obj: StoredObject, changes: Sequence[Change]) -> list[str]:
    """The protected nodes of a tree that run as it is declared now, and would not after these changes."""
    if obj.key.kind != "VMTree":
        return []
    after = patched(obj.key, obj.spec, [{"path": list(path), "value": value} for path, value in changes])
    return newly_suspended(load_spec("VMTree", obj.spec, tolerant=True), load_spec("VMTree", after, tolerant=True))


def changing_mode(obj: StoredObject, node: str, mode: str, confirmed: bool) -> list[Change]:
    """The changes; raises `Refused` when protected nodes would fall asleep and nobody confirmed that."""
    must_have_mode(obj.key)
    wanted = [change_of_mode(obj, node, mode)]
    if not confirmed and (guarded := falls_asleep(obj, wanted)):
        raise Refused(f"{', '.join(guarded)} of it is protected", short(obj.key), "confirm it with --confirm")
    return wanted


def patching(key: Key, changes: Sequence[Change]) -> Json:
    """The request that makes these changes where the declaration lives in the store."""
    settings: list[JsonValue] = [{"path": list(path), "value": value} for path, value in changes]
    return {**naming(key, "patch"), "set": settings}


# --- trying again ---------------------------------------------------------------------------------------------------------------


def must_be_open(task: StoredObject) -> None:
    """Raises `Refused` when trying again would change nothing."""
    if (phase := task.status.get("phase")) in FINISHED:
        raise Refused(f"the task is {phase} already; a task has one result", short(task.key), "declare another one")
    ready = condition(task.status, "Ready")
    if ready.get("reason") == Reason.DEPENDENCY_CYCLE:
        what = f"trying again changes nothing: {ready.get('message') or Reason.DEPENDENCY_CYCLE.meaning}"
        raise Refused(what, short(task.key), "delete one of the tasks, and declare it again with another `after`")


def trying_again(key: Key, confirm: bool = False) -> Json:
    """The request that clears a back-off, a crash loop or a Stalled. `confirm`: also where a dead machine is protected."""
    verbs = ("retry", "delete-confirmed") if confirm else ("retry",)
    tokens: Json = {f"{PREFIX}{verb}": secrets.token_hex(4) for verb in verbs}
    return {**naming(key, "annotate"), "annotations": tokens}
