"""What is wrong, or of no use, in the permissions of a document: their examples are tests of their rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from pydantic import ValidationError

from reconciler.api.markers import Step
from reconciler.api.parsing import Problem, without_nulls
from reconciler.api.permissions import Permissions
from reconciler.core.keys import as_map, boot_profile, lieutenant, task

PLACES: dict[str, tuple[Step, ...]] = {
    lieutenant("", "").kind: ("spec", "permissions"),
    task("", "").kind: ("spec", "permissions"),
    boot_profile("", "").kind: ("spec", "agent", "permissions"),
}
"""Where the permissions of a kind stand."""


def wrong_examples(raw: object) -> Iterator[Problem]:
    """Examples that the rules beside them answer otherwise, whatever else is wrong with the document."""
    for kind, path, permissions in _declared(raw):
        from reconciler.core.governance.permissions import declared  # the parser of commands, which most documents do not need
        from reconciler.core.profile.directories import WORK_DIR

        for number, why in declared.wrong_examples(kind, permissions, WORK_DIR):
            yield Problem((*path, "examples", number), why)


def useless_rules(raw: object) -> Iterator[Problem]:
    """Rules that can never decide anything."""
    for _, path, permissions in _declared(raw):
        from reconciler.core.governance.permissions import declared

        for kind, number, why in declared.never_matching(permissions):
            yield Problem((*path, kind, number), f"can never match: {why}")


def _declared(raw: object) -> Iterator[tuple[str, tuple[Step, ...], Permissions]]:
    document = as_map(raw)
    kind = str(document.get("kind"))
    path = PLACES.get(kind, ())
    found: object = document
    for step in path:
        found = as_map(found).get(str(step))
    if path and found is not None:
        with suppress(ValidationError):  # which is told by whoever reads the whole document
            yield kind, path, Permissions.model_validate(without_nulls(found), by_alias=True, by_name=False)
