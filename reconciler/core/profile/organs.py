"""What the organs and capabilities of a profile are on a machine: the closed table of those that this release brings.

Each is a pi skill with a program of ours in it. The program is started with `check` to verify it on the machine, and pi is asked
whether it has the skill. A name that is not in the table is `Unsupported` by name; nothing stands in for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SKILLS_DIR = "/root/.pi/agent/skills"
KEY = "VERS_API_KEY"


@dataclass(frozen=True, slots=True)
class Piece:
    """One organ or capability. `about`: what it is, for people; `shared`: modules beside its own program; `key`: it needs a key of
    the platform in the agent's environment, and says so when there is none."""

    name: str
    kind: Literal["Organ", "Capability"]
    about: str
    shared: tuple[str, ...] = ()
    key: bool = False

    @property
    def directory(self) -> str:
        """Where it lies on the machine."""
        return f"{SKILLS_DIR}/fleet-{self.name}"

    @property
    def skill(self) -> str:
        """The file by which pi knows it."""
        return f"{self.directory}/SKILL.md"

    @property
    def check(self) -> tuple[str, ...]:
        """The command that verifies it, as an argument list."""
        return "node", f"{self.directory}/{self.name}.mjs", "check"

    @property
    def mark(self) -> str:
        """Name of its check, and of the done-mark `verify:…` of it."""
        return f"{self.kind.lower()}:{self.name}"


def _organ(name: str, about: str) -> Piece:
    return Piece(name, "Organ", about)


def _capability(name: str, about: str) -> Piece:
    return Piece(name, "Capability", about, ("platform.mjs",), key=True)


ORGANS: dict[str, Piece] = {
    piece.name: piece
    for piece in (
        _organ("store", "values that outlive a turn, with an expiry, in one file on the machine"),
        _organ("cron", "commands run by the clock while the machine runs"),
        _organ("lieutenant", "what makes the machine able to carry a lieutenant: keeper, Node and pi"),
        _organ("registry", "who the machine belongs to, as the controller has written it there"),
        _organ("vm-tree", "the machine's own place in the fleet: profile, organs, capabilities"),
        _organ("vers-config", "settings by their order of precedence, shown without secrets"),
        _organ("docs", "what is on the machine and how it is used"),
        _organ("installer", "more skills, from a directory or a git repository"),
    )
}
CAPABILITIES: dict[str, Piece] = {
    piece.name: piece
    for piece in (
        _capability("vers-vm", "machines of the agent's own: make, list, suspend, resume, commit, delete"),
        _capability("vers-vm-copy", "files from and to machines of the agent's own"),
        _capability("vers-swarm", "several machines from one commit, one command in all of them, and their end"),
        _capability("ssh", "a shell on a machine of the agent's own"),
    )
}


def pieces(organs: tuple[str, ...], capabilities: tuple[str, ...]) -> tuple[Piece, ...]:
    """Those of the named that this release brings, organs first."""
    return (*(ORGANS[name] for name in organs if name in ORGANS), *(CAPABILITIES[name] for name in capabilities if name in CAPABILITIES))


def unknown(organs: tuple[str, ...], capabilities: tuple[str, ...]) -> tuple[str, ...]:
    """The others, as `organs: NAME`, for the condition `Unsupported`."""
    return (
        *(f"organs: {name}" for name in organs if name not in ORGANS),
        *(f"capabilities: {name}" for name in capabilities if name not in CAPABILITIES),
    )
