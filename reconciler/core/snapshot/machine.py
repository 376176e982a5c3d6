"""What a machine is made from and what is done in it, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.core.keys import Json


@dataclass(frozen=True, slots=True)
class RootSource:
    """A fresh VM from the default image (`new_root`); labels can be given at birth."""

    image: str = "default"


@dataclass(frozen=True, slots=True)
class CommitSource:
    """A VM restored from a commit (`from_commit`); no labels at birth."""

    commit_id: str


@dataclass(frozen=True, slots=True)
class RefSource:
    """A VM restored from what `repository:tag` points to; no labels at birth."""

    ref: str


@dataclass(frozen=True, slots=True)
class BranchSource:
    """A live copy of a VM that runs (`branch/by_vm`), with its disk and what is in its memory; no labels at birth."""

    vm_id: str


CreateSource = RootSource | CommitSource | BranchSource
"""What a create names. A reference is resolved before, so that what was made is known by the id of its commit."""

VmSource = RootSource | CommitSource | RefSource
"""What a profile names."""


@dataclass(frozen=True, slots=True)
class VmShape:
    """Sizes; None leaves the platform's default."""

    vcpus: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None


@dataclass(frozen=True, slots=True)
class GuestFile:
    """A file to be written. A relative `path` starts at the agent's work dir. `mode`: octal permission bits."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class GuestCommand:
    """A command as an argument list, never a shell string. `cwd` '' means the agent's work dir. `sandbox`: the boundary that it runs in,
    None for none."""

    argv: tuple[str, ...]
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 60.0
    sandbox: Json | None = None


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How it ended; `exit_code` None means it was killed at its timeout. Tails are at most 4 KiB of text each."""

    exit_code: int | None
    stdout: str = ""
    stderr: str = ""
    duration: float = 0.0
