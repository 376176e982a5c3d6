"""What a BootProfile and a Lieutenant are rendered into: a machine and its agent. Secrets stay references here."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from reconciler.api.waits import Explained
from reconciler.core.governance.boundary import Boundary
from reconciler.core.governance.permissions.rules import Rules
from reconciler.core.keys import JsonValue
from reconciler.core.snapshot.agent import AS_PI_DOES, Compacting, Inside
from reconciler.core.snapshot.machine import VmShape, VmSource
from reconciler.core.snapshot.memory import Settings


@dataclass(frozen=True, slots=True, order=True)
class SecretRef:
    """A key of a Secret or ConfigMap in the object's own namespace; or what a program of this host prints (`command`, run again after
    `refresh` seconds where it tells no end), or what is in a file of it, each with its program or path as the name."""

    name: str
    key: str
    kind: Literal["Secret", "ConfigMap", "Program", "File"] = "Secret"
    command: tuple[str, ...] = ()
    refresh: int = 0

    @property
    def of_host(self) -> bool:
        """Whether the controller's host gives the value."""
        return self.kind in ("Program", "File")

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.kind} {self.name} key {self.key}" if self.key else f"{self.kind.lower()} {self.name}"

    def plain(self) -> JsonValue:
        """What of it decides about the value, for digests."""
        match self.kind:
            case "Program":
                return {"exec": [*self.command]}
            case "File":
                return {"file": self.name}
            case "Secret":
                return {"secret": self.name, "key": self.key}
            case "ConfigMap":
                return {"configMap": self.name, "key": self.key}


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """`content` or, when it comes from a Secret or ConfigMap, `secret`."""

    path: str
    content: str = ""
    secret: SecretRef | None = None
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    run: str
    timeout: float
    retries: int


@dataclass(frozen=True, slots=True)
class Check:
    """`kind`: a check that the profile declares, or that of an organ or capability of ours."""

    name: str
    argv: tuple[str, ...]
    exit_code: int
    stdout: str | None
    timeout: float
    retries: int = 0
    kind: Literal["Verify", "Organ", "Capability"] = "Verify"


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model as `provider/id`, and how much it is to think, '' for as it does by itself."""

    model: str
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One machine and its agent. `*_hash`: short, stable digests of the part; `machine_hash`: of what the VM itself is made from;
    `secrets_hash`: of the values of its secrets, '' until they were looked up. `env`: plain values, `secret_env`: references.
    `endpoints`: of the providers that the profile declares, by name; `prints`: fingerprints of its secrets, once they were looked up;
    `empty`: those whose value is nothing but blanks.
    `organs`, `capabilities`: as declared; `organ_checks`: of those that this release brings. `skills`: where pi must find the declared
    ones. `seals`: what done-marks on the disk of a baked source bear. `rules`: what tool calls are checked against, None for nothing;
    `ask_seconds`: how long one may wait for a person; `boundary`: what the agent runs in, None for nothing. `fallbacks`: what stands
    in for the model; `instead_of`: the declared one, while `model` and `thinking` are those of a fallback. `compacting`: how pi is to
    shorten its conversation; `reminder`: what is said again once it was, '' for nothing. `memory`: what it remembers by, None for none."""

    source: VmSource
    shape: VmShape
    work_dir: str
    files: tuple[RenderedFile, ...]
    steps: tuple[Step, ...]
    checks: tuple[Check, ...]
    agent_files: tuple[RenderedFile, ...]
    command: tuple[str, ...]
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, SecretRef] = field(default_factory=dict)
    profile_hash: str = ""
    files_hash: str = ""
    agent_hash: str = ""
    launch_hash: str = ""
    model: str = ""
    thinking: str = ""
    fallbacks: tuple[ModelUse, ...] = ()
    instead_of: ModelUse | None = None
    told: Inside = field(default_factory=lambda: Inside(""))
    machine_hash: str = ""
    secrets_hash: str = ""
    organs: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    organ_checks: tuple[Check, ...] = ()
    organs_hash: str = ""
    skills: tuple[str, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    prints: Mapping[SecretRef, str] = field(default_factory=dict)
    empty: frozenset[SecretRef] = frozenset()
    seals: tuple[str, ...] = ()
    compacting: Compacting = AS_PI_DOES
    reminder: str = ""
    rules: Rules | None = None
    ask_seconds: float = 600.0
    boundary: Boundary | None = None
    memory: Settings | None = None

    @property
    def basis(self) -> str:
        """Digests of everything that machine and agent are made from."""
        return f"{self.machine_hash}/{self.profile_hash}/{self.launch_hash}/{self.agent_hash}"

    def check(self, name: str) -> Check | None:
        """A check of the profile, of an organ or of a capability, by name."""
        return next((c for c in (*self.checks, *self.organ_checks) if c.name == name), None)

    def uses(self) -> tuple[ModelUse, ...]:
        """The models that may answer, the declared one first."""
        return (ModelUse(self.model, self.thinking), *self.fallbacks) if self.model else ()

    def secret_files(self) -> tuple[str, ...]:
        """Where files are whose content is a secret."""
        files = (f for f in (*self.files, *self.agent_files) if f.secret is not None and f.secret.kind != "ConfigMap")
        return tuple(sorted({posixpath.join(self.work_dir, f.path) for f in files}))

    def secrets(self) -> frozenset[SecretRef]:
        """Every secret this machine needs."""
        files = (f.secret for f in (*self.files, *self.agent_files) if f.secret)
        return frozenset((*files, *self.secret_env.values()))


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why nothing can be rendered (yet). `reason`: a condition reason."""

    reason: Explained
    message: str
    final: bool = False  # stays so until somebody changes something
