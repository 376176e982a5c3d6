"""Everything about the engine that an operator may set. Seconds throughout."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.budget import Budget
from reconciler.core.snapshot.local import Hosting
from reconciler.core.snapshot.origin import OPEN, Sharing
from reconciler.core.spending.prices import DEFAULT_PRICES, Prices


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`fleet`, `installation`: whose VMs are ours. `settle_seconds`: the window in which a call of unknown outcome may still
    show its effect, and in which a list may lag behind. `empty_store_seconds`: how long a store that knows nothing yet
    creates nothing when the platform shows VMs of our fleet. `health_probes`: whether agents are asked for their state
    every `health.periodSeconds`. `hosting`: whether agents may run on this host; `local_root`: absolute, without symbolic links,
    where their directories are; `host`: names that place, whatever its path. `dedicated_account`: nobody else makes VMs in the
    account from the commits of our profiles, so that a VM which fits a create that was not answered is taken for what it made.
    `sharing`: which namespaces may use what others made, or what carries no mark of ours.
    `max_vms`: most VMs of all objects together, None: no limit. `budget`: of all agents together;
    `prices`: of models for which pi tells none.
    `from_git`: whether what git declares may have programs run and files read on this host, for credentials.
    `pi_version`: the release of pi that is installed where there is none, '' where releases are not told."""

    fleet: str = "default"
    installation: str = ""
    default_model: str = ""
    settle_seconds: float = 60.0
    empty_store_seconds: float = 60.0
    resync_seconds: float = 10.0
    moving_seconds: float = 0.5
    fallback_seconds: float = 5.0
    workers: int = 100
    health_probes: bool = True
    hosting: Hosting = Hosting.NOT_ALLOWED
    local_root: str = "/nonexistent"
    host: str = ""
    dedicated_account: bool = True
    sharing: Sharing = OPEN
    pi_version: str = ""
    max_vms: int | None = None
    audit_keep: int = 10_000
    budget: Budget | None = None
    prices: Prices = DEFAULT_PRICES
    from_git: bool = False
