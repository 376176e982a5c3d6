"""What people ask for by annotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnnotationRequests:
    """What may ask for something. `suspended`: as declared now; `generation`: of the declaration; `question`: the reason for which
    it is stalled, as people were told, '' when it is not. `basis`: digests of what machine and agent are made from, the values of their
    secrets included, `machine`: of what the VM itself is made from; '' while that is not known."""

    annotations: Mapping[str, str]
    generation: int = 1
    suspended: bool = False
    deleting: bool = False
    question: str = ""
    now: float = 0.0
    basis: str = ""
    machine: str = ""
