"""A BootProfile and a Lieutenant, rendered into what a machine and its agent are made of. Pure: same specs, same bytes,
same hash (G-47). Secrets stay references here; their values are looked up at the moment of use."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from operator import itemgetter
from typing import TypeVar

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.governreasons import GovernReason
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.meta import File, Resources, SecretSource
from reconciler.api.reasons import Reason
from reconciler.core.governance.boundary import boundary_of, flaw_of
from reconciler.core.governance.permissions.declared import rules_of, unseen, waits_for, wrong_examples
from reconciler.core.governance.permissions.rules import Rules
from reconciler.core.keys import boot_profile, lieutenant
from reconciler.core.profile.digests import digest
from reconciler.core.profile.directories import AGENT_DIR, WORK_DIR
from reconciler.core.profile.instructions import inside_of
from reconciler.core.profile.models import fallbacks_of, models_of
from reconciler.core.profile.organs import pieces
from reconciler.core.snapshot.agent import AS_PI_DOES, Compacting
from reconciler.core.snapshot.machine import CommitSource, RefSource, RootSource, VmShape, VmSource
from reconciler.core.snapshot.memory import Facts, Settings
from reconciler.core.snapshot.rendered import Check, Rendered, RenderedFile, SecretRef, Step, Unresolved

ROLE_FILE = f"{AGENT_DIR}/reconciler-role.md"
PROFILE_LEVEL, LIEUTENANT_LEVEL = boot_profile("", "").kind, lieutenant("", "").kind
NO_KEY = "none"
"""Stands for the key of a declared provider that needs none."""
MODELS_FILE = f"{AGENT_DIR}/models.json"


def with_secrets(made: Rendered, prints: Mapping[SecretRef, str], empty: frozenset[SecretRef] = frozenset()) -> Rendered:
    """The same, knowing which values its secrets have (`prints`: a fingerprint of each, not the value; `empty`: those that are blank): a
    changed value is a changed launch, and reaches files and environment by a restart of pi on the same session; it needs no new machine."""
    if not prints:
        return made
    secrets_hash = digest([[ref, prints[ref]] for ref in sorted(prints)])
    return replace(made, prints=dict(prints), empty=empty, secrets_hash=secrets_hash, launch_hash=f"{made.launch_hash}-{secrets_hash}")


def same_launch(running: str, declared: Rendered) -> bool:
    """Whether pi runs as declared. A launch without a digest of its secrets was made by a release that had none; it is left alone
    until something else changes."""
    base, dash, _ = declared.launch_hash.partition("-")
    return running == declared.launch_hash or (bool(dash) and running == base)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Flawed:
    """A profile that is declared and not valid. `why`: what is wrong, and where."""

    why: str


Lookup = Callable[[str], BootProfileSpec | Flawed | None]


def profile_chain(name: str, lookup: Lookup, namespace: str = "") -> tuple[BootProfileSpec, ...] | Unresolved:
    """The profile and what it extends, base first."""
    chain: list[BootProfileSpec] = []
    seen: list[str] = []
    at: str | None = name
    while at is not None:
        if at in seen:
            return Unresolved(Reason.INVALID_PROFILE, f"BootProfile {name} extends itself: {' → '.join([*seen, at])}", final=True)
        seen.append(at)
        spec = lookup(at)
        if spec is None:
            remedy = f" in namespace {namespace}; declare it there or name another one" if namespace else "; declare it or name another one"
            return Unresolved(Reason.PROFILE_NOT_FOUND, f"BootProfile {at} does not exist{remedy}")
        if isinstance(spec, Flawed):
            return Unresolved(Reason.INVALID_PROFILE, f"BootProfile {at} is declared, but not valid: {spec.why}", final=True)
        chain.append(spec)
        at = spec.extends.name if spec.extends else None
    if not any(spec.source for spec in chain):
        return Unresolved(Reason.INVALID_PROFILE, f"BootProfile {name} has no source and extends none that has one", final=True)
    return tuple(reversed(chain))


def chain_names(name: str, lookup: Lookup) -> tuple[str, ...]:
    """Names of the profile and what it extends, the profile first; as far as they resolve."""
    names: list[str] = []
    at: str | None = name
    while at is not None and at not in names and isinstance(spec := lookup(at), BootProfileSpec):
        names.append(at)
        at = spec.extends.name if spec.extends else None
    return tuple(names)


def _source(chain: tuple[BootProfileSpec, ...]) -> VmSource:
    declared = next(spec.source for spec in reversed(chain) if spec.source)
    if declared.commit_id:
        return CommitSource(declared.commit_id)
    if declared.ref:
        return RefSource(declared.ref)
    return RootSource(declared.image or "default")


def _last(values: list[T | None]) -> T | None:
    return next((value for value in reversed(values) if value is not None), None)


def _by(items: list[T], key: Callable[[T], str]) -> tuple[T, ...]:
    """Later ones replace earlier ones of the same key, in place."""
    merged: dict[str, T] = {}
    for item in items:
        merged[key(item)] = item
    return tuple(merged.values())


def system_prompt(name: str, spec: LieutenantSpec) -> str:
    """What pi is told about itself, appended to its own prompt."""
    parts = [
        f"You are {name}, a persistent agent. Your role: {spec.role}",
        "Your conversation and your files live on between pieces of work. Each piece of work begins with a line in square"
        " brackets that identifies it; you need not repeat that line. When a piece of work is done, end with a clear summary"
        " of what was done and of any open question.",
    ]
    if spec.instructions.context:
        parts.append(f"Context:\n{spec.instructions.context.strip()}")
    return "\n\n".join([*parts, *directive(spec)]) + "\n"


def directive(spec: LieutenantSpec) -> tuple[str, ...]:
    """What it must obey, where that is declared."""
    return (f"Directive (always holds):\n{spec.instructions.directive.strip()}",) if spec.instructions.directive else ()


REMEMBERS = (
    "You have a memory beyond this conversation: its newest lines are in your system prompt, as they are now, and memory_read and"
    " memory_search find the rest. What you want to know later is not safe in this conversation."
)


def reminder(name: str, spec: LieutenantSpec) -> str:
    """What is said again once its conversation was shortened, '' for nothing."""
    if not spec.compaction.reassert_directive:
        return ""
    remembers = (REMEMBERS,) if spec.memory.scopes else ()
    return "\n\n".join((f"You are {name}, a persistent agent. Your role: {spec.role}", *directive(spec), *remembers))


def ref_of(source: SecretSource) -> SecretRef:
    """Where a secret value comes from, as it is looked up."""
    if source.exec is not None:
        return SecretRef(source.exec.command[0], "", "Program", source.exec.command, source.exec.refresh_seconds)
    if source.file is not None:
        return SecretRef(source.file.path, "", "File")
    assert source.secret_key_ref is not None
    return SecretRef(source.secret_key_ref.name, source.secret_key_ref.key)


def rendered_file(file: File) -> RenderedFile:
    """Content stays a reference where it is one."""
    ref: SecretRef | None = None
    if file.value_from:
        ref = ref_of(file.value_from)
    elif file.content_from and file.content_from.secret_key_ref:
        ref = SecretRef(file.content_from.secret_key_ref.name, file.content_from.secret_key_ref.key)
    elif file.content_from and file.content_from.config_map_key_ref:
        ref = SecretRef(file.content_from.config_map_key_ref.name, file.content_from.config_map_key_ref.key, "ConfigMap")
    return RenderedFile(file.path, file.content or "", ref, int(file.mode, 8))


@dataclass(frozen=True, slots=True)
class MachinePart:
    """What the machines of all lieutenants with these profiles and this size have in common; the fields are those of `Rendered`."""

    source: VmSource
    shape: VmShape
    work_dir: str
    files: tuple[RenderedFile, ...]
    steps: tuple[Step, ...]
    checks: tuple[Check, ...]
    profile_hash: str
    files_hash: str
    machine_hash: str
    organs: tuple[str, ...]
    capabilities: tuple[str, ...]
    organ_checks: tuple[Check, ...]
    organs_hash: str


def machine_part(chain: tuple[BootProfileSpec, ...], resources: Resources | None) -> MachinePart:
    """Of a chain of profiles, base first, and the size that a lieutenant wants instead of theirs."""
    sizes = [spec.resources for spec in chain if spec.resources] + ([resources] if resources else [])
    shape = VmShape(
        vcpus=_last([r.vcpus for r in sizes]),
        memory_mib=_last([r.memory_mib for r in sizes]),
        disk_mib=_last([r.disk_mib for r in sizes]),
    )
    agents = [p.agent for p in chain if p.agent]
    work_dir = _last([a.work_dir if "work_dir" in a.model_fields_set else None for a in agents]) or WORK_DIR
    files = _by([rendered_file(f) for p in chain for f in p.files], lambda f: f.path)
    steps = _by([Step(s.name, s.run, float(s.timeout_seconds), s.retries) for p in chain for s in p.steps], lambda s: s.name)
    checks = _by(
        [Check(v.name, tuple(v.command), v.expect.exit_code, v.expect.stdout, float(v.timeout_seconds)) for p in chain for v in p.verify],
        lambda c: c.name,
    )
    organs = _by([word for p in chain for word in p.organs], str)
    capabilities = _by([word for p in chain for word in p.capabilities], str)
    brought = pieces(organs, capabilities)
    machine = [[shape.vcpus, shape.memory_mib, shape.disk_mib], str(_source(chain))]
    # The names only: what is in a program of ours may change with a release, and a release is no change of the profile (G-01).
    carried = [[piece.kind, piece.name] for piece in brought]
    return MachinePart(
        source=_source(chain),
        shape=shape,
        work_dir=work_dir,
        files=files,
        steps=steps,
        checks=checks,
        profile_hash=digest([files, steps, checks, work_dir, *machine, carried]),
        files_hash=digest(files),
        machine_hash=digest(machine),
        organs=organs,
        capabilities=capabilities,
        organ_checks=tuple(Check(piece.mark, piece.check, 0, None, 60.0, 2, piece.kind) for piece in brought),
        organs_hash=digest(carried) if carried else "",
    )


def render(
    name: str,
    spec: LieutenantSpec,
    lookup: Lookup,
    default_model: str = "",
    namespace: str = "",
    machine: Callable[[tuple[BootProfileSpec, ...], Resources | None], MachinePart] = machine_part,
) -> Rendered | Unresolved:
    """Everything a machine for this lieutenant is made of, or why that can't be said. `machine`: `machine_part`, or what it returned before
    for the same."""
    chain = profile_chain(spec.profile_ref.name, lookup, namespace)
    if isinstance(chain, Unresolved):
        return chain
    part = machine(chain, spec.resources)
    work_dir = part.work_dir
    agents = [p.agent for p in chain if p.agent]
    command = _last([tuple(a.command) if "command" in a.model_fields_set else None for a in agents]) or ("pi",)
    providers = _by([p for a in agents for p in a.providers], lambda p: p.name)
    choices = tuple(choice for choice in (*(a.model for a in agents), spec.model) if choice)
    model = choices[-1] if choices else None
    model_id = f"{model.provider}/{model.id}" if model else default_model
    memory = settings_of(spec)
    finding = (memory.facts,) if memory and memory.facts and memory.facts.provider else ()
    env: dict[str, str] = {}
    secret_env: dict[str, SecretRef] = {}
    for variable in [e for p in chain for e in p.env] + list(spec.env):
        env.pop(variable.name, None)
        secret_env.pop(variable.name, None)
        if variable.value_from:
            secret_env[variable.name] = ref_of(variable.value_from)
        else:
            env[variable.name] = variable.value or ""

    agent_files = [RenderedFile(ROLE_FILE, system_prompt(name, spec))]
    agent_files += [rendered_file(f) for f in spec.instructions.files]
    declared: dict[str, dict[str, object]] = {}
    for provider in providers:
        variable_name = key_variable(provider.name)
        if provider.api_key_from:
            secret_env[variable_name] = ref_of(provider.api_key_from)
        else:
            env[variable_name] = NO_KEY
        declared[provider.name] = {
            "baseUrl": provider.base_url,
            "api": provider.api,
            "apiKey": f"${variable_name}",  # a bare name would be taken for the key itself
        }
    # Which models a provider has, and which one answers, pi learns while it runs: neither is part of its launch (G-30).
    read_at_start = digest([agent_files, declared])
    if declared:
        offered = {name: {**told, "models": models_of(name, choices, model_id, finding)} for name, told in declared.items()}
        agent_files.append(RenderedFile(MODELS_FILE, json.dumps({"providers": offered}, indent=1, sort_keys=True), mode=0o600))

    argv: list[str] = ["--append-system-prompt", ROLE_FILE, "--no-approve"]
    for extension in _by([e for a in agents for e in a.extensions], str):
        argv += ["--extension", extension]
    declared_rules = [(PROFILE_LEVEL, a.permissions) for a in agents] + [(LIEUTENANT_LEVEL, spec.permissions)]
    rules = rules_of(declared_rules, work_dir)
    flaw = next((told for level, one in declared_rules if one for told in wrong_examples(level, one, work_dir)), None)
    if flaw is not None:
        return Unresolved(Reason.PERMISSIONS_INVALID, f"example {flaw[0]} of the permissions: {flaw[1]}", final=True)
    argv += _guarded(rules)
    sandbox = _last([p.sandbox for p in chain])
    if told := flaw_of(sandbox, work_dir):
        return Unresolved(GovernReason.SANDBOX_INVALID, told, final=True)
    reached = [one.provider for choice in choices for one in (*choice.fallbacks, choice)] or [model_id.partition("/")[0]]
    reached += [one.provider for one in finding]
    boundary = boundary_of(sandbox, {provider.name: provider.base_url for provider in providers}, reached)
    skills = _by([e for a in agents for e in a.skills], str)
    for skill in skills:
        argv += ["--skill", skill]

    agent_hash = digest(agent_files)
    compacting = compacting_of(spec)
    return Rendered(
        source=part.source,
        shape=part.shape,
        work_dir=work_dir,
        files=part.files,
        steps=part.steps,
        checks=part.checks,
        agent_files=tuple(agent_files),
        command=command,
        argv=tuple(argv),
        env=env,
        secret_env=secret_env,
        profile_hash=part.profile_hash,
        files_hash=part.files_hash,
        agent_hash=agent_hash,
        launch_hash=digest(
            [
                command,
                argv,
                sorted(env.items()),
                sorted(((n, r.plain() if r.of_host else [r.name, r.key]) for n, r in secret_env.items()), key=itemgetter(0)),
                read_at_start,
                *([rules.hash] if rules else []),
                *([[*memory.scopes, memory.max_lines]] if memory else []),
                *([["facts", *astuple(memory.facts)]] if memory and memory.facts else []),
                *([astuple(compacting)] if compacting != AS_PI_DOES else []),
                *([f"sandbox {boundary.hash}"] if boundary else []),
            ]
        ),
        model=model_id,
        thinking=str(model.thinking) if model and model.thinking else "",
        fallbacks=fallbacks_of(model),
        told=inside_of(agent_files, ROLE_FILE, (AGENT_DIR,), work_dir),
        machine_hash=part.machine_hash,
        organs=part.organs,
        capabilities=part.capabilities,
        organ_checks=part.organ_checks,
        organs_hash=part.organs_hash,
        endpoints={provider.name: f"{provider.api} {provider.base_url}" for provider in providers},
        skills=tuple(posixpath.normpath(posixpath.join(work_dir, skill)) for skill in skills),
        compacting=compacting,
        reminder=reminder(name, spec),
        rules=rules,
        ask_seconds=waits_for(one for _, one in declared_rules),
        boundary=boundary,
        memory=memory,
    )


def settings_of(spec: LieutenantSpec) -> Settings | None:
    """What it remembers by; None where no memory is declared."""
    declared = spec.memory
    if not declared.scopes:
        return None
    named = declared.facts_model
    facts = Facts(named.provider, named.id) if named is not None else Facts()
    scopes = tuple(sorted(scope.value for scope in declared.scopes))
    return Settings(scopes, declared.max_lines, facts if declared.extract_facts else None)


def compacting_of(spec: LieutenantSpec) -> Compacting:
    """How pi is to shorten its conversation."""
    declared = spec.compaction
    return Compacting(declared.auto, declared.reserve_tokens, declared.keep_recent_tokens)


def _guarded(rules: Rules | None) -> list[str]:
    """pi's own arguments where calls are checked: no extension but those that are declared, and only the tools that may be seen."""
    if rules is None:
        return []
    shown = ["--tools", ",".join(rules.tools)] if rules.tools is not None else []
    hidden = [tool for tool in unseen(rules) if tool != "*"]
    return ["--no-extensions", *shown, *(["--exclude-tools", ",".join(hidden)] if hidden else [])]


def key_variable(provider: str) -> str:
    """The variable that has the key of a provider which a profile declares."""
    return f"RECONCILER_PROVIDER_{shout(provider)}_KEY"


def shout(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name).upper()
