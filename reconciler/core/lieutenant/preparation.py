"""Preparing a machine by its profile: what is done, in which order, when it counts as done, and when it differs from the profile as it
is now. Policies of the lieutenant's escalation; pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Decision, ReadBack, Refuse, RunStep, RunVerify, StopAgent, Wait, WriteFiles
from reconciler.core.profile.digests import digest
from reconciler.core.profile.organs import pieces
from reconciler.core.profile.rendering import same_launch
from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.agent import Agent, Guest, Up
from reconciler.core.snapshot.rendered import Check, Rendered, Step, Unresolved
from reconciler.core.snapshot.stages import AgentPart, Basics, Part

PREPARED = "prepared"
"""Done-mark set when files, steps and checks of the profile are through; its value is the profile's hash."""

SECRETS = "secrets"
"""Done-mark of the files whose content is secret; its value is the digest of the secrets that were written."""

WITHHELD = "withheld"
"""What that mark says while those files are off the machine, for a snapshot."""


@lru_cache(maxsize=4096)
def step_mark(step: Step) -> tuple[str, str]:
    """Name and value of a step's done-mark: another script of the same name is another step."""
    return f"step:{step.name}", digest([step.run])


@lru_cache(maxsize=4096)
def check_mark(check: Check) -> tuple[str, str]:
    """Name and value of a check's done-mark."""
    return f"verify:{check.name}", digest([list(check.argv), check.exit_code, check.stdout] if check.kind == "Verify" else list(check.argv))


def without_a_rendering(found: Unresolved) -> Decision:
    """What it comes to when there is nothing to make a machine from."""
    return Refuse(found.reason, found.message) if found.final else Wait(found.reason, found.message)


def prepare_the_machine(v: Part) -> Decision | None:
    """Files, organs, steps and checks of the profile, one by one, each with a done-mark; never again on a prepared machine."""
    if not isinstance(v.lt.guest, Guest) or isinstance(v.lt.rendered, Unresolved):
        return None
    marks, boot, rendered = v.lt.guest.marks, v.lt.record.boot, v.lt.rendered
    if PREPARED in marks:
        return None
    if boot.failed and boot.vm_id == v.lt.vm_id and boot.failed_hash == rendered.profile_hash:
        return Refuse(Reason.BOOT_FAILED, boot.failed)
    if boot.vm_id == v.lt.vm_id and v.lt.now < boot.not_before:
        return Wait(Reason.BOOT_RETRYING, f"{boot.step} failed; trying again", until=boot.not_before)
    return _left(v.lt.vm_id, rendered, marks) or WriteFiles(v.lt.vm_id, PREPARED)


def _left(vm_id: str, rendered: Rendered, marks: Mapping[str, str]) -> WriteFiles | RunStep | RunVerify | None:
    """What of the profile comes next on a machine with these done-marks, None when all of it is through."""
    if rendered.files and marks.get("files") != rendered.files_hash:
        return WriteFiles(vm_id, "files")
    if marks.get(SECRETS) != rendered.secrets_hash and any(f.secret for f in rendered.files):
        return WriteFiles(vm_id, SECRETS)  # the files are there, without what came from secrets: they were baked
    if rendered.organs_hash and marks.get("organs") != rendered.organs_hash:
        return WriteFiles(vm_id, "organs")
    for step in rendered.steps:
        name, value = step_mark(step)
        if marks.get(name) != value:
            return RunStep(vm_id, step.name)
    for check in (*rendered.checks, *rendered.organ_checks):
        name, value = check_mark(check)
        if marks.get(name) != value:
            return RunVerify(vm_id, check.name)
    return None


def marks_of(rendered: Rendered, marks: Mapping[str, str], done: tuple[str, str]) -> dict[str, str]:
    """The done-marks that a step or check sets which went well on a machine with those: its own and, when it was the last that was left of
    the profile, that of the whole. `done`: its own."""
    name, value = done
    through = PREPARED not in marks and _left("", rendered, {**marks, name: value}) is None
    return {name: value, PREPARED: rendered.profile_hash} if through else {name: value}


def hash_of(rendered: Rendered, mark: str) -> str:
    """The value of the done-mark of files of this rendering."""
    match mark:
        case "files":
            return rendered.files_hash
        case "organs":
            return rendered.organs_hash
        case "agent":
            return rendered.agent_hash
        case _:
            return rendered.secrets_hash if mark == SECRETS else rendered.profile_hash


# --- a changed profile ------------------------------------------------------------------------------------------------------------


def outdated(v: Basics) -> str:
    """How the machine differs from the profile as it is now; '' when it does not, or when that can't be said (G-04)."""
    if not isinstance(v.rendered, Rendered) or not isinstance(v.guest, Guest) or not v.vm_id or v.record.local.state == "Home":
        return ""
    boot = v.record.boot
    if boot.vm_id == v.vm_id and boot.machine and boot.machine != v.rendered.machine_hash:
        return "its source or size is not the declared one any more"
    prepared = v.guest.marks.get(PREPARED)
    return "its profile changed after it was prepared" if prepared and prepared != v.rendered.profile_hash else ""


# --- secrets in files -------------------------------------------------------------------------------------------------------------


def refresh_the_secret_files(v: AgentPart) -> Decision | None:
    """Files with secret content follow a changed secret, while pi does not run; an outdated machine keeps what it was made with. What a
    snapshot had to be without comes back at once."""
    if not isinstance(v.lt.guest, Guest) or not isinstance(v.lt.agent, Agent) or not isinstance(v.lt.rendered, Rendered):
        return None
    if v.lt.guest.marks.get(SECRETS) == WITHHELD:
        return WriteFiles(v.lt.vm_id, SECRETS)
    if isinstance(v.lt.agent.process, Up) or not any(f.secret for f in v.lt.rendered.files):
        return None
    marks = v.lt.guest.marks
    if marks.get(PREPARED) != v.lt.rendered.profile_hash or marks.get(SECRETS) == v.lt.rendered.secrets_hash:
        return None
    return WriteFiles(v.lt.vm_id, SECRETS)


# --- what pi has loaded -------------------------------------------------------------------------------------------------------------


def expected_skills(v: Basics) -> tuple[str, ...]:
    """Where pi must have found skills: those of the declared `agent.skills`, and of the organs that are on the machine."""
    if not isinstance(v.rendered, Rendered) or not isinstance(v.guest, Guest):
        return ()
    rendered = v.rendered
    on_machine = rendered.organs_hash and v.guest.marks.get("organs") == rendered.organs_hash
    return rendered.skills + _of_organs(rendered.organs, rendered.capabilities) if on_machine else rendered.skills


@lru_cache(maxsize=1024)
def _of_organs(organs: tuple[str, ...], capabilities: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(piece.skill for piece in pieces(organs, capabilities))


@lru_cache(maxsize=1024)
def _word(skills: tuple[str, ...]) -> str:
    return digest(skills)


def process_of(v: Basics, up: Up) -> str:
    """Which process, and what it is expected to have, in one word."""
    return f"{v.vm_id}:{up.pid}:{up.launch_hash}:{_word(expected_skills(v))}"


def read_back_what_is_loaded(v: AgentPart) -> Decision | None:
    """G-27: pi itself says which skills it has; a missing one blocks Ready. (An extension that can't be loaded ends pi at its start.)"""
    if not isinstance(v.lt.agent, Agent) or not isinstance(v.lt.agent.process, Up) or not v.lt.agent.process.responsive:
        return None
    up, loaded = v.lt.agent.process, v.lt.record.loaded
    if not isinstance(v.lt.rendered, Rendered) or not expected_skills(v.lt) or not same_launch(up.launch_hash, v.lt.rendered):
        return None
    if loaded.process != process_of(v.lt, up):
        return ReadBack(v.lt.vm_id)
    if not loaded.missing:
        return None
    if loaded.again and v.lt.settled and not v.lt.active_task:
        return StopAgent(v.lt.vm_id, "its skills are looked for again")
    return Refuse(Reason.SKILL_NOT_LOADED, f"pi has no skill at {', '.join(loaded.missing)}")


def forget_failures(record: LieutenantRecord) -> LieutenantRecord:
    """What a retry clears: the failed step and its back-off, and what a process had loaded. How steps went stays to be seen."""
    boot = record.boot.but(step="", tries=0, not_before=0.0, failed="", failed_hash="")
    again = record.replacement.but(failed="", failed_with="", tries=0, not_before=0.0)
    return record.but(boot=boot, loaded=record.loaded.but(again=bool(record.loaded.missing)), replacement=again)
