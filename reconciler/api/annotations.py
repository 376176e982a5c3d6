"""Annotations and labels of this API: the prefix of their names, and the verbs that are asked for by annotation."""

from __future__ import annotations

from reconciler.api.version import GROUP

PREFIX = f"{GROUP}/"
PROTECTION = f"{PREFIX}deletion-protection"
RETRY = f"{PREFIX}retry"
VERBS = frozenset({"retry", "wake", "snapshot", "resolve", "delete-confirmed", "detached", "paused", "rollback", "rewind"})
"""What a person asks for by an annotation `PREFIX + VERB`; it is no part of the spec, and survives an apply."""


def is_verb(annotation: str) -> bool:
    """Whether this annotation is one of the verbs."""
    return annotation.startswith(PREFIX) and annotation.removeprefix(PREFIX) in VERBS
