"""What all kinds share: how models behave, names, references, metadata, conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Annotated, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints, model_validator
from pydantic import JsonValue as AnyJson
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from reconciler.api.docstrings import descriptions
from reconciler.api.jsontype import Json as Json
from reconciler.api.jsontype import JsonValue as JsonValue
from reconciler.api.markers import Checked, Judged, ListAtomic, ListMap, ListSet, Pattern, Rule, Told, Transition, broken, one_of
from reconciler.api.version import API_VERSION as API_VERSION
from reconciler.api.version import GROUP as GROUP
from reconciler.api.version import VERSION as VERSION


class Choice(StrEnum):
    """An enumeration. Its members come as strings from documents, whatever the strictness of the model around it."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.enum_schema(cls, list(cls), sub_type="str", strict=False)


@cache
def _aliases(model: type[BaseModel]) -> Mapping[str, str]:
    return MappingProxyType({info.alias or name: name for name, info in model.model_fields.items()})


class Model(BaseModel):
    """Base of everything declared: frozen, strict, closed; camelCase in documents, snake_case in Python.

    A field left out keeps its default for reading and stays out of `model_fields_set`, so *unset* and *set to the default*
    can be told apart. The docstring below a field is its description everywhere."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        strict=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    transitions: ClassVar[tuple[Transition, ...]] = ()

    @classmethod
    def attribute(cls, alias: str) -> str:
        """The Python name of the field that documents call `alias`. Raises KeyError when there is none."""
        return cls.aliases()[alias]

    @classmethod
    def aliases(cls) -> Mapping[str, str]:
        """Field names as documents write them → Python names, in declaration order."""
        return _aliases(cls)

    @model_validator(mode="after")
    def _obey(self) -> Self:
        told: list[Told] = [one for rule in type(self).rules for one in rule.check(self)]
        if told:
            raise broken(told)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler.resolve_ref_schema(handler(schema))
        below = descriptions(cls)
        for alias, name in cls.aliases().items():
            if name in below:
                found["properties"][alias]["description"] = below[name]
        if told := cls.validations():
            found["x-kubernetes-validations"] = told
        return found

    @classmethod
    def validations(cls) -> list[JsonValue]:
        """The rules across fields that CEL can judge, as `x-kubernetes-validations` has them."""
        rules: list[Rule | Transition] = [*cls.rules, *cls.transitions]
        told: list[Json] = [{"rule": one.cel, "message": one.message, "fieldPath": one.at or None} for one in rules if one.cel]
        return [{name: value for name, value in one.items() if value is not None} for one in told]


# --- types ----------------------------------------------------------------------------------------------------------------

T = TypeVar("T")
Items = Annotated[tuple[T, ...], Field(strict=False)]
"""A list in documents, a tuple in Python."""

LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
# A segment is anything but `..` (and not empty); look-around is not available in RE2.
_CHAR = r"[^/\x00-\x1f\x7f]"
_SEGMENT = rf"([^/.\x00-\x1f\x7f]{_CHAR}*|\.[^/.\x00-\x1f\x7f]{_CHAR}*|\.\.{_CHAR}+|\.)"
UPWARDS = ("('/' + self + '/').contains('/../')", "must not have '..' in it; name the place itself")
PATH = rf"^/?{_SEGMENT}(/{_SEGMENT})*$"

NAME_SAYS = "must be lower-case letters, digits and '-', beginning and ending with a letter or a digit; rename it"
Name = Annotated[str, StringConstraints(min_length=1, max_length=52), Pattern(LABEL, NAME_SAYS)]
"""Name of a declared object: a DNS label of at most 52 characters (owned objects and ids append to it)."""

VmId = Annotated[str, StringConstraints(max_length=36), Pattern(UUID, "must be a full lower-case uuid, as `reconciler get vm` prints it")]
CommitId = Annotated[str, StringConstraints(max_length=36), Pattern(UUID, "must be a full lower-case uuid of a commit")]
Path = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    Pattern(PATH, "must be a path without '..', empty segments and control characters; name the place itself", UPWARDS),
]
AbsolutePath = Annotated[
    str,
    StringConstraints(min_length=2, max_length=1024),
    Pattern(
        rf"^(/{_SEGMENT})+$", "must be an absolute path without '..', empty segments and control characters; name the place itself", UPWARDS
    ),
]
Money = Annotated[
    str,
    StringConstraints(max_length=20),
    Pattern(r"^[0-9]{1,9}(\.[0-9]{1,6})?$", 'must be an amount of US dollars in a decimal string such as "5.00"'),
]
FileMode = Annotated[str, StringConstraints(max_length=4), Pattern(r"^0[0-7]{3}$", 'must be four octal digits in quotes, such as "0644"')]
EnvName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    Pattern(r"^[A-Za-z_][A-Za-z0-9_]*$", "must be letters, digits and '_', not beginning with a digit"),
]
Text = Annotated[str, StringConstraints(max_length=65536)]
"""Up to 64 KiB of text."""
Prose = Annotated[str, StringConstraints(min_length=1, max_length=65536), Pattern(r"\S", "must not be empty; write what is meant")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=256), Pattern(r"^\S+$", "must be one word without spaces")]
NO_NUL = Pattern(r"^[^\x00]*$", "must not contain the NUL character; remove it")
Argument = Annotated[str, StringConstraints(max_length=4096), NO_NUL]


def epoch(timestamp: str) -> float:
    """Seconds since the epoch of an RFC 3339 timestamp. Raises ValueError when it is none or has no time zone."""
    at = datetime.fromisoformat(timestamp)
    if at.tzinfo is None or "T" not in timestamp.upper():
        raise ValueError("no time zone or no time")
    return at.timestamp()


TIMESTAMP_SAYS = "must be an RFC 3339 timestamp with a time zone, such as 2026-01-01T00:00:00Z"


def _timestamp(value: str) -> str:
    try:
        epoch(value)
    except ValueError:
        return TIMESTAMP_SAYS
    return ""


_RFC3339 = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
Timestamp = Annotated[str, StringConstraints(max_length=64), Pattern(_RFC3339, TIMESTAMP_SAYS), Checked(_timestamp, format="date-time")]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
"""A duration in whole seconds, at most a year."""
PositiveSeconds = Annotated[int, Field(ge=1, le=31_536_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]

# --- references --------------------------------------------------------------------------------------------------------------


class Ref(Model):
    """Another declared object of the same namespace."""

    name: Name
    """Its name."""


SecretName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Pattern(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "must be lower-case letters, digits, '-' and '.', beginning and ending with a letter or a digit",
    ),
]
SecretKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Pattern(r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*$", "must be letters, digits, '-', '_' and '.', not beginning with '.'"),
]


class KeyRef(Model):
    """One key of a Secret or ConfigMap of the same namespace."""

    name: SecretName
    """Name of the Secret or ConfigMap."""
    key: SecretKey
    """Which of its keys."""


def _program(model: Judged) -> Iterable[Told]:
    if "/" in (first := getattr(model, "command")[0]) and not first.startswith("/"):  # noqa: B009
        yield ("command", 0), "must be the name of a program, or where it is from the root on; write it so"


class ProgramSource(Model):
    """A program on the controller's host. It prints the value, or JSON that also says when it expires."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("", "", _program),)

    command: Argv
    """Program (its name, or where it is) and arguments; no shell. It has 30 seconds and 64 KiB."""
    refresh_seconds: PositiveSeconds = 3600
    """Seconds until it is run again, where it does not say when its value expires."""


class PathSource(Model):
    """A file on the controller's host, which nobody else may read. It is read again when it changed."""

    path: AbsolutePath
    """Where it is."""


_ALONE = "in a cluster only `secretKeyRef`: have others put their value into a Secret"
_IN_A_CLUSTER = "has(self.secretKeyRef) && !has(self.exec) && !has(self.file)"


class SecretSource(Model):
    """Where a secret value comes from: exactly one. A cluster takes `secretKeyRef` alone."""

    rules: ClassVar[tuple[Rule, ...]] = (replace(one_of("secretKeyRef", "exec", "file"), message=_ALONE, cel=_IN_A_CLUSTER),)

    secret_key_ref: KeyRef | None = None
    """The key of a Secret. In file mode: `--secrets DIR` (NAMESPACE/NAME/KEY) or RECONCILER_SECRET_<NAME>_<KEY>."""
    exec: ProgramSource | None = None
    """What a program of the controller's host prints; not in a cluster."""
    file: PathSource | None = None
    """What is in a file of the controller's host; not in a cluster."""


class ContentSource(Model):
    """Where content beyond 64 KiB comes from: exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (one_of("configMapKeyRef", "secretKeyRef"),)

    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""
    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""


class EnvVar(Model):
    """One variable of the agent's environment: `value` or `valueFrom`."""

    rules: ClassVar[tuple[Rule, ...]] = (one_of("value", "valueFrom"),)

    name: EnvName
    """Its name."""
    value: Annotated[str, StringConstraints(max_length=32768), NO_NUL] | None = None
    """Its value, in the open."""
    value_from: SecretSource | None = None
    """Its value, from a secret."""


class File(Model):
    """One file to be written: exactly one of `content`, `contentFrom`, `valueFrom`."""

    rules: ClassVar[tuple[Rule, ...]] = (one_of("content", "contentFrom", "valueFrom"),)

    path: Path
    """Where; a relative path starts at the agent's work dir."""
    content: Text | None = None
    """What is in it, up to 64 KiB."""
    content_from: ContentSource | None = None
    """Larger content."""
    value_from: SecretSource | None = None
    """Secret content."""
    mode: FileMode = "0644"
    """Permission bits."""


class Thinking(Choice):
    """pi's thinking levels, spelled as pi spells them."""

    OFF = "off"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"


class FallbackModel(Model):
    """A model that answers while the ones before it can't."""

    provider: Word
    """Provider as pi knows it, or the name of one of `agent.providers`."""
    id: Word
    """The model's id at that provider."""
    thinking: Thinking | None = None
    """How much it thinks; unset leaves pi's own default."""


class ModelChoice(FallbackModel):
    """Which model answers, in the words of pi."""

    fallbacks: Annotated[Items[FallbackModel], Field(max_length=5), ListAtomic()] = ()
    """Others in order of preference: while the provider of the ones before refuses or takes no requests, the first of them that answers
    is used."""


class Mode(Choice):
    """Whether the machine should run."""

    RUNNING = "Running"
    SUSPENDED = "Suspended"


class DeletionPolicy(Choice):
    """What becomes of the VM when its object is deleted."""

    DELETE = "Delete"
    SNAPSHOT = "Snapshot"
    RETAIN = "Retain"
    ORPHAN = "Orphan"


class Resources(Model):
    """Size of a machine; what is left out stays as the profile or the platform has it."""

    vcpus: Annotated[int, Field(ge=1, le=256)] | None = None
    """Virtual processors."""
    memory_mib: Annotated[int, Field(ge=128, le=4_194_304)] | None = Field(default=None, alias="memoryMiB")
    """Memory in MiB."""
    disk_mib: Annotated[int, Field(ge=512, le=67_108_864)] | None = Field(default=None, alias="diskMiB")
    """Disk in MiB."""


Env = Annotated[Items[EnvVar], Field(max_length=100), ListMap("name")]
Files = Annotated[Items[File], Field(max_length=64), ListMap("path")]
Words = Annotated[Items[Word], Field(max_length=64), ListSet()]
Argv = Annotated[Items[Argument], Field(min_length=1, max_length=64), ListAtomic()]

# --- metadata ---------------------------------------------------------------------------------------------------------------

MetaKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317),
    Pattern(
        r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", "must be NAME or PREFIX/NAME, as Kubernetes has it"
    ),
]
LabelValue = Annotated[
    str,
    StringConstraints(max_length=63),
    Pattern(r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", "must be letters, digits, '-', '_' and '.', at most 63"),
]
Uid = Annotated[str, StringConstraints(max_length=128)]


class ObjectMeta(Model):
    """Name, labels and annotations. What an API server fills in (uid, generation, ...) may stand there and is not read."""

    name: Name
    """Unique per kind and namespace."""
    namespace: Annotated[str, StringConstraints(min_length=1, max_length=63), Pattern(LABEL, NAME_SAYS)] | None = None
    """Where it lives; unset means the namespace of the command or the context."""
    labels: Annotated[dict[MetaKey, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    """For selecting."""
    annotations: Annotated[dict[MetaKey, Text], Field(max_length=64)] = Field(default_factory=dict)
    """For everything else; verbs that are not spec are annotations `fleet.vers.sh/...`."""
    uid: Uid | None = None
    """Given by the server."""
    resource_version: Uid | None = None
    """Given by the server."""
    generation: int | None = None
    """Given by the server."""
    creation_timestamp: Timestamp | None = None
    """Given by the server."""
    deletion_timestamp: Timestamp | None = None
    """Given by the server."""
    deletion_grace_period_seconds: int | None = None
    """Given by the server."""
    self_link: Text | None = None
    """Given by the server."""
    finalizers: Annotated[Items[Word], Field(max_length=64)] = ()
    """Given by controllers."""
    owner_references: Annotated[Items[dict[str, AnyJson]], Field(max_length=64)] = ()
    """Given by controllers."""
    managed_fields: Annotated[Items[dict[str, AnyJson]], Field(max_length=1024)] = ()
    """Given by the server."""
