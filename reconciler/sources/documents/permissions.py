"""What is wrong, or of no use, in the permissions of a document: their examples are tests of their rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.api.bootprofile import BootProfile
from reconciler.api.lieutenant import Lieutenant
from reconciler.api.parsing import Problem
from reconciler.api.task import Task
from reconciler.core.governance.permissions import declared
from reconciler.core.profile.rendering import WORK_DIR

if TYPE_CHECKING:
    from reconciler.api.markers import Step
    from reconciler.api.permissions import Permissions
    from reconciler.api.resources import Resource


def wrong_examples(resource: Resource) -> Iterator[Problem]:
    """Examples that the rules beside them answer otherwise."""
    for path, permissions, work_dir in _declared(resource):
        for number, why in declared.wrong_examples(resource.kind, permissions, work_dir):
            yield Problem((*path, "examples", number), why)


def useless_rules(resource: Resource) -> Iterator[Problem]:
    """Rules that can never decide anything."""
    for path, permissions, _ in _declared(resource):
        for kind, number, why in declared.never_matching(permissions):
            yield Problem((*path, kind, number), f"can never match: {why}")


def _declared(resource: Resource) -> Iterator[tuple[tuple[Step, ...], Permissions, str]]:
    match resource:
        case Lieutenant() | Task() if resource.spec.permissions is not None:
            yield ("spec", "permissions"), resource.spec.permissions, WORK_DIR
        case BootProfile() if resource.spec.agent is not None and resource.spec.agent.permissions is not None:
            yield ("spec", "agent", "permissions"), resource.spec.agent.permissions, resource.spec.agent.work_dir
        case _:
            pass
