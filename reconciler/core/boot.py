"""Preparing a machine by its profile: what is done, in which order, and when it counts as done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.actions import Decision, Refuse, RunStep, RunVerify, Wait, WriteFiles
from reconciler.core.observations import Guest
from reconciler.core.rendering import Unresolved

if TYPE_CHECKING:
    from reconciler.core.lieutenant import LieutenantView

PREPARED = "prepared"
"""Done-mark set when files, steps and checks of the profile are through; its value is the profile's hash."""


def prepare_the_machine(v: LieutenantView) -> Decision | None:
    """Files, steps and checks of the profile, one by one, each with a done-mark; never again on a prepared machine."""
    if not isinstance(v.guest, Guest) or isinstance(v.rendered, Unresolved):
        return None
    marks, boot = v.guest.marks, v.record.boot
    if PREPARED in marks:
        return None
    if boot.failed and boot.vm_id == v.vm_id and boot.failed_hash == v.rendered.profile_hash:
        return Refuse("BootFailed", boot.failed)
    if boot.vm_id == v.vm_id and v.now < boot.not_before:
        return Wait("BootRetrying", f"{boot.step} failed; trying again", until=boot.not_before)
    if v.rendered.files and marks.get("files") != v.rendered.files_hash:
        return WriteFiles(v.vm_id, "files")
    for step in v.rendered.steps:
        if f"step:{step.name}" not in marks:
            return RunStep(v.vm_id, step.name)
    for check in v.rendered.checks:
        if f"verify:{check.name}" not in marks:
            return RunVerify(v.vm_id, check.name)
    return WriteFiles(v.vm_id, PREPARED)
