"""Writes that people ask for, as JSON requests: the same code behind the control socket and without a controller.

Requests: `{"op": "apply", "kind", "namespace", "name", "spec", "labels", "annotations"}`, `{"op": "delete", …key, "verbs"}`,
`{"op": "annotate", …key, "annotations"}`, `{"op": "patch", …key, "set": [{"path": [...], "value"}]}`,
`{"op": "remove", …key, "node", "nodes", "verbs"}`, `{"op": "collect", "vms"}`,
`{"op": "memory", "namespace", "owner", "add", "remove"}`,
`{"op": "halt", "on"}`, `{"op": "prune", "hash", "stack"}`, `{"op": "ping"}`. `by`, of all of them: who asks, for the audit; over HTTP it is
the word of the one who asks, and told as that.
Answers: `{"ok": …}` or `{"error": {"type", "what", "where", "remedy"}}`, `type` being a class of `reconciler.errors`.
"""

from __future__ import annotations

import copy
import itertools
import os
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from reconciler import errors
from reconciler.api.annotations import PREFIX, VERBS, is_verb
from reconciler.api.meta import UUID
from reconciler.api.parsing import load_spec
from reconciler.api.registry import BY_NAME, INTERNAL
from reconciler.core.audit import WHO, Actor
from reconciler.core.governance.memory import Whose
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.core.tree.removal import more_than
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.declared import Declared
from reconciler.engine.view import DeclarationPort
from reconciler.errors import InvalidSpec, ReconcilerError, Refused, UsageError
from reconciler.serve.removing import removing

SOURCE = "api"
AUDITED = frozenset({"apply", "delete", "annotate", "patch", "remove"})
"""Operations on an object that are in the audit when they are refused, too."""


class Commands:
    """Carries out requests through the declarations of one process. `still_declared`: whether a file declares the object now, `declared`:
    what the file says of it now, None when it does not declare it well. `collect`: writes down which VMs without an owner are to be
    deleted; `remember`: changes what agents remember; `refused`: is told who was refused what, and why."""

    def __init__(
        self,
        declarations: DeclarationPort,
        still_declared: Callable[[StoredObject], bool],
        collect: Callable[[Sequence[str]], Awaitable[None]],
        remember: Callable[[Whose, Sequence[str], Collection[str], Actor], Awaitable[Json]],
        refused: Callable[[Actor, str, Key, str], Awaitable[None]],
        declared: Callable[[StoredObject], Json | None] = lambda _: None,
    ) -> None:
        self._declarations, self._still_declared, self._collect, self._remember = declarations, still_declared, collect, remember
        self._refused, self._declared = refused, declared

    async def handle(self, request: Json, proved: Actor | None = None) -> Json:
        """One request → its answer; what is wrong with it is in the answer. `proved`: who asks, as far as that is known; None: a command
        of this user."""
        actor = actor_of(request, proved)
        try:
            return {"ok": await self._act(request, actor)}
        except Refused as error:
            if request.get("op") in AUDITED:
                await self._refused(actor, str(request["op"]), key_of(request), error.what)
            return error_answer(error)
        except ReconcilerError as error:
            return error_answer(error)

    async def _act(self, request: Json, actor: Actor) -> JsonValue:
        op = request.get("op")
        declarations = self._declarations.acting(actor)
        if op == "ping":
            return {"pid": os.getpid()}
        if op == "collect":
            return await self._collect_all(request.get("vms"))
        if op == "halt":
            return await declarations.halt(request.get("on") is True)
        if op == "prune":
            stack = request.get("stack")
            await declarations.approve_prune(str(request.get("hash")), stack if isinstance(stack, str) else None)
            return "approved"
        if op == "memory":
            whose = Whose(str(request.get("namespace") or ""), str(request.get("owner") or ""))
            return await self._remember(whose, _texts(request, "add"), _texts(request, "remove"), actor)
        key = key_of(request)
        match op:
            case "apply":
                spec = _map(request, "spec")
                load_spec(key.kind, spec)
                labels, annotations = _strings(request, "labels"), _strings(request, "annotations")
                return (await declarations.apply(Declared(key, spec, labels, annotations, SOURCE))).value
            case "delete":
                await declarations.delete(key, still_declared=self._still_declared, verbs=_verbs(request, "delete-confirmed", "detached"))
                return "deleted"
            case "annotate":
                annotations = _strings(request, "annotations")
                unknown = [name for name in annotations if not is_verb(name)]
                if unknown:
                    raise UsageError(f"{unknown[0]!r} is no verb", str(key), f"use one of {', '.join(sorted(VERBS))}")
                await declarations.annotate(key, annotations)
                return "annotated"
            case "patch":
                return (await declarations.patch_spec(key, lambda obj: patched(key, obj.spec, request.get("set")), SOURCE)).value
            case "remove":
                verbs = {f"{PREFIX}{verb}": token for verb, token in _verbs(request, "delete-confirmed").items()}
                return (await declarations.patch_spec(key, lambda obj: self._without(obj, request), None, verbs)).value
            case _:
                raise UsageError(f"unknown operation {op!r}", "control socket", "use the same release on both sides")

    def _without(self, tree: StoredObject, request: Json) -> Json:
        """The spec of a tree without a node. Of one in a file what the file says now is put in force as it stands, when nothing else
        goes by it than what a person took out of it there. Raises `Refused`, `Conflict`."""
        if tree.source == SOURCE:
            return without_node(tree, request)
        spec, nodes = self._declared(tree), _texts(request, "nodes")
        if spec is None:
            raise Refused(f"{tree.key} is declared elsewhere", tree.origin or f"source {tree.source}", "change it there")
        before, after = (load_spec(tree.key.kind, one, tolerant=True) for one in (tree.spec, spec))
        if others := more_than(before, after, nodes):
            remedy = "`reconciler prune` tells what becomes of all that"
            raise Refused(f"by its file more would go than was asked for: {', '.join(others)}", tree.origin, remedy)
        return spec

    async def _collect_all(self, vms: JsonValue) -> JsonValue:
        wanted = [vm_id for vm_id in vms if isinstance(vm_id, str) and re.fullmatch(UUID, vm_id)] if isinstance(vms, list) else []
        if not isinstance(vms, list) or len(wanted) != len(vms):
            raise UsageError("full ids of VMs are needed", "control socket")
        await self._collect(wanted)
        return len(wanted)


def actor_of(request: Json, proved: Actor | None) -> Actor:
    """Who asks: the user of a command, or who proved to be somebody, with what he says of himself besides."""
    by = str(request.get("by") or "")
    return Actor("command", by[:WHO]) if proved is None else proved.claiming(by)


def patched(key: Key, spec: Json, changes: JsonValue) -> Json:
    """The spec with these fields set; a null takes the field or the item of a list away. Raises `InvalidSpec` when the result is not
    valid."""
    changed = copy.deepcopy(spec)
    for path, value in changes_of({"set": changes}, str(key)):
        put(changed, path, value, str(key))
    load_spec(key.kind, changed)
    return changed


def without_node(tree: StoredObject, request: Json) -> Json:
    """The spec of a tree without the node that a request names. Raises as `removing`, and `InvalidSpec`."""
    asked = removing(tree, str(request.get("node")), "delete-confirmed" in _strings(request, "verbs"), known=_texts(request, "nodes"))
    return patched(tree.key, tree.spec, [{"path": list(path), "value": value} for path, value in asked.changes])


def _verbs(request: Json, *known: str) -> dict[str, str]:
    """The verbs that go with a request, by name."""
    verbs = _strings(request, "verbs") if "verbs" in request else {}
    if unknown := [verb for verb in verbs if verb not in known]:
        raise UsageError(f"{unknown[0]!r} does not go with this", str(request.get("op")))
    return verbs


def changes_of(request: Json, where: str) -> list[tuple[list[str], JsonValue]]:
    """Paths and values that a `patch` sets. Raises `UsageError`."""
    found: list[tuple[list[str], JsonValue]] = []
    changes = request.get("set")
    for change in changes if isinstance(changes, list) else []:
        path = change.get("path") if isinstance(change, dict) else None
        if not isinstance(change, dict) or not isinstance(path, list) or not path:
            raise UsageError("a change needs a path", where, "write PATH=VALUE")
        found.append(([str(step) for step in path], change.get("value")))
    return found


def error_answer(error: ReconcilerError) -> Json:
    """What is answered to a request that went wrong."""
    return {"error": {"type": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy}}


def put(spec: Json, path: list[str], value: JsonValue, where: str) -> None:
    """Set one field; maps on the way are made, list items are named by their index."""
    at: JsonValue = spec
    for step, following in itertools.pairwise(path):
        at = _child(at, step, following, where)
    last = path[-1]
    if isinstance(at, dict):
        if value is None:
            at.pop(last, None)
        else:
            at[last] = value
    elif isinstance(at, list) and last.isdigit() and int(last) < len(at):
        at[int(last) : int(last) + 1] = [] if value is None else [value]
    else:
        raise UsageError(f"there is no field {'.'.join(path)}", where, "see `reconciler explain`")


def _child(at: JsonValue, step: str, following: str, where: str) -> JsonValue:
    if isinstance(at, dict):
        return at.setdefault(step, {})
    if isinstance(at, list) and step.isdigit() and int(step) < len(at):
        return at[int(step)]
    raise UsageError(f"there is nothing at {step}.{following}", where, "see `reconciler explain`")


def key_of(request: Mapping[str, JsonValue]) -> Key:
    """The object that a request names. What a tree keeps for itself can be asked for something by annotation, and no more. Raises
    `UsageError`."""
    kind, namespace, name = (request.get(part) for part in ("kind", "namespace", "name"))
    known = kind in BY_NAME or (kind in INTERNAL and request.get("op") == "annotate")
    if not isinstance(kind, str) or not known or not isinstance(namespace, str) or not isinstance(name, str):
        raise UsageError("a request needs kind, namespace and name", "control socket")
    return Key(kind, namespace, name)


def naming(key: Key, op: str) -> Json:
    """The beginning of a request about one object."""
    return {"op": op, "kind": key.kind, "namespace": key.namespace, "name": key.name}


def raise_error(answer: Json) -> JsonValue:
    """What an answer says: its result, or the error in it raised again."""
    told = answer.get("error")
    if not isinstance(told, dict):
        return answer.get("ok")
    kind = getattr(errors, str(told.get("type")), ReconcilerError)
    if not (isinstance(kind, type) and issubclass(kind, ReconcilerError)):
        kind = ReconcilerError
    raise kind(str(told.get("what", "refused")), str(told.get("where", "")), str(told.get("remedy", "")))


def _map(request: Json, name: str) -> Json:
    value = request.get(name)
    if not isinstance(value, dict):
        raise InvalidSpec(f"{name} must be a map", "control socket")
    return value


def _texts(request: Json, name: str) -> list[str]:
    value = request.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidSpec(f"{name} must be a list of texts", "control socket")
    return [str(one) for one in value]


def _strings(request: Json, name: str) -> dict[str, str]:
    return {key: str(value) for key, value in _map(request, name).items()}
