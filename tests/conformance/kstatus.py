"""What a status must look like so that kstatus, `kubectl wait` and GitOps tools read it right, as a checker.

Written from the rules of kstatus and of the API conventions, not from the code that makes statuses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Action

Loose = Mapping[str, object]
Summary = Literal["Current", "InProgress", "Failed", "Terminating"]

ABNORMAL = ("Reconciling", "Stalled")
"""Abnormal-true: present only while True."""
REASON = re.compile(r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
ACTS = sorted(act.__name__ for act in get_args(Action) if re.search("[a-z][A-Z]", act.__name__) and act.__name__ not in list(Reason))
INTERNAL = re.compile(rf"\b({'|'.join(ACTS)})\b")
"""Names of acts that are no words of everyday English: nobody outside knows them."""
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


def conditions_of(status: Loose) -> dict[str, Loose]:
    """Conditions by type."""
    found = status.get("conditions")
    return {str(c["type"]): c for c in found if isinstance(c, dict)} if isinstance(found, Sequence) else {}


def summary(status: Loose, generation: int, deleting: bool = False) -> Summary:
    """What kstatus concludes, in kstatus' own order."""
    if deleting:
        return "Terminating"
    observed = status.get("observedGeneration")
    if isinstance(observed, int) and observed != generation:
        return "InProgress"
    conditions = conditions_of(status)
    if conditions.get("Reconciling", {}).get("status") == "True":
        return "InProgress"
    if conditions.get("Stalled", {}).get("status") == "True":
        return "Failed"
    ready = conditions.get("Ready", {}).get("status")
    return "Current" if ready in ("True", None) else "InProgress"


def problems(status: Loose, generation: int, before: Loose | None = None) -> list[str]:
    """Everything that is wrong with this status of an object at this generation; `before`: the status it replaces."""
    listed = status.get("conditions")
    if not isinstance(listed, list) or not all(isinstance(c, dict) for c in listed):
        return ["no list of conditions"]
    conditions = conditions_of(status)
    types = [str(c["type"]) for c in listed]
    found: list[str] = []
    if len(set(types)) != len(types):
        found.append("a condition type appears twice")
    if types != sorted(types):
        found.append("conditions are not sorted by type")
    observed = status.get("observedGeneration")
    if not isinstance(observed, int) or observed > generation:
        found.append(f"observedGeneration {observed} runs ahead of generation {generation}")
    if not status.get("phase"):
        found.append("no phase for the column")
    for kind, condition in conditions.items():
        found += [f"{kind}: {problem}" for problem in _condition(kind, condition, conditions_of(before or {}).get(kind))]
    found += _together(conditions)
    return found


def _condition(kind: str, condition: Loose, before: Loose | None) -> list[str]:
    truth, reason, message = condition.get("status"), str(condition.get("reason", "")), str(condition.get("message", ""))
    found: list[str] = []
    if truth not in ("True", "False", "Unknown"):
        found.append(f"status is {truth!r}")
    if kind in ABNORMAL and truth != "True":
        found.append("may exist only while True")
    if not REASON.match(reason):
        found.append(f"reason {reason!r} is no CamelCase word")
    if len(message) > 1024:
        found.append("message is longer than 1024 characters")
    if TIME.search(message):
        found.append(f"message holds a time: {message!r}")
    if INTERNAL.search(message):
        found.append(f"message holds the internal name of an act: {message!r}")
    if not STAMP.match(str(condition.get("lastTransitionTime", ""))):
        found.append("lastTransitionTime is no RFC 3339 time in whole seconds, UTC")
    if before is not None and before.get("status") == truth and before.get("lastTransitionTime") != condition.get("lastTransitionTime"):
        found.append("lastTransitionTime moved although the status did not")
    return found


def _together(conditions: Mapping[str, Loose]) -> list[str]:
    ready = conditions.get("Ready", {}).get("status")
    moving, stuck = "Reconciling" in conditions, "Stalled" in conditions
    if ready is None:
        return ["no Ready: a brand-new object would count as healthy"]
    if moving and stuck:
        return ["Reconciling and Stalled at once"]
    if ready == "True" and (moving or stuck):
        return ["Ready is True beside Reconciling or Stalled"]
    if ready != "True" and not (moving or stuck):
        return ["Ready is not True, and neither Reconciling nor Stalled says which way out"]
    return []
