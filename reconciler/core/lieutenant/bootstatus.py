"""`status.boot`: how the machine was prepared, step by step, and which organs and capabilities are verified on it. Pure."""

from __future__ import annotations

from reconciler.core.keys import Json, JsonValue
from reconciler.core.lieutenant.preparation import PREPARED, check_mark, outdated
from reconciler.core.profile.organs import KEY, pieces
from reconciler.core.records import StepRecord
from reconciler.core.snapshot.agent import Guest
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Rendered

TAIL = 512
"""Characters of a step's output in status; the record has more."""


def boot_status(view: LieutenantView, previous: JsonValue) -> Json:
    """What is known of the machine in the slot; as before while it can't be looked at; {} without a machine."""
    if not view.vm_id:
        return {}
    told: Json = dict(previous) if isinstance(previous, dict) and previous.get("vm") == view.vm_id else {"vm": view.vm_id}
    steps = view.record.boot.steps if view.record.boot.vm_id == view.vm_id else ()
    if steps:
        told["steps"] = [_step(step) for step in steps]
    if not isinstance(view.guest, Guest) or not isinstance(view.rendered, Rendered):
        return told
    told["prepared"] = PREPARED in view.guest.marks
    told["outdated"] = bool(outdated(view))
    for kind, name in (("Organ", "organs"), ("Capability", "capabilities")):
        found = [_piece(view.rendered, view.guest, check.name) for check in view.rendered.organ_checks if check.kind == kind]
        if found:
            told[name] = found  # type: ignore[assignment]
        else:
            told.pop(name, None)
    return told


def _step(step: StepRecord) -> Json:
    told: Json = {"kind": step.kind, "name": step.name, "state": step.state, "tries": step.tries}
    if step.state != "Running":
        told |= {"seconds": round(step.seconds, 1), "outputTail": step.tail[-TAIL:]}
        if step.exit_code is not None:
            told["exitCode"] = step.exit_code
        else:
            told["timedOut"] = True
    return told


def _piece(rendered: Rendered, guest: Guest, check_name: str) -> Json:
    """Verified is what the machine's own done-mark says, made after the check ended well on it."""
    check = rendered.check(check_name)
    assert check is not None
    piece = next(p for p in pieces(rendered.organs, rendered.capabilities) if p.mark == check_name)
    mark, value = check_mark(check)
    if guest.marks.get(mark) != value:
        return {"name": piece.name, "state": "NotVerified"}
    if piece.key and KEY not in rendered.env and KEY not in rendered.secret_env:
        return {"name": piece.name, "state": "WithoutKey", "message": f"installed; it does nothing until {KEY} is declared in env"}
    return {"name": piece.name, "state": "Verified"}
