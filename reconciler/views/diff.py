"""In what two objects, or two machines, are configured differently: what was declared, and what was verified on the machine. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.api.status.lieutenant import LieutenantStatus
from reconciler.core.keys import Json, JsonValue, as_map
from reconciler.engine.ports import StoredObject
from reconciler.views.documents import labels_of, text_at
from reconciler.views.jsonpath import plain
from reconciler.views.selecting import CAPABILITY, ORGAN, found_on

ABSENT = "<none>"
"""Shown where one of two has nothing to say of a field."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which they differ; '' where one of them says nothing of it."""

    field: str
    a: str
    b: str


def configuration(obj: StoredObject) -> dict[str, str]:
    """What an object is made of, field by field: what its machine was found to have, its labels and its declaration."""
    return {**dict(_found(obj)), **{f"label {name}": value for name, value in obj.labels.items()}, **dict(_flat(obj.spec, "spec"))}


def configuration_of_vm(vm: Json, owner: StoredObject | None) -> dict[str, str]:
    """The same of a VM: what its owner knows of it, and what its document says."""
    said = {"owner": text_at(vm, ".status.owner"), "account": text_at(vm, ".status.account")}
    known = configuration(owner) if owner is not None else {}
    return {
        **said,
        **known,
        **{f"label {name}": value for name, value in labels_of(vm).items() if not name.startswith((ORGAN, CAPABILITY))},
    }


def differences(a: Mapping[str, str], b: Mapping[str, str]) -> list[Difference]:
    """The fields in which two configurations differ, in the order in which they are told."""
    every = dict.fromkeys((*a, *b))
    return [Difference(name, a.get(name, ""), b.get(name, "")) for name in every if a.get(name, "") != b.get(name, "")]


def as_json(a: str, b: str, found: list[Difference]) -> Json:
    """The differences of two objects with these names, as `-o json` prints them."""
    rows: list[JsonValue] = [{"field": one.field, "a": one.a, "b": one.b} for one in found]
    return {"a": a, "b": b, "differences": rows}


def _found(obj: StoredObject) -> Iterator[tuple[str, str]]:
    status = LieutenantStatus.load(obj.status) if "machine" in obj.status or "boot" in obj.status or "agent" in obj.status else None
    profile = text_at(obj.spec, ".profileRef.name")
    if profile:
        yield "profile", profile
    if status is None:
        return
    for name, state in found_on(obj).items():
        yield f"{'organ' if name.startswith(ORGAN) else 'capability'} {name.partition('/')[2]}", state
    agent, machine = status.agent, status.machine
    if agent is not None and agent.model:
        yield "model", agent.model
    if agent is not None and agent.thinking:
        yield "thinking", agent.thinking
    if machine is not None:
        yield "node", machine.node or ""
        yield "pi", machine.pi or ""
        yield "keeper", machine.keeper or (agent.keeper_version if agent is not None else "")
        for name, digest in machine.marks.items():
            yield f"machine {name}", digest
    if agent is not None and agent.launch_hash:
        yield "launch", agent.launch_hash


def _flat(value: JsonValue, at: str) -> Iterator[tuple[str, str]]:
    """The fields of a declaration by path; a list of named things by their names, any other list as a whole."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{at}.{name}")
    elif isinstance(value, list) and value and all(as_map(one).get("name") for one in value):
        for one in value:
            named = as_map(one)
            yield from _flat({name: inner for name, inner in named.items() if name != "name"} or True, f"{at}[{named['name']}]")
    elif at != "spec.profileRef.name":
        yield at, plain(value)
