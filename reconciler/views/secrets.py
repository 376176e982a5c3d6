"""Which secrets an agent is given, as what, and by which declaration: names, never values."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.meta import EnvVar, File
from reconciler.api.parsing import load_spec
from reconciler.core.keys import vm_tree
from reconciler.core.profile.rendering import chain_names, key_variable, profile_chain, ref_of, rendered_file
from reconciler.core.snapshot.rendered import SecretRef, Unresolved
from reconciler.core.tree.owned import NODE, TREE
from reconciler.engine.ports import StoredObject
from reconciler.errors import InvalidSpec, Refused
from reconciler.views.permissions import PROFILE, looked_up


@dataclass(frozen=True, slots=True)
class Given:
    """A key of a Secret or of a ConfigMap, or a program or file of the controller's host (`kind`). `as_`: the variable, file or key of a
    provider that it is to the agent; `by`: what declares that."""

    as_: str
    kind: str
    name: str
    key: str
    by: str


def given(lieutenant: StoredObject, profiles: Iterable[StoredObject]) -> tuple[Given, ...]:
    """What reaches the agent: of several that declare one variable or file the last. Raises `Refused` when that can't be told."""
    lookup = looked_up(profiles)
    try:
        spec = load_spec(lieutenant.key.kind, lieutenant.spec, tolerant=True)
        assert isinstance(spec, LieutenantSpec)
        chain = profile_chain(spec.profile_ref.name, lookup)
        names = chain_names(spec.profile_ref.name, lookup)
    except InvalidSpec as error:
        raise Refused("its secrets can't be told", str(lieutenant.key), str(error)) from error
    if isinstance(chain, Unresolved):
        raise Refused("its secrets can't be told", str(lieutenant.key), chain.message)
    found: dict[str, Given | None] = {}
    for name, profile in zip(reversed(names), chain, strict=True):
        by = f"{PROFILE} {name}"
        found |= _of(profile.env, profile.files, by)
        for provider in profile.agent.providers if profile.agent else ():
            as_ = f"key of provider {provider.name} ({key_variable(provider.name)})"
            found[as_] = _given(as_, ref_of(provider.api_key_from) if provider.api_key_from else None, by)
    found |= _of(spec.env, spec.instructions.files, declared_by(lieutenant))
    return tuple(one for _, one in sorted(found.items()) if one is not None)


def declared_by(lieutenant: StoredObject) -> str:
    """The lieutenant itself, or the node of the tree that it was made for."""
    tree, node = lieutenant.labels.get(TREE, ""), lieutenant.labels.get(NODE, "")
    if tree and node and lieutenant.owner:
        return f"{vm_tree('', '').kind} {tree} node {node}"
    return f"{lieutenant.key.kind} {lieutenant.key.name}"


def _of(env: Iterable[EnvVar], files: Iterable[File], by: str) -> dict[str, Given | None]:
    """Variables and files by what they are to the agent; None for those with a plain value, which takes the place of a secret."""
    return dict(_each(env, files, by))


def _each(env: Iterable[EnvVar], files: Iterable[File], by: str) -> Iterator[tuple[str, Given | None]]:
    for variable in env:
        as_ = f"variable {variable.name}"
        yield as_, _given(as_, ref_of(variable.value_from) if variable.value_from else None, by)
    for file in files:
        as_ = f"file {file.path}"
        yield as_, _given(as_, rendered_file(file).secret, by)


def _given(as_: str, ref: SecretRef | None, by: str) -> Given | None:
    """A program is named with its arguments: they are declared in the open."""
    return Given(as_, ref.kind, shlex.join(ref.command) or ref.name, ref.key, by) if ref is not None else None
