"""What each stage of deciding about a lieutenant may depend on: one type a stage, around the few facts that all of them read.

The whole snapshot is of all these types at once (`reconciler.core.snapshot.lieutenant`): a fact that two stages read is in it once."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.lieutenant import OnLost, OnWorkspaceLost, PostTask
from reconciler.api.waits import Explained
from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.agent import Agent, Guest, Up
from reconciler.core.snapshot.branch import NO_COPIES, Copies
from reconciler.core.snapshot.local import NO_LOCAL_PLACEMENT, LocalPlacement, StandbyVM
from reconciler.core.snapshot.memory import Memory
from reconciler.core.snapshot.provider import NO_PROVIDER, Fallback, Provider
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.replacement import NextMachine
from reconciler.core.snapshot.requests import AnnotationRequests
from reconciler.core.snapshot.session import NOT_COMPACTED, Compacted, Divergence
from reconciler.core.snapshot.slot import Slot
from reconciler.core.snapshot.spare import NO_SPARE, Spare
from reconciler.core.snapshot.vm import Unknown
from reconciler.core.spending.pool import Pool


@dataclass(frozen=True)
class Basics:
    """What every stage may read. `vm_id`: the machine its agent is on: the VM in its slot or, while it lives on this host, its place
    here; '' for none. `guest` and `agent` are None when there was no reason to look (no running VM). `keeper_version`: the one we ship;
    `pi_version`: the pi that is installed where there is none, '' where releases are not told. `active_task`: a task was sent and is
    not finished. `has_agent`: false where a tree's own machine is planned, which has none."""

    name: str
    record: LieutenantRecord
    rendered: Rendered | Unresolved
    keeper_version: str
    vm_id: str = ""
    guest: Guest | Unknown | None = None
    agent: Agent | Unknown | None = None
    active_task: bool = False
    has_agent: bool = True
    health_period: float = 10.0
    now: float = 0.0
    pi_version: str = ""

    @property
    def settled(self) -> bool:
        """pi is up, answers and has nothing to do: the only state in which a prompt may be sent (G-22)."""
        agent = self.agent
        return isinstance(agent, Agent) and isinstance(agent.process, Up) and agent.process.responsive and not agent.process.busy


@dataclass(frozen=True, kw_only=True)
class Part:
    """`lt`: what every stage may read of the lieutenant. A part adds what its own stage reads beside that."""

    lt: Basics


@dataclass(frozen=True, kw_only=True)
class Placed(Part):
    """Its slot, and its place on this host. `standby`: the inside of the slot's VM, while the agent lives on this host; `next`: the other
    machine, while the one in the slot is replaced."""

    slot: Slot
    local: LocalPlacement = NO_LOCAL_PLACEMENT
    standby: StandbyVM | None = None
    next: NextMachine | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """Whether it has work. `running`: it is declared Running and not being deleted; `after`: seconds without work after
    which its machine is suspended, 0 for never; `since`: since when it has had none, None while it has, or while that is not known;
    `wanted`: a task that could be sent now, '' for none; `wake_on_task`, `post_task`: as declared; `done`: it had tasks, and all of
    them have ended; `may_go`: what is declared may be deleted here; `sent`: a task is with the agent, and what became of it is not written
    down yet."""

    running: bool = True
    after: int = 0
    since: float | None = None
    wanted: str = ""
    wake_on_task: bool = True
    post_task: PostTask = PostTask.STAY_IDLE
    done: bool = False
    may_go: bool = True
    sent: bool = False


WORKING = Idle()


@dataclass(frozen=True, kw_only=True)
class SlotPart(Placed):
    """Which machine, and whether its agent belongs on it. `unsupported`: fields that protect and are not acted on; `mirror_size`:
    bytes of the conversation in the store, once those that were read are saved; `session_seen`: bytes of whole lines of it, as far
    as its keeper told of them; `spare`: the machine beside it that is restored from a snapshot; `copies`: what is to become a live copy of
    it. `pools`: the budgets that it spends from; `idle`: whether it has work; `memory`: what it remembers, None where none is declared."""

    requests: AnnotationRequests | None = None
    unsupported: tuple[str, ...] = ()
    mirror_size: int = 0
    session_seen: int = 0
    spare: Spare = NO_SPARE
    on_lost: OnLost = OnLost.RESUME
    copies: Copies = NO_COPIES
    pools: tuple[Pool, ...] = ()
    idle: Idle = WORKING
    memory: Memory | None = None


@dataclass(frozen=True, kw_only=True)
class ReachPart(Part):
    """The way into the machine. `claim`: what the claim file in it must say."""

    claim: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class PreparePart(Part):
    """Whether the machine is as its profile says, and the one that replaces it. `recreate`: update.onProfileChange is Recreate;
    `in_place`: update.onNoRoom is InPlace; `rollout`: why whoever owns it lets no replacement begin now, '' where it may;
    `replace_blocked`: why no machine may be replaced now; `no_room`: why the platform may have none for another one; `next`,
    `unsupported`: as for the slot; `divergence`: as for the session."""

    slot: Slot
    recreate: bool = False
    in_place: bool = False
    rollout: str = ""
    replace_blocked: str = ""
    no_room: str = ""
    unsupported: tuple[str, ...] = ()
    next: NextMachine | None = None
    divergence: Divergence | None = None


@dataclass(frozen=True, kw_only=True)
class SessionPart(Part):
    """The conversation. `mirror_size`: as for the slot; `pending`: bytes of it that were read and are not in the store yet;
    `session_generation`: the declared one; `divergence`: the file and the mirror contradict each other; `edited`: files pi reads that
    are not on the disk as they were written; `turns`: where each turn begins, looked up only while some are to be taken back."""

    slot: Slot
    mirror_size: int = 0
    pending: int = 0
    session_generation: int = 1
    divergence: Divergence | None = None
    edited: tuple[str, ...] = ()
    turns: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AgentPart(Part):
    """pi itself. `edited`: as for the session; `memory`: as for the slot; `mute_since`: since when pi has not answered, 0 when it does;
    `mute_limit`: seconds of that after which it counts as hung; `startup_limit`: seconds from its start to its first answer."""

    edited: tuple[str, ...] = ()
    memory: Memory | None = None
    mute_since: float = 0.0
    mute_limit: float = 30.0
    startup_limit: float = 120.0


@dataclass(frozen=True, kw_only=True)
class GovernPart(Placed):
    """What is left when pi runs: what it says it was told, the provider of its model, its files, and the way back from this host.
    `workspace_untold`: the agent was not told yet that its files are gone. `unread`: of its secrets, why they can't be read any
    more, each with a reason. `mirror_size`, `copies`, `pools`: as for the slot. `compacted`: that its conversation was shortened;
    `fallback`: that another model than the declared one answers."""

    provider: Provider = NO_PROVIDER
    fallback: Fallback | None = None
    unread: tuple[tuple[Explained, str], ...] = ()
    on_workspace_lost: OnWorkspaceLost = OnWorkspaceLost.TELL
    workspace_untold: bool = False
    compacted: Compacted = NOT_COMPACTED
    mirror_size: int = 0
    copies: Copies = NO_COPIES
    pools: tuple[Pool, ...] = ()
