"""What a decision about an agent on this host may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.snapshot.agent import Agent, Guest
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.vm import Unknown


class Hosting(StrEnum):
    """Whether agents may run on this host."""

    ALLOWED = "Allowed"
    NOT_ALLOWED = "NotAllowed"
    UNAVAILABLE = "Unavailable"  # this controller runs in a cluster


@dataclass(frozen=True, slots=True)
class LocalPlacement:
    """What a decision about an agent on this host may depend on. `declared`, `fallback`: as the spec says; `here`: its directory
    is in this controller's state directory; `place`: the id of its place here; `outage`: why VMs can't be had, '' when they can;
    `not_applied`: parts of its profile that are for machines only; `machine`: what a
    VM for it would be made of."""

    declared: bool = False
    fallback: bool = False
    hosting: Hosting = Hosting.NOT_ALLOWED
    here: bool = True
    place: str = ""
    outage: str = ""
    not_applied: tuple[str, ...] = ()
    machine: Rendered | Unresolved | None = None


NO_LOCAL_PLACEMENT = LocalPlacement()


@dataclass(frozen=True, slots=True)
class StandbyVM:
    """What is in the VM while the agent still lives on this host."""

    claim: dict[str, str]
    guest: Guest | Unknown | None = None
    agent: Agent | Unknown | None = None
