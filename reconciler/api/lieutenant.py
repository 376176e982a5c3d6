"""Lieutenant: one persistent agent, with its VM slot, its session, its queue and its limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reconciler.api.budget import Budget as Budget
from reconciler.api.budget import OnExceeded as OnExceeded
from reconciler.api.document import Document
from reconciler.api.markers import Judged, ListSet, Rule, Told, Transition, immutable, immutable_inside, one_of
from reconciler.api.meta import (
    Choice,
    Count,
    DeletionPolicy,
    Env,
    Files,
    Items,
    Mode,
    Model,
    ModelChoice,
    Name,
    PositiveSeconds,
    Prose,
    Ref,
    Resources,
    Seconds,
    Text,
    VmId,
    Word,
)
from reconciler.api.permissions import Permissions as Permissions
from reconciler.api.session import OnLost as OnLost
from reconciler.api.session import OnWorkspaceLost as OnWorkspaceLost
from reconciler.api.session import Session as Session
from reconciler.api.snapshots import Snapshots as Snapshots


class PlacementType(Choice):
    """Where the agent lives."""

    VM = "VM"
    LOCAL = "Local"


class OutageFallback(Choice):
    """What happens while VMs cannot be had."""

    NONE = "None"
    LOCAL = "Local"


class Placement(Model):
    """Where the agent lives, and where else when that fails."""

    type: PlacementType = PlacementType.VM
    """`VM`: on a machine of its own. `Local`: on the controller's host (needs `--allow-local`). Immutable."""
    outage_fallback: OutageFallback = OutageFallback.NONE
    """`Local`: work continues on the controller's host while VMs cannot be had."""


class Instructions(Model):
    """What the agent is told before any task."""

    inherit: bool = True
    """Take the context of the parent in the VMTree first."""
    context: Text = ""
    """What the agent should know; part of its system prompt."""
    directive: Text = ""
    """What the agent must obey. It is part of the system prompt, which a compaction does not shorten."""
    files: Files = ()
    """Files for the agent, such as AGENTS.md; relative paths start at its work dir."""


class Queue(Model):
    """The tasks that wait for this lieutenant."""

    max_pending: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Tasks beyond this many stay `Pending` with reason `QueueFull`."""


class ToolProgress(Choice):
    """What of a running tool counts as progress."""

    OUTPUT = "Output"
    WORK = "Work"


class Limits(Model):
    """Guards that the controller enforces. 0 means no limit."""

    task_timeout_seconds: Seconds = 1800
    """Longest run of one task, counted from its delivery."""
    no_progress_seconds: Seconds = 600
    """Longest time in a turn without any sign of progress."""
    tool_progress: ToolProgress = ToolProgress.OUTPUT
    """What of a running tool counts as progress: what it puts out, or (`Work`) also CPU and I/O that its processes use."""
    first_artifact_seconds: Seconds = 0
    """Longest time until the first file is written."""
    steer_land_seconds: PositiveSeconds = 60
    """How long a steer may take to be seen in the conversation."""
    max_turns: Count = 0
    """Most turns of one task."""


class PostTask(Choice):
    """What becomes of an agent whose tasks are all done."""

    STAY_IDLE = "StayIdle"
    SUSPEND = "Suspend"
    DELETE = "Delete"


class Idle(Model):
    """What happens to an agent without work."""

    suspend_after_seconds: Seconds = 0
    """Suspend the machine after this long without work; 0 means never."""
    wake_on_task: bool = True
    """A new task resumes a machine that was suspended for idleness."""
    post_task: PostTask = PostTask.STAY_IDLE
    """Once its tasks are done: `StayIdle` until `suspendAfterSeconds` are over; `Suspend` at once; `Delete` the lieutenant (one that a
    file or a tree declares is suspended, since it would come back)."""


class OnBusy(Choice):
    """How a working agent is brought to rest."""

    WAIT = "Wait"
    ABORT = "Abort"


class Suspend(Model):
    """How suspending treats a busy lieutenant."""

    on_busy: OnBusy = OnBusy.WAIT
    """`Wait` until its turn is over; `Abort` the turn once `graceSeconds` are over."""
    grace_seconds: Seconds = 600
    """How long `Abort` waits first."""


class MemoryScope(Choice):
    """Whose memory."""

    AGENT = "Agent"
    GLOBAL = "Global"


class FactsModel(Model):
    """A model that looks for facts, in the words of pi."""

    provider: Word
    """Provider as pi knows it, or the name of one of `agent.providers`."""
    id: Word
    """The model's id at that provider."""


class Memory(Model):
    """What the agent keeps between sessions."""

    scopes: Annotated[Items[MemoryScope], Field(max_length=2), ListSet()] = ()
    """Which memories it reads and writes: `Agent`, its own, or `Global`, which it shares with all lieutenants of the namespace that
    declare it. None: it has no memory, and no tools for one."""
    max_lines: Annotated[int, Field(ge=1, le=10_000)] = 300
    """Lines that it is told when it starts and after a compaction, the newest of all its memories. More is kept, for its tools to find."""
    extract_facts: bool = False
    """Before each compaction a model looks for facts worth keeping in what is about to go; they become entries of its first scope."""
    facts_model: FactsModel | None = None
    """The model that looks for them; unset: the one that the agent uses itself."""


class Compaction(Model):
    """How a long conversation is shortened (compacted)."""

    auto: bool = True
    """Let pi shorten it by itself."""
    reserve_tokens: Annotated[int, Field(ge=0, le=10_000_000)] = 16_384
    """It is shortened once fewer tokens than this are left of what the model can read."""
    keep_recent_tokens: Annotated[int, Field(ge=0, le=10_000_000)] = 20_000
    """Tokens of the newest messages that stay as they are."""
    reassert_directive: bool = True
    """Say role and directive again each time it was shortened."""


class Health(Model):
    """How the agent is probed."""

    period_seconds: Annotated[int, Field(ge=1, le=3600)] = 10
    """Between two probes."""
    failure_threshold: Annotated[int, Field(ge=1, le=100)] = 3
    """Failed probes until the session counts as lost."""
    startup_timeout_seconds: PositiveSeconds = 120
    """From start until the first answer."""


class Backoff(Model):
    """Delays between restarts: base, then doubled up to the maximum, with jitter."""

    base_seconds: PositiveSeconds = 2
    """The first delay."""
    max_seconds: PositiveSeconds = 300
    """The longest delay."""


class CrashLoop(Model):
    """When restarting is given up."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 5
    """More restarts than this within the window are a crash loop."""
    window_seconds: PositiveSeconds = 1800
    """Length of the window."""
    stable_seconds: PositiveSeconds = 300
    """So long without a crash clears the count."""


class Restart(Model):
    """How a dead agent is brought back."""

    backoff: Backoff = Backoff()
    """Delays."""
    crash_loop: CrashLoop = CrashLoop()
    """Giving up."""


class OnProfileChange(Choice):
    """When a changed profile reaches an existing machine."""

    ON_DELETE = "OnDelete"
    RECREATE = "Recreate"


class OnNoRoom(Choice):
    """What a replacement does where the platform has no room for a second machine."""

    WAIT = "Wait"
    IN_PLACE = "InPlace"


class Update(Model):
    """How changes reach an existing machine."""

    on_profile_change: OnProfileChange = OnProfileChange.ON_DELETE
    """`OnDelete`: with the next machine. `Recreate`: make another one, verify it, carry conversation and workspace over, then delete the
    old one."""
    on_no_room: OnNoRoom = OnNoRoom.WAIT
    """Without room for a second machine: `Wait` with the old one, or `InPlace`: delete it first, with its workspace."""


class ManagementPolicy(Choice):
    """How far the controller may go."""

    FULL = "Full"
    OBSERVE_ONLY = "ObserveOnly"
    NO_DELETE = "NoDelete"


class BindCreated(Model):
    """A VM that exists already."""

    vm_id: VmId
    """Its full id."""


class ForkSource(Ref):
    """What is branched."""

    tree: Name | None = None
    """The tree that has a node `name` without an agent (with replicas NAME-ORDINAL); unset: `name` is a lieutenant."""


class Fork(Model):
    """Another lieutenant, or a machine without an agent, to branch from."""

    from_: ForkSource = Field(alias="from")
    """Whose machine and memory the new one starts with."""


class AgentSettings(Model):
    """What a Lieutenant and the lieutenants of a VMTree's node have in common."""

    instructions: Instructions = Instructions()
    """What the agent is told."""
    model: ModelChoice | None = None
    """Which model answers; unset: the profile's, else the controller's `--default-model`."""
    env: Env = ()
    """Environment of the agent, over the profile's."""
    queue: Queue = Queue()
    """Its waiting tasks."""
    limits: Limits = Limits()
    """Guards."""
    idle: Idle = Idle()
    """Being without work."""
    suspend: Suspend = Suspend()
    """Being suspended."""
    budget: Budget | None = None
    """Money, tokens and machine hours; unset: no limit."""
    permissions: Permissions | None = None
    """Tool calls; unset: nothing is checked, unless the profile has some."""
    memory: Memory = Memory()
    """What is kept between sessions."""
    compaction: Compaction = Compaction()
    """Long conversations."""
    health: Health = Health()
    """Probing."""
    restart: Restart = Restart()
    """Bringing it back."""
    session: Session = Session()
    """The conversation."""
    update: Update = Update()
    """Changes of the profile."""
    snapshots: Snapshots | None = None
    """Commits of the machine; unset: none."""
    management_policy: ManagementPolicy = ManagementPolicy.FULL
    """`ObserveOnly`: report and do nothing. `NoDelete`: never delete a VM."""
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    """What becomes of the VM: deleted; `Snapshot` first, then deleted; `Retain` it with our claim; `Orphan` it without."""


def _not_local(alias: str) -> Rule:
    """The optional field needs a VM."""
    message = f"cannot be used with `placement.type: Local`, which has no VM; remove `{alias}` or the placement"

    def check(model: Judged) -> Iterator[Told]:
        assert isinstance(model, LieutenantSpec)
        if model.placement.type is PlacementType.LOCAL and getattr(model, alias) is not None:
            yield (alias,), message

    local = "has(self.placement) && has(self.placement.type) && self.placement.type == 'Local'"
    return Rule(message, f"!has(self.{alias}) || !({local})", check, f".{alias}")


class LieutenantSpec(AgentSettings):
    """What is wanted of a lieutenant."""

    rules: ClassVar[tuple[Rule, ...]] = (
        one_of("adopt", "fork", required=False),
        _not_local("adopt"),
        _not_local("fork"),
    )
    transitions: ClassVar[tuple[Transition, ...]] = (*immutable("adopt", "fork"), immutable_inside("placement", "type", "VM"))

    role: Prose
    """Who this agent is, in its own system prompt."""
    profile_ref: Ref
    """The BootProfile that its machine is made from; `full`, `swarm`, `lightweight` and `infra` are built in."""
    mode: Mode = Mode.RUNNING
    """`Suspended`: the machine is suspended, with everything kept, as soon as the agent is settled."""
    placement: Placement = Placement()
    """Where it lives."""
    resources: Resources = Resources()
    """Size of its machine, over the profile's."""
    adopt: BindCreated | None = None
    """Take over this VM instead of making one. Immutable."""
    fork: Fork | None = None
    """Start as a live branch of another lieutenant. Immutable."""


class Lieutenant(Document):
    """One persistent agent: its machine, its session, its queue, its limits."""

    kind: Literal["Lieutenant"] = "Lieutenant"
    """`Lieutenant`."""
    spec: LieutenantSpec
    """What is wanted."""
