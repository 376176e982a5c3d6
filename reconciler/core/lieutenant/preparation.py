"""Preparing a machine by its profile, and replacing it when the profile has changed: what is done, in which order, and when it
counts as done. Policies of the lieutenant's escalation; pure."""

from __future__ import annotations

from functools import lru_cache

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Decision, MarkForDeletion, ReadBack, Refuse, RunStep, RunVerify, StopAgent, Wait, WriteFiles
from reconciler.core.profile.organs import pieces
from reconciler.core.profile.rendering import digest, same_launch
from reconciler.core.records import LieutenantRecord
from reconciler.core.slot import snapshots
from reconciler.core.slot.tenancy import not_allowed
from reconciler.core.snapshot.agent import Agent, Guest, Up
from reconciler.core.snapshot.rendered import Check, Rendered, Step, Unresolved
from reconciler.core.snapshot.stages import AgentPart, Basics, Part, PreparePart

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
    if rendered.files and marks.get("files") != rendered.files_hash:
        return WriteFiles(v.lt.vm_id, "files")
    if rendered.organs_hash and marks.get("organs") != rendered.organs_hash:
        return WriteFiles(v.lt.vm_id, "organs")
    for step in rendered.steps:
        name, value = step_mark(step)
        if marks.get(name) != value:
            return RunStep(v.lt.vm_id, step.name)
    for check in (*rendered.checks, *rendered.organ_checks):
        name, value = check_mark(check)
        if marks.get(name) != value:
            return RunVerify(v.lt.vm_id, check.name)
    return WriteFiles(v.lt.vm_id, PREPARED)


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


def held_back(v: PreparePart) -> str:
    """Why an outdated machine may not be replaced now; '' when nothing is in the way."""
    if v.slot.no_delete:
        return f"managementPolicy NoDelete keeps VM {v.lt.vm_id}"
    if v.slot.record.adopted == v.lt.vm_id:
        return f"VM {v.lt.vm_id} was adopted; only what was made from a profile is replaced by it"
    if v.slot.protected and v.slot.record.confirmed != v.lt.vm_id:
        return f"VM {v.lt.vm_id} is protected; confirm with the annotation fleet.vers.sh/delete-confirmed"
    if v.unsupported:
        return f"a new machine would not be started: not acted on in this release: {', '.join(v.unsupported)}"
    refused = not_allowed(v.slot.source, v.slot.namespace, v.slot.sharing)
    if isinstance(refused, Refuse | Wait):
        return f"a new machine would not be made: {refused.message}"
    return v.replace_blocked


def replaced(lt: Basics, why: str) -> str:
    """What a replacement comes to, in words: the old machine goes before the new one is there."""
    assert isinstance(lt.rendered, Rendered)
    return f"{why}; Recreate deletes VM {lt.vm_id} with its workspace {lt.rendered.work_dir}, then makes another; the conversation goes on"


def replace_the_outdated(v: PreparePart) -> Decision | None:
    """`update.onProfileChange: Recreate`: an outdated machine goes when its agent is settled, no task is sent and its conversation is
    safe. While anything about it is unknown, while its profile can't be rendered or would not be started, and while the platform may have
    no room, it stays (G-04, G-06, G-32). With snapshots.beforeMutate a commit of it is listed first."""
    why = outdated(v.lt)
    if not why or not v.recreate or held_back(v) or v.lt.active_task or not isinstance(v.lt.agent, Agent):
        return None
    up = isinstance(v.lt.agent.process, Up)
    if up and not v.lt.settled:
        return None
    if v.slot.snapshots is not None and v.slot.snapshots.before_mutate:
        waiting = snapshots.first(v.slot, "Mutated")
        if isinstance(waiting, Refuse) or (isinstance(waiting, Wait) and waiting.until is not None):
            return None  # the machine stays, and its agent works on
        if waiting is not None:
            return waiting
    if up:
        return StopAgent(v.lt.vm_id, replaced(v.lt, why))
    if not v.slot.mirrored:
        return Wait(Reason.SAVING_SESSION, "the conversation is saved before the machine is replaced", until=v.lt.now + 1.0)
    return MarkForDeletion(v.lt.vm_id, replaced(v.lt, why), "Outdated")


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
    on_machine = v.rendered.organs_hash and v.guest.marks.get("organs") == v.rendered.organs_hash
    ours = tuple(piece.skill for piece in pieces(v.rendered.organs, v.rendered.capabilities)) if on_machine else ()
    return (*v.rendered.skills, *ours)


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
    return record.but(boot=boot, loaded=record.loaded.but(again=bool(record.loaded.missing)))
