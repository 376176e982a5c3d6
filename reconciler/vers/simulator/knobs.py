"""What the reference leaves unknown, as settings: every value is a platform that may exist (vers-api §9)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args, get_origin, get_type_hints

from reconciler.errors import UsageError


@dataclass(frozen=True, slots=True)
class Knobs:
    """The default is the first value of each. Seconds are of the simulator's clock; 0 turns a number off."""

    suspend_dialect: Literal["both", "paused", "sleeping"] = "both"
    """which words PATCH state takes: Paused (≤ May 2026), Sleeping (June 2026)"""
    suspended_reads_as: Literal["match", "paused", "sleeping"] = "match"
    """how a suspended VM reads; match: as it was written"""
    pause_when_paused: Literal["200", "400"] = "200"
    resume_when_running: Literal["200", "400"] = "200"
    delete_suspended: Literal["ok", "400", "500"] = "ok"
    """DELETE of a suspended VM; other than ok: it has to run first"""
    delete_missing: Literal["403json", "404"] = "403json"
    metadata_after_delete: Literal["404", "tombstone"] = "404"
    status_after_delete: Literal["404", "dead"] = "404"
    restore_initial_state: Literal["running", "booting"] = "running"
    """from_commit and branch: at once running, or booting for restore_boot_s"""
    restore_boot_s: float = 1.0
    commit_suspended_resumes: Literal["no", "yes"] = "no"
    """whether committing a suspended VM leaves it running"""
    list_lag_s: float = 0.0
    """a new VM appears in the list this much later"""
    boot_s: float = 0.0
    branch_s: float = 0.0
    """how long from_commit and branch take to answer; measured upstream: 10"""
    delete_s: float = 0.0
    """measured upstream: 6.6; the VM is listed until then"""
    commit_s: float = 0.0
    ssh_ready_delay_s: float = 0.0
    """SSH answers this much after the VM runs"""
    ssh_drop_after_s: float = 0.0
    """every SSH connection is cut after this time"""
    ssh_while_suspended: Literal["hang", "refuse"] = "hang"
    clock_offset_on_restore: float = 0.0
    """the guest's clock is off by this after a restore (isolated and process guests, by their `date`)"""
    lose_processes_on_resume: Literal["no", "yes"] = "no"
    inherit_labels: Literal["no", "yes"] = "no"
    honour_idempotency_key: Literal["no", "yes"] = "no"
    accept_commit_id: Literal["yes", "ignore"] = "yes"
    count_partial: int = 0
    """k > 0: a branch with count > k makes k VMs and then fails"""
    list_path: Literal["both", "vms", "vm"] = "both"
    list_internal_commits: Literal["yes", "no"] = "yes"
    """whether the commit that branching a VM makes is listed"""
    quota: int = 0
    """most VMs the account may have; one more answers 403 JSON"""
    quota_counts_suspended: Literal["yes", "no"] = "yes"
    leak_on_delete: Literal["no", "yes"] = "no"
    """a deleted VM goes on counting towards the quota"""
    rate_limit: int = 0
    """calls a second; more answer 429 with Retry-After: 1"""
    key_state: Literal["valid", "expired"] = "valid"
    exec_cap_s: float = 0.0
    """the exec API ends commands after this time"""
    exec_suspended: Literal["500", "hang"] = "500"
    extra_fields: Literal["no", "yes"] = "no"
    omit_content_type: Literal["no", "yes"] = "no"
    timestamps: Literal["micro", "nano", "offset"] = "micro"
    guest_tools: Literal["present", "missing"] = "present"
    """whether new machines carry node and pi"""
    guest_names: Literal["present", "missing"] = "present"
    """whether names can be resolved on new machines (isolated guests)"""
    guest_disk_kib: int = 0
    """room in /var/lib/reconciler of new machines (isolated guests); what is there is in no commit and lost at a reboot"""
    foreign_vms: int = 0
    """VMs of another owner in the same organisation, there from the start"""


def knob_values() -> dict[str, tuple[str, ...]]:
    """Knob name → its values, default first; numbers have only their default."""
    hints = get_type_hints(Knobs)
    default = Knobs()
    return {
        f.name: tuple(str(v) for v in get_args(hints[f.name])) if get_origin(hints[f.name]) is Literal else (str(getattr(default, f.name)),)
        for f in fields(Knobs)
    }


def turn(knobs: Knobs, settings: Iterable[str]) -> Knobs:
    """Apply `NAME=VALUE` settings; raises `UsageError` naming the knob and what it takes."""
    hints = get_type_hints(Knobs)
    changed: dict[str, str | int | float] = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        kind = hints.get(name)
        if not separator or kind is None:
            raise UsageError(f"unknown knob {name!r}", f"--knob {setting}", f"NAME=VALUE with one of: {', '.join(sorted(hints))}")
        changed[name] = _value(name, value, kind, setting)
    return replace(knobs, **changed)  # type: ignore[arg-type]  # each value was checked against its own field's type


def _value(name: str, value: str, kind: object, setting: str) -> str | int | float:
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        if value not in allowed:
            raise UsageError(f"knob {name} can't be {value!r}", f"--knob {setting}", f"one of {', '.join(map(str, allowed))}")
        return value
    try:
        number = int(value) if kind is int else float(value)
    except ValueError:
        number = -1
    if not 0 <= number < 1e9 and not (name == "clock_offset_on_restore" and abs(number) < 1e9 and number != -1):
        raise UsageError(f"knob {name} can't be {value!r}", f"--knob {setting}", "a number from 0")
    return number
