"""The boundary of the operating system around an agent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints

from reconciler.api.markers import Judged, ListSet, Pattern, Rule, Told
from reconciler.api.meta import AbsolutePath, Items, Model

Paths = Annotated[Items[AbsolutePath], Field(max_length=64), ListSet()]
Address = Annotated[
    str,
    StringConstraints(max_length=260),
    Pattern(
        r"^(\[[0-9A-Fa-f:.]+\]|(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?):[1-9][0-9]{0,4}$",
        "must be HOST:PORT, such as registry.npmjs.org:443 or *.example.com:443",
    ),
]

GUARDED: Final = ("/root/.pi/agent", "/var/lib/reconciler")
"""Directories of pi and of the keeper on a machine: nothing in or above them is writable."""
SYSTEM: Final = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/usr")
"""The machine's own, from which what is not in a sandbox is run."""
UNWRITABLE: Final = "must not be the home, one of the system, or hold those of pi and its keeper; name one below the home or elsewhere"


def guards(path: str) -> bool:
    """Whether an agent that may write there could change what guards it."""
    above = path == "/root" or any(place == path or place.startswith(f"{path}/") for place in GUARDED)
    return above or any(path == place or path.startswith(f"{place}/") for place in (*GUARDED, *SYSTEM))


def _leaves_the_guard_alone(model: Judged) -> Iterator[Told]:
    assert isinstance(model, SandboxFiles)
    for index, path in enumerate(model.writable):
        if guards(path):
            yield ("writable", index), f"{path} {UNWRITABLE}"


_ABOVE = ("/root", "/root/.pi", "/root/.pi/agent", "/var", "/var/lib", "/var/lib/reconciler")
_CEL = (
    "!has(self.writable) || self.writable.all(p, !(p in ["
    + ", ".join(f"'{path}'" for path in (*_ABOVE, *SYSTEM))
    + "])"
    + "".join(f" && !p.startsWith('{path}/')" for path in (*GUARDED, *SYSTEM))
    + ")"
)


class SandboxFiles(Model):
    """What an agent may write to, and what it does not see."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule(UNWRITABLE, _CEL, _leaves_the_guard_alone, ".writable"),)

    writable: Paths = ()
    """More directories that may be written to; the work dir, pi's sessions and a `/tmp` of its own always are, and nothing else is."""
    hidden: Paths = ()
    """Directories and files that are empty for the agent and everything that it starts."""


class SandboxNetwork(Model):
    """Where an agent may go."""

    allow: Annotated[Items[Address], Field(max_length=200), ListSet()] = ()
    """Hosts with their ports; `*.NAME:PORT` is every host below a name. The address of the declared model's provider is added."""


class Sandbox(Model):
    """A boundary that the kernel keeps around an agent and everything that it starts; needs `bwrap` on the machine."""

    fs: SandboxFiles = SandboxFiles()
    """Files."""
    network: SandboxNetwork | None = None
    """Its way to other hosts, a proxy of the keeper for HTTP and CONNECT; unset: the machine's own network."""
