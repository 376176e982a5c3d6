"""Everything a decision about one lieutenant may depend on."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.lieutenant import OnLost, OnWorkspaceLost
from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.agent import Agent, Guest, Up
from reconciler.core.snapshot.local import NO_LOCAL_PLACEMENT, LocalPlacement, StandbyVM
from reconciler.core.snapshot.provider import NO_PROVIDER, Provider
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.requests import AnnotationRequests
from reconciler.core.snapshot.session import Divergence
from reconciler.core.snapshot.slot import Slot
from reconciler.core.snapshot.vm import Unknown


@dataclass(frozen=True, slots=True)
class LieutenantView:
    """Everything a decision about one lieutenant may depend on. `guest` and `agent` are None when there was no reason to
    look (no running VM). `claim`: what the guest's claim file must say. `keeper_version`: the one we ship. `session_seen`: bytes of
    whole lines of the conversation, as far as its keeper told of them; `parted`: the file and the mirror contradict each other."""

    name: str
    slot: Slot
    record: LieutenantRecord
    rendered: Rendered | Unresolved
    claim: dict[str, str]
    keeper_version: str
    requests: AnnotationRequests | None = None
    guest: Guest | Unknown | None = None
    agent: Agent | Unknown | None = None
    mirror_size: int = 0
    session_seen: int = 0
    session_generation: int = 1
    on_lost: OnLost = OnLost.RESUME
    divergence: Divergence | None = None
    on_workspace_lost: OnWorkspaceLost = OnWorkspaceLost.TELL
    workspace_untold: bool = False  # the agent was not told yet that its files are gone
    active_task: bool = False
    unsupported: tuple[str, ...] = ()
    now: float = 0.0
    health_period: float = 10.0
    recreate: bool = False  # update.onProfileChange: Recreate
    replace_blocked: str = ""  # why no machine may be replaced now
    mute_since: float = 0.0  # since when pi has not answered, 0 when it does
    mute_limit: float = 30.0  # seconds of that after which it counts as hung
    startup_limit: float = 120.0  # seconds from its start to its first answer
    edited: tuple[str, ...] = ()  # files pi reads that are not on the disk as they were written
    local: LocalPlacement = NO_LOCAL_PLACEMENT
    provider: Provider = NO_PROVIDER  # of its model
    standby: StandbyVM | None = None  # the inside of the slot's VM, while the agent lives on this host

    @property
    def vm_id(self) -> str:
        """The machine its agent is on: the VM in its slot or, while it lives on this host, its place here; '' for none."""
        return self.local.place if self.record.local.state == "Home" else self.slot.record.vm_id

    @property
    def settled(self) -> bool:
        """pi is up, answers and has nothing to do: the only state in which a prompt may be sent (G-22)."""
        return (
            isinstance(self.agent, Agent)
            and isinstance(self.agent.process, Up)
            and self.agent.process.responsive
            and not self.agent.process.busy
        )
