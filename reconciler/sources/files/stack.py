"""`.reconciler.yaml`: what makes a directory a stack, that is, a boundary of pruning (design §8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from reconciler.api.markers import Pattern
from reconciler.api.meta import UUID, Choice, Model
from reconciler.api.parsing import dotted, problems, without_nulls
from reconciler.sources.documents.located import locate
from reconciler.sources.documents.reader import Finding
from reconciler.sources.documents.yamltext import load, split

MARKER = ".reconciler.yaml"


class OnDrift(Choice):
    """What happens when something was changed behind our back."""

    REPORT = "Report"
    REVERT = "Revert"


class StackPolicy(Model):
    """The fields of `.reconciler.yaml`."""

    uuid: Annotated[str, StringConstraints(max_length=36), Pattern(UUID, "must be a lower-case uuid; `uuidgen` makes one")]
    """Identity of the stack: the same wherever its directory is."""
    prune: bool = False
    """Delete what disappears from it."""
    max_delete: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Most deletions at once without a person; unset: a fifth of the stack, at least one."""
    on_drift: OnDrift = OnDrift.REPORT
    """Report or revert changes made elsewhere."""
    allow_empty: bool = False
    """Whether emptying the directory may delete everything."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A marked directory: `root` as named on the command line, and its policy."""

    root: str
    policy: StackPolicy


def read_marker(text: str, file: str, root: str) -> Stack | list[Finding]:
    """The text of a marker → its stack, or what is wrong with it."""
    chunks = split(text)
    if len(chunks) != 1:
        return [Finding(file, 1, 1, "", f"must hold one document, not {len(chunks)}; write `uuid: ...`")]
    before, chunk = chunks[0]
    found = load(chunk)
    if found.flaws:
        return [Finding(file, flaw.mark.line + before, flaw.mark.column, dotted(flaw.path), flaw.message) for flaw in found.flaws]
    try:
        return Stack(root, StackPolicy.model_validate(without_nulls(found.value), by_alias=True, by_name=False))
    except ValidationError as error:
        told = problems(StackPolicy, error)
    places = [(locate(found.marks, found.start, problem.path), problem) for problem in told]
    return [Finding(file, mark.line + before, mark.column, problem.field, problem.message) for mark, problem in places]
