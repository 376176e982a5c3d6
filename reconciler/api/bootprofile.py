"""BootProfile: how a machine and its agent come to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from reconciler.api.document import Document
from reconciler.api.markers import Judged, ListMap, Pattern, Rule, Told, one_of
from reconciler.api.meta import (
    AbsolutePath,
    Argument,
    Argv,
    CommitId,
    Env,
    Files,
    Items,
    Model,
    ModelChoice,
    Name,
    PositiveSeconds,
    Prose,
    Ref,
    Resources,
    SecretSource,
    Word,
    Words,
)
from reconciler.api.permissions import Permissions
from reconciler.api.sandbox import Sandbox

ImageRef = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Pattern(r"^[A-Za-z0-9][A-Za-z0-9._/-]*:[A-Za-z0-9][A-Za-z0-9._-]*$", "must be REPOSITORY:TAG"),
]


class Source(Model):
    """What a machine starts from: exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (one_of("image", "commitId", "ref"),)

    image: Word | None = None
    """An image of the platform; `default` is the one every account has."""
    commit_id: CommitId | None = None
    """A commit, by its full id."""
    ref: ImageRef | None = None
    """A commit, by repository and tag."""


class Step(Model):
    """One command that prepares the machine. It runs at least once; a done-mark keeps it from running again."""

    name: Name
    """Unique within the profile; part of the done-mark."""
    run: Prose
    """A script for `sh`, with the work dir as current directory."""
    timeout_seconds: PositiveSeconds = 600
    """Longest run."""
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    """More attempts after a failure."""


class Expect(Model):
    """What a good outcome looks like."""

    exit_code: Annotated[int, Field(ge=0, le=255)] = 0
    """The exit code."""
    stdout: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """What standard output must be, white space at both ends aside; unset: anything."""


class Verification(Model):
    """One command that must end as expected before the machine counts as ready."""

    name: Name
    """Unique within the profile."""
    command: Argv
    """The command as a list; no shell reads it."""
    expect: Expect = Expect()
    """What it must come to."""
    timeout_seconds: PositiveSeconds = 60
    """Longest run."""


def _warm_is_baked(model: Judged) -> Iterator[Told]:
    assert isinstance(model, Bake)
    if model.warm and not model.enabled:
        yield ("warm",), f"{WARM_NEEDS_BAKING}; set `enabled: true`"


WARM_NEEDS_BAKING = "machines are kept ready of a baked profile only"


class Bake(Model):
    """Build the machine once and start later ones from its commit."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"{WARM_NEEDS_BAKING}; set `enabled: true`",
            "!has(self.warm) || self.warm == 0 || (has(self.enabled) && self.enabled)",
            _warm_is_baked,
            ".warm",
        ),
    )

    enabled: bool = False
    """Whether to."""
    keep: Annotated[int, Field(ge=1, le=100)] = 2
    """How many baked commits stay."""
    warm: Annotated[int, Field(ge=0, le=20)] = 0
    """How many machines are made of the commit ahead of need; they are suspended, and the next lieutenants of the profile take them."""


class Provider(Model):
    """A model provider that pi does not know by itself."""

    name: Word
    """What `model.provider` calls it."""
    base_url: Annotated[str, StringConstraints(max_length=2048), Pattern(r"^https?://[^\s]+$", "must be an http or https URL")]
    """Where it answers."""
    api: Word = "openai-completions"
    """Which protocol it speaks, in pi's words."""
    api_key_from: SecretSource | None = None
    """Its key; unset: it needs none."""


class AgentProgram(Model):
    """The agent on the machine."""

    command: Argv = ("pi",)
    """How pi is started; its own arguments are added by the controller."""
    work_dir: AbsolutePath = "/root/workspace"
    """Where pi, steps, verification, acceptance and relative paths start."""
    model: ModelChoice | None = None
    """Which model answers, unless the lieutenant says otherwise."""
    providers: Annotated[Items[Provider], Field(max_length=32), ListMap("name")] = ()
    """More model providers."""
    extensions: Annotated[Items[Argument], Field(max_length=32)] = ()
    """pi extensions to load."""
    skills: Annotated[Items[Argument], Field(max_length=32)] = ()
    """pi skills to load."""
    permissions: Permissions | None = None
    """Which tool calls its agents may make, whatever their lieutenants say."""


def _has_origin(model: Judged) -> Iterator[Told]:
    assert isinstance(model, BootProfileSpec)
    if model.source is None and model.extends is None:
        yield ("source",), "required unless `extends` names another profile; add `source: {image: default}`"


class BootProfileSpec(Model):
    """What a machine is made of."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "required unless `extends` names another profile; add `source: {image: default}`",
            "has(self.source) || has(self.extends)",
            _has_origin,
            ".source",
        ),
    )

    source: Source | None = None
    """What the machine starts from; required unless `extends` is set."""
    extends: Ref | None = None
    """Another profile, whose fields hold where this one says nothing; lists of named things are merged by name."""
    resources: Resources = Resources()
    """Size of the machine."""
    organs: Words = ()
    """Services that the machine should carry."""
    capabilities: Words = ()
    """What the agent should be able to do."""
    env: Env = ()
    """Environment of the agent, of steps and of verification."""
    files: Files = ()
    """Files to be written before the steps."""
    steps: Annotated[Items[Step], Field(max_length=64), ListMap("name")] = ()
    """Commands that prepare the machine, in order."""
    verify: Annotated[Items[Verification], Field(max_length=64), ListMap("name")] = ()
    """Commands that prove it."""
    bake: Bake = Bake()
    """Build once, start often."""
    agent: AgentProgram = AgentProgram()
    """The agent."""
    sandbox: Sandbox | None = None
    """A boundary around the agent and what it starts, below its permissions; unset: there is none."""


class BootProfile(Document):
    """How a machine and its agent come to be."""

    kind: Literal["BootProfile"] = "BootProfile"
    """`BootProfile`."""
    spec: BootProfileSpec
    """What is wanted."""
