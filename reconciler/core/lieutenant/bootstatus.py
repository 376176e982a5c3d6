"""`status.boot`: how the machine was prepared, step by step, and which organs and capabilities are verified on it. Pure."""

from __future__ import annotations

from reconciler.api.status.lieutenant import STEPS, TAIL, BootStatus, PieceStatus, StepStatus
from reconciler.core.keys import JsonValue
from reconciler.core.lieutenant.preparation import PREPARED, check_mark, outdated
from reconciler.core.profile.organs import KEY, pieces
from reconciler.core.records import StepRecord
from reconciler.core.snapshot.agent import Guest
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Rendered


def boot_status(view: LieutenantView, previous: JsonValue) -> BootStatus | None:
    """What is known of the machine in the slot; as before while it can't be looked at; None without a machine."""
    if not view.vm_id:
        return None
    recorded = view.record.boot.steps if view.record.boot.vm_id == view.vm_id else ()
    steps = tuple([_step(step) for step in recorded[-STEPS:]]) or None
    guest, rendered = view.guest, view.rendered
    looked = isinstance(guest, Guest) and isinstance(rendered, Rendered)
    before = _NOTHING
    if not (looked and steps) and isinstance(previous, dict) and previous.get("vm") == view.vm_id:
        before = BootStatus.load(previous)
    steps = steps or before.steps
    if not isinstance(guest, Guest) or not isinstance(rendered, Rendered):
        return BootStatus(view.vm_id, steps, before.prepared, before.outdated, before.organs, before.capabilities)
    organs, capabilities = _pieces(rendered, guest) if rendered.organ_checks else (None, None)
    return BootStatus(view.vm_id, steps, PREPARED in guest.marks, bool(outdated(view.lt)), organs, capabilities)


_NOTHING = BootStatus()


def _step(step: StepRecord) -> StepStatus:
    if step.state == "Running":
        return StepStatus(step.kind, step.name, step.state, step.tries)
    return StepStatus(
        step.kind,
        step.name,
        step.state,
        step.tries,
        seconds=round(step.seconds, 1),
        output_tail=step.tail[-TAIL:],
        exit_code=step.exit_code,
        timed_out=True if step.exit_code is None else None,
    )


Pieces = tuple[PieceStatus, ...] | None


def _pieces(rendered: Rendered, guest: Guest) -> tuple[Pieces, Pieces]:
    """Organs and capabilities. Verified is what the machine's own done-mark says, made after the check ended well on it."""
    keyless = KEY not in rendered.env and KEY not in rendered.secret_env
    by_mark = {piece.mark: piece for piece in pieces(rendered.organs, rendered.capabilities)}
    organs: list[PieceStatus] = []
    capabilities: list[PieceStatus] = []
    for check in rendered.organ_checks:
        piece, (mark, value) = by_mark[check.name], check_mark(check)
        if guest.marks.get(mark) != value:
            found = PieceStatus(piece.name, "NotVerified")
        elif piece.key and keyless:
            found = PieceStatus(piece.name, "WithoutKey", f"installed; it does nothing until {KEY} is declared in env")
        else:
            found = PieceStatus(piece.name, "Verified")
        (organs if check.kind == "Organ" else capabilities).append(found)
    return tuple(organs) or None, tuple(capabilities) or None
